"""Who is whose neighbour: by contact, by distance, by rank, by Delaunay triangles.

A graph holds, for each cell, the cells that it points to. Contact, radius and Delaunay graphs are symmetric: both
cells point to each other. In a graph of the k nearest, a cell may be near to one that has nearer neighbours itself. No
cell is its own neighbour. Cells of several images are joined with :func:`stack`, which draws no edge between images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.spatial import Delaunay, QhullError, cKDTree

from timelens.errors import UsageError

__all__ = ["Graph", "contact", "delaunay", "nearest", "radius", "stack"]


@dataclass(frozen=True)
class Graph:
    """Neighbours of each cell in compressed rows.

    Parameters
    ----------
    starts
        Cell i points to ``neighbours[starts[i]:starts[i + 1]]``; one entry more than cells.
    neighbours
        Places of cells, in ascending order for each cell.
    """

    starts: NDArray[np.int64]
    neighbours: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def degree(self) -> NDArray[np.int64]:
        """How many neighbours each cell has."""
        return np.diff(self.starts)

    @property
    def sources(self) -> NDArray[np.int32]:
        """The cell that each entry of ``neighbours`` belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.degree)

    def symmetric(self) -> Graph:
        """The graph in which two cells are neighbours if either points to the other."""
        source, target = self.sources, self.neighbours
        return _from_pairs(np.concatenate([source, target]), np.concatenate([target, source]), len(self))


def _from_pairs(source: NDArray[np.int32], target: NDArray[np.int32], cells: int) -> Graph:
    """A graph from directed pairs, each kept once, without loops."""
    apart = source != target
    joined = coo_array((np.ones(apart.sum(), np.bool_), (source[apart], target[apart])), (cells, cells)).tocsr()
    joined.sort_indices()
    return Graph(joined.indptr.astype(np.int64), joined.indices.astype(np.int32))


def points_of(y: ArrayLike, x: ArrayLike) -> NDArray[np.float64]:
    """Positions as an array (cells, 2).

    Raises
    ------
    UsageError
        If lengths differ or a position is not finite.
    """
    points = np.column_stack([np.asarray(y, np.float64).ravel(), np.asarray(x, np.float64).ravel()])
    if not np.isfinite(points).all():
        bad = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise UsageError("A cell's position is not finite", field="y, x", found=f"cell {bad}", expected="um")
    return points


def contact(labels: ArrayLike, *, reach: float = 4.0) -> tuple[NDArray[np.int64], Graph]:
    """Cells whose labels touch once each has been let grow.

    Labels grow by the Euclidean distance ``reach`` into what is no cell, each pixel going to the nearest cell; two
    cells are neighbours if a pixel of one lies beside (not diagonally from) a pixel of the other. With ``reach=4`` this
    is steinbock's neighbourhood by expansion.

    Parameters
    ----------
    labels
        Whole numbers (y, x), 0 outside of cells.
    reach
        In pixels; 0 joins only cells that touch.

    Returns
    -------
    label
        Numbers of the cells, in the order of the graph.
    graph
    """
    marks = np.asarray(labels)
    if marks.ndim != 2 or marks.dtype.kind not in "iub" or marks.min(initial=0) < 0:
        raise UsageError("Labels are whole numbers (y, x)", field="labels", found=f"{marks.dtype} {marks.shape}")
    if not reach >= 0:
        raise UsageError("The reach is a distance in pixels", field="reach", found=reach, expected="0 or more")
    label = np.unique(marks[marks > 0]).astype(np.int64)
    if not len(label):
        return label, Graph(np.zeros(1, np.int64), np.zeros(0, np.int32))
    grown = _grow(marks.astype(np.int64), reach) if reach else marks.astype(np.int64)
    pairs = []
    for one, other in ((grown[1:], grown[:-1]), (grown[:, 1:], grown[:, :-1])):
        touching = (one != other) & (one > 0) & (other > 0)
        pairs.append(np.searchsorted(label, np.stack([one[touching], other[touching]])))
    a, b = np.concatenate(pairs, axis=1).astype(np.int32)
    return label, _from_pairs(np.concatenate([a, b]), np.concatenate([b, a]), len(label))


def _grow(marks: NDArray[np.int64], reach: float) -> NDArray[np.int64]:
    distance, (row, column) = ndimage.distance_transform_edt(marks == 0, return_indices=True)
    return np.where(distance <= reach, marks[row, column], 0)


def radius(y: ArrayLike, x: ArrayLike, reach: float) -> Graph:
    """Cells whose centres lie within a distance of each other.

    Parameters
    ----------
    y, x
        Positions; several cells may share one.
    reach
        In the unit of the positions.
    """
    if not reach > 0:
        raise UsageError("The reach is a positive distance", field="reach", found=reach, expected="um")
    points = points_of(y, x)
    pairs = cKDTree(points).query_pairs(reach, output_type="ndarray") if len(points) else np.zeros((0, 2), np.int64)
    a, b = pairs.T.astype(np.int32)
    return _from_pairs(np.concatenate([a, b]), np.concatenate([b, a]), len(points))


def nearest(y: ArrayLike, x: ArrayLike, k: int, *, longest: float = np.inf, workers: int = 2) -> Graph:
    """The k nearest other cells of each cell, fewer where there are fewer.

    Parameters
    ----------
    y, x
        Positions; several cells may share one.
    k
        How many.
    longest
        Cells further away are no neighbours.
    workers
        Threads.

    Notes
    -----
    Where several cells are equally far at rank k, the one that stands first is not always taken.
    """
    if k < 1:
        raise UsageError("At least one neighbour is asked for", field="k", found=k, expected="1 or more")
    points = points_of(y, x)
    n = len(points)
    if n < 2:
        return Graph(np.zeros(n + 1, np.int64), np.zeros(0, np.int32))
    wanted = min(k, n - 1)
    distance, index = cKDTree(points).query(points, wanted + 1, workers=workers)
    # A cell is not always the first of those at its own position, and not always among them.
    other = index != np.arange(n)[:, None]
    other[other.all(axis=1), -1] = False
    index = index[other].reshape(n, wanted).astype(np.int32)
    distance = distance[other].reshape(n, wanted)
    order = np.argsort(np.where(distance <= longest, index, n), axis=1)
    keep = np.take_along_axis(distance <= longest, order, axis=1)
    starts = np.zeros(n + 1, np.int64)
    np.cumsum(keep.sum(axis=1), out=starts[1:])
    return Graph(starts, np.take_along_axis(index, order, axis=1)[keep])


def delaunay(y: ArrayLike, x: ArrayLike, *, longest: float) -> Graph:
    """Cells joined by an edge of the Delaunay triangles that is not longer than a cut.

    Parameters
    ----------
    y, x
        Positions. Cells at one position share their neighbours and are neighbours of each other.
    longest
        Longest edge, in the unit of the positions: triangles that span gaps in the tissue join no neighbours.
    """
    if not longest > 0:
        raise UsageError("The longest edge is a positive distance", field="longest", found=longest, expected="um")
    points = points_of(y, x)
    unique, place = np.unique(points, axis=0, return_inverse=True)
    place = place.ravel()
    pairs = _edges(unique)
    length = np.hypot(*(unique[pairs[:, 0]] - unique[pairs[:, 1]]).T)
    a, b = pairs[length <= longest].T
    if len(unique) == len(points):
        cell = np.argsort(place).astype(np.int32)
        a, b = cell[a], cell[b]
        return _from_pairs(np.concatenate([a, b]), np.concatenate([b, a]), len(points))
    members = [np.flatnonzero(place == p).astype(np.int32) for p in range(len(unique))]
    source, target = [], []
    for one, other in [*zip(a, b, strict=True), *((p, p) for p in range(len(unique)) if len(members[p]) > 1)]:
        left, right = (part.ravel() for part in np.meshgrid(members[one], members[other]))
        source += [left, right]
        target += [right, left]
    empty = np.zeros(0, np.int32)
    return _from_pairs(np.concatenate([empty, *source]), np.concatenate([empty, *target]), len(points))


def _edges(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Edges of the triangles of different points; of points in a line, those between following ones."""
    if len(points) < 2:
        return np.zeros((0, 2), np.int64)
    try:
        corners = Delaunay(points).simplices
    except (QhullError, ValueError):
        order = np.argsort(points @ (points[-1] - points[0]), kind="stable")
        return np.column_stack([order[:-1], order[1:]])
    return np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]).astype(np.int64)


def stack(graphs: Sequence[Graph]) -> Graph:
    """The graphs of several images as one, cells one image after the other."""
    if not graphs:
        raise UsageError("There is no graph to stack", field="graphs", found="none", expected="one or more")
    cells = np.cumsum([0, *(len(g) for g in graphs)])
    edges = np.cumsum([0, *(len(g.neighbours) for g in graphs)])
    starts = np.concatenate([[0], *(g.starts[1:] + e for g, e in zip(graphs, edges, strict=False))])
    return Graph(starts.astype(np.int64),
                 np.concatenate([g.neighbours + np.int32(c) for g, c in zip(graphs, cells, strict=False)]))  # fmt: skip
