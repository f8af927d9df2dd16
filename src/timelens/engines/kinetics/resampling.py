"""Errors by resampling, for any model: refits of the fitted curve with the residuals drawn anew.

``"wild"`` turns the sign of each frame's own residual at random, so that frames keep unequal variances that the weights
do not know; ``"residual"`` draws weighted residuals among frames (Efron B, Tibshirani RJ, An Introduction to the
Bootstrap, 1993, ch. 9; Wu CFJ, Ann Statist 1986;14:1261, doi:10.1214/aos/1176350142; for kinetic models Turkheimer F et
al., J Cereb Blood Flow Metab 1998;18:1211, doi:10.1097/00004647-199811000-00007). Residuals are first widened by the
root of frames over degrees of freedom. Graphical and multilinear models are refitted in their own plot, with its terms
as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.fit import Fit
from timelens.engines.kinetics.linear import LinearModel
from timelens.engines.kinetics.model import SeparableModel, check_data, check_weights
from timelens.errors import UsageError

__all__ = ["Bootstrap", "bootstrap"]

Floats = NDArray[np.float64]
Kind = Literal["wild", "residual"]


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Parameters of the refits, by name, (draws, ...); NaN where a refit or the fit itself failed."""

    fit: Fit
    draws: dict[str, Floats]
    kind: Kind

    @property
    def standard_errors(self) -> dict[str, Floats]:
        """Standard deviation of the refits."""
        with np.errstate(invalid="ignore"):
            return {name: np.asarray(np.std(values, axis=0, ddof=1)) for name, values in self.draws.items()}

    def interval(self, level: float = 0.95, *, parameter: str | None = None) -> tuple[Floats, Floats]:
        """Percentile interval of a parameter (the main one by default)."""
        name = self.fit.main if parameter is None else parameter
        if name not in self.draws:
            raise UsageError("Unknown parameter", field="parameter", found=name, expected=", ".join(self.draws))
        if not 0 < level < 1:
            raise UsageError("The level of an interval lies between 0 and 1", field="level", found=level)
        low, high = np.quantile(self.draws[name], [0.5 - level / 2, 0.5 + level / 2], axis=0)
        return np.asarray(low), np.asarray(high)


def bootstrap(
    model: SeparableModel | LinearModel,
    data: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    rng: np.random.Generator,
    draws: int = 500,
    kind: Kind = "residual",
) -> Bootstrap:
    """Fit, and refit ``draws`` times with resampled residuals.

    Parameters
    ----------
    model
        Any model with ``fit`` and ``map``; spectral analysis has its own option.
    data, weights
        As for the model's ``fit``; frames with weight 0 stay out.
    rng
        The same generator state gives the same draws.
    kind
        ``"residual"`` or ``"wild"``; with few frames the latter gives errors some 10 % too small.
    """
    if kind not in ("wild", "residual"):
        raise UsageError("Unknown bootstrap", field="kind", found=kind, expected="'wild' or 'residual'")
    if draws < 2:
        raise UsageError("A bootstrap needs at least two draws", field="draws", found=draws)
    fit = model.fit(data, weights)
    curves, shape = check_data(data, len(model.frames))
    given = check_weights(weights, shape, len(model.frames))
    assert fit.predicted is not None and fit.residuals is not None and fit.weights is not None
    predicted, rest, counted = (
        array.reshape(len(model.frames), -1) for array in (fit.predicted, fit.residuals, fit.weights)
    )
    names = list(fit.parameters)
    out = np.full((len(names), draws, curves.shape[1]), np.nan)
    for i in range(curves.shape[1]):
        used = counted[:, i] > 0
        if not np.isfinite(rest[used, i]).all():
            continue
        root = np.sqrt(counted[used, i])
        spread = rest[used, i] * root * np.sqrt(used.sum() / max(fit.degrees_of_freedom, 1))
        if kind == "wild":
            noise = spread[:, None] * rng.choice([-1.0, 1.0], (spread.size, draws))
        else:
            noise = rng.choice(spread - spread.mean(), (spread.size, draws))
        again = predicted[used, i, None] + noise / root[:, None]
        if isinstance(model, LinearModel):
            weight = model._weight(weights if given.shape[1] == 1 else given[:, i])
            terms = model.plot(curves[:, i, None], weight, weighted=weights is not None)[0][:, used, 0]
            solved = np.linalg.lstsq((terms * root).T, again * root[:, None], rcond=None)[0]
            with np.errstate(all="ignore"):
                values = model._transform(solved)
        else:
            full = np.zeros((used.size, draws))
            full[used] = again
            values = model.map(full, np.where(used, counted[:, i], 0.0), dtype=np.float64).parameters
        out[:, :, i] = [values[name] for name in names]
    return Bootstrap(fit, {name: out[j].reshape(draws, *shape) for j, name in enumerate(names)}, kind)
