"""The JSON file beside an image: PET-BIDS fields where they exist, and a block ``timelens`` for what BIDS lacks.

Times follow PET-BIDS: ``TimeZero`` is a clock time in whole seconds and everything else is in seconds from it. The
block adds the date, the frame of reference, the affine in float64, axes, the UCUM unit and the quantity. A sidecar
without the block is plain PET-BIDS; its dates are unknown and stand as 1900-01-01. Fields that identify a person are
never read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from timelens import units
from timelens.errors import DataError, FormatError, GeometryError, MissingFieldError, Problem, TimelensError, UnitError
from timelens.formats import safety
from timelens.study.axes import Axis
from timelens.study.geometry import Geometry
from timelens.study.timing import FrameTiming

__all__ = ["BLOCK", "KEPT", "LONGEST_FRAME_S", "NUMBERS", "TIMES", "Described", "beside", "parse", "read", "unit_code"]

#: A frame longer than this in seconds is reported as a likely slip of its unit (two hours).
LONGEST_FRAME_S = 7200.0
#: Clock times that are kept twice may differ by this much, as ``TimeZero`` has whole seconds.
_CLOCK_TOLERANCE = timedelta(seconds=1)
_NO_DATE = datetime(1900, 1, 1)
#: The block of the sidecar that is ours.
BLOCK = "timelens"
_SUFFIXES = (
    ".nii.gz", ".nii", ".img", ".hdr", ".nrrd", ".nhdr", ".v.gz", ".v", ".hv", ".hs", ".ome.tiff", ".ome.tif",
    ".tiff", ".tif", ".ome.zarr", ".zarr",
)  # fmt: skip
#: Date-times of an acquisition that a sidecar holds.
TIMES = ("administered_time", "acquisition_time", "series_time", "assay_time", "residual_time")
#: Numbers of an acquisition that BIDS has no field for.
NUMBERS = (
    "half_life_s", "residual_activity_bq", "height_mm", "age_years", "glucose_mmol_per_l", "cross_calibration",
)  # fmt: skip
#: PET-BIDS fields that a lens may use and that say nothing about a person.
KEPT = (
    "Manufacturer", "ManufacturersModelName", "BodyPart", "ModeOfAdministration", "InjectedMass", "InjectedMassUnits",
    "InjectedVolume", "SpecificRadioactivity", "SpecificRadioactivityUnits", "MolarActivity", "MolarActivityUnits",
    "InfusionRadioactivity", "InfusionStart", "InfusionSpeed", "InfusionSpeedUnits", "InjectionEnd", "AcquisitionMode",
    "AttenuationCorrection", "ReconMethodName", "ReconMethodParameterLabels", "ReconMethodParameterUnits",
    "ReconMethodParameterValues", "ReconFilterType", "ReconFilterSize", "DoseCalibrationFactor", "ScatterFraction",
    "DecayCorrectionFactor", "PharmaceuticalName", "Anaesthesia", "ImageDecayCorrected",
)  # fmt: skip
_SPELLINGS = {
    "bqml": "Bq/mL", "bq/ml": "Bq/mL", "bq/cc": "Bq/mL", "bq/cm3": "Bq/mL", "kbq/ml": "kBq/mL", "kbq/cc": "kBq/mL",
    "mbq/ml": "MBq/mL", "mbq/cc": "MBq/mL", "nci/ml": "nCi/mL", "nci/cc": "nCi/mL", "uci/ml": "uCi/mL",
    "uci/cc": "uCi/mL", "g/ml": "g/mL", "hu": "[hnsf'U]", "unitless": "1", "sec": "s", "seconds": "s", "minutes": "min",
    "counts": "{counts}",
}  # fmt: skip
# Lower case loses the difference between mega and milli.
_EXACT = {"mBq/mL": "mBq/mL", "mBq/ml": "mBq/mL", "mBq/cc": "mBq/mL"}


@dataclass(frozen=True)
class Described:
    """What a sidecar says.

    Attributes
    ----------
    image
        Keyword arguments for :class:`~timelens.study.Image`: unit, quantity, decay_reference, frames.
    acquisition
        Keyword arguments for :class:`~timelens.study.Acquisition`.
    geometry
        Affine, shape, frame and space of the grid, where the sidecar holds them.
    axes
        The axes, or None.
    labels
        Names, roles and identity of regions in a label file.
    problems
        What was noticed.
    """

    image: Mapping[str, Any] = field(default_factory=dict)
    acquisition: Mapping[str, Any] = field(default_factory=dict)
    geometry: Mapping[str, Any] = field(default_factory=dict)
    axes: tuple[Axis, ...] | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def place(self, geometry: Geometry, *, file: object, oriented: bool = True) -> Geometry:
        """The geometry of the image file, made exact and given its frame where the sidecar knows them.

        Parameters
        ----------
        geometry
            As the image file has it.
        file
            The image file, for messages.
        oriented
            Whether the format has a place for orientation and position; where it has none, only shape and voxel sizes
            must agree.

        Raises
        ------
        GeometryError
            If the sidecar describes another grid.
        """
        known = self.geometry
        if not known:
            return geometry
        try:
            exact = Geometry(known["shape"], known["affine"], known["frame"], known["space"])
        except GeometryError as error:
            raise error.at(file=file, field="timelens.affine") from None
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in geometry.shape], indexing="ij")).reshape(3, -1).T
        if oriented:
            apart = float(np.linalg.norm(exact.to_mm(corners) - geometry.to_mm(corners), axis=1).max())
        else:
            apart = float(np.abs((np.array(exact.spacing) - geometry.spacing) * geometry.shape).max())
        # Files keep the affine in single precision: a few parts in 1e6 of the largest coordinate.
        allowed = 1e-3 * min(exact.spacing) + 4e-6 * float(np.abs(exact.to_mm(corners)).max())
        if exact.shape != geometry.shape or apart > allowed:
            raise GeometryError(
                "The sidecar describes another grid than the image file has",
                file=file,
                field="timelens.affine",
                found=f"{geometry.shape} voxels in the image, {exact.shape} in the sidecar, up to {apart:.4g} mm apart",
                expected="one grid",
                mend="remove shape and affine from the block 'timelens' if the image was changed on purpose",
            )
        return exact


def unit_code(text: object, *, file: object = "", field: object = "Units") -> str:
    """The UCUM code of a unit as files of the field spell it (``Bq/cc``, ``BQML``, ``unitless``).

    Raises
    ------
    UnitError
        If it is no unit, or several things might be meant (``SUV``).
    """
    if not isinstance(text, str) or not text.strip():
        raise UnitError("The unit is not text", file=file, field=field, found=repr(text), expected="for example Bq/mL")
    plain = text.strip()
    known = _EXACT.get(plain) or (None if plain.startswith("mb") else _SPELLINGS.get(plain.lower()))
    try:
        return known or units.parse(plain).code
    except UnitError as error:
        raise error.at(file=file, field=field) from None


def beside(path: str | Path) -> Path:
    """Where the sidecar of an image file stands: the same name ending in ``.json``."""
    place = Path(path)
    for suffix in _SUFFIXES:
        if place.name.lower().endswith(suffix):
            return place.with_name(place.name[: -len(suffix)] + ".json")
    return place.with_suffix(".json")


# -- reading ---------------------------------------------------------------------------------------------------------


def _finite(value: object) -> bool:
    # A JSON integer may be too long for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


class _Fields:
    """Typed access to a JSON object, with errors that name file and field."""

    def __init__(self, data: Mapping[str, Any], file: object, prefix: str = "") -> None:
        self.data, self.file, self.prefix = data, file, prefix

    def wrong(self, key: str, expected: str) -> FormatError:
        found = self.data.get(key)
        return FormatError(
            f"{self.prefix}{key} is not {expected}",
            file=self.file,
            field=f"{self.prefix}{key}",
            found=f"{type(found).__name__} {str(found)[:60]!r}",
            expected=expected,
        )

    def number(self, key: str) -> float | None:
        value = self.data.get(key)
        if value is None:
            return None
        if not _finite(value):
            raise self.wrong(key, "a finite number")
        return float(value)

    def seconds(self, key: str) -> float | None:
        value = self.number(key)
        if value is not None and abs(value) > 1e10:
            raise self.wrong(key, "a time in seconds")
        return value

    def text(self, key: str) -> str | None:
        value = self.data.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self.wrong(key, "text")
        return value

    def truth(self, key: str) -> bool | None:
        value = self.data.get(key)
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"  # converters write booleans as text
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def numbers(self, key: str) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(map(_finite, value)):
            raise self.wrong(key, "a list of numbers")
        return np.asarray(value, float)

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.data.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return value

    def moment(self, key: str) -> datetime | None:
        text = self.text(key)
        try:
            return datetime.fromisoformat(text) if text else None
        except ValueError:
            raise self.wrong(key, "a date-time such as 2024-03-01T13:05:00") from None


def read(path: str | Path) -> Described:
    """What the sidecar at a path says.

    Raises
    ------
    FormatError, DataError, UnitError
        If it is not JSON, a field has the wrong type, or two fields contradict each other.
    """
    return parse(safety.read_json(path), file=path)


def parse(data: Mapping[str, Any], *, file: object = "") -> Described:
    """What the content of a sidecar says.

    Parameters
    ----------
    data
        The JSON object, with PET-BIDS fields and perhaps a block ``timelens``.
    file
        Its path, for messages.

    Raises
    ------
    FormatError, DataError, UnitError, MissingFieldError
        If a field has the wrong type, a number has no unit, or two fields contradict each other.
    """
    said = _Fields(data, file)
    block = _Fields(said.mapping(BLOCK), file, f"{BLOCK}.")
    problems: list[Problem] = []
    image: dict[str, Any] = {}
    if (text := block.text("unit") or said.text("Units")) is not None:
        image["unit"] = unit_code(text, file=file)
    image["quantity"] = block.text("quantity")
    found = _times(said, block, problems)
    image["decay_reference"] = found.pop("decay_reference")
    image["frames"] = _frames(said, block, problems)
    found.update(_injection(said), **_subject(said, block, problems))
    found.update({name: block.number(name) for name in NUMBERS})
    found["agent"] = said.text("TracerName") or block.text("agent")
    found["radionuclide"] = said.text("TracerRadionuclide")
    found["species"] = block.text("species")
    found["description"] = said.text("SeriesDescription") or ""
    found["modality"] = block.text("modality") or {"PT": "pet", "NM": "nm", "MR": "mr", "CT": "ct"}.get(
        said.text("Modality") or ""
    )
    found["extra"] = {key: data[key] for key in KEPT if key in data}
    if (after := said.seconds("InjectionStart")) is not None:
        found["extra"]["injection_after_time_zero_s"] = after  # blood tables count from TimeZero
    return Described(
        {k: v for k, v in image.items() if v is not None},
        {k: v for k, v in found.items() if v is not None},
        _geometry(block),
        _axes(block),
        block.mapping("labels"),
        tuple(problems),
    )


def _times(said: _Fields, block: _Fields, problems: list[Problem]) -> dict[str, Any]:
    zero = block.moment("time_zero")
    if (text := said.text("TimeZero")) is not None:
        try:
            clock = time.fromisoformat(text.strip())
        except ValueError:
            raise said.wrong("TimeZero", "a clock time hh:mm:ss") from None
        if zero is None:
            zero = datetime.combine(_NO_DATE, clock)
        elif abs(datetime.combine(zero, clock) - zero) > _CLOCK_TOLERANCE:
            raise _contradiction(said.file, "TimeZero", text, f"timelens.time_zero {zero.isoformat()}")
    relative = {
        "administered_time": "InjectionStart",
        "acquisition_time": "ScanStart",
        "decay_reference": "ImageDecayCorrectionTime",
    }
    if zero is None and not block.data and any(said.data.get(key) is not None for key in relative.values()):
        zero = _NO_DATE
        problems.append(
            Problem(
                "Times have no clock: they are right to each other only",
                str(said.file),
                "TimeZero",
                "nothing",
                "hh:mm:ss",
                "add TimeZero to the sidecar",
                "warning",
            )
        )
    result: dict[str, Any] = {}
    for name in (*TIMES, "decay_reference"):
        moment = block.moment(name)
        key = relative.get(name, "")
        offset = said.seconds(key) if key else None
        if zero is not None and offset is not None:
            try:
                from_zero = zero + timedelta(seconds=offset)
            except OverflowError:
                raise said.wrong(key, "a time within the calendar") from None
            if moment is not None and abs(from_zero - moment) > _CLOCK_TOLERANCE:
                raise _contradiction(said.file, key, from_zero.isoformat(), f"timelens.{name} {moment.isoformat()}")
            moment = from_zero
        result[name] = moment
    corrected = said.truth("ImageDecayCorrected")
    if corrected is False:
        result["decay_reference"] = None
    elif corrected and result["decay_reference"] is None:
        problems.append(
            Problem(
                "The image is decay-corrected, but not to a stated time",
                str(said.file),
                "ImageDecayCorrectionTime",
                "nothing",
                "seconds from TimeZero",
                "add ImageDecayCorrectionTime to the sidecar",
                "warning",
            )
        )
    return result


def _contradiction(file: object, key: str, found: str, other: str) -> DataError:
    return DataError(
        f"{key} contradicts {other.split()[0]}", file=file, field=key, found=found, expected=other, mend="correct one"
    )


def _frames(said: _Fields, block: _Fields, problems: list[Problem]) -> FrameTiming | None:
    start, duration = said.numbers("FrameTimesStart"), said.numbers("FrameDuration")
    if start is None or duration is None:
        return None
    zero = block.text("frame_zero")
    injection, scan = said.seconds("InjectionStart"), said.seconds("ScanStart")
    if zero not in (None, "injection", "first frame"):
        raise block.wrong("frame_zero", "'injection' or 'first frame'")
    if zero == "injection" or (zero is None and injection is not None):
        origin, kind = injection or 0.0, "injection"
    else:
        origin, kind = (start[0] if start.size and zero is None else scan or 0.0), "first frame"
    try:
        frames = FrameTiming(start - origin, duration, kind)  # type: ignore[arg-type]
    except DataError as error:
        raise error.at(file=said.file, field="FrameTimesStart") from None
    if len(frames) and duration.max() > LONGEST_FRAME_S:
        problems.append(
            Problem(
                f"A frame lasts {duration.max():g} s, which looks like milliseconds",
                str(said.file),
                "FrameDuration",
                f"{duration.max():g} s",
                f"seconds, at most {LONGEST_FRAME_S:g}",
                "write frame times in seconds",
                "warning",
            )
        )
    return frames


def _with_unit(said: _Fields, key: str, target: str, *unit_keys: str) -> float | None:
    """A number whose unit stands in a field of its own, converted."""
    value = said.number(key)
    if value is None:
        return None
    text = next((t for k in unit_keys if (t := said.text(k)) is not None), None)
    if text is None:
        raise MissingFieldError(
            f"{key} has no unit",
            file=said.file,
            field=unit_keys[0],
            found="nothing",
            expected=f"a unit such as {'MBq' if target == 'Bq' else 'kg'}",
            mend=f"add {unit_keys[0]} to the sidecar",
        )
    try:
        return value * units.conversion_factor(unit_code(text, field=unit_keys[0]), target)
    except UnitError as error:
        raise error.at(file=said.file, field=unit_keys[0]) from None


def _injection(said: _Fields) -> dict[str, float | None]:
    return {
        "administered_activity_bq": _with_unit(said, "InjectedRadioactivity", "Bq", "InjectedRadioactivityUnits"),
    }


def _subject(said: _Fields, block: _Fields, problems: list[Problem]) -> dict[str, Any]:
    weight = block.number("weight_g")
    if weight is None:
        weight = _with_unit(said, "BodyWeight", "g", "BodyWeightUnits", "BodyWeightUnit")
    if weight is None and (kilograms := said.number("PatientWeight")):
        weight = kilograms * 1000  # DICOM's Patient's Weight, copied by converters, is in kg
    if weight is not None and weight <= 0:
        problems.append(
            Problem("The weight is not positive and is not used", str(said.file), "BodyWeight", f"{weight:g} g", "> 0",
                    "correct it", "warning")
        )  # fmt: skip
        weight = None
    sex = block.text("sex") or said.text("PatientSex")
    return {"weight_g": weight, "sex": sex if sex in ("M", "F") else None}


def _geometry(block: _Fields) -> dict[str, Any]:
    if "affine" not in block.data:
        return {}
    try:
        affine = np.asarray(block.data["affine"], float)
        shape = [int(n) for n in block.data["shape"]]
    except (KeyError, TypeError, ValueError):
        raise block.wrong("affine", "a 4 x 4 matrix with a shape") from None
    if affine.shape != (4, 4) or len(shape) != 3:
        raise block.wrong("affine", "a 4 x 4 matrix with a shape")
    space = block.text("space") or "body"
    if space not in ("body", "slide"):
        raise block.wrong("space", "'body' or 'slide'")
    return {"affine": affine, "shape": tuple(shape), "frame": block.text("frame_of_reference"), "space": space}


def _axes(block: _Fields) -> tuple[Axis, ...] | None:
    listed = block.data.get("axes")
    if listed is None:
        return None
    try:
        axes = []
        for item in listed:
            values = item.get("coordinates")
            named = values is not None and all(isinstance(v, str) for v in values)
            coordinates = None if values is None else tuple(values) if named else np.asarray(values, float)
            axes.append(Axis(str(item["name"]), item["kind"], str(item.get("unit", "1")), coordinates))
        return tuple(axes)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise block.wrong("axes", "a list of axes with name and kind") from None
    except TimelensError as error:
        raise error.at(file=block.file, field=f"{BLOCK}.axes") from None
