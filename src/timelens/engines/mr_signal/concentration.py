"""From the signal of a dynamic series to the concentration of contrast agent. What has no solution is NaN with a code.

The signal equation is turned around exactly. R2* is taken as unchanged, which holds for short echo times and tissue and
less so for the peak in an artery.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.mr_signal.checks import check_flip, check_positive
from timelens.errors import DataError

__all__ = ["Concentration", "SignalReason", "explain_signal", "gradient_echo_concentration"]

Floats = NDArray[np.float64]


class SignalReason(IntFlag):
    """Why a voxel has no concentration, in some frames or in all; flags combine."""

    NON_FINITE = 1
    NO_BASELINE = 2
    NO_T1 = 4
    ABOVE_LIMIT = 8
    BELOW_ZERO = 16


_TEXT = {
    SignalReason.NON_FINITE: "the signal is not finite in some frames",
    SignalReason.NO_BASELINE: "the signal before contrast is not positive: no concentration in any frame",
    SignalReason.NO_T1: "T1 before contrast or B1 is missing or not positive: no concentration in any frame",
    SignalReason.ABOVE_LIMIT: "some frames are brighter than full relaxation allows: they have no concentration",
    SignalReason.BELOW_ZERO: "some frames have no positive signal: they have no concentration",
}


def explain_signal(reason: int) -> str:
    """The flags as text, ``""`` where none is set."""
    return "; ".join(text for flag, text in _TEXT.items() if int(reason) & flag)


@dataclass(frozen=True, eq=False)
class Concentration:
    """``values`` (frames, ...) in mmol/L with NaN where there is no solution; ``reason`` (...) of SignalReason;
    ``baseline`` (...) the mean signal before contrast.
    """

    values: Floats
    reason: NDArray[np.int32]
    baseline: Floats


def gradient_echo_concentration(
    signal: ArrayLike,
    t1: ArrayLike,
    *,
    tr: float,
    flip: float,
    relaxivity: float,
    baseline: slice | ArrayLike,
    b1: ArrayLike = 1.0,
) -> Concentration:
    """Concentration from a dynamic spoiled gradient echo.

    Parameters
    ----------
    signal
        (frames, ...), any unit.
    t1
        T1 before contrast, s: one number, or a map of the shape of a frame.
    tr, flip
        Repetition time in s and nominal flip angle in degrees.
    relaxivity
        r1 in L/mmol/s at this field.
    baseline
        Frames before contrast: a slice, indices or a mask. Leave out frames before the steady state.
    b1
        Real over nominal flip angle: one number or a map.

    Returns
    -------
    Concentration
        Noise may make values negative; they are kept, so that means stay unbiased.

    Raises
    ------
    DataError
        No baseline frame, a map of another shape, or impossible settings.

    References
    ----------
    Schabel MC, Parker DL, Phys Med Biol 2008;53:2345, doi:10.1088/0031-9155/53/9/010, equations 1 to 5.
    """
    s = np.asarray(signal, dtype=np.float64)
    if s.ndim == 0:
        raise DataError("A dynamic signal needs frames along its first axis", field="signal", found="one number")
    time = float(check_positive(tr, "repetition time", "seconds"))
    r1 = float(check_positive(relaxivity, "relaxivity", "L/mmol/s"))
    angle = np.deg2rad(float(check_flip(flip)))
    before = s[baseline] if isinstance(baseline, slice) else s[np.asarray(baseline)]
    if before.ndim != s.ndim or before.shape[0] == 0:
        raise DataError(
            "There is no frame before contrast", field="baseline", found=baseline, expected="at least one frame"
        )
    t10, scale = _map(t1, s.shape[1:], "T1"), _map(b1, s.shape[1:], "B1")
    reason = np.zeros(s.shape[1:], dtype=np.int32)
    with np.errstate(all="ignore"):
        known = np.isfinite(t10) & (t10 > 0) & np.isfinite(scale) & (scale > 0) & (scale * angle < np.pi)
        mean = before.mean(axis=0)
        cosine = np.cos(scale * angle)
        rest = -np.expm1(-time / t10)
        # Signal as a part of the fully relaxed one; 1 - E1 = y (1 - cos) / (1 - y cos), with y < 1.
        part = s / mean * (rest / (1 - (1 - rest) * cosine))
        recovered = part * (1 - cosine) / (1 - part * cosine)
        values = (-np.log1p(-recovered) / time - 1 / t10) / r1
        finite = np.isfinite(s)
        usable = known & (mean > 0)
        above, below = finite & (part >= 1), finite & (s <= 0)
        values = np.where(finite & usable & ~above & ~below, values, np.nan)
    reason[~known] |= int(SignalReason.NO_T1)
    reason[~(mean > 0)] |= int(SignalReason.NO_BASELINE)
    reason[~finite.all(axis=0)] |= int(SignalReason.NON_FINITE)
    reason[usable & above.any(axis=0)] |= int(SignalReason.ABOVE_LIMIT)
    reason[usable & below.any(axis=0)] |= int(SignalReason.BELOW_ZERO)
    return Concentration(values, reason, np.asarray(mean))


def _map(value: ArrayLike, shape: tuple[int, ...], name: str) -> Floats:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim and array.shape != shape:
        raise DataError(
            f"The map of {name} must have the shape of a frame",
            field=name,
            found=array.shape,
            expected=shape,
            mend="resample it to the grid of the dynamic series",
        )
    if array.ndim == 0 and not (np.isfinite(array) and array > 0):
        raise DataError(f"{name} must be positive", field=name, found=value)
    return np.broadcast_to(array, shape)
