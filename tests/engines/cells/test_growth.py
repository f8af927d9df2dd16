"""Growth of nuclei to cells: brute force, membranes, tiles, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from timelens.engines.cells.growth import expand, grow_to_membrane
from timelens.errors import UsageError


def test_growth_by_brute_force(rng):
    labels = np.where(rng.random((20, 24)) < 0.03, rng.integers(1, 9, (20, 24)), 0)
    found = expand(labels, 3.5)
    away = ndimage.distance_transform_edt(labels == 0)
    assert np.array_equal(found > 0, away <= 3.5)
    rows, columns = np.nonzero(labels)
    for y, x in zip(*np.nonzero(found), strict=True):
        far = np.hypot(rows - y, columns - x)
        assert found[y, x] in labels[rows, columns][far <= far.min() + 1e-9]
    assert np.array_equal(expand(labels, 0), labels)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: expand(np.zeros((3, 3)), 1), "whole numbers"),
        (lambda: expand(np.zeros((3, 3), int), -1), "distance in pixels"),
        (lambda: expand(np.full((3, 3), -1), 1), "whole numbers"),
        (lambda: grow_to_membrane(np.zeros((3, 3), int), np.zeros((2, 3)), 1), "differ in size"),
        (lambda: grow_to_membrane(np.zeros((3, 3), int), np.zeros((3, 3)), 1, tile=3), "make no sense"),
        (lambda: grow_to_membrane(np.zeros((3, 3), int), np.zeros((3, 3)), 1, sigma=np.nan), "make no sense"),
    ],
)
def test_growth_that_makes_no_sense_is_refused(call, said):
    with pytest.raises(UsageError, match=said):
        call()


def test_cells_end_at_their_membrane():
    labels = np.zeros((21, 41), int)
    labels[10, 5], labels[10, 35] = 1, 2
    membrane = np.zeros((21, 41))
    membrane[:, 12] = 50  # nearer to the first nucleus
    found = grow_to_membrane(labels, membrane, 40, sigma=0.5)
    assert (found[:, :12] == 1).all() and (found[:, 13:] == 2).all()
    near = grow_to_membrane(labels, membrane, 5, sigma=0.5)
    assert np.array_equal(near > 0, expand(labels, 5) > 0)


@pytest.mark.parametrize("tile", [50, 97])
def test_tiles_of_growth_do_not_show(rng, tile):
    labels = np.where(rng.random((150, 170)) < 0.004, np.arange(150 * 170).reshape(150, 170), 0)
    membrane = ndimage.gaussian_filter(rng.random((150, 170)) ** 8, 1) * 30
    whole = grow_to_membrane(labels, membrane, 4)
    assert np.array_equal(grow_to_membrane(labels, membrane, 4, tile=tile), whole)
    assert np.array_equal(whole > 0, expand(labels, 4) > 0)


def test_without_a_membrane_the_nearest_wins():
    labels = np.zeros((1, 20), int)
    labels[0, 2], labels[0, 11] = 7, 3
    for membrane in (np.zeros((1, 20)), np.full((1, 20), np.nan), np.full((1, 20), 5.0)):
        found = grow_to_membrane(labels, membrane, 30)
        assert found[0].tolist() == [7] * 7 + [3] * 13
    assert grow_to_membrane(np.zeros((4, 4), int), np.ones((4, 4)), 3).max() == 0


def test_nothing_grows_through_a_membrane_that_makes_the_way_too_long():
    labels = np.zeros((11, 41), int)
    labels[5, 5] = 1
    membrane = np.zeros((11, 41))
    membrane[:, 12] = 50
    assert (grow_to_membrane(labels, membrane, 30, sigma=0)[:, 13:35] == 1).all()
    found = grow_to_membrane(labels, membrane, 30, sigma=0, longest=15)
    assert (found[:, 13:] == 0).all() and (found[:, 5:12] == 1).all()
