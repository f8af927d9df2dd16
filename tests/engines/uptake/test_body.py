from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelens.engines.uptake import (
    body_size,
    body_surface_area,
    ideal_body_weight,
    lean_body_mass_james,
    lean_body_mass_janmahasatian,
)
from timelens.errors import DataError, MissingFieldError, UsageError


@pytest.mark.parametrize("sex", [None, "", "O", "m"])
@pytest.mark.parametrize("formula", [lean_body_mass_james, lean_body_mass_janmahasatian])
def test_lean_body_mass_without_sex_is_refused(formula, sex):
    with pytest.raises(MissingFieldError, match="sex is not known"):
        formula(75.0, 1.85, sex)
    with pytest.raises(MissingFieldError, match="sex is not known"):
        ideal_body_weight(1.85, sex)


@pytest.mark.parametrize("weight", [0.0, -70.0, math.nan, 70000.0])
def test_impossible_weights_are_refused(weight):
    with pytest.raises(DataError, match="weigh"):
        lean_body_mass_janmahasatian(weight, 1.85, "M")


@pytest.mark.parametrize(("height", "found"), [(185.0, "centimetres recorded as metres"), (0.1, "0.1 m"), (-1, "-1 m")])
def test_impossible_heights_are_refused(height, found):
    with pytest.raises(DataError, match=found):
        body_surface_area(75.0, height)


def test_a_mouse_has_no_lean_body_mass_by_a_human_formula():
    with pytest.raises(DataError, match="human"):
        body_size("lbm_janma", weight_kg=0.025, height_m=0.2, sex="F")


# Values of cornerstonejs/calculate-suv (MIT), test suite: 75 kg, 1.85 m.
@pytest.mark.parametrize(
    ("kind", "sex", "expected"),
    [
        ("lbm_james", "M", 62777.57487),
        ("lbm_james", "F", 55925.67568),
        ("lbm_janma", "M", 60915.33589),
        ("lbm_janma", "F", 49214.37997),
        ("bsa", None, 19813.75843),
    ],
)
def test_published_body_sizes(kind, sex, expected):
    assert body_size(kind, weight_kg=75.0, height_m=1.85, sex=sex) == pytest.approx(expected, abs=5.1e-6)


def test_james_with_128_and_ideal_weight_by_hand():
    assert lean_body_mass_james(75, 1.85, "M", male_coefficient=128) == pytest.approx(
        1000 * (82.5 - 128 * (75 / 185) ** 2), rel=1e-14
    )
    assert lean_body_mass_james(75, 1.85, "F", male_coefficient=128) == lean_body_mass_james(75, 1.85, "F")
    assert ideal_body_weight(1.85, "M") == pytest.approx(82980.0, rel=1e-14)
    assert ideal_body_weight(1.62, "F") == pytest.approx(54600.0, rel=1e-14)


def test_formulas_beyond_their_range_are_refused():
    with pytest.raises(DataError, match="no positive lean body mass"):
        lean_body_mass_james(200.0, 1.5, "F")
    with pytest.raises(DataError, match="adults only"):
        ideal_body_weight(0.9, "F")


@pytest.mark.parametrize(
    ("kind", "known", "field"),
    [
        ("bw", {}, "PatientWeight"),
        ("bw", {"weight_kg": 0.0}, "PatientWeight"),
        ("bsa", {"weight_kg": 70.0}, "PatientSize"),
        ("ibw", {"weight_kg": 70.0}, "PatientSize"),
        ("lbm_james", {"height_m": 1.7, "sex": "F"}, "PatientWeight"),
        ("lbm_janma", {"weight_kg": 70.0, "height_m": 1.7}, "PatientSex"),
    ],
)
def test_what_is_missing_is_named(kind, known, field):
    with pytest.raises(MissingFieldError) as caught:
        body_size(kind, **known)
    assert caught.value.problem.field == field


def test_unknown_sizes_are_refused():
    with pytest.raises(UsageError, match="no body size"):
        body_size("bmi", weight_kg=70.0, height_m=1.7, sex="F")


def test_body_weight_is_grams():
    assert body_size("bw", weight_kg=0.025) == 25.0


@given(weight=st.floats(30, 120), height=st.floats(1.4, 2.1))
def test_lean_is_less_than_all_and_grows_with_height(weight, height):
    for sex in ("M", "F"):
        lean = lean_body_mass_janmahasatian(weight, height, sex)
        assert lean < 1.4 * 1000 * weight  # the formula exceeds the weight of the very thin
        assert lean_body_mass_janmahasatian(weight, height + 0.01, sex) > lean
    assert body_surface_area(2 * weight, height) == pytest.approx(2**0.425 * body_surface_area(weight, height))
