"""Cells of one region: measured on the image, named by the panel, each with its type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells.graph import Graph, contact
from timelens.engines.cells.measure import CellMeasures, measure_cells
from timelens.engines.cells.outlines import cores
from timelens.engines.cells.posterior import CellTypeModel
from timelens.engines.cells.thresholds import explain, split, split_at
from timelens.engines.cells.transform import arcsinh
from timelens.engines.cells.window import Window
from timelens.errors import Problem
from timelens.lenses.cytometry.gating import gate_cells, gates_of
from timelens.lenses.cytometry.markers import canonical
from timelens.lenses.cytometry.scale import background
from timelens.lenses.cytometry.types import SIGNATURES, told

__all__ = ["UNKNOWN", "Cells", "Naming", "find_cells", "marker_places", "name_cells"]

UNKNOWN = "unknown"
_FAINT = "the brighter group is fainter than the floor"


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of one set of labels.

    Attributes
    ----------
    name
        Of the set; empty where there is only one.
    labels
        Label image (y, x).
    pixel_um
        Size of a pixel along (y, x).
    channels
        Names of the columns of ``measures.mean``.
    measures
        Size, place, shape and means, in the order of the labels.
    window
        What was measured; positions count from its outer corner.
    names
        ``unknown``, then the types that the panel tells.
    types
        Place in ``names`` of each cell's type.
    probability
        Of that type.
    not_told
        Types of the table that could not be told, with the reason.
    splits
        Marker to threshold in counts, or to the reason why it has none.
    positive
        Marker that has a threshold to whether each cell is above it.
    graph
        Cells that touch once they have grown.
    places
        Marker to the place of its channel.
    background
        Channel to counts per pixel that were taken off before types were told; empty where none was.
    core_mean
        Means of the cores of cells, as ``measures.mean``; None where types are told from whole cells.
    """

    name: str
    labels: NDArray[np.int32]
    pixel_um: tuple[float, float]
    channels: tuple[str, ...]
    measures: CellMeasures
    window: Window
    names: tuple[str, ...]
    types: NDArray[np.int64]
    probability: NDArray[np.float64]
    not_told: Mapping[str, str]
    splits: Mapping[str, float | str]
    positive: Mapping[str, NDArray[np.bool_]]
    graph: Graph
    places: Mapping[str, int] = field(default_factory=dict)
    background: Mapping[str, float] = field(default_factory=dict)
    core_mean: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.measures)

    @property
    def telling(self) -> NDArray[np.float64]:
        """The means that types are told from, shape (cells, channels)."""
        return self.measures.mean if self.core_mean is None else self.core_mean

    @property
    def y_um(self) -> NDArray[np.float64]:
        """Positions from the outer corner of the first pixel."""
        return self.measures.y_um + self.pixel_um[0] / 2

    @property
    def x_um(self) -> NDArray[np.float64]:
        """Positions from the outer corner of the first pixel."""
        return self.measures.x_um + self.pixel_um[1] / 2

    def prefixed(self, text: str) -> str:
        """A name that says which set of cells it is of, where there are several."""
        return f"{self.name}_{text}" if self.name else text


def marker_places(labels: Sequence[str], stated: Mapping[str, str]) -> tuple[dict[str, int], list[Problem]]:
    """Marker to the place of its channel; of two channels with one marker the first is taken, with a warning."""
    places: dict[str, int] = {}
    problems = []
    for k, label in enumerate(labels):
        marker = stated.get(label) or canonical(label)
        if marker is None:
            continue
        if marker in places:
            problems.append(
                Problem("Two channels bear one marker: the first is used for types", "", f"channel {label}", marker,
                        "one channel per marker", "state which with types: markers", "warning")
            )  # fmt: skip
        else:
            places[marker] = k
    return places, problems


def find_cells(
    name: str,
    values: NDArray[np.float32],
    labels: NDArray[np.int32],
    channels: Sequence[str],
    pixel_um: tuple[float, float],
    options: Mapping[str, Any],
    *,
    reach_um: float,
    own: bool = False,
) -> tuple[Cells | None, list[Problem]]:
    """Measure the cells of a label image and name their types.

    Parameters
    ----------
    name
        Of the set of labels.
    values
        Channels (c, y, x) in counts, cleaned; NaN where nothing was measured.
    labels
        Label image (y, x).
    channels
        Their names.
    pixel_um
        Size of a pixel along (y, x).
    options
        Of the step ``types``.
    reach_um
        How far labels grow to find those that touch.
    own
        Whether outlines were found here: their borders are uncertain, and types are told from the cores of cells
        unless the options say otherwise.

    Returns
    -------
    cells
        None where there is no cell in what was measured.
    problems
        What was noticed.
    """
    window = Window.from_mask(np.isfinite(values).all(axis=0), pixel_um)
    problems: list[Problem] = []
    marks = labels
    measures = measure_cells(values, marks, pixel_um)
    inside = window.contains(measures.y_um + pixel_um[0] / 2, measures.x_um + pixel_um[1] / 2)
    if not inside.all():
        problems.append(
            Problem("Cells outside of what was measured are left out", field=name or "cells",
                    found=f"{int((~inside).sum())} cells", severity="warning")
        )  # fmt: skip
        marks = np.where(np.isin(marks, measures.label[inside]), marks, 0).astype(np.int32)
        measures = measure_cells(values, marks, pixel_um)
    if not len(measures):
        problems.append(Problem("There is no cell in this region", field=name or "cells", found="0 cells"))
        return None, problems
    ground, more = background(values, marks, list(channels), options["background"])
    problems += more
    core = options["pixels"] == "core" or (own and options["pixels"] == "auto")
    core_mean = measure_cells(values, cores(marks), pixel_um).mean if core else None
    named, more = name_cells(
        (measures.mean if core_mean is None else core_mean) - ground, channels, options, title=name
    )
    _, graph = contact(marks, reach=reach_um / pixel_um[0])
    taken = {c: float(level) for c, level in zip(channels, ground, strict=True) if level > 0}
    found = Cells(
        name,
        marks,
        pixel_um,
        tuple(channels),
        measures,
        window,
        graph=graph,
        background=taken,
        core_mean=core_mean,
        **vars(named),
    )
    return found, [*problems, *more]


@dataclass(frozen=True, eq=False)
class Naming:
    """Types of cells, and how they were told, as :class:`Cells` has them."""

    names: tuple[str, ...]
    types: NDArray[np.int64]
    probability: NDArray[np.float64]
    not_told: Mapping[str, str]
    splits: Mapping[str, float | str]
    positive: Mapping[str, NDArray[np.bool_]]
    places: Mapping[str, int] = field(default_factory=dict)


def name_cells(
    mean: NDArray[np.float64], channels: Sequence[str], options: Mapping[str, Any], *, title: str = ""
) -> tuple[Naming, list[Problem]]:
    """Tell the types of cells by their markers.

    Parameters
    ----------
    mean
        Counts of each cell, shape (cells, channels).
    channels
        Names of the columns.
    options
        Of the step ``types``.
    title
        Of the set of cells, for messages.
    """
    problems: list[Problem] = []
    places, more = marker_places(channels, options["markers"])
    problems += more
    table = arcsinh(mean[:, list(places.values())], options["cofactor"])
    stated = {canonical(m) or m: float(np.arcsinh(t / options["cofactor"])) for m, t in options["thresholds"].items()}
    problems += [_unmeasured(m) for m in stated if m not in places]
    fixed = {m: split_at(table[:, k], stated[m]) for k, m in enumerate(places) if m in stated}
    splits = {marker: fixed.get(marker) or split(table[:, k]) for k, marker in enumerate(places)}
    # Two levels of background or spillover part as well as two of signal: the brighter must reach the floor.
    faint = np.arcsinh(options["floor"] / options["cofactor"])
    reasons = {
        m: explain(int(one.reason)) if one.reason else _FAINT if one.mean[1] < faint and m not in fixed else ""
        for m, one in splits.items()
    }
    names: tuple[str, ...] = (UNKNOWN,)
    types, probability = np.zeros(len(mean), np.int64), np.full(len(mean), np.nan)
    if gates := gates_of(options["gates"]):
        chances = [np.full(len(mean), np.nan) if reasons[m] else splits[m].positive(table[:, k])
                   for k, m in enumerate(places)]  # fmt: skip
        names, types, probability, lacks = gate_cells(
            np.reshape(chances, (len(places), len(mean))).T, list(places), gates
        )
        not_told = dict.fromkeys((k for k in SIGNATURES if k not in names), "no gate in the table")
        not_told |= {k: _why(lacking, reasons) for k, lacking in lacks.items()}
    else:
        known = told([m for m, reason in reasons.items() if not reason])
        not_told = {k: _why(lacking, reasons) for k, lacking in known.not_told.items()}
        if known.types:
            found = CellTypeModel(known.types).fit(table, list(places), splits=fixed)
            names, types = found.names, found.label(options["least"])
            probability = found.probability[np.arange(len(types)), types]
            if not found.converged:
                problems.append(
                    Problem("The types of cells did not settle", field=title or "cells", severity="warning")
                )
    thresholds: dict[str, float | str] = {
        m: reasons[m] or float(options["cofactor"] * np.sinh(one.threshold)) for m, one in splits.items()
    }
    positive = {m: table[:, k] >= splits[m].threshold for k, m in enumerate(places) if not reasons[m]}
    return Naming(names, types, probability, not_told, thresholds, positive, places), problems


def _unmeasured(marker: str) -> Problem:
    return Problem("A threshold is stated for a marker that was not measured", field="types: thresholds", found=marker,
                   mend="types: {markers: {CHANNEL: MARKER}} where its channel is not recognised",
                   severity="warning")  # fmt: skip


def _why(lacking: Sequence[str], reasons: Mapping[str, str]) -> str:
    absent = [m for m in lacking if m not in reasons]
    single = [m for m in lacking if m in reasons]
    parts = []
    if absent:
        parts.append(f"not measured: {', '.join(absent)}")
    if single:
        parts.append(f"no positive group: {', '.join(single)}")
    return "; ".join(parts)
