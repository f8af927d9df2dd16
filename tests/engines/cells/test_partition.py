"""The best set of regions of a tree: discs that touch, one that is dented, what is like no nucleus."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from timelens.engines.cells.partition import partition


def _discs(*places, size=(60, 120), radius=12.0):
    y, x = np.mgrid[: size[0], : size[1]]
    return np.any([np.hypot(y - v, x - u) <= radius for v, u in places], axis=0)


def _parted(mask, saddle=0.002, diameter=24.0):
    away = ndimage.distance_transform_edt(mask) / 12
    relief = ndimage.gaussian_filter(away, 1).astype(np.float32)
    return partition(relief, mask.astype(np.float32), mask, diameter, saddle)


def test_an_empty_foreground_has_no_regions():
    assert _parted(np.zeros((20, 20), bool)).max() == 0


def test_discs_that_touch_are_parted_and_each_pixel_is_in_one():
    mask = _discs((30, 30), (30, 52), (30, 74))
    found = _parted(mask)
    assert found.max() == 3 and np.array_equal(found > 0, mask)
    assert sorted(np.bincount(found.ravel())[1:]) == pytest.approx([mask.sum() / 3] * 3, rel=0.12)


def test_shallow_saddles_do_not_part_what_is_one_ellipse():
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:60, :60]
    mask = ((y - 30) / 14) ** 2 + ((x - 30) / 9) ** 2 <= 1
    bumpy = ndimage.gaussian_filter(rng.random(mask.shape), 1.5).astype(np.float32)
    assert partition(bumpy, mask.astype(np.float32), mask, 24, 1e-6).max() == 1


def test_a_saddle_deeper_than_all_joins_all():
    two = _discs((30, 30), (30, 50))
    assert _parted(two).max() == 2 and _parted(two, saddle=10.0).max() == 1


def test_what_is_like_no_nucleus_is_left_out():
    assert _parted(_discs((30, 30), radius=2)).max() == 0  # less than a tenth of a nucleus
    y, x = np.mgrid[:60, :60]
    ring = np.abs(np.hypot(y - 30, x - 30) - 20) < 2
    even = np.ones(ring.shape, np.float32)
    assert partition(even, ring.astype(np.float32), ring, 24, 0.002).max() == 0


def test_peaks_of_equal_height_and_plateaus_are_settled():
    even = np.ones((30, 30), np.float32)
    found = partition(even, even, np.ones((30, 30), bool), 30, 0.002)
    assert found.max() == 1 and (found == 1).all()
