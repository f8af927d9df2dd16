"""Slices out of multi-frame files: enhanced PT, CT and MR with functional groups, parametric maps, and NM volumes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from timelens.errors import DataError, FormatError, MissingFieldError
from timelens.formats.dicom.codes import PET_UNITS, RESCALE_UNITS, frame_name, unit_from_code
from timelens.formats.dicom.header import record
from timelens.formats.dicom.mr import philips_scale
from timelens.formats.dicom.safe import image_size, number, numbers, private, text, value
from timelens.formats.dicom.slices import Slice, need, orientation, pixel_spacing, require_grey, slope
from timelens.formats.dicom.times import dt, moment, read_dt

__all__ = ["enhanced_slices", "nm_slices"]

_ONE_MOMENT_S = 1.0
_TERMS = {unit: term for term, unit in PET_UNITS.items()}


class _Groups:
    """The functional groups of one frame: its own, else the shared one."""

    def __init__(self, own: Dataset, shared: Dataset, path: Path) -> None:
        self.own, self.shared, self.path = own, shared, path

    def item(self, sequence: str) -> Dataset | None:
        for group in (self.own, self.shared):
            found = value(group, sequence, self.path)
            if found:
                return found[0]
        return None

    def need(self, sequence: str, keyword: str, count: int) -> list[float]:
        item = self.item(sequence)
        if item is None:
            raise MissingFieldError(
                "The place of the frame is not stated", file=self.path, field=f"{sequence}.{keyword}", found="nothing"
            )
        return need(item, keyword, count, self.path)

    def number(self, sequence: str, keyword: str) -> float | None:
        item = self.item(sequence)
        return None if item is None else number(item, keyword, self.path)


def frames_of(dataset: Dataset, path: Path) -> Iterator[_Groups]:
    """Functional groups, frame by frame.

    Raises
    ------
    FormatError
        If there are not as many groups as frames.
    """
    shared = value(dataset, "SharedFunctionalGroupsSequence", path) or [Dataset()]
    own = value(dataset, "PerFrameFunctionalGroupsSequence", path) or []
    count = int(number(dataset, "NumberOfFrames", path) or 1)
    if len(own) != count:
        raise FormatError(
            "A multi-frame file must describe each of its frames",
            file=path,
            field="PerFrameFunctionalGroupsSequence",
            found=f"{len(own)} descriptions",
            expected=f"{count}, the number of frames",
        )
    return (_Groups(item, shared[0], path) for item in own)


def enhanced_slices(dataset: Dataset, path: Path) -> list[Slice]:
    """The slices of an enhanced PT, CT or MR file or of a parametric map.

    Raises
    ------
    MissingFieldError, FormatError, GeometryError
        If frames do not state where they lie, or there are not as many descriptions as frames.
    """
    require_grey(dataset, path)
    base = record(dataset, path)
    frame = frame_name(dataset)
    first = moment(dataset, "Acquisition", path) or moment(dataset, "Series", path)
    _translate_decay(dataset, base, path)
    return [
        _frame_slice(dataset, path, i, groups, base, frame, first) for i, groups in enumerate(frames_of(dataset, path))
    ]


def _frame_slice(
    dataset: Dataset,
    path: Path,
    index: int,
    groups: _Groups,
    base: dict[str, Any],
    frame: str | None,
    first: datetime | None,
) -> Slice:
    measures = groups.item("PixelMeasuresSequence")
    if measures is None:
        raise MissingFieldError(
            "The pixel size is not stated", file=path, field="PixelMeasuresSequence", found="nothing"
        )
    row, column = orientation(groups.need("PlaneOrientationSequence", "ImageOrientationPatient", 6), path)
    content = groups.item("FrameContentSequence") or Dataset()
    zone = text(dataset, "TimezoneOffsetFromUTC", path)
    acquired = read_dt(content, "FrameAcquisitionDateTime", path, zone=zone) or first
    duration = number(content, "FrameAcquisitionDuration", path)
    scale, intercept, unit = _scale(groups, path)
    between = number(measures, "SpacingBetweenSlices", path) or number(measures, "SliceThickness", path)
    rows, columns = image_size(dataset, path)
    found = dict(base)
    if acquired is not None:
        found |= {"AcquisitionDate": f"{acquired:%Y%m%d}", "AcquisitionTime": f"{acquired:%H%M%S.%f}"}
    if duration is not None:
        found["ActualFrameDuration"] = duration
    if found.get("Modality") == "MR":
        found |= _settings(groups)
    if unit is not None and found.get("Modality") == "PT" and "Units" not in found and unit in _TERMS:
        found["Units"] = _TERMS[unit]
    return Slice(
        path=path,
        index=index,
        uid=text(dataset, "SOPInstanceUID", path),
        rows=rows,
        columns=columns,
        position=tuple(groups.need("PlanePositionSequence", "ImagePositionPatient", 3)),
        row=row,
        column=column,
        spacing=pixel_spacing(need(measures, "PixelSpacing", 2, path), path),
        thickness=abs(between) if between else None,
        slope=scale,
        intercept=intercept,
        unit=unit or PET_UNITS.get(str(found.get("Units", ""))),
        frame=frame,
        acquired=acquired,
        duration_s=None if duration is None else duration / 1000,
        keys=_keys(groups, content, path),
        record=found,
    )


def _scale(groups: _Groups, path: Path) -> tuple[float, float, str | None]:
    """Slope, intercept and unit: the one real-world mapping if it is linear and in UCUM, else the rescale."""
    for group in (groups.own, groups.shared):
        mappings = value(group, "RealWorldValueMappingSequence", path) or []
        linear = [m for m in mappings if number(m, "RealWorldValueSlope", path) is not None]
        if len(linear) == 1:
            unit = unit_from_code(value(linear[0], "MeasurementUnitsCodeSequence", path))
            if unit is not None:
                steep = number(linear[0], "RealWorldValueSlope", path) or 0.0
                if steep == 0:
                    raise FormatError(
                        "A slope of 0 makes every pixel the same", file=path, field="RealWorldValueSlope", found="0"
                    )
                return steep, number(linear[0], "RealWorldValueIntercept", path) or 0.0, unit
    rescale = groups.item("PixelValueTransformationSequence")
    if rescale is None:
        return 1.0, 0.0, None
    unit = RESCALE_UNITS.get(text(rescale, "RescaleType", path))
    steep, intercept = slope(rescale, path), number(rescale, "RescaleIntercept", path) or 0.0
    for item in _philips(groups):
        return (*philips_scale(item, steep, intercept, path)[:2], unit)
    return steep, intercept, unit


def _philips(groups: _Groups) -> list[Dataset]:
    """The private item of a frame that holds Philips's scale slope, if there is one."""
    for group in (groups.own, groups.shared):
        element = group.get((0x2005, 0x140F))
        items = list(element.value) if element is not None and element.VR == "SQ" else []
        if items and private(items[0], 0x2005, "Philips MR Imaging DD 001", 0x0E) is not None:
            return items[:1]
    return []


def _keys(groups: _Groups, content: Dataset, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {
        "temporal": number(content, "TemporalPositionIndex", path),
        "echo": groups.number("MREchoSequence", "EffectiveEchoTime"),
        "flip": groups.number("MRTimingAndRelatedParametersSequence", "FlipAngle"),
        "trigger": groups.number("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    }
    modifier = groups.item("MRModifierSequence")
    if modifier is not None:
        found["inversion"] = number(modifier, "InversionTimes", path)
    diffusion = groups.item("MRDiffusionSequence")
    if diffusion is not None and (b_value := number(diffusion, "DiffusionBValue", path)) is not None:
        gradient = value(diffusion, "DiffusionGradientDirectionSequence", path)
        direction = numbers(gradient[0], "DiffusionGradientOrientation", path) if gradient else None
        found["b-value"] = (b_value, tuple(direction or ()))
    for sequence in ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence"):
        kind = groups.item(sequence)
        if kind is not None:
            found["type"] = "\\".join(text(kind, "FrameType", path).split("\\")[2:])
    return {name: v for name, v in found.items() if v is not None}


def _settings(groups: _Groups) -> dict[str, Any]:
    """Settings of a frame in the words of a classic MR file."""
    timing, modifier = "MRTimingAndRelatedParametersSequence", groups.item("MRModifierSequence")
    found = {
        "EchoTime": groups.number("MREchoSequence", "EffectiveEchoTime"),
        "RepetitionTime": groups.number(timing, "RepetitionTime"),
        "FlipAngle": groups.number(timing, "FlipAngle"),
        "InversionTime": next(iter(numbers(modifier, "InversionTimes", groups.path) or ()), None) if modifier else None,
        "Spoiling": text(modifier, "Spoiling", groups.path) if modifier else None,
        "PhilipsScaled": "yes" if _philips(groups) else None,
    }
    return {name: value for name, value in found.items() if value}


def _translate_decay(dataset: Dataset, base: dict[str, Any], path: Path) -> None:
    """Enhanced PET states the moment itself; said here in the words of classic PET.

    At the injection it is ADMIN. Before the scan it is START with that moment as series time. Anything else stays
    unsaid, so that whoever needs it refuses.
    """
    if "DecayCorrection" in base or "DecayCorrected" not in dataset:
        return
    if text(dataset, "DecayCorrected", path) != "YES":
        base["DecayCorrection"] = "NONE"
        return
    zone = text(dataset, "TimezoneOffsetFromUTC", path)
    when = read_dt(dataset, "DecayCorrectionDateTime", path, zone=zone)
    items = value(dataset, "RadiopharmaceuticalInformationSequence", path) or []
    given = read_dt(items[0], "RadiopharmaceuticalStartDateTime", path, zone=zone) if items else None
    first = moment(dataset, "Acquisition", path)
    if when is None:
        return
    if given is not None and abs((when - given).total_seconds()) <= _ONE_MOMENT_S:
        base["DecayCorrection"] = "ADMIN"
    elif first is None or when <= first:
        base |= {"DecayCorrection": "START", "SeriesDate": dt(when)[:8], "SeriesTime": dt(when)[8:]}


# -- nuclear medicine -------------------------------------------------------------------------------------------------


def nm_slices(dataset: Dataset, path: Path) -> list[Slice]:
    """The slices of a reconstructed NM volume; planar images and projections give an empty list.

    Slices are stacked along the normal by SpacingBetweenSlices, whose sign tells the direction (PS3.3 C.8.4.15).

    Raises
    ------
    DataError
        If the volume is gated, or has several energy windows or time slots in one file.
    MissingFieldError
        If the place of the first slice is not stated.
    """
    require_grey(dataset, path)
    kind = text(dataset, "ImageType", path).upper()
    if "GATED" in kind:
        raise DataError(
            "A gated series has phases of a cycle, not frames in time",
            file=path,
            field="ImageType",
            found=kind,
            expected="RECON TOMO",
            mend="use the ungated reconstruction",
        )
    if "RECON" not in kind and "VOLUME" not in kind:
        return []
    count = int(number(dataset, "NumberOfFrames", path) or 1)
    order = numbers(dataset, "SliceVector", path) or [float(i + 1) for i in range(count)]
    if len(order) != count or len(set(order)) != count:
        raise DataError(
            "The frames of the NM volume are not one stack of slices",
            file=path,
            field="SliceVector",
            found=f"{len(set(order))} slices in {count} frames",
            expected="one frame for each slice",
            mend="export energy windows and time slots as separate series",
        )
    detectors = value(dataset, "DetectorInformationSequence", path) or []
    place = detectors[0] if detectors else Dataset()
    if "ImagePositionPatient" not in place and "ImagePositionPatient" in dataset:
        place = dataset
    row, column = orientation(need(place, "ImageOrientationPatient", 6, path), path)
    origin = np.array(need(place, "ImagePositionPatient", 3, path))
    between = number(dataset, "SpacingBetweenSlices", path) or number(dataset, "SliceThickness", path)
    if not between:
        raise MissingFieldError(
            "The distance between slices is not stated", file=path, field="SpacingBetweenSlices", found="nothing"
        )
    normal = np.cross(row, column)
    duration = number(dataset, "ActualFrameDuration", path)
    scale, intercept, unit = _scale(_Groups(dataset, Dataset(), path), path)
    if unit is None:
        scale, intercept = slope(dataset, path), number(dataset, "RescaleIntercept", path) or 0.0
        unit = PET_UNITS.get(text(dataset, "Units", path).upper(), "{counts}")
    common = record(dataset, path)
    rows, columns = image_size(dataset, path)
    return [
        Slice(
            path=path,
            index=i,
            uid=text(dataset, "SOPInstanceUID", path),
            rows=rows,
            columns=columns,
            position=tuple(float(v) for v in origin + (order[i] - min(order)) * between * normal),
            row=row,
            column=column,
            spacing=pixel_spacing(need(dataset, "PixelSpacing", 2, path), path),
            thickness=abs(between),
            slope=scale,
            intercept=intercept,
            unit=unit,
            frame=frame_name(dataset),
            acquired=moment(dataset, "Acquisition", path),
            duration_s=None if duration is None else duration / 1000,
            record=common,
        )
        for i in range(count)
    ]
