"""Which types of cell are neighbours more often than chance: counts against the shuffling of types over cells.

N_ab counts the edges that lead from a cell of type a to one of type b. If types are shuffled over the cells of an image
and the graph is kept, the mean and the variance of N_ab follow exactly from the numbers of cells and five sums over the
graph (after the join counts of Moran 1948, doi:10.1111/j.2517-6161.1948.tb00012.x, and Cliff and Ord 1981): no shuffle
is needed. The normal law is used for the p-value where the expected count is high enough; below, types are shuffled,
and the p-value is the mid-p of the shuffles. Images are independent: types are never shuffled between them, and the
counts, means and variances of several add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from timelens.engines.cells.graph import Graph
from timelens.errors import UsageError

__all__ = ["NORMAL_FROM", "Interaction", "count", "interaction", "moments", "shuffle_law", "shuffled"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: From this expected count on the normal law gives the p-value.
NORMAL_FROM = 50.0


@dataclass(frozen=True)
class Interaction:
    """Counts of edges between types, and how they compare with chance; arrays have shape (types, types), from by to.

    Parameters
    ----------
    count
        Edges from type a to type b.
    expected, variance
        Under shuffling, exact.
    z
        Standard score; NaN where the count cannot vary.
    p_value
        Two-sided; NaN where the count cannot vary.
    method
        ``normal``, ``shuffled`` or ``""`` per pair: where the p-value comes from.
    cells
        Cells of each type.
    """

    count: IntArray
    expected: FloatArray
    variance: FloatArray
    z: FloatArray
    p_value: FloatArray
    method: NDArray[np.str_]
    cells: IntArray

    @property
    def per_cell(self) -> FloatArray:
        """Neighbours of type b of a cell of type a, on average; NaN where there is no such cell."""
        cells = self.cells[:, None].astype(np.float64)
        return np.divide(self.count, cells, out=np.full(self.count.shape, np.nan), where=cells > 0)


def interaction(
    graph: Graph,
    types: ArrayLike,
    number_of_types: int,
    *,
    images: ArrayLike | None = None,
    p_values: Literal["mixed", "normal", "shuffled"] = "mixed",
    shuffles: int = 1000,
    rng: np.random.Generator | None = None,
) -> Interaction:
    """Count the edges between types and hold them against chance.

    Parameters
    ----------
    graph
        Neighbours; edges between images must not exist.
    types
        Type of each cell, 0 to ``number_of_types - 1``.
    number_of_types
        How many types there are, also such as do not occur.
    images
        Image of each cell; all in one by default.
    p_values
        ``mixed``: by the normal law where the expected count is at least :data:`NORMAL_FROM`, by shuffling elsewhere;
        or one of them for all pairs.
    shuffles
        How many, where they are needed.
    rng
        Needed where shuffles are.

    Raises
    ------
    UsageError
        If types do not fit the graph, an edge joins two images, or shuffles are needed and no generator is given.
    """
    kind = _checked(graph, types, number_of_types)
    groups = _groups(graph, images)
    shape = (number_of_types, number_of_types)
    expected, variance = np.zeros(shape), np.zeros(shape)
    for part, cells in groups:
        mean, spread = moments(part, np.bincount(kind[cells], minlength=number_of_types))
        expected, variance = expected + mean, variance + spread
    found = count(graph, kind, number_of_types)
    # Rounding of sums of large numbers leaves a remainder where the count cannot vary.
    moves = variance > 1e-9 * np.maximum(expected, 1)
    z = np.divide(found - expected, np.sqrt(variance, where=moves, out=np.ones(shape)), out=np.full(shape, np.nan),
                  where=moves)  # fmt: skip
    p_value = np.where(moves, 2 * ndtr(-np.abs(z)), np.nan)
    method = np.where(moves, "normal", "")
    small = moves & (expected < NORMAL_FROM) if p_values == "mixed" else moves & (p_values == "shuffled")
    if small.any():
        if rng is None:
            raise UsageError(
                "Small counts need shuffles, and these a generator", field="rng", found="none",
                expected="numpy.random.default_rng(seed)", mend="or ask for p_values='normal'",
            )  # fmt: skip
        p_value = np.where(small, _mid_p(groups, kind, found, shuffles, rng), p_value)
        method = np.where(small, "shuffled", method)
    return Interaction(found, expected, variance, z, p_value, method, np.bincount(kind, minlength=number_of_types))


def count(graph: Graph, types: ArrayLike, number_of_types: int) -> IntArray:
    """Edges from each type to each type, shape (types, types)."""
    kind = _checked(graph, types, number_of_types)
    return np.asarray(_count(graph.starts, graph.neighbours, kind, number_of_types))


def moments(graph: Graph, cells: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Exact mean and variance of all counts when types are shuffled over the cells.

    Of two edges i -> j and k -> l, the chance that both lead from a to b depends only on which of their ends are the
    same cell; so the second moment is a sum over the five ways in which two edges can meet, each with the number of
    such pairs of edges.

    Parameters
    ----------
    graph
        Neighbours in one image.
    cells
        Cells of each type, shape (types,).

    Returns
    -------
    expected, variance
        Shape (types, types).
    """
    out = graph.degree.astype(np.float64)
    into = np.bincount(graph.neighbours, minlength=len(graph)).astype(np.float64)
    edges, back = float(len(graph.neighbours)), float(_mutual(graph.starts, graph.neighbours))
    fork = float((out * out).sum()) - edges  # the same source
    meet = float((into * into).sum()) - edges  # the same target
    path = float((into * out).sum()) - back  # one ends where the other begins
    return shuffle_law(len(graph), cells, total=edges, square=edges, back=back, fork=fork, meet=meet, path=path)


def shuffle_law(
    n: int, cells: ArrayLike, *, total: float, square: float, back: float, fork: float, meet: float, path: float
) -> tuple[FloatArray, FloatArray]:
    """Exact mean and variance of the summed weights of edges between types when types are shuffled over cells.

    Parameters
    ----------
    n
        Cells in all.
    cells
        Of each type, shape (types,).
    total, square
        Sums of the weights and of their squares over all directed edges; both are the number of edges where each
        weighs one.
    back, fork, meet, path
        Sums of the products of the weights of two different edges: the one the reverse of the other, the same source,
        the same target, the one beginning where the other ends (and not leading back).

    Returns
    -------
    expected, variance
        Shape (types, types).
    """
    number, m = np.asarray(cells, np.float64), float(n)
    apart = total * total - square - back - fork - meet - 2 * path
    two, three, four = m * (m - 1), m * (m - 1) * (m - 2), m * (m - 1) * (m - 2) * (m - 3)
    a, b = number[:, None], number[None, :]
    pair = a * b
    second = _over(square * pair, two) + _over(fork * pair * (b - 1) + meet * pair * (a - 1), three)
    second += _over(apart * pair * (a - 1) * (b - 1), four)
    first = _over(total * pair, two)
    same = number * (number - 1)
    own = _over((square + back) * same, two) + _over((fork + meet + 2 * path) * same * (number - 2), three)
    own += _over(apart * same * (number - 2) * (number - 3), four)
    place = np.diag_indices(len(number))
    first[place], second[place] = _over(total * same, two), own
    return first, np.maximum(second - first**2, 0.0)


def _over(value: FloatArray, by: float) -> FloatArray:
    return value / by if by > 0 else np.zeros_like(value)


@njit(cache=True, nogil=True)
def _mutual(starts, neighbours):  # type: ignore[no-untyped-def]
    """Edges whose reverse is there too, counted in one pass: in each row, the reverses are met in ascending order."""
    found, place = 0, starts[:-1].copy()
    for i in range(len(starts) - 1):
        for e in range(starts[i], starts[i + 1]):
            j = neighbours[e]
            if j > i:
                at, end = place[j], starts[j + 1]
                while at < end and neighbours[at] < i:
                    at += 1
                place[j] = at
                if at < end and neighbours[at] == i:
                    found += 2
    return found


# -- shuffles --------------------------------------------------------------------------------------------------------


def shuffled(graph: Graph, types: ArrayLike, number_of_types: int, shuffles: int, rng: np.random.Generator) -> IntArray:
    """Counts after each of so many shuffles of the types, shape (shuffles, types, types)."""
    kind = _checked(graph, types, number_of_types).astype(np.int32)
    result = np.empty((shuffles, number_of_types, number_of_types), np.int64)
    for k in range(shuffles):
        result[k] = _count(graph.starts, graph.neighbours, rng.permutation(kind), number_of_types)
    return result


@njit(cache=True, nogil=True)
def _count(starts, neighbours, kind, types):  # type: ignore[no-untyped-def]
    found = np.zeros((types, types), np.int64)
    for i in range(len(starts) - 1):
        row = found[kind[i]]
        for e in range(starts[i], starts[i + 1]):
            row[kind[neighbours[e]]] += 1
    return found


def _mid_p(
    groups: list[tuple[Graph, IntArray]], kind: IntArray, found: IntArray, shuffles: int, rng: np.random.Generator
) -> FloatArray:
    """Two-sided mid-p: ties, of which the count itself is one, count half."""
    types = len(found)
    total = np.zeros((shuffles, types, types), np.int64)
    for part, cells in groups:
        total += shuffled(part, kind[cells], types, shuffles, rng)
    ties = 0.5 * ((total == found).sum(axis=0) + 1)
    above = ((total > found).sum(axis=0) + ties) / (shuffles + 1)
    return np.minimum(2 * np.minimum(above, 1 - above), 1.0)


# -- checks ----------------------------------------------------------------------------------------------------------


def _checked(graph: Graph, types: ArrayLike, number_of_types: int) -> IntArray:
    kind = np.asarray(types)
    if kind.shape != (len(graph),):
        raise UsageError("Each cell of the graph has one type", field="types", found=kind.shape, expected=(len(graph),))
    if kind.size and (kind.dtype.kind not in "iu" or kind.min() < 0 or kind.max() >= number_of_types):
        raise UsageError(
            "Types are numbered from 0", field="types", found=f"{kind.min()} to {kind.max()}",
            expected=f"0 to {number_of_types - 1}",
        )  # fmt: skip
    return kind.astype(np.int64)


def _groups(graph: Graph, images: ArrayLike | None) -> list[tuple[Graph, IntArray]]:
    """The part of the graph in each image, with its cells."""
    if images is None:
        return [(graph, np.arange(len(graph)))]
    names, image = np.unique(np.asarray(images), return_inverse=True)
    if image.shape != (len(graph),):
        raise UsageError("Each cell lies in one image", field="images", found=image.shape, expected=(len(graph),))
    source = graph.sources
    if (image[source] != image[graph.neighbours]).any():
        raise UsageError("An edge joins cells of two images", field="graph", mend="stack one graph per image")
    order = np.argsort(image, kind="stable")
    place = np.empty(len(graph), np.int64)
    bounds = np.searchsorted(image[order], np.arange(len(names) + 1))
    place[order] = np.arange(len(graph)) - bounds[image[order]]
    parts = []
    for low, high in pairwise(bounds):
        cells = order[low:high]
        degree = graph.degree[cells]
        starts = np.concatenate([[0], np.cumsum(degree)])
        edge = np.repeat(graph.starts[cells] - starts[:-1], degree) + np.arange(starts[-1])
        parts.append((Graph(starts, place[graph.neighbours[edge]].astype(np.int32)), cells))
    return parts
