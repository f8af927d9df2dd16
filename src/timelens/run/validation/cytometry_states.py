"""Functional states and clusters of virtual sections, against the markers that their cells bear."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from timelens.knowledge import components, targets
from timelens.lenses.cytometry.cells import Cells
from timelens.lenses.cytometry.markers import MARKERS
from timelens.lenses.cytometry.simulate import cytometry_protocol, express
from timelens.run.validation.rows import Draw
from timelens.study.contract import Protocol, Result, Simulated

__all__ = ["borne_markers", "state_draws"]

#: Markers that make a state, and the type it is asked for in.
_STATES = (
    (("PD-1",), "t-cell"), (("PD-1", "TOX"), "cd8-t-cell"), (("granzyme B",), "cd8-t-cell"), (("PD-L1",), "tam"),
    (("PD-L1",), "tumour-cell"), (("Ki-67",), "tumour-cell"),
)  # fmt: skip


def borne_markers(kinds: Sequence[str], protocol: Protocol, rng: np.random.Generator) -> dict[str, NDArray[np.bool_]]:
    """Marker to whether each cell bears it, from the state of the generator with which the section is simulated.

    Expression is the first thing that :func:`~timelens.lenses.cytometry.simulate.simulate` draws.
    """
    plan = cytometry_protocol(protocol)
    level = express([str(k) for k in kinds], plan, rng)
    return {marker: level[:, k] > plan.background for k, marker in enumerate(MARKERS)}


def state_draws(
    case: str,
    cells: Cells,
    result: Result,
    made: Simulated,
    kinds: NDArray[np.str_],
    borne: dict[str, NDArray[np.bool_]],
) -> list[Draw]:
    """Parts of a type in each state, and how many cells of the section are judged rightly.

    Parameters
    ----------
    case
        Name of the case.
    cells, result
        What the lens found.
    made
        The section; its labels are the places of the cells plus one.
    kinds, borne
        Type of each cell, and the markers that it bears.
    """
    image = made.regions[0].labels
    assert image is not None
    seen = np.isin(np.arange(1, len(kinds) + 1), image.numpy())
    rows = {(m.target, m.component): m for m in result.measurements
            if m.quantity == "positive_fraction" and m.region == "section"}  # fmt: skip
    found = []
    for markers, component in _STATES:
        own = np.isin(kinds, sorted(components.family(component)))
        true = np.all([borne[m] for m in markers], axis=0)
        if not (own & seen).any():
            continue
        row = rows.get((";".join(targets.get(m).id for m in markers), component))
        value = row.value if row is not None else math.nan
        found.append(
            Draw(case, f"{component} with {' and '.join(markers)}", "positive_fraction", "1", value, math.nan, math.nan,
                 False, float(true[own & seen].mean()), float(true[own].mean()))
        )  # fmt: skip
    if np.array_equal(cells.labels, image.numpy()[0]):  # in true outlines cells are known by number
        place = cells.measures.label - 1
        wanted = ("PD-1", "PD-L1", "granzyme B", "Ki-67")
        right = [float((cells.positive[m] == borne[m][place]).mean()) if m in cells.positive else 0.0 for m in wanted]
        found.append(Draw(case, "all cells", "states_right", "1", float(np.mean(right)), math.nan, math.nan, False,
                          1.0, 1.0))  # fmt: skip
    return found
