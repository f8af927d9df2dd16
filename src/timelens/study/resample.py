"""Resampling of an array onto another grid, given the matrix between their indices.

A target voxel lies inside if its centre lies within the box of the source, that is up to half a voxel beyond the
centres of its outermost voxels; there the outermost value holds (order 0 and 1) or the spline mirrored at it (order 2
and up).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from timelens.errors import DataError

__all__ = ["resample"]

#: Rounding of index arithmetic, in voxels.
_ROUNDING = 1e-6


def resample(
    array: NDArray[Any],
    matrix: NDArray[np.float64],
    shape: tuple[int, int, int],
    *,
    order: int,
    fill: float,
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Values of an array on another grid.

    Parameters
    ----------
    array
        Shape (..., z, y, x).
    matrix
        4 x 4, from target indices (z, y, x, 1) to source indices.
    shape
        Of the target, (z, y, x).
    order
        Spline order: 0 nearest, 1 trilinear, 3 cubic.
    fill
        Value outside of the source.
    dtype
        Of the result.

    Returns
    -------
    ndarray, shape (..., z, y, x) of the target

    Raises
    ------
    DataError
        If values are not finite and the order is 2 or more: a spline would spread them over the whole image.
    """
    leading, source = array.shape[:-3], array.shape[-3:]
    result = np.empty((*leading, *shape), dtype)
    linear = matrix[:3, :3]
    aligned = np.count_nonzero(linear - np.diag(np.diag(linear))) == 0
    for position in np.ndindex(*leading):
        volume = np.asarray(array[position])
        volume = volume.astype(dtype, copy=False)
        if order > 1 and not np.isfinite(volume).all():
            raise DataError(
                "An image with values that are not finite cannot be resampled by a spline",
                found=f"{np.count_nonzero(~np.isfinite(volume))} such values",
                mend="use order 1, or fill them first",
            )
        ndimage.affine_transform(
            volume,
            np.diag(linear) if aligned else linear,  # along the axes it is several times faster
            matrix[:3, 3],
            shape,
            order=order,
            mode="mirror" if order > 1 else "nearest",
            output=result[position],
        )
    for plane, outside in _outside(matrix, shape, source):
        if outside.any():
            result[..., plane, :, :][..., outside] = fill
    return result


def _outside(
    matrix: NDArray[np.float64], shape: tuple[int, int, int], source: tuple[int, ...]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Plane by plane of the target, which voxels lie outside of the source."""
    y, x = np.ogrid[: shape[1], : shape[2]]
    for plane in range(shape[0]):
        outside = np.zeros(shape[1:], bool)
        for axis, size in enumerate(source):
            row = matrix[axis]
            index = row[0] * plane + row[1] * y + row[2] * x + row[3]
            outside |= (index < -0.5 - _ROUNDING) | (index > size - 0.5 + _ROUNDING)
        yield plane, outside
