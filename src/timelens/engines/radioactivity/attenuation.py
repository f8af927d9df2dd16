"""Attenuation of 511 keV photons: from Hounsfield units to coefficients, and along parallel lines through a slice.

A pair of photons survives with exp(-integral of mu) along its whole line, wherever on the line the decay was. Lines lie
in transaxial planes, at angles spread evenly over half a turn.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array

from timelens.errors import DataError

__all__ = ["WATER_PER_MM", "line_survival", "mu_511kev", "parallel_lines", "seen_along_lines"]

Floats = NDArray[np.float64]

#: Linear attenuation coefficient of water at 511 keV, 1/mm.
WATER_PER_MM = 9.6e-3
#: From 120 kVp: Hounsfield number of the break, and slope (1/cm) and offset (1/cm) above it.
_BREAK, _SLOPE, _OFFSET = 47.0, 5.10e-5, 4.71e-2


def mu_511kev(hounsfield: ArrayLike) -> Floats:
    """Linear attenuation coefficient at 511 keV of a CT taken at 120 kVp.

    Carney JPJ, Townsend DW, Rappoport V, Bendriem B. Med Phys 2006;33:976, doi:10.1118/1.2174132: proportional to
    HU + 1000 up to 47 HU, with a lower slope in bone.

    Parameters
    ----------
    hounsfield
        Hounsfield units, any shape.

    Returns
    -------
    ndarray
        1/mm, never negative.
    """
    hu = np.asarray(hounsfield, dtype=np.float64) + 1000.0
    per_mm = np.where(hu <= _BREAK + 1000, WATER_PER_MM / 1000 * hu, (_SLOPE * hu + _OFFSET) / 10)
    return np.asarray(np.maximum(per_mm, 0.0))


@lru_cache(maxsize=8)
def parallel_lines(rows: int, columns: int, step_y: float, step_x: float, angles: int = 16) -> csr_array:
    """Share of each pixel of a slice that each line takes, for all angles one below the other.

    A pixel is divided between the two lines nearest to its centre, so that the transpose leads back to the pixels.

    Parameters
    ----------
    rows, columns
        Size of the slice.
    step_y, step_x
        Pixel edges in mm.
    angles
        Directions over half a turn.

    Returns
    -------
    sparse array, shape (angles * lines, rows * columns)
        Each column sums to ``angles``. Lines are as far apart as the smaller pixel edge.
    """
    spacing = min(step_y, step_x)
    y, x = np.meshgrid(
        (np.arange(rows) - (rows - 1) / 2) * step_y, (np.arange(columns) - (columns - 1) / 2) * step_x, indexing="ij"
    )
    half = int(np.ceil(np.hypot(y.max(), x.max()) / spacing)) + 1
    lines, pixels = 2 * half + 2, rows * columns
    parts = []
    for k in range(angles):
        turn = np.pi * (k + 0.5) / angles
        place = ((x * np.cos(turn) + y * np.sin(turn)) / spacing + half).ravel()
        low = np.floor(place).astype(int)
        upper = place - low
        number = np.arange(pixels)
        for bins, weights in ((low, 1 - upper), (low + 1, upper)):
            parts.append((weights, k * lines + bins, number))
    values, bins, pixel = (np.concatenate(p) for p in zip(*parts, strict=True))
    return csr_array(coo_array((values, (bins, pixel)), shape=(angles * lines, pixels)))


def line_survival(mu_per_mm: Floats, spacing: tuple[float, float, float], *, angles: int = 16) -> Floats:
    """Survival of photon pairs along every line.

    Parameters
    ----------
    mu_per_mm
        Volume (z, y, x), 1/mm.
    spacing
        Voxel edges (z, y, x) in mm.

    Returns
    -------
    ndarray, shape (angles * lines, z)
        Between 0 and 1.
    """
    matrix, length = _lines(mu_per_mm.shape, spacing, angles)
    return np.asarray(np.exp(-length * (matrix @ mu_per_mm.reshape(mu_per_mm.shape[0], -1).T)))


def seen_along_lines(
    activity: Floats, survival: Floats, spacing: tuple[float, float, float], *, angles: int = 16
) -> Floats:
    """What the lines through each voxel see of an object: line integrals that survive, averaged over the angles.

    It is proportional to the counts on the lines that determine a voxel of the image. Linear in the activity.

    Parameters
    ----------
    activity
        Volumes (..., z, y, x), any unit per mL.
    survival
        From :func:`line_survival`.
    spacing
        Voxel edges (z, y, x) in mm.

    Returns
    -------
    ndarray
        Shape of ``activity``, its unit times mm.
    """
    *_, depth, rows, columns = activity.shape
    matrix, length = _lines((depth, rows, columns), spacing, angles)
    stack = activity.reshape(-1, depth, rows * columns)
    seen = np.empty_like(stack, dtype=np.float64)
    for k, volume in enumerate(stack):
        sinogram = length * (matrix @ volume.T.astype(np.float64)) * survival
        seen[k] = (matrix.T @ sinogram).T / angles
    return seen.reshape(activity.shape)


def _lines(shape: tuple[int, ...], spacing: tuple[float, float, float], angles: int) -> tuple[csr_array, float]:
    """The lines of a slice, and what a pixel's share stands for in mm (its area over the distance of the lines)."""
    if len(shape) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise DataError("Lines run through volumes", field="shape", found=(shape, spacing), expected="(z, y, x) in mm")
    step_y, step_x = float(spacing[1]), float(spacing[2])
    matrix = parallel_lines(shape[1], shape[2], step_y, step_x, angles)
    return matrix, step_y * step_x / min(step_y, step_x)
