"""The full reference tissue model finds what an independently made pair of tissues holds."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engines.kinetics.study import Floats

from timelens.engines.kinetics import (
    FRTM,
    SRTM,
    Frames,
    InputFunction,
    Reason,
    compare,
    convolve_exponential,
    frame_values,
    reference_input,
)
from timelens.errors import DataError, UsageError

RATES, MACRO = 1e-4, 1e-5


@pytest.fixture(scope="module")
def reference(frames: Frames, plasma: InputFunction) -> InputFunction:
    """A reference of one tissue."""
    return reference_input(frames, 0.002 * convolve_exponential(plasma.times, plasma.values, 0.0025, frames))


def _target(reference: InputFunction, frames: Frames, r1: float, k2: float, k3: float, k4: float) -> Floats:
    """The target's impulse response to the reference, by partial fractions solved as a linear system."""
    p, q = np.roots([1.0, -(k2 + k3 + k4), k2 * k4])
    c = np.linalg.solve([[1, 1], [q, p]], [k2 * (1 - r1), k2 * (k3 + k4) - r1 * k2 * k4])
    seen = frame_values(reference.times, reference.values, frames)
    return r1 * seen + convolve_exponential(reference.times, reference.values, np.array([p, q]), frames) @ c


@pytest.mark.parametrize(
    "truth",
    [
        (1.0, 0.0025, 0.0012, 0.0006),
        (1.3, 0.004, 0.0005, 0.001),
        (0.7, 0.002, 0.003, 0.0008),
        (1.1, 0.003, 0.0004, 2e-3),
    ],
)
def test_round_trip(frames: Frames, reference: InputFunction, truth: tuple[float, float, float, float]) -> None:
    fit = FRTM(frames, reference).fit(_target(reference, frames, *truth))
    for name, value in zip(("r1", "k2", "k3", "k4"), truth, strict=True):
        assert fit.parameters[name] == pytest.approx(value, rel=RATES)
    assert fit.parameters["bp_nd"] == pytest.approx(truth[2] / truth[3], rel=MACRO)
    assert fit.reason == 0
    assert fit.free_parameters == 4
    np.testing.assert_allclose(fit.residuals, 0, atol=1e-6 * fit.predicted.max())


def test_against_plasma_driven_tissues(frames: Frames, plasma: InputFunction) -> None:
    """Both tissues made from plasma, at samples so close that the reference's lines are its curve."""
    dense = Frames.instants(np.arange(1.0, 5000.0))
    k1, k2, k3, k4 = 0.0022, 0.0022 / 0.8, 0.0012, 0.0008
    source = 0.002 * convolve_exponential(plasma.times, plasma.values, 0.0025, dense)
    root = np.sqrt((k2 + k3 + k4) ** 2 - 4 * k2 * k4)
    fast, slow = (k2 + k3 + k4 + root) / 2, (k2 + k3 + k4 - root) / 2
    shares = k1 * np.array([fast - k3 - k4, k3 + k4 - slow]) / root
    curve = convolve_exponential(plasma.times, plasma.values, np.array([fast, slow]), dense) @ shares
    fit = FRTM(dense, reference_input(dense, source)).fit(curve)
    assert fit.parameters["bp_nd"] == pytest.approx(1.5, rel=2e-3)
    assert fit.parameters["r1"] == pytest.approx(1.1, rel=1e-3)


def test_maps_errors_and_intervals(frames: Frames, reference: InputFunction) -> None:
    rng = np.random.default_rng(0)
    clean = _target(reference, frames, 1.1, 0.0025, 0.0012, 0.0006)
    curves = clean[:, None] + 0.01 * clean[-1] * rng.normal(size=(28, 600))
    model = FRTM(frames, reference)
    maps = model.map(curves.reshape(28, 10, 60), dtype=np.float64)
    good = maps.identifiable.ravel()
    assert good.mean() > 0.9
    bp, error = maps.parameters["bp_nd"].ravel()[good], maps.standard_errors["bp_nd"].ravel()[good]
    assert np.median(bp) == pytest.approx(2.0, rel=0.02)
    assert np.median(error) == pytest.approx(np.quantile(np.abs(bp - 2), 0.68), rel=0.15)
    few = model.fit(curves[:, :40])
    np.testing.assert_allclose(maps.weighted_rss.ravel()[:40], few.weighted_rss, rtol=1e-3)
    low, high = few.interval()
    assert np.mean((low < 2) & (high > 2)) > 0.85
    assert (low < few.parameters["bp_nd"]).all()


def test_akaike_prefers_the_simple_model_for_fast_exchange(frames: Frames, reference: InputFunction) -> None:
    """Where bound and free tissue equilibrate at once SRTM is as good, and the full model is not paid for."""
    rng = np.random.default_rng(1)
    seen = frame_values(reference.times, reference.values, frames)
    curve = 1.1 * seen + (0.0025 - 1.1 * 0.001) * convolve_exponential(reference.times, reference.values, 0.001, frames)
    curves = curve[:, None] + 0.01 * curve[-1] * rng.normal(size=(28, 30))
    found = compare([SRTM(frames, reference).fit(curves), FRTM(frames, reference).fit(curves)], "bp_nd")
    assert found.weights[0].mean() > 0.5
    assert np.median(found.average) == pytest.approx(1.5, rel=0.03)


def test_refusals_and_reasons(frames: Frames, reference: InputFunction) -> None:
    model = FRTM(frames, reference)
    good = _target(reference, frames, 1.1, 0.0025, 0.0012, 0.0006)
    fit = model.map(np.stack([good, 0 * good, np.where(np.arange(28) == 3, np.nan, good)], axis=1))
    assert list(fit.reason) == [0, Reason.NO_SIGNAL, Reason.NON_FINITE]
    assert np.isnan(fit.parameters["bp_nd"][1:]).all()
    few = FRTM(frames.select(slice(24, 28)), reference).fit(good[24:])
    assert few.reason == Reason.TOO_FEW_FRAMES
    with pytest.raises(UsageError, match="must ascend"):
        FRTM(frames, reference, rates=(0.1, 0.01))
    with pytest.raises(DataError, match="first axis"):
        model.fit(good[:-1])
