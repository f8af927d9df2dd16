"""Why a value is NaN, or needs a second look: one flag set per region."""

from __future__ import annotations

from enum import IntFlag

__all__ = ["Reason", "explain"]


class Reason(IntFlag):
    """Flags that combine with ``|``. ``Reason(0)`` means that all is right."""

    EMPTY = 1
    NON_FINITE = 2
    SINGLE_VOXEL = 4
    NOT_POSITIVE = 8
    SPHERE_TRUNCATED = 16
    LOST_BY_RESAMPLING = 32
    SINGLE_REGION = 64


_TEXT = {
    Reason.EMPTY: "the region has no voxel: nothing was measured",
    Reason.NON_FINITE: "the region or its peak sphere holds NaN or infinite values: what they touch is missing",
    Reason.SINGLE_VOXEL: "one voxel has no spread: standard deviation and coefficient of variation are missing",
    Reason.NOT_POSITIVE: "the mean or the maximum is not positive: ratios to it are missing",
    Reason.SPHERE_TRUNCATED: "the peak sphere leaves the image: only the part inside was averaged",
    Reason.LOST_BY_RESAMPLING: "the region vanishes on the resampled grid: its resampled peak is missing",
    Reason.SINGLE_REGION: "fewer than two regions have no distance between them",
}


def explain(reason: int) -> str:
    """The flags as text, ``""`` where none is set."""
    return "; ".join(text for flag, text in _TEXT.items() if reason & flag)
