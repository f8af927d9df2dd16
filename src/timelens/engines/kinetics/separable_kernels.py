"""The compiled part of the separable fit: scoring the grid and damped Gauss-Newton steps."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from timelens.engines.kinetics.reasons import Reason
from timelens.engines.kinetics.separable_algebra import (
    EDGE,
    inverse_normal,
    normal_equations,
    project,
    residuals,
    solve_coefficients,
    solve_subset,
)
from timelens.engines.kinetics.tables import STRIDE, read_row

__all__ = ["solve_all"]

Floats = NDArray[np.float64]

_NOT_CONVERGED = int(Reason.NOT_CONVERGED)

#: Largest move of ln k in one step.
_LONGEST = 1.5


# Scores of finite curves are finite, so minima and maxima need not heed NaN and the loops become vectors.
@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _best_pairs(scores: Floats, inverse: Floats, positive: bool, tops: Floats) -> None:  # pragma: no cover - compiled
    """For every rate what its best pair with a slower one explains (``tops``, -1 if none)."""
    tops[0] = -1.0
    for i in range(1, scores.size):
        a = scores[i]
        p = i * (i - 1) // 2
        first, cross, second = inverse[0, p : p + i], inverse[1, p : p + i], inverse[2, p : p + i]
        top = -1.0
        if positive:
            for j in range(i):
                b = scores[j]
                c0, c1 = first[j] * a + cross[j] * b, cross[j] * a + second[j] * b
                top = max(top, c0 * a + c1 * b if min(c0, c1) > 0.0 else -1.0)
        else:
            for j in range(i):
                b = scores[j]
                top = max(top, (first[j] * a + 2.0 * cross[j] * b) * a + second[j] * b * b)
        tops[i] = top


@njit(cache=True, nogil=True, error_model="numpy")
def _partner(scores: Floats, inverse: Floats, positive: bool, i: int) -> int:  # pragma: no cover - compiled
    """The slower rate of the best pair with rate ``i``."""
    best, where = -1.0, i - 1
    p, a = i * (i - 1) // 2, scores[i]
    for j in range(i):
        b = scores[j]
        c0 = inverse[0, p + j] * a + inverse[1, p + j] * b
        c1 = inverse[1, p + j] * a + inverse[2, p + j] * b
        value = c0 * a + c1 * b
        if value > best and (not positive or min(c0, c1) > 0.0):
            best, where = value, j
    return where


@njit(cache=True, nogil=True, error_model="numpy")
def _peak(tops: Floats, rank: int) -> int:  # pragma: no cover - compiled
    """Index of the highest (rank 0) or second highest (1) local maximum, -1 if there is none."""
    first, second = -1, -1
    for i in range(tops.size):
        left = tops[i - 1] if i > 0 else -2.0
        right = tops[i + 1] if i + 1 < tops.size else -2.0
        if tops[i] > 0 and tops[i] >= left and tops[i] > right:
            if first < 0 or tops[i] > tops[first]:
                first, second = i, first
            elif second < 0 or tops[i] > tops[second]:
                second = i
    return first if rank == 0 else second


@njit(cache=True, nogil=True, error_model="numpy")
def _best_single(scores: Floats, inverse: Floats, positive: bool) -> tuple[float, int]:  # pragma: no cover - compiled
    best, where = -1.0, scores.size // 2
    for i in range(scores.size):
        value = scores[i] * scores[i] * inverse[0, i]
        if value > best and (scores[i] > 0 or not positive):
            best, where = value, i
    return best, where


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def _vertex_single(
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


@njit(cache=True, nogil=True, error_model="numpy")
def _vertex_pair(scores: Floats, inverse: Floats, i: int, j: int, wide: float, u: Floats) -> None:  # pragma: no cover
    """Move ``u`` to the top of the paraboloid through what a pair of rates and its neighbours explain."""
    if i + 1 >= scores.size or j < 1 or i - j < 3:
        return
    e = np.empty((3, 3))
    for a in range(3):
        for b in range(3):
            x, y = scores[i + a - 1], scores[j + b - 1]
            p = (i + a - 1) * (i + a - 2) // 2 + j + b - 1
            e[a, b] = (inverse[0, p] * x + 2 * inverse[1, p] * y) * x + inverse[2, p] * y * y
    aa, bb = e[0, 1] - 2 * e[1, 1] + e[2, 1], e[1, 0] - 2 * e[1, 1] + e[1, 2]
    ab = 0.25 * (e[2, 2] - e[2, 0] - e[0, 2] + e[0, 0])
    ga, gb = 0.5 * (e[2, 1] - e[0, 1]), 0.5 * (e[1, 2] - e[1, 0])
    determinant = aa * bb - ab * ab
    if aa < 0.0 and determinant > 1e-3 * aa * bb:
        u[0] += wide * min(max((ab * gb - bb * ga) / determinant, -1.0), 1.0)
        u[1] += wide * min(max((ab * ga - aa * gb) / determinant, -1.0), 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _place(
    values: Floats,
    slopes: Floats,
    first: float,
    step: float,
    known: int,
    n_exp: int,
    u: Floats,
    y: Floats,
    positive: bool,
    rows: Floats,
    gram: Floats,
    right: Floats,
    c: Floats,
    trial: Floats,
    work: Floats,
    rest: Floats,
) -> tuple[float, int]:  # pragma: no cover - compiled
    """Curves, normal equations, coefficients and residuals at ``u``: (residual sum of squares, free coefficients)."""
    linear = known + n_exp
    for j in range(n_exp):
        read_row(values, slopes, first, step, u[j], rows[known + j], rows[linear + j])
    normal_equations(rows, linear + n_exp, y, gram, right)
    mask = solve_coefficients(gram, right, linear, positive, c, trial, work)
    return residuals(rows, linear, c, y, rest), mask


@njit(cache=True, nogil=True, error_model="numpy")
def _direction(
    gram: Floats,
    rows: Floats,
    rest: Floats,
    c: Floats,
    u: Floats,
    mask: int,
    known: int,
    n_exp: int,
    low: float,
    high: float,
    hessian: Floats,
    slope: Floats,
    trial: Floats,
    work: Floats,
) -> None:  # pragma: no cover - compiled
    """Kaufman's normal matrix of the rates and the descent direction; a rate that cannot move gets zeros."""
    linear = known + n_exp
    for i in range(n_exp):
        total = 0.0
        for n in range(rest.size):
            total += rows[linear + i, n] * rest[n]
        slope[i] = total * c[known + i]
        outward = (u[i] <= low + EDGE and slope[i] < 0) or (u[i] >= high - EDGE and slope[i] > 0)
        if outward or c[known + i] == 0.0:
            slope[i] = 0.0
    for i in range(n_exp):
        solve_subset(gram, gram[linear + i], linear, mask, trial, work)
        for j in range(n_exp):
            total = gram[linear + i, linear + j]
            for k in range(linear):
                total -= gram[linear + j, k] * trial[k]
            hessian[i, j] = total * c[known + i] * c[known + j]


@njit(cache=True, nogil=True, error_model="numpy")
def _bend(hessian: Floats, went: Floats, change: Floats, n_exp: int) -> None:  # pragma: no cover - compiled
    """Make the normal matrix agree with how the slope changed over the last step (a BFGS update of it).

    Kaufman's matrix leaves out the curve's bend, so steps by it alone close in slowly where the fit is not exact.
    """
    if n_exp == 1:
        if went[0] * change[0] > 0.0:
            hessian[0, 0] = min(max(change[0] / went[0], 0.2 * hessian[0, 0]), 5.0 * hessian[0, 0])
        return
    a = hessian[0, 0] * went[0] + hessian[0, 1] * went[1]
    b = hessian[0, 1] * went[0] + hessian[1, 1] * went[1]
    old, new = went[0] * a + went[1] * b, went[0] * change[0] + went[1] * change[1]
    if old <= 0.0 or new <= 0.2 * old or new >= 5.0 * old:
        return
    hessian[0, 0] += change[0] * change[0] / new - a * a / old
    hessian[0, 1] += change[0] * change[1] / new - a * b / old
    hessian[1, 0] = hessian[0, 1]
    hessian[1, 1] += change[1] * change[1] / new - b * b / old


@njit(cache=True, nogil=True, error_model="numpy")
def _step(hessian: Floats, slope: Floats, damping: float, n_exp: int, move: Floats) -> None:  # pragma: no cover
    if n_exp == 1 or slope[0] == 0.0 or slope[1] == 0.0:
        for i in range(n_exp):
            move[i] = 0.0 if slope[i] == 0.0 else slope[i] / (hessian[i, i] * (1 + damping) + 1e-300)
    else:
        a, b, d = hessian[0, 0] * (1 + damping), hessian[0, 1], hessian[1, 1] * (1 + damping)
        determinant = a * d - b * b
        if determinant <= 1e-14 * a * d:
            move[0], move[1] = slope[0] / (2 * a + 1e-300), slope[1] / (2 * d + 1e-300)
        else:
            move[0] = (d * slope[0] - b * slope[1]) / determinant
            move[1] = (a * slope[1] - b * slope[0]) / determinant
    for i in range(n_exp):
        move[i] = min(max(move[i], -_LONGEST), _LONGEST)


@njit(cache=True, nogil=True, error_model="numpy")
def _close(
    gram: Floats,
    c: Floats,
    u: Floats,
    new_u: Floats,
    mask: int,
    known: int,
    n_exp: int,
    positive: bool,
    new_c: Floats,
    trial: Floats,
    work: Floats,
) -> bool:  # pragma: no cover - compiled
    """Take a last small step to ``new_u`` without new curves; coefficients follow linearly. False if a sign forbids."""
    linear = known + n_exp
    for k in range(linear):
        new_c[k] = c[k]
    for i in range(n_exp):
        move = (new_u[i] - u[i]) * c[known + i]
        if move != 0.0:
            solve_subset(gram, gram[linear + i], linear, mask, trial, work)
            for k in range(linear):
                new_c[k] -= move * trial[k]
    for k in range(linear):
        if positive and mask >> k & 1 and new_c[k] <= 0.0:
            return False
    for k in range(linear):
        c[k] = new_c[k]
    for i in range(n_exp):
        u[i] = new_u[i]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _descend(
    y: Floats,
    power: float,
    values: Floats,
    slopes: Floats,
    first: float,
    step: float,
    known: int,
    n_exp: int,
    positive: bool,
    tolerance: float,
    limit: int,
    closing: bool,
    u: Floats,
    c: Floats,
    space: Floats,
    rows: Floats,
    rest: Floats,
) -> tuple[float, int, int]:  # pragma: no cover - compiled
    """Damped Gauss-Newton from ``u``: (rss, mask, reason); ``u``, ``c``, products ``space[0]`` are left there."""
    linear = known + n_exp
    low, high = first, first + step * (values.shape[0] - 1)
    gram, work, hessian = space[0], space[1], space[2]
    right, trial, slope, move, new_u, new_c = (
        space[3, 0],
        space[3, 1],
        space[3, 2],
        space[3, 3],
        space[3, 4],
        space[3, 5],
    )
    went, change, moved = space[3, 6], space[3, 7], False
    rss, mask = _place(
        values, slopes, first, step, known, n_exp, u, y, positive, rows, gram, right, c, trial, work, rest
    )
    damping = 1e-3
    for _ in range(limit):
        for i in range(n_exp):
            change[i] = slope[i]
        _direction(gram, rows, rest, c, u, mask, known, n_exp, low, high, hessian, slope, trial, work)
        if moved:
            for i in range(n_exp):
                moved = moved and slope[i] != 0.0 and change[i] != 0.0
                change[i] -= slope[i]
            if moved:
                _bend(hessian, went, change, n_exp)
        accepted, fresh = False, True
        while damping < 1e9:
            _step(hessian, slope, damping, n_exp, move)
            promised = 0.0
            for i in range(n_exp):
                new_u[i] = min(max(u[i] + move[i], low), high)
                promised += (new_u[i] - u[i]) * slope[i]
            if promised <= tolerance * rss or rss <= 1e-29 * power:
                if (damping <= 1e-2 or rss <= 1e-29 * power) and fresh:
                    if not closing or rss <= 1e-29 * power:
                        return rss, mask, 0
                    if _close(gram, c, u, new_u, mask, known, n_exp, positive, new_c, trial, work):
                        return rss - promised, mask, 0
                if not closing or promised <= 1e-6 * rss:
                    break
            new_rss, new_mask = _place(
                values,
                slopes,
                first,
                step,
                known,
                n_exp,
                new_u,
                y,
                positive,
                rows,
                gram,
                right,
                new_c,
                trial,
                work,
                rest,
            )
            # A long step that empties a compartment could never be undone; only short ones may.
            lost = (mask & ~new_mask) >> known != 0 and damping < 1e2
            if new_rss < rss and not lost:
                accepted, moved = True, new_mask == mask
                for i in range(n_exp):
                    went[i] = new_u[i] - u[i]
                    u[i] = new_u[i]
                for i in range(linear):
                    c[i] = new_c[i]
                rss, mask = new_rss, new_mask
                damping = max(damping * 0.1, 1e-10)
                break
            damping *= 10.0
            fresh = False
        if not accepted:
            rss, mask = _place(
                values, slopes, first, step, known, n_exp, u, y, positive, rows, gram, right, c, trial, work, rest
            )
            return rss, mask, 0
    return rss, mask, _NOT_CONVERGED


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def _one_look(
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


@njit(cache=True, nogil=True, error_model="numpy")
def solve_all(
    curves: Floats,
    values: Floats,
    slopes: Floats,
    first: float,
    step: float,
    fixed: Floats,
    n_exp: int,
    positive: bool,
    projected: Floats,
    projected_less: Floats,
    inverse: Floats,
    inverse_less: Floats,
    rises: Floats,
    rises_less: Floats,
    options: int,
    tolerance: float,
    limit: int,
    closing: bool,
    out_c: Floats,
    out_u: Floats,
    out_rss: Floats,
    out_inverse: Floats,
    reason: NDArray[np.int32],
) -> None:  # pragma: no cover - compiled
    """Fit every row of ``curves``; see :func:`timelens.engines.kinetics.separable.solve`."""
    known = fixed.shape[0]
    linear = known + n_exp
    frames = curves.shape[1]
    low, high = first, first + step * (values.shape[0] - 1)
    wide = step * STRIDE
    space = np.zeros((4, 8, 8))
    other, rest, scratch = np.zeros((linear + n_exp, frames)), np.zeros(frames), np.zeros((12, 8))
    other[:known] = fixed
    u, c, u2, c2 = np.zeros(2), np.zeros(8), np.zeros(2), np.zeros(8)
    s, tops, j = np.zeros(projected.shape[0]), np.zeros(projected.shape[0]), 0
    gram, right = np.zeros((8, 8)), np.zeros(8)
    quick, norm = closing and n_exp == 1 and known == 1, 0.0
    if quick:
        for n in range(frames):
            norm += fixed[0, n] * fixed[0, n]
    for v in range(curves.shape[0]):
        y = curves[v]
        power = 0.0
        for n in range(frames):
            power += y[n] * y[n]
        best_rss, flag, done = math.inf, 0, False
        for option in range(options):
            if option == 1 and c[known - 1] > 0.0:
                break  # the blood volume is positive: leaving it out cannot help
            project(projected if option == 0 else projected_less, y, s)
            g = inverse if option == 0 else inverse_less
            if n_exp == 2:
                _best_pairs(s, g, positive, tops)
            for rank in range(n_exp):
                if n_exp == 1:
                    i = _best_single(s, g, positive)[1]
                else:
                    i = _peak(tops, rank)
                    if i < 0 and rank == 1:
                        break
                    if i < 0:
                        # No pair has two positive coefficients: split the best single rate.
                        i = min(int(np.argmax(s)) + 1, s.size - 1)
                        j = max(i - 2, 0)
                    else:
                        j = _partner(s, g, positive, i)
                    u2[1] = first + wide * j
                u2[0] = first + wide * i
                # The vertex of the parabola through the best rates and their neighbours saves steps.
                if n_exp == 1:
                    _vertex_single(s, g, rises if option == 0 else rises_less, y, i, wide, u2)
                else:
                    _vertex_pair(s, g, i, j, wide, u2)
                if quick and option == 0:
                    rss = _one_look(
                        y,
                        power,
                        values,
                        slopes,
                        first,
                        step,
                        fixed[0],
                        norm,
                        positive,
                        tolerance,
                        u2,
                        c2,
                        out_inverse[v],
                    )
                    if rss >= 0.0:
                        out_rss[v], out_u[v, 0], out_c[v, 0], out_c[v, 1], done = rss, u2[0], c2[0], c2[1], True
                        break
                rss, _, code = _descend(
                    y,
                    power,
                    values,
                    slopes,
                    first,
                    step,
                    known,
                    n_exp,
                    positive,
                    tolerance,
                    limit,
                    closing,
                    u2,
                    c2,
                    space,
                    other,
                    rest,
                )
                if rss < best_rss:
                    best_rss, flag = rss, code
                    # Element by element: assigning slices checks for overlap, which costs more than the fit's algebra.
                    for k in range(n_exp):
                        u[k] = u2[k]
                    for k in range(linear + n_exp):
                        c[k] = c2[k]
                        for n in range(linear + n_exp):
                            gram[k, n] = space[0, k, n]
            if done:
                break
        if done:
            continue
        if n_exp == 2 and u[0] < u[1]:
            u[0], u[1] = u[1], u[0]
            c[known], c[known + 1] = c[known + 1], c[known]
            for j in range(n_exp):
                read_row(values, slopes, first, step, u[j], other[known + j], other[linear + j])
            normal_equations(other, linear + n_exp, y, gram, right)
        out_rss[v] = best_rss
        for k in range(linear):
            out_c[v, k] = c[k]
        for k in range(n_exp):
            out_u[v, k] = u[k]
        reason[v] = flag | inverse_normal(gram, c, u, known, n_exp, low, high, out_inverse[v], scratch)
