"""Least squares of ``y = sum_i c_i F_i + sum_j c_j b(u_j)``: the shape that all compartment models share.

``F`` are known curves, ``b(u)`` comes from a table, and the coefficients ``c`` may be bound to be positive. For given
rates the coefficients follow linearly, so only one or two rates are searched (variable projection: Golub G and Pereyra
V, SIAM J Numer Anal 1973;10:413, doi:10.1137/0710036):

1. every rate, or pair of rates, of a grid is scored from projections that are made once for all curves: no start value
   has to be guessed, and no local minimum wider than the grid is missed;
2. from the best one, damped Gauss-Newton steps in ``u = ln k`` with Kaufman's Jacobian (BIT 1975;15:49,
   doi:10.1007/BF01932995) and the coefficients solved exactly, with their signs, at every step.

All arrays are already multiplied with the square root of the weights, and frames without weight are gone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.separable_kernels import solve_all
from timelens.engines.kinetics.tables import STRIDE, Table

__all__ = ["Search", "Solution", "prepare", "solve"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Search:
    """Everything about a weighted model that does not depend on the curve.

    ``fixed`` (n_fixed, frames), ``exponentials`` 1 or 2. ``projected`` holds, for the model with and without its last
    fixed curve, the grid's curves made orthogonal to the fixed ones, and ``inverse`` the three different elements of
    the inverse Gram matrix of each pair (zero for pairs that are too alike). For one exponential ``inverse`` holds one
    over the norm, the norm and its slope, and ``rises`` the slopes of the projected curves.
    """

    table: Table
    fixed: Floats
    exponentials: int
    positive: bool
    projected: tuple[Floats, ...]
    inverse: tuple[Floats, ...]
    rises: tuple[Floats, ...]


@dataclass(frozen=True, eq=False)
class Solution:
    """Coefficients (curves, n_fixed + exponentials), ``u`` (curves, exponentials) descending, residual sum of squares,
    inverse of the normal matrix of (c, u) (curves, p, p), and reason flags.
    """

    coefficients: Floats
    u: Floats
    rss: Floats
    inverse: Floats
    reason: NDArray[np.int32]


def prepare(table: Table, fixed: Floats, exponentials: int, *, positive: bool) -> Search:
    """Make the projections of the grid for a weighted table and weighted fixed curves."""
    grid = table.values[::STRIDE]
    options = [fixed] if not positive or fixed.shape[0] == 0 else [fixed, fixed[:-1]]
    projected, inverse, rises = [], [], []
    for known in options:
        basis = np.linalg.qr(known.T)[0] if known.shape[0] else np.zeros((fixed.shape[1], 0))
        free = grid - (grid @ basis) @ basis.T
        rise = table.slopes[::STRIDE] - (table.slopes[::STRIDE] @ basis) @ basis.T
        projected.append(np.ascontiguousarray(free))
        inverse.append(_pair_inverses(free) if exponentials == 2 else _single_inverses(free, rise, grid))
        rises.append(np.ascontiguousarray(rise))
    return Search(
        table, np.ascontiguousarray(fixed), exponentials, positive, tuple(projected), tuple(inverse), tuple(rises)
    )


def _single_inverses(free: Floats, rise: Floats, grid: Floats) -> Floats:
    norm = np.einsum("ij,ij->i", free, free)
    known = norm > 1e-10 * np.einsum("ij,ij->i", grid, grid)
    over = np.where(known, 1.0 / np.where(known, norm, 1.0), 0.0)
    return np.stack([over, norm, 2.0 * np.einsum("ij,ij->i", free, rise)])


def _pair_inverses(free: Floats) -> Floats:
    gram = free @ free.T
    i, j = np.tril_indices(gram.shape[0], -1)
    a, b, c = gram[i, i], gram[i, j], gram[j, j]
    determinant = a * c - b * b
    known = determinant > 1e-12 * a * c
    scale = np.where(known, 1.0 / np.where(known, determinant, 1.0), 0.0)
    return np.stack([c * scale, -b * scale, a * scale])


def solve(
    search: Search,
    curves: Floats,
    *,
    tolerance: float = 1e-13,
    limit: int = 60,
    closing: bool = False,
    starts: int = 0,
    promising: float = math.inf,
) -> Solution:
    """Fit every curve.

    Parameters
    ----------
    curves
        (curves, frames), weighted.
    tolerance
        The iteration ends when a step lowers the residual sum of squares by less than this part of it.
    limit
        Most steps per start.
    closing
        Take that last small step too, with the coefficients following linearly: no curve is evaluated again.
    starts
        Of a pair of rates, start not only from the two highest tops of the grid but from so many other fast rates, the
        fastest first, each with its best partner: a narrow valley between the nodes can hide behind a lower top.
    promising
        Such a start is taken if less than this many times the least residuals so far are left there.
    """
    count = curves.shape[0]
    linear = search.fixed.shape[0] + search.exponentials
    size = linear + search.exponentials
    coefficients, u = np.zeros((count, linear)), np.zeros((count, search.exponentials))
    rss, inverse = np.empty(count), np.zeros((count, size, size))
    reason = np.zeros(count, dtype=np.int32)
    solve_all(
        curves, search.table.values, search.table.slopes, search.table.first, search.table.step, search.fixed,
        search.exponentials, search.positive, search.projected[0], search.projected[-1], search.inverse[0],
        search.inverse[-1], search.rises[0], search.rises[-1], len(search.projected), tolerance,
        limit, closing, starts, promising, coefficients, u, rss, inverse, reason,
    )  # fmt: skip
    return Solution(coefficients, u, rss, inverse, reason)
