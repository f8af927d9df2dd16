"""Attenuation at 511 keV: published coefficients, chords of a disc, linearity."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.radioactivity.attenuation import (
    WATER_PER_MM,
    line_survival,
    mu_511kev,
    parallel_lines,
    seen_along_lines,
)
from timelens.errors import DataError


def test_air_water_bone():
    np.testing.assert_allclose(mu_511kev([-1024, -1000, 0]), [0, 0, 9.6e-3])
    # Carney 2006 at 1000 HU: 5.10e-5 x 2000 + 4.71e-2 = 0.1491 per cm.
    assert mu_511kev(1000.0) == pytest.approx(0.01491)
    below, above = mu_511kev([46.999, 47.001])
    assert above - below == pytest.approx(0, abs=1e-5)  # the two lines meet


def test_volumes_only():
    with pytest.raises(DataError, match="through volumes"):
        line_survival(np.zeros((3, 3)), (4, 4, 4))


def test_every_pixel_is_wholly_divided_between_lines():
    matrix = parallel_lines(9, 12, 4.0, 5.0, 6)
    np.testing.assert_allclose(np.asarray(matrix.sum(axis=0)).ravel(), 6.0, rtol=1e-12)


def disc(radius: float, step: float, n: int = 81) -> np.ndarray:
    y, x = np.meshgrid(*[(np.arange(n) - n // 2) * step] * 2, indexing="ij")
    return (np.hypot(y, x) <= radius).astype(float)[None]


def test_centre_of_a_disc():
    """From the centre every line has the diameter: 200 mm of water leave exp(-1.92)."""
    step, radius = 4.0, 100.0
    water = disc(radius, step)
    survival = line_survival(WATER_PER_MM * water, (4.0, step, step))
    seen = seen_along_lines(water, survival, (4.0, step, step))
    assert seen[0, 40, 40] == pytest.approx(200 * np.exp(-1.92), rel=0.03)
    # Off the centre chords are shorter and survive better; outside a line may see nothing at all.
    assert seen[0, 40, 60] > 1.02 * seen[0, 40, 40]


def test_without_matter_the_line_integral_remains():
    water = disc(60.0, 3.0)
    seen = seen_along_lines(water, line_survival(0 * water, (3.0, 3.0, 3.0)), (3.0, 3.0, 3.0))
    assert seen[0, 40, 40] == pytest.approx(120, rel=0.03)


def test_linear_in_activity():
    rng = np.random.default_rng(1)
    activity = rng.uniform(0, 5, (2, 3, 20, 24))
    survival = line_survival(rng.uniform(0, 0.01, (3, 20, 24)), (4.0, 4.0, 4.0))
    seen = seen_along_lines(activity, survival, (4.0, 4.0, 4.0))
    both = seen_along_lines(3 * activity[0] + activity[1], survival, (4.0, 4.0, 4.0))
    np.testing.assert_allclose(both, 3 * seen[0] + seen[1], rtol=1e-12)
