"""Communities of a weighted graph: groups of nodes with more weight inside than chance would put there.

Modularity with a resolution (Reichardt and Bornholdt 2006, doi:10.1103/PhysRevE.74.016110) is raised by moving nodes to
the neighbouring community that gains most, and joining communities to nodes of a smaller graph, until nothing moves
(Louvain: Blondel 2008, doi:10.1088/1742-5468/2008/10/P10008). What such moves leave without a connection is parted at
the end, which is the known fault of the method (Traag 2019, doi:10.1038/s41598-019-41695-z).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from timelens.errors import UsageError

__all__ = ["leiden", "louvain", "modularity"]

_MOST_LEVELS = 50
_MOST_ROUNDS = 100


def louvain(weights: csr_array, rng: np.random.Generator, *, resolution: float = 1.0) -> NDArray[np.int32]:
    """Communities, largest first.

    Parameters
    ----------
    weights
        Symmetric, zero or more, shape (nodes, nodes); a node's weight with itself counts as inside.
    rng
        Order in which nodes are asked; the same state gives the same communities.
    resolution
        Above 1 for smaller communities.

    Returns
    -------
    numpy.ndarray
        Community of each node; a node without any edge is one of its own.

    Raises
    ------
    UsageError
        If weights are not symmetric or below zero, or the resolution is not positive.
    """
    graph = _checked(weights, resolution)
    label = np.arange(graph.shape[0])
    level = graph
    for _ in range(_MOST_LEVELS):
        moved = _settle(level, rng, resolution)
        names, small = np.unique(moved, return_inverse=True)
        if len(names) == level.shape[0]:
            break
        label = small[label]
        member = coo_array((np.ones(len(small)), (np.arange(len(small)), small)), (len(small), len(names))).tocsr()
        level = csr_array(member.T @ level @ member)
    # Nodes once more, from where they are: joined communities may have left some badly placed.
    label = _settle(graph, rng, resolution, start=label)
    return _by_size(_connected(graph, label))


def leiden(weights: csr_array, rng: np.random.Generator, *, resolution: float = 1.0) -> NDArray[np.int32]:
    """The same by the program ``leidenalg``, where a user has installed it; its licence (GPL) keeps it out of ours.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    graph = _checked(weights, resolution)
    try:
        import igraph
        import leidenalg
    except ImportError as error:
        raise UsageError(
            "Leiden communities need the program leidenalg", field="clusters: method", found=str(error),
            expected="leidenalg and igraph", mend="pip install leidenalg (GPL), or method: louvain",
        ) from error  # fmt: skip
    upper = coo_array(csr_array(graph))
    half = upper.row < upper.col
    edges = np.column_stack([upper.row[half], upper.col[half]]).tolist()
    found = leidenalg.find_partition(
        igraph.Graph(n=graph.shape[0], edges=edges), leidenalg.RBConfigurationVertexPartition,
        weights=upper.data[half].tolist(), resolution_parameter=resolution, n_iterations=-1,
        seed=int(rng.integers(2**31 - 1)),
    )  # fmt: skip
    return _by_size(np.asarray(found.membership))


def modularity(weights: csr_array, label: NDArray[np.integer], *, resolution: float = 1.0) -> float:
    """Part of the weight inside of communities, less what chance puts there; NaN without any weight."""
    graph = _checked(weights, resolution)
    degree = np.asarray(graph.sum(axis=1)).ravel()
    total = float(degree.sum())
    if not total:
        return float("nan")
    source = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    inside = float(graph.data[label[source] == label[graph.indices]].sum())
    return inside / total - resolution * float((np.bincount(label, degree) ** 2).sum()) / total**2


def _checked(weights: csr_array, resolution: float) -> csr_array:
    graph = csr_array(weights, dtype=np.float64, copy=True)
    graph.sum_duplicates()
    if graph.shape[0] != graph.shape[1] or (graph.data < 0).any() or not np.isfinite(graph.data).all():
        raise UsageError("Weights of a graph are a square of numbers from zero", field="weights", found=graph.shape)
    graph.eliminate_zeros()  # an edge without weight is none
    if graph.nnz and abs(graph - graph.T).max() > 1e-9 * graph.data.max():
        raise UsageError("Weights of a graph are the same in both directions", field="weights")
    if not resolution > 0 or not np.isfinite(resolution):
        raise UsageError("A resolution is a positive number", field="resolution", found=resolution)
    return graph


def _settle(
    graph: csr_array, rng: np.random.Generator, resolution: float, start: NDArray[np.integer] | None = None
) -> NDArray[np.int64]:
    nodes = graph.shape[0]
    label = np.arange(nodes) if start is None else start.astype(np.int64).copy()
    degree = np.asarray(graph.sum(axis=1)).ravel()
    if not degree.sum():
        return label
    order = rng.permutation(nodes)
    _move(graph.indptr, graph.indices, graph.data, degree, order, label, resolution / degree.sum(), _MOST_ROUNDS)
    return label


@njit(cache=True)
def _move(starts, others, weight, degree, order, label, scale, rounds):  # type: ignore[no-untyped-def]
    """Move nodes, in place, to the neighbouring community that gains most, until none moves."""
    nodes = len(degree)
    total = np.zeros(nodes)
    for i in range(nodes):
        total[label[i]] += degree[i]
    to = np.zeros(nodes)
    near = np.empty(nodes, np.int64)
    for _ in range(rounds):
        moved = 0
        for i in order:
            old = label[i]
            count = 1
            near[0] = old
            to[old] = 1e-300  # marks that it is listed
            for e in range(starts[i], starts[i + 1]):
                j = others[e]
                if j == i:
                    continue
                c = label[j]
                if to[c] == 0.0:
                    near[count] = c
                    count += 1
                to[c] += weight[e]
            total[old] -= degree[i]
            best, gain = old, to[old] - degree[i] * total[old] * scale
            for n in range(1, count):
                c = near[n]
                new = to[c] - degree[i] * total[c] * scale
                if new > gain + 1e-12:
                    best, gain = c, new
            total[best] += degree[i]
            for n in range(count):
                to[near[n]] = 0.0
            if best != old:
                label[i] = best
                moved += 1
        if moved == 0:
            break


def _connected(graph: csr_array, label: NDArray[np.integer]) -> NDArray[np.int32]:
    """Each community parted into what hangs together."""
    source = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    inside = label[source] == label[graph.indices]
    kept = coo_array((graph.data[inside], (source[inside], graph.indices[inside])), graph.shape)
    return np.asarray(connected_components(kept.tocsr(), directed=False)[1])


def _by_size(label: NDArray[np.integer]) -> NDArray[np.int32]:
    _, place, count = np.unique(label, return_inverse=True, return_counts=True)
    rank = np.empty(len(count), np.int32)
    rank[np.argsort(-count, kind="stable")] = np.arange(len(count), dtype=np.int32)
    return rank[place]
