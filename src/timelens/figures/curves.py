"""Curves over time: several lines in panels, with names at their ends, time on a scale that shows minutes and days."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from timelens.errors import UsageError
from timelens.figures.canvas import new_figure, plot_axes
from timelens.figures.palette import region_colour
from timelens.figures.text import time_unit, with_unit

__all__ = ["CurvePanel", "curves_figure"]

_LINE = 0.16


@dataclass(frozen=True)
class CurvePanel:
    """One panel.

    Attributes
    ----------
    title
        Above it.
    symbol, unit
        What is drawn, and its UCUM code.
    curves
        Name to (times in s, values); NaN leaves a gap.
    logarithmic
        Time and values on logarithmic scales, values over five decades at most.
    points
        Name to (times in s, values) that are drawn as marks in the colour of the curve of that name.
    """

    title: str
    symbol: str
    unit: str
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]]
    logarithmic: bool = False
    points: Mapping[str, tuple[ArrayLike, ArrayLike]] = field(default_factory=dict)


def curves_figure(panels: Sequence[CurvePanel], *, columns: int = 2) -> Figure:
    """Panels of curves, side by side and in rows.

    Names have the same colour in every panel. Times are shown in the largest of s, min, h and d that the panel's last
    time holds four times.

    Parameters
    ----------
    panels
        In reading order.
    columns
        Panels in a row.

    Raises
    ------
    UsageError
        If there is nothing to draw, or a curve has no value per time.
    """
    if not panels or columns < 1:
        raise UsageError("There is nothing to draw", field="panels", found=len(panels))
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    colours = {name: region_colour(i + 1) for i, name in enumerate(names)}
    figure = new_figure(columns * 4.7, rows * 3.15 + 0.1)
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        box = (0.75 + column * 4.7, (rows - 1 - row) * 3.15 + 0.6, 2.75, 2.15)
        _draw(figure, box, panel, colours)
    return figure


def _draw(
    figure: Figure, box: tuple[float, float, float, float], panel: CurvePanel, colours: Mapping[str, str]
) -> None:
    lines = {name: _line(name, *curve) for name, curve in panel.curves.items()}
    last = max((float(t[-1]) for t, _ in lines.values() if t.size), default=1.0)
    unit, seconds = time_unit(last)
    axes = plot_axes(figure, box, x=f"Time [{unit}]", y=with_unit(panel.symbol, panel.unit), title=panel.title)
    axes.title.set_parse_math(False)
    top = 0.0
    for name, (times, values) in lines.items():
        axes.plot(times / seconds, values, color=colours[name], lw=1.5)
        top = max(top, float(np.nanmax(values, initial=0.0)))
        if name in panel.points:
            x, y = (np.asarray(each, float) for each in panel.points[name])
            axes.plot(x / seconds, y, "o", color=colours[name], ms=4, mfc="white", mew=1.2)
    if panel.logarithmic and top > 0:
        axes.set_xscale("log")
        axes.set_yscale("log")
        smallest = min(float(np.nanmin(v[v > 0], initial=top)) for _, v in lines.values())
        axes.set_ylim(max(smallest, top * 1e-5) * 0.8, top * 1.6)
        first = min(float(t[t > 0][0]) for t, _ in lines.values() if (t > 0).any())
        if first < last:
            axes.set_xlim(first / seconds, last / seconds)
    else:
        axes.set_xlim(0, last / seconds)
        axes.set_ylim(0, top * 1.06 if top > 0 else 1.0)
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = []
    for name, (_, values) in lines.items():
        shown = np.flatnonzero(np.isfinite(values) & ((values > 0) | (not panel.logarithmic)))
        at = float(to_axes.transform((last / seconds, values[shown[-1]]))[1]) if shown.size else 0.0
        ends.append((min(max(at, 0.0), 1.0), name))
    for height, name in _spread(ends, _LINE / box[3]):
        axes.text(
            1.03, height, name, transform=axes.transAxes, color=colours[name], fontsize=8, va="center", parse_math=False
        )


def _line(name: str, times: ArrayLike, values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(times, float), np.asarray(values, float)
    if x.ndim != 1 or x.shape != y.shape:
        raise UsageError(f"The curve {name} needs one value per time", found=f"{x.shape}, {y.shape}")
    return x, y


def _spread(ends: Sequence[tuple[float, str]], least: float) -> list[tuple[float, str]]:
    """Heights (parts of the axes) moved apart so that names do not overlap."""
    ordered = sorted(ends)
    places: list[float] = []
    for wanted, _ in ordered:
        places.append(max(wanted, places[-1] + least) if places else wanted)
    over = max(0.0, places[-1] - 1.0) if places else 0.0
    places = [place - over for place in places]
    for i in range(len(places) - 2, -1, -1):
        places[i] = min(places[i], places[i + 1] - least)
    return [(place, name) for place, (_, name) in zip(places, ordered, strict=True)]
