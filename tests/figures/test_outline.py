"""Outlines along voxel edges."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from timelens.figures.outline import edges, voxels_by_region


def test_no_pixels_have_no_outline() -> None:
    none = np.empty(0, int)
    assert edges(none, none).shape == (0, 2, 2)
    assert voxels_by_region(np.zeros((2, 3, 4), int)) == {}


def test_one_pixel_has_four_sides_half_a_pixel_away() -> None:
    found = {tuple(map(tuple, s)) for s in edges(np.array([3]), np.array([7]))}
    assert found == {
        ((6.5, 2.5), (7.5, 2.5)),
        ((6.5, 3.5), (7.5, 3.5)),
        ((6.5, 2.5), (6.5, 3.5)),
        ((7.5, 2.5), (7.5, 3.5)),
    }


def test_a_straight_side_is_one_segment() -> None:
    rows, columns = np.nonzero(np.ones((4, 6), bool))
    assert len(edges(rows, columns)) == 4


@given(arrays(bool, (5, 6), elements=st.booleans()))
def test_length_is_the_number_of_differing_neighbours(mask: np.ndarray) -> None:
    padded = np.pad(mask, 1)
    expected = (padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum()
    segments = edges(*np.nonzero(mask))
    assert np.abs(segments[:, 1] - segments[:, 0]).sum() == expected


@given(arrays(np.int16, (3, 4, 5), elements=st.integers(0, 3)))
def test_every_labelled_voxel_is_found_once(labels: np.ndarray) -> None:
    found = voxels_by_region(labels)
    assert list(found) == sorted(set(labels[labels > 0].tolist()))
    again = np.zeros_like(labels)
    for number, index in found.items():
        again[tuple(index.T)] = number
    np.testing.assert_array_equal(again, labels)
    turned = voxels_by_region(labels.transpose(2, 0, 1))  # not contiguous
    assert {n: len(i) for n, i in turned.items()} == {n: len(i) for n, i in found.items()}
