"""How values are spread inside regions: histogram and cumulative value-volume histogram."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timelens.figures.canvas import new_figure, plot_axes
from timelens.figures.palette import INK, MUTED, region_colour
from timelens.figures.panel import plain_name
from timelens.figures.text import with_unit

__all__ = ["cumulative", "histogram_figure"]

_MOST_LINES = 8
_BINS = 40


def cumulative(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The cumulative value-volume histogram.

    Returns
    -------
    thresholds : ndarray, shape (n + 1,)
        0 (or the smallest value, if that is negative) and the sorted finite values.
    fraction : ndarray, shape (n + 1,)
        Part of the volume with at least that value, 1 down to 1/n.
    """
    ordered = np.sort(values[np.isfinite(values)].astype(float))
    if not len(ordered):
        return np.empty(0), np.empty(0)
    fraction = 1 - np.arange(len(ordered)) / len(ordered)
    return np.concatenate([[min(0.0, ordered[0])], ordered]), np.concatenate([[1.0], fraction])


def histogram_figure(
    values: Mapping[int, NDArray[Any]],
    names: Mapping[int, str] | None = None,
    *,
    unit: str,
    voxel_ml: float,
    label: str = "SUV",
) -> Figure:
    """Histogram over all lesions, and cumulative histogram of all and of the eight largest lesions.

    Parameters
    ----------
    values
        Number to the values of its voxels; what is not finite is left out.
    names
        Number to name.
    unit
        UCUM code of the values.
    voxel_ml
        Volume of a voxel in mL.
    label
        What the values are.
    """
    finite = {n: v[np.isfinite(v)].astype(float) for n, v in values.items()}
    finite = {n: v for n, v in finite.items() if len(v)}
    pooled = np.concatenate(list(finite.values())) if finite else np.empty(0)
    figure = new_figure(9.6, 3.3)
    axis = with_unit(label, unit)
    left = plot_axes(figure, (0.65, 0.55, 3.6, 2.4), x=axis, y="Volume per bin [mL]", title="Histogram, all lesions")
    right = plot_axes(
        figure, (5.0, 0.55, 2.6, 2.4), x=axis, y=f"Volume with at least this {label} [%]", title="Cumulative histogram"
    )
    if not len(pooled):
        for axes in (left, right):
            axes.text(0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center", color=MUTED, fontsize=9)
        return figure
    low, high = min(0.0, float(pooled.min())), float(pooled.max())
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    counts, _ = np.histogram(pooled, edges)
    left.bar(
        edges[:-1], counts * voxel_ml, width=np.diff(edges), align="edge", color="#829ab1", edgecolor="white", lw=0.3
    )
    left.set_xlim(edges[0], edges[-1])
    right.set_xlim(edges[0], edges[-1])
    right.set_ylim(0, 103)
    largest = sorted(finite, key=lambda n: (-len(finite[n]), n))[:_MOST_LINES]
    if len(finite) > 1:
        for number in sorted(largest):
            colour, name = region_colour(number), plain_name((names or {}).get(number, ""), 22)
            right.plot(*_steps(finite[number]), color=colour, lw=1.1, label=f"{number}  {name}".strip())
    right.plot(*_steps(pooled), color=INK, lw=2.0, label="all lesions" if len(finite) > 1 else "lesion")
    key = right.legend(
        loc="upper left", bbox_to_anchor=(1.02, 1.02), frameon=False, fontsize=8, handlelength=1.4, borderaxespad=0.0
    )
    for text in key.get_texts():
        text.set_parse_math(False)
    if len(finite) > _MOST_LINES:
        right.text(
            1.04, 0.0, f"{_MOST_LINES} largest of {len(finite)} lesions", transform=right.transAxes, fontsize=7.5,
            color=MUTED,
        )  # fmt: skip
    return figure


def _steps(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of the cumulative curve in percent; thinned, since nobody sees 10,000 of them."""
    thresholds, fraction = cumulative(values)
    keep = np.unique(np.linspace(0, len(thresholds) - 1, 400).round().astype(int))
    return np.append(thresholds[keep], thresholds[-1]), np.append(100 * fraction[keep], 0.0)
