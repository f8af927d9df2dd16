"""Resolution, noise and activity of the simulated scanner."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from timelens.engines.regions.noise import correlation_length
from timelens.errors import GeometryError
from timelens.study import Image
from timelens.tumor.digital_patient import DigitalPatient, Shape, lesion
from timelens.tumor.expected import blurred_lesion
from timelens.tumor.paint import grid_over, suv_image
from timelens.tumor.scanner import activity_image, add_noise, scanner_image, scanner_view

GRID = grid_over((120, 120, 120), (4, 4, 4), origin=(-60, -60, -60), frame="f")


def test_only_volumes():
    with pytest.raises(GeometryError, match="looks at a volume"):
        scanner_view(Image(np.zeros((3, 3)), unit="1"), 5.0)


@pytest.mark.parametrize("centre", [(0, 0, 0), (1.3, -0.7, 1.9)])
@pytest.mark.parametrize("diameter", [10, 20, 37])
def test_blurred_voxels_follow_the_closed_form_profile(centre, diameter):
    ball = lesion("a", centre, diameter, 9.0)
    patient = DigitalPatient((Shape("bath", (0, 0, 0), (500, 500, 500), 1.0),), (ball,))
    seen = scanner_image(patient, GRID, fwhm_mm=6.0).numpy()
    distance = np.linalg.norm(GRID.to_mm(np.moveaxis(np.indices(GRID.shape), 0, -1)) - centre, axis=-1)
    expected = blurred_lesion(patient, ball, fwhm_mm=6.0, geometry=GRID).profile(distance)
    near = distance < 50
    # Cubic voxels are not quite a Gaussian blur: at most 1 % of the contrast of 8.
    np.testing.assert_allclose(seen[near], expected[near], atol=0.08)


def test_blur_keeps_the_activity():
    ball = suv_image(DigitalPatient((lesion("a", (1, 2, 3), 20, 9),)), GRID)
    assert scanner_view(ball, 7.0).numpy().sum() == pytest.approx(ball.numpy().sum(), rel=1e-5)


def test_noise_has_the_stated_level_and_correlation():
    flat = Image(
        np.full((60, 60, 60), 4.0, np.float32),
        unit="g/mL",
        geometry=grid_over((240,) * 3, (4,) * 3, origin=(0, 0, 0), frame="f"),
    )
    noisy = add_noise(flat, variation=0.1, reference=4.0, correlation_fwhm_mm=8.0, rng=np.random.default_rng(5))
    sd, width = correlation_length(noisy.numpy(), np.ones(noisy.shape), (4, 4, 4))
    assert sd == pytest.approx(0.4, rel=0.01)
    np.testing.assert_allclose(width, 8.0, rtol=0.05)
    hot = add_noise(flat, variation=0.1, reference=1.0, correlation_fwhm_mm=8.0, rng=np.random.default_rng(5))
    assert hot.numpy().std() == pytest.approx(0.2, rel=0.01)  # variance grows with the uptake


def test_noise_comes_from_the_seed_alone():
    image = suv_image(DigitalPatient((lesion("a", (1, 2, 3), 20, 9),)), GRID)
    draws = [
        add_noise(image, variation=0.1, reference=2.0, correlation_fwhm_mm=6.0, rng=np.random.default_rng(s)).numpy()
        for s in (1, 1, 2)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


def test_activity_one_half_life_after_injection():
    suv = suv_image(DigitalPatient((Shape("bath", (0, 0, 0), (500, 500, 500), 2.0),)), GRID)
    start = datetime(2024, 1, 15, 10)
    image = activity_image(
        suv,
        weight_g=80e3,
        injected_bq=400e6,
        half_life_s=6586.2,
        injected=start - timedelta(seconds=6586.2),
        scan_start=start,
    )
    assert image.unit == "Bq/mL"
    assert image.decay_reference == start
    np.testing.assert_allclose(image.numpy(), 2.0 * 200e6 / 80e3, rtol=1e-6)
