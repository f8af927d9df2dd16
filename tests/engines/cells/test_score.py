"""Scores of found cells against given ones."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.cells.score import agreement, overlaps
from timelens.errors import UsageError


def test_scores_of_known_pictures():
    given = np.zeros((10, 20), int)
    given[:, :5], given[:, 5:10], given[:, 15:] = 3, 4, 9
    found = np.zeros_like(given)
    found[:, :4], found[:, 6:12] = 7, 2
    assert overlaps(found, given) == pytest.approx(np.array([[0, 4 / 7, 0], [0.8, 0, 0]]))
    half = agreement(found, given)
    assert (half.matched, half.missed, half.invented) == (2, 1, 0)
    assert (half.precision, half.recall, half.average_precision) == (1, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert agreement(found, given, 0.7).average_precision == pytest.approx(1 / 4)
    empty = agreement(np.zeros((3, 3), int), np.zeros((3, 3), int))
    assert np.isnan([empty.average_precision, empty.precision, empty.recall]).all()
    with pytest.raises(UsageError, match="overlap"):
        agreement(found, given, 0)
    with pytest.raises(UsageError, match="one size"):
        agreement(found, given[1:])


def test_one_found_cell_matches_one_given_cell_only():
    given = np.array([[1, 1, 2, 2]])
    assert agreement(np.array([[1, 1, 1, 1]]), given, 0.5).matched == 1
