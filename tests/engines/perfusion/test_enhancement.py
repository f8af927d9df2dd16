"""Model-free parameters of curves of known shape."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.perfusion import bolus_arrival, describe_enhancement
from timelens.errors import DataError

T = np.arange(0, 301, 3.0)


def trapezium(rise: float, top: float, end: float) -> np.ndarray:
    """Zero until 30 s, straight to ``top`` in ``rise`` s, straight to ``end`` at 300 s."""
    return np.interp(T, [0, 30, 30 + rise, 300], [0, 0, top, end])


def test_shapes_with_known_answers() -> None:
    curves = np.stack([trapezium(30, 2.0, 3.0), trapezium(30, 2.0, 2.1), trapezium(60, 4.0, 1.0)], axis=1)
    found = describe_enhancement(T, curves, window=60.0)
    np.testing.assert_allclose(found.arrival, 30.0)
    np.testing.assert_allclose(found.peak, [3.0, 2.1, 4.0])
    np.testing.assert_allclose(found.time_to_peak, [270, 270, 60])
    assert found.curve_type.tolist() == [1, 2, 3]
    # Triangle, then a trapezium of 30 s on the way from 2 to 3 in 240 s.
    assert found.iauc[0] == pytest.approx(30 + 30 * (2 + 0.5 * 30 / 240))
    assert found.iauc[2] == pytest.approx(120.0)
    assert found.wash_in[2] == pytest.approx(4 / 60)
    assert found.wash_out[2] == pytest.approx(-3 / 210)


def test_arrival_in_noise(rng: np.random.Generator) -> None:
    clean = np.interp(T, [0, 60, 75, 300], [0, 0, 3.0, 1.0])
    found = bolus_arrival(T, clean[:, None] + rng.normal(0, 0.05, (T.size, 500)))
    assert abs(np.median(found) - 60) <= 3
    assert np.mean(np.abs(found - 60) <= 6) > 0.95


def test_area_scales_with_the_curve_and_needs_no_sample_at_its_ends() -> None:
    curve = trapezium(40, 2.0, 1.0)
    one = describe_enhancement(T, curve, window=50.0, arrival=31.7)
    two = describe_enhancement(T, 3 * curve, window=50.0, arrival=31.7)
    assert two.iauc == pytest.approx(3 * float(one.iauc))
    dense = np.linspace(31.7, 81.7, 100_001)
    assert one.iauc == pytest.approx(np.trapezoid(np.interp(dense, T, curve), dense), rel=1e-8)


def test_curves_without_enhancement() -> None:
    curves = np.stack([trapezium(30, 2.0, 3.0), np.zeros(T.size), -trapezium(30, 2.0, 3.0)], axis=1)
    broken = curves[:, :1].copy()
    broken[5] = np.nan
    found = describe_enhancement(T, np.concatenate([curves, broken], axis=1))
    assert np.isfinite(found.peak).tolist() == [True, False, False, False]
    assert found.curve_type.tolist() == [1, 0, 0, 0]


def test_refusals() -> None:
    with pytest.raises(DataError, match=r"four ascending times"):
        bolus_arrival([0, 2, 1, 3], np.zeros(4))
    with pytest.raises(DataError, match=r"one value per time"):
        bolus_arrival(T, np.zeros((5, 2)))
