from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelens.engines.radioactivity import (
    average_count_rate_time,
    convert_decay_reference,
    decay_constant,
    decay_factor,
    frame_decay_factor,
)
from timelens.errors import DataError

F18 = 6586.2
times = st.floats(-1e5, 1e5)
half_lives = st.floats(60.0, 1e7)


@pytest.mark.parametrize("half_life", [0.0, -1.0, math.nan])
@pytest.mark.parametrize(
    "call",
    [
        decay_constant,
        lambda t: decay_factor(1.0, t),
        lambda t: convert_decay_reference(1.0, 0.0, 1.0, t),
        lambda t: frame_decay_factor(0.0, 1.0, t),
        lambda t: average_count_rate_time(1.0, t),
    ],
)
def test_what_is_no_half_life_is_refused(half_life, call):
    with pytest.raises(DataError, match="half-life must be positive"):
        call(half_life)


def test_one_bad_half_life_in_an_array_is_refused():
    with pytest.raises(DataError, match="half-life must be positive"):
        decay_factor(1.0, [F18, 0.0])


@pytest.mark.parametrize("call", [frame_decay_factor, lambda s, d, t: average_count_rate_time(d, t)])
def test_negative_durations_are_refused(call):
    with pytest.raises(DataError, match="negative duration"):
        call(0.0, -1.0, F18)


@pytest.mark.parametrize(
    ("half_lives_past", "left"), [(0.0, 1.0), (1.0, 0.5), (2.0, 0.25), (-1.0, 2.0), (0.5, math.sqrt(0.5))]
)
def test_decay_factor_halves_per_half_life(half_lives_past, left):
    assert decay_factor(half_lives_past * F18, F18) == pytest.approx(left, rel=1e-15)


def test_decay_factor_broadcasts_and_keeps_nan():
    out = decay_factor(np.array([[0.0], [60.0], [np.nan]]), np.array([60.0, 120.0]))
    np.testing.assert_allclose(out[:2], [[1, 1], [0.5, math.sqrt(0.5)]], rtol=1e-15)
    assert np.isnan(out[2]).all()


def test_a_stable_nuclide_does_not_decay():
    assert decay_factor(1e9, np.inf) == 1.0
    assert decay_constant(np.inf) == 0.0


@given(value=st.floats(1e-3, 1e9), a=times, b=times, c=times, half_life=st.floats(1e4, 1e7))
def test_re_referencing_is_a_group(value, a, b, c, half_life):
    direct = convert_decay_reference(value, a, c, half_life)
    through_b = convert_decay_reference(convert_decay_reference(value, a, b, half_life), b, c, half_life)
    assert through_b == pytest.approx(direct, rel=1e-12)
    assert convert_decay_reference(direct, c, a, half_life) == pytest.approx(value, rel=1e-12)


def test_later_references_have_less_activity():
    assert convert_decay_reference(100.0, 0.0, F18, F18) == 50.0
    assert convert_decay_reference(100.0, F18, 0.0, F18) == 200.0


@pytest.mark.parametrize("start", [0.0, 600.0])
@pytest.mark.parametrize("duration", [1e-3, 10.0, 600.0, 20000.0])
def test_frame_factor_is_the_mean_over_the_frame(start, duration):
    nodes, weights = np.polynomial.legendre.leggauss(40)
    t = start + duration * (nodes + 1) / 2
    mean = 0.5 * (weights * np.exp(-math.log(2) / F18 * t)).sum()
    assert frame_decay_factor(start, duration, F18) == pytest.approx(mean, rel=1e-12)


def test_frame_factor_of_an_instant_is_the_factor_then():
    assert frame_decay_factor(F18, 0.0, F18) == 0.5


@given(start=st.floats(0, 1e4), first=st.floats(1.0, 1e4), second=st.floats(1.0, 1e4), half_life=half_lives)
def test_splitting_a_frame_keeps_the_counts(start, first, second, half_life):
    whole = (first + second) * frame_decay_factor(start, first + second, half_life)
    parts = first * frame_decay_factor(start, first, half_life) + second * frame_decay_factor(
        start + first, second, half_life
    )
    assert parts == pytest.approx(whole, rel=1e-10)


@given(duration=st.floats(1e-3, 1e5), half_life=half_lives)
def test_at_the_average_count_rate_time_the_activity_equals_its_mean(duration, half_life):
    at = average_count_rate_time(duration, half_life)
    assert 0 < at <= duration / 2 * (1 + 1e-12)
    assert decay_factor(at, half_life) == pytest.approx(frame_decay_factor(0.0, duration, half_life), rel=1e-11)


def test_average_count_rate_time_of_a_scanner():
    # Frame Reference Time of a Siemens header: 120 s frame, 18F.
    assert average_count_rate_time(120.0, F18) == pytest.approx(59.936854672596, abs=1e-9)
    assert average_count_rate_time(0.0, F18) == 0.0


def test_average_count_rate_time_has_no_step_where_its_series_begins():
    edge = 1e-3 * F18 / math.log(2)
    below, above = average_count_rate_time([edge * (1 - 1e-9), edge * (1 + 1e-9)], F18)
    assert above - below == pytest.approx(edge * 1e-9, rel=1e-2)
