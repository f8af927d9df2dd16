"""Groups of patients: a dot for each patient, a line at each group's mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from timelens.figures.canvas import new_figure, plot_axes
from timelens.figures.palette import INK, MUTED, region_colour
from timelens.figures.panel import plain_name
from timelens.figures.text import unit_text

__all__ = ["GroupPanel", "groups_figure"]

_ACROSS = 4
_WIDE, _HIGH = 2.3, 2.75


@dataclass(frozen=True)
class GroupPanel:
    """One comparison.

    Attributes
    ----------
    title, subtitle
        What is compared: two short lines.
    label, unit
        Of the vertical axis; the unit is a UCUM code.
    values
        Group to the numbers of its patients, in the order in which groups are to stand.
    note
        Below the title: p-value, or why there is none.
    """

    title: str
    subtitle: str
    label: str
    unit: str
    values: Mapping[str, Sequence[float]]
    note: str = ""


def groups_figure(panels: Sequence[GroupPanel]) -> Figure:
    """Panels of patients by group, four in a row."""
    rows = -(-max(len(panels), 1) // _ACROSS)
    figure = new_figure(_WIDE * min(max(len(panels), 1), _ACROSS) + 0.2, _HIGH * rows)
    for number, panel in enumerate(panels):
        left = 0.68 + _WIDE * (number % _ACROSS)
        bottom = 0.42 + _HIGH * (rows - 1 - number // _ACROSS)
        unit = unit_text(panel.unit)
        label = f"{panel.label} [{unit}]" if unit else panel.label
        axes = plot_axes(figure, (left, bottom, _WIDE - 0.78, _HIGH - 1.1), x="", y=label)
        axes.yaxis.label.set_parse_math(False)
        for line, (text, weight, colour) in enumerate(
            ((panel.title, "bold", INK), (panel.subtitle, "normal", INK), (panel.note, "normal", MUTED))
        ):
            axes.text(-0.28, 1.29 - 0.105 * line, plain_name(text, 29), transform=axes.transAxes, fontsize=8,
                      fontweight=weight, color=colour, va="bottom", parse_math=False)  # fmt: skip
        _dots(axes, panel)
    return figure


def _dots(axes: Axes, panel: GroupPanel) -> None:
    names = list(panel.values)
    numbers = [v for own in panel.values.values() for v in own if math.isfinite(v)]
    span = max(numbers) - min(0.0, *numbers) if numbers else 0.0
    for place, name in enumerate(names):
        own = sorted(v for v in panel.values[name] if math.isfinite(v))
        colour = region_colour(place + 1)
        if own:
            axes.plot([place - 0.28, place + 0.28], [sum(own) / len(own)] * 2, color=INK, lw=1.3, zorder=3)
        axes.plot([place + off for off in _beside(own, span)], own, "o", ms=5, color=colour, mec="white", mew=0.6,
                  zorder=4, clip_on=False)  # fmt: skip
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xticks(range(len(names)))
    shortest = max(6, 22 // max(len(names), 1))
    for text in axes.set_xticklabels([plain_name(n, shortest) for n in names]):
        text.set_parse_math(False)
    if numbers and min(numbers) >= 0:
        axes.set_ylim(bottom=0)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.05 * (high - low))


def _beside(values: Sequence[float], span: float) -> list[float]:
    """Sideways places of sorted values, so that near ones do not lie on each other."""
    near = 0.06 * span
    places: list[float] = []
    run = 0
    for k, value in enumerate(values):
        run = run + 1 if k and value - values[k - 1] <= near else 0
        step = (run + 1) // 2
        places.append(0.13 * step * (1 if run % 2 else -1) if run else 0.0)
    return [max(-0.32, min(0.32, p)) for p in places]
