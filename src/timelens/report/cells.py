"""The tables of tissue cytometry: a line a component, a column a compartment, and one line for what is not told."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from timelens.figures.text import unit_text
from timelens.report.read import Row
from timelens.report.tables import Cell, Column, Line, Notes, Table, head, region_tables, value_cell

__all__ = ["cell_facts", "cell_tables"]

#: What is laid out by component and compartment; the first stands open, the others are folded.
_BY_PLACE = ("cell_density_area", "cell_fraction")
_CLASSES = ("inflamed", "excluded", "desert")
_PLACES = ("section", "nest", "margin", "stroma")
#: A region: the set of masks where there are several, then the place.
_REGION = re.compile(r"(?:(?P<set>.+)_)?(?P<all>all regions)?(?:: )?(?P<place>section|nest|margin|stroma)?")


def _place(region: str) -> tuple[str, str]:
    """Set of masks, and place; ``all regions`` is their section."""
    match = _REGION.fullmatch(region)
    if match is None or not (match["all"] or match["place"]):
        return "", region
    return match["set"] or "", match["place"] or "section"


def cell_facts(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Immune phenotype and lymphoid structures in words, for the head of a scan."""
    facts = []
    for name in dict.fromkeys(_place(row["region"])[0] for row in rows):
        own = {row["quantity"]: row for row in rows if _place(row["region"]) == (name, "section")}
        said = f" ({name})" if name else ""
        classes = [(n, own[f"{n}_probability"]) for n in _CLASSES if f"{n}_probability" in own]
        if likely := next(((n, r) for n, r in classes if "most likely" in r["flags"]), None):
            convention = re.search(r"by the convention ([^:]+):", likely[1]["method"])
            under = f" by {convention[1]}" if convention else ""
            facts.append((f"Immune phenotype{said}", f"{likely[0]}, {_chance(likely[1].value)}{under}"))
        count = own.get("tls_count")
        if count is not None and not math.isnan(count.value):
            profile = re.search(r"by the profile ([^:]+):", count["method"])
            under = f" by {profile[1]}" if profile else ""
            ripe = f", {count['flags']}" if count["flags"] else ""
            facts.append((f"Lymphoid structures{said}", f"{count.value:.0f}{under}{ripe}"))
    return facts


def _chance(value: float) -> str:
    return "probability above 0.99" if value > 0.99 else f"probability {value:.2f}"


def cell_tables(rows: Sequence[Row]) -> list[Table]:
    """The tables of one region, or of all together.

    Parameters
    ----------
    rows
        Of one acquisition.
    """
    tables = []
    for name in dict.fromkeys(_place(row["region"])[0] for row in rows):
        own = [row for row in rows if _place(row["region"])[0] == name]
        suffix = f", {name}" if name else ""
        for quantity in _BY_PLACE:
            found = [row for row in own if row["quantity"] == quantity and not math.isnan(row.value)]
            if found:
                tables.append(_by_place(found, f"{found[0].known.definition}{suffix}", folded=quantity != _BY_PLACE[0]))
        rest = [row for row in own if row["quantity"] not in _BY_PLACE]
        tables += [
            _folded(t) for t in region_tables(rest, (), f"Distances, mixing, phenotype and states{suffix}") if rest
        ]
        lacking = {r["component"]: r["reason"] for r in own if r["quantity"] == _BY_PLACE[0] and math.isnan(r.value)}
        if lacking:
            tables.append(_not_told(lacking, f"Types that are not told{suffix}"))
    return tables


def _by_place(rows: Sequence[Row], caption: str, *, folded: bool) -> Table:
    """Components by compartments; the unit and what the brackets are stand once."""
    notes = Notes()
    by_place = {p: [r for r in rows if _place(r["region"])[1] == p] for p in _PLACES}
    places = [p for p in _PLACES if by_place[p]]
    _, shared = head(rows, notes)
    cells = {(r["component"], _place(r["region"])[1]): value_cell(r, notes, shared) for r in rows}
    unit = unit_text(rows[0]["unit"])
    columns = [Column(Markup("{}").format(p), unit, f"{rows[0].known.definition}, {p}") for p in places]
    lines = [
        Line(component, "", "", "", [cells.get((component, p), Cell()) for p in places])
        for component in dict.fromkeys(r["component"] for r in rows)
    ]
    marks = [(mark, text) for mark, text in notes.listed() if any(mark in c.marks.split() for c in cells.values())]
    said = [("", text) for _, text in notes.listed() if text in shared]
    return Table(caption, columns, lines, [*said, *marks], folded, line_head="Component")


def _folded(table: Table) -> Table:
    return Table(table.caption, table.columns, table.lines, table.notes, True, table.detail_head)


def _not_told(lacking: Mapping[str, str], caption: str) -> Table:
    """Components with the reason why they have no number."""
    columns = [Column(Markup("Reason"), "", "Why there is no number")]
    lines = [Line(name, "", "", "", [Cell(text=reason, exact=reason)]) for name, reason in lacking.items()]
    return Table(caption, columns, lines, [], True, line_head="Component")
