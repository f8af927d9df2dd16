"""Recovery coefficients: closed forms against numerical blurring, correction against the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.ndimage import gaussian_filter

from timelens.engines.regions.partial_volume import (
    FWHM_PER_SIGMA,
    correct_mean,
    mask_recovery,
    sphere_recovery,
    sphere_recovery_centre,
    voxel_kernel,
)
from timelens.errors import DataError, MissingFieldError
from timelens.tumor.expected import BlurredSphere


def profile(r, radius, sigma):
    """Blurred uniform sphere at distance r from its centre, by integration over shells."""
    if r == 0:
        return quad(lambda s: np.sqrt(2 / np.pi) * s**2 / sigma**3 * np.exp(-(s**2) / 2 / sigma**2), 0, radius)[0]
    kernel = lambda s: (  # noqa: E731
        s
        / (r * sigma * np.sqrt(2 * np.pi))
        * (np.exp(-((s - r) ** 2) / 2 / sigma**2) - np.exp(-((s + r) ** 2) / 2 / sigma**2))
    )
    return quad(kernel, 0, radius, points=[min(r, radius)])[0]


@pytest.mark.parametrize("radius", [0.5, 2.0, 4.0, 10.0, 30.0])
def test_closed_forms_equal_numerical_integrals(radius):
    sigma = 6.0 / FWHM_PER_SIGMA
    np.testing.assert_allclose(sphere_recovery_centre(radius, 6.0), profile(0, radius, sigma), rtol=1e-7)
    mean = quad(lambda r: 3 * r**2 / radius**3 * profile(r, radius, sigma), 1e-9, radius)[0]
    np.testing.assert_allclose(sphere_recovery(radius, 6.0), mean, rtol=1e-6)


@pytest.mark.parametrize("recovery", [sphere_recovery, sphere_recovery_centre])
def test_limits_and_order(recovery):
    radii = np.geomspace(1e-3, 1e4, 200)
    shares = recovery(radii, 6.0)
    assert np.all(np.diff(shares) >= 0) and np.all((shares > 0) & (shares <= 1 + 1e-12))
    np.testing.assert_allclose(recovery(1e5, 6.0), 1, atol=1e-4)
    # A point shows its content at the height of the point spread.
    point = 4 / 3 * np.pi * 1e-9 / (2 * np.pi * (6.0 / FWHM_PER_SIGMA) ** 2) ** 1.5
    np.testing.assert_allclose(recovery(1e-3, 6.0), point, rtol=1e-4)
    np.testing.assert_allclose(recovery(5.0, 6.0), recovery(10.0, 12.0), rtol=1e-12)


def test_recovery_at_the_centre_has_no_step_between_its_two_forms():
    sigma = 6.0 / FWHM_PER_SIGMA
    below, above = sphere_recovery_centre(np.array([0.999999e-2, 1.000001e-2]) * sigma, 6.0)
    np.testing.assert_allclose(above / below, (1.000001 / 0.999999) ** 3, rtol=1e-6)


@pytest.mark.parametrize("diameter", [10, 17, 28, 37])
def test_a_digital_sphere_recovers_as_the_closed_form(ball, diameter):
    mask = ball(diameter, spacing=(1, 1, 1))
    np.testing.assert_allclose(mask_recovery(mask, (1, 1, 1), 6.0), sphere_recovery(diameter / 2, 6.0), rtol=0.025)


def test_wide_kernels_equal_the_sampled_gaussian(ball):
    mask = ball(20, spacing=(1, 1, 1))
    blurred = gaussian_filter(mask, 8.0 / FWHM_PER_SIGMA, truncate=6)
    np.testing.assert_allclose(mask_recovery(mask, (1, 1, 1), 8.0), blurred[mask > 0].mean(), rtol=0.02)


def test_each_direction_may_have_its_own_resolution(ball):
    mask = ball(15)
    shares = [mask_recovery(mask, (2, 2, 2), fwhm) for fwhm in ((6, 6, 6), (9, 6, 6), (6, 9, 6), 6.0)]
    assert shares[0] == shares[3] > shares[1] == pytest.approx(shares[2])


def test_the_bounding_box_is_enough(ball):
    mask = ball(12)
    where = np.argwhere(mask)
    box = tuple(slice(a, b + 1) for a, b in zip(where.min(axis=0), where.max(axis=0), strict=True))
    assert mask_recovery(mask, (2, 2, 2), 7.0) == pytest.approx(mask_recovery(mask[box], (2, 2, 2), 7.0), rel=1e-12)


def test_the_kernel_loses_nothing():
    assert voxel_kernel(3.0, 2.0).sum() == pytest.approx(1.0)
    narrow = voxel_kernel(1e-3, 2.0)
    assert narrow[len(narrow) // 2] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("diameter", [10, 20, 40])
def test_correction_gives_the_truth_back(ball, diameter):
    truth, background = 8.0, 1.5
    share = sphere_recovery(diameter / 2, 6.0)
    measured = share * truth + (1 - share) * background
    np.testing.assert_allclose(correct_mean(measured, share, background), truth, rtol=1e-12)
    mask = ball(diameter, spacing=(1, 1, 1)) > 0
    image = gaussian_filter(np.where(mask, truth, background), 6.0 / FWHM_PER_SIGMA, mode="nearest", truncate=6)
    corrected = correct_mean(image[mask].mean(), mask_recovery(mask, (1, 1, 1), 6.0), background)
    np.testing.assert_allclose(corrected, truth, rtol=0.03)


def test_too_small_a_recovery_gives_no_value():
    assert np.isnan(correct_mean([2.0, 2.0], [0.05, 0.5], 0.0)).tolist() == [True, False]
    assert np.isnan(correct_mean(2.0, np.nan, 0.0))
    assert np.isnan(mask_recovery(np.zeros((3, 3, 3), bool), (1, 1, 1), 6.0))


def test_missing_or_impossible_resolution_is_refused():
    for call in (
        lambda width: sphere_recovery(5.0, width),
        lambda width: sphere_recovery_centre(5.0, width),
        lambda width: mask_recovery(np.ones((2, 2, 2)), (1, 1, 1), width),
    ):
        with pytest.raises(MissingFieldError, match="needs the resolution"):
            call(None)
        for width in (0.0, -4.0, np.nan, (6.0, 6.0)):
            with pytest.raises(DataError, match="resolution is not usable"):
                call(width)
    with pytest.raises(DataError, match="needs one resolution"):
        sphere_recovery(5.0, (6.0, 6.0, 6.0))
    with pytest.raises(DataError, match="needs a radius"):
        sphere_recovery(0.0, 6.0)


@pytest.mark.parametrize("edge", [2.0, 4.0])
@pytest.mark.parametrize("diameter", [12, 20, 36])
def test_a_smooth_outline_recovers_like_the_sphere_it_stands_for(diameter, edge):
    """Against the closed profile of the blurred sphere in the same voxels: 1 %, or 2 % of three voxels, over places."""
    rng = np.random.default_rng(0)
    reach = int(24 / edge)
    grid = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1) * edge] * 3, indexing="ij"))
    seen = BlurredSphere(diameter / 2, 1.0, 0.0, float(np.sqrt(6.0**2 + FWHM_PER_SIGMA**2 * edge**2 / 12)))
    smooth, steps, spacing = [], [], (edge, edge, edge)
    for _ in range(60):
        distance = np.sqrt(((grid - rng.uniform(-edge / 2, edge / 2, 3)[:, None, None, None]) ** 2).sum(axis=0))
        mask = distance <= diameter / 2
        expected = float(seen.profile(distance[mask]).mean())
        smooth.append(mask_recovery(mask, spacing, 6.0, outline="smooth") / expected)
        steps.append(mask_recovery(mask, spacing, 6.0) / expected)
    assert np.mean(smooth) == pytest.approx(1, abs=0.01 if edge < diameter / 4 else 0.02)
    assert np.mean(steps) < np.mean(smooth)
