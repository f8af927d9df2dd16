"""What noise adds to concentrations on average, against many draws of it."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.mr_signal import (
    concentration_bias,
    gradient_echo_concentration,
    rician_mean,
    spoiled_gradient_echo,
    temporal_variance,
    with_contrast,
    without_floor,
)
from timelens.errors import DataError

SETTINGS = {"tr": 0.004, "flip": 15.0, "relaxivity": 4.5}


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(DataError, match=r"six frames or more"):
        temporal_variance(np.ones((5, 3)))
    with pytest.raises(DataError, match=r"six frames or more"):
        temporal_variance(2.0)


def test_variance_is_that_of_the_noise_whatever_course_the_curve_takes(rng: np.random.Generator) -> None:
    course = 100 + 3.0 * np.arange(40)[:, None]
    found = temporal_variance(course + rng.normal(0, 2.0, (40, 4000)))
    assert found.mean() == pytest.approx(4.0, rel=0.03)
    np.testing.assert_allclose(temporal_variance(course), 0.0, atol=1e-20)
    broken = np.array(course)
    broken[-2] = np.nan
    assert np.isnan(temporal_variance(broken)).all()


@pytest.mark.parametrize("ratio", [5.0, 10.0, 30.0])
def test_the_floor_of_magnitudes_is_taken_off(ratio: float, rng: np.random.Generator) -> None:
    mean = rician_mean(ratio, 1.0)
    assert mean > ratio * (1 + 0.9 / (2 * ratio**2))
    assert without_floor(mean, 1.0) == pytest.approx(ratio, rel=1 / ratio**4)
    assert without_floor(mean, 1.0, mean=True) == pytest.approx(ratio, rel=2 / ratio**6)
    voxels = np.hypot(ratio + rng.normal(0, 1, 400_000), rng.normal(0, 1, 400_000))
    assert without_floor(voxels, 1.0).mean() == pytest.approx(ratio, abs=0.25 / ratio**3 + 0.006)
    assert without_floor(0.1, 1.0) == pytest.approx(0.05)  # far below the noise at most half goes
    assert without_floor(0.0, 1.0) == 0.0


@pytest.mark.parametrize("concentration", [0.0, 0.3, 1.5])
def test_the_bias_of_the_mean_of_noisy_voxels(concentration: float, rng: np.random.Generator) -> None:
    """Signal, baseline of four frames and T1, each with noise, in 400,000 voxels."""
    t1, sigma, voxels = 1.4, 1.0, 400_000
    before = spoiled_gradient_echo(1000.0, 1 / t1, flip=15.0, tr=0.004)
    after = spoiled_gradient_echo(1000.0, with_contrast(1 / t1, 4.5, concentration), flip=15.0, tr=0.004)
    base = before + rng.normal(0, sigma, (4, voxels))
    seen = np.concatenate([base, after + rng.normal(0, sigma, (1, voxels))])
    known = t1 + rng.normal(0, 0.05, voxels)
    raw = gradient_echo_concentration(seen, known, baseline=slice(0, 4), **SETTINGS).values[-1]
    bias = concentration_bias(
        seen, base.mean(axis=0), known, signal_variance=sigma**2, baseline_variance=sigma**2 / 4, t1_variance=0.05**2,
        **SETTINGS,
    )[-1]  # fmt: skip
    spread = raw.std() / np.sqrt(voxels)
    assert abs(raw.mean() - bias.mean() - concentration) < 4 * spread + 2e-4
    if concentration:
        assert abs(raw.mean() - concentration) > 8 * spread


def test_no_noise_no_bias_and_no_solution_no_number() -> None:
    signal = np.array([20.0, 60.0, 900.0])
    found = concentration_bias(
        signal, np.array(20.0), np.array(1.4), signal_variance=0.0, baseline_variance=0.0, **SETTINGS
    )
    np.testing.assert_allclose(found[:2], 0.0)
    assert np.isnan(found[2])  # brighter than full relaxation
    near = concentration_bias(
        np.array([300.0]), np.array(25.0), np.array(1.4), signal_variance=1e6, baseline_variance=0.0, **SETTINGS
    )
    assert 0 < near[0] < 5.0  # however large the noise, only what the distance to full relaxation allows
