"""What every region function checks about its arrays.

Volumes are indexed (z, y, x); ``spacing`` is the voxel edge length along the same axes in millimetres. Volumes may be
lazy: anything with ``shape`` and ``dtype`` that gives an array when sliced along its first axis (dask, zarr, HDF5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from timelens.errors import DataError, GeometryError, UsageError

__all__ = [
    "SLAB_VOXELS",
    "FloatArray",
    "IntArray",
    "checked_shape",
    "checked_spacing",
    "float_slab",
    "same_grid",
    "slab",
    "slab_limits",
    "voxel_volume_ml",
]

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

SLAB_VOXELS = 1 << 23
"""Voxels of a lazy volume held in memory at a time."""


def checked_spacing(spacing: Sequence[float] | FloatArray) -> npt.NDArray[np.float64]:
    """Three positive voxel edge lengths (z, y, x) in mm, or a refusal."""
    edges = np.asarray(spacing, dtype=np.float64)
    if edges.shape != (3,) or not np.all(np.isfinite(edges)) or np.any(edges <= 0):
        raise DataError(
            "The voxel spacing is not usable",
            field="spacing",
            found=np.array2string(edges),
            expected="three positive lengths (z, y, x) in mm",
            mend="give the spacing that belongs to the image",
        )
    return edges


def voxel_volume_ml(spacing: Sequence[float] | FloatArray) -> float:
    """Volume of one voxel in mL."""
    return float(np.prod(checked_spacing(spacing))) / 1000.0


def checked_shape(volume: Any, field: str) -> tuple[int, int, int]:
    """The shape of a three-dimensional volume, or a refusal."""
    shape = tuple(int(edge) for edge in volume.shape)
    if len(shape) != 3:
        raise UsageError(
            "Regions are measured on three-dimensional volumes",
            field=field,
            found=f"{len(shape)} dimensions",
            expected="(z, y, x)",
            mend="take one frame and one channel",
        )
    return shape[0], shape[1], shape[2]


def slab_limits(volume: Any) -> list[tuple[int, int]]:
    """Ranges of the first axis in which a volume is read: one for an array in memory, several for a lazy one."""
    nz, ny, nx = volume.shape
    if isinstance(volume, np.ndarray):
        return [(0, nz)]
    step = max(1, SLAB_VOXELS // max(1, ny * nx))
    return [(start, min(start + step, nz)) for start in range(0, nz, step)]


def slab(volume: Any, start: int, stop: int) -> npt.NDArray[Any]:
    """Slices ``start`` to ``stop`` as a C-ordered array; a view where the volume is one already."""
    return np.ascontiguousarray(volume[start:stop])


def float_slab(volume: Any, start: int, stop: int) -> FloatArray:
    """As :func:`slab`, with integers and half precision converted to single or double precision."""
    part = slab(volume, start, stop)
    if part.dtype in (np.float32, np.float64):
        return part
    if part.dtype.kind not in "fiub":
        raise DataError(
            "The image does not hold real numbers",
            field="image",
            found=str(part.dtype),
            expected="a real image",
            mend="take its magnitude or real part",
        )
    # 24 bits of mantissa hold every value of the small types exactly.
    return part.astype(np.float32 if part.dtype.itemsize <= 2 else np.float64)


def same_grid(shape: tuple[int, int, int], volume: Any | None, field: str) -> None:
    """Refuse a volume whose shape differs; None passes."""
    if volume is not None and tuple(volume.shape) != shape:
        raise GeometryError(
            "Two volumes are not on one grid",
            field=field,
            found=tuple(volume.shape),
            expected=shape,
            mend="resample it to the image by nearest neighbour",
        )
