"""When the tissue was measured: frames that average over an interval, or instants.

A PET frame is the mean over its duration (``sampling="frame"``); a fast MRI or ultrasound image, and any program that
places the value at mid-frame, is the value at one moment (``sampling="instant"``, taken at the middle).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import DataError, UsageError

__all__ = ["Frames", "Sampling"]

Floats = NDArray[np.float64]
Sampling = Literal["frame", "instant"]

#: Frames may overlap by this part of the shorter one: rounding in a header, not an error.
OVERLAP_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Frames:
    """Start and end of each frame in s from injection, and how it samples the curve.

    Parameters
    ----------
    start, end
        Ascending, (frames,), s. Gaps between frames are allowed, overlaps are not.
    sampling
        ``"frame"``: a value is the mean from start to end. ``"instant"``: it is the value at the middle.

    Raises
    ------
    DataError
        Times are not finite, not ascending or overlap, or an averaging frame has no duration.
    """

    start: Floats
    end: Floats
    sampling: Sampling = "frame"

    def __init__(self, start: ArrayLike, end: ArrayLike, sampling: Sampling = "frame") -> None:
        first = np.atleast_1d(np.asarray(start, dtype=np.float64)).copy()
        last = np.atleast_1d(np.asarray(end, dtype=np.float64)).copy()
        _check(first, last, sampling)
        for name, value in (("start", first), ("end", last)):
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        object.__setattr__(self, "sampling", sampling)

    @classmethod
    def instants(cls, times: ArrayLike) -> Frames:
        """Samples at the given moments (s), without duration."""
        return cls(times, times, "instant")

    def __len__(self) -> int:
        return int(self.start.size)

    @property
    def middle(self) -> Floats:
        """Middle of each frame, s."""
        return np.asarray(0.5 * (self.start + self.end))

    @property
    def duration(self) -> Floats:
        """Length of each frame, s."""
        return np.asarray(self.end - self.start)

    def select(self, keep: ArrayLike | slice) -> Frames:
        """The frames at these indices, or where this mask is true."""
        chosen = keep if isinstance(keep, slice) else np.asarray(keep)
        return Frames(self.start[chosen], self.end[chosen], self.sampling)


def _check(start: Floats, end: Floats, sampling: str) -> None:
    if sampling not in ("frame", "instant"):
        raise UsageError("Unknown sampling", field="sampling", found=sampling, expected="'frame' or 'instant'")
    if start.ndim != 1 or start.shape != end.shape or start.size == 0:
        raise DataError(
            "Frames need one start and one end each",
            field="frame times",
            found=f"shapes {start.shape} and {end.shape}",
            expected="two equally long lists",
        )
    if not (np.isfinite(start).all() and np.isfinite(end).all()):
        raise DataError("Frame times must be numbers", field="frame times", found="NaN or infinity", expected="seconds")
    shortest = end - start
    if (shortest < 0).any():
        at = int(np.argmax(shortest < 0))
        raise DataError(
            "A frame ends before it starts",
            field=f"frame {at}",
            found=f"{start[at]:g} to {end[at]:g} s",
            expected="end after start",
            mend="check whether the columns hold durations instead of ends",
        )
    if sampling == "frame" and (shortest == 0).any():
        raise DataError(
            "A frame that averages has no duration",
            field=f"frame {int(np.argmax(shortest == 0))}",
            found="0 s",
            expected="end after start",
            mend="drop the frame, or use sampling='instant'",
        )
    if (np.diff(start) <= 0).any():
        at = int(np.argmax(np.diff(start) <= 0)) + 1
        raise DataError(
            "Frames do not ascend in time",
            field=f"frame {at}",
            found=f"{start[at]:g} s after {start[at - 1]:g} s",
            expected="ascending start times",
            mend="sort the frames and their values together",
        )
    slack = OVERLAP_TOLERANCE * np.minimum(shortest[1:], shortest[:-1]) + 1e-9
    if (end[:-1] - start[1:] > slack).any():
        at = int(np.argmax(end[:-1] - start[1:] > slack))
        raise DataError(
            "Frames overlap",
            field=f"frames {at} and {at + 1}",
            found=f"{end[at]:g} s and {start[at + 1]:g} s",
            expected="a frame starts where or after the one before ends",
            mend="check whether starts and ends have the same unit (seconds)",
        )
