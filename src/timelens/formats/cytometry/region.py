"""One region of a slide as a study names it: MCD, text file or OME picture, with the panel that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from timelens.errors import MissingFieldError, UsageError
from timelens.formats import registry
from timelens.formats.cytometry import mcd, txt
from timelens.formats.cytometry.panel import with_panel
from timelens.formats.cytometry.raster import MODALITY
from timelens.study.acquisition import Acquisition

__all__ = ["read_region", "with_panel"]


def read_region(
    files: Sequence[Path],
    *,
    region: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    unit: str | None = None,
    pixel_size_um: float | None = None,
) -> Acquisition:
    """Read one region from its files.

    Parameters
    ----------
    files
        The MCD, text file, OME-TIFF, OME-Zarr or plain TIFF, and what belongs to it (its text file, schema, panel), in
        any order.
    region
        Number of the region in an MCD.
    id
        Name of the acquisition.
    unit
        UCUM code of the values; counts by default, but for OME pictures, which state it.
    pixel_size_um
        Size of a pixel in micrometres, where the file does not state it.

    Raises
    ------
    UsageError
        If there is no such file among them.
    FormatError
        If the files or the panel cannot be read.
    """
    slides = [f for f in files if f.suffix.lower() == ".mcd"]
    texts = [f for f in files if f.suffix.lower() != ".csv" and f.is_file() and txt.is_text(f)]
    pictures = [f for f in files if f.name.lower().endswith((".tif", ".tiff", ".zarr"))]
    if slides:
        found = mcd.read(slides[0], region=region, id=id, unit=unit, pixel_size_um=pixel_size_um)
    elif texts:
        found = txt.read(texts[0], id=id, unit=unit, pixel_size_um=pixel_size_um)
    elif pictures and registry.sniff(pictures[0]) == "tiff":
        return _plain(pictures[0], files, id, unit, pixel_size_um)
    elif pictures:
        found = _picture(pictures[0], id, unit, pixel_size_um)
    else:
        raise UsageError(
            "No file of a region is named", field="files", found=", ".join(f.name for f in files), expected="MCD or TXT"
        )
    panels = [f for f in files if f.suffix.lower() == ".csv"]
    return with_panel(found, panels[0]) if panels else found


def _plain(
    path: Path,
    files: Sequence[Path],
    id: str | None,  # noqa: A002 - the field's name
    unit: str | None,
    pixel_size_um: float | None,
) -> Acquisition:
    """A plain TIFF: its pages are the channels that its panel keeps, which is also said of nuclei."""
    from timelens.formats.cytometry import tiff

    panel = next((f for f in files if f.suffix.lower() == ".csv"), None)
    found = tiff.read(path, panel=panel, pixel_size_um=pixel_size_um, id=id, unit=unit)
    return found if panel is None else with_panel(found, panel)


def _picture(
    path: Path,
    id: str | None,  # noqa: A002 - the field's name
    unit: str | None,
    pixel_size_um: float | None,
) -> Acquisition:
    """A section that an OME file holds: its channels bear labels, which default to their names."""
    from importlib import import_module

    name = "ome_zarr" if path.is_dir() else "ome_tiff"
    size = {} if pixel_size_um is None or path.is_dir() else {"pixel_size_um": pixel_size_um}
    found: Acquisition = import_module(f"timelens.formats.{name}").read(path, unit=unit, id=id, **size)
    channels = [str(c) for c in found.image.axes[0].coordinates or ()]
    labels = [str(v) for v in found.extra.get("channel_labels") or channels]
    if found.image.axes[0].name != "c" or not channels or len(labels) != len(channels):
        raise MissingFieldError(
            "The channels of the section have no names", file=path, field="Channel Name",
            found=", ".join(labels) or "nothing", expected="a name per channel", mend="write them into the file",
        )  # fmt: skip
    return replace(found, modality=MODALITY, extra={**found.extra, "channel_labels": tuple(labels)})
