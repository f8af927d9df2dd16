"""The one primitive of compartment models: a piecewise-linear input convolved with exponentials, exactly.

With the input ``c`` linear between its knots and zero before the first, this gives

    f(t) = integral from 0 to t of c(s) exp(-k (t - s)) ds

at an instant or as its mean over a frame. On a segment of length ``h`` the update is closed: with ``x = k h`` and the
functions ``phi_1 = (1 - e^-x)/x``, ``phi_n = (1/(n-1)! - phi_(n-1))/x`` (Hochbruck M and Ostermann A, Acta Numerica
2010;19:209, doi:10.1017/S0962492910000048) ``f`` needs ``phi_1`` and ``phi_2``, its integral ``phi_3``. For small ``x``
their power series replaces the quotients, so ``k = 0`` (the plain integral of the input) is no special case.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.frames import Frames
from timelens.errors import DataError

__all__ = ["convolve_exponential", "convolve_with_slope", "frame_values"]

Floats = NDArray[np.float64]

#: Below this x the power series is used; its terms beyond the last are under 1e-17.
_SERIES_BELOW = 0.7
_TERMS = 15


def convolve_exponential(times: ArrayLike, values: ArrayLike, rates: ArrayLike, frames: Frames) -> Floats:
    """Convolution of a piecewise-linear input with ``exp(-k t)``, at the frames.

    Parameters
    ----------
    times, values
        Knots of the input, (knots,): s from injection, not descending (two equal times are a step), and the
        concentration there. Before the first knot the input is zero.
    rates
        Rate constants ``k >= 0`` in 1/s, any shape. At 0 the result is the integral of the input.
    frames
        Where the result is wanted. No frame may end after the last knot.

    Returns
    -------
    ndarray
        Shape (frames, and the shape of rates), unit of the input times seconds.

    Raises
    ------
    DataError
        Knots are not finite or descend, a rate is negative, or the input ends before the frames do.
    """
    return _evaluate(times, values, rates, frames, derivative=False)[0]


def convolve_with_slope(times: ArrayLike, values: ArrayLike, rates: ArrayLike, frames: Frames) -> tuple[Floats, Floats]:
    """As :func:`convolve_exponential`, and its derivative with respect to the rate (unit of the input times s^2)."""
    return _evaluate(times, values, rates, frames, derivative=True)


def frame_values(times: ArrayLike, values: ArrayLike, frames: Frames) -> Floats:
    """The piecewise-linear input itself as the frames see it: its mean over each frame, or its value at the middle.

    Parameters and errors as for :func:`convolve_exponential`; at a step the later value counts.
    """
    knots, heights = _check(times, values, frames)
    if frames.sampling == "instant":
        at = np.clip(np.searchsorted(knots, frames.middle, side="right") - 1, 0, max(knots.size - 2, 0))
        width = np.diff(knots)[at] if knots.size > 1 else np.ones(len(frames))
        part = np.divide(frames.middle - knots[at], width, out=np.ones_like(width), where=width > 0)
        rise = np.diff(heights)[at] if knots.size > 1 else np.zeros(len(frames))
        return np.asarray(np.where(frames.middle < knots[0], 0.0, heights[at] + part * rise))
    edges = Frames.instants(np.union1d(frames.start, frames.end))
    total = convolve_exponential(knots, heights, 0.0, edges)
    place = edges.middle
    start, end = np.searchsorted(place, frames.start), np.searchsorted(place, frames.end)
    return np.asarray((total[end] - total[start]) / frames.duration)


def _evaluate(
    times: ArrayLike, values: ArrayLike, rates: ArrayLike, frames: Frames, *, derivative: bool
) -> tuple[Floats, Floats]:
    knots, heights = _check(times, values, frames)
    constants = np.asarray(rates, dtype=np.float64)
    if not bool(np.all(np.isfinite(constants) & (constants >= 0))):
        raise DataError(
            "A rate constant must not be negative",
            field="rates",
            found=constants.min() if constants.size else "nothing",
            expected="finite numbers in 1/s, zero or more",
        )
    averaged = frames.sampling == "frame"
    queries = np.union1d(frames.start, frames.end) if averaged else frames.middle
    flat = np.ascontiguousarray(constants.reshape(-1))
    state, slope = _walk(knots, heights, flat, queries, averaged, derivative)
    if averaged:
        start, end = np.searchsorted(queries, frames.start), np.searchsorted(queries, frames.end)
        length = frames.duration[:, None]
        state = (state[end] - state[start]) / length
        slope = (slope[end] - slope[start]) / length if derivative else slope
    shape = (len(frames), *constants.shape)
    return state.reshape(shape), slope.reshape(shape) if derivative else slope


def _check(times: ArrayLike, values: ArrayLike, frames: Frames) -> tuple[Floats, Floats]:
    knots = np.ascontiguousarray(times, dtype=np.float64)
    heights = np.ascontiguousarray(values, dtype=np.float64)
    if knots.ndim != 1 or knots.shape != heights.shape or knots.size == 0:
        raise DataError(
            "An input function needs one value per time",
            field="input function",
            found=f"shapes {knots.shape} and {heights.shape}",
            expected="two equally long lists",
        )
    if not (np.isfinite(knots).all() and np.isfinite(heights).all()):
        raise DataError("An input function must be numbers", field="input function", found="NaN or infinity")
    if (np.diff(knots) < 0).any():
        at = int(np.argmax(np.diff(knots) < 0)) + 1
        raise DataError(
            "Times of the input function descend",
            field=f"sample {at}",
            found=f"{knots[at]:g} s after {knots[at - 1]:g} s",
            expected="ascending times",
            mend="sort the samples",
        )
    last = float(frames.end[-1] if frames.sampling == "frame" else frames.middle[-1])
    if last > knots[-1] * (1 + 1e-9) + 1e-9:
        raise DataError(
            "The input function ends before the frames do",
            field="input function",
            found=f"last sample at {knots[-1]:g} s, last frame at {last:g} s",
            expected="samples that reach the last frame",
            mend="check that both are in seconds; extend the input by its own model, or drop the late frames",
        )
    return knots, heights


@njit(cache=True, inline="always", error_model="numpy")
def _coefficients(x: float) -> tuple[float, float, float, float, float, float, float]:
    """e^-x, phi_1, phi_2, phi_3 and the derivatives of the last three."""
    p0 = math.exp(-x)
    if x < _SERIES_BELOW:
        # phi_3 and its derivative as series, the others downward, where the recurrence is stable.
        term = 1.0 / 6.0
        p3 = term
        d3 = 0.0
        for j in range(1, _TERMS):
            d3 -= j * term / (3 + j)
            term *= -x / (3 + j)
            p3 += term
        p2 = 0.5 - x * p3
        d2 = -p3 - x * d3
        return p0, 1.0 - x * p2, p2, p3, -p2 - x * d2, d2, d3
    p1 = (1.0 - p0) / x
    p2 = (1.0 - p1) / x
    p3 = (0.5 - p2) / x
    d1 = (p0 - p1) / x
    d2 = -(d1 + p2) / x
    return p0, p1, p2, p3, d1, d2, -(d2 + p3) / x


@njit(cache=True, nogil=True, error_model="numpy")
def _walk(
    knots: Floats, heights: Floats, rates: Floats, queries: Floats, integrated: bool, derivative: bool
) -> tuple[Floats, Floats]:
    """The convolution (or its integral) and its derivative, (queries, rates); queries ascend."""
    out = np.zeros((queries.size, rates.size))
    slope = np.zeros((queries.size, rates.size if derivative else 0))
    last = knots.size - 1
    for r in range(rates.size):
        k = rates[r]
        f = total = g = gtotal = 0.0
        j = 0
        for q in range(queries.size):
            t = queries[q]
            if t <= knots[0]:
                continue
            while True:
                # Whole segments move the state; the rest up to the query is a step that is not kept.
                whole = j < last and knots[j + 1] <= t
                h = (knots[j + 1] if whole else t) - knots[j]
                nf, ntotal, ng, ngtotal = f, total, g, gtotal
                if h > 0:
                    c = heights[j]
                    width = knots[j + 1] - knots[j] if j < last else 0.0
                    s = (heights[j + 1] - c) / width if width > 0 else 0.0
                    p0, p1, p2, p3, d1, d2, d3 = _coefficients(k * h)
                    nf = f * p0 + h * (c * p1 + s * h * p2)
                    if integrated:
                        ntotal = total + h * (f * p1 + h * (c * p2 + s * h * p3))
                    if derivative:
                        ng = g * p0 - h * f * p0 + h * h * (c * d1 + s * h * d2)
                        if integrated:
                            ngtotal = gtotal + h * (g * p1 + h * (f * d1 + h * (c * d2 + s * h * d3)))
                if not whole:
                    break
                f, total, g, gtotal = nf, ntotal, ng, ngtotal
                j += 1
            out[q, r] = ntotal if integrated else nf
            if derivative:
                slope[q, r] = ngtotal if integrated else ng
    return out, slope
