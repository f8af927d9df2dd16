"""Regions found in an MCD file by the look of their rows, where no text says where they lie.

A region is a run of float32 rows ``X Y Z channel ...`` in which X counts through a line, Y counts lines and Z counts
pixels. The first three pixels, (0, 0, 0), (1, 0, 1) and (2, 0, 2), are searched for; their distance is the length
of a row, and the run goes on as long as the three numbers keep counting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Block", "find_blocks"]

_SECOND = np.array([1, 0, 1], "<f4").tobytes()
_THIRD = np.array([2, 0, 2], "<f4").tobytes()
_FIRST = bytes(12)
#: No mass cytometer has more channels.
_MOST_CHANNELS = 256
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Block:
    """A region's rows in a file: first byte, channels, pixels that are there, and the length of a line."""

    start: int
    channels: int
    pixels: int
    width: int

    @property
    def lines(self) -> int:
        """Lines begun."""
        return -(-self.pixels // self.width)


def find_blocks(path: str | Path) -> list[Block]:
    """All runs of rows of at least two lines, in order of their place."""
    found: list[Block] = []
    raw = memoryview(np.memmap(path, np.uint8, mode="r"))  # type: ignore[arg-type]
    past = 0
    for match in re.finditer(re.escape(_SECOND), raw):
        if match.start() < past:
            continue
        block = _block(raw, match.start())
        if block is not None:
            found.append(block)
            past = block.start + block.pixels * (3 + block.channels) * 4
    return found


def _block(raw: memoryview, second: int) -> Block | None:
    """The run whose second row begins there."""
    for channels in range(1, _MOST_CHANNELS + 1):
        size = (3 + channels) * 4
        start = second - size
        if start < 0:
            return None
        if raw[start : start + 12] == _FIRST and raw[second + size : second + size + 12] == _THIRD:
            block = _follow(raw, start, channels)
            if block is not None:
                return block
    return None


def _follow(raw: memoryview, start: int, channels: int) -> Block | None:
    row = 3 + channels
    rows = (len(raw) - start) // (row * 4)
    width, pixels = 0, 0
    while pixels < rows:
        count = min(_CHUNK, rows - pixels)
        part = np.frombuffer(raw, "<f4", count * row, start + pixels * row * 4).reshape(count, row)
        if not width:
            turned = np.flatnonzero(part[:, 1] == 1)
            if not len(turned):
                return None
            width = int(turned[0])
        number = np.arange(pixels, pixels + count)
        good = (part[:, 0] == number % width) & (part[:, 1] == number // width) & (part[:, 2] == number)
        if not good.all():
            pixels += int(np.argmin(good))
            break
        pixels += count
    return Block(start, channels, pixels, width) if width and pixels >= 2 * width else None
