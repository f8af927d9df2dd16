"""One measured scan for the page: what it shows, its numbers, pictures, tables and calibration, all in one block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from timelens.knowledge import agents, components, targets
from timelens.report.audit import AuditView, audit_views
from timelens.report.cells import cell_facts, cell_tables
from timelens.report.parameters import ParameterTable, is_parameter, parameter_table
from timelens.report.pictures import Picture
from timelens.report.read import Row, SessionResults
from timelens.report.summary import WHOLE, Scan, scans
from timelens.report.tables import Cell, Column, Notes, Table, head, region_tables, value_cell

__all__ = ["ScanView", "scan_label", "scan_views"]

#: Columns that are said once at the head of a block where they are the same in all its rows.
_COMMON = ("component", "target", "time_s")
_DAY_S, _HOUR_S = 86400.0, 3600.0
#: What is not written in capitals as it is.
_MODALITIES = {"mr": "MRI", "cytometry": "Cytometry"}


@dataclass
class ScanView:
    """One block of a session. ``facts`` are pairs of a word and what is said about it."""

    title: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    tiles: list[tuple[Column, Cell]] = field(default_factory=list)
    tile_notes: list[tuple[str, str]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    parameters: ParameterTable | None = None
    tables: list[Table] = field(default_factory=list)
    audits: list[AuditView] = field(default_factory=list)
    empty: str = ""


def scan_label(scan: Scan) -> str:
    """Modality and agent, as it is called in tables."""
    return " ".join(p for p in (_MODALITIES.get(scan.modality, scan.modality.upper()), scan.agent) if p) + _which(scan)


def _which(scan: Scan) -> str:
    """Which of several regions of a slide it is; the rows of all together belong to no acquisition."""
    if scan.modality != "cytometry":
        return ""
    record = next((a for a in scan.session.listed("acquisitions") if a.get("id") == scan.acquisition), None)
    if record is None:
        return ", all regions"
    return f", {record['description']}" if record.get("description") else ""


def scan_views(session: SessionResults, pictures: Sequence[Picture]) -> list[ScanView]:
    """The blocks of a session in the order of their rows; what belongs to no scan stands in one of its own at the end.

    Parameters
    ----------
    session
        As read.
    pictures
        All of the session.
    """
    found = scans(session)
    names = [scan.acquisition for scan in found]
    alone = len(found) == 1
    audits = session.record.get("audit")
    left = dict(audits) if isinstance(audits, Mapping) else {}
    views = []
    for scan in found:
        view = _view(session, scan)
        view.pictures = [p for p in pictures if alone or p.acquisition == scan.acquisition]
        own = {k: v for k, v in left.items() if alone or str(k).startswith(f"{scan.acquisition}:")}
        left = {k: v for k, v in left.items() if k not in own}
        view.audits = audit_views({str(k).removeprefix(f"{scan.acquisition}:"): v for k, v in own.items()})
        views.append(view)
    rest = [p for p in pictures if not alone and p.acquisition not in names]
    if rest or left:
        views.append(ScanView("", pictures=rest, audits=audit_views(left)))
    return views


def _view(session: SessionResults, scan: Scan) -> ScanView:
    notes = Notes()
    regions = [r for r in session.listed("regions") if r.get("acquisition", scan.acquisition) == scan.acquisition]
    rows = [*scan.regions, *scan.others]
    plain = [row for row in rows if not is_parameter(row)]
    label = scan_label(scan)
    common = _common(plain)
    of_cells = scan.modality == "cytometry"
    facts = _facts(session, scan, {} if of_cells else common)
    if of_cells:
        tables, facts = cell_tables(plain), [*facts, *cell_facts(plain)]
    else:
        tables = region_tables(plain, regions, "Lesions and regions", said=common) if plain else []
    return ScanView(
        label,
        facts,
        [_tile(scan.whole[q], notes) for q in WHOLE if q in scan.whole],
        notes.listed(),
        [],
        parameter_table(rows, regions, "Parameters of kinetic models"),
        tables,
        [],
        "" if scan.regions or of_cells else "There are no lesions in this scan.",
    )


def _tile(row: Row, notes: Notes) -> tuple[Column, Cell]:
    column, shared = head([row], notes)
    return column, value_cell(row, notes, shared)


def _common(rows: Sequence[Row]) -> dict[str, str]:
    """Values, by column, that all rows share; regions of which no row has one (normal tissue) do not count."""
    found = {}
    for column in _COMMON:
        about = {row["region"] for row in rows if row[column]}
        values = {row[column] for row in rows if row["region"] in about}
        if len(values) == 1:
            found[column] = values.pop()
    return found


def _facts(session: SessionResults, scan: Scan, common: Mapping[str, str]) -> list[tuple[str, str]]:
    record = next((a for a in session.listed("acquisitions") if a.get("id") == scan.acquisition), {})
    known = agents.find(scan.agent) if scan.agent else None
    facts = []
    if known is not None and known.name != scan.agent:
        facts.append(("Agent", known.name))
    for word, column, names, find in (
        ("Target", "target", known.targets if known is not None else (), targets.find),
        ("Shows", "component", (), components.find),
    ):
        said = common.get(column, "")
        several = [part for part in said.replace("|", ";").split(";") if part.strip()] if said else list(names)
        if several:
            facts.append((word, ", ".join(_name(find, part.strip()) for part in several)))
    if time := common.get("time_s"):
        facts.append(("Values at", _after(float(time))))
    after = record.get("after_injection_s")
    if isinstance(after, int | float) and not common.get("time_s"):
        facts.append(("Scanned", _after(float(after)).replace("time zero", "injection")))
    if record.get("description"):
        facts.append(("Series", str(record["description"])))
    return facts


def _name(find: Any, text: str) -> str:
    known = find(text)
    return known.name if known is not None else text


def _after(seconds: float) -> str:
    for unit, size in (("d", _DAY_S), ("h", _HOUR_S), ("min", 60.0)):
        if abs(seconds) >= 3 * size:
            return f"{seconds / size:.3g} {unit} after time zero"
    return f"{seconds:.3g} s after time zero"
