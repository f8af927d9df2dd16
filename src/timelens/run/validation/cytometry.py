"""Tissue cytometry: sections of virtual tumours, stained and read, and measured as a user would.

``truth`` is what the cells that have a pixel in the section add up to, in their true outlines and by their true types;
``truth_object`` counts all cells of the section. The macro-F1 of phenotypes is over the true types with at least ten
cells; a true cell that no found cell covers counts as missed. Simulation and lens share one table of types, so that
this judges segmentation, noise and statistics, not whether the table is true of real tissue.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells.distances import nearest_distances
from timelens.engines.cells.graph import contact
from timelens.engines.cells.measure import measure_cells
from timelens.engines.unmixing.spillover import estimate
from timelens.errors import UsageError
from timelens.lenses.cytometry.cells import Cells
from timelens.lenses.cytometry.lens import CytometryLens
from timelens.lenses.cytometry.simulate import METALS, cytometry_protocol, simulate, single_stains
from timelens.run.validation.cytometry_null import NullPValues, null_p_values
from timelens.run.validation.cytometry_space import space_draws, true_cells
from timelens.run.validation.cytometry_states import borne_markers, state_draws
from timelens.run.validation.rows import Draw
from timelens.study.contract import Protocol, Simulated
from timelens.study.geometry import Geometry
from timelens.tumor.architecture import ARCHITECTURES
from timelens.tumor.microenvironment import Microenvironment, build
from timelens.tumor.section import Section, sample_cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CASES", "DEFAULT", "check", "draw", "figures", "macro_f1", "null_section"]

#: What can be simulated.
CASES: Mapping[str, str] = {
    "outlines": "an inflamed tumour, 30 markers, cells in their true outlines",
    "excluded": "a tumour with immune cells around it, in true outlines",
    "desert": "a tumour with hardly any immune cells, in true outlines",
    "faint": "the inflamed tumour with 3 ions per pixel where a marker is borne, in true outlines",
    "own": "the inflamed tumour, cells found by the lens",
    "spilt": "the inflamed tumour with 5 % spillover left as it is, in true outlines",
    "compensated": "the inflamed tumour with 5 % spillover taken back by simulated single stains, in true outlines",
}
#: 8 ions per pixel where a marker is borne, 1 % spillover, pixels of 1 um.
DEFAULT = Protocol("cytometry", {})
_FAINT_COUNTS = 3.0
_SPILT = 0.05
_COMPONENTS = (
    "cell", "tumour-cell", "t-cell", "cd8-t-cell", "cd4-t-cell", "treg", "tam", "endothelial-cell", "caf",
)  # fmt: skip
_GRID = Geometry.from_spacing((40, 42, 44), (0.3, 0.3, 0.3), frame="tumour")
_WINDOW_MM, _FROM_CENTRE_MM = 0.6, 3.3
_FEWEST = 10
_SEED = 5


def check(protocol: Protocol | None) -> Protocol:
    """The protocol, or the default one.

    Raises
    ------
    UsageError
        If it is of another lens, or a parameter is unknown.
    """
    chosen = protocol or DEFAULT
    if chosen.lens != "cytometry":
        raise UsageError("The protocol is of another lens", field="lens", found=chosen.lens, expected="cytometry")
    cytometry_protocol(chosen)
    return chosen


def draw(protocol: Protocol, case: str, rng: np.random.Generator) -> list[Draw]:
    """One section of a case, against its truth."""
    plan = dict(protocol.parameters)
    if case == "faint":
        plan["counts"] = _FAINT_COUNTS
    if case in ("spilt", "compensated"):
        plan["spillover"] = _SPILT
    architecture = case if case in ARCHITECTURES else "inflamed"
    section = _section(architecture, rng)
    cells = sample_cells(_tumour(architecture), section, rng)
    kinds = np.array([str(v) for v in cells.data["component"]])
    borne = borne_markers(kinds.tolist(), Protocol("cytometry", plan), copy.deepcopy(rng))
    made = simulate(cells, Protocol("cytometry", plan), rng)
    options: dict[str, Any] = {"segment": {"cells": "own" if case == "own" else "given"}}
    if case == "compensated":
        options["clean"] = {"spillover": _estimated(Protocol("cytometry", plan), copy.deepcopy(rng))}
    result = CytometryLens().quantify({"cytometry": made.acquisitions[0]}, made.regions, options)
    rows = {(m.quantity, m.component): m for m in result.measurements if m.region == "section"}
    found = []
    for t in made.truth:
        row = rows.get((t.quantity, t.component))
        if t.component in _COMPONENTS and t.seen > 0:
            value = row.value if row is not None else math.nan
            found.append(Draw(case, t.component, t.quantity, t.unit, value, math.nan, math.nan, False, t.seen, t.ideal))
    (measured,) = result.pictures["cells"]
    scores, distance, true_distance = _against(measured, made, kinds)
    for quantity, score in scores.items():
        found.append(Draw(case, "all types", quantity, "1", score, math.nan, math.nan, False, 1.0, 1.0))
    found.append(
        Draw(case, "cd8-t-cell|tumour-cell", "nearest_cell_distance", "um", distance, math.nan, math.nan, False,
             true_distance, true_distance)
    )  # fmt: skip
    labels = made.regions[0].labels
    assert labels is not None
    true = true_cells(measured, np.asarray(labels.numpy()[0], np.int64), kinds)
    found += state_draws(case, measured, result, made, kinds, borne)
    return found + space_draws(case, architecture, measured, result, true)


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """``validation``: deviation and spread of every quantity; ``null``: p-values of contacts under chance alone."""
    from timelens.figures.cell_charts import null_figure
    from timelens.figures.validation import dots_figure

    found = null_section(np.random.default_rng(_SEED))
    groups = {f"expected 50 or more, {len(found.normal)} shuffles": found.normal,
              f"expected 2 to 50, mid-p, {len(found.mid)} shuffles": found.mid}  # fmt: skip
    return {"validation": dots_figure(rows), "null": null_figure(groups)}


def null_section(rng: np.random.Generator, *, draws: int = 400) -> NullPValues:
    """P-values under chance on the contacts of a section of the inflamed tumour."""
    section = _section("inflamed", rng)
    cells = sample_cells(_tumour("inflamed"), section, rng)
    made = simulate(cells, DEFAULT, rng)
    labels = made.regions[0].labels
    assert labels is not None
    number, graph = contact(np.asarray(labels.numpy()[0], np.int64), reach=4.0)
    kinds = np.array([str(v) for v in cells.data["component"]])[number - 1]
    names, types = np.unique(kinds, return_inverse=True)
    return null_p_values(graph, types.astype(np.int64), len(names), rng, draws=draws)


def macro_f1(truth: NDArray[np.str_], found: NDArray[np.str_], *, fewest: int = _FEWEST) -> float:
    """Mean over types of the harmonic mean of precision and recall; types with fewer true cells do not count.

    Parameters
    ----------
    truth, found
        Type of each cell; empty where a cell has no partner.
    fewest
        True cells that a type must have.

    >>> macro_f1(np.array(["a", "a", "b", "b"]), np.array(["a", "a", "b", "a"]), fewest=1)
    0.7333333333333334
    """
    names, count = np.unique(truth[truth != ""], return_counts=True)
    scores = []
    for name in names[count >= fewest]:
        right = float(((truth == name) & (found == name)).sum())
        scores.append(2 * right / float((truth == name).sum() + (found == name).sum()))
    return float(np.mean(scores)) if scores else math.nan


def _estimated(protocol: Protocol, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Spillover as single stains tell it, in the form of the option."""
    metals = list(METALS)
    matrix = estimate(single_stains(protocol, rng), metals).matrix
    return {
        metal: {other: float(matrix[i, j]) for j, other in enumerate(metals) if i != j and matrix[i, j] > 0}
        for i, metal in enumerate(metals)
    }


@lru_cache(maxsize=4)
def _tumour(name: str) -> Microenvironment:
    return build(ARCHITECTURES[name], _GRID, _SEED)


def _section(name: str, rng: np.random.Generator) -> Section:
    """A window between the centre and the margin, in a direction and a plane of their own."""
    angle = rng.uniform(0, 2 * np.pi)
    middle = [n * s / 2 for n, s in zip(_GRID.shape[1:], _GRID.spacing[1:], strict=True)]
    v, u = middle[0] + _FROM_CENTRE_MM * np.sin(angle), middle[1] + _FROM_CENTRE_MM * np.cos(angle)
    half = _WINDOW_MM / 2
    return Section(index=int(rng.integers(17, 23)), window_mm=(u - half, u + half, v - half, v + half))


def _against(cells: Cells, made: Simulated, kinds: NDArray[np.str_]) -> tuple[dict[str, float], float, float]:
    """Scores, and the median distance from CD8 T cells to the nearest tumour cell, found and true.

    Macro-F1 counts missed and invented cells as wrong; that of matched cells is of pairs of a found and a true cell
    alone; which part of the true cells was found, and which part of the found ones is true, stand beside it.
    """
    image = made.regions[0].labels
    assert image is not None
    true = np.asarray(image.numpy()[0], np.int64)
    own = np.array(cells.names)[cells.types]
    number = np.zeros(int(cells.labels.max()) + 1, np.int64)
    number[cells.measures.label] = np.arange(len(cells)) + 1
    mine = number[cells.labels]
    both = (mine > 0) & (true > 0)
    pair, shared = np.unique(np.column_stack([mine[both], true[both]]), axis=0, return_counts=True)
    best: dict[int, int] = {}
    for k in np.argsort(-shared, kind="stable"):
        best.setdefault(int(pair[k, 0]), int(pair[k, 1]))
    taken: set[int] = set()
    truth, found = [], []
    for k in range(1, len(cells) + 1):
        partner = best.get(k, 0)
        once = partner if partner not in taken else 0
        taken.add(partner)
        truth.append(str(kinds[once - 1]) if once else "")
        found.append(str(own[k - 1]))
    missed = [int(n) for n in np.unique(true[true > 0]) if int(n) not in taken]
    truth += [str(kinds[n - 1]) for n in missed]
    found += [""] * len(missed)
    pairs = np.array([bool(t) for t in truth]) & np.array([bool(f) for f in found])
    scores = {
        "phenotype_f1": macro_f1(np.array(truth), np.array(found)),
        "phenotype_f1_matched": macro_f1(np.array(truth)[pairs], np.array(found)[pairs]),
        "cells_found": float(pairs.sum() / max(pairs.sum() + len(missed), 1)),
        "cells_true": float(pairs.sum() / max(len(cells), 1)),
    }
    measures = measure_cells(np.zeros((1, *true.shape)), true, cells.pixel_um)
    there = kinds[measures.label - 1]
    return (
        scores,
        _median(cells.y_um, cells.x_um, own),
        _median(measures.y_um, measures.x_um, there),
    )


def _median(y: NDArray[np.float64], x: NDArray[np.float64], kinds: NDArray[np.str_]) -> float:
    codes = np.select([kinds == "cd8-t-cell", kinds == "tumour-cell"], [0, 1], 2)
    return float(nearest_distances(y, x, codes, 3).median()[0, 1])
