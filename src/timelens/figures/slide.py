"""A photograph of a slide with the regions that were measured on it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from timelens.errors import GeometryError
from timelens.figures.canvas import new_figure
from timelens.figures.palette import region_colour
from timelens.figures.panel import Panel, legend
from timelens.study.geometry import Geometry
from timelens.study.image import Image

__all__ = ["on_photograph", "slide_figure"]

_SIZE = 5.2
_LEAST_SHORT = 1.2  # inches, of the shorter side
_TINY = 0.02  # regions smaller than this part of the photograph get a pointer


def slide_figure(photograph: Image, regions: Mapping[str, Geometry]) -> Figure:
    """The photograph, each region outlined, numbered and named beside it.

    Parameters
    ----------
    photograph
        Colours along its first axis ``c``, on the slide.
    regions
        Name to grid, in the frame of the photograph.

    Raises
    ------
    GeometryError
        If a region lies on another slide.
    """
    place = photograph.geometry
    if place is None or any(not g.same_frame(place) for g in regions.values()):
        raise GeometryError("Region and photograph are not of one slide", field="regions", found=", ".join(regions))
    pixels = np.moveaxis(photograph.numpy()[:, 0], 0, -1)
    rows, columns = pixels.shape[:2]
    dy, dx = place.spacing[1], place.spacing[2]
    height, width = rows * dy, columns * dx
    scale = _SIZE / max(height, width)
    box = (0.15, 0.15, max(width * scale, _LEAST_SHORT), max(height * scale, _LEAST_SHORT))
    figure = new_figure(box[2] + 2.4, max(box[3] + 0.5, 0.19 * len(regions) + 0.6, 1.6))
    panel = Panel(figure, box, (dy, dx), (-dx / 2, width - dx / 2, -dy / 2, height - dy / 2))
    panel.axes.imshow(
        pixels, extent=(-dx / 2, width - dx / 2, height - dy / 2, -dy / 2), aspect="auto", interpolation="bilinear"
    )
    entries = []
    for number, (name, grid) in enumerate(regions.items(), start=1):
        corners = _corners(grid, place) * [dx, dy]
        colour = region_colour(number)
        panel.axes.add_patch(Polygon(corners, closed=True, fill=False, edgecolor="white", linewidth=2.6))
        panel.axes.add_patch(Polygon(corners, closed=True, fill=False, edgecolor=colour, linewidth=1.4))
        _number(panel, str(number), corners, colour, (height, width))
        entries.append((str(number), name, colour))
    panel.title(f"{width:.3g} by {height:.3g} mm" if min(width, height) >= 1 else
                f"{width * 1e3:.0f} by {height * 1e3:.0f} µm")  # fmt: skip
    panel.scale_bar()
    legend(figure, box[0] + box[2] + 0.2, box[1] + box[3], entries)
    return figure


def on_photograph(photograph: Image, grid: Geometry) -> bool:
    """Whether the middle of a region lies on a photograph of its slide."""
    place = photograph.geometry
    if place is None or not grid.same_frame(place):
        return False
    column, row = _corners(grid, place).mean(axis=0)
    return bool(-0.5 <= row <= place.shape[1] - 0.5 and -0.5 <= column <= place.shape[2] - 0.5)


def _corners(grid: Geometry, place: Geometry) -> NDArray[np.float64]:
    """Outer corners of a region as (column, row) of the photograph."""
    rows, columns = grid.shape[1:]
    index = np.array([[0, y, x, 1] for y, x in ((-0.5, -0.5), (-0.5, columns - 0.5), (rows - 0.5, columns - 0.5),
                                                (rows - 0.5, -0.5))])  # fmt: skip
    found = (np.linalg.inv(place.affine) @ grid.affine @ index.T).T
    return np.asarray(found[:, [2, 1]])


def _number(panel: Panel, text: str, corners: NDArray[np.float64], colour: str, size: tuple[float, float]) -> None:
    """The number in the region where it fits, else beside it."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    tiny = (high - low).min() < _TINY * 2.5 * max(size)
    right = high[0] < 0.92 * size[1]
    x, y = (high[0] + 0.012 * size[1] if right else low[0] - 0.012 * size[1], low[1]) if tiny else (low + high) / 2
    panel.axes.text(
        x, y, text, fontsize=9, fontweight="bold", color=colour, va="center",
        ha="center" if not tiny else "left" if right else "right",
        path_effects=[withStroke(linewidth=2.4, foreground="white")], parse_math=False,
    )  # fmt: skip
