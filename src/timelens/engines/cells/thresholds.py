"""Where a marker turns from negative to positive: the two halves of its distribution, found as a mixture.

The values of a marker over cells, on a logarithmic scale (:func:`~timelens.engines.cells.transform.arcsinh`), are taken
as a mixture of two normal laws, found by expectation and maximisation from quantile starts. The threshold is where both
are equally likely. Whether there are two at all is asked of the Bayesian information criterion and of their separation;
where the data do not say so, there is no threshold, and a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr

from timelens.errors import UsageError

__all__ = ["Reason", "Split", "explain", "split", "split_at"]

FloatArray = NDArray[np.float64]

#: Least distance of the two means, in units of the root of the mean of their variances (Ashman 1994: 2 is a clean cut).
SEPARATION = 2.0
#: From this separation on no valley is asked for; one even or exponential spread does not reach it.
CLEAR = 3.0
#: Most cells about the threshold, as a part of those about the means.
DEPTH = 0.8
#: A group of this many cells or more, and of no more than this part of all, is rare; on the logarithmic scale it stands
#: apart by this much, a stretch that holds no more than this part of as many cells as lie beyond it.
RARE_FROM, RARE_TO, GAP, IN_GAP = 10, 0.03, 0.5, 0.1
#: A valley is a stretch of this width on the logarithmic scale with less than half of the cells of one beyond it, and
#: so few that even chances for both would give them less often than this.
WINDOW, ACCIDENT = 0.4, 0.01
#: A valley is taken before a mixture whose groups it sets apart by this much more.
WIDER = 1.25
_FEWEST = 30
#: Separation of the groups about a stated threshold.
_STATED = 5.0
_STARTS = (0.5, 0.7, 0.9, 0.97)


class Reason(IntFlag):
    """Why a marker has no threshold."""

    TOO_FEW_CELLS = 1
    CONSTANT = 2
    ONE_GROUP = 4


_TEXT = {
    Reason.TOO_FEW_CELLS: f"fewer than {_FEWEST} cells with a value",
    Reason.CONSTANT: "all cells have the same value",
    Reason.ONE_GROUP: "the values do not fall into a negative and a positive group",
}


def explain(reason: int) -> str:
    """The flags as text, ``""`` where none is set."""
    return "; ".join(text for flag, text in _TEXT.items() if int(reason) & flag)


@dataclass(frozen=True)
class Split:
    """A marker's negative and positive group.

    Parameters
    ----------
    threshold
        Where both groups are equally likely; NaN where ``reason`` says why.
    mean, deviation, weight
        Of the negative and of the positive group, shape (2,).
    separation
        Distance of the means over the root of the mean variance.
    reason
        :class:`Reason`.
    """

    threshold: float
    mean: FloatArray
    deviation: FloatArray
    weight: FloatArray
    separation: float
    reason: Reason

    def log_densities(self, values: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Logarithm of the density of the negative and the positive group, without their weights.

        Beyond the means, where the wider law would win in the end, their ratio stays what it is at the mean: a very
        bright cell is positive, a very dim one negative.
        """
        x = np.asarray(values, np.float64)
        low, high = self._both(x)
        (low_at_low, high_at_low), (low_at_high, high_at_high) = self._both(self.mean[0]), self._both(self.mean[1])
        high = np.where(x < self.mean[0], low + high_at_low - low_at_low, high)
        low = np.where(x > self.mean[1], high + low_at_high - high_at_high, low)
        return low, high

    def _both(self, x: ArrayLike) -> tuple[FloatArray, FloatArray]:
        return _log_normal(x, self.mean[0], self.deviation[0]), _log_normal(x, self.mean[1], self.deviation[1])

    def positive(self, values: ArrayLike) -> FloatArray:
        """Chance that a cell is positive; NaN where there is no threshold."""
        if self.reason:
            return np.full(np.shape(values), np.nan)
        low, high = self.log_densities(values)
        odds = np.clip(low - high + np.log(self.weight[0] / self.weight[1]), -700, 700)
        return np.asarray(1 / (1 + np.exp(odds)))


def _log_normal(x: ArrayLike, mean: float, deviation: float) -> FloatArray:
    return np.asarray(-0.5 * ((np.asarray(x) - mean) / deviation) ** 2 - np.log(deviation * np.sqrt(2 * np.pi)))


def split(values: ArrayLike) -> Split:
    """Part the values of one marker into a negative and a positive group.

    Parameters
    ----------
    values
        One per cell, on a logarithmic scale; what is not finite is left out.
    """
    data = np.asarray(values, np.float64).ravel()
    data = data[np.isfinite(data)]
    nothing = np.full(2, np.nan)
    if len(data) < _FEWEST:
        return Split(np.nan, nothing, nothing, nothing, np.nan, Reason.TOO_FEW_CELLS)
    spread = float(data.std())
    if spread < 1e-9 * max(1.0, abs(float(data.mean()))):
        return Split(np.nan, nothing, nothing, nothing, np.nan, Reason.CONSTANT)
    fits = [_settle(data, float(np.quantile(data, q)), 0.02 * spread) for q in _STARTS]
    likelihood, mean, deviation, weight = max(fits, key=lambda f: f[0])
    one = -0.5 * len(data) * (np.log(2 * np.pi * spread**2) + 1)
    separation = float((mean[1] - mean[0]) / np.sqrt((deviation**2).mean()))
    # Three more parameters than one normal law.
    better = 2 * (likelihood - one) > 3 * np.log(len(data))
    threshold = _crossing(mean, deviation, weight)
    if not better or separation < SEPARATION or not _valley(data, threshold, mean, separation):
        if (apart := _rare(data) or _dip(data)) is not None:
            return apart
        return Split(np.nan, mean, deviation, weight, separation, Reason.ONE_GROUP)
    # A positive law that has drawn the tail of the negative cells to itself is wider than the cells beyond the valley.
    deeper = _dip(data)
    if deeper is not None and deeper.separation > WIDER * separation:
        return deeper
    return Split(threshold, mean, deviation, weight, separation, Reason(0))


def split_at(values: ArrayLike, threshold: float) -> Split:
    """The groups below and above a threshold that is stated, whether or not there are any cells above it.

    Their laws are symmetric about the threshold, a group's width following from how far the cells below lie from it, so
    that a cell counts as positive from the threshold on.

    Parameters
    ----------
    values
        One per cell, on the scale of the threshold; what is not finite is left out.
    threshold
        Finite.
    """
    if not np.isfinite(threshold):
        raise UsageError("A threshold is finite", field="threshold", found=threshold)
    data = np.asarray(values, np.float64).ravel()
    data = data[np.isfinite(data)]
    below = data[data < threshold]
    away = max(float(threshold - np.median(below)) if len(below) else 1.0, 1e-3)
    above = float((data >= threshold).mean()) if len(data) else 0.5
    part = min(max(above, 1e-3), 1 - 1e-3)
    deviation = np.full(2, 2 * away / _STATED)
    return Split(float(threshold), np.array([threshold - away, threshold + away]), deviation,
                 np.array([1 - part, part]), _STATED, Reason(0))  # fmt: skip


def _rare(data: FloatArray) -> Split | None:
    """Few positive cells beyond an almost empty stretch, which a mixture of two normal laws loses to their tails."""
    values = np.sort(data)
    base, top = float(np.median(values)), float(values[-1])
    width = max(GAP, 0.2 * (top - base))
    cuts = np.linspace(base + width / 2, top - width / 2, 200) if top - base > width else np.empty(0)
    low, high = (np.searchsorted(values, cuts + side * width / 2) for side in (-1, 1))
    above = len(values) - high
    fits = (above >= RARE_FROM) & (above <= RARE_TO * len(values)) & (high - low <= IN_GAP * above)
    if not fits.any():
        return None
    inside = np.where(fits, (high - low) / np.maximum(above, 1), np.inf)
    best = np.flatnonzero(inside == inside.min())
    return _parted(values, float(cuts[best[len(best) // 2]]))


def _dip(data: FloatArray) -> Split | None:
    """Positive cells with a mode of their own beyond a valley that is no accident.

    Negative cells of strongly skewed spread (spillover, what neighbours lend) draw the wider of two normal laws to
    themselves, so that a mixture sees no second group where there plainly is one.
    """
    values = np.sort(data)
    base, top = float(np.median(values)), float(values[-1])
    cuts = np.linspace(base, top, 400) if top - base > 2 * WINDOW else np.empty(0)
    if not len(cuts):
        return None
    low, high = (np.searchsorted(values, cuts + side * WINDOW / 2) for side in (-1, 1))
    inside = high - low
    beyond = np.maximum.accumulate(inside[::-1])[::-1]
    above = len(values) - np.searchsorted(values, cuts)
    chance = bdtr(inside, inside + beyond, 0.5)
    fits = (above >= RARE_FROM) & (2 * inside < beyond) & (chance < ACCIDENT)
    if not fits.any():
        return None
    depth = np.where(fits, inside / np.maximum(beyond, 1), np.inf)
    best = np.flatnonzero(depth == depth.min())
    return _parted(values, float(cuts[best[len(best) // 2]]))


def _parted(values: FloatArray, threshold: float) -> Split | None:
    """The groups on both sides of a threshold, if they are clearly apart."""
    groups = values[values < threshold], values[values >= threshold]
    mean = np.array([g.mean() for g in groups])
    deviation = np.maximum([g.std() for g in groups], 0.02 * values.std())
    weight = np.array([len(g) for g in groups]) / len(values)
    separation = float((mean[1] - mean[0]) / np.sqrt((deviation**2).mean()))
    return Split(threshold, mean, deviation, weight, separation, Reason(0)) if separation >= CLEAR else None


def _valley(data: FloatArray, threshold: float, mean: FloatArray, separation: float) -> bool:
    """Whether fewer cells lie about the threshold than about the means: two laws fit one skewed or even spread, too.

    Few positive cells make no valley beside many negative ones; clearly separate, they need none.
    """
    half = 0.1 * (mean[1] - mean[0])
    at, *about = [int((np.abs(data - centre) <= half).sum()) for centre in (threshold, *mean)]
    return at < DEPTH * (max(about) if separation >= CLEAR else min(about))


def _settle(data: FloatArray, cut: float, least: float) -> tuple[float, FloatArray, FloatArray, FloatArray]:
    """Expectation and maximisation from a first cut; no group becomes narrower than a least deviation."""
    chance = (data > cut).astype(np.float64)
    if not 0 < chance.sum() < len(data):
        chance = (data >= data.max()).astype(np.float64)
    before = -np.inf
    for _ in range(500):
        parts = np.stack([1 - chance, chance])
        total = np.maximum(parts.sum(axis=1), 1e-9)
        weight = total / len(data)
        mean = parts @ data / total
        deviation = np.maximum(np.sqrt((parts * (data - mean[:, None]) ** 2).sum(axis=1) / total), least)
        logs = np.log(weight)[:, None] - 0.5 * ((data - mean[:, None]) / deviation[:, None]) ** 2
        logs -= np.log(deviation * np.sqrt(2 * np.pi))[:, None]
        both = np.logaddexp(*logs)
        chance = np.exp(logs[1] - both)
        likelihood = float(both.sum())
        if likelihood - before < 1e-8 * len(data):
            break
        before = likelihood
    order = np.argsort(mean, kind="stable")
    return likelihood, mean[order], deviation[order], weight[order]


def _crossing(mean: FloatArray, deviation: FloatArray, weight: FloatArray) -> float:
    """Where the weighted densities meet between the means; the middle if they do not."""
    grid = np.linspace(mean[0], mean[1], 2001)
    logs = (
        np.log(weight)[:, None] - np.log(deviation)[:, None] - 0.5 * ((grid - mean[:, None]) / deviation[:, None]) ** 2
    )
    above = np.flatnonzero(logs[1] >= logs[0])
    return float(grid[above[0]]) if len(above) and above[0] > 0 else float(mean.mean())


def check_table(values: ArrayLike, markers: tuple[str, ...]) -> FloatArray:
    """Values (cells, markers) with one column per marker.

    Raises
    ------
    UsageError
        If they do not fit, or a marker comes twice.
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or table.shape[1] != len(markers) or len(set(markers)) != len(markers):
        raise UsageError("Each marker has one column", field="values", found=table.shape,
                         expected=f"(cells, {len(markers)}) for {', '.join(markers)}")  # fmt: skip
    return table
