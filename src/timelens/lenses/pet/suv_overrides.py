"""Values that the user puts in place of the header's, each of them recorded in the audit."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, fields, replace

from timelens.errors import UsageError
from timelens.lenses.pet.dicom_time import Instant
from timelens.lenses.pet.suv_audit import TagUsed
from timelens.lenses.pet.suv_header import PetSeriesHeader

__all__ = ["SuvOverrides", "SyringeAssay", "apply_overrides"]


@dataclass(frozen=True)
class SyringeAssay:
    """Dose calibrator readings of a syringe before and after the injection, in Bq.

    ``residual`` is the time of the second reading; without it the residue counts as measured at injection.
    """

    assayed_bq: float
    assay: dt.datetime
    residual_bq: float = 0.0
    residual: dt.datetime | None = None


@dataclass(frozen=True)
class SuvOverrides:
    """What the user knows better than the header; None leaves the header's value.

    Attributes
    ----------
    dose_bq
        Net activity in the subject at injection in Bq.
    syringe
        Calibrator readings from which the net activity is computed; excludes ``dose_bq``.
    weight_kg, height_m, sex, species
        Of the subject.
    injection
        Date and time of injection on the clock of the scanner.
    reference
        Date and time to which the stored values are decay-corrected.
    half_life_s
        Half-life in seconds.
    decay_correction, corrected_image
        Replace the DICOM attributes, where these are known to be wrong or were removed.
    cross_calibration
        Factor from scanner to dose calibrator that the values are multiplied with.
    """

    dose_bq: float | None = None
    syringe: SyringeAssay | None = None
    weight_kg: float | None = None
    height_m: float | None = None
    sex: str | None = None
    species: str | None = None
    injection: dt.datetime | None = None
    reference: dt.datetime | None = None
    half_life_s: float | None = None
    decay_correction: str | None = None
    corrected_image: tuple[str, ...] | None = None
    cross_calibration: float | None = None

    def __post_init__(self) -> None:
        for name in ("dose_bq", "weight_kg", "height_m", "half_life_s", "cross_calibration"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(
                    "A value given in place of the header's must be positive",
                    field=name,
                    found=value,
                    expected="a positive number",
                )
        if self.dose_bq is not None and self.syringe is not None:
            raise UsageError("Give the net dose or the readings of the syringe, not both", field="dose_bq, syringe")

    @property
    def concern_times(self) -> bool:
        """Whether they change times or decay."""
        return any(v is not None for v in (self.injection, self.reference, self.half_life_s, self.decay_correction))

    @property
    def concern_scale(self) -> bool:
        """Whether they change what a scanner would divide by or multiply with."""
        return self.concern_times or any(v is not None for v in (self.dose_bq, self.syringe, self.weight_kg))


_TAGS = {
    "dose_bq": ("RadionuclideTotalDose", "(0018,1074)", "Bq"),
    "weight_kg": ("PatientWeight", "(0010,1030)", "kg"),
    "height_m": ("PatientSize", "(0010,1020)", "m"),
    "sex": ("PatientSex", "(0010,0040)", ""),
    "species": ("PatientSpeciesDescription", "(0010,2201)", ""),
    "injection": ("RadiopharmaceuticalStartDateTime", "(0018,1078)", ""),
    "half_life_s": ("RadionuclideHalfLife", "(0018,1075)", "s"),
    "decay_correction": ("DecayCorrection", "(0054,1102)", ""),
    "corrected_image": ("CorrectedImage", "(0028,0051)", ""),
    "reference": ("reference time", "", ""),
    "syringe": ("syringe assay", "", ""),
    "cross_calibration": ("cross-calibration factor", "", ""),
}


def apply_overrides(header: PetSeriesHeader, overrides: SuvOverrides) -> tuple[PetSeriesHeader, tuple[TagUsed, ...]]:
    """The header with the user's values in it, and the record of them.

    ``reference``, ``syringe`` and ``cross_calibration`` have no place in a header: they are only recorded here.
    """
    given = {f.name: getattr(overrides, f.name) for f in fields(overrides) if getattr(overrides, f.name) is not None}
    used = tuple(_record(name, value) for name, value in given.items())
    changes = {name: given[name] for name in given if name not in ("reference", "syringe", "cross_calibration")}
    for name in ("sex", "decay_correction"):
        if name in changes:
            changes[name] = changes[name].strip().upper()
    if "corrected_image" in changes:
        changes["corrected_image"] = tuple(part.upper() for part in changes["corrected_image"])
    if "injection" in changes:
        changes["injection"] = Instant.of(changes["injection"])
        changes["injection_time_s"] = None
    return replace(header, **changes), used


def _record(name: str, value: object) -> TagUsed:
    keyword, tag, unit = _TAGS[name]
    if isinstance(value, dt.datetime):
        text = value.isoformat(sep=" ")
    elif isinstance(value, SyringeAssay):
        text = f"{value.assayed_bq:g} Bq at {value.assay.isoformat(sep=' ')}, residue {value.residual_bq:g} Bq"
        text += f" at {value.residual.isoformat(sep=' ')}" if value.residual else ""
    elif isinstance(value, tuple):
        text = "\\".join(value)
    else:
        text = f"{value} {unit}".strip()
    return TagUsed(keyword, tag, text, "user")
