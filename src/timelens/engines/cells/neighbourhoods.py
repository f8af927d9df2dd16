"""Cellular neighbourhoods: regions of tissue that are made of the same mixture of cells.

Around each cell a window of its nearest cells is opened, the parts of the types in it are counted, and windows of like
composition form a neighbourhood (Schürch 2020, doi:10.1016/j.cell.2020.07.005). Where neighbourhoods meet, the smallest
set of them that fills most of a wider window is the spatial context (Bhate 2022, doi:10.1016/j.cels.2021.09.012).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.cells.graph import Graph
from timelens.engines.cells.kmeans import kmeans
from timelens.errors import UsageError

__all__ = ["Neighbourhoods", "composition", "context_names", "neighbourhoods", "spatial_context"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Neighbourhoods:
    """Neighbourhoods in the order of their size.

    Parameters
    ----------
    label
        Neighbourhood of each cell.
    parts
        Mean part of each type in the windows of each neighbourhood, shape (neighbourhoods, types).
    enrichment
        log2 of that part over the part of the type among all cells; NaN where the type does not occur, and minus
        infinity where it does not occur in the neighbourhood.
    """

    label: NDArray[np.int32]
    parts: FloatArray
    enrichment: FloatArray


def composition(graph: Graph, types: ArrayLike, number_of_types: int, *, with_self: bool = True) -> FloatArray:
    """Parts of the types in the window of each cell, shape (cells, types); NaN where the window is empty.

    Parameters
    ----------
    graph
        The window of each cell; usually its nearest, from :func:`~timelens.engines.cells.graph.nearest`.
    types
        Type of each cell, 0 to ``number_of_types - 1``.
    number_of_types
        How many types there are.
    with_self
        Whether the cell counts in its own window.
    """
    kind = np.asarray(types)
    if kind.shape != (len(graph),) or (kind.size and not (0 <= kind.min() <= kind.max() < number_of_types)):
        raise UsageError("Each cell of the graph has one type, numbered from 0", field="types", found=kind.shape,
                         expected=f"({len(graph)},) below {number_of_types}")  # fmt: skip
    code = np.repeat(np.arange(len(graph)) * number_of_types, graph.degree) + kind[graph.neighbours]
    counts = np.bincount(code, minlength=len(graph) * number_of_types).reshape(-1, number_of_types).astype(np.float64)
    if with_self:
        counts[np.arange(len(graph)), kind] += 1
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def neighbourhoods(
    graph: Graph, types: ArrayLike, number_of_types: int, groups: int, rng: np.random.Generator, *, starts: int = 8
) -> Neighbourhoods:
    """Find neighbourhoods; cells of all samples together, so that a number means the same in each.

    Parameters
    ----------
    graph
        The window of each cell; those of several samples stacked.
    types, number_of_types
        As in :func:`composition`.
    groups
        How many neighbourhoods.
    rng
        For the seeds of k-means.
    starts
        How many seeds compete. Where tissue has no clear neighbourhoods, few of them leave much to chance.
    """
    parts = composition(graph, types, number_of_types)
    found = kmeans(parts, groups, rng, starts=starts)
    overall = np.bincount(np.asarray(types), minlength=number_of_types) / max(len(graph), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        enrichment = np.where(overall > 0, np.log2(found.centres / overall), np.nan)
    return Neighbourhoods(found.label, found.centres, enrichment)


def spatial_context(graph: Graph, label: ArrayLike, groups: int, *, share: float = 0.9) -> NDArray[np.int64]:
    """The smallest set of neighbourhoods that makes up a share of each cell's window, as a number.

    Bit k of the number is set if neighbourhood k belongs to the set; :func:`context_names` gives text.

    Parameters
    ----------
    graph
        A window of many cells (100 nearest, say).
    label
        Neighbourhood of each cell.
    groups
        How many neighbourhoods there are, at most 62.
    share
        Part of the window that the set must reach.
    """
    if not 0 < share <= 1 or not 1 <= groups <= 62:
        raise UsageError(
            "A share lies between 0 and 1, for 1 to 62 neighbourhoods", field="share", found=(share, groups)
        )
    parts = composition(graph, label, groups)
    order = np.argsort(-parts, axis=1, kind="stable")
    filled = np.cumsum(np.take_along_axis(parts, order, axis=1), axis=1)
    needed = (filled < share - 1e-9).sum(axis=1) + 1
    taken = np.arange(groups) < needed[:, None]
    return np.where(taken, np.int64(1) << order, 0).sum(axis=1)


def context_names(contexts: ArrayLike) -> list[str]:
    """Spatial contexts as text: the numbers of their neighbourhoods, ``0_3``."""
    return ["_".join(str(k) for k in range(63) if int(c) >> k & 1) for c in np.asarray(contexts).ravel()]
