"""What a DICOM header says, as plain records and as fields of an acquisition.

Only keywords on a list are copied. Names, numbers and dates of birth of patients are not on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import IS, DSdecimal, DSfloat

from timelens.errors import Problem
from timelens.formats.dicom.codes import read_note
from timelens.formats.dicom.safe import number, private, text, value
from timelens.formats.dicom.times import moment, read_dt, read_tm
from timelens.knowledge import agents, dicom_codes

__all__ = ["acquisition_fields", "administration", "record"]

_COPIED = (
    "Modality", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "SeriesDescription", "ImageType",
    "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "TimezoneOffsetFromUTC",
    "Units", "SUVType", "DecayCorrection", "CorrectedImage", "CountsSource", "SeriesType",
    "PatientWeight", "PatientSize", "PatientSex", "PatientSpeciesDescription",
    "FrameReferenceTime", "ActualFrameDuration", "DecayFactor", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "ImageIndex", "NumberOfSlices", "NumberOfTimeSlices", "TemporalPositionIdentifier",
    "AttenuationCorrectionMethod", "ScatterCorrectionMethod", "ReconstructionMethod", "ConvolutionKernel", "KVP",
    "EchoTime", "RepetitionTime", "FlipAngle", "InversionTime", "DiffusionBValue", "MagneticFieldStrength",
    "ScanningSequence", "SequenceVariant", "EchoPulseSequence", "EchoPlanarPulseSequence", "Spoiling",
    "ComplexImageComponent", "ContrastBolusAgent", "AcquisitionContrast", "PixelPaddingValue", "PatientPosition",
    "SliceThickness", "GantryDetectorTilt",
)  # fmt: skip
_DOSE = (
    "Radiopharmaceutical", "RadiopharmaceuticalStartTime", "RadiopharmaceuticalStopTime", "RadionuclideTotalDose",
    "RadionuclideHalfLife", "RadionuclidePositronFraction", "RadiopharmaceuticalStartDateTime",
    "RadiopharmaceuticalStopDateTime", "RadiopharmaceuticalSpecificActivity", "RadiopharmaceuticalVolume",
)  # fmt: skip
_PRIVATE = (
    (0x7053, "Philips PET Private Group", 0x00, "SUVScaleFactor"),
    (0x7053, "Philips PET Private Group", 0x09, "ActivityConcentrationScaleFactor"),
    (0x0009, "GEMS_PETD_01", 0x0D, "GEPrivateScanDateTime"),
    (0x0071, "SIEMENS MED PT", 0x22, "SiemensPrivateDecayCorrectionDateTime"),
    (0x2005, "Philips MR Imaging DD 001", 0x0E, "PhilipsScaled"),
)
_SPECIES = {
    "homo sapiens": "human",
    "mus musculus": "mouse",
    "rattus norvegicus": "rat",
    "oryctolagus cuniculus": "rabbit",
    "canis lupus familiaris": "dog",
    "sus scrofa": "pig",
}
#: A time of day without a date is only dated for nuclides that are gone within days (as for SUV).
_DATELESS_HALF_LIFE_S = 41400.0
_LEAD = timedelta(seconds=300)


def record(dataset: Dataset, path: str | Path = "") -> dict[str, Any]:
    """The values that quantification reads, by DICOM keyword, as plain numbers and text.

    The items of the Radiopharmaceutical Information Sequence stand as a list under its keyword; private factors under
    ``PhilipsPETPrivateGroup``, ``GEPrivateScanDateTime`` and ``SiemensPrivateDecayCorrectionDateTime``.
    """
    found = _copy(dataset, _COPIED, path)
    items = value(dataset, "RadiopharmaceuticalInformationSequence", path)
    if items:
        found["RadiopharmaceuticalInformationSequence"] = [_dose(item, path) for item in items]
    for group, creator, element, name in _PRIVATE:
        kept = private(dataset, group, creator, element)
        if kept is not None and group == 0x7053:
            found.setdefault("PhilipsPETPrivateGroup", {})[name] = kept
        elif kept is not None:
            found[name] = kept
    return found


def _copy(dataset: Dataset, keywords: Sequence[str], path: str | Path) -> dict[str, Any]:
    values = {keyword: value(dataset, keyword, path) for keyword in keywords if keyword in dataset}
    return {keyword: _plain(v) for keyword, v in values.items() if v is not None}


def _agent(words: str, meaning: str) -> str | None:
    """The file's own words where they name an agent (some scanners write Solution), else those of its code."""
    return words if words and agents.find(words) is not None else meaning or words or None


def _nuclide(code: Dataset, path: str | Path) -> str | None:
    """The nuclide of a code, written 18F where the code is known, else as the file words it."""
    known = dicom_codes.nuclide(text(code, "CodeValue", path), text(code, "CodingSchemeDesignator", path))
    return known or text(code, "CodeMeaning", path) or None


def _dose(item: Dataset, path: str | Path) -> dict[str, Any]:
    found = _copy(item, _DOSE, path)
    for keyword, name in (
        ("RadionuclideCodeSequence", "Radionuclide"),
        ("RadiopharmaceuticalCodeSequence", "RadiopharmaceuticalCode"),
    ):
        codes = value(item, keyword, path)
        if codes:
            found[name] = text(codes[0], "CodeMeaning", path)
            found[f"{name}CodeValue"] = text(codes[0], "CodeValue", path)
            found[f"{name}CodingScheme"] = text(codes[0], "CodingSchemeDesignator", path)
    return found


def _plain(found: Any) -> Any:
    if isinstance(found, MultiValue | list | tuple):
        return [_plain(v) for v in found]
    if isinstance(found, IS):
        return int(found)
    if isinstance(found, DSfloat | DSdecimal | float):
        return float(found)
    return found if isinstance(found, int) else str(found).strip(" \0")


def administration(dataset: Dataset, path: str | Path, first: datetime | None) -> tuple[dict[str, Any], list[Problem]]:
    """Agent, nuclide, dose and time of injection as fields of an acquisition.

    Parameters
    ----------
    dataset, path
        A header of the series and its file.
    first
        Start of the acquisition; dates an injection that only says its time of day, if the nuclide is short-lived.
    """
    items = value(dataset, "RadiopharmaceuticalInformationSequence", path) or []
    problems: list[Problem] = []
    if len(items) != 1:
        if len(items) > 1:
            problems.append(
                _warning(
                    "Several administrations are recorded, and which belongs to the image is not said",
                    path,
                    "RadiopharmaceuticalInformationSequence",
                    f"{len(items)} items",
                    mend="give dose and time in study.yaml",
                )
            )
        return {}, problems
    item = items[0]
    codes = value(item, "RadiopharmaceuticalCodeSequence", path)
    nuclides = value(item, "RadionuclideCodeSequence", path)
    half_life = number(item, "RadionuclideHalfLife", path) or None
    zone = text(dataset, "TimezoneOffsetFromUTC", path)
    given = read_dt(item, "RadiopharmaceuticalStartDateTime", path, zone=zone)
    clock = read_tm(item, "RadiopharmaceuticalStartTime", path)
    if given is None and clock is not None and first is not None and half_life and half_life < _DATELESS_HALF_LIFE_S:
        given = datetime.combine(first.date(), clock)
        if given > first + _LEAD:
            given -= timedelta(days=1)
        problems.append(
            _warning(
                "The injection says only its time of day; the last such time before the scan was taken",
                path,
                "RadiopharmaceuticalStartDateTime",
                "RadiopharmaceuticalStartTime only",
                mend="give the injection date and time in study.yaml if it is another",
            )
        )
    return {
        "agent": _agent(text(item, "Radiopharmaceutical", path), text(codes[0], "CodeMeaning", path) if codes else ""),
        "radionuclide": _nuclide(nuclides[0], path) if nuclides else None,
        "half_life_s": half_life,
        "administered_activity_bq": number(item, "RadionuclideTotalDose", path) or None,
        "administered_time": given,
    }, problems


def acquisition_fields(
    dataset: Dataset, path: str | Path, first: datetime | None
) -> tuple[dict[str, Any], list[Problem]]:
    """Everything an acquisition knows besides its image, from one header of the series."""
    found, problems = administration(dataset, path, first)
    weight, size = number(dataset, "PatientWeight", path), number(dataset, "PatientSize", path)
    for keyword, given in (("PatientWeight", weight), ("PatientSize", size)):
        if given == 0:
            problems.append(_warning("Zero stands for a value that was not entered", path, keyword, "0"))
    sex = text(dataset, "PatientSex", path).upper()
    species = text(dataset, "PatientSpeciesDescription", path).lower()
    found |= {
        "series_time": moment(dataset, "Series", path),
        "acquisition_time": first,
        "weight_g": weight * 1000 if weight else None,
        "height_mm": size * 1000 if size else None,
        "sex": sex if sex in ("M", "F") else None,
        "age_years": _age(text(dataset, "PatientAge", path)),
        "species": _SPECIES.get(species, species or None),
        "description": text(dataset, "SeriesDescription", path),
    }
    return found | _noted(read_note(dataset)), problems


#: Fields that DICOM has no place for, as our note holds them.
NOTED_NUMBERS = ("residual_activity_bq", "glucose_mmol_per_l", "cross_calibration", "administered_activity_bq")
NOTED_TIMES = ("residual_time", "assay_time")


def _noted(note: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {k: float(note[k]) for k in NOTED_NUMBERS if isinstance(note.get(k), int | float)}
    for name in NOTED_TIMES:
        try:
            found[name] = datetime.fromisoformat(note[name])
        except (KeyError, TypeError, ValueError):
            continue
    if isinstance(note.get("species"), str):
        found["species"] = note["species"]
    return found


def _age(written: str) -> float | None:
    parts = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}
    if len(written) == 4 and written[:3].isdigit() and written[3] in parts:
        return int(written[:3]) / parts[written[3]]
    return None


def _warning(message: str, path: str | Path, field: str, found: str, *, mend: str = "") -> Problem:
    return Problem(message, str(path), field, found, mend=mend, severity="warning")


def day_of(dataset: Dataset, path: str | Path) -> date | None:
    """Date of the series, for acquisition times without one."""
    when = moment(dataset, "Series", path)
    return None if when is None else when.date()
