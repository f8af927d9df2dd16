"""Exponential decay: factors, references, and averages over a frame.

Times are seconds on any common clock; only differences matter. Arrays broadcast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import DataError

__all__ = [
    "average_count_rate_time",
    "convert_decay_reference",
    "decay_constant",
    "decay_factor",
    "frame_decay_factor",
]

Floats = NDArray[np.float64]

# Below this decay per frame the closed forms lose digits to cancellation; the series is exact to 1e-15 there.
_SERIES_BELOW = 1e-3


def decay_constant(half_life_s: ArrayLike) -> Floats:
    """Decay constant ln(2) / half-life in 1/s.

    Parameters
    ----------
    half_life_s
        Half-life in seconds, positive; infinity stands for a stable nuclide.

    Raises
    ------
    DataError
        A half-life is zero, negative or not a number.
    """
    half_life = np.asarray(half_life_s, dtype=np.float64)
    if not bool(np.all(half_life > 0)):
        raise DataError(
            "A half-life must be positive",
            field="half_life",
            found=f"{half_life_s!r} s",
            expected="seconds > 0",
            mend="give the half-life of the nuclide in seconds",
        )
    return np.asarray(np.log(2.0) / half_life)[()]


def decay_factor(delta_t_s: ArrayLike, half_life_s: ArrayLike) -> Floats:
    """Fraction of the activity that is left after a time: 2^(-delta_t / half-life).

    Parameters
    ----------
    delta_t_s
        Elapsed time in seconds; negative times look back and give factors above 1.
    half_life_s
        Half-life in seconds.

    Returns
    -------
    ndarray
        Dimensionless, of the broadcast shape; NaN where the time is NaN.
    """
    decay_constant(half_life_s)  # refuses what is not a half-life
    delta_t = np.asarray(delta_t_s, dtype=np.float64)
    return np.asarray(np.exp2(-delta_t / np.asarray(half_life_s, dtype=np.float64)))[()]


def convert_decay_reference(value: ArrayLike, from_s: ArrayLike, to_s: ArrayLike, half_life_s: ArrayLike) -> Floats:
    """Activity or concentration referenced to ``from_s``, referenced to ``to_s`` instead.

    Parameters
    ----------
    value
        Activity, concentration or anything proportional to it, valid at ``from_s``.
    from_s, to_s
        The present and the wanted reference time, in seconds on one clock.
    half_life_s
        Half-life in seconds.

    Returns
    -------
    ndarray
        In the unit of ``value``.
    """
    elapsed = np.asarray(to_s, dtype=np.float64) - np.asarray(from_s, dtype=np.float64)
    return np.asarray(np.asarray(value, dtype=np.float64) * decay_factor(elapsed, half_life_s))[()]


def frame_decay_factor(start_s: ArrayLike, duration_s: ArrayLike, half_life_s: ArrayLike) -> Floats:
    """Mean of the decay factor over a frame, relative to time zero.

    The mean count rate of a frame divided by this factor is the rate decay-corrected to time zero, if nothing but decay
    changes during the frame: exp(-L t) (1 - exp(-L d)) / (L d) with L the decay constant.

    Parameters
    ----------
    start_s
        Start of the frame in seconds from the time to correct to.
    duration_s
        Length of the frame in seconds; zero gives the factor at ``start_s``.
    half_life_s
        Half-life in seconds.

    Raises
    ------
    DataError
        A duration is negative.
    """
    x = _decay_per_frame(duration_s, half_life_s)
    safe = np.where(x > 0, x, 1.0)
    mean = np.where(x > 0, -np.expm1(-safe) / safe, 1.0)
    return np.asarray(decay_factor(start_s, half_life_s) * mean)[()]


def average_count_rate_time(duration_s: ArrayLike, half_life_s: ArrayLike) -> Floats:
    """Time within a frame at which the decaying activity equals its mean over the frame.

    ln(x / (1 - exp(-x))) / L with x = L d: a little before the middle. It is what Frame Reference Time (0054,1300)
    means in an image of a short-lived nuclide (DICOM PS3.3, C.8.9.4.1.5) and what the QIBA FDG-PET/CT profile (v1.13,
    2016, appendix G) needs to count back from a bed position to the start of the scan.

    Parameters
    ----------
    duration_s
        Length of the frame in seconds.
    half_life_s
        Half-life in seconds.

    Returns
    -------
    ndarray
        Seconds after the start of the frame.
    """
    x = _decay_per_frame(duration_s, half_life_s)
    safe = np.where(x > _SERIES_BELOW, x, 1.0)
    exact = np.log(safe / -np.expm1(-safe))
    series = x / 2 - x**2 / 24 + x**4 / 2880
    return np.asarray(np.where(x > _SERIES_BELOW, exact, series) / decay_constant(half_life_s))[()]


def _decay_per_frame(duration_s: ArrayLike, half_life_s: ArrayLike) -> Floats:
    duration = np.asarray(duration_s, dtype=np.float64)
    if bool(np.any(duration < 0)):
        raise DataError(
            "A frame cannot have a negative duration",
            field="duration",
            found=f"{duration_s!r} s",
            expected="seconds >= 0",
            mend="check whether frame start and end are exchanged",
        )
    return np.asarray(decay_constant(half_life_s) * duration)
