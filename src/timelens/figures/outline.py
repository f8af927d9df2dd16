"""Where regions lie in a label volume, and their outlines along voxel edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["edges", "voxels_by_region"]


def voxels_by_region(labels: NDArray[Any]) -> dict[int, NDArray[np.intp]]:
    """The indices (n, 3) of each region's voxels, in the order of region numbers.

    Only voxels with a label are touched, so that a whole-body volume costs one pass.
    """
    flat = np.flatnonzero(labels)
    numbers = labels.reshape(-1)[flat]
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    index = np.stack(np.unravel_index(flat[order], labels.shape), axis=1)
    return {int(n): part for n, part in zip(found, np.split(index, starts[1:]), strict=True)} if len(found) else {}


def edges(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
    """The outline of a set of pixels.

    Parameters
    ----------
    rows, columns
        Pixel indices; repeats are allowed (a projection).

    Returns
    -------
    ndarray of float, shape (n, 2, 2)
        Segments from (column, row) to (column, row) along pixel edges, in index units: a pixel reaches 0.5 either way.
        Straight runs are one segment.
    """
    if not len(rows):
        return np.empty((0, 2, 2))
    top, left = rows.min() - 1, columns.min() - 1
    mask = np.zeros((np.ptp(rows) + 3, np.ptp(columns) + 3), bool)
    mask[rows - top, columns - left] = True
    level = _runs(mask[1:] != mask[:-1])  # an edge below each row
    upright = _runs((mask[:, 1:] != mask[:, :-1]).T)
    horizontal = np.stack([np.stack([level[:, 1], level[:, 0]], 1), np.stack([level[:, 2], level[:, 0]], 1)], axis=1)
    vertical = np.stack([upright[:, [0, 1]], upright[:, [0, 2]]], axis=1)
    # `_runs` counts the edge itself from 0 (so it lies at +0.5) and run ends as pixels' outer sides (at -0.5).
    horizontal = horizontal + np.array([-0.5, 0.5])
    vertical = vertical + np.array([0.5, -0.5])
    return np.concatenate([horizontal, vertical]) + np.array([left, top])


def _runs(lines: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Runs of True in each line, as rows of (line, first, one past the last)."""
    padded = np.pad(lines, ((0, 0), (1, 1))).astype(np.int8)
    change = np.diff(padded, axis=1)
    line, first = np.nonzero(change == 1)
    _, last = np.nonzero(change == -1)
    return np.stack([line, first, last], axis=1)
