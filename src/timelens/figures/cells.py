"""Pictures of tissue cytometry: channels over each other, cells coloured by type, and who lies beside whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timelens.errors import UsageError
from timelens.figures.canvas import new_figure
from timelens.figures.palette import INK, MUTED, region_colour
from timelens.figures.panel import Panel, colour_bar, legend, plain_name
from timelens.figures.tissue import CELL_GROUPS

__all__ = ["composite_figure", "interaction_figure", "type_colours", "type_map_figure"]

#: Colours of channels in a composite, the first for nuclei.
CHANNEL_COLOURS = ("#3f6cff", "#ff3b30", "#34c759", "#ffcc00")
_FAMILIES = {"t-cell": "other T cells", "tam": "macrophages", "tan": "neutrophils, MDSC"}
_UNKNOWN = ("unknown", "#d5dae0")
_OTHER_T = region_colour(2)
_BRIGHT = 0.995
#: Outlines of more cells than this would hide the picture.
_MOST_OUTLINES = 3000
_MOST_TYPES = 24
_SIZE = 5.2


def type_colours(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Group and colour of each type; types of one group share a colour."""
    found = {}
    for number, name in enumerate(names):
        group = next((g for g, (leaves, _) in CELL_GROUPS.items() if name in leaves), _FAMILIES.get(name, ""))
        if name == "unknown":
            found[name] = _UNKNOWN
        elif group in CELL_GROUPS:
            found[name] = (group, CELL_GROUPS[group][1])
        else:
            found[name] = (group or name, _OTHER_T if group else region_colour(number))
    return found


def composite_figure(
    channels: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int32], pixel_um: tuple[float, float]
) -> Figure:
    """Up to four channels in colours over each other, the first for nuclei, with outlines of cells where they are few.

    Parameters
    ----------
    channels
        Name to image (y, x) in counts.
    labels
        Cells.
    pixel_um
        Size of a pixel along (y, x).

    Raises
    ------
    UsageError
        If there is no channel, or there are more than four.
    """
    if not 1 <= len(channels) <= len(CHANNEL_COLOURS):
        raise UsageError("A composite has one to four channels", field="channels", found=", ".join(channels))
    shape = labels.shape
    rgb = np.zeros((*shape, 3))
    entries = []
    for colour, (name, image) in zip(CHANNEL_COLOURS, channels.items(), strict=False):
        known = image[np.isfinite(image)]
        top = float(np.quantile(known, _BRIGHT)) if known.size else 0.0
        top = top if top > 0 else float(known.max(initial=0.0)) or 1.0
        rgb += np.clip(np.nan_to_num(image) / top, 0, 1)[..., None] * np.array(to_rgb(colour))
        entries.append(("■", f"{plain_name(name, 18)} to {top:.3g}", colour))
    figure, panel = _panel(shape, pixel_um, dark=True)
    height, width = shape[0] * pixel_um[0], shape[1] * pixel_um[1]
    panel.axes.imshow(np.clip(rgb, 0, 1), extent=(0, width, height, 0), interpolation="nearest", aspect="auto")
    count = len(np.unique(labels)) - int((labels == 0).any())
    if 0 < count <= _MOST_OUTLINES:
        segments = _borders(labels) * [pixel_um[1], pixel_um[0]]
        panel.axes.add_collection(LineCollection(list(segments), colors="white", linewidths=0.5, alpha=0.8))
        entries.append(("—", f"{count} cells", MUTED))
    panel.title("Ions per pixel")
    _scale_bar(panel, width)
    legend(figure, _right(panel), _top(panel), entries)
    return figure


def type_map_figure(
    labels: NDArray[np.int32], types: Mapping[int, str], pixel_um: tuple[float, float], *, title: str = ""
) -> Figure:
    """Cells filled with the colour of their type.

    Parameters
    ----------
    labels
        Cells (y, x).
    types
        Label to type.
    pixel_um
        Size of a pixel along (y, x).
    title
        Heading.

    Raises
    ------
    UsageError
        If there are no cells.
    """
    if not types:
        raise UsageError("There are no cells to draw", field="types", found="0 cells")
    colours = type_colours(sorted(set(types.values())))
    table = np.ones((int(labels.max()) + 1, 3))
    for label, kind in types.items():
        table[label] = to_rgb(colours[kind][1])
    rgb = table[labels]
    figure, panel = _panel(labels.shape, pixel_um)
    height, width = labels.shape[0] * pixel_um[0], labels.shape[1] * pixel_um[1]
    panel.axes.imshow(rgb, extent=(0, width, height, 0), interpolation="nearest", aspect="auto")
    if len(types) <= _MOST_OUTLINES:
        segments = _borders(labels) * [pixel_um[1], pixel_um[0]]
        panel.axes.add_collection(LineCollection(list(segments), colors=MUTED, linewidths=0.35))
    panel.title(title or f"{len(types)} cells")
    _scale_bar(panel, width)
    counted: dict[tuple[str, str], int] = {}
    for kind in types.values():
        counted[colours[kind]] = counted.get(colours[kind], 0) + 1
    order = sorted(counted.items(), key=lambda item: -item[1])
    legend(figure, _right(panel), _top(panel), [("■", f"{group} {n}", colour) for (group, colour), n in order])
    return figure


def interaction_figure(names: Sequence[str], z: NDArray[np.float64]) -> Figure:
    """Standard scores of neighbours, from each type (rows) to each type (columns): red more often than by chance.

    Parameters
    ----------
    names
        Types, at most 24.
    z
        Shape (types, types); NaN is left white.

    Raises
    ------
    UsageError
        If names and scores differ in number, or there are none or too many.
    """
    if not 1 <= len(names) <= _MOST_TYPES or z.shape != (len(names), len(names)):
        raise UsageError("Each type has a row and a column", field="z", found=z.shape, expected=f"{len(names)} types")
    cell = 0.27
    side, left, bottom = cell * len(names), 1.7, 1.5
    figure = new_figure(left + side + 1.0, bottom + side + 0.35)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
    known = np.abs(z[np.isfinite(z)])
    top = max(float(np.ceil(np.quantile(known, 0.9))) if known.size else 1.0, 2.0)
    axes.imshow(np.ma.masked_invalid(z), cmap="RdBu_r", vmin=-top, vmax=top)
    places = np.arange(len(names))
    axes.set_xticks(places, [plain_name(n, 22) for n in names], rotation=90, fontsize=8, color=INK)
    axes.set_yticks(places, [plain_name(n, 22) for n in names], fontsize=8, color=INK)
    axes.tick_params(length=0)
    axes.set_title("Neighbours against chance", fontsize=9.5, color=INK, loc="left")
    for spine in axes.spines.values():
        spine.set_color("#cbd2d9")
    colour_bar(figure, (left + side + 0.12, bottom, 0.1, side), colours="RdBu_r", limits=(-top, top), label="z",
               over=bool(known.size and known.max() > top))  # fmt: skip
    return figure


def _panel(shape: tuple[int, ...], pixel_um: tuple[float, float], *, dark: bool = False) -> tuple[Figure, Panel]:
    height, width = shape[0] * pixel_um[0], shape[1] * pixel_um[1]
    scale = _SIZE / max(height, width)
    box = (0.15, 0.15, width * scale, height * scale)
    figure = new_figure(box[2] + 2.55, max(box[3] + 0.5, 3.0))
    return figure, Panel(figure, box, (1.0, 1.0), (0.0, width, 0.0, height), dark=dark)


def _right(panel: Panel) -> float:
    return panel.box[0] + panel.box[2] + 0.2


def _top(panel: Panel) -> float:
    return panel.box[1] + panel.box[3]


def _scale_bar(panel: Panel, width_um: float) -> None:
    """A bar of about a fifth of the width in micrometres."""
    length = next((n for n in (500, 200, 100, 50, 20, 10, 5) if n <= width_um / 3.5), 1)
    height = panel.window[3]
    y, x = height * 0.96, width_um * 0.03
    colour = "white" if panel.dark else INK
    panel.axes.plot([x, x + length], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
    panel.axes.text(
        x + length / 2, y - 0.012 * height, f"{length} µm", color=colour, fontsize=8, ha="center", va="bottom"
    )


def _borders(labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Segments between pixels of different labels, shape (n, 2, 2), as (x, y) in pixels from the outer corner."""
    y, x = np.nonzero(labels[:, 1:] != labels[:, :-1])
    upright = np.stack([np.stack([x + 1, y], 1), np.stack([x + 1, y + 1], 1)], axis=1)
    y, x = np.nonzero(labels[1:] != labels[:-1])
    level = np.stack([np.stack([x, y + 1], 1), np.stack([x + 1, y + 1], 1)], axis=1)
    return np.concatenate([upright, level]).astype(np.float64)
