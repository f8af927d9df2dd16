"""Frame times: what is refused, and what is computed from them."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import DataError
from timelens.study.timing import FrameTiming


@pytest.fixture
def frames() -> FrameTiming:
    return FrameTiming([0, 10, 20, 60], [10, 10, 30, 60], "injection")


def test_middle_and_end(frames: FrameTiming):
    assert len(frames) == 4
    np.testing.assert_array_equal(frames.end, [10, 20, 50, 120])
    np.testing.assert_array_equal(frames.mid, [5, 15, 35, 90])


@pytest.mark.parametrize(
    ("start", "duration", "message"),
    [
        ([0, 1], [1], r"differ in number. Found: \(2,\), \(1,\)"),
        ([[0, 1]], [[1, 1]], r"differ in number"),
        ([0, np.nan], [1, 1], r"must be finite"),
        ([0, 1], [1, np.inf], r"must be finite"),
        ([0, 1], [1, -1], r"durations not negative"),
        ([0, 0], [0, 0], r"Frame 1 does not start after frame 0.*Found: 0 s, then 0 s"),
        ([5, 0], [1, 1], r"Frame 1 does not start after frame 0.*ascending"),
        ([0, 10], [10_000, 10_000], r"Frame 0 ends after frame 1 starts.*milliseconds"),
    ],
)
def test_impossible_times_are_refused(start: list, duration: list, message: str):
    with pytest.raises(DataError, match=message):
        FrameTiming(start, duration)


def test_gaps_and_rounding_are_allowed():
    FrameTiming([0, 20], [10, 10])
    FrameTiming([0, 10], [10.0005, 10])


def test_one_frame_may_be_given_as_a_number():
    assert len(FrameTiming(0.0, 60.0)) == 1


def test_the_times_are_a_copy():
    start = np.array([0.0, 10.0])
    frames = FrameTiming(start, np.array([10.0, 10.0]))
    start[0] = 99
    assert frames.start[0] == 0


def test_some_frames(frames: FrameTiming):
    for index in (slice(1, 3), np.array([1, 2]), np.array([False, True, True, False])):
        part = frames.take(index)
        np.testing.assert_array_equal(part.start, [10, 20])
        np.testing.assert_array_equal(part.duration, [10, 30])
        assert part.zero == "injection"
    with pytest.raises(DataError, match=r"does not start after"):
        frames.take(slice(None, None, -1))


def test_frames_agree_within_a_millisecond(frames: FrameTiming):
    assert frames.close_to(FrameTiming(frames.start + 5e-4, frames.duration, "injection"))
    assert not frames.close_to(FrameTiming(frames.start + 1e-2, frames.duration, "injection"))
    assert not frames.close_to(FrameTiming(frames.start, frames.duration - 1e-2, "injection"))
    assert not frames.close_to(FrameTiming(frames.start, frames.duration, "first frame"))
    assert not frames.close_to(frames.take(slice(0, 2)))
