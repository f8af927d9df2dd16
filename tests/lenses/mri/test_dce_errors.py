"""Standard errors by parts: voxels of a region, voxels of the artery, stated settings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from timelens.engines.kinetics import InputFunction
from timelens.lenses.mri.dce_errors import Again, region_errors, resampled, without_groups

FRAMES = 30
PLASMA = InputFunction(np.arange(FRAMES, dtype=float), np.ones(FRAMES), "plasma", "mmol/L")


def scaled(curves: np.ndarray, plasma: InputFunction, owner: np.ndarray) -> dict[str, np.ndarray]:
    """A number that is the mean of the curve over that of the input."""
    return {"x": curves.mean(axis=0) / plasma.values.mean()}


def volume(rng: np.random.Generator, voxels: int = 400, spread: float = 0.2) -> np.ndarray:
    """Voxels (frames, 1, 1, voxels) whose levels differ."""
    return np.ones((FRAMES, 1, 1, 1)) * (1 + rng.normal(0, spread, voxels))


def test_a_region_of_too_few_voxels_has_only_the_error_of_its_fit(rng: np.random.Generator) -> None:
    data = volume(rng, 3)
    part = without_groups(data, np.ones((1, 1, 3), bool))
    assert part.shape == (FRAMES, 0) and resampled(data[:, 0, 0, 0], part).shape == (FRAMES, 0)
    found = region_errors(
        scaled, data.mean(axis=-1)[:, 0], PLASMA, own={"x": np.array([0.05])}, own_degrees=7, parts=[part]
    )
    assert found.errors["x"][0] == pytest.approx(0.05)
    assert found.degrees["x"][0] == pytest.approx(7)


@pytest.mark.parametrize("jumps", [False, True])
def test_voxels_that_are_left_out_or_drawn_give_the_error_of_a_mean(rng: np.random.Generator, jumps: bool) -> None:
    errors = []
    for _ in range(200):
        data = volume(rng)
        part = without_groups(data, np.ones((1, 1, 400), bool))
        found = region_errors(
            scaled, data.mean(axis=-1)[:, 0], PLASMA, own={"x": np.zeros(1)}, own_degrees=7, parts=[part], jumps=jumps
        )
        errors.append(found.errors["x"][0])
        assert found.degrees["x"][0] == pytest.approx(19)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(0.2 / np.sqrt(400), rel=0.05)


def test_parts_add_up_and_stated_settings_are_sure_of_themselves(rng: np.random.Generator) -> None:
    data = volume(rng)
    curves = data.mean(axis=-1)[:, 0]
    part = without_groups(data, np.ones((1, 1, 400), bool))
    inputs = [PLASMA.scaled(1 + 0.01 * x) for x in rng.normal(0, 1, 20)]
    changed = [Again("relaxivity", (curves / 1.1, PLASMA), (curves / 0.9, PLASMA))]
    options = {"own": {"x": np.zeros(1)}, "own_degrees": 7.0, "parts": [part]}
    alone = region_errors(scaled, curves, PLASMA, **options)
    both = region_errors(scaled, curves, PLASMA, inputs=inputs, changed=changed, **options)
    artery = region_errors(scaled, curves, PLASMA, inputs=inputs, **options)
    value = scaled(curves, PLASMA, np.zeros(1))["x"][0]
    stated = both.stated["relaxivity"]["x"][0]
    assert stated == pytest.approx(value * (1 / 0.9 - 1 / 1.1) / 2)
    assert both.errors["x"][0] ** 2 == pytest.approx(artery.errors["x"][0] ** 2 + stated**2)
    means = np.array([1 / one.values.mean() for one in inputs]) * value
    assert artery.errors["x"][0] ** 2 == pytest.approx(alone.errors["x"][0] ** 2 + 19 * means.var())
    assert both.degrees["x"][0] > artery.degrees["x"][0] >= 19


@pytest.mark.parametrize("jumps", [False, True])
def test_no_groups_and_no_error_of_its_own_is_no_error_of_zero(rng: np.random.Generator, jumps: bool) -> None:
    data = volume(rng, 3)
    part = without_groups(data, np.ones((1, 1, 3), bool))
    changed = [Again("scale", (data.mean(axis=-1)[:, 0], PLASMA.scaled(1.1)), (data.mean(axis=-1)[:, 0], PLASMA))]
    found = region_errors(
        scaled, data.mean(axis=-1)[:, 0], PLASMA, own={"x": np.zeros(1)}, own_degrees=7, parts=[part], jumps=jumps,
        changed=changed,
    )  # fmt: skip
    assert np.isnan(found.errors["x"][0])


def test_a_fit_that_fails_without_some_voxels_leaves_the_error_of_the_others(rng: np.random.Generator) -> None:
    """The fit's own error does not know what voxels share: it may not take the place of theirs."""
    data = volume(rng)
    curves = data.mean(axis=-1)[:, 0]
    part = without_groups(data, np.ones((1, 1, 400), bool))

    def breaks(at: int) -> Callable[..., dict[str, np.ndarray]]:
        def estimate(some: np.ndarray, plasma: InputFunction, owner: np.ndarray) -> dict[str, np.ndarray]:
            return {"x": np.where((np.arange(some.shape[1]) > 0) & (np.arange(some.shape[1]) <= at), np.nan,
                                  some.mean(axis=0))}  # fmt: skip

        return estimate

    options = {"own": {"x": np.array([0.001])}, "own_degrees": 7, "parts": [part]}
    whole = region_errors(breaks(0), curves, PLASMA, **options)
    some = region_errors(breaks(3), curves, PLASMA, **options)
    most = region_errors(breaks(17), curves, PLASMA, **options)
    assert some.errors["x"][0] == pytest.approx(whole.errors["x"][0], rel=0.35)
    assert np.isnan(most.errors["x"][0])


def test_draws_are_the_same_for_the_same_data(rng: np.random.Generator) -> None:
    data = volume(rng)
    part = without_groups(data, np.ones((1, 1, 400), bool))
    curve = data.mean(axis=-1)[:, 0, 0]
    np.testing.assert_array_equal(resampled(curve, part), resampled(curve, part))
