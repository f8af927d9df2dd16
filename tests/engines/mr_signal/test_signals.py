"""Signal equations against pulses played out one by one, limits and published algebra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate

from timelens.engines import mr_signal as mr
from timelens.errors import DataError, PlausibilityWarning


def pulses(m: float, m0: float, r1: float, flip: float, interval: float, count: int) -> tuple[float, list[float]]:
    """Longitudinal magnetisation just before each pulse, played out; transverse magnetisation is spoiled."""
    seen = []
    for _ in range(count):
        seen.append(m)
        m = m0 + (m * np.cos(np.deg2rad(flip)) - m0) * np.exp(-interval * r1)
    return m, seen


@pytest.mark.parametrize(("flip", "tr", "r1"), [(2.0, 0.005, 0.7), (20.0, 0.004, 5.0), (90.0, 0.5, 1.0)])
def test_gradient_echo_is_the_steady_state_of_its_pulses(flip: float, tr: float, r1: float) -> None:
    steady, _ = pulses(1000.0, 1000.0, r1, flip, tr, 20000)
    expected = steady * np.sin(np.deg2rad(flip)) * np.exp(-0.002 * 30)
    found = mr.spoiled_gradient_echo(1000.0, r1, flip=flip, tr=tr, te=0.002, r2_star=30.0)
    assert found == pytest.approx(expected, rel=1e-9)


def test_ernst_angle_is_the_brightest() -> None:
    angles = np.linspace(1, 60, 5901)
    signal = mr.spoiled_gradient_echo(1.0, 0.8, flip=angles, tr=0.01)
    assert mr.ernst_angle(0.8, tr=0.01) == pytest.approx(angles[np.argmax(signal)], abs=0.006)


def test_look_locker_follows_its_pulses() -> None:
    _, seen = pulses(-500.0, 500.0, 0.9, 8.0, 0.05, 60)
    found = mr.look_locker(500.0, 0.9, times=0.05 * np.arange(60), flip=8.0, interval=0.05)
    np.testing.assert_allclose(found, seen, rtol=1e-10)


def test_recoveries_solve_the_bloch_equation() -> None:
    times = np.array([0.1, 0.6, 2.5])
    for start, found in (
        (-700.0, mr.inversion_recovery(700.0, 1.2, ti=times)),
        (-630.0, mr.inversion_recovery(700.0, 1.2, ti=times, efficiency=0.9)),
        (0.0, mr.saturation_recovery(700.0, 1.2, ts=times)),
    ):
        path = integrate.solve_ivp(lambda _, m: 1.2 * (700 - m), (0, 2.5), [start], t_eval=times, rtol=1e-11, atol=1e-9)
        np.testing.assert_allclose(found, path.y[0], rtol=1e-6)


def test_inversion_recovery_repeated_too_soon() -> None:
    # Read by 90 degrees every tr: before the inversion only m0 (1 - exp(-tr R1)) is there.
    tr, r1, ti = 1.5, 1.0, 0.4
    before = 100 * (1 - np.exp(-(tr - ti) * r1))
    expected = 100 + (-before - 100) * np.exp(-ti * r1)
    assert mr.inversion_recovery(100.0, r1, ti=ti, tr=tr) == pytest.approx(expected, rel=1e-12)


def test_decays() -> None:
    assert mr.echo_decay(100.0, 20.0, te=np.log(2) / 20) == pytest.approx(50.0)
    assert mr.diffusion_decay(100.0, 1e-3, b=np.log(4) / 1e-3) == pytest.approx(25.0)
    assert mr.diffusion_decay(1.0, 1e-3, b=1000.0, kurtosis=0.6) == pytest.approx(np.exp(-0.9))
    two = mr.ivim_decay(100.0, 0.2, 1e-3, 0.05, b=500.0)
    assert two == pytest.approx(80 * np.exp(-0.5) + 20 * np.exp(-25))


def test_rician_mean_against_draws(rng: np.random.Generator) -> None:
    noise = rng.normal(0, 3.0, (2, 400_000))
    for signal in (0.0, 4.0, 30.0):
        drawn = np.hypot(signal + noise[0], noise[1])
        error = drawn.std() / np.sqrt(drawn.size)
        assert mr.rician_mean(signal, 3.0) == pytest.approx(drawn.mean(), abs=4 * error)
    assert mr.rician_mean(0.0, 3.0) == pytest.approx(3 * np.sqrt(np.pi / 2), rel=1e-12)
    assert mr.rician_mean(3000.0, 3.0) == pytest.approx(3000 + 9 / 6000, rel=1e-8)


@pytest.mark.parametrize("flip", [0.0, -5.0, 181.0, np.nan])
def test_flip_angles_are_degrees(flip: float) -> None:
    with pytest.raises(DataError, match=r"between 0 and 180 degrees"):
        mr.spoiled_gradient_echo(1.0, 1.0, flip=flip, tr=0.005)


def test_angles_that_look_like_radians() -> None:
    with pytest.warns(PlausibilityWarning, match="radians"):
        mr.check_flip([0.05, 0.2, 0.35])


@pytest.mark.parametrize("tr", [0.0, -1.0, np.inf])
def test_repetition_time_is_positive(tr: float) -> None:
    with pytest.raises(DataError, match=r"repetition time must be positive"):
        mr.spoiled_gradient_echo(1.0, 1.0, flip=10.0, tr=tr)


def test_times_in_milliseconds() -> None:
    with pytest.warns(PlausibilityWarning, match="milliseconds"):
        mr.check_times([50, 400, 2500], "inversion time", longest=60)
    with pytest.raises(DataError, match=r"at least 3 numbers in s"):
        mr.check_times([0.1, 0.2], "inversion time", longest=60, least=3)
