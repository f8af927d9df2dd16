"""Frames refuse what cannot be a time axis."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.kinetics import Frames
from timelens.errors import DataError, UsageError


def test_frames() -> None:
    frames = Frames([0, 10, 40], [10, 30, 100])
    np.testing.assert_array_equal(frames.middle, [5, 20, 70])
    np.testing.assert_array_equal(frames.duration, [10, 20, 60])
    assert len(frames) == 3 and len(frames.select([0, 2])) == 2
    np.testing.assert_array_equal(Frames.instants([1, 2]).middle, [1, 2])
    with pytest.raises(ValueError, match="read-only"):
        frames.start[0] = 3


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ([0, 10], [10], "one start and one end"),
        ([], [], "one start and one end"),
        ([0, np.nan], [10, 20], "must be numbers"),
        ([0, 10], [10, 5], "ends before it starts"),
        ([0, 10], [10, 10], "no duration"),
        ([10, 0], [20, 10], "do not ascend"),
        ([0, 5], [10, 20], "overlap"),
    ],
)
def test_refusals(start: list[float], end: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Frames(start, end)


def test_unknown_sampling() -> None:
    with pytest.raises(UsageError, match="Unknown sampling"):
        Frames([0], [1], "mean")  # type: ignore[arg-type]
