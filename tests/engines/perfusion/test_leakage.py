"""Leakage is taken off: blood volume comes back to what it is without."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engines.perfusion.first_pass import ARTERY, FINE, TIMES, tissue

from timelens.engines.kinetics import Reason
from timelens.engines.perfusion import (
    blood_volume,
    correct_leakage,
    correct_leakage_both_ways,
    correct_leakage_by_transit,
)
from timelens.errors import DataError

#: With recirculation, without which there is little left to leak late.
LONG = ARTERY + 0.7 * -np.expm1(-np.maximum(FINE - 20, 0) / 15)
LONG_SAMPLED = np.interp(TIMES, FINE, LONG)
AREA = np.interp(TIMES, FINE, np.cumsum(LONG) * 0.02)


def volume(curves: np.ndarray) -> float:
    return float(np.mean(blood_volume(TIMES, curves, LONG_SAMPLED)))


@pytest.mark.parametrize("rate", [-0.0003, 0.0, 0.0008])
def test_both_corrections_bring_the_volume_back(rate: float, rng: np.random.Generator) -> None:
    clean = tissue(0.04, 5.0, artery=LONG)
    leaky = (clean + rate * AREA)[:, None] + rng.normal(0, 0.003, (TIMES.size, 300))
    truth, raw = volume(clean), volume(leaky)
    assert abs(raw / truth - 1) > 0.3 or rate == 0
    reference = correct_leakage(TIMES, leaky, tissue(0.03, 5.0, artery=LONG))
    transit = correct_leakage_by_transit(TIMES, leaky, LONG_SAMPLED)
    assert volume(reference.corrected) == pytest.approx(truth, rel=0.12)
    assert volume(transit.corrected) == pytest.approx(truth, rel=0.06)
    assert transit.rate.mean() == pytest.approx(rate, abs=3e-5)
    # K2 counts along the reference's curve, and is positive where T1 shortening dominates.
    assert reference.rate.mean() == pytest.approx(-rate / 0.03, abs=0.15 * abs(rate) / 0.03 + 2e-4)


def test_agent_that_comes_back(rng: np.random.Generator) -> None:
    """With washout the plain correction takes off too little; with k_ep both rates and the volume are found."""
    mean = tissue(0.03, 5.0, artery=LONG)
    step = TIMES[1]
    leaked = np.array([np.trapezoid(mean[: k + 1] * np.exp(-0.02 * (TIMES[k] - TIMES[: k + 1])), dx=step)
                       for k in range(TIMES.size)])  # fmt: skip
    clean = 4 / 3 * mean
    data = (clean + 0.03 * leaked)[:, None] + rng.normal(0, 0.002, (TIMES.size, 200))
    plain, both = correct_leakage(TIMES, data, mean), correct_leakage_both_ways(TIMES, data, mean)
    assert both.back.mean() == pytest.approx(0.02, abs=0.002)
    assert both.rate.mean() == pytest.approx(-0.03, rel=0.05)
    assert volume(both.corrected) == pytest.approx(volume(clean), rel=0.01)
    assert abs(volume(plain.corrected) / volume(clean) - 1) > 0.05
    steady = correct_leakage_both_ways(TIMES, (clean + 0.001 * leaked)[:, None], mean, k_ep=(0.0, 1e-9))
    assert steady.rate == pytest.approx(correct_leakage(TIMES, (clean + 0.001 * leaked)[:, None], mean).rate, abs=1e-6)


def test_a_reference_mask_and_the_error_of_k2(rng: np.random.Generator) -> None:
    clean = tissue(0.03, 5.0, artery=LONG)
    data = clean[:, None] + rng.normal(0, 0.01, (TIMES.size, 3000))
    mask = np.arange(3000) < 1500
    found = correct_leakage(TIMES, data, mask)
    assert found.rate.std() == pytest.approx(np.median(found.error), rel=0.1)
    assert abs(found.rate[~mask].mean()) < 4 * found.rate.std() / np.sqrt(1500) + 1e-5


def test_the_error_of_the_leakage_rate_is_its_spread_or_somewhat_more(rng: np.random.Generator) -> None:
    data = tissue(0.03, 5.0, artery=LONG)[:, None] + rng.normal(0, 0.01, (TIMES.size, 500))
    found = correct_leakage_by_transit(TIMES, data, LONG_SAMPLED)
    assert 1.0 < np.median(found.error) / found.rate.std() < 1.35


def test_voxels_without_a_curve_and_refusals() -> None:
    clean = tissue(0.04, 5.0, artery=LONG)
    data = np.stack([clean, 0 * clean, np.where(TIMES > 50, np.nan, clean)], axis=1)
    for found in (
        correct_leakage(TIMES, data, clean),
        correct_leakage_both_ways(TIMES, data, clean),
        correct_leakage_by_transit(TIMES, data, LONG_SAMPLED),
    ):
        assert found.reason.tolist() == [0, Reason.NO_SIGNAL, Reason.NON_FINITE]
        assert np.isfinite(found.rate[0]) and np.isnan(found.rate[1:]).all()
    with pytest.raises(DataError, match=r"mask of the shape of a frame"):
        correct_leakage(TIMES, data, np.zeros(3, bool))
    with pytest.raises(DataError, match=r"shows no first pass"):
        correct_leakage(TIMES, data, -clean)
    with pytest.raises(DataError, match=r"one value per time"):
        correct_leakage(TIMES, data, clean[:-3])
    with pytest.raises(DataError, match=r"k_ep must ascend"):
        correct_leakage_both_ways(TIMES, data, clean, k_ep=(0.1, 0.0))
    with pytest.raises(DataError, match=r"ascending part"):
        correct_leakage_by_transit(TIMES, data, LONG_SAMPLED, window=(0.9, 0.2))
