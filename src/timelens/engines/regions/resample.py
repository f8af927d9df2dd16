"""Resampling of boxes to a cubic grid that shares its centre with the image.

Interpolation on a regular grid is a small matrix along each axis. The matrices are made once for a volume, so that a
box resampled alone has the values it would have in the whole volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.linalg import solve_banded

from timelens.engines.regions.grid import FloatArray, float_slab

__all__ = ["Resampling", "cubic_matrix", "linear_matrix"]

# The prefilter of the cubic spline decays by 0.268 per voxel: 12 voxels away it has fallen to 1.4e-7.
_MARGIN = 12
_NEGLIGIBLE = 1e-8


def _positions(source: int, edge: float, target: float) -> npt.NDArray[np.float64]:
    """Where the new grid's voxels lie, in old indices. Lengths that fit exactly are not rounded up by rounding."""
    number = max(1, int(np.ceil(source * edge / target - 1e-6)))
    return np.asarray((np.arange(number) - (number - 1) / 2) * target / edge + (source - 1) / 2, dtype=np.float64)


def linear_matrix(source: int, positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Linear interpolation at ``positions`` among ``source`` samples; 0 beyond half a voxel outside."""
    matrix = np.zeros((len(positions), source))
    inside = (positions >= -0.5) & (positions <= source - 0.5)
    near = np.clip(positions, 0, source - 1)
    below = np.minimum(np.floor(near).astype(int), max(source - 2, 0))
    share = near - below
    rows = np.arange(len(positions))
    matrix[rows, below] += (1 - share) * inside
    if source > 1:
        matrix[rows, below + 1] += share * inside
    return matrix


def cubic_matrix(source: int, positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cubic spline interpolation at ``positions`` among ``source`` samples, mirrored at the ends.

    The spline goes through the samples (Unser, IEEE Signal Process Mag 1999, doi:10.1109/79.799930); positions
    outside take the value at the end.
    """
    if source < 4:
        # Too few samples for a spline with mirrored ends.
        return linear_matrix(source, np.clip(positions, 0, source - 1))
    near = np.clip(positions, 0, source - 1)
    base = np.floor(near).astype(int)
    t = near - base
    taps = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    evaluate = np.zeros((len(positions), source))
    rows = np.arange(len(positions))
    for offset in range(4):
        place = base + offset - 1
        place = np.where(place < 0, -place, place)
        place = np.where(place > source - 1, 2 * (source - 1) - place, place)
        np.add.at(evaluate, (rows, place), taps[:, offset])
    # B-spline coefficients c solve M c = samples, with M tridiagonal: transposed here to act on the evaluation.
    bands = np.tile(np.array([[1.0], [4.0], [1.0]]) / 6, (1, source))
    bands[0, 1] = bands[2, -2] = 2 / 6
    transposed = np.zeros_like(bands)
    transposed[0, 1:], transposed[1], transposed[2, :-1] = bands[2, :-1], bands[1], bands[0, 1:]
    return np.asarray(solve_banded((1, 1), transposed, evaluate.T).T)


class Resampling:
    """A cubic grid with voxel edge ``target`` mm over a volume, sharing its centre.

    Attributes
    ----------
    shape
        Voxels of the new grid (z, y, x): as many as cover the volume.
    """

    def __init__(self, shape: tuple[int, int, int], spacing: npt.NDArray[np.float64], target: float) -> None:
        self._at = [_positions(n, float(edge), target) for n, edge in zip(shape, spacing, strict=True)]
        self._cubic = [cubic_matrix(n, at) for n, at in zip(shape, self._at, strict=True)]
        self._linear = [linear_matrix(n, at) for n, at in zip(shape, self._at, strict=True)]
        self._source = shape
        self.shape = tuple(len(at) for at in self._at)

    def mask(
        self, box: npt.NDArray[np.uint8], lower: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        """A box of a mask, empty around, on the new grid: at least half inside; and the new box's first index."""
        first, parts = [], []
        for axis in range(3):
            at = self._at[axis]
            start = int(np.searchsorted(at, lower[axis] - 1, side="left"))
            stop = int(np.searchsorted(at, lower[axis] + box.shape[axis], side="right"))
            first.append(start)
            parts.append(self._linear[axis][start:stop, lower[axis] : lower[axis] + box.shape[axis]])
        share = _apply(parts, box, (0, 0, 0))
        # Ties at exactly one half are kept, whatever the rounding.
        return share >= 0.5 - 1e-9, np.array(first)

    def image(self, image: Any, low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]) -> FloatArray:
        """Voxels ``low`` to ``high`` (half open) of the image on the new grid."""
        limits, parts = [], []
        for axis in range(3):
            at = self._at[axis][low[axis] : high[axis]]
            start = max(0, int(np.floor(at[0])) - _MARGIN)
            stop = min(self._source[axis], int(np.ceil(at[-1])) + _MARGIN + 1)
            limits.append((start, stop))
            parts.append(self._cubic[axis][low[axis] : high[axis], start:stop])
        z0, z1 = limits[0]
        values = float_slab(image, z0, z1)
        matrices = [part.astype(values.dtype) for part in parts]
        return _apply(matrices, values, (0, limits[1][0], limits[2][0]))


def _apply(matrices: Sequence[FloatArray], image: npt.NDArray[Any], corner: tuple[int, int, int]) -> FloatArray:
    """Multiply a box of the image along each axis in turn, in the matrices' precision."""
    z, y, x = (np.ascontiguousarray(matrix) for matrix in matrices)
    return np.asarray(_multiply(np.ascontiguousarray(image), *corner, z, y, np.ascontiguousarray(x.T)))


@njit(cache=True, nogil=True)
def _multiply(
    image: npt.NDArray[Any],
    z0: int,
    y0: int,
    x0: int,
    along_z: npt.NDArray[Any],
    along_y: npt.NDArray[Any],
    along_x: npt.NDArray[Any],
) -> npt.NDArray[Any]:
    """Products along z, y and x (the last matrix transposed); all inner loops run along x, without threads."""
    ny, nx = along_y.shape[1], along_x.shape[0]
    nothing = along_z[0, 0] * 0
    # A voxel reaches only a band of the new ones.
    first = np.zeros(nx, dtype=np.int64)
    last = np.zeros(nx, dtype=np.int64)
    for x in range(nx):
        reached = np.flatnonzero(np.abs(along_x[x]) > _NEGLIGIBLE)
        if len(reached) > 0:
            first[x], last[x] = reached[0], reached[-1] + 1
    plane = np.empty((ny, nx), dtype=along_z.dtype)
    line = np.empty(nx, dtype=along_z.dtype)
    out = np.zeros((along_z.shape[0], along_y.shape[0], along_x.shape[1]), dtype=along_z.dtype)
    for i in range(along_z.shape[0]):
        plane[:] = nothing
        for z in range(along_z.shape[1]):
            weight = along_z[i, z]
            if abs(weight) > _NEGLIGIBLE:
                for y in range(ny):
                    source = image[z0 + z, y0 + y, x0 : x0 + nx]
                    for x in range(nx):
                        plane[y, x] += weight * source[x]
        for j in range(along_y.shape[0]):
            line[:] = nothing
            for y in range(ny):
                weight = along_y[j, y]
                if abs(weight) > _NEGLIGIBLE:
                    for x in range(nx):
                        line[x] += weight * plane[y, x]
            for x in range(nx):
                for k in range(first[x], last[x]):
                    out[i, j, k] += line[x] * along_x[x, k]
    return out
