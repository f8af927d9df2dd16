"""From sampled blood to the tissue's input: dispersion in tubing and body, and the delay to the tissue.

Iida H et al., J Cereb Blood Flow Metab 1986;6:536, doi:10.1038/jcbfm.1986.99: the sampler sees the true curve convolved
with exp(-t / tau) / tau, so the true curve is g + tau dg/dt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.convolve import convolve_exponential
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.inputs import InputFunction
from timelens.engines.kinetics.model import SeparableModel
from timelens.errors import DataError, UsageError

__all__ = ["DelayFit", "correct_dispersion", "disperse", "fit_delay"]

Floats = NDArray[np.float64]


def disperse(curve: InputFunction, tau: float) -> InputFunction:
    """The curve as a sampler with dispersion time ``tau`` (s) sees it, at the same times; exact."""
    _check(tau)
    if tau == 0:
        return curve
    keep = np.concatenate([[True], np.diff(curve.times) > 0])
    at = Frames.instants(curve.times[keep])
    return replace(
        curve, times=curve.times[keep], values=convolve_exponential(curve.times, curve.values, 1.0 / tau, at) / tau
    )


def correct_dispersion(curve: InputFunction, tau: float, *, smooth: float = 0.0) -> InputFunction:
    """Undo dispersion: the curve plus ``tau`` times its slope.

    Parameters
    ----------
    curve
        As sampled, at intervals well under ``tau`` around the peak.
    tau
        Dispersion time constant, s.
    smooth
        Width (standard deviation, s) of the Gaussian with which the curve is smoothed before its slope is taken; the
        slope amplifies noise. 0: none.
    """
    _check(tau)
    keep = np.concatenate([[True], np.diff(curve.times) > 0])
    t, y = curve.times[keep], curve.values[keep]
    if t.size < 3:
        raise DataError("Dispersion correction needs at least three samples", field="curve", found=f"{t.size}")
    if smooth > 0:
        reach = np.exp(-0.5 * ((t[:, None] - t[None, :]) / smooth) ** 2) * np.gradient(t)
        slope = np.gradient(reach @ y / reach.sum(axis=1), t)
    else:
        slope = np.gradient(y, t)
    return replace(curve, times=t, values=np.maximum(y + tau * slope, 0.0))


@dataclass(frozen=True, eq=False)
class DelayFit:
    """Delay in s with its standard error, whether it lies on the edge of the search, and the criterion searched."""

    delay: float
    standard_error: float
    at_bound: bool
    delays: Floats
    weighted_rss: Floats


def fit_delay(
    make_model: Callable[[float], SeparableModel],
    curve: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bounds: tuple[float, float] = (-30.0, 60.0),
    step: float = 2.0,
) -> DelayFit:
    """The input's delay to a tissue: the one for which the model fits best.

    Use a curve rich in blood or the whole organ, with the blood volume fitted, and fix the delay afterwards. The
    weighted residual sum is searched on a grid, then by parabolas around its minimum.

    Parameters
    ----------
    make_model
        Model for a delay in s, such as ``lambda d: TwoTissue(frames, plasma.shifted(d), blood.shifted(d))``.
    curve, weights
        (frames,), as for the model's ``fit``.
    bounds, step
        Search range and grid, s.
    """
    low, high = bounds
    if not (low < high and step > 0):
        raise UsageError("The delay's bounds must ascend", field="bounds", found=bounds)
    seen: dict[float, float] = {}

    def cost(delay: float) -> float:
        if delay not in seen:
            seen[delay] = float(make_model(delay).fit(curve, weights).weighted_rss)
        return seen[delay]

    grid = np.linspace(low, high, max(round((high - low) / step), 2) + 1)
    costs = np.array([cost(float(d)) for d in grid])
    if not np.isfinite(costs).any():
        raise DataError("No delay gives a fit", field="curve", found="NaN for every delay")
    best = int(np.nanargmin(costs))
    at_bound = best in (0, grid.size - 1)
    delay, width = float(grid[best]), float(grid[1] - grid[0])
    for _ in range(0 if at_bound else 4):
        left, middle, right = cost(delay - width), cost(delay), cost(delay + width)
        bend = left - 2 * middle + right
        if bend > 0:
            delay += float(np.clip(0.5 * (left - right) / bend, -1, 1)) * width
        width *= 0.4
    delay = min(seen, key=lambda d: seen[d])
    width = 0.5 * step
    error = float("nan")
    if not at_bound:
        bend = (cost(delay - width) - 2 * cost(delay) + cost(delay + width)) / width**2
        model = make_model(delay)
        spare = len(model.frames) if weights is None else int((np.asarray(weights) > 0).sum())
        degrees = max(spare - model.free_parameters - 1, 1)
        error = float(np.sqrt(2 * cost(delay) / degrees / bend)) if bend > 0 else float("nan")
    order = sorted(seen)
    return DelayFit(delay, error, at_bound, np.array(order), np.array([seen[d] for d in order]))


def _check(tau: float) -> None:
    if not (np.isfinite(tau) and tau >= 0):
        raise UsageError("A dispersion time is not negative", field="tau", found=tau, expected="seconds")
