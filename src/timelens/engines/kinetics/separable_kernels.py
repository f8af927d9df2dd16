"""The compiled part of the separable fit: scoring the grid, exact coefficients, damped Gauss-Newton steps."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from timelens.engines.kinetics.reasons import Reason
from timelens.engines.kinetics.tables import STRIDE, read_row

__all__ = ["solve_all"]

Floats = NDArray[np.float64]

_SINGULAR = int(Reason.SINGULAR)
_AT_BOUND = int(Reason.RATE_AT_BOUND)
_AT_ZERO = int(Reason.COEFFICIENT_AT_ZERO)
_EMPTY = int(Reason.COMPARTMENT_AT_ZERO)
_NOT_CONVERGED = int(Reason.NOT_CONVERGED)

#: Largest move of ln k in one step, and how near to the edge of the table counts as on it.
_LONGEST = 1.5
_EDGE = 1e-6


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
def _subset(gram: Floats, right: Floats, size: int, mask: int, c: Floats, work: Floats) -> float:  # pragma: no cover
    """Solve the normal equations for the chosen coefficients (Cholesky); what they explain, or -1 if singular."""
    explained = 0.0
    for i in range(size):
        c[i] = 0.0
        if not mask >> i & 1:
            continue
        for j in range(i + 1):
            if mask >> j & 1:
                total = gram[i, j]
                for k in range(j):
                    if mask >> k & 1:
                        total -= work[i, k] * work[j, k]
                if i != j:
                    work[i, j] = total / work[j, j]
                elif total <= 1e-14 * gram[i, i]:
                    return -1.0
                else:
                    work[i, i] = math.sqrt(total)
        total = right[i]
        for k in range(i):
            if mask >> k & 1:
                total -= work[i, k] * c[k]
        c[i] = total / work[i, i]
        explained += c[i] * c[i]
    for i in range(size - 1, -1, -1):
        if mask >> i & 1:
            total = c[i]
            for k in range(i + 1, size):
                if mask >> k & 1:
                    total -= work[k, i] * c[k]
            c[i] = total / work[i, i]
    return explained


@njit(cache=True, nogil=True, error_model="numpy")
def _coefficients(
    gram: Floats, right: Floats, size: int, positive: bool, c: Floats, trial: Floats, work: Floats
) -> int:  # pragma: no cover - compiled
    """Best coefficients and the mask of those that are free; with ``positive`` all sets of zeros are compared."""
    full = (1 << size) - 1
    explained = _subset(gram, right, size, full, c, work)
    if explained >= 0:
        good = True
        if positive:
            for i in range(size):
                good = good and c[i] > 0
        if good:
            return full
    best, chosen = -1.0, 0
    for mask in range(1, full):
        explained = _subset(gram, right, size, mask, trial, work)
        good = explained > best
        for i in range(size):
            good = good and (not positive or trial[i] >= 0)
        if good:
            best, chosen = explained, mask
            c[:size] = trial[:size]
    if chosen == 0:
        c[:size] = 0.0
    return chosen


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def _normal(rows: Floats, size: int, y: Floats, gram: Floats, right: Floats) -> None:  # pragma: no cover - compiled
    for i in range(size):
        total = 0.0
        for n in range(y.size):
            total += rows[i, n] * y[n]
        right[i] = total
        for j in range(i + 1):
            total = 0.0
            for n in range(y.size):
                total += rows[i, n] * rows[j, n]
            gram[i, j] = total
            gram[j, i] = total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def _residual(rows: Floats, size: int, c: Floats, y: Floats, out: Floats) -> float:  # pragma: no cover - compiled
    for n in range(y.size):
        out[n] = y[n]
    for i in range(size):
        if c[i] != 0.0:
            for n in range(y.size):
                out[n] -= c[i] * rows[i, n]
    total = 0.0
    for n in range(y.size):
        total += out[n] * out[n]
    return total


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
    _normal(rows, linear + n_exp, y, gram, right)
    mask = _coefficients(gram, right, linear, positive, c, trial, work)
    return _residual(rows, linear, c, y, rest), mask


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
        outward = (u[i] <= low + _EDGE and slope[i] < 0) or (u[i] >= high - _EDGE and slope[i] > 0)
        if outward or c[known + i] == 0.0:
            slope[i] = 0.0
    for i in range(n_exp):
        _subset(gram, gram[linear + i], linear, mask, trial, work)
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
def _invert(
    gram: Floats, c: Floats, u: Floats, known: int, n_exp: int, low: float, high: float, out: Floats
) -> int:  # pragma: no cover - compiled
    """Inverse normal matrix of the parameters that are free to move, by Cholesky of the correlation-scaled matrix."""
    linear = known + n_exp
    index, factors = np.empty(8, np.int64), np.empty(8)
    n, reason = 0, 0
    for i in range(linear):
        if c[i] != 0.0:
            index[n], factors[n] = i, 1.0
            n += 1
        else:
            reason |= _AT_ZERO if i < known else _EMPTY
    for j in range(n_exp):
        if c[known + j] != 0.0:
            if u[j] <= low + _EDGE or u[j] >= high - _EDGE:
                reason |= _AT_BOUND
            else:
                index[n], factors[n] = linear + j, c[known + j]
                n += 1
    norm = np.empty(n)
    for i in range(n):
        norm[i] = abs(factors[i]) * math.sqrt(gram[index[i], index[i]]) + 1e-300
    lower, column = np.zeros((n, n)), np.empty(n)
    for i in range(n):
        for j in range(i + 1):
            total = gram[index[i], index[j]] * factors[i] * factors[j] / (norm[i] * norm[j])
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i != j:
                lower[i, j] = total / lower[j, j]
            elif total > 1e-13:
                lower[i, i] = math.sqrt(total)
            else:
                out[:] = np.nan
                return reason | _SINGULAR
    for k in range(n):
        for i in range(n):
            total = 1.0 if i == k else 0.0
            for m in range(i):
                total -= lower[i, m] * column[m]
            column[i] = total / lower[i, i]
        for i in range(n - 1, -1, -1):
            total = column[i]
            for m in range(i + 1, n):
                total -= lower[m, i] * column[m]
            column[i] = total / lower[i, i]
            out[index[i], index[k]] = column[i] / (norm[i] * norm[k])
    return reason


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def _project(basis: Floats, y: Floats, out: Floats) -> None:  # pragma: no cover - compiled
    # A matrix product by BLAS would start threads of its own inside every chunk's thread.
    for i in range(basis.shape[0]):
        row, total = basis[i], 0.0
        for n in range(y.size):
            total += row[n] * y[n]
        out[i] = total


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
            _project(projected if option == 0 else projected_less, y, s)
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
        _normal(rows, linear + n_exp, y, gram, right)
        out_rss[v] = best_rss
        out_c[v] = c[:linear]
        out_u[v] = u[:n_exp]
        reason[v] = flag | _invert(gram, c, u, known, n_exp, low, high, out_inverse[v])
