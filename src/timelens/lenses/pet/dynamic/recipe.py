"""What a dynamic scan gets by default: from the agent's record, with the user's options over it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from timelens.errors import UsageError
from timelens.knowledge.records import Agent, Kinetics
from timelens.lenses.pet.dynamic.models import find_model

__all__ = ["STEPS", "kinetics_of", "merged_steps"]

#: The steps of dynamic PET and their parameters; the steps of the PET lens serve the late window.
STEPS: dict[str, dict[str, Any]] = {
    "frames": {"first": 1, "last": None},
    "input": {
        "source": "auto",
        "region": None,
        "reference": None,
        "clock_offset_s": 0.0,
        "decay_corrected": None,
        "delay_s": "fit",
        "dispersion_s": None,
        "plasma_ratio": None,
        "parent_fraction": "auto",
        "fwhm_mm": None,
        "vessel_diameter_mm": None,
    },
    "fit": {
        "models": "auto",
        "t_star_min": None,
        "blood_volume": "fit",
        "k2_reference_per_min": None,
        "weights": "counts",
    },
    "maps": {"models": "auto", "mask": "auto"},
    "late": {"start_min": None, "end_min": None},
}
_CHOICES = {
    ("input", "source"): ("auto", "arterial", "image-derived", "reference", "none"),
    ("input", "parent_fraction"): (
        "auto", "none", "interpolate", "hill", "power", "exponential", "inverse_gamma"
    ),
    ("fit", "weights"): ("counts", "duration", "uniform"),
    ("maps", "mask"): ("auto", "none"),
}  # fmt: skip
_IN_WORDS = {
    "one tissue": "1tcm",
    "two tissue irreversible": "2tcm_irreversible",
    "two tissue reversible": "2tcm",
    "antibody patlak": "antibody_patlak",
}
_PLOTS = ("patlak", "logan")


def kinetics_of(agent: Agent | None) -> Kinetics | None:
    """The kinetic default of an agent: as its record states it, else from the ways of quantifying that suit it."""
    if agent is None:
        return None
    if agent.kinetics is not None:
        return agent.kinetics
    tissue = next((_IN_WORDS[m] for m in agent.kinetic_models if m in _IN_WORDS), None)
    plots = tuple(m for m in agent.kinetic_models if m in _PLOTS)
    if "antibody patlak" in agent.kinetic_models:
        tissue, plots = "antibody_patlak", ("antibody_patlak",)
    if tissue is None and not plots and "simplified reference tissue" not in agent.kinetic_models:
        return None
    return Kinetics(
        regions=tissue or (plots[0] if plots else "srtm"),
        maps=plots[:1] or ("srtm",) if tissue is None else plots[:1],
        image_input=False,
        source="ways of quantifying in the agent's record",
    )


def merged_steps(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The defaults with options over them.

    Raises
    ------
    UsageError
        If a parameter is unknown or cannot be used.
    """
    merged: dict[str, dict[str, Any]] = {}
    for step, defaults in STEPS.items():
        given = dict(options.get(step) or {})
        if unknown := set(given) - set(defaults):
            raise UsageError(
                f"The step {step!r} has no such parameter",
                field=", ".join(sorted(unknown)),
                expected=", ".join(sorted(defaults)),
            )
        merged[step] = {**defaults, **given}
    for (step, name), allowed in _CHOICES.items():
        if merged[step][name] not in allowed:
            raise UsageError(
                f"The {name} of the step {step!r} cannot be used",
                field=f"{step}.{name}",
                found=merged[step][name],
                expected=", ".join(allowed),
            )
    for step in ("fit", "maps"):
        merged[step]["models"] = _models(step, merged[step]["models"])
    _numbers(merged)
    return merged


def _models(step: str, given: Any) -> Any:
    if given in ("auto", "aic") or (step == "maps" and given in ("none", None, [])):
        return "none" if given in (None, []) else given
    names = [given] if isinstance(given, str) else list(given)
    return [find_model(name).name for name in names]


def _numbers(merged: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse what is no number where one belongs."""
    positive = ("dispersion_s", "plasma_ratio", "vessel_diameter_mm", "k2_reference_per_min")
    for step, values in merged.items():
        for name, value in values.items():
            if value is None or name in (
                "models",
                "mask",
                "source",
                "region",
                "reference",
                "parent_fraction",
                "weights",
            ):
                continue
            if name in ("decay_corrected",):
                good = isinstance(value, bool)
            elif (name, value) in (("delay_s", "fit"), ("delay_s", "each"), ("blood_volume", "fit")):
                good = True
            elif name == "fwhm_mm" and isinstance(value, list | tuple):
                good = len(value) == 3 and all(_number(v) and v > 0 for v in value)
            else:
                good = _number(value) and (value > 0 or name not in (*positive, "fwhm_mm"))
            if not good:
                raise UsageError(
                    f"The {name} of the step {step!r} cannot be used",
                    field=f"{step}.{name}",
                    found=value,
                    expected="true or false" if name == "decay_corrected" else "a number",
                )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
