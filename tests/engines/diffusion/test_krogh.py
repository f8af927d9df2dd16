"""Closed forms: against integrals, limits and each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad, solve_bvp

from timelens.engines.diffusion import krogh_exchange, krogh_mean, krogh_profile, slab_profile, sphere_profile
from timelens.errors import DataError


def test_the_slab_is_a_hyperbolic_cosine_also_where_that_overflows() -> None:
    x = np.linspace(-0.3, 0.3, 7)
    assert slab_profile(x, 0.3, 0.1) == pytest.approx(np.cosh(x / 0.1) / np.cosh(3), rel=1e-12)
    assert slab_profile(100.0, 100.0, 0.01) == pytest.approx(1)
    assert slab_profile(0.0, 100.0, 0.01) == 0


def test_the_sphere_is_a_hyperbolic_sine_with_a_smooth_centre() -> None:
    r = np.array([1e-3, 0.1, 0.25])
    assert sphere_profile(r, 0.25, 0.1) == pytest.approx(0.25 * np.sinh(r / 0.1) / (r * np.sinh(2.5)), rel=1e-9)
    assert sphere_profile(0.0, 0.25, 0.1) == pytest.approx(2.5 / np.sinh(2.5), rel=1e-12)
    assert sphere_profile(9.9e-6, 0.25, 0.1) == pytest.approx(sphere_profile(1.01e-5, 0.25, 0.1), rel=1e-8)


def test_the_cylinder_solves_its_equation_without_flux_at_its_rim() -> None:
    vessel, outer, length = 0.005, 0.08, 0.1
    r = np.linspace(vessel, outer, 400)

    def right(x, y):
        return np.vstack([y[1], y[0] / length**2 - y[1] / x])

    def ends(a, b):
        return np.array([a[0] - 1, b[1]])

    numeric = solve_bvp(right, ends, r, np.vstack([np.ones_like(r), np.zeros_like(r)]), tol=1e-8, max_nodes=10000)
    assert numeric.success
    assert krogh_profile(r, vessel, outer, length) == pytest.approx(numeric.sol(r)[0], rel=1e-6)


@pytest.mark.parametrize("length", [0.02, 0.1, 1.0])
def test_the_mean_is_the_integral_of_the_profile(length: float) -> None:
    vessel, outer = 0.005, 0.06
    integral = quad(lambda r: float(krogh_profile(r, vessel, outer, length)) * 2 * r, vessel, outer, epsabs=1e-13)[0]
    assert krogh_mean(vessel, outer, length) == pytest.approx(integral / (outer**2 - vessel**2), rel=1e-8)


def test_the_exchange_gives_back_the_mean_and_is_finite_without_consumption() -> None:
    fraction = np.array([0.0, 0.002, 0.05, 0.3])
    ratio = krogh_exchange(fraction, 0.005, 0.1)
    assert ratio[0] == 0
    expected = krogh_mean(0.005, 0.005 / np.sqrt(fraction[1:]), 0.1)
    assert ratio[1:] / (1 + ratio[1:]) == pytest.approx(expected, rel=1e-12)
    # S = ratio D / L2 has a limit as L grows.
    rates = [float(krogh_exchange(0.02, 0.005, length)) / length**2 for length in (10.0, 100.0, 1e5)]
    assert rates[1:] == pytest.approx(rates[:1] * 2, rel=1e-4)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, np.nan])
def test_a_fraction_outside_of_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(DataError, match="A volume fraction lies outside of 0 to 1"):
        krogh_exchange([0.1, fraction], 0.005, 0.1)
