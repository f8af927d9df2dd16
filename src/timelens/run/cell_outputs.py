"""What a section leaves behind besides its tables and pictures: masks, GeoJSON, AnnData."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from timelens.run.files import bids_label
from timelens.study.contract import Result

__all__ = ["write_cells"]


def write_cells(place: Path, stem: str, result: Result) -> list[Path]:
    """Write masks, outlines and, where h5py is installed, AnnData files of a result's cells; returns the paths.

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
