"""Kinetics in pictures: measured curves with their fits and residuals, input functions, graphical analyses.

Everything is a plain array; times are seconds from time zero, shown in the unit that fits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from timelens.errors import UsageError
from timelens.figures.canvas import new_figure, plot_axes
from timelens.figures.curves import CurvePanel, curves_figure
from timelens.figures.palette import INK, MUTED, region_colour
from timelens.figures.panel import plain_name
from timelens.figures.text import measured_word, readable_unit, time_unit, with_unit

__all__ = ["FitCurve", "GraphicalPlot", "fits_figure", "graphical_figure", "input_figure"]

Floats = NDArray[np.float64]

#: Width and height of a cell of the grid, and of what is drawn in it, in inches.
_CELL = (3.45, 3.3)
_PLOT, _RESIDUAL = 1.65, 0.62
_WIDTH = 2.6
#: Residuals below this part of the largest value are shown as none: rounding is no misfit.
_LEAST_RESIDUAL = 1e-3
#: The first part of an input function is shown up to this many times its peak's time.
_EARLY = 4.0


@dataclass(frozen=True)
class FitCurve:
    """A measured curve and one model's fit to it.

    Attributes
    ----------
    region, model
        Names, as they shall be read.
    start_s, duration_s
        Of each frame, in s.
    measured, fitted
        A value per frame in ``unit``; NaN leaves a gap, as in ``fitted`` before t*.
    unit
        UCUM code of both.
    sd
        Standard deviation of the voxels of the region, or None.
    """

    region: str
    model: str
    start_s: ArrayLike
    duration_s: ArrayLike
    measured: ArrayLike
    fitted: ArrayLike
    unit: str
    sd: ArrayLike | None = None


@dataclass(frozen=True)
class GraphicalPlot:
    """A graphical analysis of one region.

    Attributes
    ----------
    region, method
        Names, as they shall be read.
    x, y
        Coordinates of each frame.
    used
        Whether a frame enters the regression.
    slope, intercept
        The line.
    t_star_s
        Start of the first frame used, in s.
    x_label, y_label
        Labels with units.
    slope_text
        What the slope is, e.g. ``K_i = 0.031 mL/min/mL``; empty for none.
    """

    region: str
    method: str
    x: ArrayLike
    y: ArrayLike
    used: ArrayLike
    slope: float
    intercept: float
    t_star_s: float
    x_label: str
    y_label: str
    slope_text: str = ""


def fits_figure(curves: Sequence[FitCurve], *, columns: int = 3, most: int = 12) -> Figure:
    """Measured points with their fits, and the residuals below, a cell for each region.

    Several models of one region share its cell; a model has the same colour in all of them. Regions beyond ``most`` are
    named at the foot, never left out silently.

    Parameters
    ----------
    curves
        In reading order.
    columns
        Cells in a row.
    most
        Regions drawn at most.

    Raises
    ------
    UsageError
        If there is nothing to draw, or a curve has not one value per frame.
    """
    if not curves or columns < 1 or most < 1:
        raise UsageError("There are no fits to draw", field="curves, columns, most", found=len(curves))
    for curve in curves:
        _check(curve)
    regions: dict[str, list[FitCurve]] = {}
    for curve in curves:
        regions.setdefault(curve.region, []).append(curve)
    shown, left = list(regions)[:most], list(regions)[most:]
    colours = {model: region_colour(i + 1) for i, model in enumerate(dict.fromkeys(c.model for c in curves))}
    columns = min(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    wide = max(columns * _CELL[0], 4.6)
    bars = any(c.sd is not None for c in curves)
    key = _key("○ measured" + (" (bar: SD of the voxels)" if bars else ""), colours, wide)
    foot = 0.16 + 0.2 * (max(line for *_, line in key) + 1) + 0.2 * bool(left)
    figure = new_figure(wide, rows * _CELL[1] + foot)
    height = figure.get_size_inches()[1]
    for text, colour, at, line in key:
        figure.text(at / wide, (foot - 0.22 - 0.2 * line) / height, text, fontsize=8.5, color=colour, parse_math=False,
                    fontweight="normal" if colour == INK else "bold")  # fmt: skip
    for place, region in enumerate(shown):
        row, column = divmod(place, columns)
        _cell(figure, (0.7 + column * _CELL[0], foot + (rows - 1 - row) * _CELL[1]), regions[region], colours)
    if left:
        names = plain_name(", ".join(left), max(20, round(figure.get_size_inches()[0] * 13) - 24))
        said = f"and {len(left)} more region{'s' if len(left) > 1 else ''}: {names}"
        figure.text(0.15 / figure.get_size_inches()[0], 0.1 / figure.get_size_inches()[1], said, fontsize=8.5,
                    color=MUTED, parse_math=False)  # fmt: skip
    return figure


def input_figure(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    unit: str,
    samples: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    parent_fraction: tuple[ArrayLike, ArrayLike] | None = None,
) -> Figure:
    """Input functions: the first minutes, the whole course, and the parent fraction where it is given.

    Parameters
    ----------
    curves
        Name (whole blood, plasma, parent ...) to times in s and values.
    unit
        UCUM code of the values.
    samples
        Measured samples, drawn as marks in the colour of the curve of that name.
    parent_fraction
        Times in s and fraction of 1.

    Raises
    ------
    UsageError
        If there is nothing to draw, or a curve has no value per time.
    """
    lines = {name: _sorted(name, *curve) for name, curve in curves.items()}
    if not lines or not all(t.size for t, _ in lines.values()):
        raise UsageError("There is no input function to draw", field="curves", found=", ".join(lines) or "none")
    marks = {name: _sorted(name, *points) for name, points in (samples or {}).items() if name in lines}
    largest = max(float(np.nanmax(v, initial=0.0)) for _, v in lines.values())
    code, factor = readable_unit(unit, largest)
    lines = {name: (t, v * factor) for name, (t, v) in lines.items()}
    marks = {name: (t, v * factor) for name, (t, v) in marks.items()}
    first, values = next(iter(lines.values()))
    last = max(float(t[-1]) for t, _ in lines.values())
    peak = float(first[int(np.nanargmax(values))]) if np.isfinite(values).any() else 0.0
    panels = []
    end = _EARLY * max(peak, 15.0)
    if end < last / 3:
        early = {name: _until(t, v, end) for name, (t, v) in lines.items()}
        dots = {name: (t[t <= end], v[t <= end]) for name, (t, v) in marks.items()}
        panels.append(CurvePanel("First part", "Concentration", code, early, points=dots))
    panels.append(CurvePanel("Whole course", "Concentration", code, lines, points=marks))
    if parent_fraction is not None:
        course = _sorted("parent fraction", *parent_fraction)
        panels.append(CurvePanel("Unchanged agent in plasma", "Parent fraction", "1", {"parent fraction": course}))
    return curves_figure(panels, columns=len(panels))


def graphical_figure(plots: Sequence[GraphicalPlot], *, columns: int = 3, most: int = 12) -> Figure:
    """Graphical analyses (Patlak, Logan) as straight lines: points used filled, others open, t* marked.

    Parameters
    ----------
    plots
        In reading order.
    columns, most
        Cells in a row, and cells at most; the others are named at the foot.

    Raises
    ------
    UsageError
        If there is nothing to draw, or the coordinates differ in length.
    """
    if not plots or columns < 1 or most < 1:
        raise UsageError("There is no graphical analysis to draw", field="plots, columns, most", found=len(plots))
    shown, left = plots[:most], plots[most:]
    columns = min(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    high, foot = 2.95, 0.3 * bool(left)
    figure = new_figure(max(columns * _CELL[0], 4.2), rows * high + foot + 0.05)
    for place, plot in enumerate(shown):
        row, column = divmod(place, columns)
        box = (0.7 + column * _CELL[0], foot + (rows - 1 - row) * high + 0.55, _WIDTH, 1.95)
        _line(figure, box, plot)
    if left:
        width, height = figure.get_size_inches()
        names = plain_name(", ".join(f"{p.region} ({p.method})" for p in left), round(width * 13) - 16)
        figure.text(
            0.15 / width, 0.1 / height, f"and {len(left)} more: {names}", fontsize=8.5, color=MUTED, parse_math=False
        )
    return figure


# -- cells ----------------------------------------------------------------------------------------------------------


def _cell(figure: Figure, corner: tuple[float, float], curves: Sequence[FitCurve], colours: Mapping[str, str]) -> None:
    first = curves[0]
    middle, measured = _middle(first), np.asarray(first.measured, float)
    end = float((np.asarray(first.start_s, float) + np.asarray(first.duration_s, float)).max())
    unit, seconds = time_unit(end)
    tops = [np.nanmax(np.asarray(v, float), initial=0.0) for c in curves for v in (c.measured, c.fitted)]
    code, factor = readable_unit(first.unit, float(max(tops)))
    left, bottom = corner
    below = plot_axes(figure, (left, bottom + 0.5, _WIDTH, _RESIDUAL), x=f"Time [{unit}]", y="Residual")
    what = measured_word(code)
    above = plot_axes(figure, (left, bottom + 0.5 + _RESIDUAL + 0.12, _WIDTH, _PLOT), x="", y=with_unit(what, code))
    above.set_title(plain_name(first.region, 36), fontsize=10, color=INK, loc="left", parse_math=False)
    above.tick_params(labelbottom=False)
    spread = None if first.sd is None else np.asarray(first.sd, float) * factor
    if spread is not None:
        spread = np.where(np.isfinite(spread), spread, 0.0)
    above.errorbar(
        middle / seconds, measured * factor, yerr=spread, fmt="o", ms=3.6, mfc="white", mew=0.9, color=INK,
        ecolor="#9aa5b1", elinewidth=0.8, zorder=2,
    )  # fmt: skip
    largest = 0.0
    for curve in curves:
        x, fitted = _middle(curve) / seconds, np.asarray(curve.fitted, float) * factor
        residual = np.asarray(curve.measured, float) * factor - fitted
        above.plot(x, fitted, color=colours[curve.model], lw=1.5, zorder=3)
        below.plot(x, residual, "o-", color=colours[curve.model], ms=2.4, lw=0.7)
        largest = max(largest, float(np.nanmax(np.abs(residual), initial=0.0)))
        if not np.isfinite(fitted).any():
            above.text(0.97, 0.06, f"{curve.model}: no fit", transform=above.transAxes, ha="right", fontsize=8,
                       color=colours[curve.model], parse_math=False)  # fmt: skip
    below.axhline(0, color=MUTED, lw=0.7)
    lowest = float(np.nanmin(measured * factor, initial=0.0))
    above.set_ylim(bottom=min(0.0, 1.05 * lowest))
    top = float(np.nanmax(np.abs(measured * factor), initial=0.0))
    limit = max(1.15 * largest, _LEAST_RESIDUAL * top) or 1.0
    below.set_ylim(-limit, limit)
    below.yaxis.set_major_locator(MaxNLocator(nbins=3, symmetric=True))
    for axes in (above, below):
        axes.set_xlim(0 if np.min(middle) >= 0 else None, 1.02 * end / seconds)


def _line(figure: Figure, box: tuple[float, float, float, float], plot: GraphicalPlot) -> None:
    x, y, used = np.asarray(plot.x, float), np.asarray(plot.y, float), np.asarray(plot.used, bool)
    if x.ndim != 1 or x.shape != y.shape or x.shape != used.shape:
        raise UsageError(
            f"The graphical analysis of {plot.region} needs x, y and used of one length", field="x, y, used",
            found=f"{x.shape}, {y.shape}, {used.shape}",
        )  # fmt: skip
    axes = plot_axes(figure, box, x=plot.x_label, y=plot.y_label)
    axes.set_title(
        plain_name(f"{plot.region}: {plot.method}", 38), fontsize=10, color=INK, loc="left", parse_math=False
    )
    finite = np.isfinite(x) & np.isfinite(y)
    axes.plot(x[finite & ~used], y[finite & ~used], "o", ms=3.6, mfc="white", mew=0.9, color=MUTED)
    axes.plot(x[finite & used], y[finite & used], "o", ms=3.6, color=region_colour(2))
    chosen = x[finite & used]
    if chosen.size and math.isfinite(plot.slope) and math.isfinite(plot.intercept):
        ends = np.array([chosen.min(), chosen.max()])
        axes.plot(ends, plot.intercept + plot.slope * ends, color=region_colour(1), lw=1.5)
        before = np.array([float(np.min(x[finite])), ends[0]])
        axes.plot(before, plot.intercept + plot.slope * before, color=region_colour(1), lw=1, ls=(0, (3, 2)))
        unit, seconds = time_unit(plot.t_star_s)
        axes.axvline(ends[0], color=MUTED, lw=0.8, ls=(0, (1, 2)))
        axes.annotate(
            f"t* = {plot.t_star_s / seconds:.3g} {unit}", (ends[0], 0.03), xycoords=("data", "axes fraction"),
            xytext=(3, 0), textcoords="offset points", fontsize=8, color=MUTED, parse_math=False,
        )  # fmt: skip
    if plot.slope_text:
        axes.text(0.03, 0.95, plot.slope_text, transform=axes.transAxes, fontsize=8.5, va="top", color=region_colour(1),
                  parse_math=False)  # fmt: skip
    _show(axes, x, y, finite & used if (finite & used).any() else finite)


def _show(axes: Axes, x: Floats, y: Floats, used: NDArray[np.bool_]) -> None:
    """Limits from the points that count: early ones, where little is there to divide by, may lie anywhere."""
    if not used.any():
        return
    axes.set_xlim(0, 1.05 * float(np.max(x[used])) or 1.0)
    low, high = min(0.0, float(np.min(y[used]))), max(0.0, float(np.max(y[used])))
    room = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - room * (low < 0), high + room)


def _key(measured: str, colours: Mapping[str, str], wide: float) -> list[tuple[str, str, float, int]]:
    """What the marks are and the colour of each model: text, colour, inches from the left, line from the top."""
    found, at, line = [], 0.15, 0
    for text, colour in ((measured, INK), *((f"— {plain_name(name, 50)}", c) for name, c in colours.items())):
        length = (0.068 if colour == INK else 0.075) * len(text) + 0.25
        if at > 0.15 and at + length > wide:
            at, line = 0.15, line + 1
        found.append((text, colour, at, line))
        at += length
    return found


def _middle(curve: FitCurve) -> Floats:
    middle: Floats = np.asarray(curve.start_s, float) + np.asarray(curve.duration_s, float) / 2
    return middle


def _check(curve: FitCurve) -> None:
    given = [curve.start_s, curve.duration_s, curve.measured, curve.fitted]
    shapes = {np.shape(np.asarray(a, float)) for a in (*given, *(() if curve.sd is None else (curve.sd,)))}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or next(iter(shapes)) == (0,):
        raise UsageError(
            f"The fit of {curve.region} needs one value per frame", field="start_s, duration_s, measured, fitted, sd",
            found=", ".join(sorted(map(str, shapes))),
        )  # fmt: skip


def _sorted(name: str, times: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(times, float), np.asarray(values, float)
    if x.ndim != 1 or x.shape != y.shape:
        raise UsageError(f"The curve {name} needs one value per time", found=f"{x.shape}, {y.shape}")
    order = np.argsort(x, kind="stable")
    return x[order], y[order]


def _until(times: Floats, values: Floats, end: float) -> tuple[Floats, Floats]:
    """A curve cut at a time, with the value between its samples there."""
    inside = times <= end
    at = float(np.interp(end, times, values))
    return np.append(times[inside], end), np.append(values[inside], at)
