"""dR2* and blood volume."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engines.perfusion.first_pass import SAMPLED, TIMES, tissue

from timelens.engines.mr_signal import SignalReason, echo_decay
from timelens.engines.perfusion import blood_volume, delta_r2_star, normalise_to
from timelens.engines.perfusion.first_pass import HAEMATOCRIT_FACTOR, TISSUE_DENSITY
from timelens.errors import DataError, PlausibilityWarning


def test_dr2_star_turns_the_signal_around() -> None:
    truth = tissue(0.04, 5.0)[:, None] * np.array([1.0, 2.0])
    signal = echo_decay(np.array([300.0, 800.0]), truth, te=0.03)
    found = delta_r2_star(signal, te=0.03, baseline=slice(0, 10))
    np.testing.assert_allclose(found.values, truth, atol=1e-9)
    assert not found.reason.any()


def test_dr2_star_reasons() -> None:
    signal = np.full((6, 4), 100.0)
    signal[4, 1], signal[3, 2], signal[:2, 3] = 0.0, np.nan, 0.0
    found = delta_r2_star(signal, te=0.03, baseline=slice(0, 2))
    assert found.reason[0] == 0
    assert found.reason[1] == SignalReason.BELOW_ZERO
    assert found.reason[2] == SignalReason.NON_FINITE
    assert found.reason[3] & SignalReason.NO_BASELINE
    assert np.isnan(found.values[4, 1]) and np.isnan(found.values[:, 3]).all()
    with pytest.raises(DataError, match=r"no frame before contrast"):
        delta_r2_star(signal, te=0.03, baseline=slice(0, 0))
    with pytest.warns(PlausibilityWarning, match="milliseconds"):
        delta_r2_star(signal, te=30.0, baseline=slice(0, 2))


def test_blood_volume_is_the_ratio_of_areas() -> None:
    found = blood_volume(TIMES, tissue(0.04, 6.0), SAMPLED, haematocrit_factor=1, density=1)
    assert found == pytest.approx(4.0, rel=0.002)
    scaled = blood_volume(TIMES, tissue(0.04, 6.0), SAMPLED)
    assert scaled == pytest.approx(float(found) * HAEMATOCRIT_FACTOR / TISSUE_DENSITY)


def test_normalising() -> None:
    values = np.array([1.0, 2.0, 4.0, np.nan])
    found = normalise_to(values, np.array([True, True, False, True]), to=2.0)
    np.testing.assert_allclose(found[:3], [4 / 3, 8 / 3, 16 / 3])
    with pytest.raises(DataError, match=r"lie on the map"):
        normalise_to(values, np.zeros(4, bool))
    with pytest.raises(DataError, match=r"must be positive"):
        normalise_to(-values, np.ones(4, bool))


def test_refusals() -> None:
    with pytest.raises(DataError, match=r"one value per time"):
        blood_volume(TIMES, np.ones(5), SAMPLED)
    with pytest.raises(DataError, match=r"no positive area"):
        blood_volume(TIMES, tissue(0.04, 6.0), -SAMPLED)
