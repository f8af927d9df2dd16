"""Saturable binding against scipy's stiff solver, closed forms and the balance of mass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from timelens.engines.compartments import saturable_binding
from timelens.engines.kinetics.frames import Frames
from timelens.errors import DataError

TIMES = np.array([0.0, 60.0, 600.0, 7200.0, 86400.0])
PLASMA = np.array([0.0, 300.0, 200.0, 80.0, 20.0])


def one(frames: Frames, k1: float, k2: float, on: float, target: float, off: float, kint: float, loss: float):
    return saturable_binding(
        TIMES, PLASMA, frames, k1=np.array([k1]), k2=np.array([k2]), on=np.array([on]), off=off,
        target=np.array([target]), internalised=kint, loss=loss,
    )  # fmt: skip


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="ends before the frames"):
        one(Frames.instants([1e6]), 1e-4, 1e-3, 1e-3, 10, 1e-3, 0, 0)
    with pytest.raises(DataError, match="no curve"):
        saturable_binding(
            [0.0], [1.0], Frames.instants([0.0]), k1=np.ones(1), k2=np.ones(1), on=np.ones(1), off=0, target=np.ones(1)
        )


@pytest.mark.parametrize(("on", "kint", "loss"), [(1e-4, 0.0, 0.0), (1e-2, 2e-5, 1e-6), (1.0, 1e-4, 1e-5)])
def test_it_agrees_with_a_stiff_solver(on: float, kint: float, loss: float) -> None:
    k1, k2, target, off = 3e-4, 1e-3, 50.0, 1e-3
    at = np.array([60.0, 500.0, 5000.0, 40000.0, 86400.0])

    def slope(t: float, y: np.ndarray) -> list[float]:
        bind = on * y[0] * (target - y[1]) - off * y[1]
        return [
            k1 * np.interp(t, TIMES, PLASMA) - k2 * y[0] - bind, bind - kint * y[1], kint * y[1] - loss * y[2],
            k2 * y[0] + loss * y[2],
        ]  # fmt: skip

    state, expected = np.zeros(4), []
    for start, end in zip(np.append(0.0, np.union1d(TIMES[1:-1], at)[:-1]), np.union1d(TIMES[1:-1], at), strict=True):
        state = solve_ivp(slope, (start, end), state, method="Radau", rtol=1e-10, atol=1e-12).y[:, -1]
        if end in at:
            expected.append(state)
    got, occupancy = one(Frames.instants(at), k1, k2, on, target, off, kint, loss)
    np.testing.assert_allclose(got[:, :, 0].T, expected, rtol=1e-4, atol=1e-6)
    assert occupancy[0] >= got[1].max() / target - 1e-9


def test_a_frame_that_lies_beyond_the_input_by_rounding_ends() -> None:
    args = (3e-4, 1e-3, 1e-2, 50.0, 1e-3, 2e-5, 0.0)
    late = 86400.0 * (1 + 1e-12)
    np.testing.assert_allclose(one(Frames.instants([late]), *args)[0], one(Frames.instants([86400.0]), *args)[0])
    averages = [one(Frames([80000.0], [end]), *args)[0] for end in (late, 86400.0)]
    np.testing.assert_allclose(*averages, rtol=1e-9)


def test_frames_average() -> None:
    args = (3e-4, 1e-3, 1e-2, 50.0, 1e-3, 2e-5, 0.0)
    fine = np.linspace(600, 1200, 2001)
    points = one(Frames.instants(fine), *args)[0][:, :, 0]
    mean = np.trapezoid(points, fine, axis=1) / 600
    frame = one(Frames([600.0], [1200.0]), *args)[0][:, 0, 0]
    np.testing.assert_allclose(frame, mean, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    *[st.floats(-6, -1), st.floats(-5, -1), st.floats(-5, 0), st.floats(-1, 3), st.floats(-6, -1), st.floats(-6, -3)]
)
def test_what_entered_is_in_the_tissue_or_has_left(
    k1: float, k2: float, on: float, b: float, off: float, kint: float
) -> None:
    at = np.array([30.0, 600.0, 30000.0, 86400.0])
    got, occupancy = one(Frames.instants(at), 10**k1, 10**k2, 10**on, 10**b, 10**off, 10**kint, 1e-5)
    entered = 10**k1 * np.array(
        [np.trapezoid(np.interp(x := np.union1d(TIMES[t >= TIMES], t), TIMES, PLASMA), x) for t in at]
    )
    np.testing.assert_allclose(got[:, :, 0].sum(axis=0), entered, rtol=1e-9)
    assert got[1].min() >= -1e-6 and occupancy[0] <= 1 + 1e-6
