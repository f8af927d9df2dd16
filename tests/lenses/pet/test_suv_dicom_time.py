from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelens.errors import DataError
from timelens.lenses.pet.dicom_time import Instant, parse_date, parse_datetime, parse_time

moments = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2090, 1, 1))


@pytest.mark.parametrize("nothing", [None, "", "  ", "\0"])
def test_nothing_written_is_none(nothing):
    assert parse_date(nothing) is None
    assert parse_time(nothing) is None
    assert parse_datetime(nothing) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 36000), ("1015", 36900), ("101530", 36930), ("101530.5", 36930.5), ("10:15:30.25", 36930.25),
        ("235959.999999", 86399.999999), ("235960", 86400), ("101530 ", 36930),
    ],
)  # fmt: skip
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["1", "240000", "106000", "101561", "10153", "101530.", "10 15", "-10"])
def test_what_is_no_time(text):
    with pytest.raises(DataError, match="Not a time"):
        parse_time(text)


@pytest.mark.parametrize("text", ["20240305", "2024.03.05", "2024-03-05"])
def test_dates(text):
    assert parse_date(text) == dt.date(2024, 3, 5)


@pytest.mark.parametrize("text", ["20240230", "2024", "2024.0305", "05032024x"])
def test_what_is_no_date(text):
    with pytest.raises(DataError, match="Not a date"):
        parse_date(text)


def test_python_objects_pass():
    moment = dt.datetime(2024, 3, 5, 10, 15, 30, 500000)
    assert parse_date(moment) == parse_date(moment.date()) == dt.date(2024, 3, 5)
    assert parse_time(moment) == parse_time(moment.time()) == 36930.5


def test_time_zones_need_the_zone_of_the_series():
    notes: list[str] = []
    assert str(parse_datetime("20240305233000+0000", zone_s=3600.0, notes=notes)) == "2024-03-06 00:30:00"
    assert str(parse_datetime("20240305233000-0530", zone_s=0.0, notes=notes)) == "2024-03-06 05:00:00"
    assert notes == []
    assert str(parse_datetime("20240305233000+0100", "X", notes=notes)) == "2024-03-05 23:30:00"
    assert notes == ["X names a time zone and the series none: its clock reading was used"]
    aware = dt.datetime(2024, 3, 5, 8, tzinfo=dt.UTC)
    assert str(parse_datetime(aware, zone_s=3600.0)) == "2024-03-05 09:00:00"


@given(moments)
def test_round_trip(moment):
    assert Instant.of(moment).datetime() == moment
    assert parse_datetime(moment.strftime("%Y%m%d%H%M%S.%f")) == Instant.of(moment)


@given(a=moments, b=moments)
def test_differences_and_order_are_those_of_datetimes(a, b):
    assert Instant.of(a) - Instant.of(b) == pytest.approx((a - b).total_seconds(), abs=1e-6)
    assert (Instant.of(a) < Instant.of(b)) == (a < b)


@given(moment=moments, seconds=st.floats(-3e5, 3e5))
def test_shifting_is_undone_by_the_difference(moment, seconds):
    start = Instant.of(moment)
    assert start.shifted(seconds) - start == pytest.approx(seconds, abs=1e-9)
    assert 0 <= start.shifted(seconds).seconds <= 86400


def test_fractions_of_a_microsecond_are_kept():
    start = Instant(dt.date(2024, 3, 5), 45314.999995)
    assert start.shifted(1e-9) - start == pytest.approx(1e-9, abs=2e-11)
