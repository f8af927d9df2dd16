"""Maps of a parameter with their errors: three planes or a row of axial cuts, colour bars with units.

Volumes are plain arrays in display order (head to feet, anterior to posterior, right to left), as
:meth:`timelens.figures.anatomy.Display.turn` gives them. Voxels without a value (NaN) show the ground, or the anatomy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timelens.errors import UsageError
from timelens.figures.anatomy import PLANES
from timelens.figures.canvas import new_figure
from timelens.figures.outline import voxels_by_region
from timelens.figures.palette import MUTED, region_colour
from timelens.figures.panel import Panel, colour_bar, legend
from timelens.figures.text import nice_ceiling, symbol_math, unit_text, with_unit

__all__ = ["parameter_map_figure", "robust_range"]

Volume = NDArray[Any]

#: Ground where a map has no value: neither white paper nor a colour of the map.
_GROUND = "#e9ecef"
_COLOURS, _ERROR_COLOURS = "viridis", "magma"
_TALLEST, _WIDEST, _NARROWEST = 3.4, 7.6, 5.8
_GAP, _BAR, _LEGEND = 0.12, 1.0, 2.4
#: Values up to this percentile are told apart by colour; a fit gone astray must not darken the whole map.
_ROBUST = 99.0
_MARGIN = 0.06
#: Voxels that are looked at for the range of colours.
_ENOUGH = 4_000_000


@dataclass(frozen=True)
class _View:
    """A cut: its name, the axis it cuts, where, and its window in mm."""

    title: str
    plane: str
    at: int
    window: tuple[float, float, float, float]

    @property
    def size(self) -> tuple[float, float]:
        return self.window[1] - self.window[0], self.window[3] - self.window[2]


def robust_range(values: Volume) -> tuple[float, float]:
    """The range of colours: from 0 to a round value at or above the 99th percentile of the finite values.

    A map with clearly negative values (1st percentile below a tenth of the upper end, negated) starts below zero.
    """
    step = max(1, values.size // _ENOUGH)  # of a large map a regular part says the same
    finite = values.reshape(-1)[::step]
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, [100 - _ROBUST, _ROBUST]))
    upper = nice_ceiling(high) if high > 0 else 0.0
    lower = -nice_ceiling(-low) if low < -0.1 * upper else 0.0
    return (lower, upper) if upper > lower else (0.0, 1.0)


def parameter_map_figure(
    values: Volume,
    spacing: Sequence[float],
    unit: str,
    symbol: str,
    error: Volume | None = None,
    anatomy: Volume | None = None,
    *,
    labels: Volume | None = None,
    at: Sequence[int] | None = None,
    letters: Sequence[tuple[str, str]] | None = None,
    layout: Literal["planes", "axial"] = "planes",
    count: int = 6,
    names: Mapping[int, str] | None = None,
) -> Figure:
    """A parameter map, and the map of its standard error in the row below.

    Parameters
    ----------
    values
        Shape (z, y, x) in display order; NaN where there is no value.
    spacing
        mm along each axis.
    unit, symbol
        UCUM code and symbol of the parameter.
    error
        Standard error, of the same shape and unit.
    anatomy
        Any image of the same shape, shown in grey under the map.
    labels
        Region numbers of the same shape, outlined.
    at
        Indices of the planes; by default through the largest region, else the middle of what has a value.
    letters
        What stands at the first and the last index of each axis, such as ``("H", "F")``.
    layout
        ``planes``: axial, coronal and sagittal; ``axial``: a row of ``count`` axial cuts from head to feet.
    names
        Of the codes 1, 2, ... where values are categories: each has a colour of its own.

    Raises
    ------
    UsageError
        If shapes differ, or there is no such layout.
    """
    values = _real(values)
    beside = {"error": error, "anatomy": anatomy, "labels": labels}
    shapes = {name: np.shape(v) for name, v in beside.items() if v is not None}
    if values.ndim != 3 or len(spacing) != 3 or any(shape != values.shape for shape in shapes.values()):
        raise UsageError(
            "A parameter map and what is shown with it need one shape (z, y, x)",
            field="values, error, anatomy, labels",
            found=f"{values.shape}, {shapes}",
        )  # fmt: skip
    if layout not in ("planes", "axial") or count < 1:
        raise UsageError("There is no such layout", field="layout", found=layout, expected="planes or axial")
    box = _filled(np.isfinite(values) if labels is None else np.isfinite(values) | (np.asarray(labels) > 0))
    views = _views(values, spacing, box, labels, at, layout, count)
    name = symbol_math(symbol)
    known = dict(names or {})
    palette: str | ListedColormap = ListedColormap([region_colour(n) for n in known]) if known else _COLOURS
    rows: list[tuple[Volume, str, str | ListedColormap]] = [(values, name, palette)]
    if error is not None:
        rows.append((_real(error), f"SE of {name}", _ERROR_COLOURS))
    wide = _WIDEST - _GAP * (len(views) - 1)
    scale = min(_TALLEST / max(v.size[1] for v in views), wide / sum(v.size[0] for v in views))
    tall = max(v.size[1] for v in views) * scale
    width = 0.15 + sum(v.size[0] for v in views) * scale + _GAP * (len(views) - 1)
    figure = new_figure(max(width + (_LEGEND if known else _BAR), _NARROWEST), len(rows) * (tall + 0.62) + 0.05)
    for row, (volume, label, colours) in enumerate(rows):
        bottom = figure.get_size_inches()[1] - (row + 1) * (tall + 0.62) + 0.25
        limits = (0.5, len(known) + 0.5) if known else robust_range(volume)
        left = 0.15
        for view in views:
            panel_box = (left, bottom + tall - view.size[1] * scale, view.size[0] * scale, view.size[1] * scale)
            panel = _cut(figure, panel_box, view, volume, spacing, limits, colours, anatomy, labels, letters)
            panel.title(view.title)
            left += view.size[0] * scale + _GAP
        if known:
            entries = [("■", label, region_colour(n)) for n, label in known.items()]
            legend(figure, left - _GAP + 0.12, bottom + tall, entries)
            w, h = figure.get_size_inches()
            figure.text(0.15 / w, (bottom - 0.17) / h, _numbers(volume, known), fontsize=8, color=MUTED)
            continue
        count, above, largest = _told(volume, limits[1])
        bar = (left - _GAP + 0.1, bottom, 0.12, tall)
        colour_bar(figure, bar, colours=str(colours), limits=limits, label=with_unit(label, unit), over=above > 0)
        w, h = figure.get_size_inches()
        figure.text(0.15 / w, (bottom - 0.17) / h, _said(count, above, largest, limits, unit), fontsize=8, color=MUTED,
                    parse_math=False)  # fmt: skip
    return figure


def _real(values: Volume) -> Volume:
    array = np.asarray(values)
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def _told(values: Volume, upper: float) -> tuple[int, int, float]:
    """How many voxels have a value, how many lie above the colours, and the largest; slice by slice, for large maps."""
    count, above, largest = 0, 0, -np.inf
    for part in values:
        finite = part[np.isfinite(part)]
        if finite.size:
            count, above = count + finite.size, above + int((finite > upper).sum())
            largest = max(largest, float(finite.max()))
    return count, above, largest


def _said(count: int, above: int, largest: float, limits: tuple[float, float], unit: str) -> str:
    """What the colours leave out, in words."""
    if not count:
        return "no voxel has a value"
    shown = f"colours from {limits[0]:g} to {limits[1]:g}{_spaced(unit)}"
    rest = f", {above} voxel{'s' if above > 1 else ''} above, up to {largest:.3g}" if above else ""
    return f"{shown}{rest}; {count} voxels with a value".replace("-", "−")


def _numbers(volume: Volume, names: Mapping[int, str]) -> str:
    """How many voxels are of each category, in words."""
    return "voxels: " + ", ".join(f"{name} {int((volume == n).sum())}" for n, name in names.items())


def _spaced(unit: str) -> str:
    text = unit_text(unit)
    return f" {text}" if text else ""


def _filled(inside: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of what is inside, with a margin; everything where nothing is."""
    found = []
    for axis in range(3):
        hit = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        length = inside.shape[axis]
        if not hit.size:
            found.append((0, length - 1))
            continue
        room = max(1, round(_MARGIN * (hit[-1] - hit[0] + 1)))
        found.append((max(0, int(hit[0]) - room), min(length - 1, int(hit[-1]) + room)))
    return found


def _views(
    values: Volume,
    spacing: Sequence[float],
    box: Sequence[tuple[int, int]],
    labels: Volume | None,
    at: Sequence[int] | None,
    layout: str,
    count: int,
) -> list[_View]:
    def window(plane: str) -> tuple[float, float, float, float]:
        down, right, _ = PLANES[plane]
        (r0, r1), (c0, c1) = box[down], box[right]
        return (
            (c0 - 0.5) * spacing[right], (c1 + 0.5) * spacing[right],
            (r0 - 0.5) * spacing[down], (r1 + 0.5) * spacing[down],
        )  # fmt: skip

    if layout == "axial":
        inside = np.flatnonzero(np.isfinite(values).any(axis=(1, 2)))
        first, last = (int(inside[0]), int(inside[-1])) if inside.size else box[0]
        places = np.linspace(first, last, count + 2)[1:-1].round().astype(int)
        return [_View(f"Slice {k + 1}", "Axial", int(k), window("Axial")) for k in dict.fromkeys(places)]
    centre = list(at) if at is not None else _centre(values, labels)
    return [_View(plane, plane, centre[PLANES[plane][2]], window(plane)) for plane in PLANES]


def _centre(values: Volume, labels: Volume | None) -> list[int]:
    """The voxel of the largest region nearest to its centroid, else the middle of what has a value."""
    spots = voxels_by_region(np.asarray(labels)) if labels is not None else {}
    if spots:
        index = max(spots.values(), key=len)
        return [int(i) for i in index[np.argmin(((index - index.mean(axis=0)) ** 2).sum(axis=1))]]
    finite = np.isfinite(values)
    if not finite.any():
        return [n // 2 for n in values.shape]
    return [round(float(np.mean(found))) for found in np.nonzero(finite)]


def _cut(
    figure: Figure,
    box: tuple[float, float, float, float],
    view: _View,
    volume: Volume,
    spacing: Sequence[float],
    limits: tuple[float, float],
    colours: str | ListedColormap,
    anatomy: Volume | None,
    labels: Volume | None,
    letters: Sequence[tuple[str, str]] | None,
) -> Panel:
    down, right, across = PLANES[view.plane]
    panel = Panel(figure, box, (spacing[down], spacing[right]), view.window, dark=anatomy is not None)
    panel.axes.set_facecolor(_GROUND)
    if anatomy is not None:
        finite = anatomy[np.isfinite(anatomy)]
        grey = (float(v) for v in np.percentile(finite, [1, 99.5])) if finite.size else (0.0, 1.0)
        low, high = grey
        panel.show(
            np.take(anatomy, view.at, axis=across), limits=(low, high if high > low else low + 1), colours="gray"
        )
    panel.show(np.take(volume, view.at, axis=across), limits=limits, colours=colours)
    if labels is not None:
        plane = np.take(np.asarray(labels), view.at, axis=across)
        for number in (int(n) for n in np.unique(plane) if n):
            rows, columns = np.nonzero(plane == number)
            panel.outline(rows, columns, colour=region_colour(number), text=str(number))
    if letters is not None:
        panel.letters(letters[down], letters[right])
    panel.scale_bar()
    return panel
