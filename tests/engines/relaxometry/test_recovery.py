"""T1 from recovery curves."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.kinetics import Reason
from timelens.engines.mr_signal import inversion_recovery, look_locker, saturation_recovery
from timelens.engines.relaxometry import InversionRecovery, LookLocker, SaturationRecovery
from timelens.errors import DataError, PlausibilityWarning, UsageError

TI = np.array([0.05, 0.1, 0.2, 0.4, 0.8, 1.2, 1.8, 2.5, 4.0, 6.0])


@pytest.fixture
def t1(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.2, 3.0, (30, 20))


@pytest.mark.parametrize("polarity", ["signed", "restore"])
def test_inversion_with_an_imperfect_pulse_and_a_short_tr(polarity: str, t1: np.ndarray) -> None:
    signal = inversion_recovery(800.0, 1 / t1, ti=TI[:, None, None], tr=7.0, efficiency=0.9)
    data = signal if polarity == "signed" else np.abs(signal)
    model = InversionRecovery(TI, polarity=polarity)
    np.testing.assert_allclose(model.map_all(data).parameters["t1"], t1, rtol=1e-6)
    fit = model.fit(data[:, 0, :3])
    np.testing.assert_allclose(fit.parameters["t1"], t1[0, :3], rtol=1e-6)
    np.testing.assert_allclose(fit.predict(), signal[:, 0, :3], atol=1e-5)


def test_order_of_the_times_does_not_matter(t1: np.ndarray, rng: np.random.Generator) -> None:
    order = rng.permutation(TI.size)
    data = np.abs(inversion_recovery(800.0, 1 / t1, ti=TI[order, None, None]))
    np.testing.assert_allclose(InversionRecovery(TI[order]).map_all(data).parameters["t1"], t1, rtol=1e-6)


def test_restored_signs_cover_the_truth(rng: np.random.Generator) -> None:
    clean = inversion_recovery(1000.0, 1 / 0.9, ti=TI)
    data = np.abs(clean[:, None] + rng.normal(0, 12, (TI.size, 3000)))
    fit = InversionRecovery(TI).map_all(data)
    low, high = fit.interval(0.95, method="wald")
    assert 0.925 <= np.mean((low <= 0.9) & (high >= 0.9)) <= 0.97
    assert fit.parameters["t1"].mean() == pytest.approx(0.9, rel=0.003)


def test_saturation(t1: np.ndarray) -> None:
    data = saturation_recovery(300.0, 1 / t1, ts=TI[:, None, None])
    fit = SaturationRecovery(TI).map_all(data)
    np.testing.assert_allclose(fit.parameters["t1"], t1, rtol=1e-6)
    np.testing.assert_allclose(fit.parameters["m0"], 300.0, rtol=1e-6)


def test_look_locker_within_its_approximation(t1: np.ndarray) -> None:
    times = 0.05 + 0.05 * np.arange(80)
    data = look_locker(500.0, 1 / t1, times=times[:, None, None], flip=7.0, interval=0.05)
    fit = LookLocker(times).map_all(np.abs(data))
    np.testing.assert_allclose(fit.parameters["t1"], t1, rtol=0.005)
    apparent = 1 / (1 / t1 - np.log(np.cos(np.deg2rad(7))) / 0.05)
    np.testing.assert_allclose(fit.parameters["t1_star"], apparent, rtol=1e-6)


def test_voxels_without_a_curve() -> None:
    data = np.abs(inversion_recovery(100.0, 1.0, ti=TI))[:, None] * np.ones(3)
    data[:, 1] = 0.0
    data[4, 2] = np.nan
    fit = InversionRecovery(TI).map_all(data)
    assert fit.reason.tolist() == [0, Reason.NO_SIGNAL, Reason.NON_FINITE]
    assert np.isnan(fit.parameters["t1"]).tolist() == [False, True, True]


def test_refusals() -> None:
    with pytest.raises(DataError, match=r"Too few different images"):
        InversionRecovery([0.1, 0.1, 0.5])
    with pytest.raises(DataError, match=r"at least 3 numbers in s"):
        SaturationRecovery([0.1, 0.5])
    with pytest.raises(UsageError, match="polarity"):
        InversionRecovery(TI, polarity="magnitude")
    with pytest.raises(DataError, match=r"one value per frame"):
        InversionRecovery(TI).map_all(np.ones((4, 2)))
    with pytest.warns(PlausibilityWarning, match="milliseconds"):
        InversionRecovery(TI * 1000)
