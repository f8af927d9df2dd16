"""Adjusted p-values: bad input, the worked example of the paper, and what they control."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from timelens.engines.statistics import benjamini_hochberg, storey
from timelens.errors import UsageError

# The fifteen p-values of Benjamini and Hochberg 1995, section 3.2: four are found at q = 0.05.
PAPER = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
         0.7590, 1.0000]  # fmt: skip


@pytest.mark.parametrize("wrong", [-0.1, 1.2, np.inf])
def test_what_is_no_p_value_is_refused(wrong):
    with pytest.raises(UsageError, match="between 0 and 1"):
        benjamini_hochberg([0.1, wrong])


def test_nothing_and_nan():
    assert benjamini_hochberg([]).shape == (0,)
    found = benjamini_hochberg([[np.nan, 0.01], [0.04, np.nan]])
    assert np.isnan(found[0, 0]) and found[0, 1] == pytest.approx(0.02) and found[1, 0] == pytest.approx(0.04)
    assert np.isnan(storey([np.nan])[1])
    with pytest.raises(UsageError, match="limit lies between"):
        storey([0.1], above=1.0)


def test_the_example_of_the_paper():
    assert (benjamini_hochberg(PAPER) <= 0.05).sum() == 4
    assert benjamini_hochberg(PAPER)[0] == pytest.approx(0.0015)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_it_agrees_with_another_implementation(p):
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p))


def test_the_part_without_effect_is_found(rng):
    p = np.concatenate([rng.random(8000), rng.beta(0.1, 20, 2000)])
    q, part = storey(p)
    assert part == pytest.approx(0.8, abs=0.03)
    found = q <= 0.1
    assert found[:8000].sum() / found.sum() == pytest.approx(0.1, abs=0.03)
    assert found.sum() > (benjamini_hochberg(p) <= 0.1).sum()


def test_few_tests_give_no_part():
    assert storey([0.6, 0.7, 0.8])[1] == 1.0
