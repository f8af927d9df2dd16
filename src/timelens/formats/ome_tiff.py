"""OME-TIFF: planes in a TIFF file, described by OME-XML in its first page.

The XML is parsed without DTD and entities before anything else trusts it, and files that it names elsewhere are not
opened. Which page is which plane follows from the dimension order and the ``TiffData`` entries. Only the full
resolution is read. The unit of the values, frames of unequal length and an oblique affine have no place in OME-XML:
they stand in the sidecar, without which the grid lies on a slide.
"""

from __future__ import annotations

import io
import math
import struct
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import tifffile
from numpy.typing import NDArray

from timelens.errors import FormatError, MissingFieldError, Problem, UnsafeFileError, UsageError
from timelens.formats import assemble, atomic, ome, safety, sidecar, sidecar_write
from timelens.formats.cytometry.raster import METAL
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

__all__ = ["MAX_PAGES", "read", "write"]

#: More pages than this are no image.
MAX_PAGES = 1_000_000
_TYPES = {
    "uint8": "u1", "uint16": "u2", "uint32": "u4", "int8": "i1", "int16": "i2", "int32": "i4", "float": "f4",
    "double": "f8", "complex": "c8", "double-complex": "c16", "bit": "?",
}  # fmt: skip
_DEFLATE = (8, 32946)
_BROKEN = (tifffile.TiffFileError, struct.error, ValueError, KeyError, IndexError, TypeError, OSError, zlib.error,
           RuntimeError, ZeroDivisionError, AttributeError, OverflowError, MemoryError)  # fmt: skip


@dataclass(frozen=True)
class _Pixels:
    """What the XML says about the first image."""

    path: Path
    attributes: Mapping[str, str]
    sizes: Mapping[str, int]
    samples: int
    channels: list[str]
    planes: list[int]
    dyes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read(
    path: str | Path,
    *,
    unit: str | None = None,
    pixel_size_um: float | None = None,
    described: Mapping[str, Any] | str | Path | None = None,
    modality: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    subject: str = "",
    session: str = "",
) -> Acquisition:
    """Read the first image of an OME-TIFF; pixels are read when first asked for.

    Parameters
    ----------
    path
        The file.
    unit
        UCUM code of the values, where no sidecar states it.
    pixel_size_um
        Size of a pixel in micrometres, where the XML states none.
    described
        Content or path of a sidecar; by default the ``.json`` of the same name, if it is there.
    modality, id, subject, session
        Where the caller knows them.

    Raises
    ------
    FormatError, UnsafeFileError
        If file or XML are damaged, claim more than the file holds, or name other files.
    MissingFieldError, UnitError
        If nobody states a unit or the size of a pixel.
    """
    place = safety.existing(path)
    try:
        with tifffile.TiffFile(place) as opened:
            pixels, dtype = _pixels(opened, place)
    except _BROKEN as error:
        raise FormatError("The TIFF file is damaged", file=path, field="TIFF", found=str(error)[:200]) from error
    geometry = _geometry(pixels, pixel_size_um)
    said, source = assemble.described(path, described)
    sizes = [pixels.sizes[n] for n in "TCZYX"]
    # Mass cytometry: the channel is its metal, and the name what the metal is bound to.
    dyed = pixels.dyes and all(METAL.match(d) for d in pixels.dyes) and len(set(pixels.dyes)) == len(pixels.dyes)
    axes = said.axes or ome.axes_of(
        "".join(n for n, size in zip("tc", sizes, strict=False) if size > 1) + "zyx",
        pixels.dyes if dyed else pixels.channels,
    )
    names = [a.name for a in axes]
    left_out = [size for n, size in zip("tc", sizes, strict=False) if n not in names]
    if [*[n for n in "tc" if n in names], "z", "y", "x"] != names or any(n > 1 for n in left_out):
        raise FormatError(
            "The axes of the sidecar do not fit the file", file=sidecar.beside(path), field="timelens.axes", found=names
        )
    shape = tuple(pixels.sizes[n.upper()] for n in names)

    def load() -> NDArray[Any]:
        return _load(pixels, dtype).reshape(shape)

    return assemble.acquire(
        path,
        load,
        shape=shape,
        dtype=dtype,
        axes=axes,
        geometry=geometry,
        oriented=False,
        unit=unit,
        frames=None if said.image.get("frames") or "t" not in names else _frames(pixels),
        said=said,
        sources=[source] if source else [],
        problems=pixels.problems,
        modality=modality,
        id=id,
        subject=subject,
        session=session,
        extra={"channel_labels": tuple(pixels.channels)} if dyed and all(pixels.channels) else {},
    )


# -- metadata --------------------------------------------------------------------------------------------------------


def _pixels(opened: tifffile.TiffFile, place: Path) -> tuple[_Pixels, np.dtype[Any]]:
    text = opened.pages.first.description
    if "<OME" not in text:
        raise FormatError(
            "The TIFF file holds no OME-XML",
            file=place,
            field="ImageDescription",
            found=repr(text[:40]),
            expected="<OME ...>",
            mend="convert it to OME-TIFF, with pixel sizes and channel names",
        )
    root = safety.parse_xml(text, file=place, field="OME-XML")
    images = [e for e in root if _tag(e) == "Image"]
    element = next((p for image in images[:1] for p in image if _tag(p) == "Pixels"), None)
    if element is None:
        raise FormatError("The OME-XML describes no pixels", file=place, field="Pixels")
    sizes = {n: _whole(element, f"Size{n}", place) for n in "XYZCT"}
    channels = [e for e in element if _tag(e) == "Channel"]
    samples = {_whole(e, "SamplesPerPixel", place, 1) for e in channels} or {1}
    if len(samples) > 1 or (max(samples) > 1 and len(channels) > 1):
        raise FormatError("Channels of several samples are not supported", file=place, field="SamplesPerPixel")
    names = [e.get("Name", "") for e in channels]
    count = sizes["Z"] * sizes["T"] * sizes["C"] // max(samples)
    if not 1 <= count <= MAX_PAGES:
        raise FormatError("The number of planes cannot be", file=place, field="SizeZ, SizeC, SizeT", found=count)
    dyes = [e.get("Fluor", "") for e in channels]
    pixels = _Pixels(place, dict(element.attrib), sizes, max(samples), names, [], dyes)
    if len(images) > 1:
        pixels.problems.append(
            Problem(
                "Only the first of several images is read", str(place), "Image", str(len(images)), "1", "", "warning"
            )
        )
    pixels.planes.extend(_order(element, pixels, count))
    return pixels, _check_pages(opened, pixels)


def _tag(element: Element) -> str:
    return element.tag.rsplit("}", 1)[-1]


def _whole(element: Element, name: str, place: Path, default: int | None = None) -> int:
    text = element.get(name, "" if default is None else str(default))
    if not text.isdecimal() or len(text) > 12 or int(text) < 1:
        raise FormatError("Not a positive whole number", file=place, field=name, found=repr(text), expected="1 or more")
    return int(text)


def _order(element: Element, pixels: _Pixels, count: int) -> list[int]:
    """Page of each plane, planes counted with t slowest, then c, then z."""
    order = element.get("DimensionOrder", "XYZCT")[2:]
    if sorted(order) != ["C", "T", "Z"]:
        raise FormatError("Unknown dimension order", file=pixels.path, field="DimensionOrder", found=order)
    lengths = {**pixels.sizes, "C": pixels.sizes["C"] // pixels.samples}
    strides, step = {}, 1
    for name in order:
        strides[name], step = step, step * lengths[name]
    sequence = [-1] * count  # page by position in the dimension order
    blocks = [e for e in element if _tag(e) == "TiffData"] or [Element("TiffData")]
    following = 0
    for block in blocks:
        for reference in block:
            if _tag(reference) == "UUID" and reference.get("FileName", pixels.path.name) != pixels.path.name:
                raise UnsafeFileError(
                    "Planes in other files are not supported",
                    file=pixels.path,
                    field="TiffData FileName",
                    found=repr(reference.get("FileName")),
                    expected="one file",
                )
        try:
            first = sum(int(block.get(f"First{n}", "0")) * strides[n] for n in order)
            page = int(block.get("IFD", str(following)))
            number = int(block.get("PlaneCount", "1" if block.get("IFD") is not None else str(count)))
        except ValueError:
            raise FormatError("A TiffData entry is not made of numbers", file=pixels.path, field="TiffData") from None
        if min(first, page, number) < 0 or first + number > count:
            raise FormatError(
                "A TiffData entry lies outside the image", file=pixels.path, field="TiffData", found=dict(block.attrib)
            )
        sequence[first : first + number] = range(page, page + number)
        following = page + number
    if -1 in sequence:
        raise FormatError(
            "A plane has no page", file=pixels.path, field="TiffData", found=f"plane {sequence.index(-1)}"
        )
    t, c, z = (np.arange(lengths[n]) * strides[n] for n in "TCZ")
    position = t[:, None, None] + c[:, None] + z
    return [sequence[k] for k in position.ravel()]


def _check_pages(opened: tifffile.TiffFile, pixels: _Pixels) -> np.dtype[Any]:
    """Size and type of every page, held against the XML and the file."""
    code = _TYPES.get(pixels.attributes.get("Type", ""))
    if code is None:
        raise FormatError("Unknown type of pixels", file=pixels.path, field="Type", found=pixels.attributes.get("Type"))
    dtype = np.dtype(code)
    expected = (pixels.sizes["Y"], pixels.sizes["X"])
    available, size = len(opened.pages), pixels.path.stat().st_size
    for number in pixels.planes:
        if number >= available:
            raise FormatError(
                "The XML promises more planes than the file holds", file=pixels.path, field="TiffData", found=available
            )
        page: Any = opened.pages[number]
        if (page.imagelength, page.imagewidth) != expected or page.samplesperpixel != pixels.samples:
            raise FormatError(
                "A page has another size than the XML says",
                file=pixels.path,
                field=f"page {number}",
                found=(page.imagelength, page.imagewidth, page.samplesperpixel),
                expected=(*expected, pixels.samples),
            )
        if page.dtype is None or np.dtype(page.dtype) != dtype:
            raise FormatError(
                "A page has another type than the XML says", file=pixels.path, field="Type", found=page.dtype,
                expected=dtype,
            )  # fmt: skip
        stored, claimed = sum(page.databytecounts), math.prod(page.shape) * dtype.itemsize
        most = stored if page.compression == 1 else stored * 1032
        if claimed > most or stored > size:
            raise FormatError(
                "A page claims more data than the file holds",
                file=pixels.path,
                field=f"page {number}",
                found=f"{claimed:,} bytes claimed, {stored:,} bytes stored",
            )
    return dtype


def _geometry(pixels: _Pixels, pixel_size_um: float | None) -> Geometry:
    spacing: list[float | None] = []
    for name in "ZYX":
        text = pixels.attributes.get(f"PhysicalSize{name}")
        if text is None:
            spacing.append(None if name == "Z" or pixel_size_um is None else pixel_size_um * 1e-3)
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        unit = pixels.attributes.get(f"PhysicalSize{name}Unit", "µm")  # the schema's default
        spacing.append(ome.to_mm(value, unit, file=pixels.path, field=f"PhysicalSize{name}Unit"))
    if spacing[1] is None or spacing[2] is None:
        raise MissingFieldError(
            "The size of a pixel is not known",
            file=pixels.path,
            field="PhysicalSizeX",
            found="nothing",
            expected="PhysicalSizeX and PhysicalSizeY",
            mend="state it with pixel_size_um=",
        )
    return ome.slide(
        [pixels.sizes[n] for n in "ZYX"],
        spacing,
        (0.0, 0.0, 0.0),
        file=pixels.path,
        field="PhysicalSizeX",
        problems=pixels.problems,
    )


def _frames(pixels: _Pixels) -> FrameTiming | None:
    text = pixels.attributes.get("TimeIncrement")
    seconds = ome.SECONDS.get(pixels.attributes.get("TimeIncrementUnit", "s"))
    try:
        step = float(text or "nan") * (seconds or math.nan)
    except ValueError:
        step = math.nan
    if not step > 0 or not math.isfinite(step):
        return None
    pixels.problems.append(
        Problem("Frame times come from the time increment, which knows frames of equal length only", str(pixels.path),
                "TimeIncrement", f"{step:g} s", "FrameTimesStart and FrameDuration in a sidecar", "", "warning")
    )  # fmt: skip
    count = pixels.sizes["T"]
    return FrameTiming(step * np.arange(count, dtype=np.float64), np.full(count, step))


def _load(pixels: _Pixels, dtype: np.dtype[Any]) -> NDArray[Any]:
    """All planes as (t, c, z, y, x)."""
    t, c, z, y, x = (pixels.sizes[n] for n in "TCZYX")
    result = np.empty((len(pixels.planes), y, x, pixels.samples), dtype)
    try:
        with tifffile.TiffFile(pixels.path) as opened:
            for k, number in enumerate(pixels.planes):
                page: Any = opened.pages[number]
                _check_segments(page, pixels.path, number)
                plane = page.asarray(maxworkers=1)
                planar = page.planarconfig == 2 and pixels.samples > 1
                result[k] = (np.moveaxis(plane, 0, -1) if planar else plane).reshape(y, x, pixels.samples)
    except _BROKEN as error:
        raise FormatError("A page cannot be read", file=pixels.path, field="pages", found=str(error)[:200]) from error
    ordered = result.reshape(t, c // pixels.samples, z, y, x, pixels.samples)
    return np.moveaxis(ordered, -1, 2).reshape(t, c, z, y, x)


def _check_segments(page: Any, path: Path, number: int) -> None:
    """Deflated strips and tiles that could expand without measure are expanded under a cap first."""
    if page.compression not in _DEFLATE:
        return
    expected = math.prod(page.chunks) * page.dtype.itemsize
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if count * 1032 > max(safety.FREE_BYTES, 2 * expected):
            with path.open("rb") as stream:
                stream.seek(offset)
                safety.inflate_capped(
                    stream.read(count), expected, wbits=zlib.MAX_WBITS, file=path, field=f"page {number}"
                )


# -- writing ---------------------------------------------------------------------------------------------------------


def write(data: Acquisition | Image, path: str | Path) -> Path:
    """Write an image as OME-TIFF (deflate) with its sidecar; returns the path.

    Parameters
    ----------
    data
        An image with a geometry and axes z, y, x, perhaps with t and c before.
    path
        Ends in ``.ome.tiff`` or ``.ome.tif``.

    Raises
    ------
    UsageError
        If the image or the name does not fit the format.
    """
    image, place = data.image if isinstance(data, Acquisition) else data, Path(path)
    order = "".join(a.name for a in image.axes)
    if not place.name.endswith((".ome.tif", ".ome.tiff")):
        raise UsageError("An OME-TIFF file ends in .ome.tif or .ome.tiff", field="path", found=place.name)
    if image.geometry is None or order not in ("zyx", "tzyx", "czyx", "tczyx"):
        raise UsageError("OME-TIFF holds images with axes t, c, z, y, x", field="axes", found=list(order))
    array = image.numpy()
    array = array.astype(np.uint8) if array.dtype == bool else array
    array = array.astype(np.float32) if array.dtype == np.float16 else array
    if array.dtype.str[1:] not in _TYPES.values():
        raise UsageError("OME-TIFF has no such data type", field="dtype", found=array.dtype, expected=", ".join(_TYPES))
    meta: dict[str, Any] = {"axes": order.upper()}
    # Sections are measured in micrometres, and so do viewers show them.
    factor, unit = (1e3, "µm") if image.geometry.space == "slide" else (1.0, "mm")
    for axis, size in zip("ZYX", image.geometry.spacing, strict=True):
        meta[f"PhysicalSize{axis}"], meta[f"PhysicalSize{axis}Unit"] = round(factor * size, 12), unit
    channels: Axis | None = next((a for a in image.axes if a.name == "c"), None)
    if channels is not None and channels.coordinates is not None:
        names = [str(n) for n in channels.coordinates]
        labels = data.extra.get("channel_labels") if isinstance(data, Acquisition) else None
        meta["Channel"] = {"Name": [str(v) for v in labels], "Fluor": names} if labels else {"Name": names}
    if image.frames is not None and np.ptp(image.frames.duration) == 0 and image.frames.duration[0] > 0:
        meta["TimeIncrement"], meta["TimeIncrementUnit"] = float(image.frames.duration[0]), "s"
    meta["UUID"] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{array.shape} {array.dtype} {zlib.crc32(array.tobytes())}"))
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        array,
        ome=True,
        metadata=meta,
        compression="zlib",
        photometric="minisblack",
        bigtiff=array.nbytes > 3 << 30,
        software="timelens",
    )
    atomic.write_file(buffer.getvalue(), place)
    sidecar_write.write(data, sidecar.beside(place))
    return place
