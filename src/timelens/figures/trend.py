"""How a quantity went over time: one line per subject, absolute and in percent of the first session; and by lesion."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from timelens.figures.canvas import new_figure, plot_axes
from timelens.figures.palette import INK, MUTED, region_colour
from timelens.figures.panel import plain_name
from timelens.figures.text import with_unit

__all__ = ["TrendPoint", "trend_figure", "waterfall_figure"]

_MOST_NAMED = 12
_LINE_HEIGHT = 0.15


@dataclass(frozen=True)
class TrendPoint:
    """One value of one session.

    Attributes
    ----------
    subject, session
        Aliases.
    when
        Date-time of the scan, if known.
    quantity
        Name in the vocabulary; points of one quantity share a panel.
    symbol, unit
        How it is written, and its UCUM code.
    value
        The number; NaN leaves a gap.
    uncertainty
        Half the length of the error bar, in the unit of the value; NaN draws none.
    order
        Position of the session among those of its subject, used where dates are not known.
    """

    subject: str
    session: str
    when: datetime | None
    quantity: str
    symbol: str
    unit: str
    value: float
    uncertainty: float = math.nan
    order: int = 0


def trend_figure(rows: Iterable[TrendPoint]) -> Figure:
    """Values over time per subject: one column per quantity, absolute above, change from the first session below.

    Days count from each subject's first session where every session has a date; else sessions stand in their order.
    The change is drawn where the first session has a positive value.
    """
    points = list(rows)
    names = list(dict.fromkeys(p.quantity for p in points))
    subjects = sorted({p.subject for p in points})
    colours = {s: region_colour(i + 1) if len(subjects) <= _MOST_NAMED else "#7b8794" for i, s in enumerate(subjects)}
    dated = bool(points) and all(p.when is not None for p in points)
    columns = max(len(names), 1)
    figure = new_figure(0.75 + columns * 4.35, 5.3)
    horizontal = "Days since first session" if dated else "Session, in order"
    for column, name in enumerate(names):
        own = [p for p in points if p.quantity == name]
        left = 0.75 + column * 4.35
        title = with_unit(own[0].symbol, own[0].unit)
        upper = plot_axes(figure, (left, 3.05, 2.85, 1.9), x="", y=title, title=own[0].symbol)
        lower = plot_axes(figure, (left, 0.55, 2.85, 1.9), x=horizontal, y="Change from first [%]")
        lower.axhline(0, color=MUTED, lw=0.8)
        ends_upper, ends_lower = [], []
        for subject in subjects:
            x, y, error = _course([p for p in own if p.subject == subject], dated)
            if not len(x):
                continue
            ends_upper.append(_line(upper, x, y, error, colours[subject], subject))
            if math.isfinite(y[0]) and y[0] > 0 and len(y) > 1:
                change = 100 * (y / y[0] - 1)
                ends_lower.append(_line(lower, x, change, np.full(len(x), np.nan), colours[subject], subject))
        upper.set_ylim(bottom=min(0.0, upper.get_ylim()[0]))
        if not dated:
            _session_ticks(points, upper, lower)
        upper.tick_params(labelbottom=False)
        if not ends_lower:
            lower.text(0.5, 0.7, "no second session", transform=lower.transAxes, ha="center", color=MUTED, fontsize=9)
        if len(subjects) <= _MOST_NAMED:
            _name_ends(upper, ends_upper, 1.9)
            _name_ends(lower, ends_lower, 1.9)
        elif column == 0:
            upper.text(
                0.99, 0.97, f"{len(subjects)} subjects", transform=upper.transAxes, ha="right", va="top", fontsize=8
            )
    return figure


End = tuple[float, float, str, str]


def _course(points: Sequence[TrendPoint], dated: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ordered = sorted(points, key=lambda p: (p.when.timestamp() if dated and p.when else p.order, p.order))
    y = np.array([p.value for p in ordered], float)
    error = np.array([p.uncertainty for p in ordered], float)
    if dated and ordered:
        start = ordered[0].when
        x = np.array([(p.when - start).total_seconds() / 86400 for p in ordered if p.when and start])
    else:
        x = np.array([float(p.order) for p in ordered])
    return x, y, error


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, error: np.ndarray, colour: str, name: str) -> End:
    axes.plot(x, y, color=colour, lw=1.4, marker="o", ms=4)
    bars = np.isfinite(error) & np.isfinite(y)
    if bars.any():
        axes.errorbar(x[bars], y[bars], error[bars], fmt="none", ecolor=colour, elinewidth=0.9, capsize=2.5, alpha=0.8)
    shown = np.flatnonzero(np.isfinite(y))
    last = shown[-1] if len(shown) else 0
    return float(x[last]), float(y[last]), name, colour


def _session_ticks(points: Sequence[TrendPoint], *panels: Axes) -> None:
    orders: dict[int, set[str]] = {}
    for p in points:
        orders.setdefault(p.order, set()).add(p.session)
    for axes in panels:
        axes.set_xticks(sorted(orders))
        texts = axes.set_xticklabels(
            [plain_name(next(iter(orders[o])), 10) if len(orders[o]) == 1 else str(o + 1) for o in sorted(orders)]
        )
        for text in texts:
            text.set_parse_math(False)


def _name_ends(axes: Axes, ends: Sequence[End], height: float) -> None:
    """Subjects' names right of their lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    least = _LINE_HEIGHT / height
    wanted = sorted(
        ((y - low) / (high - low) if math.isfinite(y) else 0.0, name, colour) for _, y, name, colour in ends
    )
    places: list[float] = []
    for place, _, _ in wanted:
        places.append(max(place, places[-1] + least) if places else place)
    for i in range(len(places) - 1, -1, -1):
        places[i] = min(places[i], 1.0 - least * (len(places) - 1 - i))
    for place, (_, name, colour) in zip(places, wanted, strict=True):
        axes.text(
            1.03, place, plain_name(name, 16), transform=axes.transAxes, color=colour, fontsize=8, va="center",
            parse_math=False,
        )  # fmt: skip


def waterfall_figure(
    changes: Mapping[str, float], *, symbol: str, title: str = "", limits: tuple[float, float] | None = None
) -> Figure:
    """Percent change of each lesion between two sessions, largest rise first.

    Parameters
    ----------
    changes
        Lesion to percent change.
    symbol
        The quantity, for the axis.
    limits
        Changes between these percentages are within repeatability; drawn as a band.
    """
    finite = sorted(((v, k) for k, v in changes.items() if math.isfinite(v)), reverse=True)
    names = [plain_name(k, 14) for _, k in finite]
    foot = 0.25 + 0.062 * max(map(len, names), default=0)
    figure = new_figure(max(4.2, 1.2 + 0.32 * len(finite)), 2.4 + foot)
    width = float(figure.get_size_inches()[0])
    axes = plot_axes(figure, (0.75, foot, width - 0.95, 2.05), x="", y=f"Change of {symbol} [%]", title=title)
    axes.title.set_parse_math(False)
    if limits is not None:
        axes.axhspan(*limits, color="#e4e7eb", zorder=0.5)
    axes.axhline(0, color=INK, lw=0.8)
    axes.bar(range(len(finite)), [v for v, _ in finite], color=["#b44d12" if v > 0 else "#2b6cb0" for v, _ in finite])
    axes.set_xticks(range(len(finite)))
    texts = axes.set_xticklabels(names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7.5)
    for text in texts:
        text.set_parse_math(False)
    return figure
