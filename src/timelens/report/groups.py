"""Groups of patients on the page: what was compared, with the clearest differences drawn."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from timelens.figures.canvas import png_bytes
from timelens.figures.groups import GroupPanel, groups_figure
from timelens.figures.text import unit_text
from timelens.knowledge import components, quantities, targets
from timelens.report.numbers import number_text
from timelens.report.pictures import Picture, drawn
from timelens.report.tables import symbol_html

__all__ = ["GroupView", "group_views"]

_MOST_LINES, _MOST_PANELS = 20, 8
#: Names of what is in no vocabulary.
_NAMES = {"interaction_z": "z of contacts", "interaction_ratio": "contacts over chance"}
_WHAT = ("session", "modality", "agent", "target", "component", "region", "quantity", "unit")

Line = Mapping[str, str]


@dataclass(frozen=True)
class GroupView:
    """A pair of groups for the page.

    Attributes
    ----------
    title
        Second minus first.
    lines
        The clearest differences, ready to be shown.
    tested, untested, found
        How many comparisons have a test, how many none, and how many have an adjusted p-value of 0.05 or less.
    reasons
        Why some have none, with how many.
    picture
        Patients as dots; None where nothing could be tested.
    """

    title: str
    lines: list[dict[str, Any]]
    tested: int
    untested: int
    found: int
    reasons: list[tuple[str, int]]
    picture: Picture | None


def group_views(out: Path) -> list[GroupView]:
    """The comparisons of a folder of results, a view for each pair of groups; none where it has no groups."""
    rows, values = _read(out / "groups.csv"), _read(out / "groups_values.csv")
    if not rows or not values:
        return []
    of: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for line in values:
        own = of.setdefault(tuple(line.get(k, "") for k in _WHAT), {})
        own.setdefault(line.get("group", ""), []).append(_number(line.get("value")))
    several = len({r.get("session") for r in rows}) > 1
    pairs = dict.fromkeys((r.get("by", ""), r.get("first", ""), r.get("second", "")) for r in rows)
    return [_view(pair, [r for r in rows if (r.get("by", ""), r.get("first", ""), r.get("second", "")) == pair], of,
                  several) for pair in pairs]  # fmt: skip


def _view(
    pair: tuple[str, str, str],
    rows: Sequence[Line],
    of: Mapping[tuple[str, ...], Mapping[str, Sequence[float]]],
    several: bool,
) -> GroupView:
    by, first, second = pair
    tested = [r for r in rows if math.isfinite(_number(r.get("p_value")))]
    tested.sort(key=lambda r: tuple(_number(r.get(k)) for k in ("q_value", "p_value", "p_mixed")))
    reasons: dict[str, int] = {}
    for row in rows:
        if row.get("reason"):
            reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
    panels: list[GroupPanel] = []
    seen: set[tuple[str, str]] = set()
    for row in tested:
        subject = (row.get("component", ""), row.get("target", ""))
        if subject in seen or len(panels) == _MOST_PANELS:
            continue
        seen.add(subject)
        own = of.get(tuple(row.get(k, "") for k in _WHAT), {})
        panels.append(_panel(row, {g: own.get(g, []) for g in (first, second)}, several))
    picture = None
    if panels:
        caption = (
            "Each dot is a patient (the mean of its regions or lesions), each line the mean of a group. Shown are the "
            "smallest p-values of different components: of many comparisons some look like this by chance, "
            "which q takes into account."
        )
        alt = f"Patients of {first} and {second} in {len(panels)} comparisons"
        picture = drawn(f"{second} and {first}", caption, alt, "groups", png_bytes(groups_figure(panels)))
    found = sum(_number(r.get("q_value")) <= 0.05 for r in tested)
    return GroupView(f"{second} minus {first}" + (f" ({by})" if by else ""),
                     [_line(r, several) for r in tested[:_MOST_LINES]], len(tested), len(rows) - len(tested), found,
                     sorted(reasons.items(), key=lambda x: -x[1]), picture)  # fmt: skip


def _panel(row: Line, values: Mapping[str, Sequence[float]], several: bool) -> GroupPanel:
    known = quantities.find(row.get("quantity", ""))
    where = ", ".join(p for p in (row.get("region", ""), row.get("session", "") if several else "") if p)
    plain = known.symbol.replace("_", " ") if known is not None else ""
    plain = {"rho A": "density", "f": "part of all cells", "f pos": "positive part", "rho A pos": "density, positive",
             "d NN": "nearest"}.get(plain, plain)  # fmt: skip
    note = f"p {_p(row, 'p_value')}, q {_p(row, 'q_value')}"
    name = _component(row) or where
    return GroupPanel(name, where if name != where else "", plain or _NAMES.get(row.get("quantity", ""), ""),
                      row.get("unit", "1"), values, note)  # fmt: skip


def _line(row: Line, several: bool) -> dict[str, Any]:
    known = quantities.find(row.get("quantity", ""))
    name = row.get("quantity", "")
    of = [_component(row), row.get("agent", ""), row.get("region", ""), row.get("session", "") if several else ""]
    numbers = {k: number_text(_number(row.get(k))) if math.isfinite(_number(row.get(k))) else "–" for k in
               ("difference", "lower", "upper", "mean_first", "mean_second")}  # fmt: skip
    return {
        "symbol": symbol_html(known) if known is not None else escape(_NAMES.get(name, name)),
        "title": known.definition if known is not None else _NAMES.get(name, name),
        "of": ", ".join(p for p in of if p),
        "unit": unit_text(row.get("unit", "1")),
        "patients": f"{row.get('patients_second', '')} / {row.get('patients_first', '')}",
        "interval": Markup("{} to {}").format(numbers["lower"], numbers["upper"]),
        "p": _p(row, "p_value"), "p_mixed": _p(row, "p_mixed"), "q": _p(row, "q_value"),
        "flags": row.get("flags", ""), **numbers,
    }  # fmt: skip


def _component(row: Line) -> str:
    names = []
    for part in row.get("component", "").split("|"):
        known = components.find(part) if part not in ("", "cell") else None
        names.append(known.name if known is not None else part)
    marks = []
    for part in row.get("target", "").split(";"):
        target = targets.find(part) if part else None
        marks.append(target.name if target is not None else part)
    said = " to ".join(n for n in names if n)
    return f"{said} with {' and '.join(marks)}" if any(marks) and said else said or " and ".join(m for m in marks if m)


def _p(row: Line, column: str) -> str:
    value = _number(row.get(column))
    if not math.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def _read(path: Path) -> list[Line]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [{k: v.removeprefix("'") for k, v in line.items() if isinstance(k, str) and isinstance(v, str)}
                for line in csv.DictReader(stream)]  # fmt: skip


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
