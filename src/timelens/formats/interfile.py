"""Interfile 3.3 and its PET form as STIR writes it: a text header (``.hv``, ``.hdr``, ``.h33``) and a raw data file.

Value = stored number x image scaling factor of the frame. The unit is ``quantification units`` where that is a unit.
The header has no orientation that all programs agree on: without our sidecar the axes are those of a patient head first
and supine (x to the left, y to the back, z to the feet), about the centre of the image, and a warning says that this is
not known. The data file is looked for in the folder of the header only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError, FormatError, GeometryError, Problem, UsageError
from timelens.formats import assemble, atomic, safety, sidecar, sidecar_write
from timelens.study.acquisition import Acquisition
from timelens.study.axes import default_names
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

__all__ = ["read", "write"]

_MAX_HEADER = 4 << 20
_BLOCK = 2048
_MAX_FRAMES = 100_000
_FORMATS = {"signed integer": "i", "unsigned integer": "u", "float": "f", "short float": "f", "long float": "f"}
_ELEMENTS = {
    "carbon": "C", "nitrogen": "N", "oxygen": "O", "fluorine": "F", "copper": "Cu", "gallium": "Ga", "rubidium": "Rb",
    "yttrium": "Y", "zirconium": "Zr", "technetium": "Tc", "indium": "In", "iodine": "I", "lutetium": "Lu",
}  # fmt: skip
_MODALITIES = {"pt": "pet", "pet": "pet", "nucmed": "nm", "nm": "nm", "spect": "nm", "tomographic": "nm"}


@dataclass(frozen=True)
class _Header:
    path: Path
    fields: Mapping[str, str]

    def wrong(self, name: str, message: str, expected: object = "") -> FormatError:
        return FormatError(
            message, file=self.path, field=name, found=repr(self.fields.get(name, "")[:80]), expected=expected
        )

    def need(self, name: str) -> str:
        if not self.fields.get(name):
            raise self.wrong(name, "A required key is missing", name)
        return self.fields[name]

    def whole(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        text = self.fields.get(name) or (str(default) if default is not None else self.need(name))
        if not re.fullmatch(r"[+-]?\d{1,18}", text) or int(text) < least:
            raise self.wrong(name, "Not a whole number that fits", f"at least {least}")
        return int(text)

    def number(self, name: str) -> float | None:
        text = self.fields.get(name)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.wrong(name, "Not a number", "a finite number")
        return value


def read(
    path: str | Path,
    *,
    unit: str | None = None,
    described: Mapping[str, Any] | str | Path | None = None,
    modality: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    subject: str = "",
    session: str = "",
) -> Acquisition:
    """Read an Interfile volume; pixels are read when first asked for.

    Parameters
    ----------
    path
        The header.
    unit
        UCUM code of the values, where neither header nor sidecar states it.
    described
        Content or path of a sidecar; by default the ``.json`` of the same name, if it is there.
    modality, id, subject, session
        Where the caller knows them.

    Raises
    ------
    FormatError, UnsafeFileError
        If the header is damaged, holds projections, claims another size than the data file has, or names one elsewhere.
    MissingFieldError, UnitError
        If nobody states the unit, or two disagree.
    """
    header = _header(path)
    problems: list[Problem] = []
    count = header.whole("number of time frames", 1)
    if count > _MAX_FRAMES:
        raise header.wrong("number of time frames", "Not a number of frames", f"at most {_MAX_FRAMES:,}")
    size, geometry = _geometry(header, problems)
    stored = _stored(header)
    factors = np.array([header.number(f"image scaling factor[{k}]") or 1.0 for k in range(1, count + 1)])
    place, offset = _data_file(header, count * math.prod(size) * stored.itemsize)
    said, source = assemble.described(path, described)
    frames = _frames(header, count)
    timed = count > 1 or frames is not None
    axes = default_names(4) if timed else default_names(3)
    if said.axes is not None and count == 1 and len(said.axes) in (3, 4):
        axes = said.axes
    shape: tuple[int, ...] = (count, *size) if len(axes) == 4 else size
    scaled = bool((factors != 1).any())
    dtype = np.result_type(stored, np.float32) if scaled else stored.newbyteorder("=")

    def load() -> NDArray[Any]:
        raw: NDArray[Any] = np.memmap(place, stored, "r", offset, (count, *size))
        values = raw.astype(np.float64) * factors[:, None, None, None] if scaled else raw
        return values.astype(dtype, copy=False).reshape(shape)

    return assemble.acquire(
        path,
        load,
        shape=shape,
        dtype=dtype,
        axes=axes,
        geometry=geometry,
        oriented=False,
        unit=unit,
        file_unit=_unit(header),
        frames=frames if len(axes) == 4 else None,
        said=said,
        sources=[place, *([source] if source else [])],
        problems=problems,
        modality=modality or said.acquisition.get("modality") or _modality(header),
        id=id,
        subject=subject,
        session=session,
        agent=header.fields.get("radiopharmaceutical") or header.fields.get("radiopharmaceutical[1]") or None,
        radionuclide=_nuclide(header),
        half_life_s=header.number("isotope gamma halflife (sec)") or None,
        acquisition_time=_moment(header),
    )


def _header(path: str | Path) -> _Header:
    place = safety.existing(path)
    with place.open("rb") as stream:
        data = safety.read_capped(stream, _MAX_HEADER, file=path, field="header")
    lines = data.decode("latin-1").splitlines()
    first = next((line for line in lines if line.strip()), "")
    if not re.match(r"\s*!?\s*interfile\s*:=", first, re.IGNORECASE) or "\0" in first:
        raise FormatError("Not an Interfile header", file=path, field="!INTERFILE", found=repr(first[:40]))
    fields: dict[str, str] = {}
    for line in lines:
        key, mark, value = line.split(";")[0].partition(":=")
        if mark:
            name = re.sub(r"\s+(?=\[)", "", " ".join(key.strip().lstrip("!").lower().split()))
            fields[name] = value.strip()
    return _Header(place, fields)


def _geometry(header: _Header, problems: list[Problem]) -> tuple[tuple[int, int, int], Geometry]:
    if header.fields.get("process status", "").lower() == "acquired" or header.whole("number of dimensions", 3) > 3:
        raise header.wrong("process status", "The file holds projections, no image", "a reconstructed volume")
    x, y = header.whole("matrix size[1]"), header.whole("matrix size[2]")
    names = [f"scaling factor (mm/pixel)[{k}]" for k in (1, 2, 3)]
    if "matrix size[3]" in header.fields:
        z = header.whole("matrix size[3]")
        spacing = [header.number(header_name) for header_name in names]
    else:
        z = header.whole("number of slices" if "number of slices" in header.fields else "total number of images")
        apart = header.number("centre-centre slice separation (pixels)")
        first = header.number(names[0])
        spacing = [first, header.number(names[1]), apart * first if apart and first else None]
        names[2] = "centre-centre slice separation (pixels)"
    for name, value in zip(names, spacing, strict=True):
        if value is None or value <= 0:
            raise header.wrong(name, "The voxel size is not known", "a positive number")
    problems.append(
        Problem("How the patient lay is not known: left and right, head and feet may be exchanged", str(header.path),
                "patient orientation", header.fields.get("patient orientation", "nothing"), "a sidecar with the affine",
                "check against another image of the patient", "warning")
    )  # fmt: skip
    signed = -np.array(spacing, float)
    affine = np.diag([*signed, 1.0])
    affine[:3, 3] = -signed * (np.array([x, y, z]) - 1) / 2
    try:
        return (z, y, x), Geometry.from_nifti((x, y, z), affine)
    except GeometryError as error:
        raise error.at(file=header.path, field=names[0]) from None


def _stored(header: _Header) -> np.dtype[Any]:
    kind = _FORMATS.get(header.need("number format").lower())
    size = header.whole("number of bytes per pixel")
    if kind is None or size not in ((1, 2, 4, 8) if kind != "f" else (4, 8)):
        raise header.wrong("number format", "The data type is not supported", "integers or floats")
    order = header.fields.get("imagedata byte order", "").lower() or "bigendian"  # what the standard says
    if order not in ("littleendian", "bigendian"):
        raise header.wrong("imagedata byte order", "The byte order is unknown", "LITTLEENDIAN or BIGENDIAN")
    return np.dtype(f"{kind}{size}").newbyteorder("<" if order[0] == "l" else ">")


def _data_file(header: _Header, size: int) -> tuple[Path, int]:
    name = header.need("name of data file")
    place = safety.contained(header.path.parent, name, file=header.path, field="name of data file")
    if not place.is_file():
        raise header.wrong("name of data file", "The data file is missing", "a file beside the header")
    if safety.is_gzip(place):
        raise header.wrong("name of data file", "The data file is compressed", "raw data: expand it first")
    key = "data offset in bytes" if "data offset in bytes" in header.fields else "data offset in bytes[1]"
    offset = header.whole(key, 0, least=0) + _BLOCK * header.whole("data starting block", 0, least=0)
    safety.check_claim(size, place, field="matrix size", offset=offset)
    return place, offset


def _unit(header: _Header) -> str | None:
    text = header.fields.get("quantification units", "")
    if re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", text.lower()):
        if float(text) != 1:
            raise header.wrong("quantification units", "A number stands in place of a unit", "a unit such as Bq/mL")
        return None  # old STIR headers: a factor of 1
    return sidecar.unit_code(text, file=header.path, field="quantification units") if text else None


def _frames(header: _Header, count: int) -> FrameTiming | None:
    starts = [header.number(f"image relative start time (sec)[{k}]") for k in range(1, count + 1)]
    lengths = [header.number(f"image duration (sec)[{k}]") for k in range(1, count + 1)]
    if not any(lengths):
        return None
    if None in lengths or (count > 1 and None in starts):
        raise header.wrong("image duration (sec)", "Not every frame has a start and a duration", f"{count} of each")
    try:
        return FrameTiming(np.array([s or 0.0 for s in starts]), np.array([n or 0.0 for n in lengths]))
    except DataError as error:
        raise error.at(file=header.path, field="image relative start time (sec)") from None


def _modality(header: _Header) -> str | None:
    stated = (header.fields.get("imaging modality", ""), header.fields.get("type of data", ""))
    return next((m for text in stated if (m := _MODALITIES.get(text.lower()))), None)


def _nuclide(header: _Header) -> str | None:
    text = header.fields.get("isotope name") or header.fields.get("isotope name[1]") or ""
    found = re.fullmatch(r"\^(\d+m?)\^(\w+)", text)  # ^18^Fluorine
    if found and (symbol := _ELEMENTS.get(found[2].lower())):
        return f"{symbol}{found[1]}"
    return text or None


def _moment(header: _Header) -> datetime | None:
    date, clock = header.fields.get("study date"), header.fields.get("study time")
    date = date or header.fields.get("study date (yyyy:mm:dd)")
    clock = clock or header.fields.get("study time (hh:mm:ss gmt)")
    if not date or not clock:
        return None
    parts = re.findall(r"\d+", f"{date} {clock}")
    try:
        return datetime(*(int(p) for p in parts[:6]))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise FormatError(
            "The study date is no date", file=header.path, field="study date", expected="yyyy:mm:dd and hh:mm:ss"
        ) from None


# -- writing ---------------------------------------------------------------------------------------------------------


def write(data: Acquisition | Image, path: str | Path) -> Path:
    """Write an image as Interfile with its data in ``.raw`` and its sidecar; returns the path of the header.

    Parameters
    ----------
    data
        A real image with axes z, y, x or t, z, y, x.
    path
        Ends in ``.hv`` or ``.hdr``.

    Raises
    ------
    UsageError
        If the image or the name does not fit the format.
    """
    acquisition = data if isinstance(data, Acquisition) else Acquisition("", "", data)
    image, place = acquisition.image, Path(path)
    names = [a.name for a in image.axes]
    if place.suffix not in (".hv", ".hdr"):
        raise UsageError("An Interfile header ends in .hv or .hdr", field="path", found=place.name)
    if image.geometry is None or names not in (["z", "y", "x"], ["t", "z", "y", "x"]) or image.dtype.kind not in "iufb":
        raise UsageError("Interfile holds real images with axes t, z, y, x", field="axes", found=names)
    array = image.numpy()
    array = array.astype(np.uint8) if array.dtype == bool else array
    array = array.astype(np.float32) if array.dtype == np.float16 else array
    kind = {"i": "signed integer", "u": "unsigned integer", "f": "float"}[array.dtype.kind]
    raw = atomic.write_file(array.astype(array.dtype.newbyteorder("<")).tobytes(), place.with_suffix(".raw"))
    count = image.shape[0] if names[0] == "t" else 1
    pet = acquisition.modality != "nm"
    lines = [
        "!INTERFILE :=",
        f"!imaging modality := {'PT' if pet else 'nucmed'}",
        "!version of keys := 3.3",
        f"name of data file := {raw.name}",
        "data offset in bytes[1] := 0",
        "!GENERAL DATA :=",
        "!GENERAL IMAGE DATA :=",
        f"!type of data := {'PET' if pet else 'Tomographic'}",
        "imagedata byte order := LITTLEENDIAN",
        "!PET STUDY (General) :=" if pet else "!SPECT STUDY (General) :=",
        "!process status := reconstructed",
        f"!number format := {kind}",
        f"!number of bytes per pixel := {array.dtype.itemsize}",
        "number of dimensions := 3",
    ]
    sizes, spacings = image.geometry.shape[::-1], image.geometry.spacing[::-1]
    for k, (axis, size, spacing) in enumerate(zip("xyz", sizes, spacings, strict=True), 1):
        lines += [
            f"matrix axis label[{k}] := {axis}",
            f"!matrix size[{k}] := {size}",
            f"scaling factor (mm/pixel)[{k}] := {spacing:.17g}",
        ]
    lines.append(f"number of time frames := {count}")
    for k in range(count if image.frames is not None else 0):
        assert image.frames is not None
        lines += [
            f"image duration (sec)[{k + 1}] := {image.frames.duration[k]:.17g}",
            f"image relative start time (sec)[{k + 1}] := {image.frames.start[k] - image.frames.start[0]:.17g}",
        ]
    lines += [f"quantification units := {image.unit}", "!END OF INTERFILE :=", ""]
    sidecar_write.write(data, sidecar.beside(place))
    return atomic.write_file("\n".join(lines), place)
