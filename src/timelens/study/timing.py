"""Frame timing: when each frame of a series was measured.

Times are seconds from time zero: the injection where it is known, else the start of the first frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError

__all__ = ["FrameTiming"]


@dataclass(frozen=True, eq=False)
class FrameTiming:
    """Start and duration of each frame.

    Parameters
    ----------
    start, duration
        Seconds, one per frame. Starts must ascend; a duration must not be negative. Frames may leave gaps.
    zero
        What time zero is.

    Raises
    ------
    DataError
        If lengths differ, values are not finite, starts do not ascend or frames overlap by more than a millisecond.
    """

    start: NDArray[np.float64]
    duration: NDArray[np.float64]
    zero: Literal["injection", "first frame"] = "first frame"

    def __post_init__(self) -> None:
        start = np.atleast_1d(np.array(self.start, float))
        duration = np.atleast_1d(np.array(self.duration, float))
        if start.ndim != 1 or start.shape != duration.shape:
            raise DataError("Frame starts and durations differ in number", found=f"{start.shape}, {duration.shape}")
        if not (np.isfinite(start).all() and np.isfinite(duration).all()) or (duration < 0).any():
            raise DataError("Frame times must be finite and durations not negative", field="FrameDuration")
        if (np.diff(start) <= 0).any():
            at = int(np.argmax(np.diff(start) <= 0)) + 1
            raise DataError(
                f"Frame {at} does not start after frame {at - 1}",
                field="FrameTimesStart",
                found=f"{start[at - 1]:g} s, then {start[at]:g} s",
                expected="ascending times",
            )
        if (start[:-1] + duration[:-1] - start[1:] > 1e-3).any():
            at = int(np.argmax(start[:-1] + duration[:-1] - start[1:] > 1e-3))
            raise DataError(
                f"Frame {at} ends after frame {at + 1} starts",
                field="FrameDuration",
                found=f"{start[at] + duration[at]:g} s > {start[at + 1]:g} s",
                expected="frames that do not overlap",
                mend="check the unit of the frame times (milliseconds, seconds or minutes)",
            )
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "duration", duration)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def end(self) -> NDArray[np.float64]:
        """End of each frame in seconds."""
        return self.start + self.duration

    @property
    def mid(self) -> NDArray[np.float64]:
        """Middle of each frame in seconds."""
        return self.start + self.duration / 2

    def take(self, index: slice | NDArray[np.int_] | NDArray[np.bool_]) -> FrameTiming:
        """The timing of some of the frames."""
        return FrameTiming(np.atleast_1d(self.start[index]), np.atleast_1d(self.duration[index]), self.zero)

    def close_to(self, other: FrameTiming, tolerance: float = 1e-3) -> bool:
        """Whether both have the same frames within a tolerance in seconds and the same time zero."""
        return (
            len(self) == len(other)
            and self.zero == other.zero
            and bool(np.allclose(self.start, other.start, rtol=0, atol=tolerance))
            and bool(np.allclose(self.duration, other.duration, rtol=0, atol=tolerance))
        )
