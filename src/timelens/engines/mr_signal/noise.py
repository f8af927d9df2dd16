"""What noise does to the concentration of contrast agent on average: the floor of magnitudes, and convexity.

A magnitude is larger than its signal, ``E[M] = A + sigma^2 / (2 A)`` to second order (Gudbjartsson H, Patz S, Magn
Reson Med 1995;34:910, doi:10.1002/mrm.1910340618), and concentration is a convex function of signal and T1, so that a
mean over noisy voxels is too high. Both biases stay in the mean of a region however large it is; both follow from the
noise, which the series itself shows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import DataError

__all__ = ["concentration_bias", "temporal_variance", "without_floor"]

Floats = NDArray[np.float64]

#: The floor is at most this part of a magnitude: below a signal-to-noise ratio of one the expansion does not hold.
_MOST_FLOOR = 0.5
#: Noise counts up to this part of the distance to full relaxation, beyond which the second order says too much.
_FARTHEST = 0.25


def temporal_variance(signal: ArrayLike) -> Floats:
    """Variance of the noise of each curve (frames, ...), from second differences over the second half of the frames.

    The bolus is over by then and a straight course cancels: ``E[(s_i-1 - 2 s_i + s_i+1)^2] = 6 sigma^2`` for noise that
    frames do not share.

    Returns
    -------
    ndarray, shape (...)
        In the square of the signal's unit; NaN where a frame is missing.

    Raises
    ------
    DataError
        Fewer than six frames.
    """
    s = np.asarray(signal, dtype=np.float64)
    if s.ndim == 0 or s.shape[0] < 6:
        raise DataError(
            "Noise is estimated from six frames or more", field="signal", found=f"shape {s.shape}",
            expected="frames along the first axis",
        )  # fmt: skip
    late = s[s.shape[0] // 2 :]
    return np.asarray(np.mean(np.square(late[2:] - 2 * late[1:-1] + late[:-2]), axis=0) / 6)


def without_floor(magnitude: ArrayLike, variance: ArrayLike, *, mean: bool = False) -> Floats:
    """Magnitudes less their mean excess by the noise of both channels.

    Parameters
    ----------
    magnitude
        (frames, ...), of voxels, or where ``mean`` is true the mean over many voxels of one tissue.
    variance
        Of the noise of one voxel, broadcast against it. Several coils added as squares have a higher floor.
    mean
        Of voxels ``variance / (2 magnitude)`` is taken off, for then their mean is the signal; a mean itself needs the
        next order of the expansion.
    """
    m = np.asarray(magnitude, dtype=np.float64)
    with np.errstate(all="ignore"):
        part = np.asarray(variance, dtype=np.float64) / (2 * np.square(m))
        part = part * (1 + 1.5 * part) if mean else part
    return m * (1 - np.clip(np.nan_to_num(part), 0.0, _MOST_FLOOR))


def concentration_bias(
    signal: ArrayLike,
    baseline: ArrayLike,
    t1: ArrayLike,
    *,
    tr: float,
    flip: float,
    relaxivity: float,
    signal_variance: ArrayLike,
    baseline_variance: ArrayLike,
    t1_variance: ArrayLike = 0.0,
    b1: ArrayLike = 1.0,
) -> Floats:
    """By how much noise raises the mean of :func:`~timelens.engines.mr_signal.gradient_echo_concentration`, mmol/L.

    Half the second derivative with respect to signal, baseline and T1 before contrast times their variances, which are
    taken as independent (frames before contrast are not quite, which changes nothing that matters).

    Parameters
    ----------
    signal
        (frames, ...).
    baseline, t1, b1
        (...), mean signal before contrast; T1 before contrast in s; real over nominal flip angle.
    tr, flip, relaxivity
        s, degrees, L/mmol/s.
    signal_variance, baseline_variance, t1_variance
        (...), of one frame, of the baseline, and of T1 (s2).

    Returns
    -------
    ndarray, shape (frames, ...)
        To be taken off; NaN where there is no concentration.
    """
    s, s0 = np.asarray(signal, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    t10 = np.asarray(t1, dtype=np.float64)
    cosine = np.cos(np.deg2rad(flip) * np.asarray(b1, dtype=np.float64))
    with np.errstate(all="ignore"):
        # The baseline as a part k of the fully relaxed signal, and its derivatives by T1 through E = exp(-tr / T1).
        e = np.exp(-tr / t10)
        e_1 = e * tr / t10**2
        e_2 = e * (tr**2 / t10**4 - 2 * tr / t10**3)
        left = 1 - e * cosine
        k = (1 - e) / left
        k_e, k_ee = (cosine - 1) / left**2, 2 * cosine * (cosine - 1) / left**3
        k_1, k_2 = k_e * e_1, k_ee * e_1**2 + k_e * e_2
        # R1 = (ln(1 - x cos) - ln(1 - x)) / tr with x = k s / s0.
        x = k * s / s0
        first = (1 / (1 - x) - cosine / (1 - x * cosine)) / tr
        second = (1 / (1 - x) ** 2 - cosine**2 / (1 - x * cosine) ** 2) / tr
        by_signal = second * np.square(k / s0)
        by_baseline = (second * x**2 + 2 * first * x) / s0**2
        by_t1 = second * np.square(s / s0 * k_1) + first * s / s0 * k_2 - 2 / t10**3
        slope = s / s0 * k_1
        spread = (k / s0) ** 2 * signal_variance + (x / s0) ** 2 * baseline_variance + slope**2 * t1_variance
        held = np.minimum(1.0, np.square(_FARTHEST * (1 - x)) / np.maximum(spread, 1e-300))
        total = by_signal * signal_variance + by_baseline * baseline_variance + by_t1 * t1_variance
        return np.where(x < 1, 0.5 * held * total / relaxivity, np.nan)
