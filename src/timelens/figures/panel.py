"""One cut or projection in a box: pixels in millimetres, outlines, numbers, letters, scale bar, colour bar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, withStroke
from numpy.typing import NDArray

from timelens.figures.outline import edges
from timelens.figures.palette import INK, MUTED
from timelens.figures.text import nice_length

__all__ = ["Box", "Panel", "colour_bar", "plain_name"]

Box = tuple[float, float, float, float]
_POINT = 1 / 72


@dataclass(eq=False)
class Panel:
    """Axes in millimetres from the centre of the first pixel, rows downwards.

    Parameters
    ----------
    figure
        Where to draw.
    box
        Left, bottom, width, height in inches.
    spacing
        Millimetres per row and per column.
    window
        First and last millimetre shown along columns, then along rows.
    dark
        Whether the pixels are mostly dark, so that writing must be light.
    """

    figure: Figure
    box: Box
    spacing: tuple[float, float]
    window: tuple[float, float, float, float]
    dark: bool = False
    axes: Axes = field(init=False)
    _taken: list[tuple[float, float, float, float]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        width, height = self.figure.get_size_inches()
        left, bottom, w, h = self.box
        self.axes = self.figure.add_axes((left / width, bottom / height, w / width, h / height))
        self.axes.set_xlim(self.window[0], self.window[1])
        self.axes.set_ylim(self.window[3], self.window[2])
        self.axes.set_autoscale_on(False)
        self.axes.set_xticks([])
        self.axes.set_yticks([])
        for spine in self.axes.spines.values():
            spine.set_color("#cbd2d9")
            spine.set_linewidth(0.6)

    def show(
        self,
        pixels: NDArray[np.floating],
        *,
        limits: tuple[float, float],
        colours: str | Colormap,
        corner: tuple[float, float] = (0, 0),
        spacing: tuple[float, float] | None = None,
        opacity: NDArray[np.floating] | None = None,
        smooth: bool = False,
    ) -> None:
        """Draw pixels (rows, columns); ``corner`` is the index of the first one, in units of ``spacing``."""
        dy, dx = spacing or self.spacing
        top, left = corner
        rows, columns = pixels.shape
        extent = ((left - 0.5) * dx, (left + columns - 0.5) * dx, (top + rows - 0.5) * dy, (top - 0.5) * dy)
        self.axes.imshow(
            np.ma.masked_invalid(pixels),
            cmap=colours,
            vmin=limits[0],
            vmax=limits[1],
            extent=extent,
            aspect="auto",
            interpolation="bilinear" if smooth else "nearest",
            alpha=opacity,
        )
        self.axes.set_xlim(self.window[0], self.window[1])
        self.axes.set_ylim(self.window[3], self.window[2])

    def outline(
        self,
        rows: NDArray[np.intp],
        columns: NDArray[np.intp],
        *,
        colour: str,
        text: str = "",
        dashed: bool = False,
    ) -> None:
        """Draw the outline of pixels, with a short text beside it where there is room."""
        segments = edges(rows, columns) * [self.spacing[1], self.spacing[0]]
        if not len(segments):
            return
        style = (0, (3, 2)) if dashed else "solid"
        if not dashed:
            self.axes.add_collection(LineCollection(list(segments), colors="white", linewidths=2.0, alpha=0.7))
        self.axes.add_collection(
            LineCollection(list(segments), colors=colour, linewidths=0.9 if dashed else 1.1, linestyles=[style])
        )
        if text:
            low, high = segments.reshape(-1, 2).min(axis=0), segments.reshape(-1, 2).max(axis=0)
            self._beside(low, high, text, colour)

    def _beside(self, low: NDArray[np.float64], high: NDArray[np.float64], text: str, colour: str) -> None:
        per_inch = (self.window[1] - self.window[0]) / self.box[2]
        w, h = 0.62 * 8 * _POINT * len(text) * per_inch, 9 * _POINT * per_inch
        gap = 0.03 * per_inch
        middle = (low + high) / 2
        for x, y in (
            (high[0] + gap, low[1] - h),
            (low[0] - gap - w, low[1] - h),
            (high[0] + gap, high[1]),
            (low[0] - gap - w, high[1]),
            (high[0] + gap, middle[1] - h / 2),
            (low[0] - gap - w, middle[1] - h / 2),
            (middle[0] - w / 2, low[1] - h - gap),
            (middle[0] - w / 2, high[1] + gap),
        ):
            if self._free(x, y, w, h):
                self._taken.append((x, y, w, h))
                self.axes.text(
                    x,
                    y + h / 2,
                    text,
                    color=colour,
                    fontsize=8,
                    fontweight="bold",
                    va="center",
                    path_effects=[withStroke(linewidth=2.2, foreground="white")],
                    parse_math=False,
                )
                return

    def _free(self, x: float, y: float, w: float, h: float) -> bool:
        left, right, top, bottom = self.window
        if x < left or x + w > right or y < top or y + h > bottom:
            return False
        return not any(x < a + c and a < x + w and y < b + d and b < y + h for a, b, c, d in self._taken)

    def letters(self, rows: tuple[str, str], columns: tuple[str, str]) -> None:
        """Orientation letters at the four edges: (top, bottom), (left, right)."""
        colour, halo = ("white", "black") if self.dark else (MUTED, "white")
        for x, y, text, ha, va in (
            (0.5, 0.99, rows[0], "center", "top"),
            (0.5, 0.01, rows[1], "center", "bottom"),
            (0.012, 0.5, columns[0], "left", "center"),
            (0.988, 0.5, columns[1], "right", "center"),
        ):
            self.axes.text(
                x, y, text, transform=self.axes.transAxes, ha=ha, va=va, fontsize=9, color=colour, fontweight="bold",
                path_effects=[withStroke(linewidth=2.2, foreground=halo)], gid="orientation",
            )  # fmt: skip

    def scale_bar(self, length: float | None = None) -> None:
        """A bar of that many millimetres, or a round length near a quarter of the width, at the lower left."""
        colour, halo = ("white", "black") if self.dark else (INK, "white")
        left, right, _, bottom = self.window
        per_inch = (right - left) / self.box[2]
        length = length or nice_length(0.3 * (right - left))
        x, y = left + 0.1 * per_inch, bottom - 0.15 * per_inch
        line = self.axes.plot([x, x + length], [y, y], color=colour, linewidth=2, solid_capstyle="butt")[0]
        line.set_path_effects([withStroke(linewidth=3.5, foreground=halo), Normal()])
        size = f"{length:g} mm" if length >= 1 else f"{length * 1000:g} µm"
        self.axes.text(
            x, y - 0.05 * per_inch, size, fontsize=7.5, color=colour, gid="scale",
            path_effects=[withStroke(linewidth=2, foreground=halo)],
        )  # fmt: skip

    def title(self, text: str) -> None:
        """A heading above the panel, at its left."""
        self.axes.set_title(text, fontsize=9.5, color=INK, loc="left", pad=4)


def colour_bar(
    figure: Figure, box: Box, *, colours: str, limits: tuple[float, float], label: str, over: bool = False
) -> Axes:
    """A colour bar along the longer side of its box, with label and unit; an arrow where values lie above it."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
    mappable = ScalarMappable(Normalize(*limits), colours)
    bar = figure.colorbar(
        mappable,
        cax=axes,
        orientation="vertical" if box[3] > box[2] else "horizontal",
        extend="max" if over else "neither",
        extendfrac=0.04,
    )
    bar.set_label(label, fontsize=9, color=INK, labelpad=4)
    bar.ax.tick_params(labelsize=8, colors=MUTED, length=3)
    bar.outline.set_edgecolor("#9aa5b1")
    bar.outline.set_linewidth(0.6)
    return axes


def plain_name(name: str, longest: int = 30) -> str:
    """A name on one line, cut to a length, without what cannot be printed."""
    text = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def legend(figure: Figure, left: float, top: float, entries: Iterable[Sequence[str]]) -> None:
    """Lines of (mark, name, colour) below each other, from the upper left corner in inches."""
    width, height = figure.get_size_inches()
    for row, (mark, name, colour) in enumerate(entries):
        y = (top - 0.19 * row) / height
        figure.text(left / width, y, mark, color=colour, fontsize=8.5, fontweight="bold", va="top", parse_math=False)
        figure.text((left + 0.26) / width, y, plain_name(name), color=INK, fontsize=8.5, va="top", parse_math=False)
