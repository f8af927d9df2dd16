"""Checks that a weight, height, activity or liver uptake is possible, and names the slip if not.

Each check returns the problems it sees: ``error`` where no body on earth is like that, ``warning`` where it is possible
but looks like a slip. :func:`raise_or_warn` acts on them. Limits are physical, per kind of subject, and generous: a
mouse of 20 g gets 5 MBq, a patient of 75 kg gets 300 MBq, so activity per mass differs by a factor of 60.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from timelens.errors import DataError, PlausibilityWarning, Problem

__all__ = [
    "check_activity",
    "check_height",
    "check_james_range",
    "check_liver_suv",
    "check_weight",
    "raise_or_warn",
    "species_group",
]

SpeciesGroup = Literal["human", "mouse", "rat", "other"]


@dataclass(frozen=True)
class _Limits:
    """Possible and usual ranges: weight in kg, activity in MBq per kg."""

    weight: tuple[float, float]
    usual_weight: tuple[float, float]
    activity: tuple[float, float]
    usual_activity: tuple[float, float]


_LIMITS: dict[SpeciesGroup, _Limits] = {
    "human": _Limits((0.3, 700.0), (2.0, 300.0), (0.01, 200.0), (0.1, 50.0)),
    "mouse": _Limits((0.003, 0.1), (0.010, 0.06), (0.5, 5e4), (5.0, 3000.0)),
    "rat": _Limits((0.02, 1.5), (0.05, 0.8), (0.05, 1e4), (2.0, 1000.0)),
    "other": _Limits((0.001, 1000.0), (0.005, 300.0), (0.001, 5e4), (0.05, 3000.0)),
}
# In DICOM from a clinic the species is absent; then the weight says what kind of body it is.
_MOUSE_LIKE_BELOW_KG = 0.1
_RAT_LIKE_BELOW_KG = 1.5
# Between a toddler and a grown-up everybody gets at least this much; a mouse of 25 "kg" with 5 MBq does not.
_CHILD_BELOW_KG = 50.0
_CHILD_LEAST_MBQ_PER_KG = 0.5
_ACTIVITY_BQ = (1e4, 1e12)

_NAMES: tuple[tuple[SpeciesGroup, tuple[str, ...]], ...] = (
    ("human", ("homo", "human", "l-85b00", "337915000")),
    ("mouse", ("mus", "mouse", "mice", "447612001")),
    ("rat", ("rattus", "rat", "rats", "371564000")),
)


def species_group(name: str | None) -> SpeciesGroup | None:
    """Human, mouse, rat or other from a name or code such as ``Mus musculus``; None where nothing is said."""
    words = (name or "").lower().replace(",", " ").split()
    if not words:
        return None
    for group, known in _NAMES:
        if any(word in known for word in words):
            return group
    return "other"


def check_weight(weight_kg: float, *, species: str | None = None) -> tuple[Problem, ...]:
    """Problems of a body weight in kg."""
    field, found = "PatientWeight", f"{weight_kg:g} kg"
    group = species_group(species)
    limits = _LIMITS[group] if group else _LIMITS["other"]
    low, high = limits.weight
    if not (math.isfinite(weight_kg) and low <= weight_kg <= high):
        # A mouse of 25 "kg" was weighed in grams.
        in_grams = low <= weight_kg / 1000 <= high
        return (
            Problem(
                f"No {group or 'body'} weighs that much" if weight_kg > high else "The body weight is not possible",
                field=field,
                found=found + (", grams recorded as kilograms?" if in_grams else ""),
                expected=f"{low:g} to {high:g} kg" + (f" ({group})" if group else ""),
                mend=f"give the weight in kilograms ({weight_kg / 1000:g}?)" if in_grams else "give the weight in kg",
            ),
        )
    usual_low, usual_high = limits.usual_weight
    if not usual_low <= weight_kg <= usual_high:
        return (
            Problem(
                "The body weight is unusual: grams, pounds or kilograms?",
                field=field,
                found=found,
                expected=f"{usual_low:g} to {usual_high:g} kg",
                mend="check the unit of the weight",
                severity="warning",
            ),
        )
    return ()


def check_height(height_m: float, *, weight_kg: float | None = None) -> tuple[Problem, ...]:
    """Problems of a human height in m, and of the body mass index where the weight is given."""
    field, found = "PatientSize", f"{height_m:g} m"
    if not (math.isfinite(height_m) and 0.2 <= height_m <= 2.8):
        in_cm = 0.2 <= height_m / 100 <= 2.8
        return (
            Problem(
                "No human is that tall" if height_m > 2.8 else "The height is not possible",
                field=field,
                found=found + (", centimetres recorded as metres?" if in_cm else ""),
                expected="0.2 to 2.8 m",
                mend=f"give the height in metres ({height_m / 100:g}?)" if in_cm else "give the height in metres",
            ),
        )
    if weight_kg is not None and not 8.0 <= weight_kg / height_m**2 <= 90.0:
        return (
            Problem(
                "Weight and height do not fit together: pounds, inches, or exchanged?",
                field="PatientWeight, PatientSize",
                found=f"body mass index {weight_kg / height_m**2:.1f} kg/m2",
                expected="8 to 90 kg/m2",
                mend="check the units of weight and height",
                severity="warning",
            ),
        )
    return ()


def check_james_range(
    weight_kg: float, height_m: float, sex: str | None, *, male_coefficient: float = 120.0
) -> tuple[Problem, ...]:
    """Problems of the James lean body mass: a parabola in weight, which beyond its top calls heavier bodies leaner."""
    linear, quadratic = (1.07, 148.0) if sex == "F" else (1.10, male_coefficient)
    bmi, top = weight_kg / height_m**2, linear / (2 * quadratic) * 1e4
    if bmi <= top:
        return ()
    return (
        Problem(
            "The body is too heavy for the James formula, which turns back here",
            field="PatientWeight, PatientSize",
            found=f"body mass index {bmi:.1f} kg/m2",
            expected=f"up to {top:.1f} kg/m2",
            mend="use the Janmahasatian lean body mass (lbm_janma)",
            severity="warning",
        ),
    )


def check_activity(
    activity_bq: float, *, weight_kg: float | None = None, species: str | None = None
) -> tuple[Problem, ...]:
    """Problems of an injected activity in Bq, judged per kilogram where the weight is given."""
    field = "RadionuclideTotalDose"
    if not (math.isfinite(activity_bq) and activity_bq > 0):
        return (
            Problem(
                "The injected activity is not possible",
                field=field,
                found=f"{activity_bq:g} Bq",
                expected="Bq > 0",
                mend="give the injected activity in Bq",
            ),
        )
    if weight_kg is None or not weight_kg > 0:
        low, high, unit, level = *_ACTIVITY_BQ, "Bq", activity_bq
        usual: tuple[float, float] | None = None
    else:
        limits = _LIMITS[species_group(species) or _group_by_weight(weight_kg)]
        low, high = limits.activity
        usual, unit, level = limits.usual_activity, "MBq/kg", activity_bq / 1e6 / weight_kg
        if species_group(species) is None and _RAT_LIKE_BELOW_KG <= weight_kg < _CHILD_BELOW_KG:
            usual = (_CHILD_LEAST_MBQ_PER_KG, usual[1])
    found = f"{activity_bq:g} Bq" + (f", that is {level:.3g} {unit}" if unit != "Bq" else "")
    if not low <= level <= high:
        slip = "MBq or kBq recorded as Bq" if level < low else "a value in Bq multiplied once more"
        return (
            Problem(
                "No subject is imaged with that activity",
                field=field,
                found=f"{found}, {slip}?",
                expected=f"{low:g} to {high:g} {unit}",
                mend="give the injected activity in Bq",
            ),
        )
    if usual and not usual[0] <= level <= usual[1]:
        slip = (
            "MBq recorded as Bq, or grams of body weight as kilograms"
            if level < usual[0]
            else "a wrong unit of activity, or of body weight"
        )
        return (
            Problem(
                f"The activity per body weight is unusual: {slip}?",
                field=f"{field}, PatientWeight",
                found=found,
                expected=f"{usual[0]:g} to {usual[1]:g} {unit}",
                mend="check the units of activity and weight",
                severity="warning",
            ),
        )
    return ()


def check_liver_suv(suv_mean: float, *, low: float = 0.5, high: float = 5.0) -> tuple[Problem, ...]:
    """Problems of the mean SUV (by body weight) of healthy liver in FDG-PET: outside 0.5 to 5 the scale is suspect."""
    if math.isfinite(suv_mean) and low <= suv_mean <= high:
        return ()
    return (
        Problem(
            "The liver uptake is implausible: check activity, weight and times of this scan",
            field="suv_mean of the liver",
            found=f"{suv_mean:.3g} g/mL",
            expected=f"{low:g} to {high:g} g/mL",
            mend="read the SUV audit of this series; correct weight, activity or times in study.yaml",
            severity="warning",
        ),
    )


def raise_or_warn(problems: Iterable[Problem], *, file: object = "") -> tuple[Problem, ...]:
    """Raise the first error as :class:`DataError`; give the rest as :class:`PlausibilityWarning` and return them."""
    found = tuple(problems)
    for problem in found:
        if problem.severity == "error":
            raise DataError(
                problem.message,
                file=problem.file or file,
                field=problem.field,
                found=problem.found,
                expected=problem.expected,
                mend=problem.mend,
            )
    for problem in found:
        warnings.warn(str(problem), PlausibilityWarning, stacklevel=3)
    return found


def _group_by_weight(weight_kg: float) -> SpeciesGroup:
    if weight_kg < _MOUSE_LIKE_BELOW_KG:
        return "mouse"
    return "rat" if weight_kg < _RAT_LIKE_BELOW_KG else "human"
