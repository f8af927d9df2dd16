"""Unchanged agent in plasma: total plasma times the parent fraction, modelled or interpolated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.input_models import FractionModel, ParentFraction, fit_parent_fraction
from timelens.engines.kinetics.inputs import InputFunction
from timelens.errors import DataError, MissingFieldError, Problem
from timelens.lenses.pet.dynamic.samples import BloodOptions, BloodSamples

__all__ = ["parent_curve"]

Floats = NDArray[np.float64]
_FRACTION_MODELS: tuple[FractionModel, ...] = ("hill", "power", "exponential", "inverse_gamma")


def parent_curve(
    plasma: InputFunction,
    records: Sequence[BloodSamples],
    how: BloodOptions,
    metabolites: bool | None,
    steps: list[str],
    problems: list[Problem],
) -> InputFunction:
    """Unchanged agent in plasma; see :class:`BloodOptions` for the fraction's model."""
    samples = [r.parent_fraction for r in records if r.parent_fraction is not None]
    if not samples or how.parent_fraction == "none":
        if metabolites and how.parent_fraction != "none":
            raise MissingFieldError(
                "This agent has labelled metabolites in plasma, and the parent fraction is not known",
                file=", ".join(r.file for r in records),
                field="metabolite_parent_fraction",
                expected="samples of the parent fraction",
                mend="add them, or write parent_fraction: none in the step 'input' to take plasma as it is",
            )
        if metabolites is None and how.parent_fraction != "none":
            problems.append(
                Problem(
                    "No parent fraction: all radioactivity of plasma was taken for the agent",
                    ", ".join(r.file for r in records),
                    "metabolite_parent_fraction",
                    "nothing",
                    severity="warning",
                )
            )
        steps.append("plasma taken for parent")
        return replace(plasma, kind="parent")
    times = np.concatenate([t for t, _ in samples])
    fraction = np.concatenate([f for _, f in samples])
    times, first = np.unique(times, return_index=True)
    fraction = fraction[first]
    if how.parent_fraction == "interpolate" or (how.parent_fraction == "auto" and times.size < 5):
        _check_fraction(fraction)
        steps.append(f"parent fraction interpolated between {times.size} samples")
        return plasma.times_curve(np.append(0.0, times[times > 0]), np.append(1.0, fraction[times > 0]), kind="parent")
    best = _best_fraction(times, fraction, how.parent_fraction)
    steps.append(f"parent fraction {best.model} fitted to {times.size} samples")
    return best.parent(plasma)


def _check_fraction(fraction: Floats) -> None:
    if (fraction < -0.02).any() or (fraction > 1.05).any():
        raise DataError(
            "A parent fraction lies between 0 and 1",
            field="metabolite_parent_fraction",
            found=f"{fraction.min():g} to {fraction.max():g}",
            expected="0 to 1",
            mend="divide percent by 100",
        )


def _best_fraction(times: Floats, fraction: Floats, wanted: str) -> ParentFraction:
    if wanted != "auto":
        return fit_parent_fraction(times, fraction, wanted)  # type: ignore[arg-type]
    _check_fraction(fraction)
    fits = [fit_parent_fraction(times, fraction, model) for model in _FRACTION_MODELS]

    def criterion(fit: ParentFraction) -> float:
        rest = fit.fraction(times) - fraction
        n, k = times.size, fit.parameters.size + 1
        spare = max(n - k - 1, 0.5)
        return float(n * np.log(rest @ rest / n + 1e-12) + 2 * k + 2 * k * (k + 1) / spare)

    return min(fits, key=criterion)
