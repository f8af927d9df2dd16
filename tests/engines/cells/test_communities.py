"""Communities: bad input, graphs whose answer is known, another implementation, and a missing package."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import networkx
import numpy as np
import pytest
from scipy.sparse import block_diag, coo_array, csr_array

from timelens.engines.cells.clusters import adjusted_rand
from timelens.engines.cells.communities import leiden, louvain, modularity
from timelens.errors import UsageError


def blocks(rng, sizes=(40, 30, 20), inside=0.4, between=0.02):
    """A graph of groups, and the group of each node."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    chance = np.where(group[:, None] == group, inside, between)
    upper = np.triu(rng.random(chance.shape) < chance, 1).astype(float)
    return csr_array(upper + upper.T), group


@pytest.mark.parametrize(
    ("weights", "resolution", "said"),
    [
        (np.ones((2, 3)), 1.0, "a square"),
        (np.array([[0, -1.0], [-1.0, 0]]), 1.0, "a square"),
        (np.array([[0, 1.0], [2.0, 0]]), 1.0, "same in both directions"),
        (np.eye(2), 0.0, "positive number"),
    ],
)
def test_bad_graphs_are_refused(weights, resolution, said, rng):
    with pytest.raises(UsageError, match=said):
        louvain(csr_array(weights), rng, resolution=resolution)


def test_nodes_without_edges_are_alone(rng):
    found = louvain(csr_array((4, 4)), rng)
    assert sorted(found.tolist()) == [0, 1, 2, 3]
    assert np.isnan(modularity(csr_array((4, 4)), found))


def test_cliques_that_touch_are_told_apart(rng):
    cliques = block_diag([np.ones((n, n)) - np.eye(n) for n in (6, 5, 4)]).tolil()
    for a, b in ((0, 6), (7, 11)):
        cliques[a, b] = cliques[b, a] = 1
    found = louvain(csr_array(cliques), rng)
    assert found.tolist() == [0] * 6 + [1] * 5 + [2] * 4


def test_modularity_and_communities_against_another_implementation():
    rng = np.random.default_rng(3)
    graph, group = blocks(rng)
    other = networkx.from_scipy_sparse_array(graph)
    sets = [set(np.flatnonzero(group == g)) for g in range(3)]
    for resolution in (0.5, 1.0, 2.0):
        theirs = networkx.community.modularity(other, sets, resolution=resolution)
        assert modularity(graph, group, resolution=resolution) == pytest.approx(theirs)
    best = networkx.community.modularity(other, networkx.community.louvain_communities(other, seed=1))
    found = louvain(graph, rng)
    assert modularity(graph, found) == pytest.approx(best, abs=0.005)
    assert adjusted_rand(found, group) == 1.0


def test_weights_decide(rng):
    # A ring of four whose opposite sides weigh more.
    ring = coo_array(([5, 5, 1, 1.0, 5, 5, 1, 1], ([0, 2, 1, 3, 1, 3, 2, 0], [1, 3, 2, 0, 0, 2, 1, 3])), (4, 4))
    assert adjusted_rand(louvain(csr_array(ring), rng), np.array([0, 0, 1, 1])) == 1.0


def test_an_edge_without_weight_is_none(rng):
    graph, _ = blocks(rng, sizes=(20, 20), inside=0.6, between=0.05)
    dense = graph.toarray()
    full = csr_array((dense.ravel(), np.tile(np.arange(40), 40), np.arange(0, 1601, 40)), dense.shape)
    assert full.nnz == 1600 > graph.nnz
    assert np.array_equal(*(louvain(g, np.random.default_rng(1)) for g in (graph, full)))
    assert full.nnz == 1600  # what was given stays as it is


def test_a_higher_resolution_gives_more_communities(rng):
    graph, _ = blocks(rng)
    low, high = (int(louvain(graph, np.random.default_rng(1), resolution=r).max()) for r in (0.5, 4.0))
    assert low < high


def test_communities_hang_together_and_one_seed_gives_one_answer(rng):
    graph, _ = blocks(rng, sizes=(60, 60), inside=0.05, between=0.01)
    first, again = (louvain(graph, np.random.default_rng(2)) for _ in range(2))
    assert np.array_equal(first, again)
    for k in range(int(first.max()) + 1):
        own = np.flatnonzero(first == k)
        assert networkx.is_connected(networkx.from_scipy_sparse_array(graph[own][:, own]))


def test_leiden_asks_for_its_package(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "leidenalg", None)
    with pytest.raises(UsageError, match="need the program leidenalg"):
        leiden(csr_array(np.ones((3, 3))), rng)


def test_leiden_hands_over_the_graph(rng, monkeypatch):
    seen = {}

    def find_partition(graph, kind, **told):
        seen.update(told, graph=graph)
        return SimpleNamespace(membership=[0, 1, 1])

    monkeypatch.setitem(sys.modules, "igraph", SimpleNamespace(Graph=lambda n, edges: (n, edges)))
    program = SimpleNamespace(find_partition=find_partition, RBConfigurationVertexPartition=None)
    monkeypatch.setitem(sys.modules, "leidenalg", program)
    found = leiden(csr_array(np.array([[0, 0, 1.0], [0, 0, 2.0], [1.0, 2.0, 0]])), rng, resolution=3.0)
    assert found.tolist() == [1, 0, 0]
    assert seen["graph"] == (3, [[0, 2], [1, 2]]) and seen["weights"] == [1.0, 2.0]
    assert seen["resolution_parameter"] == 3.0
