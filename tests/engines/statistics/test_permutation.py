"""Permutation of labels: bad input, all deals against a plain loop, and uniform p-values where nothing differs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import ttest_ind

from timelens.engines.statistics import permutation_test
from timelens.errors import UsageError

HALVES = np.arange(8) >= 4


@pytest.mark.parametrize(
    ("values", "second", "deals", "said"),
    [
        ([1.0, 2.0, np.nan, 4.0], [0, 0, 1, 1], 999, "one finite number"),
        ([1.0, 2.0, 3.0, 4.0], [0, 1, 1], 999, "one finite number"),
        ([1.0, 2.0, 3.0], [0, 1, 1], 999, "fewer than two patients"),
        ([1.0, 2.0, 3.0], [1, 1, 1], 999, "fewer than two patients"),
        ([1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1], 10, "say nothing"),
    ],
)
def test_bad_input_is_refused(values, second, deals, said, rng):
    with pytest.raises(UsageError, match=said):
        permutation_test(values, second, rng, deals=deals)


def test_constant_values_say_nothing(rng):
    assert permutation_test(np.full(8, 0.3), HALVES, rng).p_value == [1.0]


def test_groups_that_do_not_vary_but_differ_are_extreme(rng):
    found = permutation_test(HALVES * 1.0, HALVES, rng)
    assert found.p_value == pytest.approx(2 / 70) and found.least == pytest.approx(2 / 70)
    assert found.difference == [1.0]


@pytest.mark.parametrize("second", [HALVES, np.arange(8) >= 5])
def test_all_deals_against_a_loop(second, rng):
    y = rng.normal(size=(8, 3))
    found = permutation_test(y, second, rng)
    size = int(second.sum())
    for v in range(3):
        stats = []
        for chosen in combinations(range(8), size):
            mask = np.isin(np.arange(8), chosen)
            stats.append(abs(ttest_ind(y[mask, v], y[~mask, v], equal_var=False).statistic))
        seen = abs(ttest_ind(y[second, v], y[~second, v], equal_var=False).statistic)
        assert found.p_value[v] == pytest.approx(np.mean(np.array(stats) >= seen * (1 - 1e-9)))
        assert found.difference[v] == pytest.approx(y[second, v].mean() - y[~second, v].mean())
    assert found.exact and found.deals == len(stats)


def test_scale_and_offset_do_not_matter(rng):
    y = rng.normal(size=8)
    plain = permutation_test(y, HALVES, rng).p_value
    assert permutation_test(1e6 + 1e-3 * y, HALVES, rng).p_value == plain
    assert permutation_test(-y, HALVES, rng).p_value == plain


def test_a_sample_of_deals_comes_near_all_of_them():
    y = np.random.default_rng(2).normal(size=22)
    second = np.arange(22) % 2 == 0
    one, two = (permutation_test(y, second, np.random.default_rng(s)) for s in (1, 2))
    assert not one.exact and one.deals == 9999 and one.least == 1e-4
    assert one.p_value == pytest.approx(two.p_value, abs=0.02)
    assert one.p_value == pytest.approx(ttest_ind(y[second], y[~second], equal_var=False).pvalue, abs=0.02)


def test_p_values_are_uniform_where_nothing_differs():
    rng = np.random.default_rng(7)
    y = rng.gamma(1.0, size=(10, 4000))  # skewed, as densities are
    p = permutation_test(y, np.arange(10) < 4, rng).p_value
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 4000) + 1 / 210)
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / 4000)
