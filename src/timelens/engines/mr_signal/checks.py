"""Refusals that all signal equations share, with the slip that is likely (milliseconds, radians, percent)."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import DataError, PlausibilityWarning

__all__ = ["check_flip", "check_positive", "check_times"]

Floats = NDArray[np.float64]

#: A repetition time above this is possible for spin echoes; for a fast gradient echo it was given in ms.
LONGEST_FAST_TR_S = 1.0
#: All flip angles at or below this are radians rather than degrees: pi, with rounding.
LARGEST_RADIANS = 3.15


def check_positive(value: ArrayLike, field: str, expected: str = "positive numbers") -> Floats:
    """The value as float64.

    Raises
    ------
    DataError
        Anything in it is zero, negative or not finite.
    """
    array = np.asarray(value, dtype=np.float64)
    if array.size == 0 or not bool(np.all(np.isfinite(array) & (array > 0))):
        raise DataError(f"The {field} must be positive", field=field, found=value, expected=expected)
    return array


def check_times(times: ArrayLike, field: str, *, longest: float, least: int = 1) -> Floats:
    """A list of times in s, none negative.

    Raises
    ------
    DataError
        The list is not one-dimensional, has fewer than ``least`` entries, or holds something negative or not finite.

    Warns
    -----
    PlausibilityWarning
        The last is beyond ``longest`` s: probably milliseconds.
    """
    array = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if array.ndim != 1 or array.size < least or not bool(np.all(np.isfinite(array) & (array >= 0))):
        raise DataError(
            f"The {field} must be a list of times",
            field=field,
            found=f"shape {array.shape}, {array.tolist()[:6]}",
            expected=f"at least {least} numbers in s, none negative",
        )
    if array.max() > longest:
        warnings.warn(
            f"The longest {field} is {array.max():g} s: are they in milliseconds?", PlausibilityWarning, stacklevel=3
        )
    return array


def check_flip(flip: ArrayLike) -> Floats:
    """Flip angles in degrees, above 0 and up to 180.

    Raises
    ------
    DataError
        An angle lies outside.

    Warns
    -----
    PlausibilityWarning
        All of several angles are below 3.15: probably radians.
    """
    angles = np.asarray(flip, dtype=np.float64)
    if angles.size == 0 or not bool(np.all(np.isfinite(angles) & (angles > 0) & (angles <= 180))):
        raise DataError(
            "A flip angle lies between 0 and 180 degrees", field="flip angle", found=flip, expected="degrees"
        )
    if angles.size > 1 and float(angles.max()) <= LARGEST_RADIANS and np.ptp(angles) > 0:
        warnings.warn(
            f"The largest flip angle is {angles.max():g} degrees: are they in radians?",
            PlausibilityWarning,
            stacklevel=3,
        )
    return angles
