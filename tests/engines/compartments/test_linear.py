"""Linear compartments against closed forms; nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timelens.engines.compartments import Compartments
from timelens.errors import DataError, UsageError


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="Two pools bear one name"):
        Compartments(["a", "a"])
    pools = Compartments(["a", "b"])
    with pytest.raises(UsageError, match="no such pool"):
        pools.flow("a", "c", 1.0)
    for rate in (-1.0, np.nan, np.inf):
        with pytest.raises(DataError, match="rate of zero or more"):
            pools.flow("a", "b", rate)
    for times in ([-1.0, 0.0], [2.0, 1.0], [np.nan]):
        with pytest.raises(DataError, match="Times must ascend"):
            pools.solve(times, {"a": 1.0})
    with pytest.raises(DataError, match="needs a duration"):
        pools.solve([1.0], {}, infused={"a": 1.0})


def test_two_pools_follow_the_closed_form() -> None:
    pools = Compartments(["a", "b"])
    pools.exchange("a", "b", 2.0, (10.0, 5.0))
    t = np.array([0.0, 0.5, 3.0, 1e5])
    rate = 2 / 10 + 2 / 5
    a = 1 / 3 * (2 + np.exp(-rate * t))
    got = pools.solve(t, {"a": 1.0})
    np.testing.assert_allclose(got[0], a, rtol=1e-10)
    np.testing.assert_allclose(got.sum(axis=0), 1.0, rtol=1e-12)


def test_a_chain_follows_bateman() -> None:
    """Bateman 1910: b(t) = k1 / (k2 - k1) (exp(-k1 t) - exp(-k2 t))."""
    pools = Compartments(["a", "b", "c"])
    pools.flow("a", "b", 0.3)
    pools.flow("b", "c", 0.01)
    t = np.linspace(0, 300, 31)
    b = 0.3 / (0.01 - 0.3) * (np.exp(-0.3 * t) - np.exp(-0.01 * t))
    np.testing.assert_allclose(pools.solve(t, {"a": 2.0})[1], 2 * b, rtol=1e-10, atol=1e-14)


def test_an_infusion_is_the_mean_of_boluses_and_stops() -> None:
    pools = Compartments(["a", "b"])
    pools.flow("a", "b", 0.1)
    t = np.array([0.0, 5.0, 10.0, 12.0, 50.0])
    got = pools.solve(t, {}, infused={"a": 1.0}, over=10.0)
    during = (1 - np.exp(-0.1 * np.minimum(t, 10))) / (0.1 * 10)
    np.testing.assert_allclose(got[0], during * np.exp(-0.1 * np.maximum(t - 10, 0)), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(got.sum(axis=0), np.minimum(t / 10, 1), rtol=1e-12, atol=1e-15)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.integers(0, 10**6), st.floats(-8, 2), st.floats(0.1, 6))
def test_the_total_stays_and_nothing_turns_negative(n: int, seed: int, scale: float, end: float) -> None:
    rng = np.random.default_rng(seed)
    pools = Compartments([str(i) for i in range(n)])
    for i in range(n):
        for j in range(n):
            if i != j and rng.random() < 0.5:
                pools.flow(str(i), str(j), float(10 ** (scale + rng.uniform(-3, 3))))
    got = pools.solve([0.0, 10**end / 3, 10**end], {"0": 1.0})
    np.testing.assert_allclose(got.sum(axis=0), 1.0, rtol=1e-12)
    assert got.min() >= 0
