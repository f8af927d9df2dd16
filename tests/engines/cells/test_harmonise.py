"""Slides on one scale: bad input, and what is left of known gains and backgrounds."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.cells.harmonise import align_landmarks, align_spread, poisson_floor
from timelens.engines.cells.thresholds import split
from timelens.engines.cells.transform import arcsinh, landmarks
from timelens.errors import UsageError

GAIN, GROUND = np.array([1.0, 0.3, 3.0]), np.array([0.2, 0.05, 1.5])


def slides(rng, cells=1500, shares=((0.3, 0.1), (0.3, 0.1), (0.3, 0.1))):
    """Two markers on three slides: gain and background by slide, parts of positive cells as stated."""
    values, slide, borne = [], [], []
    for s in range(3):
        positive = rng.random((cells, 2)) < shares[s]
        level = rng.gamma(6.0, 1 / 6, (cells, 2)) * np.where(positive, 6.0, 0.0)
        values.append(rng.poisson(40 * (GAIN[s] * level + GROUND[s])) / 40)
        slide.append(np.full(cells, s))
        borne.append(positive)
    return arcsinh(np.concatenate(values), 1.0), np.concatenate(slide), np.concatenate(borne)


@pytest.mark.parametrize("align", [align_landmarks, align_spread])
def test_slides_that_do_not_fit_are_refused(align):
    with pytest.raises(UsageError, match="one slide"):
        align(np.ones((5, 2)), np.zeros(4))
    with pytest.raises(UsageError, match="one slide"):
        align(np.ones((0, 2)), np.zeros(0))


def test_controls_and_groups_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="control or not"):
        align_spread(np.ones((5, 2)), np.zeros(5), controls=[True])
    with pytest.raises(UsageError, match="positive cell or not"):
        landmarks(np.ones((5, 2)), np.ones(5, bool))


def test_what_cannot_be_moved_is_said(rng):
    values = np.column_stack([rng.normal(size=80), np.full(80, 3.0), np.full(80, np.nan)])
    slide = np.repeat(["a", "b"], 40)
    found = align_landmarks(values, slide)
    assert set(found.reasons) == {(s, k) for s in "ab" for k in range(3)}
    assert found.values[:, 1] == pytest.approx(3.0) and np.isnan(found.values[:, 2]).all()
    found = align_spread(values, slide, controls=np.arange(80) < 50)
    assert "fewer than 30" in found.reasons["b", 0] and "do not vary" in found.reasons["a", 1]
    assert np.array_equal(found.values[40:, 0], values[40:, 0])


def test_one_slide_stays_as_it_is(rng):
    values, slide, _ = slides(rng)
    own = values[slide == 0]
    assert align_landmarks(own, np.zeros(len(own))).values == pytest.approx(own)
    assert align_spread(own, np.zeros(len(own))).values == pytest.approx(own)


def test_landmarks_of_a_group_without_cells():
    low, high = landmarks([[1.0], [3.0], [np.nan]], [[False], [False], [True]])
    assert low == [2.0] and np.isnan(high[0])


def test_known_gains_and_backgrounds_are_taken_out():
    rng = np.random.default_rng(4)
    values, slide, borne = slides(rng, shares=((0.3, 0.1), (0.1, 0.2), (0.5, 0.05)))
    found = align_landmarks(values, slide)

    def spread(table):
        levels = np.array([landmarks(table[slide == s], borne[slide == s]) for s in range(3)])
        return np.ptp(levels, axis=0).max()

    def right(table):
        return [float(((table[:, k] >= split(table[:, k]).threshold) == borne[:, k]).mean()) for k in (0, 1)]

    assert spread(values) > 1.2 and spread(found.values) < 0.06
    # A threshold for all slides, and each slide keeps its own part of positive cells.
    assert min(right(found.values)) > 0.99 > min(right(values))
    parts = [(found.values[slide == s, 0] >= split(found.values[:, 0]).threshold).mean() for s in range(3)]
    assert parts == pytest.approx([0.3, 0.1, 0.5], abs=0.04)


def test_spread_of_controls_is_the_same_afterwards():
    rng = np.random.default_rng(5)
    values, slide, borne = slides(rng)
    control = ~borne.any(axis=1)
    found = align_spread(values, slide, controls=control)
    medians = np.array([np.median(found.values[(slide == s) & control], axis=0) for s in range(3)])
    assert np.ptp(medians, axis=0) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("rate", [0.05, 0.3, 1.2])
def test_the_floor_of_counts(rate, rng):
    ground = rng.poisson(rate, 60_000)
    assert poisson_floor(ground) == pytest.approx(rate, rel=0.05)
    stained = np.concatenate([ground, rng.poisson(12.0, 20_000)])
    assert poisson_floor(stained) == pytest.approx(rate, rel=0.05)
    weak = np.concatenate([ground, rng.poisson(rate + 2.0, 20_000)])
    assert poisson_floor(weak) > rate


def test_a_channel_without_empty_pixels_has_no_floor(rng):
    assert np.isnan(poisson_floor(rng.poisson(30.0, 5000))) and np.isnan(poisson_floor([np.nan]))
