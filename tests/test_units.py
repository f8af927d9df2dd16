"""Units against values in closed form, and every mixture that must be refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelens import units
from timelens.errors import UnitError
from timelens.units import Unit, conversion_factor, convert, parse, require_same_kind

# code, the same in other units, how many of them (CODATA 2018 and the BIPM brochure where not exact by definition)
CLOSED = [
    ("kBq/mL", "Bq/mL", 1e3),
    ("MBq", "Bq", 1e6),
    ("mCi", "MBq", 37.0),
    ("uCi/g", "Bq/kg", 3.7e7),
    ("Bq/mL", "Bq/cm3", 1.0),
    ("g/mL", "kg/L", 1.0),
    ("cm2/mL", "1/m", 100.0),
    ("min", "s", 60.0),
    ("h", "min", 60.0),
    ("d", "h", 24.0),
    ("wk", "d", 7.0),
    ("a", "d", 365.25),
    ("mo", "d", 30.4375),
    ("mL", "mm3", 1e3),
    ("uL", "mm3", 1.0),
    ("10*3/uL", "1/L", 1e9),
    ("10^3/uL", "10*9/L", 1.0),
    ("mL/min/mL", "L/s/L", 1 / 60),
    ("mL/min/(100.g)", "mL/s/kg", 10 / 60),
    ("mL/(100.g)", "mL/kg", 10.0),
    ("mm2/s", "um2/ms", 1e3),
    ("%", "1", 0.01),
    ("%{ID}/g", "{ID}/kg", 10.0),
    ("{cells}/mm2", "{cells}/cm2", 100.0),
    ("10*6.{cells}/mL", "{cells}/mm3", 1e3),
    ("mmol/L", "mol/m3", 1.0),
    ("nmol/L", "pmol/mL", 1.0),
    ("Hz", "1/s", 1.0),
    ("MHz", "1/us", 1.0),
    ("keV", "J", 1.602176634e-16),
    ("cal", "J", 4.184),
    ("kPa", "Pa", 1e3),
    ("mm[Hg]", "Pa", 133.322387415),
    ("bar", "kPa", 100.0),
    ("N.m", "J", 1.0),
    ("W", "J/s", 1.0),
    ("V.A", "W", 1.0),
    ("Ohm", "V/A", 1.0),
    ("C", "A.s", 1.0),
    ("F", "C/V", 1.0),
    ("T", "G", 1e4),
    ("mGy/min", "Gy/h", 0.06),
    ("mSv", "Sv", 1e-3),
    ("kat", "mol/s", 1.0),
    ("U/L", "nkat/L", 1e3 / 60),
    ("deg", "rad", math.pi / 180),
    ("sr", "rad2", 1.0),
    ("Da", "kg", 1.66053906660e-27),
    ("t", "kg", 1e3),
    ("[ppm]", "%", 1e-4),
    ("[ppb]", "[ppth]", 1e-6),
    ("k[iU]", "[iU]", 1e3),
    ("dam", "m", 10.0),
    ("/s", "Hz", 1.0),
    ("1/ms", "kHz", 1.0),
    ("m.s-2", "m/s2", 1.0),
    ("J/(kg.K)", "m2/s2/K", 1.0),
    ("{SUVbw}g/ml", "{SUVbw}g/mL", 1.0),
]


@pytest.mark.parametrize(("code", "other", "factor"), CLOSED)
def test_factors_in_closed_form(code: str, other: str, factor: float):
    assert conversion_factor(code, other) == pytest.approx(factor, rel=1e-12)
    assert conversion_factor(other, code) == pytest.approx(1 / factor, rel=1e-12)


def test_temperatures_have_another_zero():
    assert convert(37.0, "Cel", "K") == pytest.approx(310.15)
    assert convert(0.0, "K", "Cel") == pytest.approx(-273.15)
    np.testing.assert_allclose(convert(np.array([0.0, 100.0]), "Cel", "mK"), [273150.0, 373150.0])
    with pytest.raises(UnitError, match=r"another zero has no factor.*Mend: use units.convert"):
        conversion_factor("Cel", "K")
    with pytest.raises(UnitError, match=r"Celsius cannot be multiplied"):
        parse("Cel") * "J"
    with pytest.raises(UnitError, match=r"Celsius cannot be part of a compound unit"):
        parse("J/Cel")
    with pytest.raises(UnitError, match=r"Cannot convert between Cel and m:"):
        convert(1.0, "Cel", "m")


REFUSED = [
    ("Bq/mL", "g/mL"),
    ("Bq/mL", "1/s/mL"),
    ("Bq", "1/s"),
    ("Bq", "Hz"),
    ("Gy", "J/kg"),
    ("Gy", "Sv"),
    ("mL/min/mL", "1/min"),
    ("mL/mL", "1"),
    ("{cells}/mm2", "1/mm2"),
    ("{cells}/mm2", "{cells}/mm3"),
    ("{cells}", "{lesions}"),
    ("%{ID}/g", "%/g"),
    ("%{ID}/g", "%{ID}/mL"),
    ("{SUVbw}g/mL", "g/mL"),
    ("[hnsf'U]", "1"),
    ("dB", "1"),
    ("m", "s"),
    ("mL/min/mL", "mL/min/g"),
    ("[iU]", "U"),
]


@pytest.mark.parametrize(("left", "right"), REFUSED)
def test_different_things_are_not_brought_together(left: str, right: str):
    for a, b in ((left, right), (right, left)):
        with pytest.raises(UnitError, match=r"Cannot add .* they measure different things") as caught:
            require_same_kind(a, b, operation="add")
        assert a in caught.value.problem.found
        assert b in caught.value.problem.found
        with pytest.raises(UnitError, match=r"Cannot convert between"):
            conversion_factor(a, b)
        with pytest.raises(UnitError, match=r"Cannot convert between"):
            convert(1.0, a, b)
    assert not parse(left).same_kind(right)


def test_the_message_says_what_each_side_measures():
    with pytest.raises(UnitError) as caught:
        require_same_kind("Bq/mL", "g/mL", operation="add")
    assert str(caught.value) == (
        "Cannot add Bq/mL and g/mL: they measure different things. "
        "Found: Bq/mL (m^-3 radioactivity) and g/mL (kg m^-3). Expected: units of one dimension and kind. "
        "Mend: convert one of them by its physical relation first (for example Bq/mL to g/mL by dose and weight)."
    )


def test_kinds_of_quantity_differ_where_units_agree():
    require_same_kind("1/min", "1/s", left_kind="rate constant", right_kind="rate constant")
    require_same_kind("1/min", "1/s", left_kind="rate constant")
    with pytest.raises(
        UnitError, match=r"Cannot add a transfer constant and a rate constant, though both have the unit"
    ):
        require_same_kind("1/min", "1/min", operation="add", left_kind="transfer constant", right_kind="rate constant")


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        ("BQML", "Bq/mL"),
        ("kBq/cc", "kBq/mL"),
        ("SUV", "g/mL"),
        ("HU", "[hnsf'U]"),
        ("mmHg", "mm[Hg]"),
        ("sec", "s"),
        ("1/sec", "s"),
        ("ppm", "[ppm]"),
        ("uM", "umol/L"),
        ("°C", "Cel"),
        ("µm", "um"),
        ("mm²/s", "mm2/s"),
        ("mm^2/s", "mm2/s"),
        ("kg·m/s²", "kg.m/s2"),
    ],
)
def test_common_slips_are_mended(code: str, mend: str):
    with pytest.raises(UnitError, match=r"Unknown unit") as caught:
        parse(code)
    assert caught.value.problem.mend == f"write {mend!r}"
    parse(mend)


def test_every_mend_is_a_unit_and_every_slip_is_not():
    for slip, mend in units._COMMON_SLIPS.items():
        parse(mend)
        with pytest.raises(UnitError, match=r"Unknown unit"):
            parse(slip)


@pytest.mark.parametrize(
    "code",
    ["bq/ml", "Bq//mL", "Bq/", "(g", "g)", "g mL", "xyz", "m2^3", "1e3", "{cells", "kmin", "k%", "./s", "*"],
)
def test_unknown_codes_are_refused(code: str):
    with pytest.raises(UnitError, match=r"Unknown unit") as caught:
        parse(code)
    assert caught.value.problem.found == code
    assert "UCUM" in caught.value.problem.expected


@pytest.mark.parametrize("code", ["", "  ", None])
def test_a_missing_unit_is_refused(code: object):
    with pytest.raises(UnitError, match=r"A unit is missing.*'1' if dimensionless"):
        parse(code)


def test_a_unit_says_what_it_is():
    assert str(parse("Bq/mL")) == "Bq/mL"
    assert parse("1").describe() == "dimensionless"
    assert parse("mL/min/mL").describe() == "s^-1 volume per volume"
    assert parse(parse("g")) is parse("g")


@pytest.mark.parametrize(
    ("left", "sign", "right", "code"),
    [
        ("Bq/mL", "*", "g/Bq", "g/mL"),
        ("g/mL", "*", "mL", "g"),
        ("Bq", "/", "mL", "Bq/mL"),
        ("mL/min/mL", "*", "min", "mL/mL"),
        ("mL/min/mL", "/", "1/min", "mL/mL"),
        ("mL/min", "*", "1/uL", "10*3/min"),
        ("mL/min", "*", "1/mL", "1/min"),
        ("{cells}", "/", "mm2", "{cells}/mm2"),
        ("1/{x}", "/", "{x}", "1/{x}/{x}"),
        ("1", "/", "1", "1"),
        ("1", "/", "mL/mL", "1/mL.mL.1"),
        ("1/(mL/mL)", "*", "mL/min/mL", "1/min"),
        ("m", "*", "m", "m2"),
        ("100.g", "*", "100.g", "100.100.g2"),
    ],
)
def test_products_read_well(left: str, sign: str, right: str, code: str):
    found = parse(left) * right if sign == "*" else parse(left) / right
    assert found.code == code


SYMBOLS = [
    "m",
    "mm",
    "mL",
    "uL",
    "L",
    "g",
    "kg",
    "s",
    "min",
    "Bq",
    "kBq",
    "Gy",
    "%",
    "{cells}",
    "10*3",
    "100",
    "mol",
    "1",
]


@st.composite
def codes(draw: st.DrawFn) -> str:
    """A code of up to four symbols with exponents."""
    text = ""
    for number in range(draw(st.integers(1, 4))):
        symbol = draw(st.sampled_from(SYMBOLS))
        if symbol.isalpha():
            symbol += draw(st.sampled_from(["", "", "2", "3", "-1"]))
        text += symbol if number == 0 else draw(st.sampled_from("./")) + symbol
    return text


def assert_alike(left: Unit, right: Unit) -> None:
    assert left.exponents == right.exponents
    assert left.factor == pytest.approx(right.factor, rel=1e-9)


@given(codes(), codes())
def test_a_product_is_what_its_code_says(left: str, right: str):
    for found in (parse(left) * right, parse(left) / right):
        assert_alike(parse(found.code), found)


@given(codes(), codes())
def test_dividing_undoes_multiplying(left: str, right: str):
    assert_alike(parse(left) * right / right, parse(left))
    assert_alike(parse(left) / right * right, parse(left))


@given(codes(), codes(), codes())
def test_the_order_of_factors_does_not_matter(a: str, b: str, c: str):
    assert_alike(parse(a) * b, parse(b) * a)
    assert_alike(parse(a) * b * c, parse(a) * (parse(b) * c))


@given(st.floats(-1e12, 1e12), st.sampled_from(CLOSED))
def test_converting_there_and_back_changes_nothing(value: float, row: tuple[str, str, float]):
    code, other, _ = row
    assert convert(convert(value, code, other), other, code) == pytest.approx(value, rel=1e-12, abs=1e-300)


def test_arrays_keep_their_precision():
    values = np.linspace(0, 1, 5, dtype=np.float32)
    assert convert(values, "kBq/mL", "Bq/mL").dtype == np.float32
    assert convert(values, "Bq/mL", "Bq/mL") is values
