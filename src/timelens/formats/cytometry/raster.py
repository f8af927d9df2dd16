"""Pixels that come as rows (x, y, counts per channel), laid onto their grid.

Imaging mass cytometry writes one row per laser shot, line by line. A run that was stopped, or a file that was cut,
lacks the end of the raster: what was never measured is NaN, not zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import FormatError, Problem, UsageError
from timelens.formats.ome import THICKNESS_MM
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.provenance import SourceFile

__all__ = [
    "COUNTS", "METAL", "MODALITY", "PIXEL_UM", "Channels", "acquisition", "check_modality", "check_one_region",
    "check_pixel", "check_size", "grid_size", "place_on_slide", "scatter", "slide_frame",
]  # fmt: skip

#: Unit of the values of a mass cytometer: ions counted (pulses, or their equivalent in the dual range).
COUNTS = "{counts}"
#: A channel of a mass cytometer: metal with mass.
METAL = re.compile(r"^([A-Z][a-z]?)(\d{2,3})$")
#: What all of these files hold.
MODALITY = "cytometry"
#: Raster of the Hyperion in micrometres, which its text files do not state.
PIXEL_UM = 1.0


@dataclass(frozen=True)
class Channels:
    """The channels of an acquisition: metal with mass (``Ag107``), and the label that the operator gave."""

    metals: tuple[str, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.metals)


def check_modality(stated: str | None, *, file: object) -> None:
    """Refuse another modality than the one that these files hold."""
    if stated not in (None, "", "unknown", MODALITY):
        raise UsageError("The file is of another modality", file=file, field="modality", found=stated,
                         expected=MODALITY)  # fmt: skip


def check_one_region(stated: int | str | None, *, file: object) -> None:
    """Refuse the number of a region for a file that holds one."""
    if stated is not None:
        raise UsageError("The file holds one region, without a number", file=file, field="region", found=stated,
                         mend="leave it out")  # fmt: skip


def check_size(pixel_size_um: float) -> float:
    """The size of a pixel in micrometres, if it can be one."""
    if not (math.isfinite(pixel_size_um) and pixel_size_um > 0):
        raise UsageError("A pixel has a positive size", field="pixel_size_um", found=pixel_size_um, expected="um")
    return float(pixel_size_um)


def check_pixel(pixel_size_um: float, geometry: Geometry | None, *, file: object) -> None:
    """Refuse a stated size of a pixel that contradicts the file."""
    known = [1e3 * s for s in geometry.spacing[1:]] if geometry is not None else []
    if not np.allclose(known, check_size(pixel_size_um), rtol=1e-3):
        raise UsageError("The size of a pixel is another in the file", file=file, field="pixel_size_um",
                         found=pixel_size_um, expected=" x ".join(f"{s:g} um" for s in known),
                         mend="leave it out")  # fmt: skip


def grid_size(
    x: ArrayLike, y: ArrayLike, *, file: object, size: tuple[int, int] | None = None
) -> tuple[tuple[int, int], bool]:
    """Height and width of a raster, and whether every pixel of it is there.

    Parameters
    ----------
    x, y
        Column and row of each pixel, shape (pixels,).
    file
        For messages.
    size
        Height and width where they are known; otherwise they follow from the largest row and column.

    Raises
    ------
    FormatError
        If a coordinate is not a whole number inside of the raster, a pixel comes twice, or more than the end of the
        raster is missing.
    """
    columns, rows = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if not columns.size:
        raise FormatError("The region holds no pixel", file=file, field="X, Y", found="0 rows", expected="1 or more")
    with np.errstate(invalid="ignore"):
        whole = (columns >= 0) & (rows >= 0) & (columns < 1 << 20) & (rows < 1 << 20)
        whole &= (columns == np.floor(columns)) & (rows == np.floor(rows))
    if not whole.all():
        bad = int(np.flatnonzero(~whole)[0])
        raise FormatError(
            "A pixel's coordinates are not whole numbers", file=file, field="X, Y",
            found=f"({columns[bad]:g}, {rows[bad]:g}) in row {bad}", expected="0, 1, 2 ...",
        )  # fmt: skip
    height, width = size or (int(rows.max()) + 1, int(columns.max()) + 1)
    if rows.max() >= height or columns.max() >= width:
        raise FormatError(
            "A pixel lies outside of its region", file=file, field="X, Y",
            found=f"({columns.max():g}, {rows.max():g})", expected=f"below ({width}, {height})",
        )  # fmt: skip
    if size is None and height * width > columns.size + width:
        raise FormatError(
            "More than the last line of the raster is missing", file=file, field="X, Y",
            found=f"{columns.size} of {height * width} pixels",
        )  # fmt: skip
    if columns.size > height * width or np.bincount((rows * width + columns).astype(np.int64)).max() > 1:
        raise FormatError("A pixel comes twice", file=file, field="X, Y")
    return (height, width), columns.size == height * width


def scatter(x: ArrayLike, y: ArrayLike, values: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Rows of counts (pixels, channels) as an image (channels, 1, y, x); pixels that are missing are NaN."""
    counts = np.asarray(values)
    image = np.full((counts.shape[1], 1, *shape), np.nan, np.float32)
    image[:, 0, np.asarray(y, np.int64), np.asarray(x, np.int64)] = counts.T
    return image


def place_on_slide(
    shape: tuple[int, int],
    *,
    pixel_um: tuple[float, float] = (PIXEL_UM, PIXEL_UM),
    corner_um: tuple[float, float] | None = None,
    slide: str | None = None,
) -> Geometry:
    """The grid of a region on its slide.

    Rows run against the slide's Y axis, as the stage does; an unknown corner leaves the grid in no known frame.

    Parameters
    ----------
    shape
        Pixels along (y, x).
    pixel_um
        Size of a pixel along (y, x) in micrometres.
    corner_um
        Slide position (X, Y) of the outer corner of the first pixel, in micrometres, or None.
    slide
        Name of the frame of reference that regions of one slide share.
    """
    dy, dx = pixel_um[0] * 1e-3, pixel_um[1] * 1e-3
    x0, y0 = (0.0, 0.0) if corner_um is None else (corner_um[0] * 1e-3, corner_um[1] * 1e-3)
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, dx], [0, -dy, 0], [THICKNESS_MM, 0, 0]]
    affine[:3, 3] = [x0 + dx / 2, y0 - dy / 2, 0]
    return Geometry((1, *shape), affine, None if corner_um is None else slide, "slide")


def slide_frame(path: Path, slide: str) -> str:
    """Frame of reference that regions and photographs of one slide share."""
    return f"{path.stem} slide {slide}"


def acquisition(
    load: Callable[[], Any],
    *,
    id: str,  # noqa: A002 - the field's name
    shape: tuple[int, int],
    channels: Channels,
    geometry: Geometry,
    sources: Sequence[SourceFile],
    problems: Sequence[Problem] = (),
    unit: str = COUNTS,
    subject: str = "",
    session: str = "",
    description: str = "",
    **extra: Any,
) -> Acquisition:
    """A region as an acquisition of modality ``cytometry``; the axis ``c`` bears the metals."""
    axes = (Axis("c", "channel", "1", channels.metals), *(Axis(n, "space", "mm") for n in "zyx"))
    image = Image(
        load, unit=unit, axes=axes, geometry=geometry, shape=(len(channels), 1, *shape), dtype=np.float32, name=id
    )
    return Acquisition(
        id=id,
        modality=MODALITY,
        data=image,
        subject=subject,
        session=session,
        description=description,
        sources=tuple(sources),
        problems=tuple(problems),
        extra={"channel_labels": channels.labels, **extra},
    )


def unstated_thickness(path: str | Path) -> Problem:
    """The warning that goes with every section whose thickness no file states."""
    return Problem(
        "The thickness is not stated: areas are right, volumes are not", str(path), "thickness", "nothing",
        "the thickness of the section", "", "warning",
    )  # fmt: skip
