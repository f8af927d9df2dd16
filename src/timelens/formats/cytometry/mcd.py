"""MCD: the file of an imaging mass cytometer, one per slide, with its regions, photographs and, at its end, its schema.

Real files are sometimes damaged: a transfer was cut, a run was stopped. Each region is taken from the first of these
sources that holds it whole: its bytes in the MCD, placed by the schema (or what is left of it, or the ``.schema`` file
beside it, or the look of the rows); else the text file of the same region. What neither holds whole is given with NaN
for the pixels that are lost, if whole lines are there, and otherwise left out. Every such step is reported.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError, FormatError, Problem
from timelens.formats import safety
from timelens.formats.cytometry import raster, schema, txt
from timelens.formats.cytometry.blocks import Block, find_blocks
from timelens.formats.cytometry.mcd_write import write
from timelens.formats.cytometry.panel import Panel, with_panel
from timelens.formats.cytometry.panorama import panorama_image, read_panorama
from timelens.formats.cytometry.schema import Panorama, RegionRecord
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image
from timelens.study.provenance import SourceFile

__all__ = ["MCD", "read", "read_panorama", "read_slide", "texts_of", "write"]

_TEXT_ROUNDING = 5e-4  # text files have three decimals


@dataclass(frozen=True)
class MCD:
    """All that could be read from an MCD file.

    Parameters
    ----------
    regions
        One acquisition per region, in the order of their numbers.
    panoramas
        Photographs of the slide; :func:`read_panorama` gives the picture. Every region has those of its slide as images
        with their place, under ``extra["panoramas"]``.
    problems
        What was damaged, and what was done about it.
    """

    path: Path
    regions: tuple[Acquisition, ...]
    panoramas: tuple[Panorama, ...]
    problems: tuple[Problem, ...]


def read(
    path: str | Path,
    *,
    region: int | str | None = None,
    panel: Panel | str | Path | None = None,
    pixel_size_um: float | None = None,
    unit: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    subject: str = "",
    session: str = "",
    modality: str | None = None,
) -> Acquisition:
    """Read one region of an MCD file.

    Parameters
    ----------
    path
        The file.
    region
        Number or name of the region; may be left out where there is only one.
    panel
        Names of the channels, and which are kept; by default as the file labels them.
    pixel_size_um
        Size of a pixel in micrometres, for a region whose schema is lost; another than the file states is refused.
    unit
        UCUM code of the values; counts by default.
    id, subject, session
        Where the caller knows them.
    modality
        ``cytometry``; nothing else fits.

    Raises
    ------
    DataError
        If the region is not there, could not be read, or none is named and there are several.
    UsageError
        If the modality or the size of a pixel contradicts the file.
    """
    raster.check_modality(modality, file=path)
    found = read_slide(path)
    named = {a.extra["region_number"]: a for a in found.regions}
    if region is None and len(named) == 1:
        one = found.regions[0]
    else:
        matches = [a for n, a in named.items() if region is not None and str(region) in (str(n), a.description)]
        if len(matches) != 1:
            raise DataError(
                "The file holds several regions" if region is None else "The file holds no such region, or not whole",
                file=path, field="region", found=region,
                expected=", ".join(f"{n} ({a.description})" for n, a in named.items()),
                mend="name one with region=, or read all with read_slide",
            )  # fmt: skip
        one = matches[0]
    image = one.image if unit is None else one.image.with_info(unit=unit)
    if pixel_size_um is not None:
        raster.check_pixel(pixel_size_um, image.geometry, file=path)
    problems = (*one.problems, *found.problems)
    one = replace(one, data=image, id=id or one.id, subject=subject, session=session, problems=problems)
    return one if panel is None else with_panel(one, panel)


def read_slide(path: str | Path, *, subject: str = "", session: str = "") -> MCD:
    """Read all regions of an MCD file, repaired where it is damaged.

    Parameters
    ----------
    path
        The file. The text files of its regions (``<stem>_<name>_<number>.txt``) and the ``.schema`` file are looked for
        beside it, and used only where the MCD is damaged.
    subject, session
        Where the caller knows them.

    Raises
    ------
    FormatError
        If neither the file nor the text files beside it hold any region.
    """
    place = safety.existing(path)
    beside = [place.with_suffix(".schema"), *texts_of(place).values()]
    stamp = tuple((str(p), s.st_size, s.st_mtime_ns) for p in (place, *beside) if p.is_file() and (s := p.stat()))
    found = _read_slide(place, stamp)
    regions = tuple(replace(r, subject=subject, session=session) for r in found.regions)
    return replace(found, regions=regions)


@lru_cache(maxsize=4)
def _read_slide(place: Path, stamp: object) -> MCD:
    """A slide is read once for all of its regions, as long as its files stay the same."""
    texts = texts_of(place)
    found, problems = _schema(place)
    if found is not None:
        regions, more = _by_schema(place, found, texts)
    else:
        regions, more = _by_look(place, texts)
    problems += more
    if not regions:
        raise FormatError(
            "The file holds no region that can be read", file=place, field="MCDSchema",
            found="; ".join(p.message for p in problems) or "no schema and no rows", expected="one region or more",
            mend="put the text files of the regions beside it",
        )  # fmt: skip
    size = place.stat().st_size
    panoramas = tuple(p for p in (found.panoramas if found else ()) if p.end <= size)
    regions = [replace(r, extra={**r.extra, "panoramas": _pictures(place, r, panoramas)}) for r in regions]
    return MCD(place, tuple(regions), panoramas, tuple(problems))


def _pictures(place: Path, region: Acquisition, panoramas: Sequence[Panorama]) -> tuple[Image, ...]:
    """Photographs of the region's slide as images; one that cannot be read is lost to pictures alone."""
    made = []
    for panorama in panoramas:
        if panorama.slide == region.extra.get("slide", ""):
            with suppress(FormatError):
                made.append(panorama_image(place, panorama))
    return tuple(made)


# -- where the regions lie -------------------------------------------------------------------------------------------


def texts_of(place: Path) -> dict[int, Path]:
    """Text files of a slide by the number of the region, which ends their name (``<stem>_<name>_<number>.txt``).

    Where the name of another slide in the folder begins with the name of this one, its text files are its own.
    """
    stems = [p.stem.lower() for p in place.parent.iterdir() if p.suffix.lower() == ".mcd"]
    longer = tuple(f"{s}_" for s in stems if s.startswith(f"{place.stem.lower()}_"))
    pattern = re.compile(re.escape(place.stem) + r"_.*?(\d+)\.txt$", re.IGNORECASE)
    found = {}
    for candidate in sorted(place.parent.glob("*.txt")):
        if (match := pattern.match(candidate.name)) is not None and not candidate.name.lower().startswith(longer):
            found[int(match[1])] = candidate
    return found


def _schema(place: Path) -> tuple[schema.Schema | None, list[Problem]]:
    found = schema.find(place)
    if found is not None and found.whole:
        return found, []
    beside = schema.find_beside(place)
    if beside is None or (found is not None and len(found.regions) >= len(beside.regions)):
        said = "what is left of it is used" if found else "regions are found by the look of their rows"
        return found, [_cut(place, found, said)]
    return beside, [_cut(place, found, f"{place.with_suffix('.schema').name} is used")]


def _cut(place: Path, found: schema.Schema | None, done: str) -> Problem:
    return Problem(
        f"The schema at the end of the file is cut or missing: {done}", str(place), "MCDSchema",
        f"{len(found.regions)} regions" if found else "nothing", "<MCDSchema>...</MCDSchema>",
        "copy the file from the instrument again", "warning",
    )  # fmt: skip


def _by_schema(place: Path, found: schema.Schema, texts: Mapping[int, Path]) -> tuple[list[Acquisition], list[Problem]]:
    regions: list[Acquisition] = []
    problems: list[Problem] = []
    source = SourceFile.of(place)
    for record in sorted(found.regions, key=lambda r: r.number):
        try:
            rows, complete = _rows(place, record)
            reason = "" if complete else "its rows are not complete"
        except FormatError as error:
            rows, complete, reason = None, False, _first_lower(error.problem.message)
        if complete and rows is not None:
            regions.append(_region(place, record, rows, [source]))
        elif (text := texts.get(record.number)) is not None and (repaired := _from_text(place, record, text, problems)):
            problems.append(_repaired(place, record, reason, text))
            regions.append(repaired)
        elif rows is not None and len(rows) >= record.shape[1]:
            problem = txt.incomplete(place, len(rows), record.shape)
            problems.append(replace(problem, field=f"region {record.number} ({record.name})"))
            regions.append(_region(place, record, rows, [source], [problem]))
        else:
            problems.append(_skipped(place, record, reason))
    named = {r.number for r in found.regions}
    if not found.whole:
        regions += _only_texts(place, {n: t for n, t in texts.items() if n not in named}, problems)
    return sorted(regions, key=lambda a: a.extra["region_number"]), problems


def _by_look(place: Path, texts: Mapping[int, Path]) -> tuple[list[Acquisition], list[Problem]]:
    """Regions where no schema is left: blocks that a text file knows, blocks alone, text files alone."""
    regions: list[Acquisition] = []
    problems: list[Problem] = []
    source = SourceFile.of(place)
    number = 0
    for block in find_blocks(place):
        if any(_same(place, block, text) for text in texts.values()):
            continue  # the text file has the same pixels, and knows the names
        number = next(n for n in itertools.count(number + 1) if n not in texts)
        record = _record_of(block, number)
        rows, complete = _rows(place, record)
        problems.append(
            Problem("A region was found by the look of its rows: its channels have no names and its place on the slide "
                    "is unknown", str(place), f"region {record.number}", f"{block.width} pixels by {block.lines} lines",
                    "a schema", "put its text file beside the MCD", "warning")
        )  # fmt: skip
        lost = [] if complete else [txt.incomplete(place, block.pixels, record.shape)]
        regions.append(_region(place, record, rows, [source], lost))
    regions += _only_texts(place, texts, problems)
    return sorted(regions, key=lambda a: a.extra["region_number"]), problems


def _record_of(block: Block, number: int) -> RegionRecord:
    names = tuple(f"channel_{k}" for k in range(1, block.channels + 1))
    end = block.start + block.pixels * (3 + block.channels) * 4
    return RegionRecord(number, "", block.start, end, (block.lines, block.width), raster.Channels(names, names),
                        (raster.PIXEL_UM, raster.PIXEL_UM), None, "", "")  # fmt: skip


def _same(place: Path, block: Block, text: Path) -> bool:
    """Whether a text file holds the pixels of a block, to the rounding of the text."""
    try:
        if len(txt.read_channels(text)) != block.channels:
            return False
        lines, _ = txt.read_rows(text)
    except FormatError:
        return False
    if len(lines) < block.pixels:
        return False
    data = np.memmap(place, "<f4", "r", block.start, (block.pixels, 3 + block.channels))
    return bool((np.abs(data - lines[: block.pixels]) <= _TEXT_ROUNDING + 1e-6 * data).all())


# -- one region ------------------------------------------------------------------------------------------------------


def _rows(place: Path, record: RegionRecord) -> tuple[NDArray[np.float32], bool]:
    """Rows (X, Y, Z, channels) that are mapped from the file, and whether all pixels are there."""
    columns, (height, width) = 3 + len(record.channels), record.shape
    if columns == 3 or min(height, width) < 1 or record.start < 0 or record.end <= record.start:
        raise FormatError("The schema names no channels, pixels or bytes", file=place, field="Acquisition")
    size = record.end - record.start
    if size % (columns * 4) or size // (columns * 4) > height * width:
        raise FormatError(
            "The size of its data does not fit its channels and pixels", file=place, field="DataEndOffset"
        )
    count = (min(record.end, place.stat().st_size) - record.start) // (columns * 4)
    if count < 1:
        raise FormatError("Its data lie behind the end of the file", file=place, field="DataStartOffset")
    rows = np.memmap(place, "<f4", "r", record.start, (count, columns))
    if not np.isfinite(rows).all() or (rows < 0).any():
        raise FormatError("Its rows hold values that are no counts", file=place, field="rows")
    _, complete = raster.grid_size(rows[:, 0], rows[:, 1], file=place, size=record.shape)
    return rows, complete


def _region(
    place: Path,
    record: RegionRecord,
    rows: NDArray[np.float32],
    sources: Sequence[SourceFile],
    problems: Sequence[Problem] = (),
    **extra: Any,
) -> Acquisition:
    def image(rows: NDArray[np.float32] = rows) -> NDArray[np.float32]:
        return raster.scatter(rows[:, 0], rows[:, 1], rows[:, 3:], record.shape)

    return raster.acquisition(
        image,
        id=f"{place.stem}_{record.number:03d}",
        shape=record.shape,
        channels=record.channels,
        geometry=raster.place_on_slide(
            record.shape,
            pixel_um=record.pixel_um,
            corner_um=record.corner_um,
            slide=raster.slide_frame(place, record.slide),
        ),
        sources=sources,
        problems=[*problems, raster.unstated_thickness(place)],
        description=record.name,
        region_number=record.number,
        slide=record.slide,
        started=record.started,
        **extra,
    )


def _from_text(place: Path, record: RegionRecord, text: Path, problems: list[Problem]) -> Acquisition | None:
    """The region from its text file, if that agrees with what the schema says."""
    try:
        channels = txt.read_channels(text)
        rows, cut = txt.read_rows(text)
        if record.channels.metals and channels.metals != record.channels.metals:
            raise FormatError("The text file has other channels", file=text, field="header", found=channels.metals,
                              expected=record.channels.metals)  # fmt: skip
        _, complete = raster.grid_size(rows[:, 0], rows[:, 1], file=text, size=record.shape)
    except FormatError as error:
        problems.append(error.problem)
        return None
    lost = [] if complete else [txt.incomplete(text, len(rows), record.shape)]
    whole = replace(record, channels=record.channels if record.channels.metals else channels)
    return _region(place, whole, rows, [SourceFile.of(text)], [*cut, *lost], repaired_from=text.name)


def _only_texts(place: Path, texts: Mapping[int, Path], problems: list[Problem]) -> list[Acquisition]:
    """Regions of which only the text file is left."""
    regions = []
    for number, text in sorted(texts.items()):
        try:
            one = txt.read(text, id=f"{place.stem}_{number:03d}")
        except FormatError as error:
            problems.append(error.problem)
            continue
        name = text.stem.removeprefix(place.stem).strip("_").removesuffix(f"_{number}")
        problems.append(
            Problem("The region is read from its text file: the MCD no longer says where it lies", str(place),
                    f"region {number} ({name})", "no schema", text.name, "", "warning")
        )  # fmt: skip
        extra = {**one.extra, "region_number": number, "slide": "", "started": "", "repaired_from": text.name}
        regions.append(replace(one, description=name, extra=extra))
    return regions


def _repaired(place: Path, record: RegionRecord, reason: str, text: Path) -> Problem:
    return Problem(
        f"The region is read from its text file: {reason}", str(place), f"region {record.number} ({record.name})",
        reason, "whole rows", f"used {text.name}", "warning",
    )  # fmt: skip


def _skipped(place: Path, record: RegionRecord, reason: str) -> Problem:
    return Problem(
        f"A region is left out: {reason}, and no text file holds it", str(place),
        f"region {record.number} ({record.name})", reason, "whole rows",
        f"put {place.stem}_{record.name}_{record.number}.txt beside the MCD",
    )  # fmt: skip


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]
