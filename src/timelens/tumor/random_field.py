"""Random fields that belong to the tumour and not to the grid: the same seed gives the same pattern at any voxel size.

Normal numbers sit on a lattice in millimetres, which repeats itself after :data:`LATTICE` knots, and a cubic B-spline
runs between them. Dividing by the root of the summed squares of its weights gives mean 0 and variance 1 at every point.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["LATTICE", "random_field", "stream"]

#: Knots along each axis before the pattern repeats.
LATTICE = 48

Axes = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def stream(seed: int, purpose: str) -> np.random.Generator:
    """A generator of its own for each purpose, so that one more of them changes none of the others."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def random_field(rng: np.random.Generator, axes: Axes, length_mm: float) -> NDArray[np.float32]:
    """A normal field with variance 1 on the points of a grid.

    Parameters
    ----------
    rng
        Draws the numbers on the lattice.
    axes
        Coordinates along z, y and x in mm.
    length_mm
        Distance of the knots; the correlation falls to a half within about this length.

    Returns
    -------
    ndarray
        float32 of shape (z, y, x).
    """
    values = rng.standard_normal((LATTICE,) * 3, dtype=np.float32)
    for axis, points in enumerate(axes):
        values = np.moveaxis(_along_first(np.moveaxis(values, axis, 0), points / length_mm), 0, axis)
    return np.ascontiguousarray(values)


def _along_first(values: NDArray[np.float32], position: NDArray[np.float64]) -> NDArray[np.float32]:
    """B-spline values at positions along the first axis, with unit variance."""
    whole = np.floor(position)
    t = position - whole
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3])
    weights = (weights / np.sqrt((weights**2).sum(axis=0))).astype(np.float32)
    first = whole.astype(np.int64) - 1
    shape = (-1, *[1] * (values.ndim - 1))
    result = weights[0].reshape(shape) * values[first % LATTICE]
    for k in range(1, 4):
        result += weights[k].reshape(shape) * values[(first + k) % LATTICE]
    return result
