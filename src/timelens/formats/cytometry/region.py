"""One region of a slide as a study names it: an MCD or text file, with the panel that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from timelens.errors import UsageError
from timelens.formats.cytometry import mcd, txt
from timelens.formats.cytometry.panel import with_panel
from timelens.study.acquisition import Acquisition

__all__ = ["read_region", "with_panel"]


def read_region(
    files: Sequence[Path],
    *,
    region: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    unit: str | None = None,
) -> Acquisition:
    """Read one region from its files.

    Parameters
    ----------
    files
        The MCD or the text file, and what belongs to it (its text file, schema, panel), in any order.
    region
        Number of the region in an MCD.
    id
        Name of the acquisition.
    unit
        UCUM code of the values; counts by default.

    Raises
    ------
    UsageError
        If there is no such file among them.
    FormatError
        If the files or the panel cannot be read.
    """
    slides = [f for f in files if f.suffix.lower() == ".mcd"]
    texts = [f for f in files if f.suffix.lower() != ".csv" and txt.is_text(f)]
    if slides:
        found = mcd.read(slides[0], region=region, id=id, unit=unit)
    elif texts:
        found = txt.read(texts[0], id=id, unit=unit)
    else:
        raise UsageError(
            "No file of a region is named", field="files", found=", ".join(f.name for f in files), expected="MCD or TXT"
        )
    panels = [f for f in files if f.suffix.lower() == ".csv"]
    return with_panel(found, panels[0]) if panels else found
