"""The exact interval of a part: bad input, ends, and how often it covers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from timelens.engines.statistics import binomial_interval
from timelens.errors import UsageError


@pytest.mark.parametrize(("number", "total"), [(3, 2), (-1, 4), (0, 0)])
def test_what_is_no_part_is_refused(number, total):
    with pytest.raises(UsageError, match="so many of so many"):
        binomial_interval(number, total)


def test_a_level_is_a_part():
    with pytest.raises(UsageError, match="level lies between"):
        binomial_interval(1, 2, level=95)


@pytest.mark.parametrize(("number", "total"), [(0, 7), (3, 7), (7, 7), (40, 1000)])
def test_against_another_implementation(number, total):
    other = binomtest(number, total).proportion_ci(0.95, "exact")
    assert binomial_interval(number, total) == pytest.approx((other.low, other.high))


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5])
def test_it_covers_at_least_as_often_as_it_says(part):
    ends = np.array([binomial_interval(k, 30) for k in range(31)])
    inside = (ends[:, 0] <= part) & (part <= ends[:, 1])
    assert binom.pmf(np.arange(31), 30, part)[inside].sum() >= 0.95
