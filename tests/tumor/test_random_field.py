"""Random fields: variance, reproducibility, and the same pattern on every grid."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.tumor.random_field import LATTICE, random_field, stream


def axes(n: int, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    line = (np.arange(n) - (n - 1) / 2) * spacing
    return line, line, line


def test_mean_and_variance_are_those_of_a_standard_normal() -> None:
    field = random_field(stream(3, "a"), axes(96, 0.49), 1.0)
    assert field.dtype == np.float32
    # About 47^3 independent knots: the standard error of the variance is about 0.005.
    assert field.mean() == pytest.approx(0, abs=0.02)
    assert field.var() == pytest.approx(1, abs=0.03)


def test_variance_is_one_at_each_place_also_between_knots() -> None:
    line = np.array([0.0, 0.25, 0.5])
    draws = np.stack([random_field(stream(seed, "b"), (line, line, line), 1.0) for seed in range(1500)])
    assert draws.var(axis=0) == pytest.approx(1, abs=5 * np.sqrt(2 / 1500))


def test_another_grid_samples_the_same_pattern() -> None:
    coarse = random_field(stream(1, "x"), axes(15, 0.4), 0.8)
    fine = random_field(stream(1, "x"), axes(29, 0.2), 0.8)
    assert fine[::2, ::2, ::2] == pytest.approx(coarse, abs=1e-5)


def test_neighbours_a_fraction_of_a_knot_apart_are_alike_and_distant_ones_are_not() -> None:
    field = random_field(stream(2, "x"), axes(120, 0.25), 1.0)
    near = np.corrcoef(field[:-1].ravel(), field[1:].ravel())[0, 1]
    far = np.corrcoef(field[:-16].ravel(), field[16:].ravel())[0, 1]
    assert near > 0.9
    assert abs(far) < 0.05


def test_the_pattern_repeats_after_the_lattice() -> None:
    line = np.array([0.3, 0.3 + LATTICE])
    field = random_field(stream(0, "x"), (line, line, line), 1.0)
    assert field[0, 0, 0] == pytest.approx(field[1, 1, 1], abs=1e-5)


def test_each_purpose_and_seed_has_numbers_of_its_own() -> None:
    assert stream(1, "a").random() == stream(1, "a").random()
    assert len({stream(s, p).random() for s in (1, 2) for p in ("a", "b")}) == 4
