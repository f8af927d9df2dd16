"""Lesion identity: overlap, distance, one to one, merging, splitting, names and fixed pairs."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.regions.match import match_by_name, match_labels
from timelens.errors import DataError, GeometryError


def volume(**places):
    """Boxes along x: ``_5=(10, 14)`` puts label 5 at x from 10 to 13."""
    labels = np.zeros((3, 3, 100), np.uint8)
    for name, (start, stop) in places.items():
        labels[:, :, start:stop] = int(name[1:])
    return labels


def rows(matching):
    return sorted(zip(matching.before.tolist(), matching.after.tolist(), matching.status.tolist(), strict=True))


def test_each_lesion_keeps_its_identity_whatever_its_label():
    result = match_labels(volume(_1=(5, 10), _2=(50, 56)), volume(_1=(51, 55), _2=(6, 11)), (1, 1, 1))
    assert result.pairs() == {1: 2, 2: 1}
    assert result.distance_mm.tolist() == [1.0, 0.0]
    assert result.overlap.tolist() == [0.8, 1.0]


def test_lesions_that_moved_are_paired_by_distance_in_mm():
    before, after = volume(_1=(10, 14)), volume(_1=(20, 24))
    assert match_labels(before, after, (1, 1, 1)).pairs() == {1: 1}
    assert rows(match_labels(before, after, (1, 1, 3))) == [(0, 1, "new"), (1, 0, "resolved")]


def test_as_many_pairs_as_possible_then_the_nearest():
    # The nearest pair alone (2 with 1) would leave lesion 1 without a partner within reach.
    before, after = volume(_1=(10, 12), _2=(22, 24)), volume(_1=(24, 26), _2=(40, 42))
    assert match_labels(before, after, (1, 1, 1), max_distance_mm=18).pairs() == {1: 1, 2: 2}


def test_merged_lesions_point_to_the_one_they_became():
    result = match_labels(volume(_1=(10, 20), _2=(22, 26)), volume(_7=(10, 27)), (1, 1, 1))
    assert rows(result) == [(1, 7, "matched"), (2, 0, "merged")]
    assert result.partner.tolist() == [0, 7]


def test_split_lesions_point_to_the_one_they_came_from():
    result = match_labels(volume(_7=(10, 27)), volume(_1=(10, 20), _2=(22, 26)), (1, 1, 1))
    assert rows(result) == [(0, 2, "split"), (7, 1, "matched")]
    assert result.partner.tolist() == [0, 7]


def test_new_and_resolved():
    assert rows(match_labels(volume(_1=(1, 3)), volume(_1=(90, 95)), (1, 1, 1))) == [
        (0, 1, "new"),
        (1, 0, "resolved"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (volume(), volume(), []),
        (volume(_3=(4, 6)), volume(), [(3, 0, "resolved")]),
        (volume(), volume(_3=(4, 6)), [(0, 3, "new")]),
    ],
)
def test_nothing_to_match(before, after, expected):
    assert rows(match_labels(before, after, (1, 1, 1))) == expected


def test_pairs_fixed_by_hand_go_first():
    before, after = volume(_1=(10, 14), _2=(60, 64)), volume(_1=(10, 14), _2=(60, 64))
    result = match_labels(before, after, (1, 1, 1), fixed={1: 2})
    assert result.pairs() == {1: 2}
    with pytest.raises(DataError, match=r"fixed pair does not exist.*Found: 9"):
        match_labels(before, after, (1, 1, 1), fixed={9: 1})


def test_a_volume_matches_itself(rng):
    labels = rng.integers(0, 6, (8, 9, 10))
    result = match_labels(labels, labels, (2, 2, 2))
    assert result.pairs() == {k: k for k in range(1, 6)}
    assert result.overlap.tolist() == [1.0] * 5


def test_other_grids_are_refused():
    with pytest.raises(GeometryError, match="one grid only"):
        match_labels(np.zeros((2, 2, 2), int), np.zeros((2, 2, 3), int), (1, 1, 1))


def test_names():
    result = match_by_name({"liver": 1, "node": 2}, {"node": 5, "lung": 3})
    assert rows(result) == [(0, 3, "new"), (1, 0, "resolved"), (2, 5, "matched")]
    assert np.isnan(result.distance_mm).all()
    assert len(match_by_name({}, {})) == 0
