"""How well a lens measures: deviation from the truth and coverage of the intervals, over the size of a lesion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from timelens.figures.canvas import new_figure, plot_axes
from timelens.figures.palette import INK, MUTED, region_colour
from timelens.knowledge import quantities

__all__ = ["validation_figure"]


def validation_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Bias with spread against the object and against a noise-free scanner, and coverage of the 95 % intervals.

    Parameters
    ----------
    rows
        Mappings with ``quantity``, ``diameter_mm``, ``bias_percent``, ``bias_object_percent``, ``spread_percent`` and
        ``coverage_95``, in per cent and as a part of 1; None where something does not apply.
    """
    names = list(dict.fromkeys(str(r["quantity"]) for r in rows))
    figure = new_figure(11.6, 3.6)
    panels = [
        plot_axes(
            figure, (0.65, 0.6, 2.8, 2.55), x="diameter (mm)", y="deviation (%)", title="from a noise-free scanner"
        ),
        plot_axes(figure, (4.15, 0.6, 2.8, 2.55), x="diameter (mm)", y="deviation (%)", title="from the object"),
        plot_axes(figure, (7.65, 0.6, 1.6, 2.55), x="diameter (mm)", y="coverage (%)", title="95 % intervals"),
    ]
    for k, name in enumerate(names):
        mine = [r for r in rows if r["quantity"] == name]
        known = quantities.find(name)
        label = known.symbol if known else name
        # Beside each other, so that bars do not hide bars.
        place = [r["diameter_mm"] + 0.35 * (k - len(names) / 2) for r in mine]
        for axes, column in zip(panels, ("bias_percent", "bias_object_percent", "coverage_95"), strict=True):
            scale = 100.0 if column == "coverage_95" else 1.0
            points = [(x, scale * r[column], r["spread_percent"]) for x, r in zip(place, mine, strict=True)
                      if r[column] is not None]  # fmt: skip
            if not points:
                continue
            x, y, spread = zip(*points, strict=True)
            bars = None if column == "coverage_95" else [s or 0.0 for s in spread]
            axes.errorbar(
                x, y, yerr=bars, fmt="o-", color=region_colour(k + 1), markersize=3.5, linewidth=1, elinewidth=0.8,
                label=label if axes is panels[0] else None,
            )  # fmt: skip
    for axes in panels[:2]:
        axes.axhline(0, color=MUTED, linewidth=0.8)
    panels[2].axhspan(93, 97, color="#e4e7eb", zorder=0)
    panels[2].set_ylim(min(80.0, panels[2].get_ylim()[0]), 101)
    figure.legend(loc="center right", fontsize=8, frameon=False, labelcolor=INK)
    return figure
