"""Equations of the PET forward model against closed forms: decay, positron range, point spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timelens.errors import DataError
from timelens.lenses.pet.physics import (
    frame_weights,
    positron_kernel,
    positron_transfer,
    spread,
)

HALF_LIFE = 6586.2


def test_curves_must_cover_the_frames_and_ascend():
    with pytest.raises(DataError, match="does not cover"):
        frame_weights([0, 100], [50], [60], HALF_LIFE)
    with pytest.raises(DataError, match="ascend"):
        frame_weights([0, 100, 100], [50], [10], HALF_LIFE)


def test_uptake_that_stays_is_reported_as_it_is():
    weights = frame_weights([0, 10, 500, 4000], [0, 100, 700], [100, 600, 3000], HALF_LIFE)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-14)
    np.testing.assert_array_equal(frame_weights([0.0], [5, 9], [4, 4], 60.0), np.ones((2, 1)))


@pytest.mark.parametrize("half_life", [60.0, 1221.8, 282e3])
def test_a_rising_curve_in_closed_form(half_life):
    """c(t) = t: the mean over [a, b] weighted with exp(-L t) is a + 1/L - D exp(-L D) / (1 - exp(-L D)) / ..."""
    start, length = 300.0, 600.0
    rate = np.log(2) / half_life
    x = rate * length
    expected = start + 1 / rate - length * np.exp(-x) / -np.expm1(-x)
    weights = frame_weights([0, 450, 2000], [start], [length], half_life)
    assert (weights @ [0, 450, 2000])[0] == pytest.approx(expected, rel=1e-10)


def test_positron_kernels_as_published():
    """18F: width at half maximum 0.10 mm, at a tenth 1.03 mm (Levin and Hoffman 1999, table 2)."""
    c, k1, k2 = positron_kernel(249.8)
    assert (c, k1, k2) == pytest.approx((0.516, 37.9, 3.1))
    x = np.linspace(0, 3, 300001)
    profile = c * np.exp(-k1 * x) + (1 - c) * np.exp(-k2 * x)
    widths = [2 * x[np.argmax(profile < level)] for level in (0.5, 0.1)]
    assert widths[0] == pytest.approx(0.10, abs=0.01)
    assert widths[1] == pytest.approx(1.03, abs=0.02)


def test_positrons_of_more_energy_go_farther():
    widths = [1 / positron_kernel(e)[2] for e in (249.8, 278.0, 395.5, 491.8, 735.4, 829.5, 1480.0)]
    assert (np.diff(widths) > 0).all()
    with pytest.raises(DataError, match="mean energy"):
        positron_kernel(0.0)


def test_positron_transfer_is_the_transform_of_the_kernel():
    c, k1, k2 = positron_kernel(385.6)
    x = np.linspace(0, 30, 3_000_001)
    profile = c * np.exp(-k1 * x) + (1 - c) * np.exp(-k2 * x)
    for w in (0.0, 0.7, 3.0):
        expected = np.trapezoid(profile * np.cos(w * x), x) / np.trapezoid(profile, x)
        assert positron_transfer(w**2, 385.6) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(*[st.floats(1.0, 6.0)] * 3),
    st.floats(0.5, 9.0),
    st.sampled_from([None, 249.8, 395.5, 829.5]),
    st.integers(0, 1000),
)
def test_counts_are_conserved(spacing, fwhm, energy, seed):
    rng = np.random.default_rng(seed)
    volume = np.zeros((40, 40, 40), np.float32)
    # Far from the faces in every case: ranges of 10 mm and Gaussians of 20 mm end before them.
    inner = slice(17, 23)
    volume[inner, inner, inner] = rng.uniform(0, 9, (6, 6, 6))
    spacing = tuple(max(s, fwhm / 4, 2.0 if energy else 1.0) for s in spacing)
    seen = spread(volume, spacing, fwhm, mean_energy_kev=energy)
    assert seen.sum(dtype=float) == pytest.approx(volume.sum(dtype=float), rel=1e-6)
    assert seen.min() >= -1e-6 * volume.max()


@pytest.mark.parametrize("fwhm", [(4.0, 6.0, 8.0), (5.0, 5.0, 5.0)])
def test_a_point_gets_the_stated_widths(fwhm):
    """Second moments along each axis: the Gaussian's, and on top of it the positrons'."""
    volume = np.zeros((41, 41, 41))
    volume[20, 20, 20] = 1.0
    step = (np.arange(41) - 20) * 2.0
    for energy in (None, 735.4):
        seen = spread(volume, (2.0, 2.0, 2.0), fwhm, mean_energy_kev=energy).astype(float)
        extra = 0.0
        if energy is not None:
            c, k1, k2 = positron_kernel(energy)
            extra = 2 * (c / k1**3 + (1 - c) / k2**3) / (c / k1 + (1 - c) / k2)
        for axis in range(3):
            along = seen.sum(axis=tuple(a for a in range(3) if a != axis))
            assert (along * step**2).sum() == pytest.approx((fwhm[axis] / 2.3548200) ** 2 + extra, rel=2e-4)
