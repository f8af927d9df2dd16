"""What is measured on each cell of a label image: size, place, shape and the mean of every channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import UsageError

__all__ = ["CellMeasures", "measure_cells"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CellMeasures:
    """Arrays with one entry per cell, in the order of their labels.

    Parameters
    ----------
    label
        Number of the cell in the label image.
    area_um2
        Pixels times the area of a pixel.
    y_um, x_um
        Centre of mass from the centre of the first pixel.
    major_um, minor_um
        Full axes of the ellipse with the same second moments.
    eccentricity
        Of that ellipse; 0 is a circle. One pixel has 0.
    mean
        Mean of each channel, shape (cells, channels); NaN where no pixel of the cell was measured.
    measured
        Part of the cell's pixels that were measured, shape (cells, channels).
    at_border
        Whether the cell touches the edge of the image, so that part of it may lie outside.
    """

    label: NDArray[np.int64]
    area_um2: FloatArray
    y_um: FloatArray
    x_um: FloatArray
    major_um: FloatArray
    minor_um: FloatArray
    eccentricity: FloatArray
    mean: FloatArray
    measured: FloatArray
    at_border: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.label)


def measure_cells(image: ArrayLike, labels: ArrayLike, pixel_um: tuple[float, float]) -> CellMeasures:
    """Measure all cells of a label image.

    Parameters
    ----------
    image
        Channels (c, y, x); NaN where nothing was measured, left out of means.
    labels
        Whole numbers (y, x), 0 outside of cells. Numbers may be missing.
    pixel_um
        Size of a pixel along (y, x) in micrometres.

    Raises
    ------
    UsageError
        If shapes differ, labels are not whole numbers from 0, or the size of a pixel is not positive.
    """
    values, marks = np.asarray(image), np.asarray(labels)
    if values.ndim != 3 or marks.ndim != 2 or values.shape[1:] != marks.shape:
        raise UsageError(
            "Image and labels differ in size", field="labels", found=marks.shape, expected=values.shape[1:]
        )
    if marks.dtype.kind not in "iub" or marks.min(initial=0) < 0:
        raise UsageError("Labels are whole numbers, 0 outside of cells", field="labels", found=marks.dtype)
    dy, dx = pixel_um
    if not (np.isfinite(pixel_um).all() and min(pixel_um) > 0):
        raise UsageError("A pixel has a positive size", field="pixel_um", found=pixel_um, expected="um along (y, x)")
    inside = np.flatnonzero(marks)
    label, cell = np.unique(marks.ravel()[inside].astype(np.int64), return_inverse=True)
    n = len(label)
    row, column = np.divmod(inside, marks.shape[1])
    pixels = np.bincount(cell, minlength=n).astype(np.float64)
    y, x = (np.bincount(cell, part, n) / pixels for part in (row, column))
    # Moments about each cell's own centre: those about the corner lose digits in large images.
    off_y, off_x = (row - y[cell]) * dy, (column - x[cell]) * dx
    yy, xx, yx = (np.bincount(cell, part, n) / pixels for part in (off_y * off_y, off_x * off_x, off_y * off_x))
    half, spread = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
    large, small = half + spread, np.maximum(half - spread, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        eccentricity = np.where(large > 0, np.sqrt(1 - small / large), 0.0)
    mean, measured = np.empty((2, n, values.shape[0]))
    for k, plane in enumerate(values):
        mean[:, k], measured[:, k] = _mean(plane.ravel()[inside], cell, pixels)
    edge = np.zeros(n, bool)
    edge[cell[(row == 0) | (row == marks.shape[0] - 1) | (column == 0) | (column == marks.shape[1] - 1)]] = True
    return CellMeasures(label, pixels * dy * dx, y * dy, x * dx, 4 * np.sqrt(large), 4 * np.sqrt(small), eccentricity,
                        mean, measured, edge)  # fmt: skip


def _mean(values: NDArray[np.float32], cell: NDArray[np.int64], pixels: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean of the measured pixels of each cell, and which part of the cell they are."""
    known = np.isfinite(values)
    if known.all():
        return np.bincount(cell, values, len(pixels)) / pixels, np.ones(len(pixels))
    counted = np.bincount(cell[known], minlength=len(pixels)).astype(np.float64)
    total = np.bincount(cell[known], values[known], len(pixels))
    return np.divide(total, counted, out=np.full(len(pixels), np.nan), where=counted > 0), counted / pixels
