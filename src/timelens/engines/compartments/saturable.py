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
#: Voxels that share their steps.
_LANES = 16


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
    tolerance: float = 1e-5,
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
    # A query that lies beyond the last knot by rounding would never be reached.
    reached = np.minimum(queries, knots[-1])
    state, occupancy = _march(knots, heights, reached, a, b, c, d, off, internalised, loss, averaged, tolerance)
    if averaged:
        first, last = np.searchsorted(queries, frames.start), np.searchsorted(queries, frames.end)
        state = (state[:, last] - state[:, first]) / frames.duration[:, None]
    return state, occupancy


# Stages of Rodas3: sums of earlier stages in the argument, and (over the step) in the right-hand side; weight of the
# input's slope; whether the input is taken at the end of the step.
_A = np.array([[0.0, 0, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0], [2, 0, 1, 0]])
_C = np.array([[0.0, 0, 0, 0], [4, 0, 0, 0], [1, -1, 0, 0], [1, -1, -8 / 3, 0]])
_SLOPE = np.array([0.5, 1.5, 0.0, 0.0])
_AT_END = np.array([0.0, 0.0, 1.0, 1.0])


@njit(cache=True, nogil=True, parallel=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
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
    """Voxels in groups that share their steps, so that the innermost loops run over voxels in one instruction."""
    voxels = k1s.size
    out = np.zeros((4, queries.size, voxels))
    occupancy = np.zeros(voxels)
    for group in prange((voxels + _LANES - 1) // _LANES):
        first = group * _LANES
        count = min(_LANES, voxels - first)
        k1, k2, on, target = np.empty(_LANES), np.empty(_LANES), np.empty(_LANES), np.empty(_LANES)
        for w in range(_LANES):
            # A last group that is not full repeats its last voxel.
            v = first + min(w, count - 1)
            k1[w], k2[w], on[w], target[w] = k1s[v], k2s[v], ons[v], targets[v]
        # Rows: free, bound, internalised, gone; then their integrals.
        rows = 8 if averaged else 4
        y, new, rhs = np.zeros((rows, _LANES)), np.zeros((rows, _LANES)), np.zeros((rows, _LANES))
        stages = np.zeros((4, rows, _LANES))
        jff, jfb, jbf, jbb, det = (
            np.empty(_LANES), np.empty(_LANES), np.empty(_LANES), np.empty(_LANES), np.empty(_LANES),
        )  # fmt: skip
        highest, errors = np.zeros(_LANES), np.zeros(_LANES)
        t, j, step = knots[0], 0, 0.0
        for q in range(queries.size):
            while t < queries[q]:
                while j < knots.size - 2 and knots[j + 1] <= t:
                    j += 1
                slope = (heights[j + 1] - heights[j]) / (knots[j + 1] - knots[j])
                end = min(knots[j + 1], queries[q])
                if step <= 0.0:
                    step = end - t
                h = min(step, end - t)
                c0 = heights[j] + slope * (t - knots[j])
                a = 1.0 / (h * _GAMMA)
                inverse, per_step, inner = 1.0 / a, 1.0 / h, 1.0 / (a + loss)
                for w in range(_LANES):
                    # Jacobian of the coupled pair; the others follow one after another.
                    vacant = on[w] * (target[w] - y[1, w])
                    filled = on[w] * y[0, w]
                    jff[w] = a + k2[w] + vacant
                    jfb[w] = filled + off
                    jbf[w] = vacant
                    jbb[w] = a + filled + off + kint
                    det[w] = 1.0 / (jff[w] * jbb[w] - jfb[w] * jbf[w])
                for s in range(4):
                    a0, a2 = _A[s, 0], _A[s, 2]
                    d0, d1, d2 = _C[s, 0] * per_step, _C[s, 1] * per_step, _C[s, 2] * per_step
                    c = c0 + _AT_END[s] * slope * h + _SLOPE[s] * h * slope
                    for m in range(rows):
                        for w in range(_LANES):
                            new[m, w] = y[m, w] + a0 * stages[0, m, w] + a2 * stages[2, m, w] if s > 1 else y[m, w]
                            rhs[m, w] = (
                                d0 * stages[0, m, w] + d1 * stages[1, m, w] + d2 * stages[2, m, w] if s > 0 else 0.0
                            )
                    for w in range(_LANES):
                        bind = on[w] * new[0, w] * (target[w] - new[1, w]) - off * new[1, w]
                        r0 = rhs[0, w] + k1[w] * c - k2[w] * new[0, w] - bind
                        r1 = rhs[1, w] + bind - kint * new[1, w]
                        r2 = rhs[2, w] + kint * new[1, w] - loss * new[2, w]
                        r3 = rhs[3, w] + k2[w] * new[0, w] + loss * new[2, w]
                        x0 = (jbb[w] * r0 + jfb[w] * r1) * det[w]
                        x1 = (jbf[w] * r0 + jff[w] * r1) * det[w]
                        x2 = (r2 + kint * x1) * inner
                        stages[s, 0, w] = x0
                        stages[s, 1, w] = x1
                        stages[s, 2, w] = x2
                        stages[s, 3, w] = (r3 + k2[w] * x0 + loss * x2) * inverse
                    if averaged:
                        for m in range(4):
                            for w in range(_LANES):
                                stages[s, 4 + m, w] = (rhs[4 + m, w] + new[m, w] + stages[s, m, w]) * inverse
                for m in range(rows):
                    for w in range(_LANES):
                        new[m, w] = y[m, w] + 2.0 * stages[0, m, w] + stages[2, m, w] + stages[3, m, w]
                for w in range(_LANES):
                    held = 1e-2 * abs(new[0, w] + new[1, w] + new[2, w]) + 1e-300
                    e0 = abs(stages[3, 0, w]) / (max(abs(new[0, w]), abs(y[0, w])) + held)
                    e1 = abs(stages[3, 1, w]) / (max(abs(new[1, w]), abs(y[1, w])) + held)
                    e2 = abs(stages[3, 2, w]) / (max(abs(new[2, w]), abs(y[2, w])) + held)
                    errors[w] = max(e0, max(e1, e2))
                error = 0.0
                for w in range(_LANES):
                    error = max(error, errors[w])
                error /= tolerance
                grow = 5.0 if error == 0.0 else min(5.0, max(0.2, 0.9 * error ** (-1.0 / 3.0)))
                if error <= 1.0 or h < 1e-9 * (1.0 + t):
                    for m in range(rows):
                        for w in range(_LANES):
                            y[m, w] = new[m, w]
                    t = t + h if h < end - t else end
                    for w in range(_LANES):
                        highest[w] = max(highest[w], y[1, w])
                    step = max(step, h * grow) if h < step else h * grow
                else:
                    step = h * grow
            for m in range(4):
                for w in range(count):
                    out[m, q, first + w] = y[rows - 4 + m, w]
        for w in range(count):
            occupancy[first + w] = highest[w] / target[w] if target[w] > 0.0 else 0.0
    return out, occupancy
