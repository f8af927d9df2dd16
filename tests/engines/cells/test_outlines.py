"""Whole cells: they end where markers change, profiles without a nucleus are found, cores lie away from borders."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from timelens.engines.cells.outlines import cell_outlines, cores, marker_edges
from timelens.engines.cells.score import agreement
from timelens.errors import UsageError


def _tissue(rng, counts=8.0, bare=4):
    """Square cells of 14 pixels, side by side, with markers of their own; every so many-th has no nucleus."""
    y, x = np.mgrid[:140, :140]
    cell = (y // 14) * 10 + x // 14 + 1
    nucleus = (np.hypot(y % 14 - 6.5, x % 14 - 6.5) < 4) & (cell % bare != 0)
    bears = rng.random((6, 101)) < 0.5
    bears[0] |= ~bears.any(axis=0)
    level = np.where(bears, counts * rng.gamma(6, 1 / 6, bears.shape), 0.1)
    return cell, np.where(nucleus, cell, 0), rng.poisson(level[:, cell]).astype(np.float32)


def test_cells_grow_to_where_markers_change(rng):
    cell, nuclei, markers = _tissue(rng)
    found = cell_outlines(nuclei, markers, 8, 5)
    grown = found > 0
    assert (found[grown] == cell[grown]).mean() > 0.97
    assert set(np.unique(found)) == set(np.unique(nuclei))


def test_profiles_without_a_nucleus_are_found_only_where_asked_for(rng):
    cell, nuclei, markers = _tissue(rng)
    found = cell_outlines(nuclei, markers, 8, 5, bare=markers)
    lacking = cell % 4 == 0
    score = agreement(np.where(found > nuclei.max(), found, 0), np.where(lacking, cell, 0))
    assert score.recall > 0.5 and score.precision > 0.65
    assert cell_outlines(nuclei, markers, 8, 5).max() == nuclei.max()
    assert np.array_equal(cell_outlines(nuclei, markers, 8, 5, bare=markers[:0]), cell_outlines(nuclei, markers, 8, 5))


def test_without_markers_nuclei_keep_a_rim():
    nuclei = np.zeros((30, 30), int)
    nuclei[12:18, 12:18] = 3
    for markers in (np.zeros((0, 30, 30)), np.zeros((2, 30, 30)), np.full((2, 30, 30), np.nan)):
        found = cell_outlines(nuclei, markers, 8, 5, bare=markers)
        assert set(np.unique(found)) == {0, 3} and 36 < (found == 3).sum() <= 64


def test_no_nuclei_and_even_markers_give_no_cells(rng):
    even = rng.poisson(5, (3, 60, 60)).astype(float)
    assert cell_outlines(np.zeros((60, 60), int), np.full((3, 60, 60), 5.0), 8, 3).max() == 0
    assert cell_outlines(np.zeros((60, 60), int), even, 8, 3).max() == 0


def test_stripes_without_values_are_no_obstacle(rng):
    cell, nuclei, markers = _tissue(rng)
    markers[:, 40:45] = np.nan
    markers[0, 100, 100] = np.inf
    found = cell_outlines(nuclei, markers, 8, 5)
    known = found > 0
    known[36:50] = False
    assert (found[known] == cell[known]).mean() > 0.95


def test_edges_are_where_channels_step():
    step = np.zeros((2, 20, 30))
    step[0, :, 15:] = 9.0
    edges = marker_edges(step, 1.0)
    assert (edges.argmax(axis=1) // 2 == 7).all() and edges[:, 2].max() < 1e-6
    # The root of counts rises by about 2.45; a step that is smoothed rises by 1 / sqrt(2 pi) of itself at most.
    assert edges.max() == pytest.approx((np.sqrt(9.375) - np.sqrt(0.375)) / np.sqrt(2 * np.pi), rel=0.2)


def test_every_cell_has_a_core_away_from_its_border():
    y, x = np.mgrid[:60, :60]
    labels = np.where(np.hypot(y - 30, x - 20) < 12, 5, 0)
    labels[30, 50] = 9
    labels[:4, :4] = 2
    core = cores(labels)
    assert set(np.unique(core)) == {0, 2, 5, 9} and (core[core > 0] == labels[core > 0]).all()
    assert core[30, 50] == 9 and core[0, 0] == 2
    away = ndimage.distance_transform_edt(labels == 5)
    assert away[core == 5].min() >= 3 and (core == 5).sum() > 150
    assert np.array_equal(cores(np.full((5, 5), 4)), np.full((5, 5), 4))
    assert cores(np.zeros((0, 3), int)).shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda n, m: cell_outlines(n, m[:, 1:], 8, 3), "differ in size"),
        (lambda n, m: cell_outlines(n, m[0], 8, 3), "differ in size"),
        (lambda n, m: cell_outlines(n, m, 8, 3, bare=m[:, 1:]), "differ in size"),
        (lambda n, m: cell_outlines(n, m, 0, 3), "make no sense"),
        (lambda n, m: cell_outlines(n, m, 8, np.nan), "make no sense"),
        (lambda n, m: cell_outlines(n - 1, m, 8, 3), "whole numbers"),
        (lambda n, m: cell_outlines(n * 1.0, m, 8, 3), "whole numbers"),
        (lambda n, m: cores(n * 1.0), "whole numbers"),
        (lambda n, m: cores(n - 1), "whole numbers"),
    ],
)
def test_what_makes_no_sense_is_refused(call, said):
    with pytest.raises(UsageError, match=said):
        call(np.zeros((9, 9), int), np.zeros((2, 9, 9)))
