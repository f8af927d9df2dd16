"""What a section leaves behind besides its tables: masks, GeoJSON, AnnData, and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from timelens.run.files import bids_label
from timelens.study.contract import Result

if TYPE_CHECKING:
    from timelens.run.pictures import Album

__all__ = ["draw_cells", "write_cells"]

_MOST_CHANNELS = 3
#: Channels that are shown first where they were measured.
_SHOWN = ("panCK", "CD3", "CD68", "CD20", "CD31", "SMA")


def write_cells(place: Path, stem: str, result: Result) -> list[Path]:
    """Write masks, outlines and, where anndata is installed, AnnData files of a result's cells; returns the paths.

    Parameters
    ----------
    place
        Folder of the lens.
    stem
        What file names begin with.
    result
        Of the cytometry lens; of any other it is left alone.
    """
    written: list[Path] = []
    for cells in result.pictures.get("cells", ()):
        from timelens.figures.cells import type_colours
        from timelens.formats import geojson, h5ad
        from timelens.formats.cytometry.tiff import write_mask

        place.mkdir(parents=True, exist_ok=True)
        base = f"{stem}_desc-{bids_label(cells.prefixed('cells'))}"
        names = np.array(cells.names)[cells.types]
        numbers = cells.measures.label.tolist()
        written.append(write_mask(cells.labels, place / f"{base}_mask.tiff"))
        means = {
            label: {f"mean {c}": float(v) for c, v in zip(cells.channels, row, strict=True)}
            for label, row in zip(numbers, cells.measures.mean, strict=True)
        }
        colours = {kind: colour for kind, (_, colour) in type_colours(list(cells.names)).items()}
        classes = dict(zip(numbers, names.tolist(), strict=True))
        written.append(
            geojson.write(cells.labels, place / f"{base}.geojson", classes=classes, colours=colours,
                          measurements=means, name=base)
        )  # fmt: skip
        if h5ad.available():
            graph = cells.graph.starts, cells.graph.neighbours
            table = result.tables[cells.prefixed("cells")]
            written.append(h5ad.write(table, place / f"{base}.h5ad", graph=graph, about={"image": stem}))
    return written


def draw_cells(album: Album, result: Result) -> None:
    """Keep the pictures of a section: channels with outlines, a map of types, and neighbours against chance."""
    if not result.pictures.get("cells"):
        return
    from timelens.figures.cells import composite_figure, interaction_figure, type_map_figure

    values, labels, pixel_um = result.pictures["channels"]
    for cells in result.pictures["cells"]:
        which = cells.prefixed("cells") if cells.name else ""
        heading = f"{cells.name}: " if cells.name else ""
        album.keep(
            composite_figure(_shown(values, labels, result), cells.labels, pixel_um), which, "composite",
            f"{heading}Channels and cells", "Channels over each other, each to its 99.5th percentile; cells outlined.",
        )  # fmt: skip
        kinds = dict(zip(cells.measures.label.tolist(), np.array(cells.names)[cells.types].tolist(), strict=True))
        album.keep(
            type_map_figure(cells.labels, kinds, pixel_um), which, "types", f"{heading}Types of cells",
            "Each cell in the colour of its type; what no type fits is unknown.",
        )  # fmt: skip
        table = result.tables[cells.prefixed("interactions")].data
        names = list(dict.fromkeys(table["from"]))
        if len(names) > 1:
            z = table.pivot(index="from", columns="to", values="z").loc[names, names].to_numpy(float)
            album.keep(
                interaction_figure(names, z), which, "neighbours", f"{heading}Neighbours",
                "Standard scores of how often cells of a type (row) touch cells of a type (column), against a shuffle "
                "of types over the cells. Large cells touch more others, whatever their type.",
            )  # fmt: skip


def _shown(values: Any, labels: tuple[str, ...], result: Result) -> dict[str, Any]:
    """Nuclei first, then markers that most people look for, then whatever else was measured."""
    from timelens.lenses.cytometry.markers import canonical

    nuclear = [labels.index(n) for n in result.audit["cytometry"]["nuclear"]][:1]
    markers = {canonical(label): k for k, label in reversed(list(enumerate(labels)))}
    wanted = [markers[m] for m in _SHOWN if m in markers]
    rest = [k for k in range(len(labels)) if k not in nuclear and k not in wanted]
    chosen = list(dict.fromkeys([*nuclear, *(wanted or rest)]))[: _MOST_CHANNELS + 1]
    return {labels[k]: values[k] for k in chosen}
