"""Pictures of tissue cytometry: channels over each other, cells coloured by type, and who lies beside whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, withStroke
from numpy.typing import NDArray

from timelens.errors import UsageError
from timelens.figures.canvas import new_figure
from timelens.figures.palette import INK, MUTED, region_colour
from timelens.figures.panel import Panel, colour_bar, legend, plain_name
from timelens.figures.tissue import CELL_GROUPS

__all__ = [
    "composite_figure",
    "graph_figure",
    "interaction_figure",
    "neighbourhood_map_figure",
    "type_colours",
    "type_map_figure",
]

#: Colours of channels in a composite, the first for nuclei.
CHANNEL_COLOURS = ("#3f6cff", "#ff3b30", "#34c759", "#ffcc00")
_FAMILIES = {"t-cell": "other T cells", "tam": "macrophages", "tan": "neutrophils, MDSC"}
_UNKNOWN = ("unknown", "#d5dae0")
_OTHER_T = region_colour(2)
_BRIGHT, _RARE = 0.995, 0.9999
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
        # Where few cells bear a marker, a quantile of all pixels lies in the background.
        usual, rare = np.quantile(known, [_BRIGHT, _RARE]) if known.size else (0.0, 0.0)
        top = max(float(usual), float(rare) / 2)
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
    colours = type_colours(sorted(set(types.values())))
    groups = {label: colours[kind] for label, kind in types.items()}
    return _filled_figure(labels, groups, pixel_um, title or f"{len(types):,} cells", by_size=True)


def neighbourhood_map_figure(
    labels: NDArray[np.int32], neighbourhoods: Mapping[int, str], pixel_um: tuple[float, float]
) -> Figure:
    """Cells filled with the colour of their neighbourhood.

    Parameters
    ----------
    labels
        Cells (y, x).
    neighbourhoods
        Label to neighbourhood, ``0``, ``1`` ...
    pixel_um
        Size of a pixel along (y, x).

    Raises
    ------
    UsageError
        If there are no cells.
    """
    names = sorted(set(neighbourhoods.values()))
    colours = {name: (f"neighbourhood {name}:", region_colour(k + 1)) for k, name in enumerate(names)}
    groups = {label: colours[name] for label, name in neighbourhoods.items()}
    return _filled_figure(labels, groups, pixel_um, "Neighbourhoods", by_size=False)


def _filled_figure(
    labels: NDArray[np.int32],
    groups: Mapping[int, tuple[str, str]],
    pixel_um: tuple[float, float],
    title: str,
    *,
    by_size: bool,
) -> Figure:
    """Cells in the colours of their groups, with a legend that counts them."""
    if not groups:
        raise UsageError("There are no cells to draw", field="types", found="0 cells")
    table = np.ones((int(labels.max()) + 1, 3))
    for label, (_, colour) in groups.items():
        table[label] = to_rgb(colour)
    figure, panel = _panel(labels.shape, pixel_um)
    height, width = labels.shape[0] * pixel_um[0], labels.shape[1] * pixel_um[1]
    panel.axes.imshow(table[labels], extent=(0, width, height, 0), interpolation="nearest", aspect="auto")
    if len(groups) <= _MOST_OUTLINES:
        segments = _borders(labels) * [pixel_um[1], pixel_um[0]]
        panel.axes.add_collection(LineCollection(list(segments), colors=MUTED, linewidths=0.35))
    panel.title(title)
    _scale_bar(panel, width)
    legend(figure, _right(panel), _top(panel), _counted(groups.values(), by_size=by_size))
    return figure


def _counted(groups: Iterable[tuple[str, str]], *, by_size: bool) -> list[tuple[str, str, str]]:
    """Lines of a legend: each group with its number of cells."""
    counted: dict[tuple[str, str], int] = {}
    for group in groups:
        counted[group] = counted.get(group, 0) + 1
    order = sorted(counted.items(), key=lambda item: (-item[1], item[0]) if by_size else item[0])
    return [("■", f"{group} {n:,}", colour) for (group, colour), n in order]


def graph_figure(
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    edges: NDArray[np.int64],
    types: Sequence[str],
    window_um: tuple[float, float, float, float],
) -> Figure:
    """Cells as dots in the colours of their types, with lines between neighbours.

    Parameters
    ----------
    y, x
        Positions in micrometres.
    edges
        Places of the two cells of each edge, shape (edges, 2).
    types
        Of each cell.
    window_um
        What is shown: top, left, height and width. Of more than some hundreds of cells the lines cannot be told apart.

    Raises
    ------
    UsageError
        If there are no cells in the window.
    """
    top, left, height, width = window_um
    shown = (y >= top) & (y <= top + height) & (x >= left) & (x <= left + width)
    if not shown.any():
        raise UsageError("There are no cells to draw", field="types", found="0 cells")
    figure, panel = _panel((1, 1), (height, width))
    places = np.column_stack([x - left, y - top])
    seen = shown[edges[:, 0]] & shown[edges[:, 1]]
    lines = places[edges[seen]]
    panel.axes.add_collection(LineCollection(list(lines), colors="#7b8794", linewidths=0.55, alpha=0.8))
    colours = type_colours(sorted(set(types)))
    kinds = [colours[t] for t, s in zip(types, shown, strict=True) if s]
    dot = float(np.clip(1.1e4 / shown.sum(), 5.0, 40.0))
    across, down = places[shown].T
    panel.axes.scatter(across, down, s=dot, c=[c for _, c in kinds], edgecolors=INK, linewidths=0.25, zorder=3)
    panel.title(f"Neighbours in {width:.0f} by {height:.0f} µm")
    _scale_bar(panel, width)
    legend(figure, _right(panel), _top(panel), _counted(kinds, by_size=True))
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
    halo = "black" if panel.dark else "white"
    (line,) = panel.axes.plot([x, x + length], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=5)
    line.set_path_effects([withStroke(linewidth=4.2, foreground=halo), Normal()])
    panel.axes.text(
        x + length / 2, y - 0.012 * height, f"{length} µm", color=colour, fontsize=8, ha="center", va="bottom",
        zorder=5, path_effects=[withStroke(linewidth=2.6, foreground=halo)],
    )  # fmt: skip


def _borders(labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Segments between pixels of different labels, shape (n, 2, 2), as (x, y) in pixels from the outer corner."""
    y, x = np.nonzero(labels[:, 1:] != labels[:, :-1])
    upright = np.stack([np.stack([x + 1, y], 1), np.stack([x + 1, y + 1], 1)], axis=1)
    y, x = np.nonzero(labels[1:] != labels[:-1])
    level = np.stack([np.stack([x, y + 1], 1), np.stack([x + 1, y + 1], 1)], axis=1)
    return np.concatenate([upright, level]).astype(np.float64)
