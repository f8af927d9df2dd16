"""Interaction counts: exact moments against all permutations, p-values under the null."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import kstest

from timelens.engines.cells import graph
from timelens.engines.cells.interaction import NORMAL_FROM, count, interaction, moments, shuffled
from timelens.errors import UsageError


def line(n: int) -> graph.Graph:
    return graph.radius(np.zeros(n), np.arange(float(n)), 1)


@pytest.mark.parametrize(
    ("types", "number", "options", "said"),
    [
        ([0, 1], 2, {}, "one type"),
        ([0, 1, 2, 1], 2, {}, "numbered from 0"),
        ([0.0, 1, 1, 1], 2, {}, "numbered from 0"),
        ([0, 1, -1, 1], 2, {}, "numbered from 0"),
        ([0, 1, 1, 1], 2, {"images": [0, 0]}, "one image"),
        ([0, 1, 1, 1], 2, {"images": [0, 0, 1, 1]}, "joins cells of two images"),
        ([0, 1, 1, 1], 2, {}, "need shuffles"),
    ],
)
def test_what_does_not_fit_is_refused(types, number, options, said):
    with pytest.raises(UsageError, match=said):
        interaction(line(4), np.array(types), number, **options)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_cells_have_counts_and_no_p_value_where_nothing_can_vary(n, rng):
    found = interaction(line(n), np.zeros(n, int), 2, rng=rng)
    assert found.count[0, 0] == found.expected[0, 0] == 2 * max(n - 1, 0)
    assert np.isnan(found.z).all() and np.isnan(found.p_value).all() and (found.method == "").all()
    assert np.isnan(found.per_cell[1]).all()


@pytest.mark.parametrize("directed", [False, True])
def test_mean_and_variance_are_those_of_all_permutations(rng, directed):
    y, x = rng.random((2, 7))
    net = graph.nearest(y, x, 2) if directed else graph.delaunay(y, x, longest=0.8)
    kinds = np.array([0, 0, 0, 1, 1, 2, 3])
    # Types differ in 420 ways; all 5,040 orders hold each of them equally often.
    every = np.array([count(net, np.array(p), 4) for p in permutations(kinds)])
    expected, variance = moments(net, np.bincount(kinds))
    assert np.allclose(expected, every.mean(axis=0))
    assert np.allclose(variance, every.var(axis=0))


def test_counts_by_brute_force(rng):
    y, x = rng.random((2, 50))
    net, kinds = graph.nearest(y, x, 4), rng.integers(0, 3, 50)
    found = np.zeros((3, 3), int)
    for i, j in zip(net.sources, net.neighbours, strict=True):
        found[kinds[i], kinds[j]] += 1
    assert np.array_equal(count(net, kinds, 3), found)
    result = interaction(net, kinds, 3, p_values="normal")
    assert np.array_equal(result.count, found)
    assert np.allclose(result.per_cell, found / np.bincount(kinds)[:, None])


def test_images_add_up_and_are_not_mixed(rng):
    nets, kinds = [], []
    for n in (30, 45):
        nets.append(graph.nearest(*rng.random((2, n)), 3))
        kinds.append(rng.integers(0, 3, n))
    order = rng.permutation(75)
    both, kind, image = graph.stack(nets), np.concatenate(kinds), np.repeat([5, 2], [30, 45])
    apart = [moments(net, np.bincount(k, minlength=3)) for net, k in zip(nets, kinds, strict=True)]
    found = interaction(both, kind, 3, images=image, p_values="normal")
    assert np.allclose(found.expected, apart[0][0] + apart[1][0])
    assert np.allclose(found.variance, apart[0][1] + apart[1][1])
    # The order of cells does not matter, nor whether those of an image stand together.
    place = np.argsort(order)
    mixed = graph._from_pairs(place[both.sources].astype("i4"), place[both.neighbours].astype("i4"), 75)
    again = interaction(mixed, kind[order], 3, images=image[order], p_values="normal")
    assert np.allclose(again.z, found.z) and np.array_equal(again.count, found.count)


def test_shuffles_have_the_exact_moments(rng):
    net, kinds = graph.nearest(*rng.random((2, 200)), 5), rng.integers(0, 3, 200)
    expected, variance = moments(net, np.bincount(kinds))
    draws = shuffled(net, kinds, 3, 4000, rng)
    assert (np.abs(draws.mean(axis=0) - expected) < 5 * np.sqrt(variance / 4000)).all()
    assert np.allclose(draws.var(axis=0), variance, rtol=0.15)


def test_p_values_are_uniform_under_the_null(rng):
    """Both roads: the normal law for high counts, mid-p of shuffles for low ones."""
    net = graph.delaunay(*rng.random((2, 600)), longest=0.2)
    kinds = np.repeat([0, 1, 2], [280, 280, 40])
    high, low = [], []
    for _ in range(300):
        found = interaction(net, rng.permutation(kinds), 3, shuffles=99, rng=rng)
        assert found.method[0, 1] == "normal" and found.expected[0, 1] > NORMAL_FROM
        assert found.method[2, 2] == "shuffled" and found.expected[2, 2] < NORMAL_FROM
        high.append(found.p_value[0, 1])
        low.append(found.p_value[2, 2])
    assert kstest(high, "uniform").pvalue > 0.01
    # Few different counts make steps; a mid-p keeps the mean of a uniform law and its tails close.
    assert np.mean(low) == pytest.approx(0.5, abs=0.06)
    assert np.mean(np.array(low) < 0.05) < 0.09


def test_neighbours_that_seek_or_shun_each_other_are_found(rng):
    y, x = rng.random((2, 400))
    net = graph.nearest(y, x, 6)
    halves = interaction(net, (x > 0.5).astype(int), 2, rng=rng)
    assert halves.z[0, 0] > 10 and halves.z[0, 1] < -10 and halves.p_value.max() < 1e-10
