"""Plain TIFF: channels as pages with their panel beside them, and cell masks as integer pictures.

Neither states the size of a pixel, so it must be given. OME-TIFF, which states all of it, has a reader of its own.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from timelens.errors import FormatError, GeometryError, MissingFieldError, UsageError
from timelens.formats import safety
from timelens.formats.cytometry import raster
from timelens.formats.cytometry.panel import Panel, read_panel
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.provenance import SourceFile
from timelens.study.region import Region

__all__ = ["description_of", "pages_of", "read", "read_labels", "read_mask", "write_mask"]

_BROKEN = (tifffile.TiffFileError, struct.error, ValueError, KeyError, IndexError, TypeError, OSError, zlib.error,
           RuntimeError, ZeroDivisionError, AttributeError, OverflowError, MemoryError)  # fmt: skip
_MOST_GROWTH = 1032  # deflate cannot expand by more


def read(
    path: str | Path,
    *,
    region: int | str | None = None,
    panel: Panel | str | Path | None = None,
    pixel_size_um: float | None = None,
    unit: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    subject: str = "",
    session: str = "",
    modality: str | None = None,
) -> Acquisition:
    """Read a TIFF whose pages are the kept channels of a panel, in its order.

    Parameters
    ----------
    path
        The file, (channels, y, x).
    region
        A plain TIFF holds one, without a number: leave it out.
    panel
        Names of the channels; the file has none.
    pixel_size_um
        Size of a pixel in micrometres; the file does not state it.
    unit
        UCUM code of the values; counts by default.
    id, subject, session
        Where the caller knows them.
    modality
        ``cytometry``; nothing else fits.

    Raises
    ------
    MissingFieldError
        If no panel or no size of a pixel is given.
    FormatError
        If the file is damaged, or has more or fewer channels than the panel keeps.
    UsageError
        If the modality, a region or the size of a pixel makes no sense here.
    """
    raster.check_modality(modality, file=path)
    raster.check_one_region(region, file=path)
    place = safety.existing(path)
    if panel is None:
        raise MissingFieldError(
            "A plain TIFF does not state its channels", file=path, field="panel", found="nothing",
            expected="a name per page", mend="state panel=, or convert it to OME-TIFF",
        )  # fmt: skip
    if pixel_size_um is None:
        raise MissingFieldError(
            "A plain TIFF does not state the size of a pixel", file=path, field="pixel_size_um", found="nothing",
            expected="micrometres", mend="state it with pixel_size_um, or convert it to OME-TIFF",
        )  # fmt: skip
    size = raster.check_size(pixel_size_um)
    sources = [SourceFile.of(place)]
    if not isinstance(panel, Panel):
        sources.append(SourceFile.of(panel))
        panel = read_panel(panel)
    shape = _shape(place)
    stack = (1, *shape) if len(shape) == 2 else shape
    if len(stack) != 3 or stack[0] != len(panel.channels):
        raise FormatError(
            "The image has other channels than the panel keeps", file=path, field="pages", found=shape,
            expected=f"{len(panel.channels)} x y x x",
        )  # fmt: skip
    return raster.acquisition(
        lambda: _pixels(place).reshape(stack)[:, None].astype(np.float32),
        id=id or place.stem,
        shape=(stack[1], stack[2]),
        channels=raster.Channels(panel.channels, panel.names),
        geometry=raster.place_on_slide((stack[1], stack[2]), pixel_um=(size, size)),
        sources=sources,
        problems=[raster.unstated_thickness(path)],
        unit=unit or raster.COUNTS,
        subject=subject,
        session=session,
    )


def description_of(path: str | Path) -> str:
    """The text of the first page, which in OME-TIFF is its metadata.

    Raises
    ------
    FormatError
        If the file is damaged.
    """
    place = safety.existing(path)
    try:
        with tifffile.TiffFile(place) as opened:
            return str(opened.pages.first.description)
    except _BROKEN as error:
        raise FormatError("The TIFF file is damaged", file=place, field="TIFF", found=str(error)[:200]) from error


def pages_of(path: str | Path) -> int:
    """How many pictures of one size a file holds.

    Raises
    ------
    FormatError
        If it is damaged, or holds something else.
    """
    shape = _shape(safety.existing(path))
    if len(shape) not in (2, 3):
        raise FormatError("The file holds no pages of one size", file=path, field="pages", found=shape)
    return 1 if len(shape) == 2 else shape[0]


def read_mask(path: str | Path, *, geometry: Geometry, id: str | None = None) -> Region:  # noqa: A002
    """Read a cell mask: a picture of whole numbers, 0 outside of cells, as steinbock, Cellpose and Mesmer write it.

    Parameters
    ----------
    path
        The file, (y, x).
    geometry
        Grid of the image that it belongs to.
    id
        Name of the set of cells.

    Raises
    ------
    FormatError
        If it is no picture of whole numbers.
    GeometryError
        If its size is not that of the image.
    """
    place = safety.existing(path)
    shape = _shape(place)
    if len(shape) == 3 and 1 in (shape[0], shape[-1]):
        shape = shape[1:] if shape[0] == 1 else shape[:2]
    if shape != geometry.shape[1:] or geometry.shape[0] != 1:
        raise GeometryError(
            "The mask has another size than its image",
            file=path,
            field="shape",
            found=shape,
            expected=geometry.shape[1:],
        )
    values = _pixels(place).reshape(1, *shape)
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    if values.dtype.kind not in "iub" or values.min() < 0 or values.max() > np.iinfo(np.int32).max:
        raise FormatError(
            "A mask holds whole numbers, 0 outside of cells", file=path, field="pixels", found=values.dtype,
            expected="0, 1, 2 ...",
        )  # fmt: skip
    labels = values.astype(np.int32)
    present = np.flatnonzero(np.bincount(labels.ravel()))
    names = {int(n): f"cell {n}" for n in present if n}
    axes = tuple(Axis(n, "space", "mm") for n in "zyx")
    image = Image(labels, unit="1", axes=axes, geometry=geometry, name=place.name)
    return Region(
        id or place.stem, "labels", names, labels=image, sources=(SourceFile.of(place),), extra={"cells": True}
    )


#: Under the name by which every format reads labels.
read_labels = read_mask


def write_mask(labels: NDArray[Any], path: str | Path) -> Path:
    """Write cell labels (y, x) as a TIFF of 16 or, with more cells, 32 bits; returns the path."""
    array = np.asarray(labels)
    if array.ndim != 2 or array.dtype.kind not in "iub" or array.min(initial=0) < 0:
        raise UsageError("A mask is a picture of whole numbers", field="labels", found=f"{array.dtype} {array.shape}")
    kind = np.uint16 if array.max(initial=0) < 1 << 16 else np.uint32
    tifffile.imwrite(path, array.astype(kind), compression="zlib", photometric="minisblack", software="timelens")
    return Path(path)


def _shape(place: Path) -> tuple[int, ...]:
    """Size of the first series, held against the size of the file before memory is touched."""
    try:
        with tifffile.TiffFile(place) as opened:
            series: Any = opened.series[0]
            shape, pages = tuple(int(n) for n in series.shape), series.pages
            plain = all(page.keyframe.compression == 1 for page in pages if page is not None)
            claimed = math.prod(shape) * np.dtype(series.dtype).itemsize
    except _BROKEN as error:
        raise FormatError("The TIFF file is damaged", file=place, field="TIFF", found=str(error)[:200]) from error
    size = place.stat().st_size
    if claimed > size * (1 if plain else _MOST_GROWTH) or not shape or min(shape) < 1:
        raise FormatError(
            "The picture claims more data than the file holds", file=place, field="TIFF",
            found=f"{claimed:,} bytes claimed, {size:,} bytes in the file",
        )  # fmt: skip
    return shape


def _pixels(place: Path) -> NDArray[Any]:
    try:
        with tifffile.TiffFile(place) as opened:
            return np.asarray(opened.series[0].asarray(maxworkers=1))
    except _BROKEN as error:
        raise FormatError("The TIFF file is damaged", file=place, field="TIFF", found=str(error)[:200]) from error
