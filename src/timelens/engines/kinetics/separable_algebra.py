"""Small linear algebra of the separable fit, compiled: normal equations, coefficients with signs, their inverse.

Matrices have at most eight rows and live in work arrays that the caller owns.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from timelens.engines.kinetics.reasons import Reason

__all__ = ["inverse_normal", "normal_equations", "project", "residuals", "solve_coefficients", "solve_subset"]

Floats = NDArray[np.float64]

_SINGULAR = int(Reason.SINGULAR)
_AT_BOUND = int(Reason.RATE_AT_BOUND)
_AT_ZERO = int(Reason.COEFFICIENT_AT_ZERO)
_EMPTY = int(Reason.COMPARTMENT_AT_ZERO)

#: How near to the edge of the table counts as on it, in ln k.
EDGE = 1e-6


@njit(cache=True, nogil=True, error_model="numpy")
def solve_subset(
    gram: Floats, right: Floats, size: int, mask: int, c: Floats, work: Floats
) -> float:  # pragma: no cover
    """Solve the normal equations for the chosen coefficients (Cholesky); what they explain, or -1 if singular."""
    if size == 2 and mask == 3:
        a, b, d = gram[0, 0], gram[0, 1], gram[1, 1]
        determinant = a * d - b * b
        if determinant <= 1e-14 * a * d:
            return -1.0
        over = 1.0 / determinant
        c[0], c[1] = (d * right[0] - b * right[1]) * over, (a * right[1] - b * right[0]) * over
        return c[0] * right[0] + c[1] * right[1]
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
def solve_coefficients(
    gram: Floats, right: Floats, size: int, positive: bool, c: Floats, trial: Floats, work: Floats
) -> int:  # pragma: no cover - compiled
    """Best coefficients and the mask of those that are free; with ``positive`` all sets of zeros are compared."""
    full = (1 << size) - 1
    explained = solve_subset(gram, right, size, full, c, work)
    if explained >= 0:
        good = True
        if positive:
            for i in range(size):
                good = good and c[i] > 0
        if good:
            return full
    best, chosen = -1.0, 0
    for mask in range(1, full):
        explained = solve_subset(gram, right, size, mask, trial, work)
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
def normal_equations(
    rows: Floats, size: int, y: Floats, gram: Floats, right: Floats
) -> None:  # pragma: no cover - compiled
    """Products of the first ``size`` rows with each other and with the data."""
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
def residuals(rows: Floats, size: int, c: Floats, y: Floats, out: Floats) -> float:  # pragma: no cover - compiled
    """Residuals into ``out``; their sum of squares."""
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
def inverse_normal(
    gram: Floats, c: Floats, u: Floats, known: int, n_exp: int, low: float, high: float, out: Floats, work: Floats
) -> int:  # pragma: no cover - compiled
    """Inverse normal matrix of the parameters that are free to move, by Cholesky of the correlation-scaled matrix.

    ``work`` (12, 8) is scratch.
    """
    linear = known + n_exp
    lower, column, norm, factors, places = work, work[8], work[9], work[10], work[11]
    n, reason = 0, 0
    for i in range(linear):
        if c[i] != 0.0:
            places[n], factors[n] = i, 1.0
            n += 1
        else:
            reason |= _AT_ZERO if i < known else _EMPTY
    for j in range(n_exp):
        if c[known + j] != 0.0:
            if u[j] <= low + EDGE or u[j] >= high - EDGE:
                reason |= _AT_BOUND
            else:
                places[n], factors[n] = linear + j, c[known + j]
                n += 1
    for i in range(n):
        a = int(places[i])
        norm[i] = abs(factors[i]) * math.sqrt(gram[a, a]) + 1e-300
    for i in range(n):
        for j in range(i + 1):
            total = gram[int(places[i]), int(places[j])] * factors[i] * factors[j] / (norm[i] * norm[j])
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
            out[int(places[i]), int(places[k])] = column[i] / (norm[i] * norm[k])
    return reason


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def project(basis: Floats, y: Floats, out: Floats) -> None:  # pragma: no cover - compiled
    """Products of every row of ``basis`` with ``y``."""
    # A matrix product by BLAS would start threads of its own inside every chunk's thread.
    for i in range(basis.shape[0]):
        row, total = basis[i], 0.0
        for n in range(y.size):
            total += row[n] * y[n]
        out[i] = total
