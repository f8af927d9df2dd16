"""Pictures of a virtual tumour: cuts through its fields, single cells of a section, and its course over time.

Cuts hang as radiologists hang them (:mod:`timelens.figures.anatomy`); a section's cells are shown in the same sense, so
that both can be laid side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timelens.errors import DataError, UsageError
from timelens.figures.anatomy import PLANES, Display
from timelens.figures.canvas import new_figure, plot_axes
from timelens.figures.palette import INK, MUTED, region_colour
from timelens.figures.panel import Panel, colour_bar, legend, plain_name
from timelens.figures.text import nice_ceiling, unit_text
from timelens.knowledge import components
from timelens.study.image import Image
from timelens.study.table import Table
from timelens.tumor.dynamics import Course
from timelens.tumor.microenvironment import Microenvironment

__all__ = ["CELL_GROUPS", "cell_map_figure", "course_figure", "fields_figure"]

#: Fields of an overview, in the order of reading.
DEFAULT_FIELDS = (
    "tumour-cell", "cd8-t-cell", "b-cell", "tam",
    "vessel_volume_fraction", "oxygen", "ph", "collagen_fraction",
)  # fmt: skip

#: Groups of a cell map: name to leaves and colour; drawn in this order, the rarer over the commoner.
CELL_GROUPS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "tumour cells": (("tumour-cell",), "#d9cfc3"),
    "fibroblasts, MSC": (("caf", "msc"), "#8f9aa6"),
    "endothelium": (("endothelial-cell",), "#4a2327"),
    "macrophages": (("m1-macrophage", "m2-macrophage"), region_colour(8)),
    "neutrophils, MDSC": (("n1-tan", "n2-tan", "mdsc"), region_colour(5)),
    "B, plasma cells": (("b-cell", "plasma-cell"), region_colour(3)),
    "CD4 T cells": (("cd4-t-cell", "th1", "memory-t-cell"), region_colour(6)),
    "regulatory T cells": (("treg",), region_colour(7)),
    "NK, NKT cells": (("nk-cell", "nkt-cell"), region_colour(10)),
    "dendritic cells": (("dendritic-cell",), region_colour(9)),
    "CD8 T cells": (("cd8-t-cell", "exhausted-cd8-t-cell"), region_colour(1)),
    "CAR cells": (("car-t-cell", "car-nk-cell"), region_colour(4)),
}

_COLOURS = {"oxygen": "cividis", "ph": "cividis_r", "stiffness": "YlOrBr", "collagen_fraction": "YlOrBr"}
_VESSEL_COLOURS = "Reds"
_CELL_COLOURS = "viridis"
#: More cells than this are drawn as dots, not as circles of their size.
_MOST_CIRCLES = 60_000
_SIZE = 2.05


def fields_figure(
    tumour: Microenvironment, fields: Sequence[str] = DEFAULT_FIELDS, *, plane: str = "Axial", columns: int = 4
) -> Figure:
    """Cuts through the middle of the tumour, one a field, each with its colour bar and unit.

    Parameters
    ----------
    tumour
        The tumour.
    fields
        Names of fields, or of components whose density is shown.
    plane
        ``Axial``, ``Coronal`` or ``Sagittal``.
    columns
        Panels side by side.

    Raises
    ------
    UsageError
        If there is no such plane or field, or none is asked for.
    """
    if plane not in PLANES or not fields:
        raise UsageError("There is nothing to draw", field="plane, fields", found=plane, expected=", ".join(PLANES))
    rows = -(-len(fields) // columns)
    across = min(columns, len(fields))
    figure = new_figure(0.15 + across * (_SIZE + 1.02), rows * (_SIZE + 0.45) + 0.35)
    width, height = figure.get_size_inches()
    text = f"{plane} cut through the centre, day {tumour.day:g}; {tumour.architecture.diameter_mm:.1f} mm"
    figure.text(0.15 / width, 1 - 0.2 / height, text, fontsize=9.5, color=MUTED, parse_math=False)
    display = Display.of(tumour.geometry)
    inside = display.turn(tumour.masks["tumour"].astype(np.float32))
    if not inside.any():
        raise DataError("The tumour fills no voxel to half", field="tumour_fraction", expected=">= 0.5")
    at = [round(float(np.mean(found))) for found in np.nonzero(inside)]
    for number, name in enumerate(fields):
        image = tumour.image(name)
        row, column = divmod(number, columns)
        left = 0.15 + column * (_SIZE + 1.02)
        bottom = height - 0.35 - (row + 1) * (_SIZE + 0.45) + 0.12
        _field_panel(figure, (left, bottom), image, name, display, plane, at, inside)
    return figure


def _field_panel(
    figure: Figure,
    corner: tuple[float, float],
    image: Image,
    name: str,
    display: Display,
    plane: str,
    at: Sequence[int],
    inside: NDArray[np.float32],
) -> None:
    down, right, cut = PLANES[plane]
    volume = display.turn(image.numpy())
    pixels = np.take(volume, at[cut], axis=cut)
    outline = np.take(inside, at[cut], axis=cut)
    spacing = display.geometry.spacing[down], display.geometry.spacing[right]
    extent = [n * s for n, s in zip(pixels.shape, spacing, strict=True)]
    scale = _SIZE / max(extent)
    box = (corner[0], corner[1], extent[1] * scale, extent[0] * scale)
    window = (-0.5 * spacing[1], extent[1] - 0.5 * spacing[1], -0.5 * spacing[0], extent[0] - 0.5 * spacing[0])
    low, high = _limits(image, pixels[outline > 0])
    colours = _VESSEL_COLOURS if name in ("vessel_volume_fraction", "perfusion") else _COLOURS.get(name, _CELL_COLOURS)
    panel = Panel(figure, box, spacing, window, dark=colours == _CELL_COLOURS)
    panel.show(pixels, limits=(low, high), colours=colours)
    found = np.nonzero(outline)
    panel.outline(found[0], found[1], colour="#ffffff" if panel.dark else INK)
    panel.letters(display.letters(down), display.letters(right))
    panel.scale_bar()
    panel.title(_title(name))
    bar = (box[0] + box[2] + 0.06, box[1], 0.1, box[3])
    colour_bar(
        figure, bar, colours=colours, limits=(low, high), label=unit_text(image.unit),
        over=bool(pixels.max() > high),
    )  # fmt: skip


def _title(name: str) -> str:
    known = components.find(name)
    if known is not None:
        return plain_name(known.name, 34)
    return "pH" if name == "ph" else name.replace("_", " ").capitalize()


def _limits(image: Image, values: NDArray[np.float32]) -> tuple[float, float]:
    """From 0 to a round value near the highest; pH from the lowest to that of blood."""
    if image.unit == "[pH]":
        return float(np.floor(10 * values.min()) / 10), 7.4
    return 0.0, nice_ceiling(float(np.percentile(values, 99.5)))


def cell_map_figure(cells: Table, *, axis: str = "z", size_inches: float = 6.0, title: str = "") -> Figure:
    """The cells of a section, coloured by group, in their true size where they are not too many.

    Parameters
    ----------
    cells
        As :func:`timelens.tumor.section.sample_cells` gives them.
    axis
        Axis along which one looks, that of the section.
    size_inches
        Longer edge of the map.
    title
        Heading.

    Raises
    ------
    UsageError
        If there are no cells, or no such axis.
    """
    across, up = {"z": ("x_mm", "y_mm"), "y": ("x_mm", "z_mm"), "x": ("y_mm", "z_mm")}.get(axis, ("", ""))
    if not across or not len(cells):
        raise UsageError("There are no cells to draw", field="cells, axis", found=f"{len(cells)} cells, axis {axis!r}")
    frame = cells.data
    # Right and anterior lie to the left, as in cuts.
    h = frame[across].max() - frame[across].to_numpy()
    v = frame[up].max() - frame[up].to_numpy()
    extent = max(float(h.max()), 1e-3), max(float(v.max()), 1e-3)
    scale = size_inches / max(extent)
    box = (0.15, 0.15, extent[0] * scale, extent[1] * scale)
    figure = new_figure(box[2] + 2.35, max(box[3] + 0.5, 3.0))
    panel = Panel(figure, box, (1.0, 1.0), (0.0, extent[0], 0.0, extent[1]))
    circles = len(frame) <= _MOST_CIRCLES
    names = frame["component"].astype(str).to_numpy()
    diameter = frame["diameter_mm"].to_numpy()
    entries = []
    for group, (leaves, colour) in CELL_GROUPS.items():
        chosen = np.isin(names, leaves)
        if not chosen.any():
            continue
        entries.append(("●", f"{group} {int(chosen.sum())}", colour))
        if circles:
            d = diameter[chosen]
            panel.axes.add_collection(
                EllipseCollection(
                    d,
                    d,
                    np.zeros_like(d),
                    units="xy",
                    offsets=np.column_stack([h[chosen], v[chosen]]),
                    offset_transform=panel.axes.transData,
                    facecolors=colour,
                    edgecolors="white",
                    linewidths=0.15,
                )
            )
        else:
            panel.axes.scatter(h[chosen], v[chosen], s=0.35, c=colour, linewidths=0, rasterized=True)
    panel.scale_bar()
    panel.title(title or f"{len(frame)} cells")
    legend(figure, box[2] + 0.3, box[1] + box[3], entries)
    return figure


def course_figure(courses: Mapping[str, Course]) -> Figure:
    """Diameter, tumour cells and effector cells over time, relative to day 0; treatments as marks below.

    Parameters
    ----------
    courses
        Course by name.

    Raises
    ------
    UsageError
        If there is none.
    """
    if not courses:
        raise UsageError("There is no course to draw", field="courses", found="none")
    figure = new_figure(10.4, 3.3)
    what = (("Diameter", None), ("Tumour cells", "tumour"), ("Effector cells", "effector"))
    for number, (label, population) in enumerate(what):
        axes = plot_axes(figure, (0.65 + 2.75 * number, 0.55, 2.1, 2.4), x="Day", y="relative to day 0", title=label)
        for index, (name, course) in enumerate(courses.items(), start=1):
            values = course.diameter_ratio() if population is None else course.relative(population)
            axes.plot(course.days, np.maximum(values, 1e-4), color=region_colour(index), linewidth=1.6, label=name)
        if population is None:
            for level in (0.7, 1.2):
                axes.axhline(level, color=MUTED, linewidth=0.7, linestyle=(0, (3, 2)))
            axes.set_ylim(bottom=0)
        else:
            axes.set_yscale("log")
        days = sorted({each.day for course in courses.values() for each in course.treatments})
        axes.plot(days, [0.02] * len(days), "^", color=INK, markersize=3.5, transform=axes.get_xaxis_transform())
    entries = [("—", name, region_colour(index)) for index, name in enumerate(courses, start=1)]
    entries.append(("▲", "treatment", INK))
    legend(figure, 8.75, 2.95, entries)
    return figure
