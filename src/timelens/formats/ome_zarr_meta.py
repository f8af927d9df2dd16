"""Metadata of OME-Zarr folders, read as plain JSON and checked before zarr opens anything.

Paths stay in the folder, links do not leave it, codecs are those that only compress numbers, chunks are of a sane size,
and a shape claims no more than what is stored can hold.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from timelens.errors import FormatError, Problem, UnsafeFileError
from timelens.formats import safety
from timelens.study.provenance import SourceFile, hash_file

__all__ = ["MAX_CHUNK", "Group", "Level", "open_group", "open_level", "stored"]

#: Shape, chunks and type of an array.
_Array: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], np.dtype[Any]]
_MAX_CODECS = 50
#: Largest chunk in bytes when expanded.
MAX_CHUNK = 1 << 30
_TYPES = {
    "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "int8": "i1", "int16": "i2", "int32": "i4",
    "int64": "i8", "float32": "f4", "float64": "f8", "complex64": "c8", "complex128": "c16", "bool": "?",
}  # fmt: skip
_CODECS = {
    "bytes", "transpose", "blosc", "gzip", "zstd", "crc32c", "sharding_indexed", "zlib", "lz4", "bz2", "lzma",
    "shuffle", "delta",
}  # fmt: skip


@dataclass(frozen=True)
class Level:
    """One array of the pyramid: where it is, its shape, chunks and type, and scale and translation per axis."""

    path: Path
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: list[float]
    translation: list[float]


@dataclass(frozen=True)
class Group:
    """The folder: version of Zarr, attributes, the multiscale image, its axes and their units."""

    root: Path
    version: int
    attributes: Mapping[str, Any]
    multiscale: Mapping[str, Any]
    names: str
    units: list[str | None]
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, name: str, message: str, found: object = "", expected: object = "") -> FormatError:
        """An error that names the folder and the field."""
        return FormatError(message, file=self.root, field=name, found=str(found)[:120], expected=expected)


def open_group(path: str | Path, length_unit: str | None) -> Group:
    """The metadata of a folder.

    Raises
    ------
    FormatError
        If it is no OME-Zarr folder or has no usable axes.
    """
    root = Path(path)
    if (root / "zarr.json").is_file():
        meta = safety.read_json(root / "zarr.json")
        attributes = meta.get("attributes")
        attributes = attributes if isinstance(attributes, dict) else {}
        content, version = attributes.get("ome"), 3
    elif (root / ".zattrs").is_file():
        attributes = safety.read_json(root / ".zattrs")
        content, version = attributes, 2
    else:
        raise FormatError("Not an OME-Zarr folder", file=path, field="zarr.json", found="neither zarr.json nor .zattrs")
    many = content.get("multiscales") if isinstance(content, dict) else None
    if not isinstance(many, list) or not many or not isinstance(many[0], dict):
        raise FormatError("The folder holds no multiscale image", file=path, field="multiscales", found=repr(many)[:80])
    names, units = _axes(root, many[0], length_unit)
    group = Group(root, version, attributes, many[0], names, units)
    if len(many) > 1:
        group.problems.append(
            Problem("Only the first of several images is read", str(path), "multiscales", str(len(many)), "1", "",
                    "warning")
        )  # fmt: skip
    return group


def _axes(root: Path, multiscale: Mapping[str, Any], length_unit: str | None) -> tuple[str, list[str | None]]:
    axes = multiscale.get("axes")
    try:
        names = "".join(str(axis["name"]) for axis in axes or [])
        units = [None if axis.get("unit") is None else str(axis["unit"]) for axis in axes or []]
    except (AttributeError, KeyError, TypeError):
        names, units = "", []
    order = [n for n in "tczyx" if n in names]
    if names != "".join(order) or not names.endswith("yx"):
        raise FormatError(
            "The axes are not those of an image",
            file=root,
            field="multiscales.axes",
            found=repr(axes)[:120],
            expected="t, c, z, y, x in this order, y and x at least",
        )
    return names, [u or (length_unit if n in "zyx" else None) for n, u in zip(names, units, strict=True)]


def open_level(group: Group, listed: Any, number: int) -> Level:
    """One level of the pyramid, checked.

    Raises
    ------
    FormatError
        If its metadata are damaged.
    UnsafeFileError
        If it lies elsewhere, or names codecs or chunk sizes that are not allowed.
    """
    name = f"datasets[{number}]"
    if not isinstance(listed, dict) or not isinstance(listed.get("path"), str):
        raise group.wrong(name, "A level has no path", listed)
    place = safety.contained(group.root, listed["path"], file=group.root, field=f"{name}.path")
    shape, chunks, dtype = (_array_v3 if group.version == 3 else _array_v2)(group, place)
    if len(shape) != len(group.names):
        raise group.wrong(name, "Array and axes differ in number", shape, group.names)
    scale, translation = np.ones(len(shape)), np.zeros(len(shape))
    for transforms in (listed.get("coordinateTransformations"), group.multiscale.get("coordinateTransformations", [])):
        if not isinstance(transforms, list):
            raise group.wrong(f"{name}.coordinateTransformations", "The level has no scale", transforms)
        for transform in transforms:
            kind = transform.get("type") if isinstance(transform, dict) else None
            values = transform.get(kind) if kind in ("scale", "translation") else None
            try:
                vector = np.array(values, float)
            except (TypeError, ValueError):
                vector = np.array([])
            if (
                vector.shape != scale.shape
                or not np.isfinite(vector).all()
                or (kind == "scale" and (vector <= 0).any())
            ):
                raise group.wrong(
                    f"{name}.coordinateTransformations",
                    "A transformation is not a scale or translation of finite numbers",
                    transform,
                    f"{len(shape)} numbers",
                )
            if kind == "scale":
                scale, translation = scale * vector, translation * vector
            else:
                translation = translation + vector
    return Level(place, shape, chunks, dtype, scale.tolist(), translation.tolist())


def _array_v2(group: Group, place: Path) -> _Array:
    meta = safety.read_json(place / ".zarray")
    filters = meta.get("filters") or []
    codecs = [*(filters if isinstance(filters, list) else [filters]), *filter(None, [meta.get("compressor")])]
    _check_codecs(group, [c.get("id") if isinstance(c, dict) else c for c in codecs])
    text = meta.get("dtype")
    known = {np.dtype(code).str[1:] for code in _TYPES.values()}
    if not isinstance(text, str) or text[:1] not in "<>|" or text[1:] not in known:
        raise group.wrong("dtype", "The data type is not one of plain numbers", text, "integers, floats, complex, bool")
    return _check_shape(group, meta.get("shape"), meta.get("chunks"), np.dtype(text).newbyteorder("="))


def _array_v3(group: Group, place: Path) -> _Array:
    meta = safety.read_json(place / "zarr.json")
    code = _TYPES.get(str(meta.get("data_type")))
    if code is None:
        raise group.wrong("data_type", "The data type is not one of plain numbers", meta.get("data_type"))
    if meta.get("storage_transformers"):
        raise group.wrong("storage_transformers", "Storage transformers are not supported")
    names: list[Any] = []
    pending: list[Any] = [meta.get("codecs")]
    while pending:
        codecs = pending.pop()
        if not isinstance(codecs, list) or len(names) > _MAX_CODECS:
            raise group.wrong("codecs", "The codecs are not a short list", codecs)
        for codec in codecs:
            names.append(codec.get("name") if isinstance(codec, dict) else codec)
            inner = codec.get("configuration") if isinstance(codec, dict) else None
            if isinstance(inner, dict):
                pending += [inner[key] for key in ("codecs", "index_codecs") if key in inner]
    _check_codecs(group, names)
    grid = meta.get("chunk_grid")
    inner = grid.get("configuration") if isinstance(grid, dict) else None
    chunks = inner.get("chunk_shape") if isinstance(inner, dict) else None
    return _check_shape(group, meta.get("shape"), chunks, np.dtype(code))


def _check_codecs(group: Group, names: Sequence[Any]) -> None:
    strange = [n for n in names if n not in _CODECS]
    if strange:
        raise UnsafeFileError(
            "The array uses a codec that does more than compress numbers",
            file=group.root,
            field="codecs",
            found=", ".join(map(repr, strange)),
            expected=", ".join(sorted(_CODECS)),
        )


def _check_shape(group: Group, shape: Any, chunks: Any, dtype: np.dtype[Any]) -> _Array:
    for name, value in (("shape", shape), ("chunks", chunks)):
        if not isinstance(value, list) or not all(type(n) is int and n > 0 for n in value) or not 2 <= len(value) <= 5:
            raise group.wrong(name, f"The {name} is not a list of positive sizes", value, "2 to 5 sizes")
    if len(chunks) != len(shape) or math.prod(chunks) * dtype.itemsize > MAX_CHUNK:
        raise UnsafeFileError(
            "A chunk is too large",
            file=group.root,
            field="chunks",
            found=chunks,
            expected=f"at most {MAX_CHUNK:,} bytes",
        )
    return tuple(shape), tuple(chunks), dtype


def stored(group: Group, level: Level) -> tuple[SourceFile, ...]:
    """The files of a level as one source; refuses links that leave the folder and shapes that claim too much."""
    digest, total, files = hashlib.sha256(), 0, 0
    for place in [*sorted(p for p in group.root.iterdir() if p.is_file()), *sorted(level.path.rglob("*"))]:
        if not safety.inside(group.root, place):
            raise UnsafeFileError("A link leads out of the folder", file=group.root, field=str(place.name))
        if place.is_file():
            digest.update(f"{place.relative_to(group.root).as_posix()} {hash_file(place)}\n".encode())
            total += place.stat().st_size
            files += place.is_relative_to(level.path) and place.name not in ("zarr.json", ".zarray", ".zattrs")
    claimed = math.prod(level.shape) * level.dtype.itemsize
    if claimed > max(safety.FREE_BYTES, total * safety.MAX_RATIO):
        raise group.wrong(
            "shape", "The shape claims more data than the folder holds", f"{claimed:,} bytes claimed, {total:,} stored"
        )
    expected = math.prod(-(-n // c) for n, c in zip(level.shape, level.chunks, strict=True))
    if files < expected:
        group.problems.append(
            Problem("Chunks are missing and read as the fill value", str(group.root), level.path.name,
                    f"{files} chunks", f"{expected} chunks", "copy the folder again if it is not sparse on purpose",
                    "warning")
        )  # fmt: skip
    return (SourceFile(group.root.as_posix(), digest.hexdigest(), total),)
