"""The compiled part of the linear models: integrals, regressors and normal equations, a block of voxels at a time.

Voxels lie along the fast axis, so the inner loops run over neighbours in memory and use the processor's vectors; a
block's work arrays stay in its cache. Data are read once, in whatever float type they have; sums are float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["BLOCK", "DOUBLE", "INTEGRAL", "TISSUE", "regress", "solve_fixed"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: Codes of regressors that come from the tissue curve itself; 0, 1, ... are the known curves.
TISSUE, INTEGRAL, DOUBLE = -1, -2, -3
BLOCK = 256


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def solve_fixed(
    data: Array,
    offset: Floats,
    inverse: Floats,
    design: Floats,
    weight: Floats,
    scale: Floats,
    out: Array,
    error: Array,
    rss: Array,
    reason: NDArray[np.int32],
    imprecise: int,
    above: float,
    begin: int,
    at: int,
    count: int,
) -> int:  # pragma: no cover - compiled
    """One matrix for all voxels of a two-regressor model: ``inverse @ data``, and what it leaves over.

    ``count`` voxels of ``data`` (frames, ...) from ``begin`` on; their results go into the maps from ``at`` on.
    ``scale`` turns the root of the weighted residual sum into each standard error. ``reason`` is ``imprecise`` where
    the first error exceeds ``above`` times its coefficient, else 0. Returns how many voxels have no finite or a zero
    residual sum and need a closer look.
    """
    frames = design.shape[0]
    # Frames are read four at a time, so sums are loaded and stored once for four; the last group is filled with zeros.
    groups = (frames + 3) // 4
    first, second, w = np.zeros(4 * groups), np.zeros(4 * groups), np.zeros(4 * groups)
    shift, place = np.zeros(4 * groups), np.zeros(4 * groups, np.int64)
    n00, n01, n11 = 0.0, 0.0, 0.0
    for f in range(4 * groups):
        place[f] = min(f, frames - 1)
        shift[f] = offset[place[f]]
        if f < frames:
            first[f], second[f], w[f] = inverse[0, f], inverse[1, f], weight[f]
            n00 += weight[f] * design[f, 0] * design[f, 0]
            n01 += 2.0 * weight[f] * design[f, 0] * design[f, 1]
            n11 += weight[f] * design[f, 1] * design[f, 1]
    doubtful = 0.0
    c, total = np.empty((2, BLOCK)), np.empty(BLOCK)
    for start in range(0, count, BLOCK):
        n = min(BLOCK, count - start)
        c0, c1, low, to = c[0], c[1], begin + start, at + start
        c[:] = 0.0
        total[:] = 0.0
        for g in range(0, 4 * groups, 4):
            r0, r1 = data[place[g], low : low + n], data[place[g + 1], low : low + n]
            r2, r3 = data[place[g + 2], low : low + n], data[place[g + 3], low : low + n]
            o0, o1, o2, o3 = shift[g], shift[g + 1], shift[g + 2], shift[g + 3]
            a0, a1, a2, a3 = first[g], first[g + 1], first[g + 2], first[g + 3]
            b0, b1, b2, b3 = second[g], second[g + 1], second[g + 2], second[g + 3]
            w0, w1, w2, w3 = w[g], w[g + 1], w[g + 2], w[g + 3]
            for v in range(n):
                y0, y1, y2, y3 = r0[v] - o0, r1[v] - o1, r2[v] - o2, r3[v] - o3
                c0[v] += a0 * y0 + a1 * y1 + a2 * y2 + a3 * y3
                c1[v] += b0 * y0 + b1 * y1 + b2 * y2 + b3 * y3
                total[v] += w0 * y0 * y0 + w1 * y1 * y1 + w2 * y2 * y2 + w3 * y3 * y3
        close = 0.0
        for v in range(n):
            left = total[v] - (n00 * c0[v] + n01 * c1[v]) * c0[v] - n11 * c1[v] * c1[v]
            close += 0.0 if left > 1e-8 * total[v] else 1.0
            total[v] = left
        if close > 0.0:
            # Nearly exact curves, or broken ones: the difference of two large sums would only be rounding.
            total[:] = 0.0
            for f in range(frames):
                row, a, b, o, u = data[f, low : low + n], design[f, 0], design[f, 1], offset[f], weight[f]
                for v in range(n):
                    rest = row[v] - o - a * c0[v] - b * c1[v]
                    total[v] += u * rest * rest
        to_rss, to_reason = rss[to : to + n], reason[to : to + n]
        # One or two arrays a loop: with more, the compiler cannot prove them apart and gives up its vectors.
        for v in range(n):
            to_rss[v] = total[v]
        for v in range(n):
            doubtful += 0.0 if 0.0 < total[v] < math.inf else 1.0
        for v in range(n):
            total[v] = math.sqrt(total[v])
        s0 = scale[0]
        for v in range(n):
            to_reason[v] = 0 if s0 * total[v] <= above * abs(c0[v]) else imprecise
        for p in range(2):
            to_out, to_error, sums, factor = out[p, to : to + n], error[p, to : to + n], c[p], scale[p]
            for v in range(n):
                to_out[v] = sums[v]
            for v in range(n):
                to_error[v] = factor * total[v]
    return int(doubtful)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def _integrate(
    y: Floats,
    before: Floats,
    single: Floats,
    double: Floats,
    at_single: Floats,
    at_double: Floats,
    gap: float,
    length: float,
    n: int,
) -> None:  # pragma: no cover - compiled
    """Move both running integrals over the gap before a frame and the frame itself (length 0: an instant)."""
    for v in range(n):
        low, high = before[v], y[v]
        d = double[v] + gap * single[v] + gap * gap * (2.0 * low + high) / 6.0
        s = single[v] + gap * 0.5 * (low + high)
        at_single[v] = s + 0.5 * length * high
        at_double[v] = d + 0.5 * length * s + length * length * high / 6.0
        double[v] = d + length * s + 0.5 * length * length * high
        single[v] = s + length * high
        before[v] = high


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def regress(
    data: Array,
    offset: Floats,
    share: float,
    gaps: Floats,
    lengths: Floats,
    known: Floats,
    weight: Floats,
    columns: NDArray[np.int64],
    target: int,
    divided: int,
    out: Floats,
    inverse: Floats,
    rss: Floats,
    begin: int,
) -> None:  # pragma: no cover - compiled
    """Weighted regression whose regressors may be the tissue curve, its integral or double integral.

    ``data`` (frames, ...) from ``begin`` on becomes ``(data - offset) / share``; ``known`` (curves, frames). With
    ``divided`` 1 every term is divided by the tissue, with 2 by its integral over the tissue: the same plot, its points
    weighted by propagation. Coefficients (p, n), inverse normal matrix (p, p, n), weighted residual sum (n,).
    """
    frames, count = data.shape[0], rss.size
    size = columns.size
    before, single, double = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    at_single, at_double, one_over = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    x = np.empty((size + 1, BLOCK))
    gram = np.empty((size + 1, size + 1, BLOCK))
    y = np.empty(BLOCK)
    factor, mean = np.empty((size + 1, size + 1)), np.empty(size)
    doubled = target == DOUBLE
    for p in range(size):
        doubled = doubled or columns[p] == DOUBLE
    for start in range(0, count, BLOCK):
        n = min(BLOCK, count - start)
        before[:], single[:], double[:] = 0.0, 0.0, 0.0
        gram[:] = 0.0
        for f in range(frames):
            source, shift = data[f, begin + start : begin + start + n], offset[f]
            for v in range(n):
                y[v] = (source[v] - shift) / share
            if doubled:
                _integrate(y, before, single, double, at_single, at_double, gaps[f], lengths[f], n)
            else:
                gap, length = 0.5 * gaps[f], lengths[f]
                for v in range(n):
                    total = single[v] + gap * (before[v] + y[v])
                    at_single[v] = total + 0.5 * length * y[v]
                    single[v] = total + length * y[v]
                    before[v] = y[v]
            w = weight[f]
            if w == 0.0:
                continue
            if divided == 1:
                for v in range(n):
                    one_over[v] = 1.0 / y[v]
            elif divided == 2:
                for v in range(n):
                    one_over[v] = y[v] / at_single[v]
            for p in range(size + 1):
                code = columns[p] if p < size else target
                row = x[p]
                if code >= 0:
                    value = known[code, f]
                    for v in range(n):
                        row[v] = value
                elif code == TISSUE:
                    row[:n] = y[:n]
                elif code == INTEGRAL:
                    row[:n] = at_single[:n]
                else:
                    row[:n] = at_double[:n]
                if divided > 0:
                    for v in range(n):
                        row[v] *= one_over[v]
            for p in range(size + 1):
                for q in range(p + 1):
                    left, right, sums = x[p], x[q], gram[p, q]
                    for v in range(n):
                        sums[v] += w * left[v] * right[v]
        if size == 2:
            _finish_two(gram, n, out[:, start : start + n], inverse[:, :, start : start + n], rss[start : start + n])
            continue
        for v in range(n):
            _finish(gram, v, size, factor, mean, out, inverse, rss, start + v)


@njit(cache=True, nogil=True, error_model="numpy")
def _finish(
    gram: Floats, v: int, size: int, factor: Floats, mean: Floats, out: Floats, inverse: Floats, rss: Floats, at: int
) -> None:  # pragma: no cover - compiled
    """Cholesky of the bordered normal matrix: its last pivot is the residual sum of squares."""
    for i in range(size + 1):
        for j in range(i + 1):
            total = gram[i, j, v]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i != j:
                factor[i, j] = total / factor[j, j]
            elif i == size:
                rss[at] = max(total, 0.0)
            elif total > 1e-15 * gram[i, i, v]:
                factor[i, i] = math.sqrt(total)
            else:
                out[:, at], inverse[:, :, at], rss[at] = np.nan, np.nan, np.nan
                return
    for i in range(size - 1, -1, -1):
        total = factor[size, i]
        for k in range(i + 1, size):
            total -= factor[k, i] * out[k, at]
        out[i, at] = total / factor[i, i]
    for j in range(size):
        for i in range(size):
            total = 1.0 if i == j else 0.0
            for k in range(i):
                total -= factor[i, k] * mean[k]
            mean[i] = total / factor[i, i]
        for i in range(size - 1, -1, -1):
            total = mean[i]
            for k in range(i + 1, size):
                total -= factor[k, i] * mean[k]
            mean[i] = total / factor[i, i]
            inverse[i, j, at] = mean[i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def _finish_two(gram: Floats, n: int, out: Floats, inverse: Floats, rss: Floats) -> None:  # pragma: no cover - compiled
    """The same for two regressors, many voxels at once."""
    a, b, d = gram[0, 0], gram[1, 0], gram[1, 1]
    e, f, g = gram[2, 0], gram[2, 1], gram[2, 2]
    first, second = out[0], out[1]
    aa, ab, ba, bb = inverse[0, 0], inverse[0, 1], inverse[1, 0], inverse[1, 1]
    for v in range(n):
        determinant = a[v] * d[v] - b[v] * b[v]
        over = 1.0 / determinant if determinant > 1e-15 * a[v] * d[v] else math.nan
        aa[v], bb[v] = d[v] * over, a[v] * over
        ab[v] = -b[v] * over
        ba[v] = ab[v]
        # Elimination in the order of Cholesky keeps the residual sum free of needless cancellation.
        slope = b[v] / a[v]
        rest = f[v] - slope * e[v]
        pivot = d[v] - slope * b[v]
        second[v] = rest / pivot + 0.0 * over
        first[v] = (e[v] - b[v] * second[v]) / a[v]
        left = g[v] - e[v] * e[v] / a[v] - rest * rest / pivot
        rss[v] = max(left, 0.0) + 0.0 * over
