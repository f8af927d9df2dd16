"""The equations of a PET scan in image space: decay over frames, positron range, point spread.

Pure functions on arrays (z, y, x). Counts and their noise are in :mod:`timelens.lenses.pet.counts`. A full model
(projection, counts, reconstruction) would take the place of :func:`spread` and of that module alone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfftn, next_fast_len, rfftn

from timelens.engines.radioactivity import decay_factor, frame_decay_factor
from timelens.engines.regions.partial_volume import FWHM_PER_SIGMA
from timelens.errors import DataError

__all__ = [
    "activity_at",
    "frame_weights",
    "mean_decay",
    "positron_kernel",
    "positron_transfer",
    "spread",
]

Floats = NDArray[np.float64]

#: Annihilation points projected onto one axis, in water: C exp(-k1 |x|) + (1 - C) exp(-k2 |x|), with k in 1/mm. Levin
#: CS, Hoffman EJ. Phys Med Biol 1999;44:781, doi:10.1088/0031-9155/44/3/020. Keyed by the mean positron energy in keV
#: (ICRP 107) of 18F, 11C, 13N and 15O.
_LEVIN = {249.8: (0.516, 37.9, 3.1), 385.6: (0.488, 23.8, 1.8), 491.8: (0.426, 20.2, 1.4), 735.4: (0.379, 18.1, 0.9)}
#: Narrower Gaussians, in voxels, lose variance when they are sampled.
_LEAST_SAMPLED = 0.7
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def frame_weights(times_s: ArrayLike, start_s: ArrayLike, duration_s: ArrayLike, half_life_s: float) -> Floats:
    """Weights of the knots of a curve in the value that a scanner reports for each frame.

    The curve is piecewise linear and decay-corrected to time zero. A frame collects what decays during it and divides
    by the mean decay of the frame, as if nothing but decay had changed: the integral of c(t) 2^(-t/T) over that of
    2^(-t/T).

    Parameters
    ----------
    times_s
        Knots, ascending, (n,); the curve must cover the frames.
    start_s, duration_s
        Of the frames, in s from time zero; duration > 0.
    half_life_s
        Half-life in s.

    Returns
    -------
    ndarray, shape (frames, n)
        Rows sum to 1.

    Raises
    ------
    DataError
        If the knots do not ascend or do not cover a frame.
    """
    knots = np.atleast_1d(np.asarray(times_s, float))
    start, length = np.atleast_1d(np.asarray(start_s, float)), np.atleast_1d(np.asarray(duration_s, float))
    if knots.size == 1:
        return np.ones((start.size, 1))
    if not (np.diff(knots) > 0).all():
        raise DataError("The knots of a curve must ascend in time", field="times_s", found=knots.tolist())
    if start.min() < knots[0] or (start + length).max() > knots[-1] * (1 + 1e-12):
        raise DataError(
            "The curve does not cover the scan",
            field="times_s",
            found=f"{knots[0]:g} to {knots[-1]:g} s",
            expected=f"{start.min():g} to {(start + length).max():g} s",
        )
    result = np.zeros((start.size, knots.size))
    for k, (a, b) in enumerate(zip(start, start + length, strict=True)):
        edges = np.concatenate([[a], knots[(knots > a) & (knots < b)], [b]])
        # Decay bends within a piece; a tenth of a half-life is integrated to rounding.
        cuts = np.maximum(1, np.ceil(np.diff(edges) / (half_life_s / 10))).astype(int)
        fine = np.concatenate(
            [np.linspace(lo, hi, n + 1)[:-1] for lo, hi, n in zip(edges[:-1], edges[1:], cuts, strict=True)]
        )
        fine = np.append(fine, b)
        half = np.diff(fine)[:, None] / 2
        t = (fine[:-1, None] + half * (1 + _NODES)).ravel()
        weight = (half * _WEIGHTS).ravel() * decay_factor(t - a, half_life_s)
        below = np.clip(np.searchsorted(knots, t, side="right") - 1, 0, knots.size - 2)
        part = (t - knots[below]) / (knots[below + 1] - knots[below])
        np.add.at(result[k], below, weight * (1 - part))
        np.add.at(result[k], below + 1, weight * part)
        result[k] /= weight.sum()
    return result


def positron_kernel(mean_energy_kev: float) -> tuple[float, float, float]:
    """Constants (C, k1, k2) of the annihilation points around a decay in water, projected onto one axis.

    As published for 18F, 11C, 13N and 15O; for other mean energies the constants follow straight lines between and
    beyond these in the logarithms of energy and constant (64Cu and 89Zr lie within, 68Ga, 124I and 82Rb beyond).

    Parameters
    ----------
    mean_energy_kev
        Mean energy of the positrons in keV.

    Returns
    -------
    c, k1, k2
        C without unit, k1 and k2 in 1/mm.
    """
    if not (np.isfinite(mean_energy_kev) and mean_energy_kev > 0):
        raise DataError(
            "A positron has a mean energy", field="mean_energy_kev", found=mean_energy_kev, expected="keV > 0"
        )
    energies = np.log(list(_LEVIN))
    at = np.log(mean_energy_kev)
    k = int(np.clip(np.searchsorted(energies, at) - 1, 0, len(energies) - 2))
    share = (at - energies[k]) / (energies[k + 1] - energies[k])
    below, above = (np.log(list(_LEVIN.values())[n]) for n in (k, k + 1))
    c, k1, k2 = np.exp(below + share * (above - below))
    return float(min(c, 1.0)), float(k1), float(k2)


def positron_transfer(square: ArrayLike, mean_energy_kev: float) -> Floats:
    """Fourier transform of the spread by positron range, 1 at frequency 0.

    The spread is the same in all directions, so that the transform of its projection onto one axis, which
    :func:`positron_kernel` describes, is its transform in three dimensions.

    Parameters
    ----------
    square
        Square of the angular frequency, 1/mm2.
    mean_energy_kev
        Mean energy of the positrons in keV.
    """
    c, k1, k2 = positron_kernel(mean_energy_kev)
    w2 = np.asarray(square, float)
    top = c * k1 / (k1**2 + w2) + (1 - c) * k2 / (k2**2 + w2)
    return np.asarray(top / (c / k1 + (1 - c) / k2))


def spread(
    volume: NDArray[np.floating],
    spacing: tuple[float, float, float],
    fwhm_mm: ArrayLike,
    *,
    mean_energy_kev: float | None = None,
) -> NDArray[np.float32]:
    """The volume through the point spread of a scanner: a Gaussian, and the positron range where it is given.

    On a grid the Gaussian is sampled; where it is narrower than 0.7 voxels it is the discrete one (Lindeberg T. IEEE
    PAMI 1990;12:234, doi:10.1109/34.49051). Both are positive, of sum 1 and of the stated variance. An exponential is a
    mixture of Gaussians, so that the positron range is discrete in the latter sense: the square of the frequency
    becomes 2 (1 - cos w d) / d^2.

    What leaves the volume is lost; beyond its faces the outermost voxels are continued. Counts within are conserved to
    1e-7 where nothing lies near the faces.

    Parameters
    ----------
    volume
        (z, y, x), voxel means.
    spacing
        Voxel edges (z, y, x) in mm.
    fwhm_mm
        Of the Gaussian, one or (z, y, x).
    mean_energy_kev
        Mean energy of the positrons; None for no range.
    """
    edges, sigma = np.asarray(spacing, float), np.broadcast_to(np.asarray(fwhm_mm, float), (3,)) / FWHM_PER_SIGMA
    reach = 5.0 * sigma
    if mean_energy_kev is not None:
        reach = reach + 8.0 / positron_kernel(mean_energy_kev)[2]
    margin = np.ceil(reach / edges).astype(int)
    padded = np.pad(np.asarray(volume, np.float64), [(int(m), int(m)) for m in margin], mode="edge")
    shape = [next_fast_len(n, real=True) for n in padded.shape]
    padded = np.pad(padded, [(0, n - m) for n, m in zip(shape, padded.shape, strict=True)])
    transfer = _transfer(tuple(shape), tuple(edges), tuple(sigma), mean_energy_kev)
    blurred = irfftn(rfftn(padded) * transfer, s=shape)
    inner = tuple(slice(int(m), int(m) + n) for m, n in zip(margin, volume.shape, strict=True))
    return np.asarray(blurred[inner], np.float32)


@lru_cache(maxsize=16)
def _transfer(
    shape: tuple[int, ...], edges: tuple[float, ...], sigma: tuple[float, ...], mean_energy_kev: float | None
) -> NDArray[np.float32]:
    axes = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    squares = [2 * (1 - np.cos(2 * np.pi * f)) / d**2 for f, d in zip(axes, edges, strict=True)]
    gauss = [
        _sampled_gauss(s / d, f) if s >= _LEAST_SAMPLED * d else np.exp(-(s**2) * w2 / 2)
        for s, d, f, w2 in zip(sigma, edges, axes, squares, strict=True)
    ]
    total = gauss[0][:, None, None] * gauss[1][None, :, None] * gauss[2][None, None, :]
    if mean_energy_kev is not None:
        square = squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :]
        total = total * positron_transfer(square, mean_energy_kev)
    return np.asarray(total, np.float32)


def _sampled_gauss(sigma: float, frequency: NDArray[np.floating]) -> Floats:
    """Transform of a Gaussian sampled at the voxels: the sum of its repetitions, 1 at frequency 0."""
    repeated = [np.exp(-2 * (np.pi * sigma) ** 2 * (frequency + m) ** 2) for m in range(-2, 3)]
    total = np.sum(repeated, axis=0)
    return np.asarray(total / total[0])


def activity_at(suv: ArrayLike, *, injected_bq: float, weight_g: float, elapsed_s: float, half_life_s: float) -> Floats:
    """Activity concentration in Bq/mL that an uptake (g/mL, decay-corrected to injection) is after ``elapsed_s``."""
    return np.asarray(suv, float) * injected_bq / weight_g * decay_factor(elapsed_s, half_life_s)


def mean_decay(start_s: float, duration_s: float, half_life_s: float) -> float:
    """Mean part that is left during a frame, of what was there at time zero."""
    return float(frame_decay_factor(start_s, duration_s, half_life_s))
