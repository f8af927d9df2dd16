from __future__ import annotations

import math
import warnings

import pytest

from timelens.engines.uptake import (
    check_activity,
    check_height,
    check_james_range,
    check_liver_suv,
    check_weight,
    raise_or_warn,
    species_group,
)
from timelens.errors import DataError, PlausibilityWarning, Problem


def verdict(problems: tuple[Problem, ...]) -> str:
    return problems[0].severity if problems else "fine"


@pytest.mark.parametrize(
    ("name", "group"),
    [
        (None, None), ("", None), ("Mus musculus", "mouse"), ("MOUSE", "mouse"), ("Rattus norvegicus", "rat"),
        ("Homo sapiens", "human"), ("Human", "human"), ("447612001", "mouse"), ("Sus scrofa", "other"),
    ],
)  # fmt: skip
def test_species_groups(name, group):
    assert species_group(name) == group


@pytest.mark.parametrize(
    ("weight", "species", "expected"),
    [
        (75.0, None, "fine"), (75.0, "Homo sapiens", "fine"), (0.025, None, "fine"), (0.025, "mouse", "fine"),
        (0.3, "rat", "fine"), (350.0, None, "warning"), (0.007, "mouse", "warning"), (1.0, "human", "warning"),
        (25.0, "mouse", "error"), (300.0, "rat", "error"), (75000.0, None, "error"), (0.0, None, "error"),
        (-5.0, None, "error"), (math.nan, None, "error"), (math.inf, None, "error"), (0.025, "human", "error"),
    ],
)  # fmt: skip
def test_weights(weight, species, expected):
    assert verdict(check_weight(weight, species=species)) == expected


def test_grams_as_kilograms_are_named_with_the_mend():
    (problem,) = check_weight(25.0, species="Mus musculus")
    assert "grams recorded as kilograms" in problem.found
    assert "0.025" in problem.mend
    (problem,) = check_weight(500.0, species="mouse")
    assert "grams" not in problem.found


@pytest.mark.parametrize(
    ("height", "weight", "expected"),
    [
        (1.75, 75.0, "fine"), (0.5, 3.5, "fine"), (1.75, None, "fine"), (175.0, 75.0, "error"), (0.0, 75.0, "error"),
        (math.nan, None, "error"), (1.75, 300.0, "warning"), (1.75, 20.0, "warning"),
    ],
)  # fmt: skip
def test_heights(height, weight, expected):
    assert verdict(check_height(height, weight_kg=weight)) == expected


@pytest.mark.parametrize(
    ("activity", "weight", "species", "expected"),
    [
        (350e6, 75.0, None, "fine"), (37e6, 80.0, None, "fine"), (5e6, 0.02, None, "fine"),
        (5e6, 0.02, "mouse", "fine"),
        (20e6, 0.3, "rat", "fine"), (60e6, 15.0, None, "fine"), (25e6, 80.0, None, "fine"), (350e6, None, None, "fine"),
        (5e6, 25.0, None, "warning"), (5e6, 80.0, None, "warning"), (350e6, 2.0, None, "warning"),
        (350.0, 75.0, None, "error"), (350e3, 75.0, None, "error"), (350e12, 75.0, None, "error"),
        (5.0, 0.02, None, "error"), (5e3, 0.02, "mouse", "error"), (5.0, None, None, "error"),
        (350e12, None, None, "error"), (0.0, 75.0, None, "error"), (-1.0, 75.0, None, "error"),
        (math.nan, 75.0, None, "error"),
    ],
)  # fmt: skip
def test_activities(activity, weight, species, expected):
    assert verdict(check_activity(activity, weight_kg=weight, species=species)) == expected


def test_the_slip_is_named():
    assert "MBq or kBq recorded as Bq" in check_activity(350.0, weight_kg=75.0)[0].found
    assert "grams of body weight as kilograms" in check_activity(5e6, weight_kg=25.0)[0].message


@pytest.mark.parametrize(
    ("weight", "height", "sex", "coefficient", "expected"),
    [
        (75.0, 1.85, "M", 120.0, "fine"), (45.8 * 4, 2.0, "M", 120.0, "fine"), (45.9 * 4, 2.0, "M", 120.0, "warning"),
        (43.0 * 4, 2.0, "M", 128.0, "warning"), (36.1 * 4, 2.0, "F", 120.0, "fine"),
        (36.2 * 4, 2.0, "F", 120.0, "warning"),
    ],
)  # fmt: skip
def test_james_is_doubted_beyond_its_top(weight, height, sex, coefficient, expected):
    assert verdict(check_james_range(weight, height, sex, male_coefficient=coefficient)) == expected


@pytest.mark.parametrize(
    ("suv", "expected"),
    [
        (2.1, "fine"),
        (0.5, "fine"),
        (5.0, "fine"),
        (0.49, "warning"),
        (5.1, "warning"),
        (2e3, "warning"),
        (math.nan, "warning"),
    ],
)
def test_liver(suv, expected):
    assert verdict(check_liver_suv(suv)) == expected


def test_errors_are_raised_before_anything_is_warned():
    doubtful, wrong = check_weight(350.0), check_height(175.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"File: scan\.dcm.*centimetres"):
            raise_or_warn((*doubtful, *wrong), file="scan.dcm")


def test_warnings_are_given_and_returned():
    with pytest.warns(PlausibilityWarning, match="liver uptake is implausible"):
        assert raise_or_warn(check_liver_suv(20.0)) == check_liver_suv(20.0)
    assert raise_or_warn(()) == ()
