"""Charts of cells: densities with intervals, infiltration across the border, neighbourhoods, pairs by distance.

All take plain columns, as the tables of the cytometry lens have them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from timelens.errors import UsageError
from timelens.figures.canvas import new_figure, plot_axes
from timelens.figures.palette import INK, MUTED, region_colour
from timelens.figures.panel import colour_bar, legend, plain_name

__all__ = [
    "Band",
    "composition_figure",
    "density_figure",
    "distance_figure",
    "infiltration_figure",
    "null_figure",
    "pairs_figure",
]

_MOST_ROWS = 30
_ROW = 0.21
_BAND = 0.22  # opacity
#: Places in the order of drawing, with their colours.
_PLACES = {"section": INK, "nest": "#cc3399", "margin": "#ee7733", "stroma": "#0077bb"}


@dataclass(frozen=True)
class Band:
    """A curve with an interval.

    Attributes
    ----------
    x, y
        Of the curve.
    lower, upper
        Of the interval at each x; NaN where there is none.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


def density_figure(
    values: Mapping[str, Mapping[str, tuple[float, float, float]]], *, unit: str = "cells/mm²"
) -> Figure:
    """Densities with intervals, a line a component, a colour a compartment, on a logarithmic scale.

    Parameters
    ----------
    values
        Component to compartment to (value, lower, upper); at most 30 components. What is zero is drawn at the left
        edge, with the upper end of its interval.
    unit
        Of the axis.

    Raises
    ------
    UsageError
        If there is nothing to draw, or too much.
    """
    if not 1 <= len(values) <= _MOST_ROWS:
        raise UsageError("There is nothing to draw, or too much", field="values", found=f"{len(values)} components",
                         expected=f"1 to {_MOST_ROWS}")  # fmt: skip
    left, bottom, width = 1.85, 0.5, 4.1
    height = _ROW * len(values) + 0.1
    figure = new_figure(left + width + 1.15, bottom + height + 0.35)
    axes = plot_axes(figure, (left, bottom, width, height), x=f"Density [{unit}]", y="", title="Cells per area")
    axes.grid(visible=True, axis="x", color="#e4e7eb", linewidth=0.6)
    axes.grid(visible=False, axis="y")
    places = [p for p in _PLACES if any(p in one for one in values.values())]
    known = [n for one in values.values() for triple in one.values() for n in triple if np.isfinite(n) and n > 0]
    least, most = min(known, default=1.0) / 1.6, max(known, default=10.0) * 1.6
    axes.set_xscale("log")
    axes.set_xlim(least, most)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 1 else f"{v:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(len(values) - 0.45, -0.55)
    axes.set_yticks(range(len(values)), [plain_name(name, 26) for name in values], fontsize=8, color=INK)
    axes.tick_params(axis="y", length=0)
    shift = np.linspace(-0.27, 0.27, len(places)) if len(places) > 1 else np.zeros(1)
    for row, one in enumerate(values.values()):
        for place, off in zip(places, shift, strict=True):
            if place not in one or not np.isfinite(one[place][0]):
                continue
            value, low, high = one[place]
            colour = _PLACES[place]
            axes.plot([max(low, least), max(high, least)], [row + off] * 2, color=colour, linewidth=1.1, alpha=0.8)
            if value > 0:
                axes.plot([value], [row + off], "o", color=colour, markersize=3.4)
            else:
                axes.plot([least], [row + off], "<", color=colour, markersize=3.4, clip_on=False)
    for line in range(1, len(values)):
        axes.axhline(line - 0.5, color="#f0f2f4", linewidth=0.6, zorder=0)
    legend(figure, left + width + 0.12, bottom + height, [("●", p, _PLACES[p]) for p in places])
    return figure


def infiltration_figure(bands: Mapping[str, Band], *, unit: str = "cells/mm²") -> Figure:
    """Density of types by signed distance to the border of the nests, each with a scale of its own.

    Parameters
    ----------
    bands
        Type to density at the middles of the bins of distance (um, negative in the nest); at most six.
    unit
        Of the densities.

    Raises
    ------
    UsageError
        If there is nothing to draw, or more than six types.
    """
    figure, axes = _grid(len(bands), "bands")
    for k, ((name, band), one) in enumerate(zip(bands.items(), axes, strict=True)):
        colour = region_colour(k + 1)
        one.axvspan(min(float(band.x.min()), 0.0), 0, color="#f3ede6", zorder=0)
        one.fill_between(band.x, band.lower, band.upper, color=colour, alpha=_BAND, linewidth=0)
        one.plot(band.x, band.y, color=colour, linewidth=1.5, marker="o", markersize=2.8)
        one.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
        one.set_ylim(0, _top(band))
        _label(one, name, "Distance to the nest [µm]", f"[{unit}]")
    return figure


def pairs_figure(bands: Mapping[str, tuple[Band, NDArray[np.float64]]]) -> Figure:
    """L(r) of pairs of types, less what chance gives, with the envelope of chance; at most six.

    Parameters
    ----------
    bands
        Name of the pair to (L with the ends of the envelope, L as chance has it), all in micrometres over the radius.

    Raises
    ------
    UsageError
        If there is nothing to draw, or more than six pairs.
    """
    figure, axes = _grid(len(bands), "bands")
    for k, ((name, (band, chance)), one) in enumerate(zip(bands.items(), axes, strict=True)):
        one.fill_between(band.x, band.lower - chance, band.upper - chance, color="#9aa5b1", alpha=0.4, linewidth=0)
        one.axhline(0, color=MUTED, linewidth=0.8)
        one.plot(band.x, band.y - chance, color=region_colour(k + 1), linewidth=1.5, marker="o", markersize=2.8)
        one.set_xlim(0, float(band.x.max()) * 1.03)
        _label(one, name, "Radius [µm]", "L − chance [µm]")
    return figure


def composition_figure(names: Sequence[str], types: Sequence[str], parts: ArrayLike, cells: Sequence[int]) -> Figure:
    """What neighbourhoods are made of: parts of the types (columns) in the windows of each neighbourhood (rows).

    Parameters
    ----------
    names
        Of the neighbourhoods, at most 30.
    types
        At most 30.
    parts
        Shape (neighbourhoods, types), between 0 and 1.
    cells
        Of each neighbourhood.

    Raises
    ------
    UsageError
        If the numbers do not fit, or there are none or too many.
    """
    table = np.asarray(parts, np.float64)
    sizes = (len(names), len(types))
    if table.shape != sizes or len(cells) != len(names) or not 1 <= min(sizes) <= max(sizes) <= _MOST_ROWS:
        raise UsageError("Each neighbourhood has a row, each type a column", field="parts", found=table.shape,
                         expected=f"{sizes}, 1 to {_MOST_ROWS}")  # fmt: skip
    rows = [f"{name} ({n:,} cells)" for name, n in zip(names, cells, strict=True)]
    text = [[f"{100 * v:.0f}" if v >= 0.05 else "" for v in line] for line in table]
    return _heat(rows, types, table, text, colours="Blues", limits=(0.0, 1.0), label="part", light=0.55,
                 title="What neighbourhoods are made of, %")  # fmt: skip


def distance_figure(names: Sequence[str], median: ArrayLike) -> Figure:
    """Median distance in micrometres from cells of each type (rows) to the nearest of each type (columns).

    Parameters
    ----------
    names
        Types, at most 30.
    median
        Shape (types, types); NaN is left white.

    Raises
    ------
    UsageError
        If names and distances differ in number, or there are none or too many.
    """
    table = np.asarray(median, np.float64)
    if table.shape != (len(names), len(names)) or not 1 <= len(names) <= _MOST_ROWS:
        raise UsageError("Each type has a row and a column", field="median", found=table.shape,
                         expected=f"{len(names)} types, 1 to {_MOST_ROWS}")  # fmt: skip
    known = table[np.isfinite(table)]
    top = float(np.quantile(known, 0.95)) if known.size else 1.0
    text = [["" if not np.isfinite(v) else f"{v:.0f}" for v in line] for line in table]
    return _heat(names, names, table, text, colours="YlGnBu_r", limits=(0.0, top), label="µm", light=-0.4,
                 over=bool(known.max(initial=0) > top), title="Median distance to the nearest, µm")  # fmt: skip


def _heat(
    rows: Sequence[str],
    columns: Sequence[str],
    table: NDArray[np.float64],
    text: Sequence[Sequence[str]],
    *,
    colours: str,
    limits: tuple[float, float],
    title: str,
    label: str,
    light: float,
    over: bool = False,
) -> Figure:
    """A table of colours with its numbers; writing is white above a part of the scale (below it where negative)."""
    cell, left, bottom = 0.3, 1.85, 1.6
    width, height = cell * len(columns), cell * len(rows)
    figure = new_figure(max(left + width + 1.0, 4.2), bottom + height + 0.4)
    w, h = figure.get_size_inches()
    axes = figure.add_axes((left / w, bottom / h, width / w, height / h))
    axes.imshow(np.ma.masked_invalid(table), cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    axes.set_xticks(range(len(columns)), [plain_name(n, 24) for n in columns], rotation=90, fontsize=8, color=INK)
    axes.set_yticks(range(len(rows)), [plain_name(n, 28) for n in rows], fontsize=8, color=INK)
    axes.tick_params(length=0)
    figure.text(0.15 / w, 1 - 0.12 / h, title, fontsize=9.5, color=INK, va="top")
    for spine in axes.spines.values():
        spine.set_color("#cbd2d9")
    for i, line in enumerate(text):
        for j, said in enumerate(line):
            share = (table[i, j] - limits[0]) / (limits[1] - limits[0])
            white = share > light if light >= 0 else share < -light
            axes.text(j, i, said, ha="center", va="center", fontsize=6.8, color="white" if white else INK)
    colour_bar(
        figure, (left + width + 0.12, bottom, 0.1, height), colours=colours, limits=limits, label=label, over=over
    )
    return figure


def _grid(number: int, field: str) -> tuple[Figure, list[Axes]]:
    """Up to six small axes, three a row."""
    if not 1 <= number <= 6:
        raise UsageError("One to six curves are drawn", field=field, found=number)
    columns, rows = min(number, 3), -(-number // 3)
    width, height, left, bottom = 1.75, 1.3, 0.62, 0.5
    step_x, step_y = width + 0.68, height + 0.78
    figure = new_figure(left + step_x * columns - 0.5, bottom + step_y * rows - 0.4)
    found = []
    for k in range(number):
        row, column = divmod(k, 3)
        box = (left + step_x * column, bottom + step_y * (rows - 1 - row), width, height)
        found.append(plot_axes(figure, box, x="", y=""))
    return figure, found


def _label(axes: Axes, name: str, x: str, y: str) -> None:
    axes.set_title(plain_name(name, 34), fontsize=8.5, color=INK, loc="left", pad=3)
    axes.set_xlabel(x, fontsize=8, color=INK, labelpad=2)
    axes.set_ylabel(y, fontsize=8, color=INK, labelpad=2)
    axes.tick_params(labelsize=7.5)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}".replace("-", "−")))


def _top(band: Band) -> float:
    """The scale follows the curve; a wide interval in a bin of little area does not flatten it."""
    best = float(np.nanmax(band.y, initial=0.0))
    return min(float(np.nanmax(band.upper, initial=1.0)), 2 * best) * 1.05 if best > 0 else 1.0


def null_figure(groups: Mapping[str, ArrayLike]) -> Figure:
    """P-values under chance: which part of them lies below each value; on the diagonal they are what they claim.

    Parameters
    ----------
    groups
        Name to p-values, one or two of them.

    Raises
    ------
    UsageError
        If there is nothing to draw, or more than two groups.
    """
    if not 1 <= len(groups) <= 2 or any(not np.size(p) for p in groups.values()):
        raise UsageError("One or two groups of p-values are drawn", field="groups", found=len(groups))
    side, left, bottom = 2.6, 0.65, 0.55
    figure = new_figure(left + (side + 0.85) * len(groups) - 0.5, bottom + side + 0.45)
    for k, (name, values) in enumerate(groups.items()):
        p = np.sort(np.asarray(values, np.float64))
        axes = plot_axes(figure, (left + k * (side + 0.85), bottom, side, side), x="p-value", y="Part at or below it")
        line = np.linspace(0, 1, 101)
        # Pointwise: where 95 % of samples of this size lie if p-values are uniform.
        half = 1.96 * np.sqrt(line * (1 - line) / len(p))
        axes.fill_between(line, np.maximum(line - half, 0), np.minimum(line + half, 1), color="#9aa5b1", alpha=0.4,
                          linewidth=0)  # fmt: skip
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8)
        axes.step(p, np.arange(1, len(p) + 1) / len(p), where="post", color=region_colour(k + 1), linewidth=1.4)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_title(plain_name(name, 44), fontsize=9, color=INK, loc="left")
    return figure
