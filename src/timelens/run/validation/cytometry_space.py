"""Where cells lie: the statistics of the cells that were measured against the same statistics of the true cells.

Both are computed by the same code, from true outlines and types on one side and from what the lens made of the counts
on the other: this judges how wrong types, missed cells and noise carry over, not the statistics themselves, which have
closed forms in the tests. The immune phenotype is held against the name of the architecture as well.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells.clusters import adjusted_rand
from timelens.engines.cells.graph import contact
from timelens.engines.cells.measure import measure_cells
from timelens.lenses.cytometry.cells import UNKNOWN, Cells
from timelens.lenses.cytometry.immune import add_immune
from timelens.lenses.cytometry.recipe import DEFAULTS
from timelens.lenses.cytometry.sample import sample_of
from timelens.lenses.cytometry.statistics import add_statistics, find_compartments
from timelens.run.validation.rows import Draw
from timelens.study.contract import Result

__all__ = ["space_draws", "true_cells"]

_CLASSES = ("inflamed", "excluded", "desert")
_SOURCES = ("cd8-t-cell", "cd4-t-cell", "treg", "caf", "endothelial-cell")
_FEWEST = 10
_CLEAR = 3.0  # standard scores from which on the sign of an interaction is no chance
_SEED = 7


def true_cells(measured: Cells, labels: NDArray[np.int64], kinds: NDArray[np.str_]) -> Cells:
    """The cells in their true outlines, by their true types.

    Parameters
    ----------
    measured
        What the lens found, for window, size of pixels and names.
    labels
        True outlines (y, x).
    kinds
        True type of cell 1, 2 ...
    """
    measures = measure_cells(np.zeros((1, *labels.shape)), labels, measured.pixel_um)
    own = kinds[measures.label - 1]
    names = (UNKNOWN, *sorted(set(own.tolist())))
    types = np.array([names.index(k) for k in own], np.int64)
    _, graph = contact(labels, reach=DEFAULTS["space"]["reach_um"] / measured.pixel_um[0])
    return replace(
        measured, labels=labels.astype(np.int32), measures=measures, names=names, types=types, not_told={},
        core_mean=None, channels=("none",), probability=np.ones(len(types)), graph=graph, splits={}, positive={},
    )  # fmt: skip


def space_draws(case: str, architecture: str, measured: Cells, result: Result, true: Cells) -> list[Draw]:
    """Distances, compartments, interactions, neighbourhoods and immune phenotype of one section.

    Parameters
    ----------
    case, architecture
        What was simulated.
    measured, result
        Of the lens.
    true
        As :func:`true_cells` gives them.
    """
    expected = Result()
    sample, parts = sample_of([true]), [find_compartments(true, DEFAULTS["space"], expected)]
    add_statistics(sample, parts, DEFAULTS["space"], np.random.default_rng(_SEED), expected)
    add_immune(sample, parts, DEFAULTS["immune"], 1.0, expected)
    rows = [*_areas(result, expected), *_distances(result, expected), *_interactions(result, expected)]
    rows += _phenotype(architecture, result, expected)
    if np.array_equal(measured.measures.label, true.measures.label):
        found, wanted = (r.tables["cells"].data for r in (result, expected))
        if "neighbourhood" in found and "neighbourhood" in wanted:
            index = adjusted_rand(found["neighbourhood"].to_numpy(int), wanted["neighbourhood"].to_numpy(int))
            rows.append(("all cells", "neighbourhood_agreement", "1", index, 1.0))
    return [
        Draw(case, region, quantity, unit, value, math.nan, math.nan, False, truth, truth)
        for region, quantity, unit, value, truth in rows
        if math.isfinite(truth)
    ]


_Row = tuple[str, str, str, float, float]


def _value(result: Result, quantity: str, component: str, region: str = "section") -> float:
    found = [m for m in result.measurements if (m.quantity, m.component, m.region) == (quantity, component, region)]
    return found[0].value if found else math.nan


def _areas(result: Result, expected: Result) -> list[_Row]:
    """Areas of the compartments, from the counts and densities of all cells."""
    rows = []
    for place in ("nest", "margin", "stroma"):
        area = [
            next((m.n / m.value for m in r.measurements if m.quantity == "cell_density_area" and m.n and
                  (m.component, m.region) == ("cell", place)), 0.0)
            for r in (result, expected)
        ]  # fmt: skip
        if area[1] > 0:
            rows.append((place, "compartment_area", "mm2", area[0], area[1]))
    return rows


def _distances(result: Result, expected: Result) -> list[_Row]:
    rows = []
    for source in _SOURCES[1:]:  # that of CD8 T cells is among the rows of the section
        pair = f"{source}|tumour-cell"
        truth = _value(expected, "nearest_cell_distance", pair)
        if math.isfinite(truth):
            rows.append((pair, "nearest_cell_distance", "um", _value(result, "nearest_cell_distance", pair), truth))
    return rows


def _interactions(result: Result, expected: Result) -> list[_Row]:
    """Which part of the clear interactions has the right sign, and how scores go together."""
    found, wanted = (r.tables["interactions"].data.set_index(["from", "to"]) for r in (result, expected))
    both = found.index.intersection(wanted.index)
    z, truth = found.loc[both, "z"].to_numpy(float), wanted.loc[both, "z"].to_numpy(float)
    clear = np.abs(truth) > _CLEAR
    if clear.sum() < _FEWEST:
        return []
    sign = float((np.sign(z[clear]) == np.sign(truth[clear])).mean())
    known = np.isfinite(z) & np.isfinite(truth)
    together = float(np.corrcoef(z[known], truth[known])[0, 1])
    return [("clear pairs", "interaction_sign", "1", sign, 1.0), ("all pairs", "interaction_score", "1", together, 1.0)]


def _phenotype(architecture: str, result: Result, expected: Result) -> list[_Row]:
    rows: list[_Row] = []
    for name in _CLASSES:
        value, truth = (_value(r, f"{name}_probability", "cd8-t-cell") for r in (result, expected))
        if name == architecture:
            rows.append(("architecture", f"{name}_probability", "1", value, 1.0))
            rows.append(("true cells", f"{name}_probability", "1", value, truth))
    return rows
