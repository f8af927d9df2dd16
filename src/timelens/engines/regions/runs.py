"""Compiled loops over runs of voxels. Rows are numbered z * ny + y; a run covers x0 <= x < x1 of its row.

The loops release the interpreter lock and use one thread: parallel sections of OpenMP do not survive ``fork``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

__all__: list[str] = []

Int64 = npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
def count_runs(rows: npt.NDArray[Any]) -> Int64:
    """Runs of equal non-zero value in each row of a (rows, x) array."""
    counts = np.zeros(rows.shape[0], dtype=np.int64)
    for r in range(rows.shape[0]):
        # This reduction is vectorised, so that empty rows cost no more than reading them.
        seen = rows[r, 0] & 0
        for x in range(rows.shape[1]):
            seen |= rows[r, x]
        if seen == 0:
            continue
        before = rows[r, 0] & 0
        for x in range(rows.shape[1]):
            value = rows[r, x]
            if value != before:
                if value != 0:
                    counts[r] += 1
                before = value
    return counts


@njit(cache=True, nogil=True)
def fill_runs(rows: npt.NDArray[Any], counts: Int64) -> tuple[Int64, Int64, Int64, int]:
    """First x, past-the-end x and value of the runs that :func:`count_runs` counted, and the smallest value."""
    total = counts.sum()
    x0 = np.empty(total, dtype=np.int64)
    x1 = np.empty(total, dtype=np.int64)
    values = np.empty(total, dtype=np.int64)
    smallest = 0
    n = 0
    for r in range(rows.shape[0]):
        if counts[r] == 0:
            continue
        before = rows[r, 0] & 0
        for x in range(rows.shape[1]):
            value = rows[r, x]
            if value != before:
                if before != 0:
                    x1[n] = x
                    n += 1
                if value != 0:
                    x0[n] = x
                    values[n] = value
                    if value < smallest:
                        smallest = value
                before = value
        if before != 0:
            x1[n] = rows.shape[1]
            n += 1
    return x0, x1, values, smallest


@njit(cache=True, nogil=True)
def _root(parent: Int64, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def _join(parent: Int64, x0: Int64, x1: Int64, i: int, i_end: int, j: int, j_end: int, reach: int) -> None:
    """Unite touching runs of two rows; ``reach`` 1 lets runs touch across a corner."""
    while i < i_end and j < j_end:
        if x0[i] < x1[j] + reach and x0[j] < x1[i] + reach:
            a = _root(parent, i)
            b = _root(parent, j)
            # The lower root wins: components are numbered by their first voxel.
            if a < b:
                parent[b] = a
            elif b < a:
                parent[a] = b
        if x1[i] < x1[j]:
            i += 1
        else:
            j += 1


@njit(cache=True, nogil=True)
def join_rows(offsets: Int64, x0: Int64, x1: Int64, nz: int, ny: int, connectivity: int) -> Int64:
    """Union-find forest of the runs: each run's parent."""
    parent = np.arange(len(x0))
    face = 0 if connectivity == 6 else 1
    edge = 1 if connectivity == 26 else 0
    for z in range(nz):
        for y in range(ny):
            row = z * ny + y
            i, i_end = offsets[row], offsets[row + 1]
            if i == i_end:
                continue
            if y > 0:
                _join(parent, x0, x1, i, i_end, offsets[row - 1], offsets[row], face)
            if z > 0:
                above = row - ny
                _join(parent, x0, x1, i, i_end, offsets[above], offsets[above + 1], face)
                if connectivity > 6:
                    if y > 0:
                        _join(parent, x0, x1, i, i_end, offsets[above - 1], offsets[above], edge)
                    if y < ny - 1:
                        _join(parent, x0, x1, i, i_end, offsets[above + 1], offsets[above + 2], edge)
    return parent


@njit(cache=True, nogil=True)
def flatten(parent: Int64) -> tuple[Int64, int]:
    """Component number of each run, 0 to n - 1 by first voxel, and n."""
    numbers = np.empty(len(parent), dtype=np.int64)
    n = 0
    for i in range(len(parent)):
        # A parent comes before its children, so its number is known.
        if parent[i] == i:
            numbers[i] = n
            n += 1
        else:
            numbers[i] = numbers[parent[i]]
    return numbers, n


@njit(cache=True, nogil=True)
def boxes(starts: Int64, lengths: Int64, offsets: Int64, ny: int, nx: int) -> tuple[Int64, Int64, Int64]:
    """Voxel counts and half-open bounding boxes of the regions."""
    n = len(offsets) - 1
    counts = np.zeros(n, dtype=np.int64)
    lower = np.zeros((n, 3), dtype=np.int64)
    upper = np.zeros((n, 3), dtype=np.int64)
    for k in range(n):
        for r in range(offsets[k], offsets[k + 1]):
            row = starts[r] // nx
            x = starts[r] - row * nx
            z = row // ny
            y = row - z * ny
            if counts[k] == 0:
                lower[k, 0], lower[k, 1], lower[k, 2] = z, y, x
            counts[k] += lengths[r]
            lower[k, 1] = min(lower[k, 1], y)
            lower[k, 2] = min(lower[k, 2], x)
            upper[k, 0] = z + 1
            upper[k, 1] = max(upper[k, 1], y + 1)
            upper[k, 2] = max(upper[k, 2], x + lengths[r])
    return counts, lower, upper


@njit(cache=True, nogil=True)
def index_sums(starts: Int64, lengths: Int64, offsets: Int64, ny: int, nx: int) -> npt.NDArray[np.float64]:
    """Sums of z, y and x over the voxels of each region."""
    n = len(offsets) - 1
    sums = np.zeros((n, 3))
    for k in range(n):
        for r in range(offsets[k], offsets[k + 1]):
            row = starts[r] // nx
            x = starts[r] - row * nx
            length = lengths[r]
            sums[k, 0] += (row // ny) * length
            sums[k, 1] += (row % ny) * length
            sums[k, 2] += x * length + length * (length - 1) / 2
    return sums


@njit(cache=True, nogil=True)
def expand(starts: Int64, lengths: Int64, total: int) -> Int64:
    """Flat indices of all voxels of the runs."""
    out = np.empty(total, dtype=np.int64)
    n = 0
    for r in range(len(starts)):
        for i in range(lengths[r]):
            out[n] = starts[r] + i
            n += 1
    return out


@njit(cache=True, nogil=True)
def paint(volume: npt.NDArray[Any], starts: Int64, lengths: Int64, labels: npt.NDArray[Any]) -> None:
    """Write each run's label into a flat volume."""
    for r in range(len(starts)):
        # Most runs are short: a loop costs less than a slice.
        for i in range(starts[r], starts[r] + lengths[r]):
            volume[i] = labels[r]


@njit(cache=True, nogil=True)
def paint_box(box: npt.NDArray[np.uint8], starts: Int64, lengths: Int64, lower: Int64, ny: int, nx: int) -> None:
    """Set the voxels of the runs in a box whose first voxel has index ``lower`` in the volume."""
    for r in range(len(starts)):
        row = starts[r] // nx
        x = starts[r] - row * nx - lower[2]
        box[row // ny - lower[0], row % ny - lower[1], x : x + lengths[r]] = 1


@njit(cache=True, nogil=True)
def gather(
    flat: npt.NDArray[Any], first: int, starts: Int64, lengths: Int64, places: Int64, out: npt.NDArray[Any]
) -> None:
    """Copy the runs that lie in ``flat``, whose first voxel has flat index ``first``, to their places in ``out``."""
    end = first + len(flat)
    for r in range(len(starts)):
        if starts[r] >= first and starts[r] < end:
            for i in range(lengths[r]):
                out[places[r] + i] = flat[starts[r] - first + i]
