from __future__ import annotations

import math

import pytest

from timelens.engines.radioactivity import cross_calibration_factor, net_injected_activity
from timelens.errors import DataError

T = 6586.2


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_impossible_readings_are_refused(bad):
    with pytest.raises(DataError, match="assayed activity cannot be used"):
        net_injected_activity(bad, half_life_s=T)
    with pytest.raises(DataError, match="residual activity cannot be used"):
        net_injected_activity(1e8, residual_bq=bad, half_life_s=T)


def test_a_residue_as_large_as_the_dose_is_refused():
    with pytest.raises(DataError, match="not smaller than the activity"):
        net_injected_activity(370.0, residual_bq=5e6, half_life_s=T)
    # Measured one half-life after the injection, 60 is 120 of 100.
    with pytest.raises(DataError, match="120 Bq at injection, of 100 Bq"):
        net_injected_activity(100.0, residual_bq=60.0, residual_s=T, half_life_s=T)


def test_net_activity_brings_both_readings_to_the_injection():
    # 400 drawn up one half-life before: 200 at injection; 10 left one half-life after: 20 at injection.
    net = net_injected_activity(400e6, assay_s=-T, injection_s=0.0, residual_bq=10e6, residual_s=T, half_life_s=T)
    assert net == pytest.approx(180e6, rel=1e-14)


def test_a_residue_without_time_counts_as_measured_at_injection():
    assert net_injected_activity(100.0, residual_bq=10.0, half_life_s=T) == 90.0
    assert net_injected_activity(100.0, assay_s=0.0, injection_s=T, residual_bq=10.0, half_life_s=T) == 40.0


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((0.0, 1.0, 1.0), "calibrator activity"), ((1.0, 0.0, 1.0), "volume"), ((1.0, 1.0, math.nan), "concentration")],
)
def test_cross_calibration_needs_positive_numbers(arguments, name):
    with pytest.raises(DataError, match=name):
        cross_calibration_factor(*arguments, half_life_s=T)


def test_cross_calibration_is_true_over_shown():
    # 60 MBq in 6 L, half decayed at the scan: 5000 Bq/mL; the scanner shows 4000.
    assert cross_calibration_factor(60e6, 6000.0, 4000.0, half_life_s=T, scan_s=T) == pytest.approx(1.25, rel=1e-14)
