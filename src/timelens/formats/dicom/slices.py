"""One slice of a series, wherever it is stored: a file of its own, or a frame of a multi-frame file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from timelens.errors import FormatError, GeometryError, MissingFieldError
from timelens.formats.dicom.codes import IMAGE_CLASSES, PET_UNITS, RESCALE_UNITS, frame_name, read_note, unit_from_code
from timelens.formats.dicom.header import day_of, record
from timelens.formats.dicom.mr import b_value, philips_scale
from timelens.formats.dicom.safe import image_size, number, numbers, text, value
from timelens.formats.dicom.times import moment

__all__ = ["Slice", "classic_slice"]


@dataclass(frozen=True)
class Slice:
    """A plane of pixels with its place, scale and everything that may tell it from others at the same place.

    Attributes
    ----------
    path, index, uid
        File, frame in the file (None where the file is one slice), and SOP instance UID.
    rows, columns
        Size.
    position
        Centre of the first pixel, LPS mm.
    row, column
        Unit vectors along increasing column index and increasing row index, LPS.
    spacing
        Distance between rows and between columns in mm.
    thickness
        Distance to the next slice as far as stated, else thickness of the slice, in mm.
    slope, intercept, unit
        From stored value to value, and the UCUM code of that (None where the file does not say).
    frame
        Frame of reference.
    acquired, duration_s, reference_s
        Start, length, and Frame Reference Time.
    keys
        Other coordinates: ``temporal``, ``echo``, ``flip``, ``b-value``, ``inversion``, ``trigger``, ``type``.
    record
        The header for the SUV rules.
    """

    path: Path
    index: int | None
    uid: str
    rows: int
    columns: int
    position: tuple[float, ...]
    row: tuple[float, ...]
    column: tuple[float, ...]
    spacing: tuple[float, float]
    thickness: float | None = None
    slope: float = 1.0
    intercept: float = 0.0
    unit: str | None = None
    frame: str | None = None
    acquired: datetime | None = None
    duration_s: float | None = None
    reference_s: float | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """File and frame, for messages."""
        return str(self.path) if self.index is None else f"{self.path} frame {self.index + 1}"


def classic_slice(dataset: Dataset, path: Path) -> Slice:
    """The slice that a classic PT, CT or MR file holds.

    Raises
    ------
    MissingFieldError
        If its place or pixel size is not stated.
    FormatError, GeometryError
        If it is not one grey plane, or its orientation is not two unit vectors at right angles.
    """
    require_grey(dataset, path)
    frames = number(dataset, "NumberOfFrames", path)
    if frames is not None and frames != 1:
        raise FormatError(
            "A single-frame image says that it has several frames",
            file=path,
            field="NumberOfFrames",
            found=f"{frames:g}",
            expected="1",
        )
    row, column = orientation(need(dataset, "ImageOrientationPatient", 6, path), path)
    spacing = need(dataset, "PixelSpacing", 2, path)
    duration, reference = number(dataset, "ActualFrameDuration", path), number(dataset, "FrameReferenceTime", path)
    between = number(dataset, "SpacingBetweenSlices", path) or number(dataset, "SliceThickness", path)
    scale, intercept, unit = _scale(dataset, path)
    rows, columns = image_size(dataset, path)
    return Slice(
        path=path,
        index=None,
        uid=text(dataset, "SOPInstanceUID", path),
        rows=rows,
        columns=columns,
        position=tuple(need(dataset, "ImagePositionPatient", 3, path)),
        row=row,
        column=column,
        spacing=pixel_spacing(spacing, path),
        thickness=abs(between) if between else None,
        slope=scale,
        intercept=intercept,
        unit=unit,
        frame=frame_name(dataset),
        acquired=moment(dataset, "Acquisition", path, day=day_of(dataset, path)),
        duration_s=None if duration is None else duration / 1000,
        reference_s=None if reference is None else reference / 1000,
        keys=_keys(dataset, path),
        record=record(dataset, path),
    )


def _scale(dataset: Dataset, path: Path) -> tuple[float, float, str | None]:
    """Slope, intercept and unit of a classic image."""
    modality = IMAGE_CLASSES.get(text(dataset, "SOPClassUID", path), text(dataset, "Modality", path))
    steep, intercept = slope(dataset, path), number(dataset, "RescaleIntercept", path) or 0.0
    noted = read_note(dataset).get("unit")
    if isinstance(noted, str):
        return steep, intercept, noted
    kind = text(dataset, "RescaleType", path)
    if modality == "PT":
        term = text(dataset, "Units", path).upper()
        if term and term not in PET_UNITS:
            raise FormatError(
                "Unknown units of a PET series", file=path, field="Units", found=term, expected=", ".join(PET_UNITS)
            )
        _require_rescale(dataset, path)
        return steep, intercept, PET_UNITS.get(term)
    if modality == "CT":
        _require_rescale(dataset, path)
        return steep, intercept, RESCALE_UNITS.get(kind or "HU", "1")
    mappings = value(dataset, "RealWorldValueMappingSequence", path) or []
    if len(mappings) == 1:
        real, unit = (
            number(mappings[0], "RealWorldValueSlope", path),
            unit_from_code(value(mappings[0], "MeasurementUnitsCodeSequence", path)),
        )
        if real and unit is not None:
            return real, number(mappings[0], "RealWorldValueIntercept", path) or 0.0, unit
    # The scale of an MR image is arbitrary unless it says otherwise.
    steep, intercept, _ = philips_scale(dataset, steep, intercept, path)
    return steep, intercept, RESCALE_UNITS.get(kind, "1")


def _require_rescale(dataset: Dataset, path: Path) -> None:
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        if value(dataset, keyword, path) is None:
            raise MissingFieldError(
                "Without its rescale the stored values of this image mean nothing",
                file=path,
                field=keyword,
                found="nothing",
                expected="a number",
                mend="export the series again with all its tags",
            )


def _keys(dataset: Dataset, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {
        "temporal": number(dataset, "TemporalPositionIdentifier", path),
        "echo": number(dataset, "EchoTime", path),
        "flip": number(dataset, "FlipAngle", path),
        "inversion": number(dataset, "InversionTime", path),
        "trigger": number(dataset, "TriggerTime", path),
    }
    weighting = b_value(dataset, path)
    if weighting is not None:
        direction = numbers(dataset, "DiffusionGradientOrientation", path)
        found["b-value"] = (weighting, tuple(direction or ()))
    kinds = value(dataset, "ImageType", path)
    found["type"] = (
        "\\".join(str(k) for k in list(kinds)[2:]) if kinds is not None and not isinstance(kinds, str) else ""
    )
    return {name: v for name, v in found.items() if v is not None}


def need(dataset: Dataset, keyword: str, count: int, path: str | Path) -> list[float]:
    """Numbers that must be there.

    Raises
    ------
    MissingFieldError
        If they are absent.
    """
    found = numbers(dataset, keyword, path, count=count)
    if found is None:
        raise MissingFieldError(
            "The place of the slice is not fully stated",
            file=path,
            field=keyword,
            found="nothing",
            expected=f"{count} numbers",
        )
    return found


def orientation(directions: list[float], path: str | Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Row and column vector, of length 1 and at right angles to within 1e-3.

    Raises
    ------
    GeometryError
        If they are not.
    """
    row, column = tuple(directions[:3]), tuple(directions[3:])
    lengths = [sum(v * v for v in vector) ** 0.5 for vector in (row, column)]
    product = sum(a * b for a, b in zip(row, column, strict=True))
    if any(abs(length - 1) > 1e-3 for length in lengths) or abs(product) > 1e-3:
        raise GeometryError(
            "The orientation is not two unit vectors at right angles",
            file=path,
            field="ImageOrientationPatient",
            found="\\".join(f"{v:g}" for v in directions),
            expected="length 1 and a scalar product of 0, to within 0.001",
        )
    return tuple(v / lengths[0] for v in row), tuple(v / lengths[1] for v in column)


def pixel_spacing(found: list[float], path: str | Path) -> tuple[float, float]:
    """Positive distances between rows and columns.

    Raises
    ------
    GeometryError
        If one is not positive.
    """
    if min(found) <= 0:
        raise GeometryError(
            "Pixels have no size",
            file=path,
            field="PixelSpacing",
            found="\\".join(f"{v:g}" for v in found),
            expected="two positive numbers in mm",
        )
    return found[0], found[1]


def slope(dataset: Dataset, path: str | Path) -> float:
    """Rescale slope, 1 where none is stated.

    Raises
    ------
    FormatError
        If it is 0.
    """
    found = number(dataset, "RescaleSlope", path)
    if found == 0:
        raise FormatError(
            "A rescale slope of 0 makes every pixel the same",
            file=path,
            field="RescaleSlope",
            found="0",
            expected="a number other than 0",
            mend="export the series again",
        )
    return 1.0 if found is None else found


def require_grey(dataset: Dataset, path: str | Path) -> None:
    """Refuse colour images and palettes.

    Raises
    ------
    FormatError
        If a pixel is not one grey value.
    """
    samples = number(dataset, "SamplesPerPixel", path)
    kind = text(dataset, "PhotometricInterpretation", path)
    if (samples or 1) != 1 or kind not in ("MONOCHROME1", "MONOCHROME2", ""):
        raise FormatError(
            "A colour picture holds no measured values",
            file=path,
            field="PhotometricInterpretation",
            found=f"{kind}, {samples or 1:g} samples per pixel",
            expected="MONOCHROME2",
            mend="use the original series, not a screen capture",
        )
