"""MCDSchema: the XML at the end of an MCD file that says where its regions lie.

A cut file loses the end of this text or all of it. Its elements are flat, so every element that is whole can be used,
and the ``.schema`` file, which the instrument writes beside the MCD, holds the same text inside of a binary blob: it is
searched for, never unpacked.
"""

from __future__ import annotations

import math
import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from timelens.errors import FormatError
from timelens.formats import safety
from timelens.formats.cytometry.raster import Channels

__all__ = ["Panorama", "RegionRecord", "Schema", "find", "find_beside", "parse"]

_START, _END = "<MCDSchema", "</MCDSchema>"
_OPENING = re.compile(r"<(Slide|Panorama|AcquisitionChannel|Acquisition|AcquisitionROI)(?:\s[^<>]*)?>")
_METAL = re.compile(r"^([A-Za-z]{1,2})\(?(\d{1,3})\)?$")
_NOT_CHANNELS = ("X", "Y", "Z")
#: More text than this is no schema.
MAX_SCHEMA = 1 << 28


@dataclass(frozen=True)
class RegionRecord:
    """What the schema says about one acquisition.

    Parameters
    ----------
    number, name
        Its number and description.
    start, end
        Bytes of its rows in the MCD file.
    shape
        Pixels along (y, x).
    channels
        Its channels in order; the rows hold X, Y, Z before them.
    pixel_um
        Distance of shots along (y, x).
    corner_um
        Slide position (X, Y) where it begins, or None where start and end contradict its size.
    slide
        Number of its slide.
    started
        Time stamp as text.
    """

    number: int
    name: str
    start: int
    end: int
    shape: tuple[int, int]
    channels: Channels
    pixel_um: tuple[float, float]
    corner_um: tuple[float, float] | None
    slide: str
    started: str


@dataclass(frozen=True)
class Panorama:
    """A photograph of the slide inside the MCD: bytes, format, corners (X, Y) in micrometres, number of its slide."""

    number: int
    name: str
    start: int
    end: int
    kind: str
    corners_um: tuple[tuple[float, float], ...]
    slide: str = ""


@dataclass(frozen=True)
class Schema:
    """Regions and panoramas of an MCD file, and whether the text was whole."""

    regions: tuple[RegionRecord, ...]
    panoramas: tuple[Panorama, ...]
    whole: bool


def find(path: str | Path) -> Schema | None:
    """The schema at the end of an MCD file, as far as it is there; the last of several that names regions."""
    with Path(path).open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _latest(data, path, "utf-16-le")


def find_beside(path: str | Path) -> Schema | None:
    """The schema in the ``.schema`` file of the same name, or None."""
    place = Path(path).with_suffix(".schema")
    if not place.is_file() or place.stat().st_size == 0:
        return None
    with place.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _latest(data, place, "utf-8")


def _latest(data: mmap.mmap, path: str | Path, encoding: str) -> Schema | None:
    stop = len(data)
    while (start := data.rfind(_START.encode(encoding), 0, stop)) >= 0:
        end = data.find(_END.encode(encoding), start, stop)
        last = min(end if end >= 0 else stop, start + MAX_SCHEMA)
        schema = parse(data[start:last].decode(encoding, "ignore"), whole=end >= 0, file=path)
        if schema.regions:
            return schema
        stop = start
    return None


def parse(text: str, *, whole: bool = True, file: object = "") -> Schema:
    """The regions and panoramas that a schema's text names; elements that were cut are left out.

    Raises
    ------
    FormatError
        If an element holds what is no number where one belongs.
    """
    found: dict[str, list[dict[str, str]]] = {}
    for kind, body in _elements(text):
        element = safety.parse_xml(f"<e>{body}</e>", file=file, field=kind)
        found.setdefault(kind, []).append({e.tag: (e.text or "").strip() for e in element})
    channels: dict[str, list[tuple[int, str, str]]] = {}
    for record in found.get("AcquisitionChannel", []):
        if record.get("ChannelName") not in _NOT_CHANNELS:
            order = _number(record, "OrderNumber", file)
            channels.setdefault(record.get("AcquisitionID", ""), []).append(
                (int(order), record.get("ChannelName", ""), record.get("ChannelLabel", ""))
            )
    slides = {r.get("ID", ""): r for r in found.get("Slide", [])}
    slide_of_panorama = {r.get("ID", ""): r.get("SlideID", "") for r in found.get("Panorama", [])}
    panorama_of_roi = {r.get("ID", ""): r.get("PanoramaID", "") for r in found.get("AcquisitionROI", [])}
    regions = []
    for record in found.get("Acquisition", []):
        panorama = panorama_of_roi.get(record.get("AcquisitionROIID", ""), "")
        slide = slide_of_panorama.get(panorama, next(iter(slides)) if len(slides) == 1 else "")
        regions.append(_region(record, channels.get(record.get("ID", ""), []), slide, file))
    panoramas = [p for r in found.get("Panorama", []) if (p := _panorama(r, file)) is not None]
    return Schema(tuple(regions), tuple(panoramas), whole)


def _elements(text: str) -> Iterator[tuple[str, str]]:
    """Kind and body of every element that is whole, in one pass."""
    place = 0
    while (match := _OPENING.search(text, place)) is not None:
        end = text.find(f"</{match[1]}>", match.end())
        if end < 0:
            return  # The elements of a kind stand together: what follows was cut.
        yield match[1], text[match.end() : end]
        place = end


def _number(record: Mapping[str, str], key: str, file: object) -> float:
    try:
        value = float(record[key])
    except (KeyError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(
            "The schema lacks a number", file=file, field=key, found=repr(record.get(key)), expected="a number"
        )
    return value


def _region(record: Mapping[str, str], listed: list[tuple[int, str, str]], slide: str, file: object) -> RegionRecord:
    if record.get("SegmentDataFormat", "Float") != "Float" or int(_number(record, "ValueBytes", file)) != 4:
        raise FormatError(
            "The rows of the region are of an unknown type", file=file, field="SegmentDataFormat",
            found=f"{record.get('SegmentDataFormat')} of {record.get('ValueBytes')} bytes", expected="Float of 4 bytes",
        )  # fmt: skip
    height, width = (int(_number(record, key, file)) for key in ("MaxY", "MaxX"))
    if "AblationDistanceBetweenShotsX" in record:
        dx = _number(record, "AblationDistanceBetweenShotsX", file)
        dy = _number(record, "AblationDistanceBetweenShotsY", file) or dx
    else:
        dx = dy = 1.0
    return RegionRecord(
        number=int(_number(record, "ID", file)),
        name=record.get("Description", ""),
        start=int(_number(record, "DataStartOffset", file)),
        end=int(_number(record, "DataEndOffset", file)),
        shape=(height, width),
        channels=Channels(*(tuple(part) for part in zip(*(_channel(c) for c in sorted(listed)), strict=True)))
        if listed
        else Channels((), ()),
        pixel_um=(dy, dx),
        corner_um=_corner(record, (height * dy, width * dx)),
        slide=slide,
        started=record.get("StartTimeStamp", ""),
    )


def _channel(listed: tuple[int, str, str]) -> tuple[str, str]:
    match = _METAL.match(listed[1])
    return (match[1] + match[2] if match else listed[1]), listed[2]


def _corner(record: Mapping[str, str], size_um: tuple[float, float]) -> tuple[float, float] | None:
    """Where a region begins: some software writes the start in thousandths of a micrometre, the end never."""
    try:
        start = [float(record[f"ROIStart{n}PosUm"]) for n in "XY"]
        end = [float(record[f"ROIEnd{n}PosUm"]) for n in "XY"]
    except (KeyError, ValueError):
        return None
    for factor in (1e-3, 1.0):
        x, y = (s * factor for s in start)
        # The stage stops within two lines of the nominal end.
        if abs(abs(end[0] - x) - size_um[1]) <= 2 and abs(abs(end[1] - y) - size_um[0]) <= 2:
            return x, y
    return None


def _panorama(record: Mapping[str, str], file: object) -> Panorama | None:
    start, end = (int(_number(record, f"Image{n}Offset", file)) for n in ("Start", "End"))
    if start == end:
        return None
    corners = tuple(
        (_number(record, f"SlideX{n}PosUm", file), _number(record, f"SlideY{n}PosUm", file)) for n in range(1, 5)
    )
    return Panorama(int(_number(record, "ID", file)), record.get("Description", ""), start, end,
                    record.get("ImageFormat", "").upper(), corners, record.get("SlideID", ""))  # fmt: skip
