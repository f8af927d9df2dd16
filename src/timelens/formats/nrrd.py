"""NRRD (``.nrrd``, or ``.nhdr`` with a data file beside it), versions 1 to 5, raw or gzip.

The space may be LPS, RAS or LAS; directions and origin become our affine. The axes that have no direction stand in
front: ``t`` where the kind is time, else ``c``. The unit of the values is the field ``sample units``; everything else
that NRRD has no place for stands in the key ``timelens`` as the JSON of our sidecar, so that one file holds all. A data
file is looked for in the folder of the header only.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import FormatError, GeometryError, Problem, UsageError
from timelens.formats import assemble, atomic, labels, safety, sidecar, sidecar_write
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis, AxisKind
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.region import Region

__all__ = ["read", "read_labels", "write", "write_labels"]

_MAX_HEADER = 4 << 20
_KEY = "timelens"
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_NAMES = {alias: code for code, aliases in _TYPES.items() for alias in aliases}
# What turns the file's directions into RAS.
_SPACES = {
    "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1),
    "right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1), "las": (-1, 1, 1),
}  # fmt: skip
_MM = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "µm": 1e-3, "microns": 1e-3}


@dataclass(frozen=True)
class _Header:
    path: Path
    fields: Mapping[str, str]
    keys: Mapping[str, str]
    offset: int
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, name: str, message: str, expected: object = "") -> FormatError:
        return FormatError(
            message, file=self.path, field=name, found=repr(self.fields.get(name, "")[:80]), expected=expected
        )

    def need(self, name: str) -> str:
        if name not in self.fields:
            raise self.wrong(name, "A required field is missing", name)
        return self.fields[name]


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
    """Read an NRRD file; pixels are read when first asked for.

    Parameters
    ----------
    path
        ``.nrrd`` or ``.nhdr``.
    unit
        UCUM code of the values, where neither ``sample units`` nor a sidecar states it.
    described
        Content or path of a sidecar; by default the key ``timelens`` in the header, else the ``.json`` of the same
        name.
    modality, id, subject, session
        Where the caller knows them.

    Raises
    ------
    FormatError, UnsafeFileError
        If the header is damaged, claims another size than the file has, or names a file elsewhere.
    GeometryError
        If the directions are no grid.
    MissingFieldError, UnitError
        If nobody states the unit, or two disagree.
    """
    header = _header(path)
    sizes = _sizes(header)
    stored = _stored(header)
    spatial, geometry = _geometry(header, sizes)
    leading = [i for i in range(len(sizes)) if i not in spatial]
    kinds = header.fields.get("kinds", "").split()
    said, source = _described(header, described)
    named = [_axis(kinds[i] if i < len(kinds) else "", n) for n, i in enumerate(reversed(leading))]
    axes = said.axes or (*named, *_space_axes())
    # The file's axes run from the fastest to the slowest, ours the other way.
    order = [len(sizes) - 1 - i for i in (*reversed(leading), *reversed(spatial))]
    shape = tuple(sizes[::-1][k] for k in order)
    data, offset = _data_file(header, math.prod(sizes) * stored.itemsize)
    packed = header.need("encoding").lower() in ("gzip", "gz")

    def load() -> NDArray[Any]:
        array = _pixels(data, offset, stored, sizes, packed, path).transpose(order)
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

    return assemble.acquire(
        path,
        load,
        shape=shape,
        dtype=stored.newbyteorder("="),
        axes=axes,
        geometry=geometry,
        unit=unit,
        file_unit=header.fields.get("sample units", "").strip('" ') or None,
        said=said,
        sources=[p for p in (data if data != header.path else None, source) if p is not None],
        problems=header.problems,
        modality=modality,
        id=id,
        subject=subject,
        session=session,
    )


def _header(path: str | Path) -> _Header:
    place = safety.existing(path)
    with place.open("rb") as stream:
        head = stream.read(_MAX_HEADER)
    if not re.match(rb"NRRD000[1-5]\r?\n", head):
        raise FormatError("Not an NRRD file", file=path, field="magic", found=repr(head[:8]), expected="NRRD0001 to 5")
    end = re.search(rb"\r?\n\r?\n", head)
    if end is None and len(head) == _MAX_HEADER:
        raise FormatError("The header has no end", file=path, field="header", expected="an empty line")
    text = head[: end.start() if end else len(head)]
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    try:
        lines = text.decode("utf-8").splitlines()[1:]
    except UnicodeDecodeError as error:
        raise FormatError("The header is not text", file=path, field="header", found=str(error)) from error
    for number, line in enumerate(lines, 2):
        if line.startswith("#") or not line.strip():
            continue
        pair = re.match(r"(?P<key>[^:]+?):=(?P<value>.*)|(?P<field>[^:]+?): *(?P<text>.*)", line)
        if pair is None:
            raise FormatError("A header line is no field", file=path, field=f"line {number}", found=repr(line[:80]))
        if pair["field"] is None:
            keys[pair["key"].strip()] = pair["value"].replace("\\n", "\n")
        else:
            fields[pair["field"].strip().lower()] = pair["text"].strip()
    for short, long in (("datafile", "data file"), ("byteskip", "byte skip"), ("lineskip", "line skip")):
        if short in fields:
            fields[long] = fields.pop(short)
    return _Header(place, fields, keys, end.end() if end else len(head))


def _sizes(header: _Header) -> list[int]:
    try:
        sizes = [int(n) for n in header.need("sizes").split()]
        dimension = int(header.need("dimension"))
    except ValueError:
        raise header.wrong("sizes", "The sizes are not whole numbers", "one per dimension") from None
    if dimension != len(sizes) or not 3 <= dimension <= 5 or min(sizes) < 1:
        raise header.wrong("sizes", "The sizes are not those of a volume", f"{dimension} positive numbers, 3 to 5")
    return sizes


def _stored(header: _Header) -> np.dtype[Any]:
    code = _NAMES.get(header.need("type").lower())
    if code is None:
        raise header.wrong("type", "The data type is not supported", "integers, float or double")
    stored = np.dtype(code)
    if stored.itemsize == 1:
        return stored
    endian = header.need("endian").lower()
    if endian not in ("little", "big"):
        raise header.wrong("endian", "The byte order is unknown", "little or big")
    return stored.newbyteorder("<" if endian == "little" else ">")


def _vectors(header: _Header, name: str) -> list[NDArray[np.float64] | None]:
    """``(1,0,0) none (0,1,0)`` as vectors."""
    text = header.need(name)
    found = re.findall(r"none|\(([^()]*)\)", text)
    words = re.findall(r"none|\([^()]*\)", text)
    try:
        return [
            None if word == "none" else np.array([float(v) for v in inner.split(",")])
            for word, inner in zip(words, found, strict=True)
        ]
    except ValueError:
        raise header.wrong(name, "A vector is not made of numbers", "(a,b,c) ...") from None


def _geometry(header: _Header, sizes: list[int]) -> tuple[list[int], Geometry]:
    """Which of the file's axes are x, y, z, and the grid."""
    space = header.fields.get("space", "").lower()
    if "space directions" not in header.fields:
        return _without_directions(header, sizes)
    sign = _SPACES.get(space)
    if sign is None:
        raise header.wrong("space", "The space is not known", "left-posterior-superior or right-anterior-superior")
    vectors = _vectors(header, "space directions")
    spatial = [i for i, v in enumerate(vectors) if v is not None and not np.isnan(v).all()]
    directions = [v for v in vectors if v is not None and not np.isnan(v).all()]
    if len(vectors) != len(sizes) or len(spatial) != 3 or any(len(v) != 3 for v in directions):
        raise header.wrong("space directions", "The directions are not those of a volume", "three vectors of three")
    origin = _vectors(header, "space origin")[:1] if "space origin" in header.fields else [np.zeros(3)]
    if "space origin" not in header.fields:
        header.problems.append(
            Problem("The position of the image is not known", str(header.path), "space origin", "nothing", "(x,y,z)",
                    "check against another image of the patient", "warning")
        )  # fmt: skip
    if not origin or origin[0] is None or len(origin[0]) != 3:
        raise header.wrong("space origin", "The origin is not a point", "(x,y,z)")
    affine = np.eye(4)
    affine[:3, :3] = np.array(directions).T
    affine[:3, 3] = origin[0]
    if not np.isfinite(affine).all():
        raise GeometryError(
            "The directions and origin are not finite", file=header.path, field="space directions", expected="numbers"
        )
    affine = np.diag([*sign, 1.0]) @ np.diag([*[_scale(header)] * 3, 1.0]) @ affine
    try:
        return spatial, Geometry.from_nifti([sizes[i] for i in spatial], affine)
    except GeometryError as error:
        raise error.at(file=header.path, field="space directions") from None


def _scale(header: _Header) -> float:
    """Millimetres per unit of the space; NRRD is in millimetres where it says nothing."""
    found = set(re.findall(r'"([^"]*)"', header.fields.get("space units", ""))) or {"mm"}
    factors = {_MM.get(name) for name in found}
    factor = factors.pop()
    if factor is None or factors:
        raise header.wrong("space units", "The unit of the space is not known", "mm")
    return factor


def _without_directions(header: _Header, sizes: list[int]) -> tuple[list[int], Geometry]:
    kinds = header.fields.get("kinds", "").lower().split()
    spatial = [i for i, kind in enumerate(kinds) if kind in ("domain", "space")]
    if len(spatial) != 3:
        spatial = [0, 1, 2] if len(sizes) == 3 else []
    words = header.fields.get("spacings", "").split()
    if not spatial or len(words) != len(sizes):
        raise header.wrong("space directions", "The voxel sizes are not known", "space directions, or spacings")
    try:
        spacing = [float(words[i]) for i in spatial]
        affine = np.diag([*spacing, 1.0])
        found = Geometry.from_nifti([sizes[i] for i in spatial], affine)
    except (ValueError, GeometryError):
        raise header.wrong("spacings", "The voxel sizes are not positive numbers", "a number per axis") from None
    header.problems.append(
        Problem("Voxel sizes are known, orientation and position are not", str(header.path), "space directions",
                "nothing", "space, space directions and space origin", "check against another image", "warning")
    )  # fmt: skip
    return spatial, found


def _axis(kind: str, number: int) -> Axis:
    if kind.lower() == "time":
        return Axis("t", "time", "s")
    return Axis("c" if number == 0 else f"c{number}", "channel")


def _space_axes() -> tuple[Axis, ...]:
    kind: AxisKind = "space"
    return tuple(Axis(name, kind, "mm") for name in "zyx")


def _described(header: _Header, given: Mapping[str, Any] | str | Path | None) -> tuple[sidecar.Described, Path | None]:
    if given is None and _KEY in header.keys:
        try:
            content = json.loads(header.keys[_KEY])
        except (json.JSONDecodeError, RecursionError) as error:
            raise FormatError("Not valid JSON", file=header.path, field=_KEY, found=str(error)) from error
        if not isinstance(content, dict):
            raise FormatError("Not a JSON object", file=header.path, field=_KEY, found=type(content).__name__)
        return sidecar.parse(content, file=header.path), None
    return assemble.described(header.path, given)


def _data_file(header: _Header, size: int) -> tuple[Path, int]:
    """The file that holds the data and where in it they begin; its size is checked."""
    encoding = header.need("encoding").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise header.wrong("encoding", "The encoding is not supported", "raw or gzip")
    name = header.fields.get("data file")
    if name is not None and (name.upper().startswith("LIST") or "%" in name):
        raise header.wrong("data file", "Data in several files are not supported", "one file")
    place = header.path
    if name is not None:
        place = safety.contained(header.path.parent, name, file=header.path, field="data file")
        if not place.is_file():
            raise header.wrong("data file", "The data file is missing", "a file beside the header")
    try:
        skip, lines = int(header.fields.get("byte skip", "0")), int(header.fields.get("line skip", "0"))
    except ValueError:
        raise header.wrong("byte skip", "Not a whole number", "bytes to skip") from None
    if lines or skip < -1 or (skip and encoding != "raw"):
        raise header.wrong("line skip" if lines else "byte skip", "Such a skip is not supported", "0")
    offset = (0 if name is not None else header.offset) + max(skip, 0)
    if skip == -1:
        offset = place.stat().st_size - size
    if encoding == "raw":
        if offset < 0 or not safety.is_gzip(place):
            safety.check_claim(size, place, field="sizes", offset=max(offset, 0), exact=skip != -1)
        else:
            raise header.wrong("encoding", "The data are gzip, but the header says raw", "gzip")
    else:
        most = (place.stat().st_size - offset) * 1032 + 1024  # deflate cannot do more
        if size > min(most, safety.MAX_BYTES):
            raise header.wrong("sizes", "The header claims more data than the file holds", f"at most {most:,} bytes")
    return place, offset


def _pixels(
    place: Path, offset: int, stored: np.dtype[Any], sizes: list[int], packed: bool, path: str | Path
) -> NDArray[Any]:
    if not packed:
        return np.memmap(place, stored, "r", offset, tuple(sizes[::-1]))
    size = math.prod(sizes) * stored.itemsize
    with place.open("rb") as stream:
        stream.seek(offset)
        data = safety.inflate_capped(stream.read(), size, wbits=zlib.MAX_WBITS | 16, file=place, field="data")
    if len(data) != size:
        raise FormatError(
            "The data are shorter than the header says", file=path, field="sizes", found=len(data), expected=size
        )
    return np.frombuffer(data, stored).reshape(sizes[::-1])


# -- writing ---------------------------------------------------------------------------------------------------------


def write(data: Acquisition | Image, path: str | Path) -> Path:
    """Write an image as NRRD (gzip, LPS) with our sidecar in its header; returns the path.

    Parameters
    ----------
    data
        A real image with a geometry and at most two axes before z, y, x.
    path
        Ends in ``.nrrd`` (one file) or ``.nhdr`` (header, and data in ``.raw.gz``).

    Raises
    ------
    UsageError
        If the image or the name does not fit the format.
    """
    return _write(data.image if isinstance(data, Acquisition) else data, path, sidecar_write.content(data))


def _write(image: Image, path: str | Path, said: Mapping[str, Any]) -> Path:
    place = Path(path)
    if place.suffix not in (".nrrd", ".nhdr"):
        raise UsageError("An NRRD file ends in .nrrd or .nhdr", field="path", found=place.name)
    if image.geometry is None or len(image.shape) > 5 or image.dtype.kind == "c":
        raise UsageError(
            "NRRD holds real images with axes z, y, x and at most two more",
            field="axes",
            found=f"{[a.name for a in image.axes]} of {image.dtype}",
        )
    array = image.numpy()
    array = array.astype(np.uint8) if array.dtype == bool else array
    array = array.astype(np.float32) if array.dtype == np.float16 else array
    code = array.dtype.str[1:]
    if code not in _TYPES:
        raise UsageError("NRRD has no such data type", field="dtype", found=array.dtype, expected=", ".join(_TYPES))
    affine = image.geometry.to_lps()
    extra = [a.kind for a in reversed(image.axes[:-3])]
    vectors = [_vector(affine[:3, k]) for k in range(3)]
    lines = [
        "NRRD0005",
        f"type: {_TYPES[code][-1]}",
        f"dimension: {array.ndim}",
        f"sizes: {' '.join(str(n) for n in reversed(array.shape))}",
        "endian: little",
        "encoding: gzip",
        "space: left-posterior-superior",
        f"space directions: {' '.join(vectors + ['none'] * len(extra))}",
        f"space origin: {_vector(affine[:3, 3])}",
        'space units: "mm" "mm" "mm"',
        f"kinds: {' '.join(['domain'] * 3 + ['time' if kind == 'time' else 'list' for kind in extra])}",
        f'sample units: "{image.unit}"',
    ]
    packed = gzip.compress(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(), 6, mtime=0)
    inline = f"{_KEY}:={json.dumps(said, separators=(',', ':'))}"
    if place.suffix == ".nrrd":
        return atomic.write_file("\n".join([*lines, inline, "", ""]).encode() + packed, place)
    data = atomic.write_file(packed, place.with_suffix(".raw.gz"))
    return atomic.write_file("\n".join([*lines, f"data file: {data.name}", inline, ""]), place)


def _vector(values: NDArray[np.float64]) -> str:
    return "(" + ",".join(f"{v:.17g}" for v in values) + ")"


# -- label files -----------------------------------------------------------------------------------------------------


def read_labels(path: str | Path, *, geometry: Geometry, id: str | None = None) -> Region:  # noqa: A002
    """Read a label file that was drawn on an image; names of 3D Slicer's segments are known.

    See :func:`timelens.formats.labels.to_region`.
    """
    header = _header(path)
    said = _described(header, None)[0]
    states = said.image.get("unit") or header.fields.get("sample units", "").strip('" ')
    return labels.to_region(
        read(path, unit=None if states else "1"), path, geometry=geometry, id=id, said=said.labels or _segments(header)
    )


def _segments(header: _Header) -> dict[str, Any]:
    names = {}
    for key, value in header.keys.items():
        if found := re.match(r"(Segment\d+)_LabelValue$", key):
            names[value.strip()] = header.keys.get(f"{found[1]}_Name", found[1])
    return {"names": names} if names else {}


def write_labels(region: Region, path: str | Path, geometry: Geometry | None = None) -> Path:
    """Write regions as a label file with names, roles and identity in its header; returns the path.

    Raises
    ------
    UsageError
        If contours come without a grid.
    """
    image = labels.to_image(region, geometry)
    said = sidecar_write.content(image)
    said[_KEY]["labels"] = labels.described(region)
    return _write(image, path, said)
