"""Rows of measurements laid out as tables: one line per region, one column per quantity, remarks as footnotes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape

from timelens.figures.palette import REFERENCE, region_colour
from timelens.figures.text import unit_text
from timelens.knowledge.quantities import Quantity
from timelens.report.numbers import number_text, plus_minus
from timelens.report.read import Row, by_region

__all__ = [
    "MAIN",
    "Cell",
    "Column",
    "Line",
    "Notes",
    "Table",
    "head",
    "region_tables",
    "swatch",
    "symbol_html",
    "value_cell",
]

#: Columns of the lesion table where they exist; everything else goes into the tables that follow it.
MAIN = (
    "mtv", "volume", "suv_max", "suv_mean", "suv_peak", "tlg", "tumor_to_liver_ratio", "tumor_to_blood_ratio",
)  # fmt: skip
#: More columns than this do not fit a page.
MOST_COLUMNS = 7
_FOLD_FROM = 25
#: How a flag ends that says how a lesion is called in its session; the line of the table says so already.
_LOCAL_NAME = " of this session"
_GREEK = {"Delta t": "Δt", "Psi": "Ψ", "rho": "ρ", "rho_A": "ρ<sub>A</sub>"}
#: Kind of uncertainty: the short name beside ±, and what it means.
_KINDS = {
    "standard_error": ("SE", "one standard error"),
    "repeatability": (
        "RC",
        "repeatability coefficient, half the width of the limits of agreement between two scans without change",
    ),
}


@dataclass(frozen=True)
class Cell:
    """One number: as text, exactly, with its uncertainty, or why there is none."""

    text: str = ""
    exact: str = ""
    spread: str = ""
    reason: str = ""
    marks: str = ""


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    symbol: Markup
    unit: str
    title: str
    marks: str = ""
    spread: str = ""


@dataclass(frozen=True)
class Line:
    """The head of a line and its cells."""

    name: str
    detail: str
    number: str
    colour: str
    cells: Sequence[Cell]


@dataclass
class Notes:
    """Footnotes of a table: each text once, marked a, b, c ..."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """The mark of a text."""
        if text not in self.texts:
            self.texts.append(text)
        return _letters(self.texts.index(text))

    def listed(self) -> list[tuple[str, str]]:
        """Marks and texts in order."""
        return [(_letters(i), text) for i, text in enumerate(self.texts)]


@dataclass(frozen=True)
class Table:
    """A table ready for the page; ``folded`` ones open on a click, and always in print."""

    caption: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    notes: Sequence[tuple[str, str]]
    folded: bool = False
    detail_head: str = ""
    line_head: str = "Region"


def symbol_html(known: Quantity) -> Markup:
    """The symbol with its lower and upper parts set as such; the text stays the same.

    >>> from timelens.knowledge.quantities import get
    >>> symbol_html(get("suv_max")), symbol_html(get("k_i"))
    (Markup('SUV<sub>max</sub>'), Markup('K<sub>i</sub>'))
    """
    if known.symbol in _GREEK:
        return Markup(_GREEK[known.symbol])
    for pattern, form in (
        (r"(SUV|SUL)(max|mean|min|median|peak|SD)( .*)?", "{}<sub>{}</sub>{}"),
        (r"([A-Za-z]+\d?)_([A-Za-z]+|\d)( .*)?", "{}<sub>{}</sub>{}"),
        (r"([Kk])(\d[a-z]?)(')?", "{}<sub>{}</sub>{}"),
        (r"([A-Za-z]+)\^([a-z]+)()", "{}<sup>{}</sup>{}"),
    ):
        if match := re.fullmatch(pattern, known.symbol):
            return Markup(form).format(*(part or "" for part in match.groups()))
    return escape(known.symbol)


def value_cell(row: Row, notes: Notes, skip: Iterable[str] = ()) -> Cell:
    """The cell of a row; remarks not in ``skip`` become footnotes."""
    if math.isnan(row.value):
        reason = row["reason"] or "no reason given"
        return Cell(reason=reason, marks=notes.mark(reason))
    said = set(skip)
    marks = [notes.mark(remark) for remark in remarks(row) if remark not in said]
    whole = bool(re.fullmatch(r"\{[^{}]+\}", row["unit"]))
    spread = _spread(row)
    if spread.startswith("±") and _meaning(row) not in said:  # the column mixes kinds: each says its own
        spread = f"{spread} {_KINDS.get(row['uncertainty_kind'], ('',))[0]}".rstrip()
    return Cell(number_text(row.value, whole=whole), row["value"], spread, marks=" ".join(marks))


def _meaning(row: Row) -> str:
    """What the ± of a row is."""
    short, text = _KINDS.get(row["uncertainty_kind"], ("", row["uncertainty_kind"]))
    return f"± {short}: {text}" if short else f"±: {text}"


def _spread(row: Row) -> str:
    if row["uncertainty_kind"] == "interval" and math.isfinite(row.lower) and math.isfinite(row.upper):
        return f"({number_text(row.lower)} to {number_text(row.upper)})"
    if math.isfinite(row.uncertainty) and row["uncertainty_kind"] not in ("", "none"):
        return f"± {plus_minus(row.value, row.uncertainty)}"
    return ""


def remarks(row: Row) -> list[str]:
    """What a footnote says about a row: its flags, and what its uncertainty is."""
    found = [part.strip() for part in row["flags"].split(";") if part.strip()]
    found = [part for part in found if not part.endswith(_LOCAL_NAME)]
    spread = _spread(row)
    if spread.startswith("±"):
        found.append(_meaning(row))
    elif spread:
        level = f"{100 * row.level:g} % interval" if math.isfinite(row.level) else "interval"
        found.append(f"in brackets the {level}")
    return found


def head(rows: Sequence[Row], notes: Notes) -> tuple[Column, set[str]]:
    """The head of a column of rows, and the remarks that all its values share and that therefore stand there once."""
    valued = [set(remarks(row)) for row in rows if not math.isnan(row.value)]
    shared = set.intersection(*valued) if valued else set()
    spread = [set(remarks(row)) for row in rows if _spread(row)]
    shared |= {text for text in set.intersection(*spread) if _of_spread(text)} if spread else set()
    ordered = [text for row in rows for text in remarks(row) if text in shared]
    marks = " ".join(sorted(notes.mark(text) for text in dict.fromkeys(ordered)))
    known = rows[0].known
    kinds = [text.partition(":")[0] for text in ordered if text.startswith("±")]
    return Column(symbol_html(known), unit_text(rows[0]["unit"]), known.definition, marks, *kinds[:1]), shared


def _of_spread(remark: str) -> bool:
    return remark.startswith(("uncertainty:", "±", "in brackets "))


def _letters(index: int) -> str:
    first, second = divmod(index, 26)
    return (chr(96 + first) if first else "") + chr(97 + second)


# -- lines by region ------------------------------------------------------------------------------------------------


def region_tables(
    rows: Sequence[Row], regions: Sequence[Mapping[str, Any]], title: str, *, said: Mapping[str, str] | None = None
) -> list[Table]:
    """The tables of one acquisition: the main one, then what else was measured, in pieces that fit a page.

    Parameters
    ----------
    rows
        Rows of regions, in their order.
    regions
        Records with number, name, role and identity.
    title
        What the captions begin with.
    said
        Column to a value that stands above the tables already and is not repeated in each line.
    """
    lines = _lines(rows)
    present = list(dict.fromkeys(row["quantity"] for row in rows))
    main = [q for q in MAIN if q in present][:MOST_COLUMNS] or present[:MOST_COLUMNS]
    rest = [q for q in present if q not in main]
    tables = [_table(lines, main, regions, title, said or {}, folded=len(lines) > _FOLD_FROM)]
    for start in range(0, len(rest), MOST_COLUMNS):
        part = rest[start : start + MOST_COLUMNS]
        numbering = (
            f" ({start // MOST_COLUMNS + 1} of {-(-len(rest) // MOST_COLUMNS)})" if len(rest) > MOST_COLUMNS else ""
        )
        tables.append(_table(lines, part, regions, f"{title}: further quantities{numbering}", said or {}, folded=True))
    return [t for t in tables if t.columns]


LineKey = tuple[str, str, str, str, int]


def _lines(rows: Sequence[Row]) -> dict[LineKey, dict[str, Row]]:
    """Rows by line; a quantity that a line has already, by another rule or time, opens another line."""
    lines: dict[LineKey, dict[str, Row]] = {}
    for row in rows:
        about = (row["region"], row["component"], row["target"], row["time_s"])
        turn = 0
        while row["quantity"] in lines.get((*about, turn), {}):
            turn += 1
        lines.setdefault((*about, turn), {})[row["quantity"]] = row
    return lines


def _table(
    lines: Mapping[LineKey, Mapping[str, Row]],
    wanted: Sequence[str],
    regions: Sequence[Mapping[str, Any]],
    caption: str,
    said: Mapping[str, str],
    *,
    folded: bool,
) -> Table:
    notes = Notes()
    shown = {key: cells for key, cells in lines.items() if any(q in cells for q in wanted)}
    columns, common = [], {}
    for quantity in wanted:
        column, shared = head([cells[quantity] for cells in shown.values() if quantity in cells], notes)
        columns.append(column)
        common[quantity] = shared
    by_name = by_region(regions)
    body = []
    for (region, component, target, time_s, turn), cells in shown.items():
        record = by_name.get(region, {})
        own = {"component": component, "target": target, "time_s": f"{number_text(float(time_s))} s" if time_s else ""}
        shown_already = {"component": component, "target": target, "time_s": time_s}
        details = [text for column, text in own.items() if shown_already[column] != said.get(column)]
        several = lines.get((region, component, target, time_s, max(turn, 1)), {})
        details += [cells[q]["method"] for q in wanted if q in cells and q in several][:1]
        role = str(record.get("role") or "lesion")
        details += [role if role not in ("lesion", region) else "", _other_name(record, region)]
        number, colour = swatch(record, role)
        body.append(
            Line(
                region or "whole image",
                ", ".join(d for d in dict.fromkeys(details) if d and d != region),
                number,
                colour,
                [value_cell(cells[q], notes, common[q]) if q in cells else Cell() for q in wanted],
            )
        )
    return Table(caption, columns, body, notes.listed(), folded)


def _other_name(record: Mapping[str, Any], region: str) -> str:
    """How a lesion is called elsewhere: over time, or in the pictures of its session."""
    identity, name = str(record.get("identity") or ""), str(record.get("name") or "")
    if identity and identity != region:
        return f"followed as {identity}"
    return f"{name} in the pictures" if identity and name and name != region else ""


def swatch(record: Mapping[str, Any], role: str) -> tuple[str, str]:
    """Number and colour of a region as its session's pictures show it; organs have no number."""
    number = record.get("number")
    if not isinstance(number, int) or number < 1:
        return "", ""
    return (str(number), region_colour(number)) if role == "lesion" else ("", REFERENCE)
