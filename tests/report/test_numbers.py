"""Numbers as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelens.report.numbers import number_text, plus_minus


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (9.996, "10.0"), (99.96, "100"), (100.4, "100"), (1234.4, "1234"),
        (12345.0, "12\u202f345"),
        (-3.14159, "−3.14"), (0.00012345, "0.000123"), (1.5e-7, "1.50×10⁻⁷"), (2.5e9, "2.50×10⁹"),
        (math.inf, "∞"), (-math.inf, "−∞"),
    ],
)  # fmt: skip
def test_three_significant_digits(value: float, text: str) -> None:
    assert number_text(value) == text


def test_counts_stay_whole() -> None:
    assert number_text(1234567.0, whole=True) == "1\u202f234\u202f567"
    assert number_text(2.5, whole=True) == "2.50"


def test_the_uncertainty_has_the_decimals_of_its_value() -> None:
    assert plus_minus(123.4, 5.678) == "6"
    assert plus_minus(0.123, 0.0456) == "0.046"
    assert plus_minus(123.4, 0.0123) == "0.01"
    assert plus_minus(5.0, 0.0) == "0.00"


@given(st.floats(1e-4, 9e6))
def test_rounding_is_within_half_a_digit(value: float) -> None:
    shown = float(number_text(value).replace("\u202f", ""))
    assert shown == pytest.approx(value, rel=0.0051)
