"""Functional states: which cells of a type bear PD-1, PD-L1, granzyme B or Ki-67, and which are exhausted.

A cell is positive from the marker's threshold on: the one that is stated under ``types: thresholds``, else where the
positive group of all cells of the region begins. A state whose markers were not measured, or have no positive group, is
no zero: its rows have a reason and no number. Signal of a neighbour that reaches into a cell makes it positive as well
(PD-L1 of a tumour cell beside a T cell), so that states of touching cells are upper bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

import timelens
from timelens.engines.cells.compartments import Compartments, density
from timelens.errors import UsageError
from timelens.knowledge import targets
from timelens.lenses.cytometry.rows import LEVEL, binomial, members
from timelens.study.contract import Result
from timelens.study.measurement import Measurement
from timelens.study.table import Table

if TYPE_CHECKING:
    from timelens.lenses.cytometry.cells import Cells

__all__ = ["EXHAUSTION", "STATES", "State", "StateCells", "add_states", "exhaustion", "find_states"]

_COMPARTMENTS: tuple[Literal["nest", "margin", "stroma"], ...] = ("nest", "margin", "stroma")


@dataclass(frozen=True)
class State:
    """A functional state.

    Attributes
    ----------
    name
        As it stands in tables.
    positive
        Markers that a cell must bear.
    any_of
        Markers of which it must bear one; those that were measured count.
    components
        Types in which it is asked for, where they are told.
    source
        Where the definition is from.
    """

    name: str
    positive: tuple[str, ...]
    any_of: tuple[str, ...]
    components: tuple[str, ...]
    source: str


_EXHAUSTED = ("cd8-t-cell", "cd4-t-cell", "t-cell")
#: Definitions of exhaustion by name: which marker must go with PD-1.
EXHAUSTION: Mapping[str, State] = {
    "pd1-with-any": State("exhausted", ("PD-1",), ("TIM-3", "LAG-3", "TOX"), _EXHAUSTED,
                          "Wherry & Kurachi 2015 doi:10.1038/nri3862"),
    "pd1-with-tim3": State("exhausted", ("PD-1", "TIM-3"), (), _EXHAUSTED,
                           "Sakuishi 2010 doi:10.1084/jem.20100643"),
    "pd1-with-lag3": State("exhausted", ("PD-1", "LAG-3"), (), _EXHAUSTED, "Blackburn 2009 doi:10.1038/ni.1679"),
    "pd1-with-tox": State("exhausted", ("PD-1", "TOX"), (), _EXHAUSTED, "Khan 2019 doi:10.1038/s41586-019-1325-x"),
}  # fmt: skip
_T = ("t-cell", "cd8-t-cell", "cd4-t-cell", "treg")
#: Single markers.
STATES: tuple[State, ...] = (
    State("PD-1", ("PD-1",), (), (*_T, "nk-cell"), ""),
    State("PD-L1", ("PD-L1",), (), ("cell", "tumour-cell", "tam", "m1-macrophage", "m2-macrophage", "dendritic-cell"),
          ""),
    State("granzyme B", ("granzyme B",), (), ("t-cell", "cd8-t-cell", "nk-cell"), ""),
    State("Ki-67", ("Ki-67",), (), ("cell", "tumour-cell", *_T, "b-cell"), ""),
)  # fmt: skip


@dataclass(frozen=True)
class StateCells:
    """A state in the cells of a region.

    Attributes
    ----------
    state
        What it is.
    markers
        Those that it was judged by.
    cells
        Whether each cell is in it; None where that cannot be told.
    reason
        Why not.
    """

    state: State
    markers: tuple[str, ...]
    cells: NDArray[np.bool_] | None
    reason: str = ""

    @property
    def target(self) -> str:
        """Targets of the markers, by the ids of the knowledge base."""
        return ";".join(targets.get(m).id for m in self.markers)

    @property
    def said(self) -> str:
        """The state in words, for the method of a row."""
        one = self.state
        if one.any_of:
            asked = " or ".join(m for m in self.markers if m not in one.positive)
            return f"{one.name}: {' and '.join(one.positive)} with {asked} ({one.source})"
        return f"{one.name}: {' and '.join(one.positive)}" + (f" ({one.source})" if one.source else "")


def exhaustion(name: str) -> State:
    """The definition of exhaustion of that name.

    Raises
    ------
    UsageError
        If there is none.
    """
    if name not in EXHAUSTION:
        raise UsageError("There is no such definition of exhaustion", field="states: exhaustion", found=name,
                         expected=", ".join(EXHAUSTION))  # fmt: skip
    return EXHAUSTION[name]


def find_states(cells: Cells, definition: str) -> list[StateCells]:
    """Every state in the cells of a region.

    Parameters
    ----------
    cells
        Of one region.
    definition
        Of exhaustion, by name.
    """
    return [_judged(state, cells) for state in (*STATES, exhaustion(definition))]


def _judged(state: State, cells: Cells) -> StateCells:
    others = tuple(m for m in state.any_of if m in cells.positive)
    asked = (*state.positive, *(others or state.any_of))
    absent = [m for m in state.positive if m not in cells.splits]
    single = [m for m in state.positive if m in cells.splits and m not in cells.positive]
    reasons = []
    if absent:
        reasons.append(f"not measured: {', '.join(absent)}")
    if single:
        reasons.append(f"no positive group: {', '.join(single)}")
    if state.any_of and not others:
        seen = [m for m in state.any_of if m in cells.splits]
        reasons.append(f"no positive group: {', '.join(seen)}" if seen else
                       f"none measured of {', '.join(state.any_of)}")  # fmt: skip
    if reasons:
        return StateCells(state, asked, None, "; ".join(reasons))
    inside = np.all([cells.positive[m] for m in state.positive], axis=0)
    if others:
        inside = inside & np.any([cells.positive[m] for m in others], axis=0)
    return StateCells(state, asked, inside)


def add_states(cells: Cells, parts: Compartments | None, definition: str, result: Result) -> None:
    """Put the states of a set of cells into a result: rows, and a column of the table of cells for each.

    Parameters
    ----------
    cells
        Of one region.
    parts
        Its nests, margin and stroma.
    definition
        Of exhaustion, by name.
    result
        Is added to; its table of cells is there.
    """
    states = find_states(cells, definition)
    places = [_Place("section", cells.window.area * 1e-6, np.ones(len(cells), bool))]
    if parts is not None:
        where = parts.of(cells.y_um, cells.x_um)
        places += [_Place(n, parts.area_mm2(n), where == n) for n in _COMPARTMENTS]
    for found in states:
        for component in found.state.components:
            result.measurements += _rows(cells, found, component, places)
    table = result.tables[cells.prefixed("cells")]
    frame = table.data.copy()
    for found in states:
        if found.cells is not None:
            place = list(frame.columns).index("neighbours")
            column = f"state_{found.state.name.replace(' ', '-')}"
            frame.insert(place, column, np.where(found.cells, "yes", "no"))
    result.tables[cells.prefixed("cells")] = Table(frame, dict(table.column_units))


@dataclass(frozen=True)
class _Place:
    name: str
    area_mm2: float
    inside: NDArray[np.bool_]


def _rows(cells: Cells, found: StateCells, component: str, places: Sequence[_Place]) -> list[Measurement]:
    """Parts of a type with exact binomial intervals, densities with Poisson ones.

    What cannot be told is said of the section alone.
    """
    source = f"cells: {cells.name}" if cells.name else "cells"
    about: dict[str, Any] = {"component": component, "target": found.target, "modality": "cytometry",
                             "method_version": timelens.__version__}  # fmt: skip
    part = f"{found.said}; part of the type, binomial interval; {source}"
    count = f"{found.said}; count over area, Poisson interval; {source}"
    types = list(range(len(cells.names))) if component == "cell" else members(component, cells.names)
    why = found.reason or ("" if types else cells.not_told.get(component) or "no member of this family is told")
    if why or found.cells is None:
        return [Measurement("positive_fraction", math.nan, "1", region=cells.prefixed("section"), reason=why,
                            method=part, **about)]  # fmt: skip
    own = np.isin(cells.types, types)
    rows = []
    for place in places:
        total, number = int((own & place.inside).sum()), int((own & place.inside & found.cells).sum())
        about["region"] = cells.prefixed(place.name)
        if total:
            low, high = binomial(number, total)
            rows.append(Measurement("positive_fraction", number / total, "1", lower=low, upper=high, level=LEVEL,
                                    uncertainty_kind="interval", n=total, method=part, **about))  # fmt: skip
        else:
            rows.append(Measurement("positive_fraction", math.nan, "1", n=0, reason="no cell of the type is here",
                                    method=part, **about))  # fmt: skip
        if place.area_mm2 > 0:
            per = density(number, place.area_mm2)
            rows.append(
                Measurement("positive_cell_density_area", float(per.value), "{cells}/mm2", lower=float(per.lower),
                            upper=float(per.upper), level=LEVEL, uncertainty_kind="interval", n=number,
                            method=count, **about)
            )  # fmt: skip
    return rows
