"""The pictures of one measured scan, drawn from what its lens gave back: lenses never draw.

Images of uptake are shown as projections, cuts and histograms, maps of a parameter with their errors, curves with their
fits. Every picture bears the id of its scan, so that the report sets it beside the scan's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from timelens.errors import GeometryError
from timelens.figures.text import unit_text
from timelens.knowledge import quantities
from timelens.run.files import bids_label
from timelens.study.contract import Result
from timelens.study.image import Image
from timelens.study.region import Region

__all__ = ["Album", "draw", "said_of", "symbol_of"]

#: Kinds of quantity that are shown as images of uptake; a map of any other kind is the map of a parameter.
_UPTAKE = (
    "standardised uptake value", "uptake per body surface", "activity concentration", "injected dose per mass",
    "injected dose per volume", "value",
)  # fmt: skip
#: Ends of the names of maps that go with another one: its standard error, and why voxels have no value.
_ERROR, _STATUS = "_se", "_reason"


@dataclass
class Album:
    """Pictures of one scan: files in the folder of its session, and a record of each for ``session.json``.

    Attributes
    ----------
    folder
        Of the session.
    stem
        What file names begin with.
    acquisition
        Id of the scan.
    records
        Of what was kept.
    """

    folder: Path
    stem: str
    acquisition: str
    records: list[dict[str, str]] = field(default_factory=list)

    def keep(self, figure: Any, name: str, kind: str, title: str, caption: str, *, coarse: bool = False) -> None:
        """Write a figure and remember it; ``name`` tells pictures of one kind apart, ``coarse`` saves space."""
        from timelens.figures.canvas import write_png

        stem = f"{self.stem}_{bids_label(name)}" if name else self.stem
        path = write_png(figure, self.folder / "figures" / f"{stem}_{kind}.png", coarse=coarse)
        self.records.append(
            {
                "file": path.relative_to(self.folder).as_posix(),
                "title": title,
                "caption": caption,
                "kind": kind,
                "acquisition": self.acquisition,
            }
        )


def draw(album: Album, result: Result, ct: Image | None) -> None:
    """Keep the pictures of a result: curves and their fits, maps of parameters, and images of uptake.

    Parameters
    ----------
    album
        Where they go.
    result
        Of a lens.
    ct
        A CT in the frame of reference of the scan, or None.
    """
    from timelens.run.cell_pictures import draw_cells
    from timelens.run.kinetic_pictures import draw_curves, draw_parameter_map

    draw_cells(album, result)
    draw_curves(album, result.tables)
    for name, image in result.maps.items():
        if name.endswith(_STATUS) or (name.endswith(_ERROR) and name.removesuffix(_ERROR) in result.maps):
            continue
        if f"{name}{_ERROR}" in result.maps or not _shows_uptake(image):
            region = _on_grid(result.regions, image)
            draw_parameter_map(album, name, image, result.maps.get(f"{name}{_ERROR}"), region)
            continue
        suffix = name.removeprefix("suv").removeprefix("_")
        region = _latest(result.regions, f"lesions_{suffix}" if suffix else "lesions")
        volume = image if len(image.shape) == 3 else image.frame(image.shape[0] - 1)
        labels = region.labels.numpy() if region is not None and region.labels is not None else None
        names = dict(region.names) if region is not None else {}
        _draw_uptake(album, name, volume, labels, names, ct, suffix)


def symbol_of(image: Image) -> str:
    """The symbol of what an image shows."""
    known = quantities.find(image.quantity) if image.quantity else None
    return known.symbol if known is not None else "the image"


def said_of(image: Image) -> str:
    """What the voxels of a map hold, in words: symbol and unit, of categories what their codes mean."""
    known = quantities.find(image.quantity) if image.quantity else None
    return known.definition if known is not None and known.kind == "category" else f"{symbol_of(image)} in {image.unit}"


def _shows_uptake(image: Image) -> bool:
    known = quantities.find(image.quantity) if image.quantity else None
    return known is None or known.kind in _UPTAKE


def _on_grid(regions: Mapping[str, Region], image: Image) -> Region | None:
    """The first set of labels on the grid of an image."""
    for region in regions.values():
        place = region.labels.geometry if region.labels is not None else None
        if place is not None and image.geometry is not None and image.geometry.same_grid(place):
            return region
    return None


def _latest(regions: Mapping[str, Region], key: str) -> Region | None:
    """The region set of that key, or of the last frame of that key."""
    if key in regions:
        return regions[key]
    frames = [name for name in regions if name.startswith(f"{key}_frame-")]
    return regions[frames[-1]] if frames else None


def _draw_uptake(
    album: Album,
    name: str,
    volume: Image,
    labels: NDArray[Any] | None,
    names: Mapping[int, str],
    ct: Image | None,
    title: str,
) -> None:
    """Projections of an image, and where it has regions cuts and a histogram."""
    from timelens.figures.histogram import histogram_figure
    from timelens.figures.volume import mip_figure, slices_figure

    def keep(figure: Any, kind: str, heading: str, caption: str) -> None:
        album.keep(figure, name, kind, f"{title}: {heading}" if title else heading, caption)

    outlined = labels is not None and bool(labels.any())
    unit = unit_text(volume.unit)
    keep(
        mip_figure(volume, labels, names),
        "mip",
        "Maximum-intensity projections",
        f"Coronal and sagittal projections of {symbol_of(volume)}{f' in {unit}' if unit else ''}"
        + (", lesions outlined." if outlined else "."),
    )
    if labels is None or not outlined:
        return
    try:
        figure = slices_figure(volume, labels, names, ct=ct)
        caption = "Cuts through the hottest voxel of the largest lesions" + (
            ", PET over CT." if ct is not None else "."
        )
    except GeometryError:
        figure = slices_figure(volume, labels, names)
        caption = "Cuts through the hottest voxel of the largest lesions."
    keep(figure, "slices", "Largest lesions", caption)
    assert volume.geometry is not None
    array = volume.numpy()
    values = {n: array[labels == n] for n in names if (labels == n).any()}
    keep(
        histogram_figure(values, names, unit=volume.unit, voxel_ml=volume.geometry.voxel_volume / 1e3),
        "histogram",
        "Distribution of uptake",
        "Histogram over all lesions, and the part of the volume at or above each value.",
    )
