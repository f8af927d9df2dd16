"""How well a lens measures: deviation from the truth and coverage of the intervals, over size, case and quantity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from timelens.figures.canvas import new_figure, plot_axes
from timelens.figures.palette import INK, MUTED, region_colour
from timelens.knowledge import quantities

__all__ = ["cases_figure", "dots_figure", "spheres_figure"]

Row = Mapping[str, Any]
_BAND = "#e4e7eb"
#: Larger deviations leave the frame.
_MOST_PERCENT = 150


def spheres_figure(rows: Sequence[Row]) -> Figure:
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
    columns = ("bias_percent", "bias_object_percent", "coverage_95")
    for axes, column in zip(panels, columns, strict=True):
        for k, name in enumerate(names):
            mine = [r for r in rows if r["quantity"] == name]
            _line(axes, mine, column, k, len(names), _symbol(name) if axes is panels[0] else None)
    for axes in panels[:2]:
        axes.axhline(0, color=MUTED, linewidth=0.8)
    panels[2].axhspan(93, 97, color=_BAND, zorder=0)
    panels[2].set_ylim(min(80.0, panels[2].get_ylim()[0]), 101)
    figure.legend(loc="center right", fontsize=8, frameon=False, labelcolor=INK)
    return figure


def cases_figure(rows: Sequence[Row]) -> Figure:
    """Nuclides, wrong resolution, rules and virtual tumours of a static lens, each against the object.

    Parameters
    ----------
    rows
        As for :func:`spheres_figure`, with ``case`` and ``region``; a panel without rows is left out.
    """
    spheres = [r for r in rows if r["diameter_mm"] is not None]
    others = [r for r in rows if r["diameter_mm"] is None]
    corrected = [r for r in spheres if r["quantity"] == "suv_mean_pvc"]
    ruled = [r for r in rows if str(r["case"]).startswith("rule: ") and r["quantity"] == "mtv"]
    off = [r for r in corrected if str(r["case"]).startswith("resolution")]
    panels: list[tuple[str, list[Row], str, Callable[..., None]]] = [
        ("corrected SUVmean, by nuclide", [r for r in corrected if r not in off], "bias_object_percent", _over_size),
        ("corrected with a wrong resolution", off, "bias_percent", _over_size),
        ("volume of spheres, by rule", [r for r in ruled if r in spheres], "bias_object_percent", _over_size),
        ("volume of tumours, by rule", [r for r in ruled if r in others], "bias_object_percent", _over_region),
        ("tumours within true outlines", [r for r in others if r["case"] == "tumours"], "bias_object_percent",
         _over_region),
    ]  # fmt: skip
    panels = [panel for panel in panels if panel[1]]
    across = min(2, len(panels))
    down = -(-len(panels) // max(across, 1))
    figure = new_figure(6.0 * max(across, 1), 3.1 * max(down, 1))
    for k, (title, mine, column, draw) in enumerate(panels):
        left, bottom = 0.65 + 6.0 * (k % across), 0.6 + 3.1 * (down - 1 - k // across)
        axes = plot_axes(
            figure, (left, bottom, 3.4, 2.1), x="", y="deviation from object (%)" if "bias_o" in column else
            "change (%)", title=title,
        )  # fmt: skip
        draw(axes, mine, column)
        if axes.get_ylim()[1] > _MOST_PERCENT:  # a rule that leaks into the background
            axes.set_ylim(max(axes.get_ylim()[0], -105), _MOST_PERCENT)
            axes.set_title(f"{title} (cut at {_MOST_PERCENT} %)", fontsize=10, color=INK, loc="left")
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False, labelcolor=INK)
    return figure


def dots_figure(rows: Sequence[Row], *, column: str = "bias_percent") -> Figure:
    """Bias with spread and coverage, a line for each case, region and quantity.

    Parameters
    ----------
    rows
        As for :func:`spheres_figure`, with ``case`` and ``region``.
    column
        Which deviation is shown.
    """
    cases = list(dict.fromkeys(str(r["case"]) for r in rows))
    height = 0.24 * (len(rows) + len(cases)) + 1.2
    figure = new_figure(9.0, height)
    bias = plot_axes(figure, (3.3, 0.6, 3.3, height - 1.0), x="deviation (%)", y="", title="from noise-free frames")
    cover = plot_axes(figure, (7.0, 0.6, 1.6, height - 1.0), x="coverage (%)", y="", title="95 % intervals")
    place, marks, labels = 0.0, [], []
    for k, case in enumerate(cases):
        marks.append(place)
        labels.append(case)
        place -= 1
        for row in (r for r in rows if r["case"] == case):
            colour = region_colour(k + 1)
            if row[column] is not None:
                bias.errorbar(row[column], place, xerr=row["spread_percent"] or 0.0, fmt="o", color=colour,
                              markersize=4, elinewidth=1)  # fmt: skip
            if row["coverage_95"] is not None:
                cover.plot(100 * row["coverage_95"], place, "o", color=colour, markersize=4, clip_on=False)
            marks.append(place)
            labels.append(f"{row['region']}, {_symbol(row['quantity'])}")
            place -= 1
    bias.axvline(0, color=MUTED, linewidth=0.8)
    cover.axvspan(93, 97, color=_BAND, zorder=0)
    cover.set_xlim(min(80.0, cover.get_xlim()[0]), 101)
    for axes in (bias, cover):
        axes.set_ylim(place + 0.4, 0.6)
        axes.set_yticks(marks, labels if axes is bias else [""] * len(marks))
        axes.tick_params(axis="y", length=0)
    for text, label in zip(bias.get_yticklabels(), labels, strict=True):
        text.set_fontweight("bold" if label in cases else "normal")
        text.set_color(INK)
    return figure


def _over_size(axes: Axes, rows: Sequence[Row], column: str) -> None:
    """A line over the diameter for each case."""
    cases = list(dict.fromkeys(str(r["case"]) for r in rows))
    for k, case in enumerate(cases):
        mine = [r for r in rows if r["case"] == case]
        _line(axes, mine, column, k, len(cases), case.removeprefix("rule: ").removeprefix("resolution "))
    axes.set_xlabel("diameter (mm)", fontsize=9, color=INK)


def _over_region(axes: Axes, rows: Sequence[Row], column: str) -> None:
    """Points beside each other for every region: by quantity, or by case where there are several."""
    regions = list(dict.fromkeys(str(r["region"]) for r in rows))
    key = "case" if len({r["case"] for r in rows}) > 1 else "quantity"
    kinds = list(dict.fromkeys(str(r[key]) for r in rows if r[column] is not None))
    for k, kind in enumerate(kinds):
        mine = [r for r in rows if r[key] == kind and r[column] is not None]
        x = [regions.index(str(r["region"])) + 0.7 * ((k + 0.5) / len(kinds) - 0.5) for r in mine]
        label = _symbol(kind) if key == "quantity" else kind.removeprefix("rule: ")
        axes.errorbar(x, [r[column] for r in mine], yerr=[r["spread_percent"] or 0.0 for r in mine], fmt="o",
                      color=region_colour(k + 1), markersize=4, elinewidth=1, label=label)  # fmt: skip
    axes.set_xticks(range(len(regions)), regions)


def _line(axes: Axes, rows: Sequence[Row], column: str, k: int, count: int, label: str | None) -> None:
    """Values of one kind over the diameter; lines stand beside each other, so that bars do not hide bars."""
    scale = 100.0 if column == "coverage_95" else 1.0
    points = [(r["diameter_mm"] + 0.35 * (k - count / 2), scale * r[column], r["spread_percent"]) for r in rows
              if r[column] is not None]  # fmt: skip
    if not points:
        return
    x, y, spread = zip(*points, strict=True)
    bars = None if column == "coverage_95" else [s or 0.0 for s in spread]
    axes.errorbar(x, y, yerr=bars, fmt="o-", color=region_colour(k + 1), markersize=3.5, linewidth=1, elinewidth=0.8,
                  label=label)  # fmt: skip


def _symbol(name: str) -> str:
    known = quantities.find(name)
    return known.symbol if known else name
