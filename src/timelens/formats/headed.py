"""Text tables whose column heads hold units: ``time[minutes]``, ``blood (kBq/cc)``; PMOD, Turku and plain CSV.

Columns are separated by tabs, else semicolons, else commas, else blanks, whichever the head holds. Lines that begin
with ``#`` are comments; ``# unit := kBq/mL`` and ``# timeunit := min`` among them hold for columns that state nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from timelens.errors import FormatError
from timelens.formats import safety

__all__ = ["HeadedTable", "parse_headed", "read_headed", "split_head"]

_UNIT = re.compile(r"^\s*(?P<name>[^\[\]()]*?)\s*(?:\[(?P<square>[^\[\]]*)\]|\((?P<round>[^()]*)\))\s*$")
_COMMENT = re.compile(r"^#\s*(?P<key>[A-Za-z_ ]+?)\s*:?=\s*(?P<value>.+?)\s*$")


@dataclass(frozen=True)
class HeadedTable:
    """Names and units of the columns (None where none is stated), rows of text, and what the comments say."""

    names: tuple[str, ...]
    units: tuple[str | None, ...]
    rows: tuple[tuple[str, ...], ...]
    comments: dict[str, str] = field(default_factory=dict)


def split_head(cell: str) -> tuple[str, str | None]:
    """Name and unit of a column head.

    >>> split_head("time[minutes]"), split_head("plasma (kBq/cc)"), split_head("weight")
    (('time', 'minutes'), ('plasma', 'kBq/cc'), ('weight', None))
    """
    match = _UNIT.match(cell.strip().strip('"'))
    if match is None:
        return cell.strip().strip('"').strip(), None
    text = match["square"] if match["square"] is not None else match["round"]
    return match["name"].strip(), text.strip() or None


def read_headed(path: str | Path) -> HeadedTable:
    """Read such a table; see :func:`parse_headed`."""
    return parse_headed(safety.read_text(path), file=path)


def parse_headed(text: str, *, file: object = "") -> HeadedTable:
    """Split a text into head and rows; cells stay text.

    Raises
    ------
    FormatError
        If there is no head with at least two columns, or no row.
    """
    comments: dict[str, str] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            if found := _COMMENT.match(line.strip()):
                comments[found["key"].strip().lower()] = found["value"]
        elif line.strip():
            lines.append(line)
    if len(lines) < 2:
        raise FormatError(
            "The file holds no samples", file=file, field="rows", found=len(lines), expected="a head, rows"
        )
    best = next((mark for mark in ("\t", ";", ",") if mark in lines[0]), None)
    heads = [split_head(cell) for cell in _cells(lines[0], best)]
    if len(heads) < 2:
        raise FormatError(
            "The head does not name the columns",
            file=file,
            field="columns",
            found=repr(lines[0][:80]),
            expected="name[unit] for each column, separated by tabs, commas, semicolons or blanks",
        )
    rows = tuple(tuple(cell.strip().strip('"') for cell in _cells(line, best)) for line in lines[1:])
    return HeadedTable(tuple(n for n, _ in heads), tuple(u for _, u in heads), rows, comments)


def _cells(line: str, mark: str | None) -> list[str]:
    if mark is None:  # blanks inside of brackets do not separate
        return re.findall(r"(?:[^\s\[\]()]|\[[^\]]*\]|\([^)]*\))+", line)
    return line.rstrip("\r\n").split(mark)
