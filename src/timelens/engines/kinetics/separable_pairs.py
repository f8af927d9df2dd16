"""The search over pairs of rates, compiled: what every pair of the grid explains, and the tops between its nodes."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["best_pairs", "partner", "peak", "vertex_pair"]

Floats = NDArray[np.float64]


# Scores of finite curves are finite, so minima and maxima need not heed NaN and the loops become vectors.
@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def best_pairs(scores: Floats, inverse: Floats, positive: bool, tops: Floats) -> None:  # pragma: no cover - compiled
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
def partner(scores: Floats, inverse: Floats, positive: bool, i: int) -> int:  # pragma: no cover - compiled
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
def peak(tops: Floats, rank: int) -> int:  # pragma: no cover - compiled
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
def vertex_pair(scores: Floats, inverse: Floats, i: int, j: int, wide: float, u: Floats) -> None:  # pragma: no cover
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
