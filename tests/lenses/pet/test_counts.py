"""Counts and noise of the PET model: its size and width, counts on lines, noise from a scanner's sensitivity."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.regions.noise import correlation_length
from timelens.lenses.pet.counts import (
    calibration_counts,
    cov_from_sensitivity,
    line_counts,
    prompts_per_true,
    relative_noise,
    with_noise,
)


def test_noise_keeps_the_mean_and_has_the_stated_size_and_width():
    flat = np.full((60, 60, 60), 4.0, np.float32)
    noisy = with_noise(flat, 0.15, (4.0, 4.0, 4.0), 8.0, np.random.default_rng(5))
    sd, width = correlation_length(noisy, np.ones(noisy.shape), (4, 4, 4))
    assert sd == pytest.approx(0.6, rel=0.02)
    np.testing.assert_allclose(width, 8.0, rtol=0.05)
    assert noisy.mean() == pytest.approx(4.0, rel=0.005)
    assert noisy.min() > 0
    white = with_noise(flat, 1.5, (4.0, 4.0, 4.0), 0.0, np.random.default_rng(5))
    assert white.mean() == pytest.approx(4.0, rel=0.02)
    assert white.std() == pytest.approx(6.0, rel=0.1)


def test_noise_comes_from_the_seed_alone():
    flat = np.full((12, 12, 12), 4.0, np.float32)
    a, b, c = (with_noise(flat, 0.1, (4, 4, 4), 6.0, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).all()


def test_four_times_the_counts_halve_the_noise():
    one, four = (relative_noise(n, cov=0.1, reference_counts=100.0) for n in (100.0, 400.0))
    assert one == pytest.approx(0.1)
    assert four == pytest.approx(0.05)
    assert relative_noise(100.0, cov=0.1, reference_counts=100.0, prompts=4.0) == pytest.approx(0.2)
    assert relative_noise(0.0, cov=0.1, reference_counts=100.0) == pytest.approx(2.0)
    assert relative_noise(5.0, cov=0.0, reference_counts=100.0) == pytest.approx(0.0)


def test_prompts():
    """T 65, S 35, R 100 of 200: three counts for each true one."""
    assert prompts_per_true(0.35, 0.5, 1.0) == pytest.approx(200 / 65)
    assert prompts_per_true(0.35, 0.5, 0.0) == pytest.approx(100 / 65)


def test_counts_on_lines_fall_with_matter():
    """At the centre of a water cylinder of 200 mm, exp(-1.92) of the counts without water are left."""
    y, x = np.meshgrid(*[(np.arange(60) - 29.5) * 4.0] * 2, indexing="ij")
    disc = np.broadcast_to((np.hypot(y, x) <= 100).astype(float), (4, 60, 60))
    free = line_counts(disc[None], 0 * disc, (4.0, 4.0, 4.0))
    water = line_counts(disc[None], 9.6e-3 * disc, (4.0, 4.0, 4.0))
    assert free[0, 2, 30, 30] == pytest.approx(200, rel=0.04)
    assert water[0, 2, 30, 30] / free[0, 2, 30, 30] == pytest.approx(np.exp(-1.92), rel=0.04)
    middle = np.hypot(y, x) <= 60
    assert calibration_counts(200.0, 1.0) == pytest.approx(1 / np.mean(1 / water[0, 2][middle]), rel=0.04)


#: A scanner of 221 mm with 9.6 cps/kBq, and a cylinder of 200 mm with 5 kBq/mL, scanned for 300 s.
SCANNER = {
    "cps_per_kbq": 9.6, "axial_fov_mm": 221.0, "concentration_bq_per_ml": 5000.0, "duration_s": 300.0,
    "diameter_mm": 200.0, "fwhm_mm": (6.0, 6.0, 6.0), "prompts": 2.05,
}  # fmt: skip


def _cov(**changes):
    given = {**SCANNER, **changes}
    return cov_from_sensitivity(given.pop("cps_per_kbq"), **given)


def test_noise_of_a_scanner_follows_its_counts():
    base = _cov()
    assert 0.08 < base < 0.16  # what such scanners show
    assert _cov(duration_s=1200.0) == pytest.approx(base / 2)
    assert _cov(cps_per_kbq=38.4) == pytest.approx(base / 2)
    assert _cov(fwhm_mm=(12.0, 12.0, 12.0)) == pytest.approx(base / 4)
    assert _cov(prompts=4 * 2.05) == pytest.approx(2 * base)
    # A scanner longer than the line sees all of it: its sensitivity is that of the field of view.
    assert _cov(axial_fov_mm=700.0) == pytest.approx(_cov(axial_fov_mm=1940.0))
    assert _cov(axial_fov_mm=350.0) == pytest.approx(_cov(axial_fov_mm=700.0) / np.sqrt(2))


def test_noise_of_a_scanner_equals_that_of_reconstructed_counts():
    """Poisson counts on lines through a cylinder, filtered backprojection at its centre, 3,000 times."""
    rng = np.random.default_rng(1)
    given = {**SCANNER, "cps_per_kbq": 90.0, "prompts": 1.0}
    sigma, angles, n = 6.0 / 2.3548, 24, 4096  # bins of 1 mm, many more than the object fills: a ramp reaches far
    s = np.arange(n) - n // 2
    chord = 2 * np.sqrt(np.maximum(100.0**2 - s**2, 0.0))
    detected, thickness = 90.0 / 1e3 * 700 / 221, 2 * np.sqrt(np.pi) * sigma
    expected = detected * 5.0 * 300 * chord * thickness / angles  # all angles of half a turn share the counts
    survival = np.exp(-9.6e-3 * chord)
    frequency = np.fft.fftfreq(n)
    kernel = np.fft.ifft(np.abs(frequency) * np.exp(-2 * (np.pi * sigma * frequency) ** 2)).real
    inside = chord > 0
    weights = np.fft.fftshift(kernel)[inside] / survival[inside]
    counts = rng.poisson((expected * survival)[inside], size=(3000, angles, int(inside.sum())))
    image = (counts @ weights).sum(axis=1)
    assert image.std() / image.mean() == pytest.approx(
        cov_from_sensitivity(given.pop("cps_per_kbq"), **given), rel=0.05
    )
