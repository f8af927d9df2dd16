"""Information and likelihood of Rician magnitudes."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.relaxometry.rician import fit_recovery, rician_information


def test_information_of_a_magnitude() -> None:
    """None at the null, that of one channel far off; between them 1 - 1/(2 x^2) for large x, and even."""
    assert rician_information(np.array([0.0])) == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(rician_information(np.array([9.0, 30.0])), [1 - 0.5 / 81, 1 - 0.5 / 900], atol=2e-4)
    x = np.linspace(-8, 8, 33)
    np.testing.assert_allclose(rician_information(x), rician_information(-x))
    assert (np.diff(rician_information(np.linspace(0, 14, 200))) > -1e-6).all()


def test_information_is_the_variance_of_the_score(rng: np.random.Generator) -> None:
    from scipy import special

    for ratio in (0.5, 1.5, 3.0):
        seen = np.hypot(ratio + rng.standard_normal(400_000), rng.standard_normal(400_000))
        score = seen * special.i1e(seen * ratio) / special.i0e(seen * ratio) - ratio
        assert rician_information(np.array([ratio]))[0] == pytest.approx(score.var(), rel=0.02)


def test_a_curve_is_found_from_afar_and_misfit_widens_errors() -> None:
    times = np.array([0.05, 0.15, 0.4, 0.8, 1.6, 3.0, 5.0])
    curve = np.abs(100 - 190 * np.exp(-times / 0.9))[:, None]
    start = np.array([[80.0], [-120.0], [0.5]])
    found = fit_recovery(times, curve, start, 0.1, least_t=0.02, most_t=10.0)
    np.testing.assert_allclose(found.values[:, 0], [100, -190, 0.9], rtol=1e-4)
    assert found.settled.all() and found.chi_square[0] < 0.1
    bent = curve + np.array([0, 5, 0, -5, 0, 5, -5.0])[:, None]
    wide = fit_recovery(times, bent, start, 0.1, least_t=0.02, most_t=10.0)
    assert wide.covariance[2, 2, 0] > 100 * found.covariance[2, 2, 0]
