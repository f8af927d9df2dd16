"""Photographs of a slide inside an MCD file: pictures, and where on the slide they lie.

A photograph is wrapped as its instrument's software keeps pictures: 161 bytes before it and one behind it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import FormatError
from timelens.formats import safety
from timelens.formats.cytometry.raster import slide_frame
from timelens.formats.cytometry.schema import Panorama
from timelens.formats.ome import THICKNESS_MM
from timelens.study.axes import Axis
from timelens.study.geometry import Geometry
from timelens.study.image import Image

__all__ = ["panorama_image", "read_panorama", "wrapped"]

_HEADER, _TAIL = 161, 1
_KINDS = ("PNG", "JPEG", "BMP", "TIFF")
#: Area of a pixel that is none.
_LEAST_MM2 = 1e-12


def read_panorama(path: str | Path, panorama: Panorama) -> NDArray[np.uint8]:
    """The picture of a panorama, shape (y, x, 3 or 4).

    Raises
    ------
    FormatError
        If its bytes are no PNG or JPEG picture.
    """
    with _opened(path, panorama) as picture:
        return np.asarray(picture.convert("RGBA" if picture.mode in ("RGBA", "LA", "PA") else "RGB"))


def panorama_image(path: str | Path, panorama: Panorama) -> Image:
    """A panorama as an image on its slide, colours (red, green, blue) along its axis ``c``; read when first asked for.

    Parameters
    ----------
    path
        The MCD file.
    panorama
        One of its panoramas.

    Raises
    ------
    FormatError
        If its bytes are no picture, or its corners span no area.
    """
    with _opened(path, panorama) as picture:
        width, height = picture.size
    place = _place(Path(path), panorama, (height, width))
    axes = (Axis("c", "channel", "1", ("red", "green", "blue")), *(Axis(n, "space", "mm") for n in "zyx"))
    return Image(
        partial(_colours, Path(path), panorama), unit="1", axes=axes, geometry=place, shape=(3, 1, height, width),
        dtype=np.uint8, name=panorama.name or f"panorama {panorama.number}",
    )  # fmt: skip


def wrapped(picture: NDArray[np.uint8]) -> bytes:
    """A picture (y, x, 3) as PNG, in the wrapping that readers of MCD files expect."""
    from PIL import Image as Picture

    stream = io.BytesIO()
    Picture.fromarray(picture).save(stream, format="PNG")
    return bytes(_HEADER) + stream.getvalue() + bytes(_TAIL)


@contextmanager
def _opened(path: str | Path, panorama: Panorama) -> Iterator[Any]:
    from PIL import Image as Picture

    with safety.existing(path).open("rb") as stream:
        stream.seek(panorama.start + _HEADER)
        data = stream.read(max(0, panorama.end - panorama.start - _HEADER - _TAIL))
    try:
        with Picture.open(io.BytesIO(data), formats=_KINDS) as picture:
            yield picture
    except (OSError, SyntaxError, ValueError, Picture.DecompressionBombError) as error:
        raise FormatError(
            "The panorama cannot be read", file=path, field=f"panorama {panorama.number}", found=str(error)[:200]
        ) from error


def _colours(path: Path, panorama: Panorama) -> NDArray[np.uint8]:
    return np.moveaxis(read_panorama(path, panorama)[..., :3], -1, 0)[:, None]


def _place(path: Path, panorama: Panorama, shape: tuple[int, int]) -> Geometry:
    """The grid between the corners: rows of pixels run from the first to the second, columns from it to the fourth."""
    first, across, _, down = (np.array(c) * 1e-3 for c in panorama.corners_um)
    column, row = (across - first) / shape[1], (down - first) / shape[0]
    if abs(column[0] * row[1] - column[1] * row[0]) < _LEAST_MM2:
        raise FormatError("The corners of the panorama span no area", file=path, field=f"panorama {panorama.number}",
                          found=panorama.corners_um)  # fmt: skip
    affine = np.eye(4)
    affine[:3, :3] = 0.0
    affine[:2, 1], affine[:2, 2], affine[2, 0] = row, column, THICKNESS_MM
    affine[:2, 3] = first + (row + column) / 2
    return Geometry((1, *shape), affine, slide_frame(path, panorama.slide), "slide")
