"""The primitive against closed forms, quadrature and its own invariants."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from timelens.engines.kinetics import Frames, convolve_exponential, convolve_with_slope, frame_values
from timelens.errors import DataError

RATES = np.array([0.0, 1e-12, 1e-7, 1e-4, 2e-3, 0.05, 0.7, 3.0, 400.0])
FRAMES = Frames([0, 10, 40, 100, 400], [10, 40, 100, 400, 1000])


def test_a_constant_input_gives_the_closed_form() -> None:
    got = convolve_exponential([0, 1000], [2, 2], RATES, Frames.instants([0, 5, 70, 1000]))
    t = np.array([0, 5, 70, 1000.0])[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        truth = np.where(RATES > 0, -2 * np.expm1(-RATES * t) / RATES, 2 * t)
    np.testing.assert_allclose(got, truth, rtol=2e-15, atol=0)


def test_a_ramp_gives_the_closed_form_over_frames() -> None:
    k = RATES[RATES >= 1e-4]
    got = convolve_exponential([0, 1000], [0, 1000], k, FRAMES)

    def integral(t: np.ndarray) -> np.ndarray:
        return t**2 / 2 / k - t / k**2 - np.expm1(-k * t) / k**3

    a, b = FRAMES.start[:, None], FRAMES.end[:, None]
    np.testing.assert_allclose(got, (integral(b) - integral(a)) / (b - a), rtol=1e-7)


def test_quadrature_agrees_on_a_bolus(rng: np.random.Generator) -> None:
    knots = np.sort(rng.uniform(0, 600, 25))
    heights = rng.uniform(0, 5, 25)
    frames = Frames([0, 50, 200], [50, 200, knots[-1]])
    rate = 0.013

    def instant(t: float) -> float:
        s = np.concatenate([knots[knots < t], [t]])
        total = 0.0
        for a, b in pairwise(s):
            total += integrate.quad(lambda u: np.interp(u, knots, heights) * np.exp(-rate * (t - u)), a, b)[0]
        return total

    got = convolve_exponential(knots, heights, rate, Frames.instants(frames.middle))
    np.testing.assert_allclose(got, [instant(t) for t in frames.middle], rtol=1e-11)
    fine = np.linspace(0, 50, 4001)
    dense = convolve_exponential(knots, heights, rate, Frames.instants(fine))
    np.testing.assert_allclose(
        convolve_exponential(knots, heights, rate, frames)[0], integrate.simpson(dense, x=fine) / 50, rtol=1e-5
    )


@given(st.floats(0, 20), st.integers(0, 10_000))
def test_splitting_segments_and_frames_changes_nothing(rate: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    knots = np.concatenate([[0], np.sort(rng.uniform(0, 100, 9)), [100]])
    heights = rng.uniform(0, 3, 11)
    split = np.sort(np.concatenate([knots, rng.uniform(0, 100, 7)]))
    whole = Frames([0, 30], [30, 90])
    halves = Frames([0, 20, 30, 50], [20, 30, 50, 90])
    one = convolve_exponential(knots, heights, rate, whole)
    two = convolve_exponential(split, np.interp(split, knots, heights), rate, halves)
    np.testing.assert_allclose(one, [(2 * two[0] + two[1]) / 3, (two[2] + 2 * two[3]) / 3], rtol=1e-10)


@given(st.floats(1e-9, 30), st.sampled_from(["frame", "instant"]))
def test_the_derivative_is_the_slope(rate: float, sampling: str) -> None:
    knots, heights = [0, 3, 20, 60, 120], [0, 9, 3, 1, 0.5]
    frames = Frames([0, 10, 45, 90], [10, 30, 90, 120], sampling)  # type: ignore[arg-type]
    step = 1e-4 * rate
    value, slope = convolve_with_slope(knots, heights, rate, frames)
    up, down = (convolve_exponential(knots, heights, rate + sign * step, frames) for sign in (1, -1))
    np.testing.assert_allclose(value, convolve_exponential(knots, heights, rate, frames), rtol=0)
    np.testing.assert_allclose(slope * rate, (up - down) / (2 * step) * rate, rtol=1e-5, atol=1e-9)


def test_the_series_meets_the_quotients() -> None:
    """Across the switch and far below it the differential equation f' = c - k f still holds, averaged over a frame."""
    knots, heights = np.array([0.0, 1.0]), np.array([1.0, 3.0])
    for k in (1e-9, 1e-3, 0.1, 0.699999, 0.700001, 1.5):
        mean = convolve_exponential(knots, heights, k, Frames([0], [1]))[0]
        end = convolve_exponential(knots, heights, k, Frames.instants([1.0]))[0]
        assert end + k * mean == pytest.approx(2.0, rel=1e-14)


def test_steps_and_a_late_start() -> None:
    """A square pulse from 10 to 20 s; nothing before it."""
    got = convolve_exponential([10, 10, 20, 20, 50], [0, 1, 1, 0, 0], 0.1, Frames.instants([5, 10, 15, 20, 50]))
    rise = -np.expm1(-0.1 * np.array([5.0, 10.0])) / 0.1
    np.testing.assert_allclose(got, [0, 0, rise[0], rise[1], rise[1] * np.exp(-3)], rtol=1e-14)


def test_rates_keep_their_shape_and_input_scales() -> None:
    rates = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.0]])
    one = convolve_exponential([0, 5, 1000], [0, 7, 1], rates, FRAMES)
    assert one.shape == (5, 3, 2)
    np.testing.assert_allclose(convolve_exponential([0, 5, 1000], [0, 14, 2], rates, FRAMES), 2 * one, rtol=1e-14)
    assert convolve_exponential([0, 1000], [1, 1], 0.1, FRAMES).shape == (5,)


def test_frame_values() -> None:
    np.testing.assert_allclose(frame_values([0, 10, 1000], [0, 10, 10], FRAMES), [5, 10, 10, 10, 10], rtol=1e-13)
    at = Frames.instants([0, 2.5, 10, 12, 20])
    np.testing.assert_allclose(frame_values([5, 10, 10, 20], [1, 2, 4, 6], at), [0, 0, 4, 4.4, 6], rtol=1e-13)


@pytest.mark.parametrize(
    ("times", "values", "rates", "message"),
    [
        ([0, 5, 4, 1000], [0, 1, 1, 1], 0.1, "descend"),
        ([0, 1000], [0, np.nan], 0.1, "must be numbers"),
        ([0, 1000], [0, 1, 2], 0.1, "one value per time"),
        ([], [], 0.1, "one value per time"),
        ([0, 1000], [0, 1], -0.1, "must not be negative"),
        ([0, 1000], [0, 1], [0.1, np.inf], "must not be negative"),
        ([0, 16.7], [0, 1], 0.1, "both are in seconds"),
    ],
)
def test_refusals(times: list[float], values: list[float], rates: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        convolve_exponential(times, values, rates, FRAMES)
