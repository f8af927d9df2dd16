"""Partial-volume effect: how much of a lesion's uptake a scanner of finite resolution shows, and the way back.

The point spread is Gaussian with a full width at half maximum (FWHM) in mm. A recovery coefficient is the measured
contrast over the true one; with a uniform background B, measured = RC * true + (1 - RC) * B (Hoffman, Huang & Phelps,
J Comput Assist Tomogr 1979, doi:10.1097/00004728-197906000-00001).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.integrate import quad
from scipy.ndimage import convolve1d
from scipy.special import erf, gammainc, ive, ndtr

from timelens.engines.regions.grid import checked_spacing
from timelens.errors import DataError, MissingFieldError

__all__ = [
    "FWHM_PER_SIGMA",
    "correct_mean",
    "lattice_kernel",
    "mask_recovery",
    "sphere_recovery",
    "sphere_recovery_centre",
    "voxel_kernel",
]

FWHM_PER_SIGMA = float(np.sqrt(8 * np.log(2)))
"""Full width at half maximum of a Gaussian over its standard deviation: 2.3548."""

LEAST_RECOVERY = 0.1
"""Below this the correction multiplies errors more than tenfold: no corrected value is given."""


def _checked_width(fwhm_mm: float | Sequence[float] | None) -> npt.NDArray[np.float64]:
    """Standard deviation of the point spread in mm, along each axis if several widths were given."""
    if fwhm_mm is None:
        raise MissingFieldError(
            "Partial-volume correction needs the resolution of the image",
            field="fwhm_mm",
            found="nothing",
            expected="full width at half maximum in mm",
            mend="measure it on a phantom, or take it from the scanner's specification",
        )
    width = np.asarray(fwhm_mm, dtype=np.float64)
    if not np.all(np.isfinite(width) & (width > 0)) or width.shape not in ((), (3,)):
        raise DataError(
            "The resolution is not usable", field="fwhm_mm", found=fwhm_mm, expected="a positive width in mm, or three"
        )
    return width / FWHM_PER_SIGMA


def sphere_recovery(radius_mm: npt.ArrayLike, fwhm_mm: float | None) -> npt.NDArray[np.float64]:
    """Recovery coefficient of the mean over a uniform sphere.

    The mean is the expectation, over the length r of the blurring step, of the share of the sphere that still covers
    itself after a shift by r: 1 - 3r / 4R + r^3 / 16R^3 up to 2R. With r Maxwell distributed the integrals are
    incomplete gamma functions.
    """
    sigma = _scalar_width(fwhm_mm)
    x = _checked_radius(radius_mm) / sigma
    limit = 2 * x**2
    # Moments of order 0, 1 and 3 of r / sigma, up to 2R.
    zeroth = gammainc(1.5, limit)
    first = np.sqrt(8 / np.pi) * gammainc(2.0, limit)
    third = 8 * np.sqrt(2 / np.pi) * gammainc(3.0, limit)
    return np.asarray(zeroth - 3 / (4 * x) * first + third / (16 * x**3))


def sphere_recovery_centre(radius_mm: npt.ArrayLike, fwhm_mm: float | None) -> npt.NDArray[np.float64]:
    """Recovery coefficient at the centre of a uniform sphere."""
    x = _checked_radius(radius_mm) / _scalar_width(fwhm_mm)
    small = np.sqrt(2 / np.pi) * (x**3 / 3 - x**5 / 10)
    full = erf(x / np.sqrt(2)) - np.sqrt(2 / np.pi) * x * np.exp(-(x**2) / 2)
    # The difference loses its digits for a sphere far below the resolution.
    return np.asarray(np.where(x < 1e-2, small, full))


def _scalar_width(fwhm_mm: float | None) -> float:
    sigma = _checked_width(fwhm_mm)
    if sigma.ndim:
        raise DataError(
            "A sphere needs one resolution", field="fwhm_mm", found=fwhm_mm, expected="one width for all directions"
        )
    return float(sigma)


def _checked_radius(radius_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    radius = np.asarray(radius_mm, dtype=np.float64)
    if not np.all(np.isfinite(radius) & (radius > 0)):
        raise DataError(
            "A sphere needs a radius", field="radius_mm", found=radius_mm, expected="positive lengths in mm"
        )
    return radius


def voxel_kernel(sigma_mm: float, edge_mm: float) -> npt.NDArray[np.float64]:
    """Share of a voxel's content that lands in each voxel of its row, exactly integrated over both voxels."""
    reach = int(np.ceil(5 * sigma_mm / edge_mm)) + 1
    t = np.arange(-reach - 1, reach + 2) * edge_mm / sigma_mm
    ramp = t * ndtr(t) + np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    kernel = np.diff(ramp, n=2) * sigma_mm / edge_mm
    return np.asarray(kernel / kernel.sum())


def lattice_kernel(sigma_mm: float, edge_mm: float) -> npt.NDArray[np.float64]:
    """Gaussian on voxel centres: of sum 1, with the variance of the point spread and of one voxel's average.

    Sampled, or below 0.6 voxels the discrete one of the same variance (Lindeberg T, IEEE Trans Pattern Anal Mach Intell
    1990, doi:10.1109/34.49051).
    """
    variance = (sigma_mm / edge_mm) ** 2 + 1 / 12
    reach = int(np.ceil(6 * np.sqrt(variance))) + 2
    steps = np.arange(-reach, reach + 1)
    kernel = np.exp(-(steps**2) / (2 * variance)) if variance >= 0.36 else ive(np.abs(steps), variance)
    return np.asarray(kernel / kernel.sum())


def mask_recovery(
    mask: npt.NDArray[np.uint8] | npt.NDArray[np.bool_],
    spacing: Sequence[float],
    fwhm_mm: float | Sequence[float] | None,
    *,
    outline: Literal["voxels", "smooth"] = "voxels",
) -> float:
    """Recovery coefficient of the mean over a region of any shape with uniform uptake.

    Parameters
    ----------
    mask
        The region (z, y, x), not 0 inside; its bounding box is enough.
    spacing
        Voxel edges (z, y, x) in mm.
    fwhm_mm
        Resolution in mm, one for all directions or (z, y, x).
    outline
        What the mask stands for. ``voxels``: the object is exactly these voxels, steps and all. ``smooth``: the object
        has a smooth surface and these are the voxels whose centres lie in it; its steps are not taken for surface, from
        which uptake would be lost, so that the recovery is higher (5 % for a sphere of 12 mm on voxels of 2 mm). As a
        mean over places it is that of the object, within 1 % where the object is three voxels wide or more.

    Returns
    -------
    float
        Between 0 and 1; NaN for an empty mask.
    """
    edges = np.asarray(checked_spacing(spacing))
    sigmas = np.broadcast_to(_checked_width(fwhm_mm), (3,))
    inside = np.asarray(mask) != 0
    if not inside.any():
        return float("nan")
    # What is blurred out of the box never comes back, so no margin is needed.
    blurred = inside.astype(np.float64)
    shape = voxel_kernel if outline == "voxels" else lattice_kernel
    kernels = [shape(float(sigma), float(edge)) for sigma, edge in zip(sigmas, edges, strict=True)]
    for axis, kernel in enumerate(kernels):
        blurred = convolve1d(blurred, kernel, axis=axis, mode="constant")
    share = float(blurred[inside].mean())
    if outline == "smooth":
        variance = sigmas**2 + edges**2 / 12
        # How much of a region still covers itself falls linearly at first: a cusp that sums over a lattice miss.
        share -= _loss_per_mm(inside, edges) * (_mean_length(variance) - _lattice_length(kernels, edges))
    return max(share, 0.0)


def _loss_per_mm(inside: npt.NDArray[np.bool_], edges: npt.NDArray[np.float64]) -> float:
    """How fast a region shifted by a small length ceases to cover itself, per mm, over all directions.

    It is a quarter of surface over volume (Matheron G, Random sets and integral geometry, Wiley 1975), here from the
    shifts to the 26 neighbours.
    """
    padded = np.pad(inside, 1)
    lost = length = 0.0
    for step in np.ndindex(3, 3, 3):
        if step > (1, 1, 1):  # the other half is its mirror image
            box = tuple(slice(n, n + size) for n, size in zip(step, inside.shape, strict=True))
            lost += 1 - float(padded[box][inside].mean())
            length += float(np.linalg.norm((np.array(step) - 1) * edges))
    return lost / length


def _mean_length(variance: npt.NDArray[np.float64]) -> float:
    """Mean length of a normal step with these variances along the axes, from the Laplace transform of its square."""
    if np.ptp(variance) == 0:
        return float(np.sqrt(8 * variance[0] / np.pi))
    scale = float(variance.max())

    def rest(x: float) -> float:  # t = x^2, so that the integrand stays finite at 0
        return float((1 - np.prod((1 + 2 * x * x * variance / scale) ** -0.5)) / (x * x)) if x else 0.0

    return float(np.sqrt(scale / np.pi) * quad(rest, 0, np.inf)[0])


def _lattice_length(kernels: Sequence[npt.NDArray[np.float64]], edges: npt.NDArray[np.float64]) -> float:
    """Mean length of the steps of the lattice's kernel."""
    steps = [(np.arange(len(k)) - len(k) // 2) * edge for k, edge in zip(kernels, edges, strict=True)]
    z, y, x = np.meshgrid(*steps, indexing="ij", sparse=True)
    return float(np.einsum("i,j,k,ijk->", *kernels, np.sqrt(z * z + y * y + x * x)))


def correct_mean(
    measured: npt.ArrayLike, recovery: npt.ArrayLike, background: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """The mean a scanner of perfect resolution would see: (measured - (1 - RC) * background) / RC.

    NaN where the recovery is below :data:`LEAST_RECOVERY`. To be reported beside the measured value, not in its place.
    """
    value, share, around = (np.asarray(a, dtype=np.float64) for a in (measured, recovery, background))
    usable = share >= LEAST_RECOVERY
    corrected = (value - (1 - share) * around) / np.where(usable, share, 1.0)
    return np.asarray(np.where(usable, corrected, np.nan))
