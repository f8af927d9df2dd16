"""Body sizes that SUV is normalised to: weight, lean body mass, ideal weight and surface area of humans.

W is the weight in kg, H the height in m, h the height in cm.

- James: male 1.10 W - c (W/h)^2 with c = 120 or 128, female 1.07 W - 148 (W/h)^2. James WPT, Research on Obesity, HMSO
  London 1976, gives c = 128; Morgan DJ, Bray KM, Clin Pharmacokinet 1994;26:292, doi:10.2165/00003088-199426040-00005,
  prints 120, which the QIBA FDG-PET/CT profile and most scanners use. DICOM calls them LBMJAMES128 and LBM.
- Janmahasatian: male 9270 W / (6680 + 216 BMI), female 9270 W / (8780 + 244 BMI). Janmahasatian S et al., Clin
  Pharmacokinet 2005;44:1051, doi:10.2165/00003088-200544100-00004. Recommended for the obese.
- Ideal body weight: male 48.0 + 1.06 (h - 152), female 45.5 + 0.91 (h - 152). Sugawara Y et al., Radiology
  1999;213:521, doi:10.1148/radiology.213.2.r99nv37521.
- Surface: 0.007184 W^0.425 h^0.725 m2. DuBois D, DuBois EF, Arch Intern Med 1916;17:863,
  doi:10.1001/archinte.1916.00080130010002.
"""

from __future__ import annotations

from typing import Literal

from timelens.engines.uptake.plausibility import check_height, check_weight, raise_or_warn
from timelens.errors import DataError, MissingFieldError, Problem, UsageError

__all__ = [
    "BodySizeKind",
    "Sex",
    "body_size",
    "body_surface_area",
    "ideal_body_weight",
    "lean_body_mass_james",
    "lean_body_mass_janmahasatian",
]

Sex = Literal["M", "F"]
BodySizeKind = Literal["bw", "lbm_james", "lbm_james128", "lbm_janma", "ibw", "bsa"]

_GRAMS_PER_KG = 1000.0
#: How a person states each in a study, in grams and millimetres.
_STUDY_KEYS = {"PatientWeight": "weight_g (in g)", "PatientSize": "height_mm (in mm)"}
_CM2_PER_M2 = 1e4


def lean_body_mass_james(
    weight_kg: float, height_m: float, sex: str | None, *, male_coefficient: Literal[120, 128] = 120
) -> float:
    """Lean body mass after James in grams.

    The formula is a parabola in weight: above a body mass index of 45.8 (male, 120), 43.0 (male, 128) or 36.1 (female)
    it says that heavier bodies are leaner (:func:`timelens.engines.uptake.check_james_range` warns).

    Parameters
    ----------
    weight_kg, height_m
        Weight in kg and height in m.
    sex
        ``"M"`` or ``"F"``.
    male_coefficient
        120 (QIBA, DICOM ``LBM``) or 128 (James 1976, DICOM ``LBMJAMES128``). Ignored for females.

    Raises
    ------
    MissingFieldError, DataError
        The sex is not known, a value is impossible, or the formula gives no positive mass.
    """
    kind = _sex(sex)
    _check(weight_kg, height_m)
    linear, quadratic = (1.10, float(male_coefficient)) if kind == "M" else (1.07, 148.0)
    ratio = weight_kg / (100.0 * height_m)
    mass = linear * weight_kg - quadratic * ratio**2
    if mass <= 0:
        raise DataError(
            "The James formula gives no positive lean body mass for this body",
            field="PatientWeight, PatientSize",
            found=f"{weight_kg:g} kg, {height_m:g} m, {kind}",
            expected="a body mass index within the range of the formula",
            mend="use the Janmahasatian lean body mass (lbm_janma)",
        )
    return mass * _GRAMS_PER_KG


def lean_body_mass_janmahasatian(weight_kg: float, height_m: float, sex: str | None) -> float:
    """Lean body mass after Janmahasatian in grams; parameters as :func:`lean_body_mass_james`."""
    kind = _sex(sex)
    _check(weight_kg, height_m)
    bmi = weight_kg / height_m**2
    denominator = 6680.0 + 216.0 * bmi if kind == "M" else 8780.0 + 244.0 * bmi
    return 9270.0 * weight_kg / denominator * _GRAMS_PER_KG


def ideal_body_weight(height_m: float, sex: str | None) -> float:
    """Ideal body weight after Sugawara in grams; for adults, refused where the formula is not positive."""
    kind = _sex(sex)
    _refuse(check_height(height_m))
    above = 100.0 * height_m - 152.0
    mass = 48.0 + 1.06 * above if kind == "M" else 45.5 + 0.91 * above
    if mass <= 0:
        raise DataError(
            "The formula for ideal body weight holds for adults only",
            field="PatientSize",
            found=f"{height_m:g} m",
            expected="the height of an adult",
            mend="use SUV by body weight (bw)",
        )
    return mass * _GRAMS_PER_KG


def body_surface_area(weight_kg: float, height_m: float) -> float:
    """Body surface area after DuBois in cm2."""
    _check(weight_kg, height_m)
    return float(0.007184 * weight_kg**0.425 * (100.0 * height_m) ** 0.725) * _CM2_PER_M2


def body_size(
    kind: BodySizeKind,
    *,
    weight_kg: float | None = None,
    height_m: float | None = None,
    sex: str | None = None,
) -> float:
    """The size that an SUV of this kind is normalised to, in g (``bsa``: in cm2).

    Parameters
    ----------
    kind
        ``bw``, ``lbm_james``, ``lbm_james128``, ``lbm_janma``, ``ibw`` or ``bsa``.
    weight_kg, height_m, sex
        What is known of the subject; only what the kind needs is asked for.

    Raises
    ------
    MissingFieldError
        Weight, height or sex is needed and absent.
    """
    if kind == "ibw":
        return ideal_body_weight(_needed(height_m, "PatientSize", kind), sex)
    weight = _needed(weight_kg, "PatientWeight", kind)
    if kind == "bw":
        _refuse(check_weight(weight))
        return weight * _GRAMS_PER_KG
    height = _needed(height_m, "PatientSize", kind)
    if kind == "lbm_james":
        return lean_body_mass_james(weight, height, sex)
    if kind == "lbm_james128":
        return lean_body_mass_james(weight, height, sex, male_coefficient=128)
    if kind == "lbm_janma":
        return lean_body_mass_janmahasatian(weight, height, sex)
    if kind == "bsa":
        return body_surface_area(weight, height)
    raise UsageError(
        f"There is no body size {kind!r}", field="kind", expected="bw, lbm_james, lbm_james128, lbm_janma, ibw or bsa"
    )


def _needed(value: float | None, field: str, kind: str) -> float:
    if value is None or value == 0:
        raise MissingFieldError(
            f"SUV of kind {kind} needs {field}",
            field=field,
            found="0" if value == 0 else "nothing",
            expected="a positive number",
            mend=f"write {_STUDY_KEYS[field]} in study.yaml",
        )
    return value


def _sex(sex: str | None) -> Sex:
    if sex == "M":
        return "M"
    if sex == "F":
        return "F"
    raise MissingFieldError(
        "Lean and ideal body mass differ between the sexes, and the sex is not known",
        field="PatientSex",
        found=sex or "nothing",
        expected="M or F",
        mend="write sex (M or F) in study.yaml, or use SUV by body weight (bw)",
    )


def _check(weight_kg: float, height_m: float) -> None:
    _refuse((*check_weight(weight_kg, species="human"), *check_height(height_m)))


def _refuse(problems: tuple[Problem, ...]) -> None:
    # Formulas refuse the impossible; what is only unusual is for the caller to judge, once.
    raise_or_warn(problem for problem in problems if problem.severity == "error")
