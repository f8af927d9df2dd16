"""Binding that saturates, voxel by voxel: agent leaks out of plasma, binds a limited target and is internalised.

Per volume of tissue, with free agent ``f``, bound ``b``, internalised ``i`` and target ``B``:

    df/dt = K1 c - k2 f - k_on (f / v) (B - b) + k_off b
    db/dt =               k_on (f / v) (B - b) - (k_off + k_int) b
    di/dt = k_int b - k_loss i

with the concentration in plasma ``c`` linear between its knots. Solved by the stiff Rosenbrock method Rodas3 (Sandu
1997, Atmos Environ 31:3459, doi:10.1016/S1352-2310(97)83212-8), whose steps keep the mass balance to rounding; the step
follows an error estimate.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.frames import Frames
from timelens.errors import DataError

__all__ = ["saturable_binding"]

Floats = NDArray[np.float64]
_GAMMA = 0.5


def saturable_binding(
    times: ArrayLike,
    plasma: ArrayLike,
    frames: Frames,
    *,
    k1: Floats,
    k2: Floats,
    on: Floats,
    off: float,
    target: Floats,
    internalised: float = 0.0,
    loss: float = 0.0,
    tolerance: float = 1e-6,
) -> tuple[Floats, Floats]:
    """Amounts per volume of tissue at the frames, and the highest occupancy reached at any step.

    Parameters
    ----------
    times, plasma
        Knots of the input: s, and nmol/L.
    frames
        Where the result is wanted; averages or instants.
    k1, k2, target
        (voxels,): mL/s/mL, 1/s, nmol/L of tissue.
    on
        (voxels,): ``k_on / v`` in L/nmol/s, rate per free agent in tissue and free target.
    off, internalised, loss
        1/s.
    tolerance
        Error per step, relative to each amount and to a hundredth of what the tissue holds.

    Returns
    -------
    amounts, occupancy
        (4, frames, voxels) in nmol/L of tissue: free, bound, internalised, and what has left the tissue since the start
        (also that as mean over the frame or at its middle); (voxels,) highest ``b / B``, zero where there is no target.

    Raises
    ------
    DataError
        If the input ends before the frames, or is not a curve.
    """
    knots, heights = (np.ascontiguousarray(each, dtype=np.float64) for each in (times, plasma))
    if knots.ndim != 1 or knots.shape != heights.shape or knots.size < 2 or (np.diff(knots) < 0).any():
        raise DataError("The input is no curve", field="times", found=f"{knots.shape} and {heights.shape}")
    averaged = frames.sampling == "frame"
    queries = np.union1d(frames.start, frames.end) if averaged else frames.middle
    if queries[-1] > knots[-1] * (1 + 1e-9):
        raise DataError("The input ends before the frames do", found=f"{knots[-1]:g} s", expected=f"{queries[-1]:g} s")
    a, b, c, d = (np.ascontiguousarray(np.atleast_1d(each), dtype=np.float64) for each in (k1, k2, on, target))
    state, occupancy = _march(knots, heights, queries, a, b, c, d, off, internalised, loss, averaged, tolerance)
    if averaged:
        first, last = np.searchsorted(queries, frames.start), np.searchsorted(queries, frames.end)
        state = (state[:, last] - state[:, first]) / frames.duration[:, None]
    return state, occupancy


@njit(cache=True, inline="always")
def _rates(
    y: Floats, c: float, k1: float, k2: float, on: float, target: float, off: float, kint: float, loss: float
) -> tuple[float, float, float, float]:
    bind = on * y[0] * (target - y[1]) - off * y[1]
    return k1 * c - k2 * y[0] - bind, bind - kint * y[1], kint * y[1] - loss * y[2], k2 * y[0] + loss * y[2]


@njit(cache=True, nogil=True, parallel=True)
def _march(
    knots: Floats,
    heights: Floats,
    queries: Floats,
    k1s: Floats,
    k2s: Floats,
    ons: Floats,
    targets: Floats,
    off: float,
    kint: float,
    loss: float,
    averaged: bool,
    tolerance: float,
) -> tuple[Floats, Floats]:
    voxels = k1s.size
    out = np.zeros((4, queries.size, voxels))
    occupancy = np.zeros(voxels)
    for v in prange(voxels):
        k1, k2, on, target = k1s[v], k2s[v], ons[v], targets[v]
        # State: free, bound, internalised, gone; then their integrals.
        y = np.zeros(8)
        new = np.zeros(8)
        stages = np.zeros((4, 8))
        rhs = np.zeros(8)
        t, j, step = knots[0], 0, 0.0
        for q in range(queries.size):
            while t < queries[q]:
                while j < knots.size - 2 and knots[j + 1] <= t:
                    j += 1
                width = knots[j + 1] - knots[j]
                slope = (heights[j + 1] - heights[j]) / width
                end = min(knots[j + 1], queries[q])
                if step <= 0.0:
                    step = end - t
                h = min(step, end - t)
                c0 = heights[j] + slope * (t - knots[j])
                # Jacobian of the coupled pair; the others follow one after another.
                a = 1.0 / (h * _GAMMA)
                jff = -k2 - on * (target - y[1])
                jfb = on * y[0] + off
                jbf = on * (target - y[1])
                jbb = -on * y[0] - off - kint
                det = (a - jff) * (a - jbb) - jfb * jbf
                for s in range(4):
                    for m in range(8):
                        new[m] = y[m]
                        if s == 2:
                            new[m] += 2.0 * stages[0, m]
                        elif s == 3:
                            new[m] += 2.0 * stages[0, m] + stages[2, m]
                    c = c0 + (slope * h if s >= 2 else 0.0)
                    rhs[0], rhs[1], rhs[2], rhs[3] = _rates(new, c, k1, k2, on, target, off, kint, loss)
                    for m in range(4):
                        rhs[4 + m] = new[m]
                    if s == 0:
                        rhs[0] += 0.5 * h * k1 * slope
                    elif s == 1:
                        rhs[0] += 1.5 * h * k1 * slope
                    for m in range(8):
                        if s == 1:
                            rhs[m] += 4.0 * stages[0, m] / h
                        elif s == 2:
                            rhs[m] += (stages[0, m] - stages[1, m]) / h
                        elif s == 3:
                            rhs[m] += (stages[0, m] - stages[1, m] - 8.0 / 3.0 * stages[2, m]) / h
                    x0 = ((a - jbb) * rhs[0] + jfb * rhs[1]) / det
                    x1 = (jbf * rhs[0] + (a - jff) * rhs[1]) / det
                    x2 = (rhs[2] + kint * x1) / (a + loss)
                    x3 = (rhs[3] + k2 * x0 + loss * x2) / a
                    stages[s, 0], stages[s, 1], stages[s, 2], stages[s, 3] = x0, x1, x2, x3
                    stages[s, 4] = (rhs[4] + x0) / a
                    stages[s, 5] = (rhs[5] + x1) / a
                    stages[s, 6] = (rhs[6] + x2) / a
                    stages[s, 7] = (rhs[7] + x3) / a
                error = 0.0
                for m in range(8):
                    new[m] = y[m] + 2.0 * stages[0, m] + stages[2, m] + stages[3, m]
                held = new[0] + new[1] + new[2]
                for m in range(3):
                    scale = tolerance * (max(abs(new[m]), abs(y[m])) + 1e-2 * abs(held) + 1e-300)
                    error = max(error, abs(stages[3, m]) / scale)
                grow = 5.0 if error == 0.0 else min(5.0, max(0.2, 0.9 * error ** (-1.0 / 3.0)))
                if error <= 1.0 or h < 1e-9 * (1.0 + t):
                    for m in range(8):
                        y[m] = new[m]
                    t = t + h if h < end - t else end
                    if target > 0.0:
                        occupancy[v] = max(occupancy[v], y[1] / target)
                    step = max(step, h * grow) if h < step else h * grow
                else:
                    step = h * grow
            for m in range(4):
                out[m, q, v] = y[4 + m] if averaged else y[m]
    return out, occupancy
