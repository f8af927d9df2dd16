"""Curves per voxel: closed forms, another solver, conservation, and where saturation begins."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from timelens.engines.kinetics.frames import Frames
from timelens.errors import DataError, UsageError
from timelens.tumor.agents import Affinity, TissueRates, tissue_curves, tissue_rates

TIMES = np.array([0.0, 20.0, 60.0, 300.0, 1200.0, 7200.0])
PLASMA = np.array([0.0, 10.0, 4.0, 2.0, 1.0, 0.3])
STEP = (np.array([0.0, 7200.0]), np.array([1.0, 1.0]))
FRAMES = Frames([0, 30, 120, 600, 3600], [30, 120, 600, 3600, 7200])


def rates_of(k1, k2, k3, affinity: Affinity, *, vessel=0.0, target=1.0) -> TissueRates:
    k1, k2, k3, vessel, target = (
        np.array(each, float) for each in np.broadcast_arrays(np.atleast_1d(k1), k2, k3, vessel, target)
    )
    space = np.divide(k1, k2, out=np.zeros_like(k1), where=k2 > 0)
    return TissueRates(k1, k2, k3, space, vessel, target, affinity)


def exact(k1, k2, k3, a: Affinity, times, plasma, at) -> np.ndarray:
    """Total in tissue and its integral at instants, by matrix exponentials over the segments of the input."""
    m = np.zeros((6, 6))  # free, bound, internalised, integral of all, plasma, slope
    m[0, :2], m[0, 4] = [-(k2 + k3), a.k_off], k1
    m[1, :2] = [k3, -(a.k_off + a.k_int)]
    m[2, 1:3] = [a.k_int, -a.k_loss]
    m[3, :3] = 1
    m[4, 5] = 1
    state, out, marks = np.zeros(6), {}, np.union1d(times, at)
    for start, end in pairwise(marks):
        slope = (np.interp(end, times, plasma) - np.interp(start, times, plasma)) / (end - start)
        state[4], state[5] = np.interp(start, times, plasma), slope
        state = expm(m * (end - start)) @ state
        out[end] = (state[:3].sum(), state[3], state[1] + state[2])
    out.setdefault(0.0, (0.0, 0.0, 0.0))
    return np.array([out[t] for t in at])


def test_bad_input_is_refused() -> None:
    rates = rates_of(1e-3, 1e-3, 0.0, Affinity(0, 0))
    with pytest.raises(UsageError, match="no such model"):
        tissue_curves(rates, TIMES, PLASMA, PLASMA, FRAMES, model="guess")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="needs the mass given"):
        tissue_curves(rates, TIMES, PLASMA, PLASMA, FRAMES, model="saturable")
    with pytest.raises(DataError, match="zero or more"):
        tissue_curves(rates, TIMES, PLASMA, PLASMA, FRAMES, nmol_per_unit=-1.0)
    with pytest.raises(DataError, match="ends before the frames"):
        tissue_curves(rates, TIMES, PLASMA, PLASMA, Frames.instants([8000.0]))


def test_one_tissue_closed_form() -> None:
    """A step of plasma: C(t) = K1 / k2 (1 - exp(-k2 t)) + v_b C_b."""
    k1 = np.array([1e-2, 1e-3, 1e-5])
    k2 = np.array([3e-2, 1e-3, 1e-6])
    at = np.array([5.0, 100.0, 7000.0])
    got = tissue_curves(rates_of(k1, k2, 0.0, Affinity(0, 0), vessel=0.05), *STEP, STEP[1] * 2, Frames.instants(at))
    expected = k1 / k2 * -np.expm1(-k2 * at[:, None]) + 0.1
    np.testing.assert_allclose(got.total, expected, rtol=1e-6)


def test_two_tissue_closed_form() -> None:
    """The reversible two-tissue model (Gunn 2001, doi:10.1097/00004647-200106000-00002) for a step of plasma."""
    k1, k2, k3, k4 = 2e-3, 5e-3, 3e-3, 1e-3
    root = np.sqrt((k2 + k3 + k4) ** 2 - 4 * k2 * k4)
    slow, fast = (k2 + k3 + k4 - root) / 2, (k2 + k3 + k4 + root) / 2
    at = np.array([10.0, 300.0, 5000.0])
    part = [
        (k1 / (fast - slow)) * (k3 + k4 - slow) / slow * -np.expm1(-slow * at),
        (k1 / (fast - slow)) * (fast - k3 - k4) / fast * -np.expm1(-fast * at),
    ]
    got = tissue_curves(rates_of(k1, k2, k3, Affinity(1e-3, k4)), *STEP, STEP[1], Frames.instants(at))
    np.testing.assert_allclose(got.total[:, 0], part[0] + part[1], rtol=1e-6)


RATE = st.floats(-7, 0.3).map(lambda p: 10**p)


@settings(max_examples=40, deadline=None)
@given(RATE, RATE, RATE, st.one_of(st.just(0.0), RATE), st.one_of(st.just(0.0), RATE), st.one_of(st.just(0.0), RATE))
def test_any_rates_agree_with_the_matrix_exponential(k1, k2, k3, off, kint, loss) -> None:
    a = Affinity(1e-3, off, kint, loss)
    edges = np.union1d(FRAMES.start, FRAMES.end)
    expected = exact(k1, k2, k3, a, TIMES, PLASMA, edges)
    got = tissue_curves(rates_of(k1, k2, k3, a), TIMES, PLASMA, 0 * PLASMA, FRAMES, bound=True)
    mean = np.diff(expected[:, 1]) / np.diff(edges)
    np.testing.assert_allclose(got.total[:, 0], mean, rtol=2e-6, atol=1e-9 * mean.max())
    points = tissue_curves(rates_of(k1, k2, k3, a), TIMES, PLASMA, 0 * PLASMA, Frames.instants(edges[1:]), bound=True)
    np.testing.assert_allclose(points.total[:, 0], expected[1:, 0], rtol=2e-6, atol=1e-9 * expected[:, 0].max())
    np.testing.assert_allclose(points.bound[:, 0], expected[1:, 2], rtol=1e-5, atol=2e-7 * expected[:, 0].max())


@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-6, 1e-4, 1e-3, 2e-3, 0.1])
def test_two_rates_that_are_nearly_one(gap: float) -> None:
    a = Affinity(1e-3, 0.0, 4e-3)
    rates = rates_of(1e-3, 3e-3 * (1 + gap), 1e-3, a)
    at = np.array([60.0, 900.0, 7200.0])
    got = tissue_curves(rates, TIMES, PLASMA, 0 * PLASMA, Frames.instants(at))
    expected = exact(1e-3, 3e-3 * (1 + gap), 1e-3, a, TIMES, PLASMA, at)
    np.testing.assert_allclose(got.total[:, 0], expected[:, 0], rtol=2e-6)


@settings(max_examples=30, deadline=None)
@given(RATE, RATE, RATE, RATE)
def test_what_entered_is_there_or_has_left(k1: float, k2: float, k3: float, off: float) -> None:
    """Entered minus washed out equals held, with the washed-out part from the frames' own means."""
    a = Affinity(1e-3, off)
    end = 7200.0
    whole = tissue_curves(rates_of(k1, k2, k3, a), TIMES, PLASMA, 0 * PLASMA, Frames([0.0], [end]), bound=True)
    last = tissue_curves(rates_of(k1, k2, k3, a), TIMES, PLASMA, 0 * PLASMA, Frames.instants([end]))
    entered = k1 * np.trapezoid(PLASMA, TIMES)
    free = float(whole.total[0, 0]) - float(whole.bound[0, 0])
    left = k2 * free * end
    assert float(last.total[0, 0]) + left == pytest.approx(
        entered, rel=2e-4 if k3 > 30 * off else 1e-5, abs=1e-6 * entered
    )


def test_occupancy_and_saturation() -> None:
    a = Affinity(1e-2, 1e-3)
    tissue = {"perfusion": 0.01, "ps": 1e-3, "interstitial": 0.3, "vessel": 0.05}
    rates = tissue_rates(a, **tissue, target=np.array([0.0, 0.05, 0.5, 5.0, 500.0]))
    args = (rates, TIMES, PLASMA, 0.55 * PLASMA, FRAMES)
    none = tissue_curves(*args)
    assert np.isnan(none.occupancy).all() and not none.solved.any()
    tracer = tissue_curves(*args, nmol_per_unit=1e-3, model="tracer")
    solved = tissue_curves(*args, nmol_per_unit=1e-3, model="saturable")
    auto = tissue_curves(*args, nmol_per_unit=1e-3)
    assert np.isnan(tracer.occupancy[0]) and (np.diff(tracer.occupancy[1:]) < 0).all()
    np.testing.assert_array_equal(auto.solved[1:], tracer.occupancy[1:] > 0.05)
    assert auto.solved[1] and not auto.solved[4]
    assert solved.occupancy[1] < 1 and solved.total[-1, 1] < 0.6 * tracer.total[-1, 1]
    np.testing.assert_array_equal(auto.total[:, 4], tracer.total[:, 4])
    np.testing.assert_array_equal(auto.total[:, 1], solved.total[:, 1])
    small = tissue_curves(*args, nmol_per_unit=1e-10, model="saturable", bound=True)
    reference = tissue_curves(*args, nmol_per_unit=1e-10, model="tracer", bound=True)
    np.testing.assert_allclose(small.total, reference.total, rtol=1e-4)
    np.testing.assert_allclose(small.bound[1:], reference.bound[1:], rtol=1e-3, atol=1e-5)


def test_volumes_keep_their_shape_and_blocks_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    a = Affinity(1e-3, 1e-3, 1e-4)
    shape = (3, 4, 5)
    rates = tissue_rates(
        a, perfusion=rng.uniform(0, 0.02, shape), ps=rng.uniform(0, 1e-3, shape), interstitial=0.3, vessel=0.03,
        target=rng.uniform(0, 20, shape),
    )  # fmt: skip
    whole = tissue_curves(rates, TIMES, PLASMA, PLASMA, FRAMES, nmol_per_unit=1e-3, bound=True)
    assert whole.total.shape == (5, *shape) == whole.bound.shape and whole.occupancy.shape == shape
    assert whole.total.dtype == np.float32
    one = TissueRates(*(getattr(rates, n)[1, 2, 3:4] for n in ("k1", "k2", "k3", "space", "vessel", "target")), a)
    alone = tissue_curves(one, TIMES, PLASMA, PLASMA, FRAMES, nmol_per_unit=1e-3)
    np.testing.assert_allclose(alone.total[:, 0], whole.total[:, 1, 2, 3], rtol=1e-6)
