"""Robust fits of regions: Huber's loss by iteratively reweighted least squares.

A weighted residual ``r`` beyond ``k s`` counts as ``k s |r|`` instead of ``r^2``, with ``s`` from the median absolute
residual and ``k = 1.345``, which keeps 95 % efficiency for normal noise (Huber PJ, Ann Math Statist 1964;35:73,
doi:10.1214/aoms/1177703732; Holland PW, Welsch RE, Commun Stat 1977;6:813, doi:10.1080/03610927708827533). One frame
with motion or a lost count then moves the curve little. Standard errors follow Huber's asymptotic covariance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.fit import Fit, stack
from timelens.errors import UsageError

__all__ = ["TUNING", "chosen", "fit"]

Floats = NDArray[np.float64]

#: Huber's k: residuals beyond this many standard deviations count less.
TUNING = 1.345
_ROUNDS = 100
_SETTLED = 1e-5


class _Model(Protocol):
    @property
    def free_parameters(self) -> int: ...

    def _fit(self, data: ArrayLike, weights: ArrayLike | None, factors: Floats | None = None) -> Fit: ...


def chosen(loss: str) -> bool:
    """Whether this loss is the robust one; an unknown name is refused."""
    if loss not in ("squares", "huber"):
        raise UsageError("Unknown loss", field="loss", found=loss, expected="'squares' or 'huber'")
    return loss == "huber"


def fit(model: _Model, data: ArrayLike, weights: ArrayLike | None) -> Fit:
    """Robust fit of one or more curves (frames, ...); ``weights`` of the result show which frames were doubted."""
    array = np.asarray(data, dtype=np.float64)
    if array.ndim < 2:
        return _one(model, array, weights)
    curves = array.reshape(array.shape[0], -1)
    own = np.asarray(weights).reshape(curves.shape) if weights is not None and np.ndim(weights) > 1 else None
    fits = [_one(model, curves[:, i], weights if own is None else own[:, i]) for i in range(curves.shape[1])]
    return stack(fits, array.shape[1:]) if fits else model._fit(data, weights)


def _one(model: _Model, curve: Floats, weights: ArrayLike | None) -> Fit:
    found = model._fit(curve, weights)
    if found.residuals is None or found.weights is None or not np.isfinite(found.weighted_rss):
        return found
    base = found.weights
    used = base > 0
    factors = np.ones(used.size)
    count, spare = int(used.sum()), found.degrees_of_freedom
    if spare < 2:
        return replace(found, profile=None)
    for _ in range(_ROUNDS):
        assert found.residuals is not None
        rest = np.abs(np.where(used, found.residuals, 0.0)) * np.sqrt(base)
        # A fit with p parameters can bring p residuals to zero; they tell nothing of the noise.
        scale = float(np.median(np.sort(rest[used])[model.free_parameters - 1 :])) / 0.6745
        if scale <= 1e-12 * float(np.sqrt(np.nanmax(base * np.square(curve)))):
            break
        new = np.where(used, np.minimum(1.0, TUNING * scale / np.maximum(rest, 1e-300)), 1.0)
        change = float(np.abs(new - factors).max())
        factors = new
        found = model._fit(curve, weights, factors)
        if change < _SETTLED or not np.isfinite(found.weighted_rss):
            break
    inside = float((factors[used] >= 1.0).mean())
    assert found.residuals is not None
    squares = base[used] * np.square(found.residuals[used])
    if inside <= 0.0 or not np.isfinite(squares).all() or float(squares.sum()) == 0.0:
        return replace(found, profile=None)
    # What the last weighted fit took for its variance, turned into Huber's: sum psi^2 / (n - p) / (mean psi')^2.
    bend = 1.0 + model.free_parameters / count * (1.0 - inside) / inside
    ratio = float((factors[used] ** 2 * squares).sum() / (factors[used] * squares).sum())
    ratio *= float(factors[used].mean()) * (bend / inside) ** 2
    return replace(
        found,
        standard_errors={name: error * np.sqrt(ratio) for name, error in found.standard_errors.items()},
        covariance=None if found.covariance is None else found.covariance * ratio,
        profile=None,
    )
