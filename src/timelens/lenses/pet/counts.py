"""Counts of a PET scan and the noise they leave in the image.

Pure functions on arrays (z, y, x), used in both directions: the simulation makes noise with them, and the measurement
carries the noise it sees in one place of an image to another.

Noise is that of an expectation-maximisation reconstruction: its standard deviation is proportional to the image
(Barrett HH, Wilson DW, Tsui BMW. Phys Med Biol 1994;39:833, doi:10.1088/0031-9155/39/5/004), so that values are
log-normal, never negative and unbiased; the relative variance is inverse to the noise-equivalent counts on the lines
through a voxel (Strother SC, Casey ME, Hoffman EJ. IEEE Trans Nucl Sci 1990;37:783, doi:10.1109/23.106715).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates

from timelens.engines.radioactivity.attenuation import WATER_PER_MM, line_survival, seen_along_lines
from timelens.engines.regions.noise import correlated_noise
from timelens.engines.regions.partial_volume import FWHM_PER_SIGMA

__all__ = [
    "block_means",
    "calibration_counts",
    "coarse_counts",
    "coarse_factor",
    "counts_at",
    "cov_from_sensitivity",
    "line_counts",
    "prompts_per_true",
    "relative_noise",
    "with_noise",
]

Floats = NDArray[np.float64]

#: The noise model is followed up to this relative standard deviation; beyond it a voxel holds no information.
MOST_NOISE = 2.0
#: Counts on lines vary slowly; they are computed on voxels of about this edge in mm.
_COARSE_MM = 8.0
#: The coefficient of variation of a uniform cylinder is taken over this part of its diameter.
CALIBRATION_PART = 0.6
#: Length of the line source with which NEMA NU 2 measures sensitivity, mm.
_NEMA_LINE_MM = 700.0


def line_counts(activity: NDArray[np.floating], mu_per_mm: Floats, spacing: tuple[float, float, float]) -> Floats:
    """Counts per second, in relative terms, on the lines through each voxel.

    Computed on voxels of about 8 mm and interpolated, as counts on lines vary slowly.

    Parameters
    ----------
    activity
        Decaying activity that emits positrons, (frames, z, y, x), Bq/mL.
    mu_per_mm
        Attenuation (z, y, x), 1/mm.
    spacing
        Voxel edges (z, y, x) in mm.

    Returns
    -------
    ndarray, shape (frames, z, y, x)
        Bq/mL times mm, surviving.
    """
    factor = coarse_factor(spacing)
    seen = coarse_counts(
        block_means(np.asarray(activity, float), factor), block_means(np.asarray(mu_per_mm, float), factor), spacing
    )
    where = np.meshgrid(*[_place(np.arange(n), f) for n, f in zip(mu_per_mm.shape, factor, strict=True)], indexing="ij")
    return np.stack([map_coordinates(volume, where, order=1, mode="nearest") for volume in seen])


def coarse_factor(spacing: tuple[float, float, float]) -> tuple[int, int, int]:
    """How many voxels along (z, y, x) make a voxel on which counts on lines are computed: about 8 mm."""
    z, y, x = (max(1, round(_COARSE_MM / s)) for s in spacing)
    return z, y, x


def block_means(volume: NDArray[np.floating], factor: tuple[int, int, int]) -> Floats:
    """Means over blocks of the last three axes; the last block is continued at the far faces."""
    *lead, depth, rows, columns = volume.shape
    sizes = (depth, rows, columns)
    missing = [(-n) % f for n, f in zip(sizes, factor, strict=True)]
    padded = np.pad(volume, [(0, 0)] * len(lead) + [(0, m) for m in missing], mode="edge")
    split = [x for n, m, f in zip(sizes, missing, factor, strict=True) for x in ((n + m) // f, f)]
    first = len(lead)
    return np.asarray(padded.reshape(*lead, *split).mean(axis=(first + 1, first + 3, first + 5), dtype=np.float64))


def coarse_counts(activity: Floats, mu_per_mm: Floats, spacing: tuple[float, float, float]) -> Floats:
    """As :func:`line_counts`, from block means and onto them; ``spacing`` is that of the voxels themselves."""
    z, y, x = (float(s * f) for s, f in zip(spacing, coarse_factor(spacing), strict=True))
    return seen_along_lines(activity, line_survival(mu_per_mm, (z, y, x)), (z, y, x))


def counts_at(seen: Floats, factor: tuple[int, int, int], index: NDArray[np.integer]) -> Floats:
    """Counts of :func:`coarse_counts` (z, y, x) at voxels of the fine grid, index (3, n)."""
    where = [_place(i, f) for i, f in zip(index, factor, strict=True)]
    return np.asarray(map_coordinates(seen, where, order=1, mode="nearest"))


def _place(index: NDArray[np.integer], factor: int) -> Floats:
    return np.asarray((index + 0.5) / factor - 0.5)


@lru_cache(maxsize=8)
def calibration_counts(diameter_mm: float, concentration_bq_per_ml: float) -> float:
    """What :func:`line_counts` gives in a long water cylinder: harmonic mean over the middle 60 % of its diameter.

    The harmonic mean belongs to the mean of the noise's variance, which is what a coefficient of variation over a
    region shows.
    """
    step = diameter_mm / 50
    y, x = np.meshgrid(*[(np.arange(61) - 30) * step] * 2, indexing="ij")
    distance = np.hypot(y, x)
    inside = np.clip((diameter_mm / 2 - distance) / step + 0.5, 0.0, 1.0)[None]
    survival = line_survival(WATER_PER_MM * inside, (step, step, step))
    seen = seen_along_lines(inside, survival, (step, step, step))
    middle = seen[0][distance <= CALIBRATION_PART * diameter_mm / 2]
    return float(concentration_bq_per_ml / np.mean(1 / middle))


def prompts_per_true(scatter_fraction: float, randoms_fraction: float, relative_activity: ArrayLike) -> Floats:
    """Counts recorded for each true one: (T + S + R) / T, by which the variance grows.

    Scatter follows the trues; randoms grow with the square of the activity.

    Parameters
    ----------
    scatter_fraction
        S / (T + S).
    randoms_fraction
        R / (T + S + R) at the activity of the calibration.
    relative_activity
        Activity in the field of view over that of the calibration.
    """
    randoms = randoms_fraction / (1 - randoms_fraction) * np.asarray(relative_activity, float)
    return np.asarray((1 + randoms) / (1 - scatter_fraction))


def cov_from_sensitivity(
    cps_per_kbq: float,
    *,
    axial_fov_mm: float,
    concentration_bq_per_ml: float,
    duration_s: float,
    diameter_mm: float,
    fwhm_mm: tuple[float, float, float],
    prompts: float,
) -> float:
    """Coefficient of variation at the centre of a long water cylinder, from the counts alone.

    In filtered backprojection whose frequencies a Gaussian of standard deviation s limits, a projection with L counts
    per mm and radian leaves the variance L a^2 sqrt(pi) / (16 pi^2 s^3), with the attenuation correction a. The counts
    of a slice of which the same Gaussian makes the thickness 2 sqrt(pi) s_z give::

        CoV^2 = D exp(mu D) P / (32 pi e c t s^3 s_z)

    with diameter D, prompts per true P, counts per decay in the field of view e, concentration c and time t. It is the
    limit of counts without time of flight; an iterative reconstruction may differ from it by up to a factor of two.

    Parameters
    ----------
    cps_per_kbq
        Sensitivity of NEMA NU 2: trues per second and kBq of a line source of 700 mm without attenuation.
    axial_fov_mm
        Length of the scanner. A shorter scanner sees a part of that line: inside, its sensitivity is higher by the
        quotient of the lengths.
    concentration_bq_per_ml, duration_s, diameter_mm
        Cylinder and scan.
    fwhm_mm
        Width of the noise's correlation (z, y, x).
    prompts
        From :func:`prompts_per_true`.
    """
    detected = cps_per_kbq / 1e3 * max(_NEMA_LINE_MM / axial_fov_mm, 1.0)
    z, y, x = (width / FWHM_PER_SIGMA for width in fwhm_mm)
    decays = concentration_bq_per_ml / 1e3 * duration_s  # per mm3
    across = ((y + x) / 2) ** 3
    lost = np.exp(WATER_PER_MM * diameter_mm)
    return float(np.sqrt(diameter_mm * lost * prompts / (32 * np.pi * detected * decays * across * z)))


def relative_noise(
    counts: ArrayLike, *, cov: float, reference_counts: float, prompts: float = 1.0, reference_prompts: float = 1.0
) -> Floats:
    """Relative standard deviation of each voxel: that of the calibration, scaled by counts.

    Parameters
    ----------
    counts
        Counts on the lines through each voxel over the frame (:func:`line_counts` times seconds).
    cov, reference_counts
        Coefficient of variation that the calibration shows with its own counts.
    prompts, reference_prompts
        From :func:`prompts_per_true`, of the frame and of the calibration.
    """
    known = reference_counts / reference_prompts
    least = known * (cov / MOST_NOISE) ** 2  # where the noise reaches MOST_NOISE
    effective = np.maximum(np.asarray(counts, float) / prompts, least)
    return np.asarray(cov * np.sqrt(known / effective)) if cov > 0 else np.zeros_like(effective)


def with_noise(
    volume: NDArray[np.floating],
    relative_sd: ArrayLike,
    spacing: tuple[float, float, float],
    correlation_fwhm_mm: ArrayLike,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """The volume with log-normal noise of that relative standard deviation, whose mean is the volume.

    White noise is smoothed by a Gaussian of ``correlation_fwhm_mm`` before it is scaled.

    Parameters
    ----------
    volume
        (z, y, x), not negative.
    relative_sd
        One, or one per voxel.
    spacing
        Voxel edges (z, y, x) in mm.
    correlation_fwhm_mm
        One, or (z, y, x); 0 for white noise.
    rng
        Source of randomness.
    """
    sigma = np.broadcast_to(np.asarray(correlation_fwhm_mm, float), (3,)) / FWHM_PER_SIGMA / np.asarray(spacing, float)
    field = correlated_noise(volume.shape, sigma, rng)
    log_sd = np.sqrt(np.log1p(np.square(np.asarray(relative_sd, float)))).astype(np.float32)
    return np.asarray(volume * np.exp(log_sd * field - log_sd**2 / 2), np.float32)
