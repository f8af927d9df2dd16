"""Spillover: which channels, how much, and back."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.unmixing import spillover
from timelens.errors import UsageError

CHANNELS = ("Nd142", "Nd143", "Nd144", "Sm147", "Gd158", "Tb159", "Dy163")
TRUE = np.eye(7)
TRUE[0, 1], TRUE[1, 0], TRUE[1, 2], TRUE[0, 4], TRUE[1, 5], TRUE[3, 6], TRUE[4, 5] = (
    0.012, 0.03, 0.008, 0.02, 0.025, 0.015, 0.05,
)  # fmt: skip


def stains(rng, events=4000, background=0.2, specks=0):
    found = {}
    for k, name in enumerate(CHANNELS):
        signal = np.zeros((7, events))
        signal[k] = rng.gamma(4, 50, events)
        data = rng.poisson(TRUE.T @ signal + background).astype(float)
        if specks:
            data[:, rng.choice(events, specks, replace=False)] += rng.gamma(2, 300, (7, specks))
        found[name] = data
    return found


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: spillover.possible(["CD8"]), "no metal with its mass"),
        (lambda: spillover.estimate({"Ir191": np.ones((7, 50))}, CHANNELS), "does not fit the channels"),
        (lambda: spillover.estimate({"Nd142": np.ones((6, 50))}, CHANNELS), "does not fit the channels"),
        (lambda: spillover.estimate({"Nd142": np.ones((7, 5))}, CHANNELS), "too few events"),
        (lambda: spillover.estimate({"Nd142": np.zeros((7, 50))}, CHANNELS), "no signal"),
        (lambda: spillover.compensate(np.ones((2, 3)), np.ones((2, 3))), "square"),
        (lambda: spillover.compensate(np.ones((2, 3)), 2 * np.eye(2)), "1 on its diagonal"),
        (lambda: spillover.compensate(np.ones((2, 3)), [[1, -0.1], [0, 1]]), "from 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(call, said):
    with pytest.raises(UsageError, match=said):
        call()


def test_where_spillover_is_possible():
    can = spillover.possible(CHANNELS)
    assert {(CHANNELS[i], CHANNELS[j]) for i, j in zip(*np.nonzero(can), strict=True)} == {
        ("Nd142", "Nd143"), ("Nd143", "Nd142"), ("Nd143", "Nd144"), ("Nd144", "Nd143"), ("Nd142", "Nd144"),
        ("Nd144", "Nd142"), ("Nd142", "Gd158"), ("Nd143", "Tb159"), ("Sm147", "Dy163"), ("Gd158", "Tb159"),
        ("Tb159", "Gd158"),
    }  # fmt: skip
    assert (TRUE[~can & ~np.eye(7, dtype=bool)] == 0).all()


@pytest.mark.parametrize("specks", [0, 20])
def test_the_matrix_is_recovered_within_its_errors(rng, specks):
    found = spillover.estimate(stains(rng, specks=specks), CHANNELS)
    off = spillover.possible(CHANNELS)
    assert np.abs(found.matrix - TRUE)[off].max() < 0.003
    if not specks:
        z = ((found.matrix - TRUE) / np.maximum(found.standard_errors, 1e-9))[off & (TRUE > 0)]
        assert np.abs(z).max() < 4
    assert (found.matrix[~off] == np.eye(7)[~off]).all() and found.unstained == ()


def test_a_metal_without_stain_is_named(rng):
    given = stains(rng)
    del given["Gd158"]
    found = spillover.estimate(given, CHANNELS)
    assert found.unstained == ("Gd158",) and (found.matrix[4] == np.eye(7)[4]).all()


def test_compensated_counts_are_the_true_ones(rng):
    truth = rng.gamma(2, 20, (7, 30, 40)) * (rng.random((7, 30, 40)) < 0.4)
    fit = spillover.compensate(np.tensordot(TRUE.T, truth, 1), TRUE)
    assert np.allclose(fit.parameters, truth, atol=1e-9)
    counted = rng.poisson(np.tensordot(TRUE.T, truth, 1))
    fit = spillover.compensate(counted, TRUE)
    assert (fit.parameters >= 0).all()
    # The mean over pixels where a channel is dark loses its spillover, and only that.
    dark = truth[5] == 0
    assert counted[5][dark].mean() > 0.5 and fit.parameters[5][dark].mean() < 0.4 * counted[5][dark].mean()
