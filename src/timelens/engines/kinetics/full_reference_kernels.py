"""The compiled part of the full reference tissue model: scoring a grid and damped Gauss-Newton steps in all rates.

A point is ``(r1, ln k2, ln k3, ln k4)``. Its curve is ``r1 Cr + c1 E(p) + c2 E(q)``, where ``E(k)`` is the reference
convolved with exp(-k t), ``p`` and ``q`` are the eigenvalues of the target tissue, and ``c1``, ``c2`` follow from the
rates (see :mod:`timelens.engines.kinetics.full_reference`). Arrays are multiplied with the root of the weights.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from timelens.engines.kinetics.reasons import Reason
from timelens.engines.kinetics.separable_algebra import EDGE, normal_equations, solve_subset
from timelens.engines.kinetics.tables import read_row

__all__ = ["curve_rows", "solve_full"]

Floats = NDArray[np.float64]

_NOT_CONVERGED = int(Reason.NOT_CONVERGED)
_AT_BOUND = int(Reason.RATE_AT_BOUND)
_LONGEST = 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def curve_rows(
    point: Floats,
    seen: Floats,
    values: Floats,
    slopes: Floats,
    first: float,
    step: float,
    work: Floats,
    curve: Floats,
    rows: Floats,
) -> None:  # pragma: no cover - compiled
    """The curve at a point, and its derivatives by r1 and the logarithms of k2, k3, k4 as rows (4, frames)."""
    r1, k2, k3, k4 = point[0], math.exp(point[1]), math.exp(point[2]), math.exp(point[3])
    total = k2 + k3 + k4
    gap = math.sqrt(max(total * total - 4.0 * k2 * k4, 1e-24 * total * total))
    p = 0.5 * (total + gap)
    q = k2 * k4 / p
    s1, s2 = k2 * (1.0 - r1), k2 * (k3 + k4) - r1 * k2 * k4
    c1, c2 = (s1 * p - s2) / gap, (s2 - s1 * q) / gap
    last = first + step * (values.shape[0] - 1)
    fast, fast_rise, slow, slow_rise = work[0], work[1], work[2], work[3]
    read_row(values, slopes, first, step, min(max(math.log(p), first), last), fast, fast_rise)
    read_row(values, slopes, first, step, min(max(math.log(q), first), last), slow, slow_rise)
    for n in range(seen.size):
        curve[n] = r1 * seen[n] + c1 * fast[n] + c2 * slow[n]
        rows[0, n] = seen[n] + ((-k2 * p + k2 * k4) * fast[n] + (-k2 * k4 + k2 * q) * slow[n]) / gap
    for j in range(3):
        if j == 0:
            k, bend, ds1, ds2 = k2, (total - 2.0 * k4) / gap, 1.0 - r1, k3 + k4 - r1 * k4
        elif j == 1:
            k, bend, ds1, ds2 = k3, total / gap, 0.0, k2
        else:
            k, bend, ds1, ds2 = k4, (total - 2.0 * k2) / gap, 0.0, k2 - r1 * k2
        dp, dq = 0.5 * (1.0 + bend), 0.5 * (1.0 - bend)
        dc1 = k * (ds1 * p + s1 * dp - ds2 - c1 * bend) / gap
        dc2 = k * (ds2 - ds1 * q - s1 * dq - c2 * bend) / gap
        up, uq = k * dp / p * c1, k * dq / q * c2
        for n in range(seen.size):
            rows[j + 1, n] = dc1 * fast[n] + dc2 * slow[n] + up * fast_rise[n] + uq * slow_rise[n]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def _best_candidates(
    y: Floats, level: Floats, slope: Floats, sums: Floats, side: int, rss: Floats, starts: NDArray[np.int64]
) -> None:  # pragma: no cover - compiled
    """Up to three grid points with the least residual sum, none next to another; -1 where there is none."""
    # sums: level.level, level.slope, slope.slope of each candidate.
    power = 0.0
    for n in range(y.size):
        power += y[n] * y[n]
    for g in range(level.shape[0]):
        a, b = 0.0, 0.0
        for n in range(y.size):
            a += level[g, n] * y[n]
            b += slope[g, n] * y[n]
        cross = b - sums[1, g]
        rss[g] = power - 2.0 * a + sums[0, g] - cross * cross / sums[2, g]
    for rank in range(starts.size):
        starts[rank] = -1
        best = math.inf
        for g in range(rss.size):
            if rss[g] >= best:
                continue
            near = False
            for other in range(rank):
                o = starts[other]
                apart = max(abs(g // side // side - o // side // side), abs(g // side % side - o // side % side))
                near = near or max(apart, abs(g % side - o % side)) <= 1
            if not near:
                best, starts[rank] = rss[g], g


@njit(cache=True, nogil=True, error_model="numpy")
def solve_full(
    curves: Floats,
    seen: Floats,
    values: Floats,
    slopes: Floats,
    first: float,
    step: float,
    grid: Floats,
    level: Floats,
    slope: Floats,
    sums: Floats,
    side: int,
    low: Floats,
    high: Floats,
    tolerance: float,
    limit: int,
    out: Floats,
    out_rss: Floats,
    out_normal: Floats,
    reason: NDArray[np.int32],
) -> None:  # pragma: no cover - compiled
    """Fit every row of ``curves``: points (n, 4), residual sums, normal matrices (n, 4, 4) and flags."""
    frames = seen.size
    work, rows, new_rows = np.empty((4, frames)), np.empty((4, frames)), np.empty((4, frames))
    curve, rest = np.empty(frames), np.empty(frames)
    gram, damped, factor = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
    right, move, trial = np.zeros(4), np.zeros(4), np.zeros(4)
    scores, starts = np.empty(level.shape[0]), np.zeros(3, np.int64)
    point = np.zeros(4)
    for v in range(curves.shape[0]):
        y = curves[v]
        _best_candidates(y, level, slope, sums, side, scores, starts)
        out_rss[v] = math.inf
        for rank in range(starts.size):
            g = starts[rank]
            if g < 0:
                continue
            cross = 0.0
            for n in range(frames):
                cross += slope[g, n] * (y[n] - level[g, n])
            point[0] = cross / sums[2, g]
            point[1:] = grid[g]
            curve_rows(point, seen, values, slopes, first, step, work, curve, rows)
            rss = 0.0
            for n in range(frames):
                rest[n] = y[n] - curve[n]
                rss += rest[n] * rest[n]
            damping, flag = 1e-3, _NOT_CONVERGED
            for _ in range(limit):
                normal_equations(rows, 4, rest, gram, right)
                mask = 1
                for i in range(1, 4):
                    held = (point[i] <= low[i] and right[i] < 0) or (point[i] >= high[i] and right[i] > 0)
                    mask |= 0 if held else 1 << i
                accepted, settled = False, False
                while damping < 1e10:
                    for i in range(4):
                        for j in range(4):
                            damped[i, j] = gram[i, j]
                        damped[i, i] *= 1.0 + damping
                        move[i] = 0.0
                    promised = solve_subset(damped, right, 4, mask, move, factor)
                    if promised < 0.0:
                        damping *= 10.0
                        continue
                    for i in range(4):
                        longest = math.inf if i == 0 else _LONGEST
                        trial[i] = min(max(point[i] + min(max(move[i], -longest), longest), low[i]), high[i])
                    curve_rows(trial, seen, values, slopes, first, step, work, curve, new_rows)
                    new_rss = 0.0
                    for n in range(frames):
                        new_rss += (y[n] - curve[n]) ** 2
                    if new_rss < rss:
                        settled = rss - new_rss <= tolerance * rss and damping <= 1e-2
                        rss, accepted = new_rss, True
                        for n in range(frames):
                            rest[n] = y[n] - curve[n]
                        for i in range(4):
                            point[i] = trial[i]
                            for n in range(frames):
                                rows[i, n] = new_rows[i, n]
                        damping = max(damping * 0.1, 1e-12)
                        break
                    if promised <= tolerance * rss:
                        break
                    damping *= 10.0
                if not accepted or settled:
                    flag = 0
                    break
            if rss < out_rss[v]:
                normal_equations(rows, 4, rest, gram, right)
                out_rss[v], reason[v] = rss, flag
                for i in range(4):
                    out[v, i] = point[i]
                    if i > 0 and (point[i] <= low[i] + EDGE or point[i] >= high[i] - EDGE):
                        reason[v] |= _AT_BOUND
                    for j in range(4):
                        out_normal[v, i, j] = gram[i, j]
