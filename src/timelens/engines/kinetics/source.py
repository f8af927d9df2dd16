"""Where a map takes its voxels from, a slab at a time: an array, or anything that can read a run of voxels."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["SlabSource", "as_source", "read_run"]


@runtime_checkable
class SlabSource(Protocol):
    """Dynamic data too large for memory: ``shape`` (frames, ...), read as runs of voxels in C order.

    A reader of a file gives this and keeps memory at the size of a slab; several threads call it at once.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, ...)."""

    def slab(self, start: int, stop: int, first: int) -> NDArray[Any]:
        """Voxels ``start`` to ``stop`` of frame ``first`` and all later ones, (frames - first, stop - start)."""


class _ArraySource:
    def __init__(self, array: NDArray[Any]) -> None:
        self.shape = array.shape
        self.flat = array.reshape(array.shape[0], -1)

    def slab(self, start: int, stop: int, first: int) -> NDArray[Any]:
        return self.flat[first:, start:stop]


def read_run(source: SlabSource, start: int, stop: int, first: int) -> tuple[NDArray[Any], int]:
    """A run of voxels as an array (frames - first, ...) and where in its rows the run begins.

    Compiled loops over a slice of a larger array cannot know that its rows are contiguous, and are several times slower
    than over the array itself from some place on.
    """
    if isinstance(source, _ArraySource):
        return source.flat[first:], start
    return source.slab(start, stop, first), 0


def as_source(data: ArrayLike | SlabSource) -> SlabSource:
    """An array as a source; sources pass through."""
    if not isinstance(data, np.ndarray) and isinstance(data, SlabSource):
        return data
    array = np.asarray(data)
    return _ArraySource(array if array.ndim else array.reshape(1))
