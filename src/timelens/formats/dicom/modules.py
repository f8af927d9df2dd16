"""The headers of the series that we write: patient, study, series, frames.

One data set serves a whole series: :func:`instances` changes what differs from slice to slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from timelens.engines.radioactivity import average_count_rate_time, net_injected_activity
from timelens.errors import DataError, MissingFieldError, UsageError
from timelens.formats.dicom.codes import IMAGE_CLASSES, frame_uid, put_note, uid
from timelens.formats.dicom.header import NOTED_NUMBERS, NOTED_TIMES
from timelens.formats.dicom.times import da, dt, tm
from timelens.knowledge import agents, dicom_codes, nuclides
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image

__all__ = ["IMPLEMENTATION", "file_meta", "instances", "patient_module", "series_note", "series_part"]

#: Implementation class UID of timelens.
IMPLEMENTATION = uid("implementation", "timelens")

_CLASSES = {modality: UID(sop_class) for sop_class, modality in IMAGE_CLASSES.items()}
_IDENTITY = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyID", "OtherPatientIDs")
# SRT and SCT codes that PET readers look for (PS3.16 CID 4020, 4021, 25).


def file_meta(dataset: Dataset) -> FileMetaDataset:
    """File meta information for a data set that has its UIDs."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION)
    meta.ImplementationVersionName = "TIMELENS"
    return meta


def patient_module(
    dataset: Dataset,
    acquisition: Acquisition,
    identity: Mapping[str, str],
    study: str = "",
    study_time: datetime | None = None,
) -> None:
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
    when = study_time or acquisition.series_time or acquisition.acquisition_time
    dataset.StudyInstanceUID = uid("study", acquisition.subject, acquisition.session, study)
    dataset.StudyDate, dataset.StudyTime = da(when), tm(when)


def _age(years: float) -> str:
    for letter, per_year in (("Y", 1.0), ("M", 12.0), ("D", 365.25)):
        count = years * per_year
        if abs(count - round(count)) < 0.02 and round(count) < 1000 and (count >= 1 or letter == "D"):
            return f"{round(count):03d}{letter}"
    return f"{int(years):03d}Y"


def series_part(
    acquisition: Acquisition,
    image: Image,
    modality: str,
    term: str,
    series_uid: str,
    identity: Mapping[str, str],
    study: str,
    series_number: int,
    study_time: datetime | None = None,
) -> Dataset:
    """Everything that the slices of a series have in common."""
    geometry = image.geometry
    assert geometry is not None
    dataset = Dataset()
    dataset.SOPClassUID = _CLASSES[modality]
    patient_module(dataset, acquisition, identity, study, study_time)
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
    put_note(dataset, series_note(acquisition, image, modality))
    return dataset


def series_note(acquisition: Acquisition, image: Image, modality: str) -> dict[str, Any]:
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
    stated = acquisition.extra.get("CorrectedImage")
    usual = ["ATTN", "SCAT", "RAN", "DTIM", "NORM"] + (["DECY"] if reference or not activity else [])
    dataset.CorrectedImage = [str(part) for part in stated] if stated else usual
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
        record = agents.find(acquisition.agent)
        coded = dicom_codes.agent_code(record.id) if record is not None else None
        item.RadiopharmaceuticalCodeSequence = Items(
            [
                _code(coded.value, coded.scheme, coded.meaning)
                if coded is not None
                else _code(_short(acquisition.agent), "99TIMELENS", acquisition.agent)
            ]
        )
    if acquisition.radionuclide is not None:
        name = acquisition.radionuclide
        known = dicom_codes.nuclide_code(nuclides.canonical_or_none(name) or name)
        written = _code(known.value, known.scheme, known.meaning) if known else _code(_short(name), "99TIMELENS", name)
        item.RadionuclideCodeSequence = Items([written])
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


def instances(base: Dataset, acquisition: Acquisition, image: Image, count: int) -> Iterator[tuple[Dataset, int, int]]:
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
