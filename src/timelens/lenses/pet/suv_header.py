"""What a PET series says about itself, as far as SUV needs it, read from DICOM keywords and values.

The records are plain dictionaries, one per image instance, so this module knows no DICOM library. Keys are DICOM
keywords: ``SeriesDate``, ``SeriesTime``, ``AcquisitionDate``, ``AcquisitionTime`` (or ``AcquisitionDateTime``),
``TimezoneOffsetFromUTC``, ``Units``, ``SUVType``, ``DecayCorrection``, ``CorrectedImage``, ``Manufacturer``,
``PatientWeight``, ``PatientSize``, ``PatientSex``, ``PatientSpeciesDescription``, ``FrameReferenceTime``,
``ActualFrameDuration``; from the item of the Radiopharmaceutical Information Sequence (flattened into the record, or
left as a list of dictionaries under ``RadiopharmaceuticalInformationSequence``) ``RadiopharmaceuticalStartDateTime``,
``RadiopharmaceuticalStartTime``, ``RadionuclideTotalDose``, ``RadionuclideHalfLife``, ``Radionuclide`` (the code
meaning); and of the private elements

``PhilipsPETPrivateGroup.SUVScaleFactor``
    (7053,xx00) "Philips PET Private Group".
``PhilipsPETPrivateGroup.ActivityConcentrationScaleFactor``
    (7053,xx09) of the same.
``GEPrivateScanDateTime``
    (0009,xx0D) "GEMS_PETD_01", start of the scan; also taken under the name ``GEPrivatePostInjectionDateTime``.
``SiemensPrivateDecayCorrectionDateTime``
    (0071,xx22) "SIEMENS MED PT".

Values may be text as in the file, numbers, or date and time objects. Rescaling of pixels is not looked at here.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timelens.errors import DataError, MissingFieldError
from timelens.lenses.pet.dicom_time import Instant, parse_date, parse_datetime, parse_time, text_of, zone_offset

__all__ = ["PetInstance", "PetSeriesHeader", "header_from_records"]

Record = Mapping[str, Any]


@dataclass(frozen=True)
class PetInstance:
    """Timing and private factors of one image of a series."""

    acquisition: Instant | None = None
    frame_reference_time_ms: float | None = None
    actual_frame_duration_ms: float | None = None
    philips_suv_factor: float | None = None
    philips_activity_factor: float | None = None
    ge_scan: Instant | None = None
    siemens_decay: Instant | None = None


@dataclass(frozen=True)
class PetSeriesHeader:
    """What the images of a series have in common, and its images. What is absent is None.

    Attributes
    ----------
    units, suv_type, decay_correction, corrected_image, manufacturer
        As in DICOM, in capitals (``manufacturer`` as written).
    weight_kg, height_m, sex, species
        Of the subject. Zero, which scanners write for "not entered", is None.
    series
        Series date and time.
    injection
        Radiopharmaceutical start date-time.
    injection_time_s
        Radiopharmaceutical start time (no date): seconds since midnight.
    dose_bq, half_life_s, nuclide
        Of the radiopharmaceutical.
    administrations
        Number of items in the Radiopharmaceutical Information Sequence.
    instances
        In the order of the records.
    source
        File or folder, for messages.
    notes
        What was assumed when the records were read.
    """

    units: str | None = None
    suv_type: str | None = None
    decay_correction: str | None = None
    corrected_image: tuple[str, ...] = ()
    manufacturer: str = ""
    weight_kg: float | None = None
    height_m: float | None = None
    sex: str | None = None
    species: str | None = None
    series: Instant | None = None
    injection: Instant | None = None
    injection_time_s: float | None = None
    dose_bq: float | None = None
    half_life_s: float | None = None
    nuclide: str | None = None
    administrations: int = 1
    instances: tuple[PetInstance, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()

    @property
    def earliest_acquisition(self) -> Instant | None:
        """Start of the first image that says when it was acquired."""
        return min((i.acquisition for i in self.instances if i.acquisition is not None), default=None)

    @property
    def acquisition_end(self) -> Instant | None:
        """End of the last image, as far as frame durations are given."""
        ends = (
            i.acquisition.shifted((i.actual_frame_duration_ms or 0.0) / 1000)
            for i in self.instances
            if i.acquisition is not None
        )
        return max(ends, default=None)


_COMMON = (
    "Units", "SUVType", "DecayCorrection", "CorrectedImage", "Manufacturer", "PatientWeight", "PatientSize",
    "PatientSex", "PatientSpeciesDescription", "SeriesDate", "SeriesTime", "TimezoneOffsetFromUTC",
    "RadiopharmaceuticalStartDateTime", "RadiopharmaceuticalStartTime", "RadionuclideTotalDose",
    "RadionuclideHalfLife", "Radionuclide",
)  # fmt: skip


def header_from_records(records: Iterable[Record], *, source: str = "") -> PetSeriesHeader:
    """The header of one PET series from one record per image.

    Parameters
    ----------
    records
        DICOM keywords and values of each image (see the module's text for the keys).
    source
        File or folder, for messages.

    Returns
    -------
    PetSeriesHeader
        ``instances`` in the order of the records.

    Raises
    ------
    MissingFieldError
        There is no record.
    DataError
        Images of one series disagree about what they must have in common, or a value cannot be read.
    """
    flat = [_flatten(record) for record in records]
    if not flat:
        raise MissingFieldError("A PET series without images has no SUV", file=source, field="instances")
    try:
        return _header([record for record, _ in flat], flat[0][1], source)
    except DataError as error:
        raise error.at(file=source) from None


def _header(records: Sequence[Record], administrations: int, source: str) -> PetSeriesHeader:
    common = {key: _agreed(records, key) for key in _COMMON}
    notes: list[str] = []
    zone = zone_offset(text_of(common["TimezoneOffsetFromUTC"]))
    series_date = parse_date(common["SeriesDate"], "SeriesDate")
    series_time = parse_time(common["SeriesTime"], "SeriesTime")
    instances = tuple(_instance(record, series_date, zone, notes) for record in records)
    if series_date is None and series_time is not None:
        acquired = min((i.acquisition.date for i in instances if i.acquisition is not None), default=None)
        if acquired is not None:
            series_date = acquired
            notes.append("SeriesDate is absent: the date of the first acquisition was used")
    series = Instant(series_date, series_time) if series_date is not None and series_time is not None else None
    injection = parse_datetime(
        common["RadiopharmaceuticalStartDateTime"], "RadiopharmaceuticalStartDateTime", zone_s=zone, notes=notes
    )
    sex = text_of(common["PatientSex"]).upper()
    return PetSeriesHeader(
        units=text_of(common["Units"]).upper() or None,
        suv_type=text_of(common["SUVType"]).upper() or None,
        decay_correction=text_of(common["DecayCorrection"]).upper() or None,
        corrected_image=_values(common["CorrectedImage"]),
        manufacturer=text_of(common["Manufacturer"]),
        weight_kg=_number(common["PatientWeight"], "PatientWeight") or None,
        height_m=_number(common["PatientSize"], "PatientSize") or None,
        sex=sex or None,
        species=text_of(common["PatientSpeciesDescription"]) or None,
        series=series,
        injection=injection,
        injection_time_s=parse_time(common["RadiopharmaceuticalStartTime"], "RadiopharmaceuticalStartTime"),
        dose_bq=_number(common["RadionuclideTotalDose"], "RadionuclideTotalDose") or None,
        half_life_s=_number(common["RadionuclideHalfLife"], "RadionuclideHalfLife") or None,
        nuclide=text_of(common["Radionuclide"]) or None,
        administrations=administrations,
        instances=instances,
        source=source,
        notes=tuple(dict.fromkeys(notes)),
    )


def _instance(record: Record, series_date: dt.date | None, zone: float | None, notes: list[str]) -> PetInstance:
    philips = record.get("PhilipsPETPrivateGroup") or {}
    ge_key = "GEPrivateScanDateTime" if record.get("GEPrivateScanDateTime") else "GEPrivatePostInjectionDateTime"
    siemens_key = "SiemensPrivateDecayCorrectionDateTime"
    return PetInstance(
        acquisition=_acquisition(record, series_date, zone, notes),
        frame_reference_time_ms=_number(record.get("FrameReferenceTime"), "FrameReferenceTime"),
        actual_frame_duration_ms=_number(record.get("ActualFrameDuration"), "ActualFrameDuration"),
        philips_suv_factor=_number(philips.get("SUVScaleFactor"), "(7053,xx00) SUVScaleFactor"),
        philips_activity_factor=_number(
            philips.get("ActivityConcentrationScaleFactor"), "(7053,xx09) ActivityConcentrationScaleFactor"
        ),
        ge_scan=parse_datetime(record.get(ge_key), ge_key, zone_s=zone, notes=notes),
        siemens_decay=parse_datetime(record.get(siemens_key), siemens_key, zone_s=zone, notes=notes),
    )


def _acquisition(record: Record, series_date: dt.date | None, zone: float | None, notes: list[str]) -> Instant | None:
    time = parse_time(record.get("AcquisitionTime"), "AcquisitionTime")
    if time is None:
        return parse_datetime(record.get("AcquisitionDateTime"), "AcquisitionDateTime", zone_s=zone, notes=notes)
    date = parse_date(record.get("AcquisitionDate"), "AcquisitionDate")
    if date is None and series_date is not None:
        date = series_date
        notes.append("AcquisitionDate is absent: the series date was used")
    return None if date is None else Instant(date, time)


def _flatten(record: Record) -> tuple[Record, int]:
    """The record with the one radiopharmaceutical item lifted into it, and the number of items."""
    items = record.get("RadiopharmaceuticalInformationSequence")
    if not isinstance(items, Sequence) or isinstance(items, str) or not items:
        return record, 1
    if len(items) > 1:
        return record, len(items)  # which one belongs to the image is not for us to choose
    return {**record, **items[0]}, 1


def _agreed(records: Sequence[Record], key: str) -> Any:
    """The value that all records share; absent in some of them is no contradiction."""
    seen: dict[Any, Any] = {}
    for record in records:
        value = record.get(key)
        if value is None or value == "":
            continue
        seen.setdefault(_values(value) if key == "CorrectedImage" else str(value).strip(), value)
    # "52" and "52.0" are one weight.
    if len(seen) > 1 and len({_as_float(text) for text in seen}) > 1:
        raise DataError(
            "The images of one series disagree",
            field=key,
            found=f"{len(seen)} different values",
            expected="one value in all images",
            mend="split the series, or correct the header",
        )
    return next(iter(seen.values()), None)


def _as_float(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _values(value: Any) -> tuple[str, ...]:
    parts = value.split("\\") if isinstance(value, str) else value or ()
    return tuple(text_of(part).upper() for part in parts if text_of(part))


def _number(value: Any, field: str) -> float | None:
    text = text_of(value)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError("Not a number", field=field, found=repr(text), expected="a number", mend="correct the header")
    return number
