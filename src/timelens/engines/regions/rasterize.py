"""Planar polygons to voxels: a pixel is inside where its centre is, by the even-odd rule.

Coordinates are (x, y) in pixels, with pixel centres at whole numbers. Edges are half open (left and upper edges belong
to the polygon, right and lower ones do not), so polygons that share an edge share no pixel and leave none out. Polygons
of one slice are combined by exclusive or: one inside another is a hole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from timelens.errors import DataError, UsageError

__all__ = ["rasterize_polygons", "rasterize_slice"]

Mask2D = npt.NDArray[np.bool_]


def rasterize_slice(polygons: Iterable[npt.ArrayLike], shape: tuple[int, int]) -> Mask2D:
    """Polygons of one slice as a mask.

    Parameters
    ----------
    polygons
        Each of shape (points, 2) with columns x, y; closed by an edge from the last point to the first. Parts beyond
        the slice are cut off.
    shape
        Rows and columns (y, x) of the mask.
    """
    mask = np.zeros(shape, dtype=np.bool_)
    for polygon in polygons:
        _toggle(mask, _checked(polygon))
    return mask


def rasterize_polygons(
    polygons: Sequence[tuple[int, npt.ArrayLike]], shape: tuple[int, int, int]
) -> npt.NDArray[np.bool_]:
    """Polygons with their slice numbers as a mask of a volume (z, y, x); see :func:`rasterize_slice`."""
    mask = np.zeros(shape, dtype=np.bool_)
    for number, polygon in polygons:
        if not 0 <= number < shape[0]:
            raise DataError(
                "A contour lies outside the volume",
                field="polygons",
                found=f"slice {number}",
                expected=f"0 to {shape[0] - 1}",
                mend="use the series on which the contours were drawn",
            )
        _toggle(mask[number], _checked(polygon))
    return mask


def _checked(polygon: npt.ArrayLike) -> npt.NDArray[np.float64]:
    points = np.ascontiguousarray(polygon, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise UsageError("A polygon has two columns, x and y", field="polygons", found=points.shape, expected="(n, 2)")
    if len(points) < 3 or not np.all(np.isfinite(points)):
        raise DataError(
            "A contour encloses no area",
            field="polygons",
            found=f"{len(points)} points" if len(points) < 3 else "points that are not finite",
            expected="at least three finite points",
            mend="leave points and open lines out",
        )
    return points


@njit(cache=True, nogil=True)
def _toggle(mask: npt.NDArray[Any], points: npt.NDArray[np.float64]) -> None:
    """Invert the pixels whose centres the polygon encloses."""
    ny, nx = mask.shape
    n = len(points)
    crossings = np.empty(n)
    top = max(0, int(np.ceil(max(points[:, 1].min(), -1.0))))
    bottom = min(ny - 1, int(np.floor(min(points[:, 1].max(), float(ny)))))
    for y in range(top, bottom + 1):
        m = 0
        for i in range(n):
            j = i + 1 if i + 1 < n else 0
            # An edge counts from its upper end (included) to its lower end (excluded).
            if (points[i, 1] <= y) != (points[j, 1] <= y):
                a, b = (i, j) if points[i, 1] < points[j, 1] else (j, i)
                share = (y - points[a, 1]) / (points[b, 1] - points[a, 1])
                crossings[m] = points[a, 0] + share * (points[b, 0] - points[a, 0])
                m += 1
        crossings[:m].sort()
        for k in range(0, m - 1, 2):
            first = max(0, int(np.ceil(max(crossings[k], -1.0))))
            for x in range(first, nx):
                if x >= crossings[k + 1]:
                    break
                mask[y, x] = not mask[y, x]
