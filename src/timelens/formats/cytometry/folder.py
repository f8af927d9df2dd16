"""What files of tissue cytometry in a folder belong together: an MCD with its text files, schema, panel and cell masks.

One region of a slide is one image, however many files hold it: its rows in the MCD, its text file, and the plain TIFF
that a pipeline made of it are counted once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from timelens.errors import Problem, TimelensError
from timelens.formats import safety, sidecar
from timelens.formats.cytometry.mcd import read_slide, texts_of
from timelens.formats.cytometry.panel import read_panel
from timelens.formats.cytometry.raster import METAL, MODALITY

__all__ = ["KINDS", "PICTURES", "Piece", "belongs", "gather"]

#: Formats that are gathered here.
KINDS = ("imc-txt", "mcd", "tiff")
#: Formats of any microscope, gathered where a file says that it is such a section.
PICTURES = ("ome-tiff", "ome-zarr")
_PANEL_NAMES = ("channel", "name")


@dataclass(frozen=True)
class Piece:
    """A region of a slide, or a cell mask of one.

    Attributes
    ----------
    kind
        ``image`` or ``region``.
    format
        ``mcd``, ``imc-txt``, or ``labels`` for a mask.
    files
        The file that is read first, then those that belong to it: text file, schema, panel.
    name
        Slide and number of the region, as in ``slide_001``; for a mask, its folder and the number of the region.
    slide
        Path of the MCD without its ending, or of the text file: what tells subjects apart.
    region
        Number of the region in an MCD; empty elsewhere.
    of
        For a mask: the ``name`` of its image.
    """

    kind: Literal["image", "region"]
    format: str
    files: tuple[Path, ...]
    name: str
    slide: Path
    region: str = ""
    description: str = ""
    of: str = ""


def belongs(path: Path, kind: str) -> bool:
    """Whether a file is one of tissue cytometry: by its format, by its own word, or by channels that are metals.

    Only headers are looked at: pictures are large.
    """
    if kind not in PICTURES:
        return kind in KINDS
    try:
        said, channels = _told(path)
    except (TimelensError, OSError):
        return False
    own = said.get(sidecar.BLOCK)
    modality = own.get("modality") if isinstance(own, dict) else None
    return modality == MODALITY or (modality is None and any(METAL.match(c) for c in channels))


def _told(path: Path) -> tuple[Mapping[str, Any], list[str]]:
    """Our own words about a picture, and its channels."""
    if path.is_dir():
        meta = path / "zarr.json"
        attributes = safety.read_json(meta).get("attributes") if meta.is_file() else safety.read_json(path / ".zattrs")
        attributes = attributes if isinstance(attributes, dict) else {}
        content = attributes.get("ome", attributes)
        omero = content.get("omero") if isinstance(content, dict) else None
        listed = omero.get("channels") if isinstance(omero, dict) else None
        said = attributes.get(sidecar.BLOCK)
        labels = [str(c.get("label")) for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []
        return said if isinstance(said, dict) else {}, labels
    from timelens.formats.cytometry.tiff import description_of

    beside = sidecar.beside(path)
    elements = re.findall(r"<(?:\w+:)?Channel\s[^>]*>", description_of(path))
    found = [name for e in elements for name in re.findall(r'\s(?:Fluor|Name)="([^"]*)"', e)]
    return safety.read_json(beside) if beside.is_file() else {}, found


def gather(
    found: Sequence[tuple[Path, str]], others: Sequence[Path]
) -> tuple[list[Piece], list[Path], list[Path], list[Problem]]:
    """Say what belongs together.

    Parameters
    ----------
    found
        Files with one of :data:`KINDS`.
    others
        Files of no known format: schemas and panels are looked for among them.

    Returns
    -------
    pieces
        Images, then masks.
    used
        Those of the ``others`` that belong to a piece.
    not_used
        Those of ``found`` that stand for nothing of their own.
    problems
        Slides that cannot be read, and what was left out.
    """
    problems: list[Problem] = []
    panels = [p for p in others if p.suffix.lower() == ".csv" and _is_panel(p)]
    texts = {p for p, kind in found if kind == "imc-txt"}
    pieces: list[Piece] = []
    claimed: set[Path] = set()
    for path in (p for p, kind in found if kind == "mcd"):
        own = {n: t for n, t in texts_of(path).items() if t in texts}
        claimed.update(own.values())
        try:
            pieces += _regions(path, own, others)
        except TimelensError as error:
            problems.append(error.at(file=path).problem)
    pieces += [
        Piece("image", "imc-txt", (t,), t.stem, t.with_suffix(""), description=t.stem)
        for t in sorted(texts)
        if t not in claimed
    ]
    known = {(p.name, _whose(p.slide)) for p in pieces}
    twice = [p for p, kind in found if kind in PICTURES and (_stem(p), _whose(p)) in known]
    pieces += [
        Piece("image", kind, (p,), _stem(p), p.parent / _stem(p), description=_stem(p))
        for p, kind in found
        if kind in PICTURES and p not in twice
    ]
    with_panel = [_with_panel(p, panels) for p in pieces]
    flat = [p for p, kind in found if kind == "tiff"]
    # Beside slides, plain pictures are what a pipeline made of them; alone, they are all there is.
    plain = _plain(flat, panels) if len(flat) == len(found) else []
    with_panel += plain
    taken = {p.files[0] for p in plain}
    masks, left_out, more = _pictures([*twice, *(p for p in flat if p not in taken)], with_panel)
    used = sorted({f for p in with_panel for f in p.files[1:]} & set(others))
    return [*with_panel, *masks], used, left_out, [*problems, *more]


def _regions(path: Path, texts: Mapping[int, Path], others: Sequence[Path]) -> list[Piece]:
    beside = path.with_suffix(".schema")
    schema = (beside,) if beside in others else ()
    found = []
    for region in read_slide(path).regions:
        number = int(region.extra["region_number"])
        text = (texts[number],) if number in texts else ()
        found.append(
            Piece("image", "mcd", (path, *text, *schema), region.id, path.with_suffix(""), str(number),
                  region.description)
        )  # fmt: skip
    return found


def _plain(paths: Sequence[Path], panels: Sequence[Path]) -> list[Piece]:
    """Plain TIFF pictures with as many pages as the nearest panel keeps channels; ``SLIDE_001`` is one of ``SLIDE``."""
    from timelens.formats.cytometry.tiff import pages_of

    found = []
    for path in paths:
        slide = path.parent / re.sub(r"_\d{3}$", "", _stem(path))
        piece = _with_panel(Piece("image", "tiff", (path,), _stem(path), slide, description=_stem(path)), panels)
        if len(piece.files) == 1 or "mask" in path.parent.name.lower():
            continue
        with suppress(TimelensError):
            if pages_of(path) == len(read_panel(piece.files[1]).channels):
                found.append(piece)
    return found


def _is_panel(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            first = stream.readline(4096).decode("utf-8-sig", "replace").strip().lower()
    except OSError:
        return False
    return set(_PANEL_NAMES) <= {part.strip().strip('"') for part in first.split(",")}


def _with_panel(piece: Piece, panels: Sequence[Path]) -> Piece:
    """The nearest panel: in the folder of the image, else in the fewest folders up and down; none where two tie."""
    order = sorted(panels, key=lambda p: _away(piece.files[0], p))
    if not order or (len(order) > 1 and len({_away(piece.files[0], p) for p in order[:2]}) == 1):
        return piece
    return replace(piece, files=(*piece.files, order[0]))


def _stem(path: Path) -> str:
    """The name without its ending, ``.ome.tiff`` and ``.ome.zarr`` included."""
    return re.sub(r"(\.ome)?\.(tiff?|zarr)$", "", path.name, flags=re.IGNORECASE)


def _whose(path: Path) -> tuple[str, ...]:
    """Subject and session as folders and names state them."""
    return tuple(dict.fromkeys(re.findall(r"(?:^|[_/])((?:sub|ses)-[A-Za-z0-9]+)", path.as_posix())))


def _away(one: Path, other: Path) -> int:
    """Folders up and down between two files."""
    here, there = one.parent.parts, other.parent.parts
    shared = next((k for k, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), min(len(here), len(there)))
    return len(here) + len(there) - 2 * shared


def _pictures(paths: Sequence[Path], images: Sequence[Piece]) -> tuple[list[Piece], list[Path], list[Problem]]:
    """Masks of known regions; other plain TIFF files are left out, with one remark per folder."""
    by_name: dict[object, list[Piece]] = {}
    for image in images:
        by_name.setdefault((image.name, _whose(image.slide)), []).append(image)
    masks: list[Piece] = []
    again: dict[Path, list[Path]] = {}
    alone: dict[Path, list[Path]] = {}
    for path in paths:
        owner = min(by_name.get((_stem(path), _whose(path)), ()), key=lambda p: _away(p.files[0], path), default=None)
        if owner is not None and "mask" in path.parent.name.lower():
            name = f"{path.parent.name}-{owner.region or owner.name}"
            masks.append(Piece("region", "labels", (path,), name, owner.slide, of=owner.name))
        else:
            (again if owner is not None else alone).setdefault(path.parent, []).append(path)
    problems = [
        Problem("Pictures of regions that are read from their own files: counted once", str(folder),
                "files", f"{len(files)} pictures", "", "", "warning")
        for folder, files in again.items()
    ] + [
        Problem("Plain TIFF pictures are left out: they state neither channels nor the size of a pixel", str(folder),
                "files", f"{len(files)} pictures", "OME-TIFF, MCD, TXT, or a panel that keeps as many channels",
                "convert them to OME-TIFF, or put their panel beside them", "warning")
        for folder, files in alone.items()
    ]  # fmt: skip
    return masks, [p for group in (again, alone) for files in group.values() for p in files], problems
