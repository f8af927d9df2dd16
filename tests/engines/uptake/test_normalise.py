from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelens.engines.uptake import glucose_factor, percent_injected_per_gram, percent_injected_per_ml, suv_factor
from timelens.errors import DataError


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, [1.0, 0.0]])
def test_sizes_and_activities_must_be_positive(bad):
    with pytest.raises(DataError, match="injected activity must be positive"):
        suv_factor(70e3, bad)
    with pytest.raises(DataError, match="body size must be positive"):
        suv_factor(bad, 1e8)
    with pytest.raises(DataError, match="injected activity must be positive"):
        percent_injected_per_ml(1.0, bad)


def test_density_must_be_positive():
    with pytest.raises(DataError, match="density must be positive"):
        percent_injected_per_gram(1.0, 1e6, density_g_per_ml=0.0)


def test_activity_spread_evenly_over_the_body_has_suv_1():
    weight_g, activity = 70e3, 3e8
    assert suv_factor(weight_g, activity) * activity / weight_g == pytest.approx(1.0, rel=1e-15)


def test_percent_injected_by_hand():
    # 5 MBq in a mouse, 250 kBq/mL in the tumour: 5 %ID/mL.
    assert percent_injected_per_ml(250e3, 5e6) == 5.0
    assert percent_injected_per_gram(250e3, 5e6) == 5.0
    assert percent_injected_per_gram(250e3, 5e6, density_g_per_ml=1.25) == 4.0
    np.testing.assert_allclose(percent_injected_per_ml([0.0, 5e4], [5e6, 1e7]), [0.0, 0.5])


@given(concentration=st.floats(1, 1e6), weight=st.floats(0.01, 150), activity=st.floats(1e5, 1e9))
def test_suv_is_percent_per_ml_times_weight(concentration, weight, activity):
    suv = concentration * suv_factor(1000 * weight, activity)
    assert suv == pytest.approx(percent_injected_per_ml(concentration, activity) * 1000 * weight / 100, rel=1e-12)


def test_glucose():
    assert glucose_factor(6.5) == 1.3
    with pytest.raises(DataError, match=r"divide mg/dL by 18\.016"):
        glucose_factor(99.0)
    with pytest.raises(DataError, match="blood glucose must be positive"):
        glucose_factor(0.0)
