"""Clusters of cells by what they bear, how stable they are, and which type a cluster is.

Cells are joined to the cells that are most like them, an edge weighing as much as the part of neighbours that both
share; communities of that graph are the clusters (PhenoGraph: Levine 2015, doi:10.1016/j.cell.2015.05.047). Of many
cells a random part is clustered, and the others follow their nearest cells of that part. Stability asks what comes of
it again in random parts of the cells; names come from a table of markers, ``unknown`` where no type fits. Few cells of
a type have no cluster of their own at first: where the cells of a cluster do not agree on the markers of its type, it
is clustered again by itself (:func:`refine_clusters`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree

from timelens.engines.cells.communities import leiden, louvain
from timelens.engines.cells.gates import UNKNOWN
from timelens.errors import UsageError

__all__ = [
    "CellClusters", "Named", "adjusted_rand", "cluster_cells", "name_clusters", "names_of", "refine_clusters",
]  # fmt: skip

FloatArray = NDArray[np.float64]
Method = Literal["louvain", "leiden"]

#: Cells that are clustered at once: of more, a random part.
MOST_AT_ONCE = 20_000
_PART = 0.8


@dataclass(frozen=True)
class CellClusters:
    """Clusters of cells, largest first.

    Attributes
    ----------
    label
        Cluster of each cell; -1 of a cell without a value.
    size
        Cells in each.
    stability
        Of each cluster: mean over random parts of the cells of its overlap (Jaccard) with the cluster that comes
        nearest to it; below about 0.5 it is not there again.
    agreement
        Mean adjusted Rand index of clusterings of random parts with this one; NaN where none was made.
    """

    label: NDArray[np.int32]
    size: NDArray[np.int64]
    stability: FloatArray
    agreement: float


def cluster_cells(
    values: ArrayLike,
    rng: np.random.Generator,
    *,
    nearest: int = 15,
    resolution: float = 1.0,
    method: Method = "louvain",
    repeats: int = 5,
) -> CellClusters:
    """Group cells by their values.

    Parameters
    ----------
    values
        Shape (cells, markers), on scales on which distances mean something.
    rng
        The same state gives the same clusters.
    nearest
        Neighbours that a cell is joined to.
    resolution
        Above 1 for smaller clusters.
    method
        ``louvain``, or ``leiden`` where leidenalg is installed.
    repeats
        Random parts of four fifths of the cells that stability is asked of; 0 for none.

    Raises
    ------
    UsageError
        If there are no more cells with values than neighbours, or no marker.
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or not table.shape[1] or nearest < 1:
        raise UsageError("Cells to be clustered have markers", field="values", found=table.shape,
                         expected="(cells, markers)")  # fmt: skip
    if method not in ("louvain", "leiden"):
        raise UsageError("There is no such method", field="method", found=method, expected="louvain, leiden")
    known = np.flatnonzero(np.isfinite(table).all(axis=1))
    if len(known) <= nearest + 1:
        raise UsageError("There are too few cells with values to be clustered", field="values", found=len(known),
                         expected=f"more than {nearest + 1}")  # fmt: skip
    rows = np.sort(rng.choice(known, MOST_AT_ONCE, replace=False)) if len(known) > MOST_AT_ONCE else known
    base = _grouped(table[rows], rng, nearest, resolution, method)
    label = np.full(len(table), -1, np.int32)
    label[rows] = base
    others = np.setdiff1d(known, rows, assume_unique=True)
    if len(others):
        label[others] = _vote(table[rows], base, table[others], nearest)
    again = []
    overlap = np.zeros((repeats, int(base.max()) + 1))
    for k in range(repeats):
        part = np.sort(rng.choice(len(rows), max(int(_PART * len(rows)), nearest + 2), replace=False))
        found = _grouped(table[rows[part]], rng, nearest, resolution, method)
        again.append(adjusted_rand(base[part], found))
        overlap[k] = _overlap(base[part], found, overlap.shape[1])
    size = np.bincount(label[label >= 0], minlength=overlap.shape[1])
    nothing = np.full(overlap.shape[1], np.nan)
    return CellClusters(label, size, overlap.mean(axis=0) if repeats else nothing,
                        float(np.mean(again)) if again else float("nan"))  # fmt: skip


def _grouped(
    table: FloatArray, rng: np.random.Generator, nearest: int, resolution: float, method: Method
) -> NDArray[np.int32]:
    find = louvain if method == "louvain" else leiden
    return find(_shared(table, nearest), rng, resolution=resolution)


def _shared(table: FloatArray, nearest: int) -> csr_array:
    """Edges to the nearest cells, weighing the part of neighbours (a cell is its own) that both ends share."""
    cells = len(table)
    _, index = cKDTree(table).query(table, nearest + 1, workers=2)
    source = np.repeat(np.arange(cells), nearest + 1)
    near = coo_array((np.ones(source.size, np.float32), (source, index.ravel())), (cells, cells)).tocsr()
    near.data[:] = 1.0
    edges = near.maximum(near.T).tocoo()
    both = np.asarray((near[edges.row].multiply(near[edges.col])).sum(axis=1)).ravel()
    own = np.diff(near.indptr)
    weight = both / (own[edges.row] + own[edges.col] - both)
    weight[edges.row == edges.col] = 0.0
    joined = csr_array(coo_array((weight, (edges.row, edges.col)), (cells, cells)))
    joined.eliminate_zeros()
    return joined


def _vote(table: FloatArray, label: NDArray[np.int32], others: FloatArray, nearest: int) -> NDArray[np.int32]:
    _, index = cKDTree(table).query(others, nearest, workers=2)
    said = label[index.reshape(len(others), -1)]
    votes = np.zeros((len(others), int(label.max()) + 1), np.int32)
    np.add.at(votes, (np.arange(len(others))[:, None], said), 1)
    return votes.argmax(axis=1).astype(np.int32)


def _overlap(one: NDArray[np.int32], other: NDArray[np.int32], clusters: int) -> FloatArray:
    """For each cluster of the first its largest Jaccard index with one of the second."""
    shared = np.zeros((clusters, int(other.max()) + 1))
    np.add.at(shared, (one, other), 1)
    union = shared.sum(axis=1)[:, None] + shared.sum(axis=0)[None] - shared
    return np.asarray((shared / np.maximum(union, 1)).max(axis=1))


def adjusted_rand(one: NDArray[np.integer], other: NDArray[np.integer]) -> float:
    """How far two groupings agree on which pairs belong together; 0 by chance, 1 in all (Hubert and Arabie 1985).

    doi:10.1007/BF01908075. It is 1 where both put all rows into one group.
    """
    shared = np.zeros((int(one.max()) + 1, int(other.max()) + 1))
    np.add.at(shared, (one, other), 1)

    def pairs(count: FloatArray) -> float:
        return float((count * (count - 1)).sum() / 2)

    rows, columns = pairs(shared.sum(axis=1)), pairs(shared.sum(axis=0))
    chance = rows * columns / max(pairs(np.array([len(one)], float)), 1.0)
    most = (rows + columns) / 2
    return 1.0 if most == chance else (pairs(shared) - chance) / (most - chance)


@dataclass(frozen=True)
class Named:
    """Which type a cluster is.

    Attributes
    ----------
    name
        Of the type, or ``unknown``.
    score
        Part of the cluster's cells that agree with the type in the marker in which fewest do.
    runner_up
        The type that comes next, and its score; empty where there is one type alone.
    """

    name: str
    score: float
    runner_up: tuple[str, float]


def name_clusters(
    label: NDArray[np.integer],
    positive: Mapping[str, NDArray[np.bool_]],
    types: Mapping[str, Mapping[str, bool]],
    *,
    least: float = 0.5,
) -> list[Named]:
    """Name clusters by a table of markers.

    Parameters
    ----------
    label
        Cluster of each cell; below 0 for none.
    positive
        Marker to whether each cell bears it.
    types
        Type to markers that it bears (True) or lacks (False). Markers that ``positive`` does not have are left out; a
        type none of whose borne markers is there is left out, too.
    least
        Score that a type must reach.

    Returns
    -------
    list of Named
        One for each cluster.
    """
    if not 0 <= least <= 1:
        raise UsageError("The least score is a part", field="least", found=least)
    asked = {
        name: {m: sign for m, sign in marks.items() if m in positive}
        for name, marks in types.items()
        if all(m in positive for m, sign in marks.items() if sign) and any(marks.values())
    }
    found = []
    for cluster in range(int(label.max(initial=-1)) + 1):
        own = label == cluster
        part = {m: float(p[own].mean()) if own.any() else float("nan") for m, p in positive.items()}
        # The weakest marker decides; of equal types the one with more markers, which says more.
        scores = sorted(
            ((min(part[m] if sign else 1 - part[m] for m, sign in marks.items()), len(marks), name)
             for name, marks in asked.items()), reverse=True,
        )  # fmt: skip
        best = scores[0] if scores else (0.0, 0, "")
        second = (scores[1][2], scores[1][0]) if len(scores) > 1 else ("", float("nan"))
        found.append(Named(best[2] if best[0] >= least and best[2] else UNKNOWN, best[0], second))
    return found


def refine_clusters(
    values: ArrayLike,
    label: NDArray[np.integer],
    positive: Mapping[str, NDArray[np.bool_]],
    types: Mapping[str, Mapping[str, bool]],
    rng: np.random.Generator,
    *,
    pure: float = 0.9,
    fewest: int = 12,
    rounds: int = 6,
    method: Method = "louvain",
) -> NDArray[np.int32]:
    """Cluster again, each by itself, the clusters whose cells do not agree on the markers of a type.

    Parameters
    ----------
    values, label
        As :func:`cluster_cells` takes and gives them.
    positive, types
        As :func:`name_clusters` takes them.
    rng
        The same state gives the same clusters.
    pure
        Score from which a cluster is left as it is.
    fewest
        Cells that a cluster must have to be parted.
    rounds
        How often what was parted is looked at again.
    method
        As for :func:`cluster_cells`.

    Returns
    -------
    numpy.ndarray
        Cluster of each cell, largest first; -1 stays.
    """
    table = np.asarray(values, np.float64)
    found = np.asarray(label, np.int32).copy()
    open_to_ask = set(range(int(found.max(initial=-1)) + 1))
    for _ in range(rounds):
        named = name_clusters(found, positive, types)
        mixed = [k for k in sorted(open_to_ask) if named[k].score < pure and (found == k).sum() >= fewest]
        open_to_ask = set()
        for k in mixed:
            own = np.flatnonzero(found == k)
            near = min(15, max(4, len(own) // 4))
            parts = cluster_cells(table[own], rng, nearest=near, method=method, repeats=0).label
            if parts.max() == 0:
                continue
            first = int(found.max()) + 1
            found[own[parts > 0]] = first + parts[parts > 0] - 1
            open_to_ask |= {k, *range(first, int(found.max()) + 1)}
        if not open_to_ask:
            break
    known = found >= 0
    count = np.bincount(found[known])
    rank = np.empty(len(count), np.int32)
    rank[np.argsort(-count, kind="stable")] = np.arange(len(count), dtype=np.int32)
    found[known] = rank[found[known]]
    return found


def names_of(label: NDArray[np.integer], named: Sequence[Named]) -> NDArray[np.str_]:
    """Type of each cell by its cluster; ``unknown`` without a cluster."""
    texts = np.array([*(n.name for n in named), UNKNOWN])
    return texts[np.where(label >= 0, label, len(named))]
