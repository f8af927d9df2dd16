"""Are the numbers of a magnetic resonance series in the unit that its format demands? Slips are refused by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError

__all__ = ["b_values", "check", "flip_angles"]

Name = Literal["tr", "te", "ti", "field"]

#: Least and largest value that a scanner uses, in s or T, and what lies beyond it as a rule.
_RANGE: dict[Name, tuple[str, float, float, str]] = {
    "tr": ("repetition time", 2e-4, 60.0, "s"),
    "te": ("echo time", 1e-6, 1.0, "s"),
    "ti": ("inversion time", 1e-4, 30.0, "s"),
    "field": ("field", 0.01, 25.0, "T"),
}
#: One angle below the first, or several all below the second, are radians: pi with rounding.
_LEAST_FLIP, _LEAST_LARGEST, _MOST_FLIP = 0.9, 3.15, 180.0
_MOST_B = 50_000.0


def check(name: Name, value: float, *, file: object, field: str, milliseconds: bool = False) -> float:
    """The value in s or T, if a scanner could have used it.

    Parameters
    ----------
    name
        What it is.
    value
        As the file has it.
    file, field
        For messages.
    milliseconds
        Whether the format writes milliseconds (DICOM) and not seconds (BIDS).

    Raises
    ------
    DataError
        If it is not positive and finite, or lies where another unit would put it.
    """
    what, low, high, unit = _RANGE[name]
    shown = "ms" if milliseconds else unit
    inside = value * 1e-3 if milliseconds else value
    if not math.isfinite(value) or value <= 0:
        raise DataError(
            f"The {what} is not positive", file=file, field=field, found=f"{value:g}", expected=f"> 0 {shown}"
        )
    if not low <= inside <= high:
        slip = {"field": "gauss or millitesla" if inside > high else "kilotesla"}.get(
            name, "microseconds" if milliseconds and inside > high else "seconds" if milliseconds else "milliseconds"
        )
        if name != "field" and inside < low and not milliseconds:
            slip = "kiloseconds"
        factor = 1e3 if milliseconds else 1.0
        raise DataError(
            f"The {what} looks like {slip}",
            file=file,
            field=field,
            found=f"{value:g} {shown}",
            expected=f"{low * factor:g} to {high * factor:g} {shown}",
            mend=f"write {shown}",
        )
    return inside


def flip_angles(values: Sequence[float], *, file: object, field: str = "FlipAngle") -> NDArray[np.float64]:
    """Flip angles in degrees.

    Raises
    ------
    DataError
        If one is not within 0 to 180 degrees, or all are so small that they must be radians.
    """
    array = np.asarray(values, float)
    if not (np.isfinite(array).all() and (array > 0).all() and (array <= _MOST_FLIP).all()):
        raise DataError(
            "A flip angle is impossible", file=file, field=field, found=array.tolist(), expected="0 to 180 degrees"
        )
    if array.max() < (_LEAST_FLIP if array.size == 1 else _LEAST_LARGEST):
        raise DataError(
            "The flip angles look like radians",
            file=file,
            field=field,
            found=array.tolist(),
            expected="degrees",
            mend="multiply by 57.3",
        )
    return array


def b_values(values: Sequence[float], *, file: object, field: str) -> NDArray[np.float64]:
    """Diffusion weights in s/mm2.

    Raises
    ------
    DataError
        If one is negative or not finite, all are the same, or they look like ms/um2 or s/m2.
    """
    array = np.asarray(values, float)
    if not np.isfinite(array).all() or (array < 0).any():
        raise DataError(
            "A b value is negative or no number", file=file, field=field, found=array.tolist(), expected=">= 0 s/mm2"
        )
    if np.unique(array).size < 2:
        raise DataError(
            "All images have one b value", file=file, field=field, found=array[:1].tolist(), expected="two or more"
        )
    if array.max() < 10 or array.max() > _MOST_B:
        slip = "ms/um2" if array.max() < 10 else "s/m2"
        raise DataError(
            f"The b values look like {slip}",
            file=file,
            field=field,
            found=f"at most {array.max():g}",
            expected=f"10 to {_MOST_B:g} s/mm2",
            mend="write s/mm2",
        )
    return array
