"""Poisson counts of many pixels that share few mean values: by inversion, several times faster than pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["count_ions"]

#: Above this mean, sums of small terms take too many steps: the generator's own method is taken.
_MOST = 60.0


def count_ions(
    levels: NDArray[np.floating[Any]], row: NDArray[np.integer[Any]], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw a count for each pixel and channel.

    Parameters
    ----------
    levels
        Mean counts, shape (rows, channels).
    row
        Row of ``levels`` that each pixel has, shape (y, x).
    rng
        Same state, same counts.

    Returns
    -------
    ndarray of float32, shape (channels, y, x)
        Whole numbers.
    """
    flat = np.ascontiguousarray(row, np.int64).ravel()
    found = np.empty((levels.shape[1], flat.size), np.float32)
    for k, counts in enumerate(found):
        mean = np.ascontiguousarray(levels[:, k], np.float64)
        _invert(mean, np.exp(-mean), flat, rng.random(flat.size), counts)
        bright = np.flatnonzero(mean[flat] > _MOST)
        counts[bright] = rng.poisson(mean[flat[bright]])
    return found.reshape(levels.shape[1], *row.shape)


@njit(cache=True)
def _invert(mean, nothing, row, uniform, counts):  # type: ignore[no-untyped-def]
    """The least count whose probability of not being exceeded reaches the uniform number; 0 for bright pixels."""
    for i in range(row.size):
        m = mean[row[i]]
        if m > _MOST:
            counts[i] = 0.0
            continue
        term = nothing[row[i]]
        below = term
        n = 0
        while uniform[i] > below and term > 0.0:
            n += 1
            term *= m / n
            below += term
        counts[i] = n
