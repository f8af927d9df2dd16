"""The compiled part of T1 from flip angles: a block of voxels at a time, voxels along the fast axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from timelens.engines.kinetics.reasons import Reason

__all__ = ["LINEAR", "NOVIFAST", "SEARCHED", "solve"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

_NON_FINITE = int(Reason.NON_FINITE)
_NO_SIGNAL = int(Reason.NO_SIGNAL)
_NOT_PHYSICAL = int(Reason.NOT_PHYSICAL)
_NOT_CONVERGED = int(Reason.NOT_CONVERGED)
_BLOCK = 256
_FAST = {"contract", "reassoc", "nsz", "arcp"}

#: Codes of the methods.
LINEAR, NOVIFAST, SEARCHED = 0, 1, 2
#: Steps after which an iteration counts as not converged, and the change of E, relative to 1 - E, at which it has.
_STEPS = 60
_SETTLED = 1e-9
#: T1 values of the search, evenly spaced in the logarithm, and golden-section steps between two of them.
_GRID = 24
_GOLDEN = 24


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _line(
    y: Floats, sine: Floats, cosine: Floats, n: int, e: Floats, level: Floats, work: Floats
) -> None:  # pragma: no cover - compiled
    """Slope ``e`` and intercept ``level`` of S/sin against S/tan; the mean and spread of S/tan stay in ``work``."""
    mx, my, sxx, sxy = work[0], work[1], work[2], work[3]
    work[:4, :n] = 0.0
    part = 1.0 / y.shape[0]
    for i in range(y.shape[0]):
        for v in range(n):
            over = part * y[i, v] / sine[i, v]
            mx[v] += over * cosine[i, v]
            my[v] += over
    for i in range(y.shape[0]):
        for v in range(n):
            over = y[i, v] / sine[i, v]
            dx = over * cosine[i, v] - mx[v]
            sxx[v] += dx * dx
            sxy[v] += dx * (over - my[v])
    for v in range(n):
        e[v] = sxy[v] / sxx[v]
        level[v] = my[v] - e[v] * mx[v]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _frozen(
    y: Floats, sine: Floats, cosine: Floats, n: int, e: Floats, work: Floats
) -> int:  # pragma: no cover - compiled
    """Solve the normal equations of least squares on the signal for ``e`` from its start; voxels that have not settled.

    With ``d = 1 / (1 - E cos)`` frozen, they are linear in E and the amplitude c: the sums over ``y - E y cos - c sin``
    times ``sin d^2``, and times ``sin cos d^3``, vanish.
    """
    aa, bb, p, q, r, s = work[0], work[1], work[2], work[3], work[4], work[5]
    left = n
    for _ in range(_STEPS):
        work[:6, :n] = 0.0
        for i in range(y.shape[0]):
            for v in range(n):
                d = 1.0 / (1.0 - e[v] * cosine[i, v])
                g = sine[i, v] * d * d
                h = g * cosine[i, v] * d
                seen = y[i, v]
                turned = seen * cosine[i, v]
                aa[v] += sine[i, v] * g
                bb[v] += sine[i, v] * h
                p[v] += seen * g
                q[v] += seen * h
                r[v] += turned * g
                s[v] += turned * h
        left = 0
        for v in range(n):
            new = (aa[v] * q[v] - bb[v] * p[v]) / (aa[v] * s[v] - bb[v] * r[v])
            left += abs(new - e[v]) > _SETTLED * abs(1.0 - new)
            e[v] = new
        if left == 0:
            break
    return left


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _explained(
    y: Floats, sine: Floats, cosine: Floats, n: int, e: Floats, out: Floats, work: Floats
) -> None:  # pragma: no cover - compiled
    """What each E explains of the signal, as the drop of the residual sum; -1 where the amplitude is negative."""
    fy, ff = work[0], work[1]
    work[:2, :n] = 0.0
    for i in range(y.shape[0]):
        for v in range(n):
            f = sine[i, v] / (1.0 - e[v] * cosine[i, v])
            fy[v] += f * y[i, v]
            ff[v] += f * f
    for v in range(n):
        out[v] = fy[v] * fy[v] / ff[v] if fy[v] > 0.0 else -1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _search(
    y: Floats, sine: Floats, cosine: Floats, n: int, tr: float, low: float, high: float, e: Floats, work: Floats
) -> None:  # pragma: no cover - compiled
    """The best E of a grid over T1, then by golden section; NaN where the best lies on the edge."""
    step = math.log(high / low) / (_GRID - 1)
    best, at = np.full(n, -1.0), np.zeros(n)
    trial, value = np.empty(n), np.empty(n)
    for j in range(_GRID):
        trial[:] = math.exp(-tr / (low * math.exp(j * step)))
        _explained(y, sine, cosine, n, trial, value, work)
        for v in range(n):
            if value[v] > best[v]:
                best[v], at[v] = value[v], j
    ratio = 0.6180339887498949
    a, b = np.log(low) + (at - 1) * step, np.log(low) + (at + 1) * step
    c, d = b - ratio * (b - a), a + ratio * (b - a)
    fc, fd = np.empty(n), np.empty(n)
    for _ in range(_GOLDEN):
        _explained(y, sine, cosine, n, np.exp(-tr * np.exp(-c)), fc, work)
        _explained(y, sine, cosine, n, np.exp(-tr * np.exp(-d)), fd, work)
        for v in range(n):
            if fc[v] > fd[v]:
                b[v] = d[v]
            else:
                a[v] = c[v]
            c[v], d[v] = b[v] - ratio * (b[v] - a[v]), a[v] + ratio * (b[v] - a[v])
    for v in range(n):
        edge = at[v] == 0 or at[v] == _GRID - 1
        e[v] = math.nan if edge else math.exp(-tr * math.exp(-0.5 * (a[v] + b[v])))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _line_errors(
    y: Floats, sine: Floats, cosine: Floats, n: int, e: Floats, level: Floats, rss: Floats, spread: Floats, work: Floats
) -> None:  # pragma: no cover - compiled
    """Residual sums, and the summed squared derivatives of E and M0 by each signal, of the line."""
    mx, my, sxx = work[0], work[1], work[2]
    of_e, of_m0 = spread[0], spread[1]
    spread[:, :n] = 0.0
    rss[:n] = 0.0
    part = 1.0 / y.shape[0]
    for i in range(y.shape[0]):
        for v in range(n):
            a = 1.0 / sine[i, v]
            b = cosine[i, v] * a
            rest = y[i, v] - level[v] * sine[i, v] / (1.0 - e[v] * cosine[i, v])
            dx, dy = b * y[i, v] - mx[v], a * y[i, v] - my[v]
            d_slope = (a * dx + b * (dy - 2.0 * e[v] * dx)) / sxx[v]
            d_level = part * (a - e[v] * b) - d_slope * mx[v]
            over = 1.0 / (1.0 - e[v])
            d_m0 = (d_level + level[v] * over * d_slope) * over
            rss[v] += rest * rest
            of_e[v] += d_slope * d_slope
            of_m0[v] += d_m0 * d_m0


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _signal_errors(
    y: Floats, sine: Floats, cosine: Floats, n: int, e: Floats, level: Floats, rss: Floats, spread: Floats, work: Floats
) -> None:  # pragma: no cover - compiled
    """Amplitudes and residual sums of least squares on the signal, and the variances of E and M0 per unit noise."""
    ff, fg, gg, fy = work[0], work[1], work[2], work[3]
    work[:4, :n] = 0.0
    rss[:n] = 0.0
    for i in range(y.shape[0]):
        for v in range(n):
            d = 1.0 / (1.0 - e[v] * cosine[i, v])
            f = sine[i, v] * d
            g = f * cosine[i, v] * d
            ff[v] += f * f
            fg[v] += f * g
            gg[v] += g * g
            fy[v] += f * y[i, v]
    for v in range(n):
        level[v] = fy[v] / ff[v]
    for i in range(y.shape[0]):
        for v in range(n):
            rest = y[i, v] - level[v] * sine[i, v] / (1.0 - e[v] * cosine[i, v])
            rss[v] += rest * rest
    for v in range(n):
        # The normal matrix of (c, E) is [[ff, c fg], [c fg, c^2 gg]]; M0 = c / (1 - E).
        c, over = level[v], 1.0 / (1.0 - e[v])
        determinant = ff[v] * gg[v] - fg[v] * fg[v]
        of_e = ff[v] / (determinant * c * c)
        slope = c * over * over
        spread[0, v] = of_e
        spread[1, v] = over * over * gg[v] / determinant - 2.0 * over * slope * fg[v] / (c * determinant)
        spread[1, v] += slope * slope * of_e


@njit(cache=True, nogil=True, error_model="numpy")
def solve(
    data: Array,
    angles: Floats,
    b1: Floats,
    tr: float,
    low: float,
    high: float,
    method: int,
    values: Array,
    errors: Array,
    rss: Array,
    reason: NDArray[np.int32],
) -> None:  # pragma: no cover - compiled
    """T1 and M0 of each column of ``data`` (angles, n); ``b1`` has one entry or n."""
    images, count = data.shape
    y, sine, cosine = np.empty((images, _BLOCK)), np.empty((images, _BLOCK)), np.empty((images, _BLOCK))
    e, level, rest = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    work, spread = np.empty((6, _BLOCK)), np.empty((2, _BLOCK))
    slowest, fastest = math.exp(-tr / low), math.exp(-tr / high)
    degrees = images - 2
    for start in range(0, count, _BLOCK):
        n = min(_BLOCK, count - start)
        for i in range(images):
            y[i, :n] = data[i, start : start + n]
            if b1.size > 1:
                for v in range(n):
                    sine[i, v] = math.sin(b1[start + v] * angles[i])
                    cosine[i, v] = math.cos(b1[start + v] * angles[i])
            elif start == 0:
                sine[i, :], cosine[i, :] = math.sin(b1[0] * angles[i]), math.cos(b1[0] * angles[i])
        if method == SEARCHED:
            _search(y, sine, cosine, n, tr, low, high, e, work)
        else:
            _line(y, sine, cosine, n, e, level, work)
        if method == LINEAR:
            _line_errors(y, sine, cosine, n, e, level, rest, spread, work)
        else:
            for v in range(n):
                if method == NOVIFAST and not (slowest <= e[v] <= fastest):
                    e[v] = math.exp(-tr)  # a T1 of 1 s
            _frozen(y, sine, cosine, n, e, work)
            _signal_errors(y, sine, cosine, n, e, level, rest, spread, work)
        for v in range(n):
            at = start + v
            if slowest <= e[v] <= fastest and level[v] > 0.0 and math.isfinite(rest[v]):
                logarithm = math.log(e[v])
                values[0, at], values[1, at], rss[at] = -tr / logarithm, level[v] / (1.0 - e[v]), rest[v]
                if degrees > 0:
                    noise = rest[v] / degrees
                    errors[0, at] = tr / (e[v] * logarithm * logarithm) * math.sqrt(noise * spread[0, v])
                    errors[1, at] = math.sqrt(max(noise * spread[1, v], 0.0))
                continue
            total, largest = 0.0, 0.0
            for i in range(images):
                total += y[i, v]
                largest = max(largest, abs(y[i, v]))
            finite = math.isfinite(total)
            reason[at] = _NOT_PHYSICAL if largest > 0.0 else _NO_SIGNAL
            if not finite:
                reason[at] = _NON_FINITE
