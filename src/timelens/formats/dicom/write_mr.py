"""Write an MR series as one Enhanced MR file: volumes along time, flip angle, echo, inversion time or b value.

Settings stand where the standard has them, in ms, degrees and tesla (PS3.3 C.8.13): what all frames share in the shared
functional groups, the coordinate of a volume in those of its frames. The same acquisition gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID
from pydicom.valuerep import format_number_as_ds

from timelens.errors import DataError, MissingFieldError, UsageError
from timelens.formats.dicom.codes import frame_uid, put_note, uid
from timelens.formats.dicom.modules import file_meta, patient_module, series_note
from timelens.formats.dicom.safe import quiet
from timelens.formats.dicom.times import da, dt, tm
from timelens.formats.dicom.write import content_digest, rescale_slope, series_values
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image
from timelens.study.mr import MrSettings, mr_settings

__all__ = ["write_enhanced_mr"]

_ENHANCED_MR = UID("1.2.840.10008.5.1.4.1.1.4.1")
_TOP = 65535
_TIMING, _ECHO, _MODIFIER = "MRTimingAndRelatedParametersSequence", "MREchoSequence", "MRModifierSequence"
#: Axis: functional group, attribute in it, factor to DICOM's unit.
_PLACES = {
    "flip": (_TIMING, "FlipAngle", 1.0),
    "echo": (_ECHO, "EffectiveEchoTime", 1e3),
    "inversion": (_MODIFIER, "InversionTimes", 1e3),
    "b": ("MRDiffusionSequence", "DiffusionBValue", 1.0),
}


def write_enhanced_mr(
    acquisition: Acquisition,
    path: str | Path,
    *,
    identity: Mapping[str, str] | None = None,
    series_number: int = 1,
    study: str = "",
    study_time: datetime | None = None,
) -> Path:
    """Write magnitudes as an Enhanced MR file.

    Parameters
    ----------
    acquisition
        With an image of modality ``mr``, its settings in ``extra["mr"]`` (:class:`timelens.study.mr.MrSettings`), and
        the time of its start where it is a series in time.
    path
        The file.
    identity, series_number, study, study_time
        As for :func:`timelens.formats.dicom.write_series`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UsageError
        If it is no such image, or Enhanced MR has no place for its axis.
    DataError, MissingFieldError
        If values are not finite or negative, or the start of a series in time is not known.
    """
    image = acquisition.image
    if acquisition.modality != "mr":
        raise UsageError("Enhanced MR holds MR", file=acquisition.id, field="modality", found=acquisition.modality,
                         expected="mr")  # fmt: skip
    values = series_values(image, acquisition)
    if values.size and values.min() < 0:
        raise DataError(
            "Magnitudes are not negative", file=acquisition.id, field="PixelData", found=f"{values.min():g}",
            expected="0 or more",
        )  # fmt: skip
    axis = image.axes[0].name if len(image.shape) == 4 else ""
    if axis and axis != "t" and axis not in _PLACES:
        raise UsageError("Enhanced MR has no place for this axis", file=acquisition.id, field="axes", found=axis,
                         expected=", ".join(("t", *_PLACES)))  # fmt: skip
    settings = mr_settings(acquisition)
    series_uid = uid("series", acquisition.subject, acquisition.session, acquisition.id, content_digest(values, image))
    dataset = _head(acquisition, image, settings, series_uid, identity or {}, study, series_number, study_time)
    slope = rescale_slope(float(values.max(initial=0.0)), _TOP)
    dataset.SharedFunctionalGroupsSequence = Items([_shared(image, settings, slope)])
    count, slices = values.shape[:2]
    dataset.NumberOfFrames = count * slices
    dataset.PerFrameFunctionalGroupsSequence = Items(
        [_frame(acquisition, image, settings, axis, t, z) for t in range(count) for z in range(slices)]
    )
    _dimensions(dataset, axis, series_uid)
    dataset.PixelData = np.clip(np.rint(values / slope), 0, _TOP).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.SOPInstanceUID = uid("instance", series_uid, 1)
    dataset.file_meta = file_meta(dataset)
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        dataset.save_as(place, enforce_file_format=True)
    return place


def _head(
    acquisition: Acquisition,
    image: Image,
    settings: MrSettings,
    series_uid: str,
    identity: Mapping[str, str],
    study: str,
    series_number: int,
    study_time: datetime | None,
) -> Dataset:
    """Patient, study, series, and what the whole file shares."""
    geometry = image.geometry
    assert geometry is not None
    dataset = Dataset()
    dataset.SOPClassUID = _ENHANCED_MR
    patient_module(dataset, acquisition, identity, study, study_time)
    dataset.Modality = "MR"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "DYNAMIC" if image.frames is not None else "OTHER", "NONE"]
    dataset.SeriesInstanceUID, dataset.SeriesNumber, dataset.InstanceNumber = series_uid, series_number, 1
    dataset.SeriesDescription = acquisition.description[:64]
    dataset.Manufacturer = str(acquisition.extra.get("Manufacturer", "timelens"))
    dataset.ManufacturerModelName = dataset.DeviceSerialNumber = dataset.SoftwareVersions = "timelens"
    dataset.FrameOfReferenceUID = frame_uid(geometry.frame, series_uid)
    dataset.PositionReferenceIndicator = ""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = geometry.shape[1:]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.BurnedInAnnotation, dataset.LossyImageCompression, dataset.PresentationLUTShape = "NO", "00", "IDENTITY"
    dataset.PixelPresentation, dataset.VolumetricProperties, dataset.VolumeBasedCalculationTechnique = (
        "MONOCHROME", "VOLUME", "NONE",
    )  # fmt: skip
    dataset.ComplexImageComponent, dataset.AcquisitionContrast = "MAGNITUDE", "UNKNOWN"
    dataset.ContentQualification, dataset.ResonantNucleus = "RESEARCH", "1H"
    if settings.gradient_echo is not None:
        dataset.EchoPulseSequence = "GRADIENT" if settings.gradient_echo else "SPIN"
    dataset.EchoPlanarPulseSequence = "YES" if settings.echo_planar else "NO"
    if settings.field_t is not None:
        dataset.MagneticFieldStrength = float(settings.field_t)
    if settings.agent is not None:
        dataset.ContrastBolusAgent = settings.agent[:64]
    started = acquisition.acquisition_time
    dataset.AcquisitionDate, dataset.AcquisitionTime = da(started), tm(started)
    dataset.AcquisitionDateTime = dt(started) if started is not None else ""
    series = acquisition.series_time or started
    dataset.SeriesDate, dataset.SeriesTime = da(series), tm(series)
    dataset.ContentDate, dataset.ContentTime = da(series), tm(series)
    put_note(dataset, series_note(acquisition, image, "MR"))
    return dataset


def _shared(image: Image, settings: MrSettings, slope: float) -> Dataset:
    geometry = image.geometry
    assert geometry is not None
    lps = geometry.to_lps()
    depth, down, across = geometry.spacing
    directions = [_ds(v) for v in (*lps[:3, 0] / across, *lps[:3, 1] / down)]
    shared = Dataset()
    shared.PixelMeasuresSequence = _item(
        PixelSpacing=[_ds(down), _ds(across)], SliceThickness=_ds(depth), SpacingBetweenSlices=_ds(depth)
    )
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=directions)
    shared.PixelValueTransformationSequence = _item(RescaleSlope=_ds(slope), RescaleIntercept="0", RescaleType="US")
    shared.MRImageFrameTypeSequence = _item(
        FrameType=["ORIGINAL", "PRIMARY", "OTHER", "NONE"], PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME", VolumeBasedCalculationTechnique="NONE", ComplexImageComponent="MAGNITUDE",
        AcquisitionContrast="UNKNOWN",
    )  # fmt: skip
    return shared


def _frame(acquisition: Acquisition, image: Image, settings: MrSettings, axis: str, t: int, z: int) -> Dataset:
    """Place, time and settings of one frame."""
    geometry = image.geometry
    assert geometry is not None
    lps = geometry.to_lps()
    frame, content = Dataset(), Dataset()
    content.StackID, content.InStackPositionNumber = "1", z + 1
    content.TemporalPositionIndex = t + 1 if axis == "t" else 1
    content.DimensionIndexValues = [z + 1, t + 1] if axis else [z + 1]
    started = acquisition.acquisition_time
    if image.frames is not None:
        if started is None:
            raise MissingFieldError(
                "A dynamic DICOM series needs the acquisition time", file=acquisition.id, field="acquisition_time",
                found="nothing", expected="a date and time",
            )  # fmt: skip
        started += timedelta(seconds=float(image.frames.start[t] - image.frames.start[0]))
        content.FrameAcquisitionDuration = float(image.frames.duration[t]) * 1000
    if started is not None:
        content.FrameAcquisitionDateTime = content.FrameReferenceDateTime = dt(started)
    frame.FrameContentSequence = Items([content])
    frame.PlanePositionSequence = _item(ImagePositionPatient=[_ds(v) for v in lps[:3, 3] + z * lps[:3, 2]])
    groups: dict[str, dict[str, Any]] = {_TIMING: {}, _ECHO: {}, _MODIFIER: {}}
    for group, name, value in (
        (_TIMING, "RepetitionTime", settings.tr_s), (_ECHO, "EffectiveEchoTime", settings.te_s),
        (_MODIFIER, "InversionTimes", settings.ti_s),
    ):  # fmt: skip
        if value is not None:
            groups[group][name] = 1e3 * value
    if settings.flip_deg is not None:
        groups[_TIMING]["FlipAngle"] = float(settings.flip_deg)
    if settings.spoiled:
        groups[_MODIFIER]["Spoiling"] = "RF"
    if axis in _PLACES:
        group, name, factor = _PLACES[axis]
        coordinates = np.asarray(image.axes[0].coordinates, float)
        groups.setdefault(group, {})[name] = round(factor * float(coordinates[t]), 9)
    for group, said in groups.items():
        if said:
            setattr(frame, group, _item(**said))
    return frame


def _dimensions(dataset: Dataset, axis: str, series_uid: str) -> None:
    """What tells the frames apart: the slice, and the coordinate of the volume."""
    organisation = uid("dimensions", series_uid)
    group, name, _ = _PLACES.get(axis, ("FrameContentSequence", "TemporalPositionIndex", 1.0))
    places = [("FrameContentSequence", "InStackPositionNumber"), *([(group, name)] if axis else [])]
    dataset.DimensionOrganizationSequence = _item(DimensionOrganizationUID=organisation)
    items = []
    for outer, inner in places:
        item = Dataset()
        item.DimensionOrganizationUID = organisation
        item.FunctionalGroupPointer, item.DimensionIndexPointer = _tag(outer), _tag(inner)
        items.append(item)
    dataset.DimensionIndexSequence = Items(items)


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return tag


def _item(**said: Any) -> Items:
    item = Dataset()
    for keyword, value in said.items():
        setattr(item, keyword, value)
    return Items([item])


def _ds(number: float | np.floating[Any]) -> str:
    value = float(number)
    return format_number_as_ds(0.0 if abs(value) < 1e-12 else value)
