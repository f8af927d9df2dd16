"""Cells that another program found: a table of positions, types or means, without the picture.

What needs no area is measured as on a picture: parts of all cells, distances, who lies beside whom, neighbourhoods,
lymphoid structures. Densities, the immune phenotype and pairs by distance need to know what was looked at: the step
``table`` states it, and without it these rows bear the reason instead of a number. Neighbours are joined by Delaunay's
triangles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells.graph import delaunay
from timelens.engines.cells.measure import CellMeasures
from timelens.engines.cells.window import Window
from timelens.errors import DataError, MissingFieldError, Problem
from timelens.knowledge import components
from timelens.lenses.cytometry.cells import UNKNOWN, Cells, Naming, name_cells
from timelens.lenses.cytometry.types import SIGNATURES
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.provenance import DEFAULT_SEED
from timelens.study.table import Table
from timelens.units import conversion_factor

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["cells_of_table", "quantify_table"]

_MEAN, _COUNTS = "mean_", "{counts}"
#: Room around the outermost cells where the window is not stated, in micrometres.
_ROOM_UM = 5.0
_NO_AREA = "the area that was looked at is not stated"
#: Tables that say something per area.
_BY_AREA = ("pairs", "infiltration", "phenotype")


def quantify_table(scan: Acquisition, steps: Mapping[str, Mapping[str, Any]]) -> Result:
    """What the cells of a table add up to.

    Parameters
    ----------
    scan
        A table of cells.
    steps
        All steps of the lens; ``table`` has ``window_um`` (first x, first y, last x, last y; empty where it is not
        known), ``longest_um`` of an edge between neighbours, ``column`` with types and ``names`` of types that are
        called otherwise.

    Raises
    ------
    DataError
        If there are fewer than three cells, or one lies outside of the window.
    MissingFieldError
        If neither types nor counts are there.
    UsageError
        If the options make no sense.
    """
    from timelens.lenses.cytometry.immune import add_immune
    from timelens.lenses.cytometry.sample import sample_of
    from timelens.lenses.cytometry.states import add_states
    from timelens.lenses.cytometry.statistics import add_statistics, find_compartments

    cells, problems = cells_of_table(scan, steps)
    stated = bool(steps["table"]["window_um"])
    title = scan.description or scan.id
    result = Result(problems=problems)
    result.audit["cytometry"] = {
        "cells": f"given: {len(cells)} rows of a table",
        "window": f"{cells.window.width:g} x {cells.window.height:g} um" if stated else f"not stated: {_NO_AREA}",
        "thresholds": dict(cells.splits),
    }
    sample, parts = sample_of([cells], [title]), [find_compartments(cells, steps["space"], result)]
    add_statistics(sample, parts, steps["space"], np.random.default_rng(DEFAULT_SEED), result)
    if cells.positive:
        add_states(cells, parts[0], steps["states"]["exhaustion"], result)
    add_immune(sample, parts, steps["immune"], steps["types"]["cofactor"], result)
    if not stated:
        _without_area(result)
    result.pictures["samples"] = (sample,)
    return result


def cells_of_table(scan: Acquisition, steps: Mapping[str, Mapping[str, Any]]) -> tuple[Cells, list[Problem]]:
    """The rows of a table as cells; parameters and errors as :func:`quantify_table` has them."""
    table = scan.data
    assert isinstance(table, Table)
    options, frame = steps["table"], table.data
    y, x = (frame[c].to_numpy(float) * conversion_factor(table.column_units[c], "um") for c in "yx")
    if len(frame) < 3 or not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise DataError("The table holds no three cells with positions", file=scan.where, field="x, y",
                        found=f"{len(frame)} rows", expected="3 or more, all finite")  # fmt: skip
    window, (left, top) = _window(options["window_um"], y, x, scan)
    y, x = y - top, x - left
    problems: list[Problem] = []
    if not options["window_um"]:
        problems.append(
            Problem("What was looked at is not stated: there are no densities, and the border of the cells is taken "
                    "for that of the tissue", field="table: window_um", found="nothing",
                    expected="first x, first y, last x, last y", mend="table: {window_um: [0, 0, 1000, 1000]}",
                    severity="warning")
        )  # fmt: skip
    counted = [str(c) for c in frame.columns if str(c).startswith(_MEAN) and table.column_units.get(c) == _COUNTS]
    if counted or not (others := [c for c in frame.columns if str(c).startswith(_MEAN)]):
        channels = tuple(c.removeprefix(_MEAN) for c in counted)
    else:
        channels = ()
        problems.append(
            Problem("The values are no counts, and tell no types", field="unit",
                    found=table.column_units.get(others[0], "nothing"), expected=_COUNTS, severity="warning")
        )  # fmt: skip
    mean = frame[counted].to_numpy(float) if counted else np.empty((len(frame), 0))
    named = _named(frame, mean, channels, steps, problems, scan)
    cells = Cells(
        "", np.zeros((0, 0), np.int32), (1.0, 1.0), channels, _measures(table, y, x, mean), window,
        graph=delaunay(y, x, longest=options["longest_um"]), **vars(named),
    )  # fmt: skip
    return cells, problems


def _window(
    stated: list[float], y: NDArray[np.float64], x: NDArray[np.float64], scan: Acquisition
) -> tuple[Window, tuple[float, float]]:
    """The window, and its first corner (x, y)."""
    if not stated:
        left, top = float(x.min()) - _ROOM_UM, float(y.min()) - _ROOM_UM
        return Window.rectangle(float(y.max()) + _ROOM_UM - top, float(x.max()) + _ROOM_UM - left), (left, top)
    left, top, right, bottom = stated
    window = Window.rectangle(bottom - top, right - left)
    outside = ~window.contains(y - top, x - left)
    if outside.any():
        k = int(np.flatnonzero(outside)[0])
        raise DataError("A cell lies outside of the window that is stated", file=scan.where, field="table: window_um",
                        found=f"({x[k]:g}, {y[k]:g}) um, and {int(outside.sum()) - 1} more", expected=stated,
                        mend="state the window in micrometres, in the frame of the positions")  # fmt: skip
    return window, (left, top)


def _measures(table: Table, y: NDArray[np.float64], x: NDArray[np.float64], mean: NDArray[np.float64]) -> CellMeasures:
    """Positions and, where the table has them, sizes; what it has not is NaN."""
    frame = table.data

    def column(name: str, unit: str) -> NDArray[np.float64]:
        if name not in table.column_units:
            return np.full(len(frame), math.nan)
        return frame[name].to_numpy(float) * conversion_factor(table.column_units[name], unit)

    border = frame["at_border"].astype(str).to_numpy() == "yes" if "at_border" in frame else np.zeros(len(frame), bool)
    # Places of cells count from the centre of a pixel of one micrometre.
    return CellMeasures(
        _numbers(frame), column("area", "um2"), y - 0.5, x - 0.5, column("major_axis", "um"),
        column("minor_axis", "um"), column("eccentricity", "1"), mean, np.ones_like(mean), border,
    )  # fmt: skip


def _numbers(frame: pd.DataFrame) -> NDArray[np.int64]:
    """The names of cells where they are different whole numbers, else 1, 2 ..."""
    names = [str(v) for v in frame["cell"]] if "cell" in frame else []
    if names and len(set(names)) == len(names) and all(n.isdecimal() and len(n) < 10 for n in names):
        return np.array([int(n) for n in names], np.int64)
    return np.arange(1, len(frame) + 1)


def _named(
    frame: pd.DataFrame,
    mean: NDArray[np.float64],
    channels: tuple[str, ...],
    steps: Mapping[str, Mapping[str, Any]],
    problems: list[Problem],
    scan: Acquisition,
) -> Naming:
    """Types as a column states them, else by their markers."""
    column = steps["table"]["column"]
    if not channels and column not in frame.columns:
        raise MissingFieldError(
            "The cells have neither types nor counts", file=scan.where, field=f"obs[{column!r}]",
            found=", ".join(map(str, frame.columns)), expected="a column of types, or counts in X",
            mend="table: {column: NAME}",
        )  # fmt: skip
    by_marker, more = name_cells(mean, channels, steps["types"])
    if column not in frame.columns:
        problems += more
        return by_marker
    stated = dict(steps["table"]["names"])
    said = [str(v) for v in frame[column]]
    meant = {name: _component(stated.get(name, name)) for name in dict.fromkeys(said)}
    lost = [name for name, kind in meant.items() if kind == UNKNOWN and name not in ("", UNKNOWN, "nan")]
    if lost:
        problems.append(
            Problem("Types that are not told here are counted as unknown", field=f"obs[{column!r}]",
                    found=", ".join(lost[:8]), expected="a type of the knowledge base, or a synonym",
                    mend="table: {names: {NAME: cd8-t-cell}}", severity="warning")
        )  # fmt: skip
    names = (UNKNOWN, *(n for n in SIGNATURES if n in meant.values()))
    types = np.array([names.index(meant[v]) for v in said], np.int64)
    if "probability" in frame.columns and frame["probability"].dtype.kind in "iuf":
        probability = frame["probability"].to_numpy(float)
    else:
        probability = np.full(len(types), math.nan)
    return replace(by_marker, names=names, types=types, probability=probability, not_told={})


def _component(name: str) -> str:
    found = components.find(name) if name else None
    if found is None and name:
        found = components.find(name.replace("_", " "))
    return found.id if found is not None and found.id in SIGNATURES else UNKNOWN


def _without_area(result: Result) -> None:
    """Take back what rests on an area that nobody stated."""
    for k, row in enumerate(result.measurements):
        if not row.reason and (row.unit.endswith(("/mm2", "/um2")) or row.quantity.endswith("_probability")):
            result.measurements[k] = replace(
                row, value=math.nan, lower=math.nan, upper=math.nan, level=math.nan, uncertainty=math.nan,
                uncertainty_kind="none", flags="", reason=_NO_AREA,
            )  # fmt: skip
    for name in _BY_AREA:
        result.tables.pop(name, None)
