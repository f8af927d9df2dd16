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


# -- magnitudes with known noise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("t1", [0.4, 0.577, 1.1, 2.3])
def test_likelihood_of_magnitudes_is_unbiased_and_covers_means_of_regions(t1: float, rng: np.random.Generator) -> None:
    """Sampled at and near the null (0.577 s ln 2 = 0.4 s; 1.1 s: signal 1.7 noises from it)."""
    times = np.array([0.05, 0.15, 0.4, 0.8, 1.6, 3.0, 5.0])
    clean = inversion_recovery(1000.0, 1 / t1, ti=times)[:, None, None]
    shape = (times.size, 150, 128)
    data = np.hypot(clean + rng.normal(0, 20, shape), rng.normal(0, 20, shape))
    fit = InversionRecovery(times, sigma=20.0).map_all(data)
    mean = fit.parameters["t1"].mean(axis=1)
    error = np.sqrt(np.square(fit.standard_errors["t1"]).sum(axis=1)) / 128
    assert mean.mean() == pytest.approx(t1, rel=0.0015)
    assert np.mean(np.abs(mean - t1) < 1.96 * error) >= 0.89
    # Chi-square of seven samples and three parameters.
    assert np.median(fit.weighted_rss) == pytest.approx(3.36, rel=0.06)
    plain = InversionRecovery(times).map_all(data).parameters["t1"].mean()
    assert t1 != 1.1 or plain < 0.9975 * t1  # what the likelihood is for


def test_likelihood_without_noise_is_the_plain_fit(t1: np.ndarray) -> None:
    data = np.abs(inversion_recovery(800.0, 1 / t1, ti=TI[:, None, None]))
    fit = InversionRecovery(TI, sigma=0.01).map_all(data)
    np.testing.assert_allclose(fit.parameters["t1"], t1, rtol=1e-5)


def test_likelihood_of_look_locker(rng: np.random.Generator) -> None:
    times = 0.05 + 0.1 * np.arange(25)
    clean = look_locker(500.0, 1 / 1.2, times=times, flip=5.0, interval=0.1)[:, None]
    data = np.hypot(clean + rng.normal(0, 5, (25, 3000)), rng.normal(0, 5, (25, 3000)))
    fit = LookLocker(times, sigma=5.0).map_all(data)
    truth = LookLocker(times).map_all(np.abs(clean)).parameters["t1"]
    assert fit.parameters["t1"].mean() == pytest.approx(truth[0], rel=0.003)
    assert fit.standard_errors["t1"].mean() == pytest.approx(fit.parameters["t1"].std(), rel=0.1)


def test_likelihood_of_voxels_without_a_curve_and_of_signed_data() -> None:
    data = np.abs(inversion_recovery(100.0, 1.0, ti=TI))[:, None] * np.ones(3)
    data[:, 1] = 0.0
    data[4, 2] = np.nan
    mask = np.array([True, True, False])
    fit = InversionRecovery(TI, sigma=1.0).map_all(data, mask=mask)
    assert fit.reason.tolist() == [0, Reason.NO_SIGNAL, Reason.NOT_SELECTED]
    assert np.isnan(fit.parameters["t1"]).tolist() == [False, True, True]
    with pytest.raises(UsageError, match="no floor of noise"):
        InversionRecovery(TI, polarity="signed", sigma=1.0)


def test_likelihood_of_saturation_recovery(rng: np.random.Generator) -> None:
    times = np.array([0.05, 0.15, 0.4, 0.8, 1.6, 3.0, 5.0])
    clean = saturation_recovery(1000.0, 1 / 1.6, ts=times)[:, None, None]
    shape = (times.size, 150, 128)
    data = np.hypot(clean + rng.normal(0, 20, shape), rng.normal(0, 20, shape))
    fit = SaturationRecovery(times, sigma=20.0).map_all(data)
    mean, error = fit.parameters["t1"].mean(axis=1), np.sqrt(np.square(fit.standard_errors["t1"]).sum(axis=1)) / 128
    assert mean.mean() == pytest.approx(1.6, rel=0.0015)
    assert 0.89 <= np.mean(np.abs(mean - 1.6) < 1.96 * error) <= 0.985


@pytest.mark.parametrize(("flip", "interval"), [(7.0, 0.05), (15.0, 0.2)])
def test_look_locker_with_its_interval_is_exact(flip: float, interval: float, t1: np.ndarray) -> None:
    times = interval * np.arange(1, 60)
    data = look_locker(500.0, 1 / t1, times=times[:, None, None], flip=flip, interval=interval)
    fit = LookLocker(times, interval=interval).map_all(np.abs(data))
    np.testing.assert_allclose(fit.parameters["t1"], t1, rtol=1e-6)
    weak = LookLocker(times).map_all(np.abs(data)).parameters["t1"]
    assert np.abs(weak / t1 - 1).max() > 0.003
