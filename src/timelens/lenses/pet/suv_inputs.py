"""What goes into an SUV beside the times: corrections of the image, body, activity and half-life, each checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from timelens.engines.uptake import (
    TISSUE_DENSITY_G_PER_ML,
    BodySizeKind,
    body_size,
    check_height,
    check_james_range,
    check_weight,
    raise_or_warn,
    species_group,
)
from timelens.errors import DataError, MissingFieldError, Problem, UsageError
from timelens.lenses.pet.suv_audit import TagUsed
from timelens.lenses.pet.suv_header import PetSeriesHeader
from timelens.lenses.pet.suv_overrides import SuvOverrides

__all__ = [
    "SUV_KINDS",
    "Case",
    "UptakeKind",
    "body_tags",
    "check_body",
    "half_life",
    "numerator",
    "require_corrections",
    "size_of",
    "stored_kind",
    "unit_of",
    "unless_given",
]

UptakeKind = Literal[
    "bw", "lbm_james", "lbm_james128", "lbm_janma", "ibw", "bsa", "pct_id_ml", "pct_id_g", "bqml_injection", "bqml_scan"
]

_UNITS = {
    "bsa": "cm2/mL",
    "pct_id_ml": "%{ID}/mL",
    "pct_id_g": "%{ID}/g",
    "bqml_injection": "Bq/mL",
    "bqml_scan": "Bq/mL",
}
# SUV Type (0054,1006) to our names.
SUV_KINDS: dict[str, BodySizeKind] = {
    "BW": "bw", "LBM": "lbm_james", "LBMJAMES128": "lbm_james128", "LBMJANMA": "lbm_janma", "IBW": "ibw", "BSA": "bsa",
}  # fmt: skip

# The header's half-life against that of the nuclide it names: another table of constants above the first, another
# nuclide or unit above the second.
_HALF_LIFE_NOTE = 0.01
_HALF_LIFE_REFUSE = 0.5


@dataclass(frozen=True)
class Case:
    """One question: a header with the user's values in it, and what to make of it.

    ``scanner`` is the header as the scanner knew it, before the user's values; ``tags`` record those values.
    """

    header: PetSeriesHeader
    scanner: PetSeriesHeader
    kind: UptakeKind
    overrides: SuvOverrides
    density_g_per_ml: float
    nuclide_half_life_s: float | None
    tags: tuple[TagUsed, ...]

    @property
    def is_suv(self) -> bool:
        """Whether an SUV is asked for, not a concentration or a percentage."""
        return self.kind in SUV_KINDS.values()


def unit_of(kind: str) -> str:
    """UCUM unit of an uptake kind."""
    return _UNITS.get(kind, "g/mL")


def require_corrections(header: PetSeriesHeader) -> None:
    """Refuse a series without attenuation or decay correction, or that does not say."""
    corrected, decay = header.corrected_image, header.decay_correction
    if not corrected:
        raise MissingFieldError(
            "Which corrections the image had is not said",
            field="CorrectedImage",
            expected="a list with ATTN and DECY",
            mend="write corrected_image in study.yaml if the corrections are known",
        )
    if "ATTN" not in corrected:
        raise DataError(
            "The image is not corrected for attenuation (NAC): its values are no concentrations",
            field="CorrectedImage",
            found="\\".join(corrected),
            expected="ATTN among the corrections",
            mend="use the attenuation-corrected series",
        )
    if decay is None:
        raise MissingFieldError(
            "To which time the values are decay-corrected is not said",
            field="DecayCorrection",
            expected="START or ADMIN",
            mend="write decay_correction in study.yaml",
        )
    if decay == "NONE":
        raise DataError(
            "The image is not corrected for decay (NONE)",
            field="DecayCorrection",
            found=decay,
            expected="START or ADMIN",
            mend="reconstruct or export the series with decay correction",
        )
    if decay not in ("START", "ADMIN"):
        raise DataError(
            "The decay correction is unknown", field="DecayCorrection", found=decay, expected="START or ADMIN"
        )
    if "DECY" not in corrected:
        raise DataError(
            f"Decay Correction says {decay}, but decay (DECY) is not among the corrections of the image",
            field="CorrectedImage",
            found="\\".join(corrected),
            expected="DECY among the corrections",
            mend="give corrected_image or decay_correction in study.yaml if one of them is known to be wrong",
        )


def stored_kind(header: PetSeriesHeader) -> BodySizeKind:
    """Which SUV a series in GML or CM2ML holds."""
    fallback = "BSA" if header.units == "CM2ML" else "BW"
    stored = SUV_KINDS.get(header.suv_type or fallback)
    if stored is None or (stored == "bsa") != (header.units == "CM2ML"):
        raise DataError(
            "The type of SUV does not fit the units",
            field="SUVType",
            found=f"{header.suv_type} in {header.units}",
            expected="BW, LBM, LBMJAMES128, LBMJANMA or IBW in GML; BSA in CM2ML",
            mend="export the series in BQML",
        )
    return stored


def half_life(case: Case) -> tuple[float, tuple[TagUsed, ...], tuple[str, ...], tuple[Problem, ...]]:
    """Half-life in seconds, the tags it came from, what was assumed, and what looks wrong."""
    stated, table = case.header.half_life_s, case.nuclide_half_life_s
    if stated is None and table is None:
        raise MissingFieldError(
            "The half-life is not known",
            field="RadionuclideHalfLife",
            found=f"{case.header.administrations} administrations" if case.header.administrations > 1 else "nothing",
            expected="seconds",
            mend="write half_life_s in study.yaml",
        )
    if stated is None:
        assert table is not None
        nuclide = case.header.nuclide or "the nuclide"
        return table, (), (f"RadionuclideHalfLife is absent: {table:g} s of {nuclide} was used",), ()
    if not stated > 0:
        raise DataError("A half-life must be positive", field="RadionuclideHalfLife", found=f"{stated:g} s")
    tags = unless_given(case, "half_life_s", "RadionuclideHalfLife", "(0018,1075)", f"{stated} s")
    difference = 0.0 if table is None else stated / table - 1
    if table is None or abs(difference) <= _HALF_LIFE_NOTE:
        return stated, tags, (), ()
    problem = Problem(
        "The half-life of the header is not that of its nuclide",
        field="RadionuclideHalfLife",
        found=f"{stated:g} s ({100 * difference:+.1f} %)",
        expected=f"{table:g} s ({case.header.nuclide or 'the nuclide'})",
        mend="check nuclide and half-life; minutes recorded as seconds?",
        severity="warning" if abs(difference) < _HALF_LIFE_REFUSE else "error",
    )
    if problem.severity == "error":
        raise_or_warn((problem,))
    return stated, tags, (), (problem,)


def numerator(case: Case) -> tuple[float, tuple[Problem, ...], list[TagUsed]]:
    """What a concentration over activity is multiplied with: body size, or 100 for percent."""
    if case.kind in ("bqml_injection", "bqml_scan"):
        return 1.0, (), []
    if case.kind == "pct_id_ml":
        return 100.0, (), []
    if case.kind == "pct_id_g":
        if not case.density_g_per_ml > 0:
            raise UsageError("A density must be positive", field="density_g_per_ml", found=case.density_g_per_ml)
        given = [] if case.density_g_per_ml == TISSUE_DENSITY_G_PER_ML else [_density_tag(case)]
        return 100.0 / case.density_g_per_ml, (), given
    kind = cast(BodySizeKind, case.kind)
    problems = check_body(case.header, kind)
    return size_of(case.header, kind), problems, body_tags(case.header, given=case.overrides)


def _density_tag(case: Case) -> TagUsed:
    return TagUsed("tissue density", "", f"{case.density_g_per_ml:g} g/mL", "user")


def size_of(header: PetSeriesHeader, kind: BodySizeKind) -> float:
    """The body size of a kind in g or cm2."""
    return body_size(kind, weight_kg=header.weight_kg, height_m=header.height_m, sex=header.sex)


def check_body(header: PetSeriesHeader, kind: BodySizeKind) -> tuple[Problem, ...]:
    """Plausibility of the body; errors are raised, warnings returned."""
    group = species_group(header.species)
    if kind != "bw" and group not in (None, "human"):
        raise DataError(
            "Lean body mass, ideal weight and body surface are defined for humans only",
            field="PatientSpeciesDescription",
            found=header.species,
            expected="SUV by body weight (bw) for animals",
        )
    problems: list[Problem] = []
    weight, height = header.weight_kg, header.height_m
    if weight is not None:
        problems += check_weight(weight, species=header.species)
    if kind != "bw" and height is not None:
        problems += check_height(height, weight_kg=weight)
        if weight is not None and kind.startswith("lbm_james") and not any(p.severity == "error" for p in problems):
            coefficient = 128.0 if kind == "lbm_james128" else 120.0
            problems += check_james_range(weight, height, header.sex, male_coefficient=coefficient)
    raise_or_warn(problem for problem in problems if problem.severity == "error")
    return tuple(problems)


def body_tags(header: PetSeriesHeader, *, given: SuvOverrides | None = None) -> list[TagUsed]:
    """Weight, height and sex of the header, except for what the user gave and is recorded already."""
    rows = (
        ("weight_kg", "PatientWeight", "(0010,1030)", header.weight_kg, " kg"),
        ("height_m", "PatientSize", "(0010,1020)", header.height_m, " m"),
        ("sex", "PatientSex", "(0010,0040)", header.sex, ""),
    )
    return [
        TagUsed(keyword, tag, f"{value}{unit}")
        for name, keyword, tag, value, unit in rows
        if value is not None and (given is None or getattr(given, name) is None)
    ]


def unless_given(case: Case, name: str, keyword: str, tag: str, value: object) -> tuple[TagUsed, ...]:
    """The header's tag, unless the user's value stands in its place and is recorded already."""
    return () if getattr(case.overrides, name) is not None else (TagUsed(keyword, tag, str(value)),)
