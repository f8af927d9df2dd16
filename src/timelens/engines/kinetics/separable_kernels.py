"""The compiled part of the separable fit: damped Gauss-Newton steps from the tops of the grid's scores."""

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
from timelens.engines.kinetics.separable_pairs import best_pairs, partner, peak, vertex_pair
from timelens.engines.kinetics.separable_single import best_single, one_look, vertex_single
from timelens.engines.kinetics.tables import STRIDE, read_row

__all__ = ["solve_all"]

Floats = NDArray[np.float64]

_NOT_CONVERGED = int(Reason.NOT_CONVERGED)

#: Largest move of ln k in one step.
_LONGEST = 1.5


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
    starts: int,
    promising: float,
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
    free = 0.0
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
                best_pairs(s, g, positive, tops)
                free = power
                if known - option == 1:
                    along, length = 0.0, 0.0
                    for n in range(frames):
                        along += fixed[0, n] * y[n]
                        length += fixed[0, n] * fixed[0, n]
                    free -= along * along / length
            for rank in range(n_exp if n_exp == 1 else n_exp + starts):
                if n_exp == 1:
                    i = best_single(s, g, positive)[1]
                else:
                    i = peak(tops, rank) if rank < n_exp else s.size - 1 - (rank - n_exp) * (s.size - 1) // starts
                    if rank > 0 and (i < 0 or tops[i] <= 0.0):
                        continue
                    if rank >= n_exp and free - tops[i] > promising * best_rss:
                        continue
                    if i < 0:
                        # No pair has two positive coefficients: split the best single rate.
                        i = min(int(np.argmax(s)) + 1, s.size - 1)
                        j = max(i - 2, 0)
                    else:
                        j = partner(s, g, positive, i)
                    u2[1] = first + wide * j
                u2[0] = first + wide * i
                # The vertex of the parabola through the best rates and their neighbours saves steps.
                if n_exp == 1:
                    vertex_single(s, g, rises if option == 0 else rises_less, y, i, wide, u2)
                else:
                    vertex_pair(s, g, i, j, wide, u2)
                if quick and option == 0:
                    rss = one_look(
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
