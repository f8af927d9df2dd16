"""T2 and T2* from echoes."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.kinetics import Reason
from timelens.engines.mr_signal import echo_decay
from timelens.engines.relaxometry import EchoDecay, TwoPoolDecay
from timelens.errors import DataError, PlausibilityWarning, UsageError

TE = 0.01 * np.arange(1, 13)
EXACT = {"log_linear": 1e-10, "nonlinear": 1e-6, "arlo": 5e-4}


@pytest.fixture
def t2(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.02, 0.3, (20, 30))


@pytest.mark.parametrize("method", EXACT)
def test_round_trip(method: str, t2: np.ndarray) -> None:
    fit = EchoDecay(TE, method=method).fit(echo_decay(700.0, 1 / t2, te=TE[:, None, None]))
    np.testing.assert_allclose(fit.parameters["t2"], t2, rtol=EXACT[method])
    np.testing.assert_allclose(fit.parameters["r2"], 1 / t2, rtol=EXACT[method])
    np.testing.assert_allclose(fit.parameters["s0"], 700.0, rtol=2 * EXACT[method])
    assert fit.units["t2"] == "s"


@pytest.mark.parametrize("method", EXACT)
def test_intervals_cover_the_truth(method: str, rng: np.random.Generator) -> None:
    clean = echo_decay(1000.0, 1 / 0.08, te=TE)
    fit = EchoDecay(TE, method=method, star=True).fit(clean[:, None] + rng.normal(0, 8, (TE.size, 4000)))
    low, high = fit.interval(0.95, method="wald")
    assert 0.93 <= np.mean((low <= 0.08) & (high >= 0.08)) <= 0.97
    assert np.median(fit.standard_errors["s0"]) == pytest.approx(fit.parameters["s0"].std(), rel=0.15)
    assert set(fit.parameters) == {"t2_star", "r2_star", "s0"}


def test_a_known_noise_takes_off_the_rician_bias(rng: np.random.Generator) -> None:
    sigma, t2 = 20.0, 0.02
    clean = echo_decay(1000.0, 1 / t2, te=TE)
    noise = rng.normal(0, sigma, (2, TE.size, 4000))
    magnitude = np.hypot(clean[:, None] + noise[0], noise[1])
    plain = EchoDecay(TE).fit(magnitude).parameters["t2"].mean() / t2 - 1
    known = EchoDecay(TE, sigma=sigma).fit(magnitude).parameters["t2"].mean() / t2 - 1
    cut = EchoDecay(TE, method="log_linear", sigma=sigma).fit(magnitude).parameters["t2"].mean() / t2 - 1
    assert plain > 0.02
    assert abs(known) < 0.004
    assert abs(cut) < 0.02


def test_a_constant_floor(t2: np.ndarray) -> None:
    data = echo_decay(700.0, 1 / t2, te=TE[:, None, None]) + 25.0
    fit = EchoDecay(TE, floor=True).fit(data)
    np.testing.assert_allclose(fit.parameters["t2"], t2, rtol=1e-5)
    np.testing.assert_allclose(fit.parameters["floor"], 25.0, rtol=1e-4)


def test_two_pools() -> None:
    te = 0.005 * np.arange(1, 33)
    data = 200 * np.exp(-te / 0.02) + 800 * np.exp(-te / 0.1)
    fit = TwoPoolDecay(te).fit(data)
    assert fit.parameters["t2_short"] == pytest.approx(0.02, rel=1e-5)
    assert fit.parameters["t2_long"] == pytest.approx(0.1, rel=1e-5)
    assert fit.parameters["fraction_short"] == pytest.approx(0.2, rel=1e-5)


@pytest.mark.parametrize("method", EXACT)
def test_voxels_without_decay(method: str) -> None:
    data = echo_decay(100.0, 10.0, te=TE)[:, None] * np.ones(4)
    data[:, 1] = 0.0
    data[4, 2] = np.nan
    data[:, 3] = data[::-1, 0]
    fit = EchoDecay(TE, method=method).fit(data)
    assert fit.reason[0] == 0
    assert fit.reason[1] == Reason.NO_SIGNAL
    assert fit.reason[2] == Reason.NON_FINITE
    # What grows has no T2; the search stops at its slowest rate and says so.
    assert fit.reason[3] & (Reason.RATE_AT_BOUND if method == "nonlinear" else Reason.NOT_PHYSICAL)
    assert np.isnan(fit.parameters["t2"][1:3]).all()


def test_too_few_echoes_above_the_floor() -> None:
    data = np.array([50.0, 9.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    fit = EchoDecay(TE, method="log_linear", sigma=4.0).fit(data)
    assert fit.reason == Reason.TOO_FEW_FRAMES
    assert np.isnan(fit.parameters["t2"])


def test_refusals() -> None:
    with pytest.raises(DataError, match=r"evenly spaced"):
        EchoDecay([0.01, 0.02, 0.05], method="arlo").fit(np.ones(3))
    with pytest.raises(DataError, match=r"two different echo times"):
        EchoDecay([0.01, 0.01])
    with pytest.raises(UsageError, match=r"either sigma or floor"):
        EchoDecay(TE, floor=True, sigma=3.0)
    with pytest.raises(UsageError, match=r"Unknown method"):
        EchoDecay(TE, method="svd")
    with pytest.raises(DataError, match=r"noise must be positive"):
        EchoDecay(TE, sigma=-1.0)
    with pytest.warns(PlausibilityWarning, match="milliseconds"):
        EchoDecay(TE * 1000)
