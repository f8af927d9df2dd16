"""Rare positive cells beside skewed negative ones, stated thresholds, and that one group stays one."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.cells.thresholds import Reason, split, split_at
from timelens.engines.cells.transform import arcsinh
from timelens.errors import UsageError


def marker(rng, positive, cells=4000, counts=3.0):
    """Mean counts of cells of some pixels: background, what neighbours lend, and few bright cells."""
    area = rng.integers(15, 120, cells)
    mean = 0.15 + rng.gamma(0.5, 0.06, cells)
    mean[:positive] += counts * rng.gamma(6.25, 1 / 6.25, positive)
    return arcsinh(rng.poisson(mean * area) / area, 1.0)


@pytest.mark.parametrize("positive", [60, 150, 400])
def test_rare_cells_beside_a_skewed_background(positive):
    found = 0
    for seed in range(5):
        values = marker(np.random.default_rng(seed), positive)
        one = split(values)
        bright = values >= one.threshold
        found += bool(not one.reason and bright[:positive].mean() > 0.97 and bright[positive:].mean() < 0.004)
    assert found >= 4


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: marker(rng, 0),
        lambda rng: arcsinh(rng.exponential(1.0, 2000), 1.0),
        lambda rng: arcsinh(rng.lognormal(-1.0, 1.0, 2000), 1.0),
        lambda rng: arcsinh(0.2 * rng.pareto(2.5, 2000), 1.0),
        lambda rng: np.abs(rng.standard_t(3, 2000)),
        lambda rng: rng.normal(size=300),
    ],
)
def test_one_group_stays_one(draw):
    reasons = [split(draw(np.random.default_rng(seed))).reason for seed in range(20)]
    assert sum(r == Reason.ONE_GROUP for r in reasons) >= 19


def test_a_stated_threshold_is_where_cells_turn_positive(rng):
    values = np.concatenate([rng.normal(0.2, 0.05, 500), rng.normal(2.0, 0.3, 40), [np.nan]])
    one = split_at(values, 1.0)
    assert one.threshold == 1.0 and not one.reason and one.weight == pytest.approx([500 / 540, 40 / 540])
    low, high = one.log_densities([0.99, 1.01])
    assert low[0] > high[0] and low[1] < high[1]


@pytest.mark.parametrize("values", [[], [np.nan], np.zeros(10), np.full(10, 5.0)])
def test_a_stated_threshold_needs_no_cells_on_either_side(values):
    one = split_at(values, 1.0)
    assert one.threshold == 1.0 and np.isfinite(one.mean).all() and (one.deviation > 0).all()
    assert (one.weight > 0).all()


def test_a_threshold_is_finite():
    with pytest.raises(UsageError, match="threshold is finite"):
        split_at([1.0], float("nan"))
