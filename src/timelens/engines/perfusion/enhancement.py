"""What a curve of enhancement shows without a model: arrival, peak, area, slopes and type of curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from timelens.errors import DataError

__all__ = ["CURVE_TYPES", "Enhancement", "bolus_arrival", "describe_enhancement"]

Floats = NDArray[np.float64]

#: Names of the curve types by code; 0 where there is none.
CURVE_TYPES = {1: "persistent", 2: "plateau", 3: "wash-out"}
#: A late signal within this part of that at the peak of the early phase is a plateau (Kuhl CK et al., Radiology
#: 1999;211:101, doi:10.1148/radiology.211.1.r99ap38101).
PLATEAU = 0.10
#: The early phase ends this many seconds after arrival (the first two minutes of breast imaging).
EARLY_S = 120.0


@dataclass(frozen=True, eq=False)
class Enhancement:
    """Maps of the shape of a frame; NaN (code 0) where the curve is not finite or never rises.

    ``arrival`` s; ``peak`` and ``iauc`` in the unit of the curve and that times s; ``time_to_peak`` s from arrival;
    ``wash_in`` and ``wash_out`` unit per s (wash-out is negative where the curve falls); ``curve_type`` of
    :data:`CURVE_TYPES`.
    """

    arrival: Floats
    peak: Floats
    time_to_peak: Floats
    iauc: Floats
    wash_in: Floats
    wash_out: Floats
    curve_type: NDArray[np.int8]


def bolus_arrival(times: ArrayLike, curves: ArrayLike) -> Floats:
    """When curves (frames, ...) leave their baseline, s; NaN where there is no rise.

    A constant, then a parabola from the arrival on, is fitted up to half the peak for every frame that the arrival may
    be (linear-quadratic method of Cheong LH et al., Phys Med Biol 2003;48:N83, doi:10.1088/0031-9155/48/5/403, who go
    on to the peak; half of it also serves curves that rise to the end).
    """
    t, y, shape = _check(times, curves)
    return np.asarray(_arrivals(t, y)).reshape(shape)


def describe_enhancement(
    times: ArrayLike,
    curves: ArrayLike,
    *,
    window: float = 60.0,
    early: float = EARLY_S,
    arrival: ArrayLike | None = None,
) -> Enhancement:
    """Model-free parameters of curves (frames, ...).

    Parameters
    ----------
    times
        s, ascending.
    curves
        Enhancement or concentration, baseline zero.
    window
        s after arrival over which the area is taken (60 s, or 90 s as many trials use).
    early
        s after arrival in which the early peak is looked for; later frames decide the type of curve.
    arrival
        s, one number or a map; found by :func:`bolus_arrival` if not given.
    """
    t, y, shape = _check(times, curves)
    start = _arrivals(t, y) if arrival is None else np.broadcast_to(np.asarray(arrival, float), shape).reshape(-1)
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(y).all(axis=0) & np.isfinite(start) & (y.max(axis=0) > 0)
    z, start = np.where(usable, y, 0.0), np.where(usable, start, 0.0)
    at = np.argmax(z, axis=0)
    number = np.arange(z.shape[1])
    peak, to_peak = z[at, number], t[at] - start
    area = _area(t, z, start, np.minimum(start + window, t[-1]))
    first = np.where(t[:, None] <= start + early, z, -np.inf)
    early_at = np.argmax(first, axis=0)
    early_peak, early_time = z[early_at, number], t[early_at]
    with np.errstate(all="ignore"):
        wash_in = early_peak / (early_time - start)
        wash_out = (z[-1] - early_peak) / (t[-1] - early_time)
        change = z[-1] / early_peak - 1
    wash_in[early_time <= start], wash_out[early_time >= t[-1]] = np.nan, np.nan
    kind = np.select([change > PLATEAU, change < -PLATEAU], [1, 3], 2).astype(np.int8)
    kind[~usable | ~np.isfinite(wash_out) | ~(early_peak > 0)] = 0

    def as_map(flat: Floats) -> Floats:
        return np.where(usable, flat, np.nan).reshape(shape)

    return Enhancement(
        as_map(start), as_map(peak), as_map(to_peak), as_map(area), as_map(wash_in), as_map(wash_out),
        kind.reshape(shape),
    )  # fmt: skip


def _check(times: ArrayLike, curves: ArrayLike) -> tuple[Floats, Floats, tuple[int, ...]]:
    t, y = np.asarray(times, dtype=np.float64), np.asarray(curves, dtype=np.float64)
    if t.ndim != 1 or t.size < 4 or not np.isfinite(t).all() or (np.diff(t) <= 0).any():
        raise DataError("A curve needs at least four ascending times", field="times", found=t.tolist()[:6])
    if y.shape[:1] != t.shape:
        raise DataError(
            "Curves need one value per time along the first axis",
            field="curves",
            found=f"shape {y.shape}",
            expected=f"({t.size}, ...)",
        )
    return t, np.ascontiguousarray(y.reshape(t.size, -1)), y.shape[1:]


def _area(t: Floats, y: Floats, start: Floats, stop: Floats) -> Floats:
    """Integral of the piecewise-linear curves between two times of their own."""
    total = np.concatenate([np.zeros((1, y.shape[1])), np.cumsum(0.5 * (y[1:] + y[:-1]) * np.diff(t)[:, None], axis=0)])

    def until(moment: Floats) -> Floats:
        at = np.clip(np.searchsorted(t, moment, side="right") - 1, 0, t.size - 2)
        number = np.arange(y.shape[1])
        part = np.clip(moment - t[at], 0.0, t[at + 1] - t[at])
        slope = (y[at + 1, number] - y[at, number]) / (t[at + 1] - t[at])
        return np.asarray(total[at, number] + part * (y[at, number] + 0.5 * slope * part))

    return until(stop) - until(start)


@njit(cache=True, nogil=True, error_model="numpy")
def _arrivals(t: Floats, y: Floats) -> Floats:  # pragma: no cover - compiled
    out = np.full(y.shape[1], np.nan)
    for v in range(y.shape[1]):
        top, finite = 0, True
        for f in range(t.size):
            finite = finite and np.isfinite(y[f, v])
            if y[f, v] > y[top, v]:
                top = f
        if not finite or top < 2 or not y[top, v] > 0.0:
            continue
        half = 0.5 * y[top, v]
        while top > 2 and y[top - 1, v] >= half:
            top -= 1
        best = np.inf
        for k in range(top - 1):
            # Baseline b, then b + p x + q x^2 with x from the arrival; sums of the 3 x 3 normal equations.
            n = float(top + 1)
            s1 = s2 = s3 = s4 = y0 = y1 = y2 = yy = 0.0
            for f in range(top + 1):
                x = max(t[f] - t[k], 0.0)
                value = y[f, v]
                s1 += x
                s2 += x * x
                s3 += x * x * x
                s4 += x * x * x * x
                y0 += value
                y1 += x * value
                y2 += x * x * value
                yy += value * value
            a11, a12, a22 = s2 - s1 * s1 / n, s3 - s1 * s2 / n, s4 - s2 * s2 / n
            b1, b2 = y1 - s1 * y0 / n, y2 - s2 * y0 / n
            determinant = a11 * a22 - a12 * a12
            if determinant <= 1e-12 * a11 * a22:
                p, q = b1 / a11, 0.0
            else:
                p, q = (a22 * b1 - a12 * b2) / determinant, (a11 * b2 - a12 * b1) / determinant
            if p < 0.0:
                # A bolus does not dip first.
                p, q = 0.0, b2 / a22
            rest = yy - y0 * y0 / n - 2.0 * (p * b1 + q * b2) + p * p * a11 + 2.0 * p * q * a12 + q * q * a22
            if rest < best * (1.0 - 1e-9):
                best = rest
                out[v] = t[k]
    return out
