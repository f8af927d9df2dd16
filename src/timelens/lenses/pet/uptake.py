"""From an acquisition to an uptake image: which factor, from the file's header or from what sidecar and user state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError, MissingFieldError
from timelens.lenses.pet.dicom_time import Instant
from timelens.lenses.pet.suv import UptakeKind, suv_factors
from timelens.lenses.pet.suv_audit import SuvAudit, SuvResult
from timelens.lenses.pet.suv_header import PetInstance, PetSeriesHeader, header_from_records
from timelens.lenses.pet.suv_overrides import SuvOverrides, SyringeAssay
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image

__all__ = ["Uptake", "along_first_axis", "header_of", "overrides_of", "uptake"]

_DICOM_UNITS = {"Bq/mL": "BQML", "g/mL": "GML", "cm2/mL": "CM2ML"}
_CONCENTRATIONS = ("Bq/mL", "kBq/mL", "MBq/mL")


@dataclass(frozen=True)
class Uptake:
    """An image in units of uptake and the audit of its factor."""

    image: Image
    result: SuvResult


def header_of(acquisition: Acquisition) -> PetSeriesHeader:
    """What the series says about itself: its DICOM records, or the sidecar's values in the same terms.

    Raises
    ------
    MissingFieldError, DataError
        If neither says in which unit and with which corrections the values are.
    """
    if acquisition.header:
        unit = _DICOM_UNITS.get(acquisition.image.unit)
        # A series that does not say its units, and whose unit the user stated.
        records = [{"Units": unit, **{k: v for k, v in r.items() if v not in ("", None)}} for r in acquisition.header]
        return header_from_records(records if unit else acquisition.header, source=acquisition.where)
    image = acquisition.image
    unit = "Bq/mL" if image.unit in _CONCENTRATIONS else image.unit
    if unit not in _DICOM_UNITS:
        raise DataError(
            f"Values in {image.unit} are not activity concentrations and cannot become SUV",
            file=acquisition.where,
            field="Units",
            found=image.unit,
            expected="Bq/mL or g/mL",
            mend="state the unit of the image in its sidecar or in study.yaml",
        )
    if unit == "Bq/mL" and image.decay_reference is None:
        raise MissingFieldError(
            "To which time the values are decay-corrected is not said",
            file=acquisition.where,
            field="ImageDecayCorrected, ImageDecayCorrectionTime",
            expected="true, and the time",
            mend="complete the sidecar",
        )
    notes = []
    attenuation = acquisition.extra.get("AttenuationCorrection")
    if isinstance(attenuation, str) and attenuation.strip().lower() in ("none", "no", "nac", "false"):
        raise DataError(
            "The image is not corrected for attenuation (NAC): its values are no concentrations",
            file=acquisition.where,
            field="AttenuationCorrection",
            found=attenuation,
            expected="the method of correction",
        )
    if attenuation is None:
        notes.append("AttenuationCorrection is not stated in the sidecar: the image was taken as corrected")
    start = acquisition.acquisition_time or image.decay_reference
    frames = len(image.frames) if image.frames is not None else 1
    instance = PetInstance(acquisition=None if start is None else Instant.of(start))
    return PetSeriesHeader(
        units=_DICOM_UNITS[unit],
        suv_type=None,
        decay_correction="START",
        corrected_image=("ATTN", "DECY"),
        weight_kg=_per(acquisition.weight_g, 1e3),
        height_m=_per(acquisition.height_mm, 1e3),
        sex=acquisition.sex,
        species=acquisition.species,
        series=None if image.decay_reference is None else Instant.of(image.decay_reference),
        injection=None if acquisition.administered_time is None else Instant.of(acquisition.administered_time),
        dose_bq=acquisition.administered_activity_bq,
        half_life_s=acquisition.half_life_s,
        nuclide=acquisition.radionuclide,
        instances=(instance,) * frames,
        source=acquisition.where,
        notes=tuple(notes),
    )


def overrides_of(acquisition: Acquisition, extra: Mapping[str, Any] | None = None) -> SuvOverrides:
    """What the user stated in place of the header's values, with ``extra`` (of one animal of several) on top.

    Syringe readings are no override: an assay time or a residue makes the dose one that was drawn up, whoever said it.
    """
    said = {name: getattr(acquisition, name) for name in acquisition.overrides}
    said |= dict(extra or {})
    if unknown := set(extra or {}) - _OVERRIDABLE:
        raise DataError("No such value can be stated", field=", ".join(sorted(unknown)), expected=sorted(_OVERRIDABLE))
    syringe = _syringe(acquisition, said, own=extra is not None)
    dose = said.get("administered_activity_bq")
    return SuvOverrides(
        dose_bq=float(dose) if dose is not None and syringe is None else None,
        syringe=syringe,
        weight_kg=_per(said.get("weight_g"), 1e3),
        height_m=_per(said.get("height_mm"), 1e3),
        sex=said.get("sex"),
        species=said.get("species"),
        injection=said.get("administered_time"),
        reference=said.get("decay_reference_time") or _sidecar_reference(acquisition),
        half_life_s=said.get("half_life_s"),
        decay_correction=said.get("decay_correction"),
        corrected_image=said.get("corrected_image"),
        cross_calibration=said.get("cross_calibration", acquisition.cross_calibration),
    )


_SYRINGE = ("administered_activity_bq", "assay_time", "residual_activity_bq", "residual_time")


def _syringe(acquisition: Acquisition, said: Mapping[str, Any], *, own: bool) -> SyringeAssay | None:
    """The readings of the syringe, if there are any beyond a net dose; an animal's own go without the scan's."""
    values = {name: said.get(name) if own else getattr(acquisition, name) for name in _SYRINGE}
    dose, assay, residual = (values[name] for name in _SYRINGE[:3])
    if dose is None or (assay is None and residual is None):
        return None
    stored = acquisition.image.unit in ("g/mL", "cm2/mL")
    if stored and not own and not set(_SYRINGE) & set(acquisition.overrides):
        return None  # the scanner's SUV has used them already
    at = assay or said.get("administered_time") or acquisition.administered_time
    if at is None:
        raise MissingFieldError(
            "Syringe readings need the time of the assay",
            file=acquisition.where,
            field="assay_time",
            mend="write assay_time in study.yaml",
        )
    return SyringeAssay(float(dose), at, float(residual or 0.0), values["residual_time"])


def _sidecar_reference(acquisition: Acquisition) -> datetime | None:
    """The time to which an image without a DICOM header is decay-corrected."""
    if acquisition.header or acquisition.image.unit in ("g/mL", "cm2/mL"):
        return None
    return acquisition.image.decay_reference


_OVERRIDABLE = {
    "administered_activity_bq", "assay_time", "residual_activity_bq", "residual_time", "administered_time", "weight_g",
    "height_mm", "sex", "species", "half_life_s", "cross_calibration",
}  # fmt: skip


def uptake(
    acquisition: Acquisition,
    kind: UptakeKind = "bw",
    *,
    stated: Mapping[str, Any] | None = None,
    density_g_per_ml: float = 1.0,
    nuclide_half_life_s: float | None = None,
) -> Uptake:
    """The acquisition as an image of SUV, %ID/g, %ID/mL or Bq/mL at another time.

    Parameters
    ----------
    acquisition
        A PET or SPECT image with its header or sidecar values.
    kind
        See :func:`timelens.lenses.pet.suv.suv_factors`.
    stated
        Values of one of several animals in the bed, in place of the acquisition's.
    density_g_per_ml
        For %ID/g.
    nuclide_half_life_s
        Evaluated half-life of the nuclide: held against the header's, and used where the header has none.

    Raises
    ------
    MissingFieldError, DataError
        As :func:`timelens.lenses.pet.suv.suv_factors`.
    """
    header = header_of(acquisition)
    result = suv_factors(
        header,
        kind,
        overrides=overrides_of(acquisition, stated),
        density_g_per_ml=density_g_per_ml,
        nuclide_half_life_s=nuclide_half_life_s,
    )
    if _sidecar_reference(acquisition) is not None and "decay_reference_time" not in acquisition.overrides:
        result = replace(result, audit=_said_by_sidecar(result.audit))
    image = acquisition.image
    quantity = {"bw": "suv", "lbm_james": "suv_lbm", "lbm_janma": "suv_janma", "bsa": "suv_bsa"}.get(kind)
    if kind.startswith("bqml"):
        quantity = "activity_concentration"
    base = image.to_unit("Bq/mL") if image.unit in _CONCENTRATIONS else image
    factors = along_first_axis(result.factors, image.shape)
    factor_unit = _factor_unit(base.unit, result.unit)
    return Uptake(base.scaled(factors, factor_unit, unit=result.unit, quantity=quantity), result)


def _said_by_sidecar(audit: SuvAudit) -> SuvAudit:
    """The audit of an image without a DICOM header: the reference time was the sidecar's, not the user's."""
    tags = tuple(
        replace(t, keyword="decay reference of the image", origin="header") if t.keyword == "reference time" else t
        for t in audit.tags
    )
    return replace(audit, branch=audit.branch.replace("user_reference", "sidecar"), tags=tags)


def _factor_unit(stored: str, wanted: str) -> str:
    if stored == wanted:
        return "1"
    if stored.endswith("/mL") and wanted.endswith("/mL"):  # one volume, and no volume per volume
        return f"{wanted[:-3]}/{stored[:-3]}"
    return f"({wanted})/({stored})"


def along_first_axis(factors: NDArray[np.float64], shape: tuple[int, ...]) -> float | NDArray[np.float64]:
    """One factor where all agree, else one per slice of a volume or per frame of a series."""
    first = float(factors[0])
    if float(np.ptp(factors)) <= 1e-12 * abs(first):
        return first
    if len(factors) == shape[0]:
        return factors
    if len(shape) == 4 and len(factors) == shape[0] * shape[1]:
        by_frame = factors.reshape(shape[:2])
        if np.ptp(by_frame, axis=1).max() <= 1e-9 * abs(first):
            return np.asarray(by_frame[:, 0])
    raise DataError(
        "The images of this series have different SUV factors that do not follow its slices or frames",
        found=f"{factors.min():.9g} to {factors.max():.9g}",
        expected="one factor, or one per slice or frame",
    )


def _per(value: float | None, divisor: float) -> float | None:
    return None if value is None else float(value) / divisor
