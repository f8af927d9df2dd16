"""The search over one rate, compiled: the best of the grid, the top between its nodes, and a fit in one pass."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from timelens.engines.kinetics.separable_algebra import EDGE

__all__ = ["best_single", "one_look", "vertex_single"]

Floats = NDArray[np.float64]


@njit(cache=True, nogil=True, error_model="numpy")
def best_single(scores: Floats, inverse: Floats, positive: bool) -> tuple[float, int]:  # pragma: no cover - compiled
    """What the best rate of the grid explains, and which it is; with ``positive`` its coefficient must be."""
    best, where = -1.0, scores.size // 2
    for i in range(scores.size):
        value = scores[i] * scores[i] * inverse[0, i]
        if value > best and (scores[i] > 0 or not positive):
            best, where = value, i
    return best, where


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def vertex_single(
    scores: Floats, inverse: Floats, rises: Floats, y: Floats, i: int, wide: float, u: Floats
) -> None:  # pragma: no cover - compiled
    """Move ``u`` from rate ``i`` of the grid to the top of what a rate explains, score^2 / norm.

    Between two nodes both are cubics through their values and slopes, so the top is found without any curve.
    """
    if not 0 < i < scores.size - 1:
        return
    before, after = scores[i - 1] ** 2 * inverse[0, i - 1], scores[i + 1] ** 2 * inverse[0, i + 1]
    bend = before - 2 * scores[i] ** 2 * inverse[0, i] + after
    if not bend < 0.0:
        return
    x = min(max(0.5 * (before - after) / bend, -0.5), 0.5)
    low = i if x >= 0 else i - 1
    x = x if x >= 0 else x + 1.0
    d0, d1 = 0.0, 0.0
    for n in range(y.size):
        d0 += rises[low, n] * y[n]
        d1 += rises[low + 1, n] * y[n]
    s0, s1, d0, d1 = scores[low], scores[low + 1], wide * d0, wide * d1
    n0, n1, m0, m1 = inverse[1, low], inverse[1, low + 1], wide * inverse[2, low], wide * inverse[2, low + 1]
    # Cubic a + b x + c x^2 + d x^3 of the score and of the norm.
    sc, sd = 3 * (s1 - s0) - 2 * d0 - d1, 2 * (s0 - s1) + d0 + d1
    nc, nd = 3 * (n1 - n0) - 2 * m0 - m1, 2 * (n0 - n1) + m0 + m1
    for _ in range(4):
        s = s0 + x * (d0 + x * (sc + x * sd))
        m = n0 + x * (m0 + x * (nc + x * nd))
        p, q = (d0 + x * (2 * sc + 3 * x * sd)) / s, (m0 + x * (2 * nc + 3 * x * nd)) / m
        slope = 2 * p - q
        curve = 2 * ((2 * sc + 6 * x * sd) / s - p * p) - ((2 * nc + 6 * x * nd) / m - q * q)
        if not curve < 0.0:
            break
        move = slope / curve
        x = min(max(x - move, 0.0), 1.0)
        if abs(move) < 1e-5:
            break
    u[0] += wide * (low - i + x)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def one_look(
    y: Floats,
    power: float,
    values: Floats,
    slopes: Floats,
    first: float,
    step: float,
    known: Floats,
    norm: float,
    positive: bool,
    tolerance: float,
    u: Floats,
    c: Floats,
    inverse: Floats,
) -> float:  # pragma: no cover - compiled
    """One known curve and one rate that is nearly right: all sums in one pass over the frames, one last small step.

    ``u``, ``c`` and the inverse normal matrix of (c, u) are set, and the residual sum is returned; -1, with all as it
    was, where the rate is not near enough, at an edge, or a sign forbids it: then the general search has to be used.
    """
    x = (u[0] - first) / step
    i = min(max(int(x), 0), values.shape[0] - 2)
    t = x - i
    a1 = t * t * (3 - 2 * t)
    a0, b0, b1 = 1 - a1, step * t * (1 - t) * (1 - t), step * t * t * (t - 1)
    e1, e2, e3 = 6 * t * (1 - t) / step, 1 - 4 * t + 3 * t * t, t * (3 * t - 2)
    low0, low1, rise0, rise1 = values[i], values[i + 1], slopes[i], slopes[i + 1]
    cross, square, left, right, known_rise, row_rise, rise_rise, rise_y = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(y.size):
        v0, v1, d0, d1, f, z = low0[n], low1[n], rise0[n], rise1[n], known[n], y[n]
        row, rise = a0 * v0 + a1 * v1 + b0 * d0 + b1 * d1, e1 * (v1 - v0) + e2 * d0 + e3 * d1
        cross += f * row
        square += row * row
        left += f * z
        right += row * z
        known_rise += f * rise
        row_rise += row * rise
        rise_rise += rise * rise
        rise_y += rise * z
    determinant = norm * square - cross * cross
    if determinant <= 1e-12 * norm * square:
        return -1.0
    over = 1.0 / determinant
    c0, c1 = (square * left - cross * right) * over, (norm * right - cross * left) * over
    rss = power - c0 * left - c1 * right
    t0, t1 = (square * known_rise - cross * row_rise) * over, (norm * row_rise - cross * known_rise) * over
    bend = (rise_rise - known_rise * t0 - row_rise * t1) * c1 * c1
    slope = c1 * (rise_y - c0 * known_rise - c1 * row_rise)
    # The residual sum is a difference of large ones here; nearly exact curves are left to the general search.
    if not (rss > 1e-9 * power and bend > 1e-12 * c1 * c1 * rise_rise and slope * slope <= tolerance * rss * bend):
        return -1.0
    move = slope / bend
    n0, n1, at = c0 - move * c1 * t0, c1 - move * c1 * t1, u[0] + move
    if at <= first + EDGE or at >= first + step * (values.shape[0] - 1) - EDGE or (positive and min(n0, n1) <= 0.0):
        return -1.0
    u[0], c[0], c[1] = at, n0, n1
    w = 1.0 / bend
    inverse[0, 0], inverse[1, 1] = square * over + c1 * c1 * t0 * t0 * w, norm * over + c1 * c1 * t1 * t1 * w
    inverse[0, 1] = c1 * c1 * t0 * t1 * w - cross * over
    inverse[0, 2], inverse[1, 2], inverse[2, 2] = -c1 * t0 * w, -c1 * t1 * w, w
    inverse[1, 0], inverse[2, 0], inverse[2, 1] = inverse[0, 1], inverse[0, 2], inverse[1, 2]
    return rss - move * slope
