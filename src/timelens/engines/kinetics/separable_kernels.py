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


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def _best_pairs(
    scores: Floats, inverse: Floats, positive: bool, buffer: Floats, tops: Floats, partner: NDArray[np.int64]
) -> None:  # pragma: no cover - compiled
    """For every rate what its best pair with a slower one explains (``tops``, -1 if none), and with which."""
    tops[0] = -1.0
    for i in range(1, scores.size):
        a = scores[i]
        p = i * (i - 1) // 2
        top = -1.0
        for j in range(i):
            b = scores[j]
            c0 = inverse[0, p + j] * a + inverse[1, p + j] * b
            c1 = inverse[1, p + j] * a + inverse[2, p + j] * b
            value = c0 * a + c1 * b
            value = value if (not positive) or min(c0, c1) > 0 else -1.0
            buffer[j] = value
            top = max(top, value)
        tops[i], partner[i] = top, i - 1
        if top > 0:
            for j in range(i):
                if buffer[j] == top:
                    partner[i] = j
                    break


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
    u: Floats,
    c: Floats,
    space: Floats,
    rows: Floats,
) -> tuple[float, int, int]:  # pragma: no cover - compiled
    """Damped Gauss-Newton from ``u``, which with ``c`` and ``rows`` is left at the optimum: (rss, mask, reason)."""
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
    rest = np.empty(y.size)
    rss, mask = _place(
        values, slopes, first, step, known, n_exp, u, y, positive, rows, gram, right, c, trial, work, rest
    )
    damping = 1e-3
    for _ in range(limit):
        _direction(gram, rows, rest, c, u, mask, known, n_exp, low, high, hessian, slope, trial, work)
        accepted = False
        while damping < 1e9:
            _step(hessian, slope, damping, n_exp, move)
            promised = 0.0
            for i in range(n_exp):
                new_u[i] = min(max(u[i] + move[i], low), high)
                promised += (new_u[i] - u[i]) * slope[i]
            if promised <= tolerance * rss or rss <= 1e-29 * power:
                if damping <= 1e-2 or rss <= 1e-29 * power:
                    return rss, mask, 0
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
                accepted = True
                for i in range(n_exp):
                    u[i] = new_u[i]
                for i in range(linear):
                    c[i] = new_c[i]
                rss, mask = new_rss, new_mask
                damping = max(damping * 0.1, 1e-10)
                break
            damping *= 10.0
        if not accepted:
            rss, mask = _place(
                values, slopes, first, step, known, n_exp, u, y, positive, rows, gram, right, c, trial, work, rest
            )
            return rss, mask, 0
    return rss, mask, _NOT_CONVERGED


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
    options: int,
    tolerance: float,
    limit: int,
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
    rows = np.zeros((linear + n_exp, frames))
    other = np.zeros((linear + n_exp, frames))
    rows[:known], other[:known] = fixed, fixed
    u, c, u2, c2 = np.zeros(2), np.zeros(8), np.zeros(2), np.zeros(8)
    buffer, tops = np.zeros(projected.shape[0]), np.zeros(projected.shape[0])
    partner = np.zeros(projected.shape[0], np.int64)
    s = np.zeros(projected.shape[0])
    gram, right = np.zeros((8, 8)), np.zeros(8)
    for v in range(curves.shape[0]):
        y = curves[v]
        power = 0.0
        for n in range(frames):
            power += y[n] * y[n]
        best_rss, flag = math.inf, 0
        for option in range(options):
            if option == 1 and c[known - 1] > 0.0:
                break  # the blood volume is positive: leaving it out cannot help
            project(projected if option == 0 else projected_less, y, s)
            g = inverse if option == 0 else inverse_less
            if n_exp == 2:
                _best_pairs(s, g, positive, buffer, tops, partner)
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
                        partner[i] = max(i - 2, 0)
                    u2[1] = first + wide * partner[i]
                u2[0] = first + wide * i
                if n_exp == 1 and 0 < i < s.size - 1:
                    # The vertex of the parabola through the best rate and its neighbours saves a step.
                    before, after, middle = (
                        s[i - 1] ** 2 * g[0, i - 1],
                        s[i + 1] ** 2 * g[0, i + 1],
                        s[i] ** 2 * g[0, i],
                    )
                    bend = before - 2 * middle + after
                    if bend < 0.0:
                        u2[0] += wide * min(max(0.5 * (before - after) / bend, -0.5), 0.5)
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
                    u2,
                    c2,
                    space,
                    other,
                )
                if rss < best_rss:
                    best_rss, flag = rss, code
                    u[:], c[:] = u2, c2
        if n_exp == 2 and u[0] < u[1]:
            u[0], u[1] = u[1], u[0]
            c[known], c[known + 1] = c[known + 1], c[known]
        for j in range(n_exp):
            read_row(values, slopes, first, step, u[j], rows[known + j], rows[linear + j])
        normal_equations(rows, linear + n_exp, y, gram, right)
        out_rss[v] = best_rss
        out_c[v] = c[:linear]
        out_u[v] = u[:n_exp]
        reason[v] = flag | inverse_normal(gram, c, u, known, n_exp, low, high, out_inverse[v])
