"""Fractions of the maximum and the steepest edge, on spheres blurred as a scanner does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import erf

from timelens.engines.regions.labels import find_regions
from timelens.engines.regions.partial_volume import FWHM_PER_SIGMA
from timelens.engines.regions.segment_local import fraction_of_maximum, gradient_watershed
from timelens.errors import DataError, GeometryError, UsageError


def steepest_radius(radius, sigma):
    """Where the closed form of a blurred uniform sphere falls fastest."""
    r = np.linspace(0.5 * radius, 1.5 * radius, 100_001)
    edge = erf((radius - r) / np.sqrt(2) / sigma) + erf((radius + r) / np.sqrt(2) / sigma)
    near, far = (np.exp(-((radius + side * r) ** 2) / 2 / sigma**2) for side in (-1, 1))
    blurred = edge / 2 - sigma / (np.sqrt(2 * np.pi) * r) * (near - far)
    return r[np.gradient(blurred, r).argmin()]


DIAMETERS = [8, 10, 13, 17, 22, 28, 37, 60]


@pytest.mark.parametrize("diameter", DIAMETERS)
@pytest.mark.parametrize("fraction", [0.41, 0.5])
def test_half_of_the_maximum_of_a_sharp_sphere(ball, diameter, fraction):
    inside = ball(diameter, supersample=5)
    result = fraction_of_maximum(10 * inside, (2, 2, 2), fraction, candidates=np.ones(inside.shape, np.uint8))
    volume = find_regions(result.labels).counts[0] * 0.008
    # Below one half the boundary lies up to a tenth of a voxel outside.
    expected = np.pi / 6 * (diameter + 2 * (0.5 - fraction) * 2) ** 3 / 1000
    np.testing.assert_allclose(volume, expected, rtol=(4 / diameter) ** 1.5)
    assert result.method == f"max_{100 * fraction:g}_percent"


@pytest.mark.parametrize("diameter", [28, 37, 60])
def test_the_steepest_edge_of_a_blurred_sphere_is_found_whatever_its_contrast(ball, diameter):
    sharp = ball(diameter, supersample=5, margin=24)
    sigma = 6 / FWHM_PER_SIGMA
    expected = steepest_radius(diameter / 2, sigma)
    assert expected == pytest.approx(diameter / 2 - sigma**2 / (diameter / 2), abs=0.05)
    for contrast in (3.0, 12.0):
        image = 1 + (contrast - 1) * gaussian_filter(sharp, sigma / 2)
        result = gradient_watershed(image, (2, 2, 2), (image > 0.7 * contrast).astype(np.uint8))
        radius = np.cbrt(find_regions(result.labels).counts[0] * 8 * 3 / (4 * np.pi))
        # Within 0.15 voxel edges.
        assert abs(radius - expected) < 0.15 * 2


@pytest.mark.parametrize("diameter", [8, 10, 13, 17, 22])
def test_the_steepest_edge_of_a_small_sharp_sphere(ball, diameter):
    sharp = ball(diameter, spacing=(1, 1, 1), supersample=5, margin=20)
    result = gradient_watershed(1 + 9 * sharp, (1, 1, 1), (sharp > 0.9).astype(np.uint8))
    volume = find_regions(result.labels).counts[0] / 1000
    # The ridge of the gradient is two voxels wide, so the border is known to one voxel.
    low, high = (np.pi / 6 * (diameter + 2 * side) ** 3 / 1000 for side in (-1, 1))
    assert low < volume < high


def test_candidates_keep_their_labels_and_limits():
    image = np.zeros((5, 5, 30))
    image[1:4, 1:4, 2:12] = 10.0
    image[1:4, 1:4, 20:25] = 4.0
    candidates = np.zeros(image.shape, np.uint8)
    candidates[:, :, :8], candidates[:, :, 15:] = 5, 2
    result = fraction_of_maximum(image, (2, 2, 2), 0.41, candidates=candidates)
    found = find_regions(result.labels)
    assert found.labels.tolist() == [2, 5]
    assert found.counts.tolist() == [45, 54]


def test_only_the_part_connected_with_the_maximum_counts():
    image = np.zeros((3, 3, 20))
    image[1, 1, 2:5], image[1, 1, 10:14] = 10.0, 9.0
    labels = fraction_of_maximum(image, (2, 2, 2), 0.5, candidates=np.ones(image.shape, bool)).labels
    assert np.flatnonzero(labels[1, 1]).tolist() == [2, 3, 4]


def test_seeds_climb_to_the_maximum_and_fill_far_beyond():
    image = np.zeros((9, 9, 160))
    image[3:6, 3:6, 5:150] = 5.0
    image[4, 4, 20] = 6.0
    result = fraction_of_maximum(image, (2, 2, 2), 0.5, seeds=[(4, 4, 17)], search_radius_mm=8)
    assert (result.labels > 0).sum() == 9 * 145
    assert result.parameters["seeds"] == [(4, 4, 17)]


def test_two_seeds_in_one_lesion_give_one_region_and_order_does_not_matter():
    image = np.zeros((5, 5, 40))
    image[1:4, 1:4, 2:14] = 10.0
    image[1:4, 1:4, 25:30] = 20.0
    seeds = [(2, 2, 3), (2, 2, 10), (2, 2, 27)]
    first = fraction_of_maximum(image, (2, 2, 2), 0.41, seeds=seeds, search_radius_mm=4)
    second = fraction_of_maximum(image, (2, 2, 2), 0.41, seeds=seeds[::-1], search_radius_mm=4)
    assert np.array_equal(first.labels, second.labels)
    assert find_regions(first.labels).counts.tolist() == [108, 45]


def test_excluded_voxels_are_never_inside():
    image = np.zeros((3, 3, 20))
    image[1, 1, 2:12] = 10.0
    organs = np.zeros(image.shape, bool)
    organs[1, 1, 6:] = True
    for options in ({"seeds": [(1, 1, 3)]}, {"candidates": np.ones(image.shape, np.uint8)}):
        labels = fraction_of_maximum(image, (2, 2, 2), 0.5, exclude=organs, **options).labels
        assert np.flatnonzero(labels[1, 1]).tolist() == [2, 3, 4, 5]
    labels = gradient_watershed(image, (2, 2, 2), np.ones(image.shape, np.uint8), exclude=organs).labels
    assert not labels[organs].any()


def test_neighbouring_candidates_do_not_run_into_each_other():
    image = np.ones((15, 15, 40))
    image[4:11, 4:11, 5:15] = 8.0
    image[4:11, 4:11, 18:30] = 20.0
    candidates = np.zeros(image.shape, np.uint8)
    candidates[5:10, 5:10, 6:14], candidates[5:10, 5:10, 19:29] = 1, 2
    labels = gradient_watershed(image, (2, 2, 2), candidates).labels
    assert labels[7, 7, 10] == 1 and labels[7, 7, 25] == 2
    assert not (labels[candidates == 1] == 2).any()


def test_candidates_without_uptake_stay_empty():
    image = np.zeros((4, 4, 4))
    assert not fraction_of_maximum(image, (1, 1, 1), 0.5, candidates=np.ones(image.shape, bool)).labels.any()
    image[:] = np.nan
    assert not fraction_of_maximum(image, (1, 1, 1), 0.5, candidates=np.ones(image.shape, bool)).labels.any()
    assert not gradient_watershed(image, (1, 1, 1), np.ones(image.shape, np.uint8)).labels.any()


def test_wrong_arguments_are_refused():
    image = np.ones((4, 4, 4))
    with pytest.raises(UsageError, match="Not a fraction"):
        fraction_of_maximum(image, (1, 1, 1), 41, seeds=[(1, 1, 1)])
    for options in ({}, {"seeds": [(1, 1, 1)], "candidates": image}):
        with pytest.raises(UsageError, match="either candidate regions or seeds"):
            fraction_of_maximum(image, (1, 1, 1), 0.41, **options)
    with pytest.raises(DataError, match="no uptake around a seed"):
        fraction_of_maximum(np.zeros((4, 4, 4)), (1, 1, 1), 0.41, seeds=[(1, 1, 1)])
    with pytest.raises(DataError, match="outside the volume"):
        fraction_of_maximum(image, (1, 1, 1), 0.41, seeds=[(1, 1, 9)])
    with pytest.raises(GeometryError, match="not on one grid"):
        gradient_watershed(image, (1, 1, 1), np.ones((4, 4, 5), np.uint8))
    with pytest.raises(UsageError, match="Levels out of order"):
        gradient_watershed(image, (1, 1, 1), np.ones((4, 4, 4), np.uint8), inner=0.2, outer=0.5)
