"""The input's delay as a parameter of the fit, per region or per voxel, with what it adds to all errors.

The arterial curve is sampled at the wrist and reaches each tissue at another time. For every delay the model is fitted
as usual, and the delay with the least weighted residual sum is taken. Near it that sum is a parabola, ``RSS(d) = RSS +
B (d - d0)^2``, which gives the delay's variance s^2 / B; every other parameter ``p`` varies by (dp/dd)^2 times that
beyond what its own fit at a fixed delay says (Bates DM, Watts DG, Nonlinear Regression Analysis, 1988, section 6.1).
Best on curves with fast early frames and a fitted blood volume; fix one delay for a whole scan with :func:`fit_delay`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from timelens.engines.kinetics.fit import Fit, stack
from timelens.engines.kinetics.model import SeparableModel, as_mask, check_data, check_shape, check_weights
from timelens.engines.kinetics.reasons import FATAL, Reason
from timelens.engines.kinetics.source import SlabSource, as_source
from timelens.errors import UsageError

__all__ = ["WithDelay"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: Maps place the other parameters at the best delay rounded to this, s.
FINE = 0.25
_CHUNK = 2048


class WithDelay:
    """A compartment model whose input arrives ``delay`` s later than sampled (earlier where negative).

    Parameters
    ----------
    make_model
        Model for a delay in s, such as ``lambda d: TwoTissue(frames, plasma.shifted(d), blood.shifted(d))``.
    bounds, step
        Range and grid of the search, s; the step is best about a third of the shortest frames' length.
    """

    def __init__(
        self,
        make_model: Callable[[float], SeparableModel],
        *,
        bounds: tuple[float, float] = (-10.0, 30.0),
        step: float = 2.0,
    ) -> None:
        low, high = bounds
        if not (low < high and step > 0 and np.isfinite([low, high, step]).all()):
            raise UsageError("The delay's bounds must ascend", field="bounds", found=bounds, expected="low < high, s")
        self._make, self._known = make_model, dict[float, SeparableModel]()
        self.grid = np.linspace(low, high, max(math.ceil((high - low) / step), 3) + 1)
        self.frames = self.model(float(self.grid[0])).frames

    def model(self, delay: float) -> SeparableModel:
        """The model at a delay, made once for those of the grid."""
        key = round(delay / FINE, 6)
        if key != round(key):
            return self._make(delay)
        if key not in self._known:
            self._known[key] = self._make(delay)
        return self._known[key]

    @property
    def free_parameters(self) -> int:
        """Those of the model and the delay."""
        return self.model(float(self.grid[0])).free_parameters + 1

    def fit(self, data: ArrayLike, weights: ArrayLike | None = None) -> Fit:
        """Fit one or more regions; parameters are the model's and ``delay`` (s). Intervals are Wald's."""
        curves, shape = check_data(data, len(self.frames))
        weight = np.broadcast_to(check_weights(weights, shape, len(self.frames)), curves.shape)
        fits = [self._region(curves[:, i], weight[:, i]) for i in range(curves.shape[1])]
        return stack(fits, shape)

    def _region(self, curve: Floats, weight: Floats) -> Fit:
        used = int((weight > 0).sum())
        costs = np.array([float(self.model(float(d)).fit(curve, weight).weighted_rss) for d in self.grid])
        if not np.isfinite(costs).any() or used <= self.free_parameters:
            found = self.model(float(self.grid[0])).fit(curve, weight)
            reason = found.reason | (0 if int(found.reason) & int(FATAL) else int(Reason.TOO_FEW_FRAMES))
            return self._complete(found, float("nan"), float("nan"), None, 0.0, reason)
        best = int(np.nanargmin(costs))
        delay, at_bound = float(self.grid[best]), best in (0, self.grid.size - 1)
        if not at_bound:

            def cost(d: float) -> float:
                return float(self._make(d).fit(curve, weight).weighted_rss)

            around = (self.grid[best - 1], self.grid[best + 1])
            delay = float(optimize.minimize_scalar(cost, bounds=around, method="bounded", options={"xatol": 1e-5}).x)
        found = self._make(delay).fit(curve, weight)
        if at_bound:
            return self._complete(found, delay, float("nan"), None, 0.0, found.reason | int(Reason.RATE_AT_BOUND))
        width = 0.5 * (self.grid[1] - self.grid[0])
        sides = [self._make(delay + s * width).fit(curve, weight) for s in (-1, 1)]
        bend = float(sides[0].weighted_rss + sides[1].weighted_rss - 2 * found.weighted_rss) / 2 / width**2
        moves = {n: (sides[1].parameters[n] - sides[0].parameters[n]) / (2 * width) for n in found.parameters}
        return self._complete(found, delay, bend, moves, width, found.reason)

    def _complete(
        self,
        found: Fit,
        delay: float,
        bend: float,
        moves: dict[str, Floats] | None,
        width: float,
        reason: NDArray[np.int32] | int,
    ) -> Fit:
        """The fit at a delay with the delay's variance, and what it adds to that of the others."""
        spare = max(found.frames_used - self.free_parameters, 1)
        scale = found.degrees_of_freedom / spare
        errors = {name: error * np.sqrt(scale) for name, error in found.standard_errors.items()}
        covariance, variance = None, float("nan")
        if moves is not None and found.covariance is not None and bend > 0:
            variance = float(found.weighted_rss) / spare / bend
            slope = np.array([*(float(move) for move in moves.values()), 1.0])
            covariance = np.zeros((slope.size, slope.size))
            covariance[:-1, :-1] = found.covariance * scale
            covariance += variance * np.outer(slope, slope)
            with np.errstate(invalid="ignore"):
                errors = dict(zip(moves, np.sqrt(np.diag(covariance)), strict=False))
        return replace(
            found,
            parameters={**found.parameters, "delay": np.asarray(delay)},
            standard_errors={**errors, "delay": np.asarray(np.sqrt(variance))},
            units={**found.units, "delay": "s"},
            free_parameters=self.free_parameters,
            reason=np.asarray(reason, dtype=np.int32),
            covariance=covariance,
            profile=None,
        )

    def map(
        self,
        data: ArrayLike | SlabSource,
        weights: ArrayLike | None = None,
        *,
        mask: ArrayLike | None = None,
        threads: int = 2,
        dtype: type = np.float32,
    ) -> Fit:
        """Maps of the delay and of the model's parameters; costs one fit per delay of the grid and one more.

        The delay is the vertex of the parabola through the three best of the grid; the other parameters are those at
        that delay, rounded to 0.25 s. Voxels whose best delay is an end of the grid are flagged ``RATE_AT_BOUND``.
        """
        source = as_source(data)
        check_shape(source.shape, len(self.frames))
        shape = source.shape[1:]
        count = math.prod(shape)
        weight = check_weights(weights, (-1,), len(self.frames))[:, 0]
        chosen = as_mask(mask, shape)
        first = self.model(float(self.grid[0]))
        names = [*first.reported, "delay"]
        values: dict[str, Array] = {name: np.full(count, np.nan, dtype) for name in names}
        errors: dict[str, Array] = {name: np.full(count, np.nan, dtype) for name in names}
        rss: Array = np.full(count, np.nan, dtype)
        reason = np.full(count, int(Reason.NOT_SELECTED), np.int32)
        for delay in self.grid:
            self.model(float(delay))

        def work(start: int) -> None:
            stop = min(start + _CHUNK, count)
            inside = np.arange(stop - start) if chosen is None else np.flatnonzero(chosen[start:stop])
            if inside.size == 0:
                return
            block = np.asarray(source.slab(start, stop, 0)[:, inside], dtype=np.float64)
            part = self._voxels(block, weight)
            at = inside + start
            rss[at], reason[at] = part.weighted_rss, part.reason
            for name in names:
                values[name][at], errors[name][at] = part.parameters[name], part.standard_errors[name]

        with ThreadPoolExecutor(max(1, threads)) as pool:
            list(pool.map(work, range(0, count, _CHUNK)))
        return Fit(
            first.name,
            values,
            errors,
            {**first.reported, "delay": "s"},
            first.main,
            rss,
            int((weight > 0).sum()),
            self.free_parameters,
            reason,
        ).shaped(shape)

    def _voxels(self, block: Floats, weight: Floats) -> Fit:
        def fitted(delay: float, curves: Floats) -> Fit:
            return self.model(delay).map(curves, weight, threads=1, dtype=np.float64)

        grid, number = self.grid, np.arange(block.shape[1])
        fits = [fitted(float(d), block) for d in grid]
        costs = np.stack([fit.weighted_rss for fit in fits])
        best = np.argmin(np.where(np.isnan(costs), np.inf, costs), axis=0)
        ends = (best == 0) | (best == grid.size - 1)
        inner = np.clip(best, 1, grid.size - 2)
        step = grid[1] - grid[0]
        left, middle, right = costs[inner - 1, number], costs[inner, number], costs[inner + 1, number]
        bend = (left - 2 * middle + right) / 2
        with np.errstate(all="ignore"):
            vertex = grid[inner] + step * np.clip(0.25 * (left - right) / bend, -1, 1)
        delay = np.where(ends | ~(bend > 0), grid[best], vertex)
        names = list(fits[0].parameters)
        values, errors = np.empty((len(names), number.size)), np.empty((len(names), number.size))
        rss, reason = np.empty(number.size), np.empty(number.size, np.int32)
        rounded = np.rint(delay / FINE)
        for key in np.unique(rounded):
            here = np.flatnonzero(rounded == key)
            part = fitted(float(key) * FINE, block[:, here])
            rss[here], reason[here] = part.weighted_rss, part.reason
            for j, name in enumerate(names):
                values[j, here], errors[j, here] = part.parameters[name], part.standard_errors[name]
        degrees = int((weight > 0).sum()) - self.free_parameters
        with np.errstate(all="ignore"):
            variance = np.where(ends | ~(bend > 0), np.nan, rss / max(degrees, 1) / (bend / step**2))
            for j, name in enumerate(names):
                stacked = np.stack([fit.parameters[name] for fit in fits])
                move = (stacked[inner + 1, number] - stacked[inner - 1, number]) / (2 * step)
                added = np.nan_to_num(move**2 * variance)
                errors[j] = np.sqrt(errors[j] ** 2 * (degrees + 1) / max(degrees, 1) + added)
        blank = (reason & int(FATAL)) != 0
        if degrees < 1:
            reason, blank = reason | int(Reason.TOO_FEW_FRAMES), np.ones(number.size, bool)
        values[:, blank], errors[:, blank], rss[blank], delay[blank] = np.nan, np.nan, np.nan, np.nan
        reason = np.where(ends & ~blank, reason | int(Reason.RATE_AT_BOUND), reason)
        return Fit(
            fits[0].model,
            {**dict(zip(names, values, strict=True)), "delay": delay},
            {**dict(zip(names, errors, strict=True)), "delay": np.where(blank, np.nan, np.sqrt(variance))},
            {}, fits[0].main, rss, fits[0].frames_used, self.free_parameters, reason.astype(np.int32),
        )  # fmt: skip
