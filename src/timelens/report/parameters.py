"""Parameters of kinetic models as a table: value, standard error, interval and what it rests on, and what to know."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from timelens.figures.text import unit_text
from timelens.report.numbers import number_text, plus_minus
from timelens.report.read import Row, by_region
from timelens.report.tables import Cell, Notes, swatch, symbol_html
from timelens.run.kinetic_pictures import model_title

__all__ = ["ParameterGroup", "ParameterLine", "ParameterTable", "is_parameter", "parameter_table"]

#: Kinds of quantity that only a kinetic model gives, and the quantities of other kinds that one gives too.
_KINDS = ("clearance", "rate constant", "distribution volume", "transfer constant", "volume fraction")
_NAMES = ("bp_nd", "r1", "input_delay")
_FOLD_FROM = 60
#: How an interval was found: what a row's flags call it, the word in the table, and what it means.
_INTERVALS = {
    "profile": ("profile", "profile likelihood: every value in the interval fits the curve nearly as well as the best"),
    "wald": ("Wald", "Wald: the value plus and minus a multiple of its SE, too short where the data say little"),
    "bootstrap": ("bootstrap", "bootstrap: the middle part of fits to resampled curves"),
}


@dataclass(frozen=True)
class ParameterLine:
    """One parameter: its symbol, unit and definition, and texts for its cells."""

    symbol: Markup
    unit: str
    title: str
    cell: Cell
    error: str
    interval: str
    kind: str
    remark: str


@dataclass(frozen=True)
class ParameterGroup:
    """The parameters of one region by one model, and what holds for all of them."""

    name: str
    number: str
    colour: str
    model: str
    remark: str
    lines: Sequence[ParameterLine]


@dataclass(frozen=True)
class ParameterTable:
    """A table ready for the page; columns that no line needs are left out."""

    caption: str
    level: str
    groups: Sequence[ParameterGroup]
    notes: Sequence[tuple[str, str]]
    with_kind: bool
    with_remark: bool
    folded: bool

    @property
    def columns(self) -> int:
        """How many there are."""
        return 4 + self.with_kind + self.with_remark


def is_parameter(row: Row) -> bool:
    """Whether a row belongs into the table of parameters."""
    return row.known.kind in _KINDS or row["quantity"] in _NAMES


def parameter_table(rows: Sequence[Row], regions: Sequence[Mapping[str, Any]], caption: str) -> ParameterTable | None:
    """The parameters among some rows, grouped by region and model; None where there are none.

    Parameters
    ----------
    rows
        Of one acquisition.
    regions
        Records with number, name and role.
    caption
        Of the table.
    """
    chosen = [row for row in rows if is_parameter(row)]
    if not chosen:
        return None
    grouped: dict[tuple[str, str], list[Row]] = {}
    order = list(dict.fromkeys(row["region"] for row in chosen))
    for row in sorted(chosen, key=lambda row: order.index(row["region"])):  # the models of a region stand together
        grouped.setdefault((row["region"], row["method"]), []).append(row)
    by_name = by_region(regions)
    notes = Notes()
    groups = [_group(region, method, own, by_name.get(region, {}), notes) for (region, method), own in grouped.items()]
    lines = [line for group in groups for line in group.lines]
    levels = {row.level for row in chosen if math.isfinite(row.level)}
    level = f"{100 * levels.pop():g} % interval" if len(levels) == 1 else "Interval"
    kinds = {line.kind for line in lines} - {""}
    meanings = [("", text) for word, text in _INTERVALS.values() if word in kinds]
    se = [("", "SE: one standard error")] if any(line.error for line in lines) else []
    return ParameterTable(
        caption,
        level,
        groups,
        [*se, *meanings, *notes.listed()],
        bool(kinds),
        any(line.remark for line in lines),
        len(lines) > _FOLD_FROM,
    )


def _group(region: str, method: str, rows: Sequence[Row], record: Mapping[str, Any], notes: Notes) -> ParameterGroup:
    remarks = [_remarks(row) for row in rows]
    shared = [text for text in remarks[0] if all(text in other for other in remarks)] if len(rows) > 1 else []
    number, colour = swatch(record, str(record.get("role") or "lesion")) if record else ("", "")
    first, _, rest = method.partition("; ")
    model = "; ".join(part for part in (model_title(first), rest) if part)
    lines = [_line(row, [t for t in own if t not in shared], notes) for row, own in zip(rows, remarks, strict=True)]
    return ParameterGroup(region or "whole image", number, colour, model, "; ".join(shared), lines)


def _line(row: Row, remarks: Sequence[str], notes: Notes) -> ParameterLine:
    if math.isnan(row.value):
        reason = row["reason"] or "no reason given"
        cell = Cell(reason=reason, marks=notes.mark(reason))
        remarks = [text for text in remarks if text != reason]
    else:
        cell = Cell(number_text(row.value), row["value"])
    known = row["uncertainty_kind"] == "standard_error" and math.isfinite(row.uncertainty)
    return ParameterLine(
        symbol_html(row.known),
        unit_text(row["unit"]),
        row.known.definition,
        cell,
        plus_minus(row.value, row.uncertainty) if known and math.isfinite(row.value) else "",
        _interval(row),
        _kind(row),
        "; ".join(remarks),
    )


def _interval(row: Row) -> str:
    """From one end to the other; an end that the data leave open is said so."""
    low, high = math.isfinite(row.lower), math.isfinite(row.upper)
    if low and high:
        return f"{number_text(row.lower)} to {number_text(row.upper)}"
    if low:
        return f"{number_text(row.lower)} to open"
    return f"open to {number_text(row.upper)}" if high else ""


def _kind(row: Row) -> str:
    match = re.search(r"interval: (\w+)", row["flags"])
    if match is None or not (math.isfinite(row.lower) or math.isfinite(row.upper)):
        return ""
    return _INTERVALS.get(match[1].lower(), (match[1], ""))[0]


def _remarks(row: Row) -> list[str]:
    parts = [part.strip() for part in row["flags"].split(";")]
    return [part for part in parts if part and not re.fullmatch(r"interval: \w+", part)]
