"""Envelopes of pair statistics under random labelling: against all permutations, many shuffles, and in coverage."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from timelens.engines.cells.labelling import labelling, pool
from timelens.engines.cells.pairs import pair_statistics
from timelens.engines.cells.window import Window
from timelens.errors import UsageError

WINDOW = Window.rectangle(60, 80)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cells": [1, 1]}, "Every cell has a type"),
        ({"cells": [4, -1]}, "Every cell has a type"),
        ({"reach": 0.0}, "positive distance"),
        ({"y": [1.0, 2.0, 99.0]}, "outside of the window"),
    ],
)
def test_what_does_not_fit_is_refused(changes, said):
    call = {"y": [1.0, 2.0, 3.0], "cells": [2, 1], "reach": 10.0, **changes}
    with pytest.raises(UsageError, match=said):
        labelling(call["y"], [1.0, 2.0, 3.0], call["cells"], WINDOW, reach=call["reach"], rings=2)


def test_no_cells_have_no_score():
    found = pair_statistics([], [], np.zeros(0, int), 2, WINDOW, reach=10, rings=2)
    chance = labelling([], [], [0, 0], WINDOW, reach=10, rings=2)
    assert np.isnan(chance.z(found)).all() and np.isnan(chance.l_envelope(found)[0]).all()


def test_mean_and_variance_are_those_of_all_permutations(rng):
    y, x = rng.random((2, 7)) * [[60], [80]]
    kinds = np.array([0, 0, 0, 1, 1, 2, 3])
    every = np.array(
        [pair_statistics(y, x, np.array(p), 4, WINDOW, reach=60, rings=3).weighted for p in set(permutations(kinds))]
    )
    found = labelling(y, x, np.bincount(kinds), WINDOW, reach=60, rings=3)
    assert found.ring_expected == pytest.approx(every.mean(axis=0), rel=1e-9)
    assert found.ring_variance == pytest.approx(every.var(axis=0), rel=1e-9, abs=1e-9)
    up_to = np.cumsum(every, axis=3)
    assert found.expected == pytest.approx(up_to.mean(axis=0), rel=1e-9)
    assert found.variance == pytest.approx(up_to.var(axis=0), rel=1e-9, abs=1e-9)


def test_the_envelope_holds_95_of_100_shuffles_in_a_window_with_holes(rng):
    mask = np.ones((60, 80), bool)
    mask[20:35, 30:50] = False
    window = Window.from_mask(mask, (4.0, 4.0))
    y, x = rng.random((2, 900)) * [[240], [320]]
    keep = window.contains(y, x)
    y, x = y[keep], x[keep]
    kinds = np.arange(len(y)) % 3 % 2
    chance = labelling(y, x, np.bincount(kinds), window, reach=40, rings=4)
    inside_l, inside_g = [], []
    for _ in range(150):
        found = pair_statistics(y, x, rng.permutation(kinds), 2, window, reach=40, rings=4)
        _, low, high = chance.l_envelope(found)
        inside_l.append((low <= found.l()) & (found.l() <= high))
        _, low, high = chance.pair_correlation_envelope(found)
        g = found.pair_correlation()
        inside_g.append((low <= g) & (g <= high))
    for inside in (inside_l, inside_g):
        assert np.mean(inside) == pytest.approx(0.95, abs=0.025)


def test_types_that_shun_each_other_leave_it(rng):
    y, x = rng.random((2, 400)) * [[60], [80]]
    halves = (x > 40).astype(int)
    found = pair_statistics(y, x, halves, 2, WINDOW, reach=15, rings=3)
    chance = labelling(y, x, np.bincount(halves), WINDOW, reach=15, rings=3)
    z = chance.z(found)
    assert (z[0, 0] > 5).all() and (z[0, 1] < -5).all()
    middle, low, high = chance.l_envelope(found)
    assert (found.l()[0, 1] < low[0, 1]).all() and (low <= middle).all() and (middle <= high).all()
    # One type alone cannot vary.
    alone = pair_statistics(y, x, np.zeros(400, int), 1, WINDOW, reach=15, rings=3)
    assert np.isnan(labelling(y, x, [400], WINDOW, reach=15, rings=3).z(alone)).all()


def test_windows_add_up(rng):
    parts = []
    for n in (30, 50):
        y, x = rng.random((2, n)) * [[60], [80]]
        parts.append(labelling(y, x, [n - 10, 10], WINDOW, reach=15, rings=3))
    both = pool(parts)
    assert both.expected == pytest.approx(parts[0].expected + parts[1].expected)
    assert both.ring_variance == pytest.approx(parts[0].ring_variance + parts[1].ring_variance)
    with pytest.raises(UsageError, match="nothing to pool"):
        pool([])
    with pytest.raises(UsageError, match="same types and radii"):
        pool([parts[0], labelling([1.0], [1.0], [1], WINDOW, reach=15, rings=3)])
