"""Write a volume or dynamic series as classic PT, CT or MR files, one per slice.

PT gets a rescale slope for each slice, so that every slice uses the full range of 16 bits; CT is written in whole
Hounsfield units; MR with one slope. UIDs follow from the content: the same acquisition gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from timelens import units
from timelens.engines.radioactivity import average_count_rate_time, net_injected_activity
from timelens.errors import DataError, GeometryError, MissingFieldError, UnitError, UsageError
from timelens.formats.dicom.codes import IMAGE_CLASSES, PET_UNITS, frame_uid, put_note, uid
from timelens.formats.dicom.header import NOTED_NUMBERS, NOTED_TIMES
from timelens.formats.dicom.safe import quiet
from timelens.formats.dicom.times import da, dt, tm
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image

__all__ = ["IMPLEMENTATION", "file_meta", "patient_module", "write_series"]

#: Implementation class UID of timelens.
IMPLEMENTATION = uid("implementation", "timelens")

_CLASSES = {modality: UID(sop_class) for sop_class, modality in IMAGE_CLASSES.items()}
_DICOM_MODALITY = {"pet": "PT", "ct": "CT", "mr": "MR"}
_TERMS = {unit: term for term, unit in PET_UNITS.items()}
_CT_INTERCEPT = -1024
_IDENTITY = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyID", "OtherPatientIDs")
# SRT and SCT codes that PET readers look for (PS3.16 CID 4020, 4021, 25).
_NUCLIDES = {
    "18F": ("77004003", "^18^Fluorine"), "11C": ("40565003", "^11^Carbon"), "13N": ("21576001", "^13^Nitrogen"),
    "15O": ("129513004", "^15^Oxygen"), "68Ga": ("80751004", "^68^Gallium"), "64Cu": ("127530003", "^64^Copper"),
    "89Zr": ("1187571008", "^89^Zirconium"), "82Rb": ("79197006", "^82^Rubidium"), "124I": ("1873005", "^124^Iodine"),
}  # fmt: skip


def write_series(
    acquisition: Acquisition,
    folder: str | Path,
    *,
    identity: Mapping[str, str] | None = None,
    dtype: Literal["int16", "uint16"] = "int16",
    series_number: int = 1,
    study: str = "",
) -> list[Path]:
    """Write an image acquisition as a DICOM series.

    Parameters
    ----------
    acquisition
        With an image of modality ``pet``, ``ct`` or ``mr``.
    folder
        Where files ``000001.dcm`` and so on go; made if it is not there.
    identity
        Patient and study attributes by keyword (PatientName, PatientID, PatientBirthDate, AccessionNumber, StudyID);
        by default name and id are the subject's alias.
    dtype
        Stored type. Negative values need ``int16``.
    series_number
        Series Number.
    study
        Further text from which the study UID is made; acquisitions of one subject, session and study share a study.

    Returns
    -------
    list of Path
        The files in the order (frame, z).

    Raises
    ------
    DataError, MissingFieldError, UnitError, GeometryError, UsageError
        If the values, their unit, their decay reference or the geometry cannot be told in DICOM.
    """
    image = acquisition.image
    modality = _DICOM_MODALITY.get(acquisition.modality)
    if modality is None:
        raise UsageError(
            "This modality has no classic DICOM series",
            file=acquisition.id, field="modality", found=acquisition.modality, expected=", ".join(_DICOM_MODALITY),
        )  # fmt: skip
    image, term = _in_dicom_unit(image, modality)
    values = _values(image, acquisition)
    series_uid = uid("series", acquisition.subject, acquisition.session, acquisition.id, _digest(values, image))
    base = _series_part(acquisition, image, modality, term, series_uid, identity or {}, study, series_number)
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    files = []
    scales = _scales(values, modality, dtype)
    for number, (dataset, t, z) in enumerate(_instances(base, acquisition, image, values.shape[0]), 1):
        slope, intercept = scales[t, z]
        _put_pixels(dataset, values[t, z], slope, intercept, dtype if modality != "CT" else "uint16")
        dataset.InstanceNumber = number
        dataset.SOPInstanceUID = uid("instance", series_uid, number)
        dataset.file_meta = file_meta(dataset)
        path = place / f"{number:06d}.dcm"
        with quiet():
            dataset.save_as(path, enforce_file_format=True)
        files.append(path)
    return files


# -- values ----------------------------------------------------------------------------------------------------------


def _in_dicom_unit(image: Image, modality: str) -> tuple[Image, str]:
    """The image in a unit of DICOM's list, and its term there; other units stand in our note."""
    if modality == "CT":
        return image.to_unit("[hnsf'U]"), "HU"
    if modality == "MR":
        return image, ""
    if image.unit in _TERMS:
        return image, _TERMS[image.unit]
    for unit, term in _TERMS.items():
        if units.parse(unit).same_kind(image.unit):
            return image.to_unit(unit), term
    raise UnitError(
        "DICOM PET has no word for this unit",
        field="Units",
        found=image.unit,
        expected=", ".join(_TERMS),
        mend="write a parametric map",
    )


def _values(image: Image, acquisition: Acquisition) -> NDArray[np.float64]:
    if image.geometry is None or len(image.shape) > 4:
        raise GeometryError(
            "A DICOM series is a volume, or volumes along one axis",
            file=acquisition.id,
            field="axes",
            found=image.shape,
        )
    if not image.geometry.is_orthogonal:
        _require_square_pixels(image)
    values = image.numpy().astype(np.float64).reshape(-1, *image.geometry.shape)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise DataError(
            "DICOM stores whole numbers: values that are not finite cannot be written",
            file=acquisition.id, field="PixelData", found=f"{bad} voxels", expected="finite values", mend="fill",
        )  # fmt: skip
    return values


def _require_square_pixels(image: Image) -> None:
    """Rows and columns of a DICOM slice are at right angles; only the stacking may lean."""
    assert image.geometry is not None
    rows, columns = image.geometry.affine[:3, 1], image.geometry.affine[:3, 2]
    if abs(rows @ columns) > 1e-4 * np.linalg.norm(rows) * np.linalg.norm(columns):
        raise GeometryError(
            "Rows and columns are not at right angles",
            field="affine",
            expected="right angles",
            mend="resample the image first",
        )


def _digest(values: NDArray[np.float64], image: Image) -> str:
    assert image.geometry is not None
    digest = hashlib.sha256(np.ascontiguousarray(values).data)
    digest.update(image.geometry.affine.tobytes())
    return digest.hexdigest()


def _scales(values: NDArray[np.float64], modality: str, dtype: str) -> dict[tuple[int, int], tuple[float, float]]:
    """Slope and intercept for each slice; a slope is a number that 16 characters hold exactly."""
    if modality == "CT":
        top = 65535 + _CT_INTERCEPT
        if values.size and (values.min() < _CT_INTERCEPT - 0.5 or values.max() > top):
            raise DataError(
                "Values lie outside what a CT series holds",
                field="PixelData", found=f"{values.min():g} to {values.max():g}", expected=f"{_CT_INTERCEPT} to {top}",
            )  # fmt: skip
        return {index: (1.0, float(_CT_INTERCEPT)) for index in np.ndindex(values.shape[:2])}
    if dtype == "uint16" and values.size and values.min() < 0:
        raise DataError("Negative values need a signed type", field="dtype", found="uint16", expected="int16")
    limit = 32767 if dtype == "int16" else 65535
    tops = np.abs(values).max(axis=(2, 3))
    if modality == "MR":
        tops = np.full_like(tops, tops.max())
    return {(t, z): (_slope(float(tops[t, z]), limit), 0.0) for t, z in np.ndindex(*tops.shape)}


def _slope(top: float, limit: int) -> float:
    if top == 0:
        return 1.0
    # One part in 10^9 more, so that rounding to 16 characters never pushes the maximum beyond the limit.
    return float(format_number_as_ds(top / limit * (1 + 1e-9)))


def _put_pixels(dataset: Dataset, values: NDArray[np.float64], slope: float, intercept: float, dtype: str) -> None:
    dataset.RescaleSlope = format_number_as_ds(slope)
    dataset.RescaleIntercept = format_number_as_ds(intercept)
    stored = np.rint((values - intercept) / slope)
    info = np.iinfo(dtype)
    dataset.PixelData = np.clip(stored, info.min, info.max).astype(f"<{dtype[0]}2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.PixelRepresentation = 1 if dtype == "int16" else 0


# -- headers ---------------------------------------------------------------------------------------------------------


def file_meta(dataset: Dataset) -> FileMetaDataset:
    """File meta information for a data set that has its UIDs."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION)
    meta.ImplementationVersionName = "TIMELENS"
    return meta


def patient_module(dataset: Dataset, acquisition: Acquisition, identity: Mapping[str, str], study: str = "") -> None:
    """Patient, patient study and general study attributes.

    Raises
    ------
    UsageError
        If ``identity`` names an attribute that does not belong there.
    """
    if odd := set(identity) - set(_IDENTITY):
        raise UsageError(
            "Not an attribute of patient or study", field="identity", found=sorted(odd), expected=_IDENTITY
        )
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = dataset.PatientID = acquisition.subject
    dataset.PatientBirthDate = dataset.AccessionNumber = dataset.StudyID = dataset.ReferringPhysicianName = ""
    dataset.PatientSex = acquisition.sex or ""
    for keyword, given in identity.items():
        setattr(dataset, keyword, given)
    if acquisition.weight_g is not None:
        dataset.PatientWeight = _ds(acquisition.weight_g / 1000)
    if acquisition.height_mm is not None:
        dataset.PatientSize = _ds(acquisition.height_mm / 1000)
    if acquisition.age_years is not None:
        dataset.PatientAge = _age(acquisition.age_years)
    if acquisition.species is not None:
        dataset.PatientSpeciesDescription = acquisition.species
    when = acquisition.series_time or acquisition.acquisition_time
    dataset.StudyInstanceUID = uid("study", acquisition.subject, acquisition.session, study)
    dataset.StudyDate, dataset.StudyTime = da(when), tm(when)


def _age(years: float) -> str:
    for letter, per_year in (("Y", 1.0), ("M", 12.0), ("D", 365.25)):
        count = years * per_year
        if abs(count - round(count)) < 0.02 and round(count) < 1000 and (count >= 1 or letter == "D"):
            return f"{round(count):03d}{letter}"
    return f"{int(years):03d}Y"


def _series_part(
    acquisition: Acquisition,
    image: Image,
    modality: str,
    term: str,
    series_uid: str,
    identity: Mapping[str, str],
    study: str,
    series_number: int,
) -> Dataset:
    geometry = image.geometry
    assert geometry is not None
    dataset = Dataset()
    dataset.SOPClassUID = _CLASSES[modality]
    patient_module(dataset, acquisition, identity, study)
    dataset.Modality = modality
    dataset.ImageType = ["ORIGINAL", "PRIMARY"] if modality == "PT" else ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SeriesInstanceUID = series_uid
    dataset.SeriesNumber = series_number
    dataset.SeriesDescription = acquisition.description[:64]
    dataset.Manufacturer = str(acquisition.extra.get("Manufacturer", "timelens"))
    dataset.FrameOfReferenceUID = frame_uid(geometry.frame, series_uid)
    dataset.PositionReferenceIndicator = ""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = geometry.shape[1:]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    columns, rows = geometry.to_lps()[:3, :2].T
    across, down = np.linalg.norm(columns), np.linalg.norm(rows)
    dataset.ImageOrientationPatient = [_ds(v) for v in (*columns / across, *rows / down)]
    dataset.PixelSpacing = [_ds(down), _ds(across)]
    dataset.SliceThickness = _ds(geometry.spacing[0])
    dataset.SpacingBetweenSlices = _ds(geometry.spacing[0])
    series = acquisition.series_time or acquisition.acquisition_time
    if modality == "PT":
        series = _decay_part(dataset, acquisition, image, series)
        _pet_part(dataset, acquisition, image, term)
    elif modality == "CT":
        dataset.RescaleType = "HU"
        dataset.KVP = acquisition.extra.get("KVP", "")
    else:
        dataset.RescaleType = "US"
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.MRAcquisitionType = "RM", "NONE", "3D"
        dataset.ScanOptions = ""
        for keyword in ("EchoTime", "RepetitionTime", "FlipAngle", "MagneticFieldStrength"):
            if keyword in acquisition.extra:
                setattr(dataset, keyword, acquisition.extra[keyword])
    dataset.SeriesDate, dataset.SeriesTime = da(series), tm(series)
    put_note(dataset, _note(acquisition, image, modality))
    return dataset


def _note(acquisition: Acquisition, image: Image, modality: str) -> dict[str, Any]:
    """What DICOM has no place for."""
    assert image.geometry is not None
    note: dict[str, Any] = {}
    frame = image.geometry.frame
    if frame is None or frame_uid(frame) != frame:
        note["frame"] = frame
    if modality == "MR":
        note["unit"] = image.unit
    if np.linalg.det(image.geometry.to_lps()[:3, :3]) < 0:
        note["stack"] = -1
    if image.frames is not None:
        note |= {"zero": image.frames.zero, "start_s": float(image.frames.start[0])}
    if image.quantity is not None:
        note["quantity"] = image.quantity
    names = [n for n in NOTED_NUMBERS if getattr(acquisition, n) is not None]
    if acquisition.residual_activity_bq is None and acquisition.assay_time is None:
        names = [n for n in names if n != "administered_activity_bq"]
    note |= {n: getattr(acquisition, n) for n in names}
    note |= {n: getattr(acquisition, n).isoformat() for n in NOTED_TIMES if getattr(acquisition, n) is not None}
    if acquisition.species is not None:
        note["species"] = acquisition.species
    return note


def _decay_part(dataset: Dataset, acquisition: Acquisition, image: Image, series: datetime | None) -> datetime | None:
    """Decay correction, and the series time that goes with it."""
    reference = image.decay_reference
    activity = any(word in image.unit for word in ("Bq", "{counts}", "{propc"))
    dataset.DecayCorrection = "NONE" if activity else "START"
    dataset.CorrectedImage = ["ATTN", "SCAT", "RAN", "DTIM", "NORM"] + (["DECY"] if reference or not activity else [])
    if reference is None or not activity:
        return series
    if reference == acquisition.administered_time:
        dataset.DecayCorrection = "ADMIN"
        return series
    first = acquisition.acquisition_time
    if first is None:
        raise MissingFieldError(
            "Decay correction to another time than the injection needs the acquisition time",
            file=acquisition.id, field="acquisition_time", found="nothing", expected="a date and time",
        )  # fmt: skip
    if reference > first:
        raise DataError(
            "DICOM PET is decay-corrected to the injection or to a moment not after the start of the scan",
            file=acquisition.id, field="decay_reference", found=reference, expected=f"at most {first}",
            mend="convert with engines.radioactivity.convert_decay_reference first",
        )  # fmt: skip
    dataset.DecayCorrection = "START"
    return reference


def _pet_part(dataset: Dataset, acquisition: Acquisition, image: Image, term: str) -> None:
    assert image.geometry is not None
    frames = 1 if image.frames is None else len(image.frames)
    dataset.Units = term
    if term == "GML":
        dataset.SUVType = "BW"
    dataset.CountsSource = "EMISSION"
    dataset.SeriesType = ["STATIC" if image.frames is None else "DYNAMIC", "IMAGE"]
    dataset.NumberOfSlices = image.geometry.shape[0]
    if image.frames is not None:
        dataset.NumberOfTimeSlices = frames
    dataset.CollimatorType = "NONE"
    dataset.AttenuationCorrectionMethod = str(acquisition.extra.get("AttenuationCorrectionMethod", "measured"))
    dataset.ReconstructionMethod = str(acquisition.extra.get("ReconstructionMethod", ""))
    item = Dataset()
    if acquisition.agent is not None:
        item.Radiopharmaceutical = acquisition.agent[:64]
        item.RadiopharmaceuticalCodeSequence = Items(
            [_code(_short(acquisition.agent), "99TIMELENS", acquisition.agent)]
        )
    if acquisition.radionuclide is not None:
        code, meaning = _NUCLIDES.get(acquisition.radionuclide, ("", acquisition.radionuclide))
        scheme = "SCT" if code else "99TIMELENS"
        item.RadionuclideCodeSequence = Items([_code(code or _short(meaning), scheme, acquisition.radionuclide)])
    if acquisition.half_life_s is not None:
        item.RadionuclideHalfLife = _ds(acquisition.half_life_s)
    if acquisition.administered_time is not None:
        item.RadiopharmaceuticalStartTime = tm(acquisition.administered_time)
        item.RadiopharmaceuticalStartDateTime = dt(acquisition.administered_time)
    activity = _net_activity(acquisition)
    if activity is not None:
        item.RadionuclideTotalDose = _ds(activity)
    dataset.RadiopharmaceuticalInformationSequence = Items([item])


def _net_activity(acquisition: Acquisition) -> float | None:
    """What entered the subject, at the time of injection, as DICOM wants it."""
    drawn = acquisition.administered_activity_bq
    if drawn is None or (acquisition.assay_time is None and acquisition.residual_activity_bq is None):
        return drawn
    half_life = acquisition.require("half_life_s", purpose="The net injected activity")
    zero = acquisition.require("administered_time", purpose="The net injected activity")
    since = [
        None if t is None else (t - zero).total_seconds() for t in (acquisition.assay_time, acquisition.residual_time)
    ]
    return net_injected_activity(
        drawn,
        half_life_s=half_life,
        assay_s=since[0] or 0.0,
        residual_bq=acquisition.residual_activity_bq or 0.0,
        residual_s=since[1],
    )


def _instances(base: Dataset, acquisition: Acquisition, image: Image, count: int) -> Iterator[tuple[Dataset, int, int]]:
    """The data set of each slice in the order (frame, z); one object, changed from slice to slice."""
    geometry = image.geometry
    assert geometry is not None
    lps = geometry.to_lps()
    for t in range(count):
        started = _frame_part(base, acquisition, image, t)
        base.AcquisitionDate, base.AcquisitionTime = da(started), tm(started)
        base.ContentDate, base.ContentTime = da(started), tm(started)
        for z in range(geometry.shape[0]):
            position = lps[:3, 3] + z * lps[:3, 2]
            base.ImagePositionPatient = [_ds(v) for v in position]
            if base.Modality == "PT":
                base.ImageIndex = t * geometry.shape[0] + z + 1
            yield base, t, z


def _frame_part(base: Dataset, acquisition: Acquisition, image: Image, t: int) -> datetime | None:
    """Times and other coordinates of one frame; its start."""
    first = acquisition.acquisition_time
    if len(image.shape) == 3:
        duration = _static_duration(acquisition)
        if base.Modality == "PT":
            base.ActualFrameDuration = "" if duration is None else round(duration * 1000)
            base.FrameReferenceTime = _reference(base, acquisition, image, first, duration)
        return first
    if image.frames is not None:
        if first is None:
            raise MissingFieldError(
                "A dynamic DICOM series needs the acquisition time",
                file=acquisition.id, field="acquisition_time", found="nothing", expected="a date and time",
            )  # fmt: skip
        zero = acquisition.administered_time
        if image.frames.zero == "injection" and zero is not None:
            since = (first - zero).total_seconds()
            if abs(since - image.frames.start[0]) > 1.0:
                raise DataError(
                    "The frame times contradict the times of injection and acquisition",
                    file=acquisition.id,
                    field="frames.start",
                    found=f"{image.frames.start[0]:.6g} s after the injection",
                    expected=f"{since:.6g} s",
                )
        started = first + timedelta(seconds=float(image.frames.start[t] - image.frames.start[0]))
        duration = float(image.frames.duration[t])
        base.ActualFrameDuration = round(duration * 1000)
        base.TemporalPositionIdentifier = t + 1
        base.NumberOfTemporalPositions = len(image.frames)
        if base.Modality == "PT":
            base.FrameReferenceTime = _reference(base, acquisition, image, started, duration)
        return started
    axis = image.axes[0]
    keyword, factor = {"echo": ("EchoTime", 1e3), "flip": ("FlipAngle", 1.0), "b-value": ("DiffusionBValue", 1.0)}.get(
        axis.kind, ("", 1.0)
    )
    if base.Modality != "MR" or not keyword or not isinstance(axis.coordinates, np.ndarray):
        raise UsageError(
            "A classic DICOM series has no place for this axis",
            file=acquisition.id, field="axes", found=axis.name, expected="time, or echo, flip or b-value of MR",
        )  # fmt: skip
    written = float(axis.coordinates[t]) * factor
    setattr(base, keyword, written if keyword == "DiffusionBValue" else _ds(written))
    return first


def _static_duration(acquisition: Acquisition) -> float | None:
    stated = acquisition.header[0].get("ActualFrameDuration") if acquisition.header else None
    stated = acquisition.extra.get("ActualFrameDuration", stated)
    return None if stated is None else float(stated) / 1000


def _reference(
    base: Dataset, acquisition: Acquisition, image: Image, started: datetime | None, duration: float | None
) -> str:
    """Frame Reference Time in ms: from the decay reference (or series) to the mean time of decays in the frame."""
    origin = (
        image.decay_reference
        if base.DecayCorrection == "START" and image.decay_reference
        else acquisition.acquisition_time
    )
    if started is None or duration is None or origin is None:
        return ""
    within = average_count_rate_time(duration, acquisition.half_life_s) if acquisition.half_life_s else duration / 2
    return _ds(((started - origin).total_seconds() + float(within)) * 1000)


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning[:64]
    return item


def _short(name: str) -> str:
    return name[:16].strip() or "unknown"


def _ds(number: float | np.floating[Any]) -> str:
    """A decimal string of at most 16 characters; numbers too small for it are 0."""
    value = float(number)
    return format_number_as_ds(0.0 if abs(value) < 1e-12 else value)
