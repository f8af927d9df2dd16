"""Intervals by profile likelihood: how far a parameter can move while everything else is refitted.

For a target value the sum of the weighted residuals squared and a penalty ``mu (parameter - target)^2`` is minimised.
Whatever ``mu`` is, the minimum lies on the profile exactly, at the value the parameter has there; so a moving target
walks along the profile, and the ends of the interval are where the residuals have risen by ``t^2 s^2`` (Bates DM and
Watts DG, Nonlinear Regression Analysis and Its Applications, 1988, chapter 6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.fit import t_quantile

if TYPE_CHECKING:
    from timelens.engines.kinetics.model import SeparableModel

__all__ = ["interval"]

Floats = NDArray[np.float64]

#: The target moves at most this many steps before an end counts as open (infinite).
_WALK = 60


def interval(
    model: SeparableModel, curve: Floats, weight: Floats, c: Floats, u: Floats, name: str, level: float
) -> tuple[float, float]:
    """Both ends of the profile interval of one parameter; an end that the data do not close is 0 or infinite."""
    walker = _Profile(model, curve, weight, name)
    point = np.concatenate([c, u])
    value, gradient = walker.parameter(point)
    _, _, normal = walker.system(point)
    degrees = int((weight > 0).sum()) - model.free_parameters
    if degrees < 1 or not np.isfinite(value):
        return float("nan"), float("nan")
    rss = walker.rss(point)
    allowed = rss * (1 + t_quantile(level, degrees) ** 2 / degrees)
    scale = np.sqrt(np.diag(normal)) + 1e-300
    spread = float(
        gradient @ (np.linalg.pinv(normal / np.outer(scale, scale), rcond=1e-12) @ (gradient / scale) / scale)
    )
    wald = float(np.sqrt(max(spread, 0.0) * (allowed - rss)))
    if not np.isfinite(wald) or wald == 0:
        return float(value), float(value)
    return walker.end(point, value, rss, allowed, -wald), walker.end(point, value, rss, allowed, wald)


class _Profile:
    def __init__(self, model: SeparableModel, curve: Floats, weight: Floats, name: str) -> None:
        self.model, self.name = model, name
        self.root = np.sqrt(weight)
        self.y = np.where(weight > 0, curve - model.offset, 0.0)
        self.linear = model.sizes[0]
        self.low, self.high = model.limits()

    def parameter(self, point: Floats) -> tuple[float, Floats]:
        """The profiled parameter and its gradient (complex steps)."""
        count = point.size
        many = np.repeat(point[None, :].astype(np.complex128), count, axis=0)
        many[np.arange(count), np.arange(count)] += 1e-30j
        with np.errstate(all="ignore"):
            values = self.model._transform(many[:, : self.linear], many[:, self.linear :])[self.name]
        return float(values[0].real), np.nan_to_num(values.imag / 1e-30)

    def residual(self, point: Floats) -> tuple[Floats, Floats]:
        """Weighted residuals and the weighted Jacobian of the model (frames, parameters)."""
        curve, jacobian = self.model.shape(point)
        return (self.y - curve) * self.root, (jacobian * self.root).T

    def rss(self, point: Floats) -> float:
        rest, _ = self.residual(point)
        return float(rest @ rest)

    def system(self, point: Floats) -> tuple[float, Floats, Floats]:
        rest, jacobian = self.residual(point)
        return float(rest @ rest), jacobian.T @ rest, jacobian.T @ jacobian

    def minimise(self, point: Floats, target: float, mu: float) -> tuple[Floats, float, float]:
        """Damped Gauss-Newton with bounds; the point, its residual sum of squares and its parameter value."""

        def state(at: Floats) -> tuple[float, float, float, Floats, Floats]:
            rss, slope, normal = self.system(at)
            value, gradient = self.parameter(at)
            gap = target - value
            return (
                rss + mu * gap**2,
                rss,
                value,
                slope + mu * gap * gradient,
                normal + mu * np.outer(gradient, gradient),
            )

        cost, rss, value, slope, normal = state(point)
        damping = 1e-4
        for _ in range(50):
            free = ~(((point <= self.low) & (slope < 0)) | ((point >= self.high) & (slope > 0)))
            if not free.any():
                break
            scale = np.sqrt(np.diag(normal))[free] + 1e-300
            matrix = normal[np.ix_(free, free)] / np.outer(scale, scale)
            step = np.zeros(point.size)
            step[free] = np.linalg.solve(matrix + damping * np.eye(scale.size), slope[free] / scale) / scale
            step[self.linear :] = np.clip(step[self.linear :], -1.0, 1.0)
            trial = np.clip(point + step, self.low, self.high)
            new = state(trial)
            if new[0] < cost:
                small = cost - new[0] <= 1e-7 * cost
                point, (cost, rss, value, slope, normal) = trial, new
                damping = max(damping * 0.1, 1e-10)
                if small:
                    break
            else:
                damping *= 10
                if damping > 1e6:
                    break
        return point, rss, value

    def end(self, point: Floats, value: float, rss: float, allowed: float, wald: float) -> float:
        """Where the profile crosses what is allowed, walking from the estimate in the direction of ``wald``."""
        mu = 10.0 * (allowed - rss) / wald**2
        inner, inner_cost = value, rss
        near, reach = 0.0, 1.0
        start = point
        for _ in range(_WALK):
            found, cost, at = self.minimise(start, value + reach * wald, mu)
            if cost >= allowed:
                break
            if (at - inner) * wald > 0:
                inner, inner_cost, start, near = at, cost, found, reach
            reach *= 1.5
            if reach > 1e4:
                return float("inf") if wald > 0 else 0.0 if self.model.positive else float("-inf")
        else:
            return float("nan")
        outer, outer_cost = at, cost
        far = reach
        for _ in range(30):
            if abs(outer - inner) <= 1e-3 * abs(wald) or abs(outer_cost - allowed) <= 1e-3 * (allowed - rss):
                break
            # The root of the profile's rise is nearly straight in the parameter: interpolate there.
            low, high = np.sqrt(max(inner_cost - rss, 0.0)), np.sqrt(max(outer_cost - rss, 0.0))
            aim = np.sqrt(allowed - rss)
            part = float(np.clip((aim - low) / (high - low), 0.05, 0.95)) if high > low else 0.5
            middle = near + part * (far - near)
            found, cost, at = self.minimise(start, value + middle * wald, mu)
            if cost >= allowed:
                outer, outer_cost, far = at, cost, middle
            else:
                inner, inner_cost, near, start = at, cost, middle, found
        low, high = np.sqrt(max(inner_cost - rss, 0.0)), np.sqrt(max(outer_cost - rss, 0.0))
        part = float(np.clip((np.sqrt(allowed - rss) - low) / (high - low), 0, 1)) if high > low else 1.0
        return float(inner + part * (outer - inner))
