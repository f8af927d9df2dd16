"""Neighbours, against brute force and published tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from timelens.engines.cells import graph
from timelens.errors import UsageError


def pairs(found: graph.Graph) -> set[tuple[int, int]]:
    return set(zip(found.sources.tolist(), found.neighbours.tolist(), strict=True))


def distances(y, x):
    return np.hypot(np.subtract.outer(y, y), np.subtract.outer(x, x))


# -- bad and degenerate input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: graph.radius([0, np.nan], [0, 1], 1), "not finite"),
        (lambda: graph.radius([0, 1], [0, 1], 0), "positive distance"),
        (lambda: graph.nearest([0, 1], [0, 1], 0), "At least one"),
        (lambda: graph.delaunay([0, 1], [0, 1], longest=-1), "positive distance"),
        (lambda: graph.contact(np.zeros((2, 2))), "whole numbers"),
        (lambda: graph.contact(np.zeros((2, 2), int), reach=-1), "distance in pixels"),
        (lambda: graph.stack([]), "no graph"),
    ],
)
def test_what_makes_no_sense_is_refused(call, said):
    with pytest.raises(UsageError, match=said):
        call()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_cells(n):
    y, x = np.arange(float(n)), np.zeros(n)
    both = {(0, 1), (1, 0)} if n == 2 else set()
    for found in (graph.radius(y, x, 2), graph.nearest(y, x, 3), graph.delaunay(y, x, longest=2)):
        assert len(found) == n and pairs(found) == both
    assert pairs(graph.contact(np.arange(n)[None] + 1)[1]) == both


def test_no_cells_in_the_labels():
    label, found = graph.contact(np.zeros((4, 4), int))
    assert len(label) == len(found) == 0


# -- against brute force -----------------------------------------------------------------------------------------------


def test_radius_and_nearest(rng):
    y, x = rng.random((2, 300)) * 100
    far = distances(y, x)
    np.fill_diagonal(far, np.inf)
    assert pairs(graph.radius(y, x, 8)) == set(zip(*np.nonzero(far <= 8), strict=True))
    order = np.argsort(far, axis=1)[:, :5]
    assert pairs(graph.nearest(y, x, 5)) == {(i, int(j)) for i, row in enumerate(order) for j in row}
    close = {(i, int(j)) for i, row in enumerate(order) for j in row if far[i, j] <= 6}
    assert pairs(graph.nearest(y, x, 5, longest=6)) == close
    assert pairs(graph.nearest(y, x, 5).symmetric()) == {p for i, row in enumerate(order) for j in row
                                                          for p in ((i, int(j)), (int(j), i))}  # fmt: skip


@pytest.mark.parametrize("k", [1, 3, 20])
def test_cells_at_one_position_are_never_their_own_neighbours(k):
    y, x = np.zeros(12), np.zeros(12)
    found = graph.nearest(y, x, k)
    assert (found.degree == min(k, 11)).all() and (found.sources != found.neighbours).all()
    for i in range(12):
        assert len(set(found.neighbours[found.starts[i] : found.starts[i + 1]])) == min(k, 11)


def test_delaunay_circles_are_empty_and_long_edges_are_cut(rng):
    y, x = rng.random((2, 60)) * 100
    whole = graph.delaunay(y, x, longest=1e9)
    # Euler: n points, h on the hull: 3 n - 3 - h edges; and each point's nearest is a Delaunay neighbour.
    from scipy.spatial import ConvexHull

    assert len(pairs(whole)) == 2 * (3 * 60 - 3 - len(ConvexHull(np.column_stack([y, x])).vertices))
    assert pairs(graph.nearest(y, x, 1)) <= pairs(whole)
    far = distances(y, x)
    assert pairs(graph.delaunay(y, x, longest=12)) == {p for p in pairs(whole) if far[p] <= 12}


def test_delaunay_of_points_in_a_line_and_of_twins():
    assert pairs(graph.delaunay([0, 0, 0], [0, 5, 2], longest=9)) == {(0, 2), (2, 0), (1, 2), (2, 1)}
    twins = pairs(graph.delaunay([0, 0, 0, 9], [0, 0, 9, 0], longest=9.5))
    assert twins == {(a, b) for a, b in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3)) for a, b in ((a, b), (b, a))}


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_symmetry_and_order(seed, n):
    y, x = np.random.default_rng(seed).integers(0, 6, (2, n)).astype(float)
    for found in (graph.radius(y, x, 1.5), graph.delaunay(y, x, longest=3)):
        assert pairs(found) == {(b, a) for a, b in pairs(found)}
        assert pairs(found.symmetric()) == pairs(found)
        assert (np.diff(found.neighbours)[np.diff(found.sources) == 0] > 0).all()


def test_stacked_graphs_join_no_images(rng):
    y, x = rng.random((2, 20))
    one, two = graph.nearest(y[:8], x[:8], 2), graph.nearest(y[8:], x[8:], 2)
    both = graph.stack([one, two])
    assert pairs(both) == pairs(one) | {(a + 8, b + 8) for a, b in pairs(two)}


# -- contact -----------------------------------------------------------------------------------------------------------


def test_contact_grows_into_gaps_but_not_beyond_reach():
    labels = np.zeros((3, 20), int)
    labels[:, 0:2], labels[:, 8:10], labels[:, 19] = 5, 7, 2
    label, found = graph.contact(labels, reach=3)
    assert label.tolist() == [2, 5, 7] and pairs(found) == {(1, 2), (2, 1)}
    assert pairs(graph.contact(labels, reach=2)[1]) == set()
    assert pairs(graph.contact(np.array([[1, 0], [0, 2]]), reach=0)[1]) == set()


@pytest.mark.parametrize("masks", ["deepcell", "ilastik"])
def test_equal_to_published_neighbours(shared_data, masks):
    folder = shared_data / "imc_hyperion" / "steinbock"
    seen = 0
    for path in sorted((folder / f"masks_{masks}").glob("*.tiff")):
        label, found = graph.contact(tifffile.imread(path), reach=4)
        theirs = pd.read_csv(folder / f"neighbors_{masks}" / f"{path.stem}.csv")
        mine = set(zip(label[found.sources], label[found.neighbours], strict=True))
        assert mine == set(zip(theirs["Object"], theirs["Neighbor"], strict=True))
        seen += len(mine)
    assert seen > 700
