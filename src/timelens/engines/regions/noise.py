"""How well a region's mean is known, from the noise in a homogeneous reference region.

Neighbouring voxels of a reconstructed image share their noise, so a mean over n voxels is less certain than
SD / sqrt(n). The noise is taken as white noise smoothed by a Gaussian, whose width is estimated from the correlation of
neighbours; its autocorrelation at distance d is exp(-d^2 / 4 sigma^2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import convolve1d, gaussian_filter, gaussian_filter1d

from timelens.engines.regions.grid import FloatArray, checked_spacing
from timelens.engines.regions.partial_volume import FWHM_PER_SIGMA
from timelens.errors import DataError

__all__ = [
    "LEAST_REFERENCE_VOXELS",
    "correlated_noise",
    "correlation_length",
    "mean_standard_error",
    "weighted_standard_error",
]

LEAST_REFERENCE_VOXELS = 100
"""Fewer voxels do not tell noise from chance."""
#: The Gaussian that smooths noise is followed this many standard deviations.
_REACH = 5.0


def correlated_noise(
    shape: Sequence[int], sigma_voxels: Sequence[float] | npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Normal noise of mean 0 and variance 1, smoothed by a Gaussian that wraps around.

    Parameters
    ----------
    shape
        Of the volume (z, y, x).
    sigma_voxels
        Standard deviation of the Gaussian along each axis, in voxels; 0 for white noise.
    rng
        Source of randomness.
    """
    field = rng.standard_normal(tuple(shape), dtype=np.float32)
    kept = 1.0  # the part of the variance of white noise that the Gaussian leaves
    for width, n in zip(sigma_voxels, shape, strict=True):
        point = np.zeros(n)
        point[n // 2] = 1.0
        if width > 0:
            kept *= float((gaussian_filter1d(point, width, mode="wrap", truncate=_REACH) ** 2).sum())
    smooth = gaussian_filter(field, sigma_voxels, mode="wrap", truncate=_REACH)
    return np.asarray(smooth / np.float32(np.sqrt(kept)), np.float32)


def correlation_length(
    image: FloatArray, reference: npt.NDArray[Any], spacing: Sequence[float]
) -> tuple[float, npt.NDArray[np.float64]]:
    """Standard deviation of the noise, and its correlation length along each axis.

    Parameters
    ----------
    image
        Volume (z, y, x).
    reference
        Mask of a homogeneous region (liver, a phantom's background).
    spacing
        Voxel edges (z, y, x) in mm.

    Returns
    -------
    sd, fwhm_mm
        In the image's unit (n - 1 in the denominator), and the FWHM (z, y, x) of the Gaussian that smoothed the noise;
        0 along an axis whose neighbours are not correlated. A region that is not homogeneous gives too large values.
    """
    edges = checked_spacing(spacing)
    inside = np.asarray(reference) != 0
    values = np.asarray(image)[inside].astype(np.float64)
    if len(values) < LEAST_REFERENCE_VOXELS or not np.all(np.isfinite(values)):
        raise DataError(
            "The noise cannot be estimated in this reference region",
            field="reference",
            found=f"{len(values)} voxels" if len(values) < LEAST_REFERENCE_VOXELS else "values that are not finite",
            expected=f"at least {LEAST_REFERENCE_VOXELS} voxels with finite values",
            mend="choose a larger homogeneous region",
        )
    variance = values.var(ddof=1)
    widths = np.zeros(3)
    for axis in range(3):
        both = np.take(inside, range(inside.shape[axis] - 1), axis) & np.take(
            inside, range(1, inside.shape[axis]), axis
        )
        if variance > 0 and both.any():
            first = np.take(image, range(inside.shape[axis] - 1), axis)[both].astype(np.float64)
            second = np.take(image, range(1, inside.shape[axis]), axis)[both].astype(np.float64)
            correlation = np.mean((first - values.mean()) * (second - values.mean())) / variance
            if 0 < correlation < 1:
                widths[axis] = FWHM_PER_SIGMA * edges[axis] / np.sqrt(-4 * np.log(correlation))
    return float(np.sqrt(variance)), widths


def weighted_standard_error(
    weights: npt.ArrayLike, spacing: Sequence[float], fwhm_mm: Sequence[float] | npt.NDArray[np.float64]
) -> float:
    """Standard error of a weighted sum of voxels whose noise is correlated over ``fwhm_mm``.

    The variance is the sum of w C w' over all pairs of voxels, with the autocorrelation C of the noise.

    Parameters
    ----------
    weights
        Weight of each voxel times the standard deviation of its noise (z, y, x); the box around the weights is enough.
    spacing
        Voxel edges (z, y, x) in mm.
    fwhm_mm
        As :func:`correlation_length` gives it.
    """
    edges = checked_spacing(spacing)
    own = np.asarray(weights, dtype=np.float64)
    summed = own
    for axis, width in enumerate(np.asarray(fwhm_mm, dtype=np.float64)):
        if width > 0:
            sigma = width / FWHM_PER_SIGMA
            reach = int(np.ceil(8 * sigma / edges[axis]))
            lags = np.arange(-reach, reach + 1) * edges[axis]
            summed = convolve1d(summed, np.exp(-(lags**2) / (4 * sigma**2)), axis=axis, mode="constant")
    return float(np.sqrt(max(float((own * summed).sum()), 0.0)))


def mean_standard_error(
    mask: npt.NDArray[Any], spacing: Sequence[float], sd: float, fwhm_mm: Sequence[float] | npt.NDArray[np.float64]
) -> float:
    """Standard error of the mean over a region whose voxels have noise ``sd`` correlated over ``fwhm_mm``.

    Parameters
    ----------
    mask
        The region (z, y, x), not 0 inside; its bounding box is enough.
    spacing
        Voxel edges (z, y, x) in mm.
    sd, fwhm_mm
        As :func:`correlation_length` gives them.
    """
    inside = np.asarray(mask) != 0
    n = int(inside.sum())
    return weighted_standard_error(inside * (sd / n), spacing, fwhm_mm) if n else float("nan")
