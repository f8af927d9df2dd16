"""Panel files: which metal bears which target, as a table with one row per channel.

The columns are steinbock's: ``channel`` (metal with mass, or a name), ``name`` (the target), ``keep`` (0 or 1, all by
default), and for each segmentation programme a column with the number of the group that the channel belongs to.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from timelens.errors import FormatError, MissingFieldError, Problem
from timelens.formats import safety
from timelens.study.acquisition import Acquisition
from timelens.study.provenance import SourceFile

__all__ = ["Panel", "read_panel", "with_panel"]

#: Columns that name the groups of segmentation programmes.
GROUPS = ("deepcell", "cellpose", "ilastik")


@dataclass(frozen=True)
class Panel:
    """The channels that are kept, in the order of the file.

    Parameters
    ----------
    channels
        Metal with mass, or the name of the channel in the image.
    names
        The targets.
    groups
        For each programme of :data:`GROUPS` that the file knows: number of the group per channel, or None.
    dropped
        Channels whose ``keep`` is 0.
    """

    channels: tuple[str, ...]
    names: tuple[str, ...]
    groups: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    def positions(self, channels: Sequence[str], *, file: object = "") -> list[int]:
        """Where the panel's channels lie among those of an image.

        Raises
        ------
        MissingFieldError
            If the image lacks one.
        """
        lacking = [c for c in self.channels if c not in channels]
        if lacking:
            raise MissingFieldError(
                "The image lacks channels that the panel keeps", file=file, field="channel",
                found=", ".join(channels), expected=", ".join(lacking), mend="set keep to 0 for them",
            )  # fmt: skip
        return [list(channels).index(c) for c in self.channels]


def read_panel(path: str | Path) -> Panel:
    """Read a panel from CSV.

    Raises
    ------
    FormatError
        If columns are missing, a channel or the name of a kept one comes twice, or ``keep`` is neither 0 nor 1.
    """
    reader = csv.DictReader(io.StringIO(safety.read_text(path)))
    try:
        columns, rows = reader.fieldnames or [], list(reader)
    except csv.Error as error:
        raise FormatError("The panel is no table", file=path, field=f"line {reader.line_num}", found=error) from error
    if not {"channel", "name"} <= set(columns):
        raise FormatError(
            "The panel lacks columns", file=path, field="header", found=", ".join(columns), expected="channel, name"
        )
    kept: list[dict[str, str]] = []
    dropped: list[str] = []
    seen: set[str] = set()
    for line, row in enumerate(rows, 2):
        record = {key: (value or "").strip() for key, value in row.items() if key}
        channel = record["channel"]
        if not channel or channel in seen:
            raise FormatError("A channel is empty or comes twice", file=path, field=f"line {line}", found=repr(channel))
        seen.add(channel)
        if _flag(record.get("keep", ""), path, line):
            kept.append({**record, "name": record["name"] or channel})
        else:
            dropped.append(channel)
    names = tuple(r["name"] for r in kept)
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice or not kept:
        raise FormatError(
            "Two channels have one name" if twice else "The panel keeps no channel", file=path, field="name",
            found=", ".join(twice) or "nothing",
        )  # fmt: skip
    groups = {g: tuple(_group(r[g], path, g) for r in kept) for g in GROUPS if g in columns}
    return Panel(tuple(r["channel"] for r in kept), names, groups, tuple(dropped))


def _number(text: str, path: str | Path, place: str) -> float | None:
    if not text:
        return None
    try:
        value = float({"true": "1", "false": "0"}.get(text.lower(), text))
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0 and value == int(value)):
        raise FormatError("Not a whole number", file=path, field=place, found=repr(text), expected="0, 1 ...")
    return value


def _flag(text: str, path: str | Path, line: int) -> bool:
    value = _number(text, path, f"keep, line {line}")
    if value not in (None, 0, 1):
        raise FormatError("keep is 0 or 1", file=path, field=f"keep, line {line}", found=text, expected="0 or 1")
    return value != 0


def _group(text: str, path: str | Path, column: str) -> int | None:
    value = _number(text, path, column)
    return None if value is None else int(value)


def with_panel(region: Acquisition, panel: Panel | str | Path) -> Acquisition:
    """A region whose channels bear the names of a panel, and only those that the panel keeps.

    Which channels show nuclei goes along as ``nuclear_channels``, where the panel groups them so (group 1 of
    ``deepcell`` or ``cellpose``). A panel that lacks a channel keeps it under its own label, with a warning; a panel
    that names channels which the region has not is left aside, with a warning.

    Parameters
    ----------
    region
        With metals on its axis ``c``.
    panel
        The panel, or the file that holds it.
    """
    path = None if isinstance(panel, Panel) else Path(panel)
    panel = panel if isinstance(panel, Panel) else read_panel(panel)
    metals = [str(c) for c in region.image.axes[0].coordinates or ()]
    if lacking := [c for c in panel.channels if c not in metals]:
        problem = Problem(
            "The panel names channels that the region has not, and is left aside", str(path or ""), "channel",
            ", ".join(lacking), ", ".join(metals), "put the panel of this slide beside it", "warning",
        )  # fmt: skip
        return replace(region, problems=(*region.problems, problem))
    name_of = dict(zip(panel.channels, panel.names, strict=True))
    labels = [str(v) for v in region.extra.get("channel_labels", metals)]
    labels = [name_of.get(metal, label) for metal, label in zip(metals, labels, strict=True)]
    problems = []
    if extra := [m for m in metals if m not in name_of and m not in panel.dropped]:
        problems.append(
            Problem("The panel does not name all channels: the others keep their own labels", str(path or ""),
                    "channel", ", ".join(extra), "a row for each channel", "", "warning")
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
        sources=region.sources if path is None else (*region.sources, SourceFile.of(path)),
        problems=(*region.problems, *problems),
        extra={
            **region.extra,
            "channel_labels": tuple(labels),
            "dropped_channels": panel.dropped,
            "nuclear_channels": tuple(dict.fromkeys(nuclear)),
        },
    )
