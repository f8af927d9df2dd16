"""Non-negative mixtures, against another solver and the conditions of the optimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from timelens.engines.unmixing.mixture import LinearMixture, Reason
from timelens.errors import UsageError


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (np.ones((2, 3)), "more parts than channels"),
        (np.ones(3), "matrix of finite"),
        (np.full((2, 2), np.nan), "matrix of finite"),
        (np.ones((3, 2)), "told apart"),
        (np.array([[1.0, 0], [0, 0], [0, 0]]), "told apart"),
    ],
)
def test_mixtures_that_are_none_are_refused(matrix, said):
    with pytest.raises(UsageError, match=said):
        LinearMixture(matrix)


def test_data_of_other_channels_are_refused():
    with pytest.raises(UsageError, match="differ in channels"):
        LinearMixture(np.eye(3)).fit(np.ones((2, 5)))


def test_samples_that_are_not_finite_are_nan_and_say_why():
    data = np.ones((2, 2, 2))
    data[1, 0, 1] = np.inf
    fit = LinearMixture(np.eye(2)).fit(data)
    assert fit.parameters.shape == (2, 2, 2)
    assert np.isnan(fit.parameters[:, 0, 1]).all() and fit.reason.tolist() == [[0, Reason.NON_FINITE], [0, 0]]
    assert fit.parameters[:, 1, 1].tolist() == [1, 1]


def test_no_samples():
    assert LinearMixture(np.eye(2)).fit(np.zeros((2, 0))).parameters.shape == (2, 0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(0, 8))
def test_equal_to_another_solver(seed, parts, more):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(parts + more, parts)) + 0.5
    try:
        model = LinearMixture(matrix)
    except UsageError:
        return
    data = rng.normal(size=(parts + more, 40))
    fit = model.fit(data)
    assert not fit.reason.any() and (fit.parameters >= 0).all()
    theirs = np.array([nnls(matrix, b)[0] for b in data.T]).T
    mine, other = (np.linalg.norm(data - matrix @ x, axis=0) for x in (fit.parameters, theirs))
    assert np.allclose(mine, other, rtol=1e-8, atol=1e-8)
    slope = matrix.T @ (data - fit.predict())
    scale = np.abs(matrix).sum() * 10
    assert (slope <= 1e-8 * scale).all() and np.allclose(slope * fit.parameters, 0, atol=1e-6 * scale)


def test_exact_mixtures_come_back_and_errors_are_those_of_least_squares(rng):
    matrix = rng.random((6, 3)) + np.eye(6, 3)
    truth = rng.random((3, 5, 4)) + 1
    fit = LinearMixture(matrix).fit(np.tensordot(matrix, truth, 1))
    assert np.allclose(fit.parameters, truth)
    draws = LinearMixture(matrix).fit((matrix @ truth[:, 0, 0])[:, None] + 0.05 * rng.normal(size=(6, 20000)))
    expected = LinearMixture(matrix).fit(matrix @ truth[:, 0, 0]).standard_errors(0.05**2)
    assert np.allclose(draws.parameters.std(axis=1), expected, rtol=0.03)
