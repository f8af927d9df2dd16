"""One region of a slide as a study names it: an MCD or text file, with the panel that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from timelens.errors import Problem, UsageError
from timelens.formats.cytometry import mcd, txt
from timelens.formats.cytometry.panel import read_panel
from timelens.study.acquisition import Acquisition
from timelens.study.provenance import SourceFile

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


def with_panel(region: Acquisition, path: Path) -> Acquisition:
    """A region whose channels bear the names of a panel, and only those that the panel keeps.

    Which channels show nuclei goes along as ``nuclear_channels``, where the panel groups them so (group 1 of
    ``deepcell`` or ``cellpose``). A panel that lacks a channel keeps it under its own label, with a warning; a panel
    that names channels which the region has not is left aside, with a warning.
    """
    panel = read_panel(path)
    metals = [str(c) for c in region.image.axes[0].coordinates or ()]
    if lacking := [c for c in panel.channels if c not in metals]:
        problem = Problem(
            "The panel names channels that the region has not, and is left aside", str(path), "channel",
            ", ".join(lacking), ", ".join(metals), "put the panel of this slide beside it", "warning",
        )  # fmt: skip
        return replace(region, problems=(*region.problems, problem))
    name_of = dict(zip(panel.channels, panel.names, strict=True))
    labels = [str(v) for v in region.extra.get("channel_labels", metals)]
    labels = [name_of.get(metal, label) for metal, label in zip(metals, labels, strict=True)]
    problems = []
    if extra := [m for m in metals if m not in name_of and m not in panel.dropped]:
        problems.append(
            Problem("The panel does not name all channels: the others keep their own labels", str(path), "channel",
                    ", ".join(extra), "a row for each channel", "", "warning")
        )  # fmt: skip
    nuclear = tuple(
        channel
        for group in ("deepcell", "cellpose")
        if group in panel.groups
        for channel, number in zip(panel.channels, panel.groups[group], strict=True)
        if number == 1
    )
    return replace(
        region,
        sources=(*region.sources, SourceFile.of(path)),
        problems=(*region.problems, *problems),
        extra={
            **region.extra,
            "channel_labels": tuple(labels),
            "dropped_channels": panel.dropped,
            "nuclear_channels": tuple(dict.fromkeys(nuclear)),
        },
    )
