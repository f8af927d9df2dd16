"""Ratios over regions: what is refused, closed forms, and coverage where regions differ."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.cells.regions import ratio_of_regions
from timelens.errors import UsageError


@pytest.mark.parametrize(
    ("count", "size", "part", "said"),
    [
        ([1], [1, 2], False, "count and a size"),
        ([-1], [1], False, "count and a size"),
        ([1], [-1], False, "count and a size"),
        (1, 1, False, "count and a size"),
        ([3], [2], True, "no larger than its whole"),
    ],
)
def test_what_makes_no_sense_is_refused(count, size, part, said):
    with pytest.raises(UsageError, match=said):
        ratio_of_regions(count, size, part=part)


def test_few_regions_have_a_value_and_no_interval():
    assert np.isnan(ratio_of_regions([], []).value) and np.isnan(ratio_of_regions([0], [0]).value)
    two = ratio_of_regions([10, 30, 0], [1.0, 1.0, 0.0])
    assert two.value == 20 and two.regions == 2 and np.isnan([two.lower, two.upper]).all()


def test_equal_areas_give_the_mean_and_its_standard_error():
    count = np.array([40.0, 90.0, 70.0, 100.0])
    found = ratio_of_regions(count, np.full(4, 0.5))
    assert found.value == pytest.approx(count.mean() / 0.5)
    assert found.standard_error == pytest.approx(count.std(ddof=1) / 2 / 0.5)
    assert found.upper - found.value == pytest.approx(3.18245 * found.standard_error, rel=1e-4)
    even = ratio_of_regions(np.full(4, 25.0), np.full(4, 0.5))
    assert even.standard_error == pytest.approx(10 / 2.0)  # of a Poisson count of 100 over 2


def test_the_interval_covers_where_counting_alone_does_not(rng):
    """Densities of regions of one tumour vary by 40 %."""
    area = np.array([0.2, 0.3, 0.3, 0.4, 0.5, 0.6])
    own, poisson = [], []
    for _ in range(600):
        count = rng.poisson(rng.gamma(6.25, 200 / 6.25, 6) * area)
        found = ratio_of_regions(count, area)
        own.append(found.lower <= 200 <= found.upper)
        poisson.append(abs(found.value - 200) <= 1.96 * np.sqrt(count.sum()) / area.sum())
    assert np.mean(own) > 0.91 > 0.6 > np.mean(poisson)


def test_parts_stay_between_zero_and_one():
    found = ratio_of_regions([9, 10, 2], [10, 10, 10], part=True)
    assert found.value == 0.7 and found.upper == 1.0 and found.lower == 0.0
    even = ratio_of_regions([5, 5, 5], [10, 10, 10], part=True)
    assert even.standard_error == pytest.approx(np.sqrt(0.25 / 30))


def test_no_cell_anywhere_is_no_certain_zero():
    none = ratio_of_regions([0, 0, 0], [0.2, 0.3, 0.5])
    assert none.value == none.lower == 0 and none.upper == pytest.approx(-np.log(0.025))  # Garwood: chi2(2) / 2
    part = ratio_of_regions([0, 0, 0], [10, 10, 10], part=True)
    assert part.lower == 0 and part.upper == pytest.approx(1 - 0.025 ** (1 / 30))
    all_of_them = ratio_of_regions([10, 10, 10], [10, 10, 10], part=True)
    assert all_of_them.upper == 1 and all_of_them.lower == pytest.approx(0.025 ** (1 / 30))
