"""What a noise-free scanner shows: resolution and activity."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from timelens.errors import GeometryError
from timelens.lenses.pet.view import activity_image, scanner_image, scanner_view
from timelens.study import Image
from timelens.tumor.digital_patient import DigitalPatient, Shape, lesion
from timelens.tumor.expected import blurred_lesion
from timelens.tumor.paint import grid_over, suv_image

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
    assert scanner_view(ball, 7.0).numpy().sum(dtype=float) == pytest.approx(ball.numpy().sum(dtype=float), rel=1e-6)


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
