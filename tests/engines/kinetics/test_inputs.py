"""Input functions keep their convention, and the models of blood meet their closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.kinetics.study import Tissue

from timelens.engines.kinetics import (
    Frames,
    InputFunction,
    TwoTissue,
    correct_dispersion,
    disperse,
    exponentials,
    feng,
    fit_delay,
    fit_parent_fraction,
    merge_samples,
    sampled,
    scale_population,
)
from timelens.errors import DataError, UnitError

FENG = ((851.1 / 60, 21.9, 20.8), (4.134 / 60, 0.1191 / 60, 0.01043 / 60))


def test_feng_has_its_published_shape() -> None:
    """A1 t - A2 - A3 starts at zero, peaks within the first half minute, and its tail is the slowest exponential."""
    t = np.arange(0, 7200.0)
    curve = feng(t, *FENG)
    assert curve[0] == 0
    assert 10 < t[curve.argmax()] < 20
    assert -np.diff(np.log(curve[6000:])).mean() == pytest.approx(0.01043 / 60, rel=1e-3)


@given(st.floats(1e-7, 1e-4))
def test_sampling_a_curve_keeps_its_tolerance(tolerance: float) -> None:
    made = sampled(lambda t: feng(t, *FENG), 5400, kind="plasma", tolerance=tolerance)
    t = np.linspace(0, 5400, 20_001)
    assert np.abs(made.at(t) - feng(t, *FENG)).max() < 2 * tolerance * made.values.max()


def test_shift_scale_and_hold(plasma: InputFunction) -> None:
    late, early = plasma.shifted(12.5), plasma.shifted(-12.5)
    assert late.at(112.5) == pytest.approx(plasma.at(100.0))
    assert early.at(87.5) == pytest.approx(plasma.at(100.0))
    assert early.times[-1] == plasma.times[-1]
    assert plasma.held_until(9000).at(8999) == plasma.values[-1]
    assert np.isnan(plasma.at(9000))
    assert plasma.scaled(1e-3, unit="kBq/mL").at(100.0) == pytest.approx(1e-3 * plasma.at(100.0))


def test_decay_is_named_and_undone() -> None:
    raw = InputFunction([0, 100, 200], [0, 4, 1], "plasma", "Bq/mL", decay_corrected=False)
    done = raw.decayed_to_zero(100)
    np.testing.assert_allclose(done.values, [0, 8, 4])
    with pytest.raises(DataError, match="already"):
        done.decayed_to_zero(100)
    with pytest.raises(DataError, match="decay-corrected and the other is not"):
        merge_samples(done, raw)


def test_autosampler_and_manual_samples() -> None:
    auto = InputFunction(np.arange(0, 300.0), np.linspace(0, 5, 300), "whole_blood", "Bq/mL")
    hand = InputFunction([60, 400, 900], [9, 3, 2], "whole_blood", "Bq/mL")
    both = merge_samples(auto, hand)
    assert both.times[-2:] == pytest.approx([400, 900])
    assert both.at(60) == pytest.approx(auto.at(60))
    assert merge_samples(auto, hand, switch=50).at(60) == 9
    with pytest.raises(UnitError, match="different units"):
        merge_samples(auto, hand.scaled(1e-3, unit="kBq/mL"))


def test_product_with_a_fraction_curve() -> None:
    blood = InputFunction([0, 10, 10, 100], [0, 1, 4, 4], "whole_blood")
    made = blood.times_curve([0, 50, 100], [1.0, 2.0, 2.0], kind="plasma")
    assert made.kind == "plasma"
    np.testing.assert_allclose(made.at([50, 100]), [8, 8])
    np.testing.assert_allclose(made.values[made.times == 10], [1.2, 4.8])
    assert 50.0 in made.times
    assert (made.times == 10).sum() == 2


@pytest.mark.parametrize("model", ["hill", "power", "exponential", "inverse_gamma"])
def test_parent_fraction_round_trip(model: str) -> None:
    truth = {
        "hill": lambda t: 1 - 0.9 * t**1.8 / (700**1.8 + t**1.8),
        "power": lambda t: (1 + (t / 500) ** 2) ** -0.4,
        "exponential": lambda t: 0.6 * np.exp(-t / 300) + 0.4 * np.exp(-t / 8000),
        "inverse_gamma": lambda t: fit_parent_fraction.__globals__["_inverse_gamma"](t, 0.1, 1.4, 800.0),
    }[model]
    t = np.array([0.0, 120, 300, 600, 1200, 1800, 2700, 3600, 5400])
    found = fit_parent_fraction(t, truth(np.maximum(t, 1e-9)), model)  # type: ignore[arg-type]
    at = np.linspace(1, 5400, 50)
    np.testing.assert_allclose(found.fraction(at), truth(at), atol=2e-4)
    assert found.fraction(0.0) == pytest.approx(1.0)
    plasma = InputFunction(t, np.full(t.size, 10.0), "plasma")
    parent = found.parent(plasma)
    assert parent.kind == "parent"
    np.testing.assert_allclose(parent.values, 10 * truth(np.maximum(t, 1e-9)), atol=2e-3)


def test_population_input() -> None:
    pool = sampled(lambda t: feng(t, *FENG), 3600, kind="plasma")
    own = InputFunction([1500, 2400, 3000], 1.7 * feng([1500, 2400, 3000], *FENG), "plasma")
    scaled, factor = scale_population(pool, own)
    assert factor == pytest.approx(1.7, rel=1e-5)
    assert scaled.at(30) == pytest.approx(1.7 * pool.at(30), rel=1e-5)


def test_dispersion_there_and_back() -> None:
    t = np.arange(0, 300, 0.25)
    true = InputFunction(t, feng(t - 10, *FENG), "whole_blood")
    seen = disperse(true, 5.0)
    assert seen.values.max() < 0.96 * true.values.max()
    # The area is kept but for what is still in the tube.
    assert np.trapezoid(seen.values, t) == pytest.approx(np.trapezoid(true.values, t), rel=0.02)
    back = correct_dispersion(seen, 5.0)
    assert np.abs(back.values - true.values).max() < 0.03 * true.values.max()
    np.testing.assert_allclose(back.values[200:], true.values[200:], rtol=1e-3)
    assert disperse(true, 0.0) is true


def test_dispersion_of_a_step_is_exponential() -> None:
    t = np.concatenate([[0.0, 10.0], np.arange(10, 100.0)])
    seen = disperse(InputFunction(t, np.where(np.arange(t.size) < 2, 0.0, 1.0), "whole_blood"), 4.0)
    np.testing.assert_allclose(seen.at([20, 50]), -np.expm1(-np.array([10, 40]) / 4.0), rtol=1e-5)


def test_delay_is_found(frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue) -> None:
    curve = tissue(0.002, 0.003, 0.001, 0.0005, v_b=0.05)
    rng = np.random.default_rng(0)
    found = fit_delay(
        lambda d: TwoTissue(frames, plasma.shifted(8 + d), blood.shifted(8 + d)),
        curve * (1 + 0.005 * rng.normal(size=28)),
        bounds=(-20, 10),
        step=3.0,
    )
    assert found.delay == pytest.approx(-8, abs=max(4 * found.standard_error, 0.5))
    assert not found.at_bound
    assert 0 < found.standard_error < 1


def test_clearance_before_zero_is_zero() -> None:
    np.testing.assert_allclose(exponentials([-1, 0, 10], [2, 1], [0.1, 0.0]), [0, 3, 2 * np.exp(-1) + 1])
