"""The compiled part of mono-exponential decay: weighted log-linear and ARLO, errors from the signal's residuals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from timelens.engines.kinetics.reasons import Reason

__all__ = ["arlo", "log_linear"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

_NON_FINITE = int(Reason.NON_FINITE)
_NO_SIGNAL = int(Reason.NO_SIGNAL)
_NOT_PHYSICAL = int(Reason.NOT_PHYSICAL)
_TOO_FEW = int(Reason.TOO_FEW_FRAMES)


@njit(cache=True, nogil=True, error_model="numpy")
def _load(data: Array, v: int, y: Floats) -> int:  # pragma: no cover - compiled
    total, largest = 0.0, 0.0
    for i in range(y.size):
        y[i] = data[i, v]
        total += y[i]
        largest = max(largest, y[i])
    if not math.isfinite(total):
        return _NON_FINITE
    return _NO_SIGNAL if largest <= 0.0 else 0


@njit(cache=True, nogil=True, error_model="numpy")
def log_linear(
    data: Array,
    x: Floats,
    floor: float,
    values: Array,
    errors: Array,
    rss: Array,
    reason: NDArray[np.int32],
) -> None:  # pragma: no cover - compiled
    """Line through ln S with weights S^2, from the signals above ``floor`` up to the first below it.

    Weights are taken from a first fit, so that noise in them does not bias the second. ``values``: rate, amplitude.
    """
    n = x.size
    y, logs, w = np.empty(n), np.empty(n), np.empty(n)
    for v in range(data.shape[1]):
        flag = _load(data, v, y)
        if flag:
            reason[v] = flag
            continue
        used = 0
        for i in range(n):
            if y[i] <= floor:
                break
            logs[i] = math.log(y[i])
            w[i] = y[i] * y[i]
            used += 1
        if used < 2:
            reason[v] = _TOO_FEW
            continue
        rate = level = sw = sx = sxx = 0.0
        for turn in range(2):
            sw = sx = sy = sxx = sxy = 0.0
            for i in range(used):
                if turn:
                    w[i] = math.exp(2.0 * (level - rate * x[i]))
                sw += w[i]
                sx += w[i] * x[i]
                sy += w[i] * logs[i]
                sxx += w[i] * x[i] * x[i]
                sxy += w[i] * x[i] * logs[i]
            determinant = sw * sxx - sx * sx
            rate = (sx * sy - sw * sxy) / determinant
            level = (sxx * sy - sx * sxy) / determinant
        s0 = math.exp(level)
        if not (math.isfinite(rate) and math.isfinite(s0)):
            reason[v] = _NOT_PHYSICAL
            continue
        rest = 0.0
        for i in range(used):
            rest += (y[i] - s0 * math.exp(-rate * x[i])) ** 2
        values[0, v], values[1, v], rss[v] = rate, s0, rest
        if used > 2:
            # With weights S^2 over the noise the inverse normal matrix is the covariance of rate and level.
            noise = rest / (used - 2)
            determinant = sw * sxx - sx * sx
            errors[0, v] = math.sqrt(noise * sw / determinant)
            errors[1, v] = s0 * math.sqrt(noise * sxx / determinant)


@njit(cache=True, nogil=True, error_model="numpy")
def arlo(
    data: Array,
    step: float,
    first: float,
    values: Array,
    errors: Array,
    rss: Array,
    reason: NDArray[np.int32],
) -> None:  # pragma: no cover - compiled
    """Auto-regression on Simpson integrals of evenly spaced echoes; ``values``: rate, amplitude."""
    n = data.shape[0]
    y, of_top, of_bottom = np.empty(n), np.empty(n), np.empty(n)
    third = step / 3.0
    for v in range(data.shape[1]):
        flag = _load(data, v, y)
        if flag:
            reason[v] = flag
            continue
        top = bottom = 0.0
        of_top[:] = 0.0
        of_bottom[:] = 0.0
        for i in range(n - 2):
            area = third * (y[i] + 4.0 * y[i + 1] + y[i + 2])
            drop = y[i] - y[i + 2]
            top += area * area + third * area * drop
            bottom += area * drop + third * drop * drop
            a, b = 2.0 * area + third * drop, third * area
            of_top[i] += third * a + b
            of_top[i + 1] += 4.0 * third * a
            of_top[i + 2] += third * a - b
            c, d = drop, area + 2.0 * third * drop
            of_bottom[i] += third * c + d
            of_bottom[i + 1] += 4.0 * third * c
            of_bottom[i + 2] += third * c - d
        rate = bottom / top
        fy = ff = 0.0
        for i in range(n):
            f = math.exp(-rate * (first + i * step))
            fy += f * y[i]
            ff += f * f
        s0 = fy / ff
        if not (math.isfinite(rate) and math.isfinite(s0)):
            reason[v] = _NOT_PHYSICAL
            continue
        rest = spread = 0.0
        for i in range(n):
            rest += (y[i] - s0 * math.exp(-rate * (first + i * step))) ** 2
            slope = (of_bottom[i] - rate * of_top[i]) / top
            spread += slope * slope
        values[0, v], values[1, v], rss[v] = rate, s0, rest
        noise = rest / (n - 2)
        errors[0, v] = math.sqrt(noise * spread)
        # The amplitude's error at a known rate, and what the rate's error adds.
        lever = 0.0
        for i in range(n):
            at = first + i * step
            f = math.exp(-rate * at)
            lever += at * f * f
        errors[1, v] = math.sqrt(noise / ff + (s0 * lever / ff) ** 2 * noise * spread)
