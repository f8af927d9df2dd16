"""A tumour as it is, beside what a scanner saw of it: one plane, the same millimetres in every panel.

All pixels of a picture lie on one grid (rows, columns); NaN where nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timelens.errors import UsageError
from timelens.figures.canvas import new_figure
from timelens.figures.palette import INK, MUTED, region_colour
from timelens.figures.panel import Panel, colour_bar, legend, plain_name
from timelens.figures.text import nice_ceiling, unit_text, with_unit

__all__ = ["TruthField", "truth_figure"]

Plane = NDArray[Any]

_SIZE, _ACROSS, _DOWN = 1.95, 2.95, 2.5
_UPTAKE = "gray_r"
#: From here on a colour bar counts in thousands.
_LARGE = 1e4
#: Percentile of the true uptake that the grey scale must hold.
_UPTAKE_PART = 97.0
_GROUND = "#e9ecef"
_TRUE, _MEASURED = "#0b7285", region_colour(1)


@dataclass(frozen=True)
class TruthField:
    """One field of the truth in the plane.

    Attributes
    ----------
    title
        What it shows, as it shall be read.
    pixels
        Values, shape (rows, columns); NaN outside of what is known.
    unit
        UCUM code.
    colours
        Name of a matplotlib colour map.
    """

    title: str
    pixels: Plane
    unit: str
    colours: str = "viridis"


def truth_figure(
    fields: Sequence[TruthField],
    *,
    spacing: tuple[float, float],
    outline: Plane,
    true_uptake: Plane | None,
    seen: Plane,
    measured: Plane | None,
    unit: str,
    symbol: str = "SUV",
    heading: str = "",
    letters: tuple[tuple[str, str], tuple[str, str]] | None = None,
    columns: int = 4,
) -> Figure:
    """Fields of the truth above; below them the true uptake and what was seen of it, on one grey scale.

    Parameters
    ----------
    fields
        What the tumour is made of, in reading order.
    spacing
        mm per row and per column.
    outline, measured
        Where the tumour truly is, and where it was found (None where it was not found).
    true_uptake, seen
        Uptake on the fine grid (None where it is not known) and as the scanner showed it, in ``unit``.
    unit, symbol
        UCUM code and symbol of the uptake.
    heading
        Above the picture.
    letters
        Orientation at the edges: (top, bottom), (left, right).
    columns
        Panels in a row.

    Raises
    ------
    UsageError
        If the planes differ in shape, or there is nothing to draw.
    """
    planes = [f.pixels for f in fields] + [p for p in (outline, true_uptake, seen, measured) if p is not None]
    shape = np.shape(seen)
    if len(shape) != 2 or 0 in shape or columns < 2 or any(np.shape(p) != shape for p in planes):
        raise UsageError(
            "A tumour and what was seen of it need planes of one shape", field="fields, outline, seen, measured",
            found=", ".join(sorted({str(np.shape(p)) for p in planes})),
        )  # fmt: skip
    both = [seen] if true_uptake is None else [true_uptake, seen]
    first = len(fields)  # place of the first panel of uptake: truth and image stand side by side
    if first % columns + len(both) > columns:
        first += columns - first % columns
    panels = first + len(both) + 1  # one more for what the outlines mean
    rows, across = -(-panels // columns), min(columns, panels)
    figure = new_figure(0.15 + across * _ACROSS, 0.35 + rows * _DOWN + 0.05)
    width, height = figure.get_size_inches()
    if heading:
        figure.text(0.15 / width, 1 - 0.2 / height, plain_name(heading, 120), fontsize=10.5, color=INK,
                    fontweight="bold", parse_math=False)  # fmt: skip

    def draw(place: int, pixels: Plane, title: str, limits: tuple[float, float], colours: str) -> Panel:
        row, column = divmod(place, columns)
        extent = shape[0] * spacing[0], shape[1] * spacing[1]
        scale = _SIZE / max(extent)
        wide, tall = extent[1] * scale, extent[0] * scale
        top = height - 0.35 - row * _DOWN - 0.3
        box = (0.15 + column * _ACROSS, top - tall, wide, tall)
        window = (-0.5 * spacing[1], extent[1] - 0.5 * spacing[1], -0.5 * spacing[0], extent[0] - 0.5 * spacing[0])
        panel = Panel(figure, box, spacing, window)
        panel.axes.set_facecolor(_GROUND)
        panel.show(pixels, limits=limits, colours=colours)
        panel.outline(*np.nonzero(outline), colour=_TRUE)
        if letters is not None:
            panel.letters(*letters)
        panel.scale_bar()
        panel.title(plain_name(title, 32))
        return panel

    for place, shown in enumerate(fields):
        limits = _limits(shown.pixels)
        panel = draw(place, shown.pixels, shown.title, limits, shown.colours)
        _bar(figure, panel, shown.colours, limits, unit_text(shown.unit), shown.pixels)
    # The truth's hottest voxels, which no scanner resolves, must not make the rest pale.
    limits = (0.0, max(_limits(p, _UPTAKE_PART if p is true_uptake else 100.0)[1] for p in both))
    for place, pixels in enumerate(both, start=first):
        title = f"{symbol} as the scanner showed it" if pixels is seen else f"{symbol}: the truth"
        panel = draw(place, pixels, title, limits, _UPTAKE)
        if measured is not None:
            panel.outline(*np.nonzero(measured), colour=_MEASURED)
        if pixels is seen:
            _bar(figure, panel, _UPTAKE, limits, with_unit(symbol, unit), np.stack(both))
    entries = [("—", "true outline of the tumour", _TRUE)]
    found = ("—", "outline that was measured", _MEASURED) if measured is not None else ("", "not found here", MUTED)
    row, column = divmod(panels - 1, columns)
    legend(figure, 0.15 + column * _ACROSS + 0.1, height - 0.7 - row * _DOWN, [*entries, found])
    return figure


def _limits(pixels: Plane, part: float = 99.5) -> tuple[float, float]:
    finite = pixels[np.isfinite(pixels)]
    return 0.0, nice_ceiling(float(np.percentile(finite, part))) if finite.size else 1.0


def _bar(figure: Figure, panel: Panel, colours: str, limits: tuple[float, float], label: str, pixels: Plane) -> None:
    left, bottom, wide, tall = panel.box
    finite = pixels[np.isfinite(pixels)]
    over = bool(finite.size and finite.max() > limits[1])
    if limits[1] >= _LARGE:
        limits, label = (limits[0] / 1000, limits[1] / 1000), f"10³ {label}"
    colour_bar(figure, (left + wide + 0.06, bottom, 0.1, tall), colours=colours, limits=limits, label=label, over=over)
