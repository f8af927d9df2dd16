"""Standard error of a mean under correlated noise, against the spread over many noise images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from timelens.engines.regions.noise import (
    correlated_noise,
    correlation_length,
    mean_standard_error,
    weighted_standard_error,
)
from timelens.engines.regions.partial_volume import FWHM_PER_SIGMA
from timelens.errors import DataError


def test_white_noise_has_no_length_and_the_plain_error(rng):
    image = rng.normal(5, 2, (30, 30, 30))
    sd, widths = correlation_length(image, np.ones(image.shape), (2, 2, 2))
    assert sd == pytest.approx(2, rel=0.03)
    # Chance correlation of neighbours, below 0.03 here, counts as a width of at most 1.3 voxels.
    assert np.all(widths < 2.6)
    assert mean_standard_error(np.ones((5, 5, 5)), (2, 2, 2), 2.0, (0, 0, 0)) == pytest.approx(2 / np.sqrt(125))


def test_the_width_of_smoothed_noise_is_found(rng):
    spacing = np.array([3.0, 2.0, 2.0])
    smooth = np.array([6.0, 7.0, 8.0]) / FWHM_PER_SIGMA / spacing
    image = gaussian_filter(rng.normal(0, 1, (60, 80, 80)), smooth, mode="wrap")
    _, widths = correlation_length(image, np.ones(image.shape), spacing)
    np.testing.assert_allclose(widths, [6.0, 7.0, 8.0], rtol=0.05)


def test_the_error_is_the_spread_over_many_images(rng, ball):
    mask = ball(16, spacing=(2, 2, 2)) > 0
    sigma = 6.0 / FWHM_PER_SIGMA / 2
    images = gaussian_filter(rng.normal(0, 1, (2000, *mask.shape)), (0, sigma, sigma, sigma), mode="wrap")
    means = images[:, mask].mean(axis=1)
    predicted = mean_standard_error(mask, (2, 2, 2), float(images.std()), (6.0, 6.0, 6.0))
    # 2,000 draws know a standard deviation to 1.6 %.
    np.testing.assert_allclose(predicted, means.std(), rtol=0.06)
    assert predicted > 3 * images.std() / np.sqrt(mask.sum())


def test_the_error_of_a_difference_knows_that_neighbours_share_noise(rng):
    """Two boxes side by side, one minus half of the other, over many images."""
    images = gaussian_filter(rng.normal(0, 1, (3000, 12, 12, 12)), (0, 1.2, 1.2, 1.2), mode="wrap")
    weights = np.zeros((12, 12, 12))
    weights[3:7, 3:7, 3:7], weights[7:9, 3:7, 3:7] = 1 / 64, -0.5 / 32
    predicted = weighted_standard_error(weights * images.std(), (2, 2, 2), np.full(3, 1.2 * 2 * FWHM_PER_SIGMA))
    np.testing.assert_allclose(predicted, (images * weights).sum(axis=(1, 2, 3)).std(), rtol=0.05)
    apart = [weighted_standard_error(np.where(weights * s > 0, weights, 0), (2, 2, 2), (5.65,) * 3) for s in (1, -1)]
    assert predicted < 0.95 * np.hypot(*apart) * images.std()


def test_an_estimate_needs_enough_finite_voxels(rng):
    image = rng.normal(size=(10, 10, 10))
    with pytest.raises(DataError, match=r"cannot be estimated.*27 voxels"):
        correlation_length(image, np.pad(np.ones((3, 3, 3)), (0, 7)), (1, 1, 1))
    image[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        correlation_length(image, np.ones(image.shape), (1, 1, 1))


def test_degenerate_regions():
    assert np.isnan(mean_standard_error(np.zeros((3, 3, 3)), (1, 1, 1), 1.0, (2, 2, 2)))
    assert mean_standard_error(np.ones((1, 1, 1)), (1, 1, 1), 1.5, (9, 9, 9)) == 1.5
    sd, widths = correlation_length(np.ones((6, 6, 6)), np.ones((6, 6, 6)), (1, 1, 1))
    assert sd == 0 and widths.tolist() == [0, 0, 0]


@pytest.mark.parametrize("sigma", [(0.0, 0.0, 0.0), (0.0, 1.0, 2.0)])
def test_noise_has_variance_one_and_the_correlation_of_its_gaussian(sigma):
    noise = correlated_noise((40, 48, 56), sigma, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1.0, rel=0.02)
    for axis, width in enumerate(sigma):
        found = float(np.mean(noise * np.roll(noise, 1, axis)))
        assert found == pytest.approx(math.exp(-1 / (4 * width**2)) if width else 0.0, abs=0.03)
