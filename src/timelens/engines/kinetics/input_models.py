"""Curves that describe an input: bolus models, parent fraction, plasma-to-blood ratio, population scaling.

Feng D, Huang SC, Wang X, Int J Biomed Comput 1993;32:95, doi:10.1016/0020-7101(93)90049-C (bolus of FDG). Parent
fractions as compared by Tonietto M et al., J Cereb Blood Flow Metab 2016;36:326, doi:10.1177/0271678X15610585.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from timelens.engines.kinetics.inputs import InputFunction, Kind, require_same_convention
from timelens.errors import DataError, UsageError

__all__ = [
    "FractionModel",
    "ParentFraction",
    "exponentials",
    "feng",
    "fit_exponentials",
    "fit_parent_fraction",
    "sampled",
    "scale_population",
]

Floats = NDArray[np.float64]
FractionModel = Literal["hill", "power", "exponential", "inverse_gamma"]


def feng(times: ArrayLike, amplitudes: tuple[float, float, float], rates: tuple[float, float, float]) -> Floats:
    """Feng's bolus: (A1 t - A2 - A3) exp(-l1 t) + A2 exp(-l2 t) + A3 exp(-l3 t), zero before t = 0.

    Parameters
    ----------
    times
        s from the bolus's arrival.
    amplitudes
        A1 (concentration per s), A2, A3 (concentration).
    rates
        l1, l2, l3 in 1/s, positive: the published eigenvalues with their signs turned.
    """
    t = np.asarray(times, dtype=np.float64)
    (a1, a2, a3), (l1, l2, l3) = amplitudes, rates
    late = np.maximum(t, 0.0)
    curve = (a1 * late - a2 - a3) * np.exp(-l1 * late) + a2 * np.exp(-l2 * late) + a3 * np.exp(-l3 * late)
    return np.asarray(np.where(t > 0, curve, 0.0))


def exponentials(times: ArrayLike, amplitudes: ArrayLike, rates: ArrayLike) -> Floats:
    """Sum of decaying exponentials from t = 0 on, zero before: bi- or tri-exponential clearance."""
    t = np.asarray(times, dtype=np.float64)
    decay = np.exp(-np.multiply.outer(np.maximum(t, 0.0), np.asarray(rates, dtype=np.float64)))
    return np.asarray(np.where(t >= 0, decay @ np.asarray(amplitudes, dtype=np.float64), 0.0))


def sampled(
    curve: Callable[[Floats], Floats],
    end: float,
    *,
    kind: Kind,
    unit: str = "",
    start: float = 0.0,
    tolerance: float = 1e-6,
) -> InputFunction:
    """An input from a smooth curve, with knots so dense that straight lines between them miss it by ``tolerance``.

    Parameters
    ----------
    curve
        Concentration at times in s.
    start, end
        s; the curve may jump at the start.
    tolerance
        Largest error between knots, as a part of the peak.
    """
    if not end > start:
        raise UsageError("A curve is sampled from its start to a later end", field="end", found=end)
    knots = (
        np.concatenate([[start], start + np.geomspace(0.1, end - start, 200)])
        if end - start > 0.1
        else np.linspace(start, end, 200)
    )
    for _ in range(20):
        middle = 0.5 * (knots[1:] + knots[:-1])
        values = curve(knots)
        gap = np.abs(curve(middle) - 0.5 * (values[1:] + values[:-1]))
        coarse = gap > tolerance * np.abs(values).max()
        if not coarse.any():
            break
        knots = np.sort(np.concatenate([knots, middle[coarse]]))
    return InputFunction(knots, curve(knots), kind, unit)


def fit_exponentials(plasma: InputFunction, *, terms: int = 2, after: float = 0.0) -> tuple[Floats, Floats]:
    """Amplitudes and rates (1/s, descending) of a clearance curve of one to three exponentials through the samples.

    Samples before ``after`` s are left out. Residuals are relative, as counting and dilution errors are.
    """
    keep = (plasma.times >= after) & (plasma.values > 0)
    t, y = plasma.times[keep], plasma.values[keep]
    if terms not in (1, 2, 3):
        raise UsageError("A clearance has one to three exponentials", field="terms", found=terms)
    if t.size < 2 * terms:
        raise DataError(
            "Too few samples for this clearance", field="plasma", found=f"{t.size} positive samples",
            expected=f"at least {2 * terms}", mend="use fewer terms",
        )  # fmt: skip
    span = float(t[-1] - t[0])
    best: tuple[float, Floats, Floats] | None = None
    for fast in (3.0, 10.0, 40.0):
        rates = np.geomspace(fast, 0.5, terms) / span if terms > 1 else np.array([1.0 / span])
        start = np.concatenate([np.full(terms, np.log(y[0] / terms)), np.log(rates)])

        def rest(p: Floats) -> Floats:
            return exponentials(t, np.exp(p[:terms]), np.exp(p[terms:])) / y - 1.0

        found = optimize.least_squares(rest, start, method="lm" if t.size >= 2 * terms else "trf", max_nfev=4000)
        if best is None or found.cost < best[0]:
            best = (found.cost, np.exp(found.x[:terms]), np.exp(found.x[terms:]))
    assert best is not None
    order = np.argsort(best[2])[::-1]
    return best[1][order], best[2][order]


@dataclass(frozen=True, eq=False)
class ParentFraction:
    """A fitted parent fraction: its model, parameters and their standard errors (NaN without spare samples)."""

    model: FractionModel
    parameters: Floats
    standard_errors: Floats

    def fraction(self, times: ArrayLike) -> Floats:
        """Unchanged agent as a fraction of plasma radioactivity, 1 at time zero."""
        return _FRACTIONS[self.model][0](np.maximum(np.asarray(times, dtype=np.float64), 0.0), *self.parameters)

    def parent(self, plasma: InputFunction) -> InputFunction:
        """The parent in plasma: plasma times fraction, sampled at the plasma's own times."""
        if plasma.kind != "plasma":
            raise DataError(
                "A parent fraction applies to plasma", field="kind", found=plasma.kind, expected="plasma",
                mend="convert whole blood by its plasma-to-blood ratio first",
            )  # fmt: skip
        return replace(plasma, values=plasma.values * self.fraction(plasma.times), kind="parent")


def _hill(t: Floats, low: float, half: float, slope: float) -> Floats:
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(1.0 - (1.0 - low) / (1.0 + (half / np.maximum(t, 1e-12)) ** slope))


def _power(t: Floats, half: float, slope: float) -> Floats:
    return np.asarray((1.0 + (t / half) ** 2) ** -slope)


def _exponential(t: Floats, share: float, fast: float, slow: float) -> Floats:
    return np.asarray(share * np.exp(-fast * t) + (1.0 - share) * np.exp(-slow * t))


def _inverse_gamma(t: Floats, low: float, shape: float, scale: float) -> Floats:
    return np.asarray(1.0 - (1.0 - low) * special.gammaincc(shape, scale / np.maximum(t, 1e-12)))


# Function, start, lower and upper bounds; times in s.
_FRACTIONS: dict[str, tuple[Callable[..., Floats], list[float], list[float], list[float]]] = {
    "hill": (_hill, [0.05, 900.0, 1.5], [0.0, 1.0, 0.2], [1.0, 1e6, 12.0]),
    "power": (_power, [600.0, 0.5], [1.0, 1e-3], [1e6, 20.0]),
    "exponential": (_exponential, [0.7, 2e-3, 1e-4], [0.0, 0.0, 0.0], [1.0, 1.0, 0.1]),
    "inverse_gamma": (_inverse_gamma, [0.05, 1.0, 900.0], [0.0, 0.05, 1.0], [1.0, 50.0, 1e6]),
}


def fit_parent_fraction(times: ArrayLike, fractions: ArrayLike, model: FractionModel = "hill") -> ParentFraction:
    """Fit a parent-fraction curve.

    ``"hill"``: 1 - (1 - a) t^c / (b^c + t^c); ``"power"``: (1 + (t / a)^2)^-b; ``"exponential"``: two exponentials
    whose shares sum to 1; ``"inverse_gamma"``: 1 - (1 - a) times the inverse gamma distribution function.

    Raises
    ------
    DataError
        Fractions outside 0 to 1 (percent?), or fewer samples than parameters.
    """
    if model not in _FRACTIONS:
        raise UsageError("Unknown parent-fraction model", field="model", found=model, expected=", ".join(_FRACTIONS))
    t, y = np.asarray(times, dtype=np.float64), np.asarray(fractions, dtype=np.float64)
    curve, start, low, high = _FRACTIONS[model]
    if t.ndim != 1 or t.shape != y.shape or t.size < len(start) or not (np.isfinite(t).all() and np.isfinite(y).all()):
        raise DataError(
            "A parent fraction needs finite samples, no fewer than its parameters", field="fractions",
            found=f"{t.size} times, {y.size} fractions", expected=f"at least {len(start)}",
        )  # fmt: skip
    if (y < -0.02).any() or (y > 1.05).any():
        raise DataError(
            "A parent fraction lies between 0 and 1", field="fractions", found=f"{y.min():g} to {y.max():g}",
            expected="0 to 1", mend="divide percent by 100",
        )  # fmt: skip
    best = None
    for stretch in (0.3, 1.0, 3.0):
        # Times scale: Hill, power and gamma hold a time, the exponential holds rates.
        first = [v * stretch if v > 20 else v / stretch if model == "exponential" and v < 0.1 else v for v in start]
        found = optimize.least_squares(
            lambda p: curve(np.maximum(t, 0.0), *p) - y, first, bounds=(low, high), x_scale=np.abs(first)
        )
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    spare = t.size - len(start)
    normal = best.jac.T @ best.jac
    with np.errstate(invalid="ignore"):
        errors = (
            np.sqrt(np.diag(np.linalg.pinv(normal)) * 2 * best.cost / spare)
            if spare > 0
            else np.full(len(start), np.nan)
        )
    return ParentFraction(model, best.x, errors)


def scale_population(population: InputFunction, samples: InputFunction) -> tuple[InputFunction, float]:
    """A population input scaled to a subject's few samples (least squares through the origin), and the factor."""
    require_same_convention(population, samples)
    seen = population.at(samples.times)
    if not np.isfinite(seen).all() or float(seen @ seen) == 0:
        raise DataError("The samples lie outside the population input", field="samples", found=samples.times.max())
    factor = float(seen @ samples.values / (seen @ seen))
    return replace(population.scaled(factor), kind=samples.kind), factor
