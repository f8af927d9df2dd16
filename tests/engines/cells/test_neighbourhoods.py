"""k-means, windows, neighbourhoods and contexts."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.cells import graph
from timelens.engines.cells.kmeans import kmeans
from timelens.engines.cells.neighbourhoods import composition, context_names, neighbourhoods, spatial_context
from timelens.errors import UsageError


@pytest.mark.parametrize(
    ("rows", "groups", "said"),
    [
        (np.zeros((5, 2)), 2, "fewer different rows"),
        (np.zeros((0, 2)), 1, "fewer different rows"),
        (np.eye(3), 0, "fewer different rows"),
        (np.full((3, 2), np.nan), 1, "finite"),
        (np.zeros(3), 1, "finite"),
    ],
)
def test_rows_that_cannot_be_grouped_are_refused(rows, groups, said, rng):
    with pytest.raises(UsageError, match=said):
        kmeans(rows, groups, rng)


def test_clouds_are_found_and_numbered_by_size(rng):
    truth = np.repeat([0, 1, 2], [60, 100, 30])
    rows = np.array([[0.0, 0], [9, 0], [0, 9]])[truth] + rng.normal(size=(190, 2))
    found = kmeans(rows, 3, np.random.default_rng(1))
    assert found.converged and np.bincount(found.label).tolist() == [100, 60, 30]
    assert np.array_equal(found.label, np.array([1, 0, 2])[truth])
    assert np.allclose(found.centres[0], rows[truth == 1].mean(axis=0))
    apart = [((rows[truth == t] - rows[truth == t].mean(axis=0)) ** 2).sum() for t in range(3)]
    assert found.inertia == pytest.approx(sum(apart))
    again = kmeans(rows, 3, np.random.default_rng(1))
    assert np.array_equal(again.label, found.label)


@pytest.mark.parametrize("groups", [1, 2, 9])
def test_every_row_is_with_the_nearest_mean(groups, rng):
    rows = rng.random((3000, 4))
    found = kmeans(rows, groups, rng, rounds=1000)
    away = ((rows[:, None] - found.centres) ** 2).sum(axis=2)
    assert found.converged and np.array_equal(found.label, away.argmin(axis=1))
    assert found.inertia == pytest.approx(away.min(axis=1).sum())
    assert np.allclose(found.centres, [rows[found.label == g].mean(axis=0) for g in range(groups)])


def test_more_rows_than_the_sample(rng):
    rows = rng.normal(size=(50_000, 1)) + 20 * rng.integers(0, 2, (50_000, 1))
    found = kmeans(rows, 2, rng)
    assert sorted(found.centres.ravel()) == pytest.approx([0, 20], abs=0.05)


def test_windows_by_brute_force(rng):
    y, x = rng.random((2, 80))
    types, near = rng.integers(0, 3, 80), graph.nearest(y, x, 9)
    parts = composition(near, types, 3)
    far = np.hypot(np.subtract.outer(y, y), np.subtract.outer(x, x))
    for i, row in enumerate(np.argsort(far, axis=1)[:, :10]):
        assert np.allclose(parts[i], np.bincount(types[row], minlength=3) / 10)
    alone = composition(graph.nearest([0.0], [0.0], 3), [1], 2)
    assert alone.tolist() == [[0, 1]]
    assert np.isnan(composition(graph.nearest([0.0], [0.0], 3), [1], 2, with_self=False)).all()
    with pytest.raises(UsageError, match="one type"):
        composition(near, types, 2)


def test_regions_of_like_mixture_are_neighbourhoods(rng):
    y, x = rng.random((2, 3000))
    side = (x > 0.6).astype(int)
    types = np.where(rng.random(3000) < 0.8, side, 2)
    found = neighbourhoods(graph.nearest(y, x, 20), types, 4, 2, rng)
    inner = np.abs(x - 0.6) > 0.08
    assert (found.label == side)[inner].mean() > 0.99
    assert found.parts[0] == pytest.approx([0.8, 0, 0.2, 0], abs=0.05)
    assert found.enrichment[0, 0] == pytest.approx(np.log2(found.parts[0, 0] / np.mean(types == 0)))
    assert np.isnan(found.enrichment[:, 3]).all()


def test_contexts_are_the_fewest_that_fill_the_share():
    near = graph.Graph(np.array([0, 9, *[9] * 9]), np.arange(1, 10, dtype=np.int32))
    label = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])  # of ten: six, three and one
    assert context_names(spatial_context(near, label, 3, share=0.9))[:2] == ["0_1", "0"]
    assert context_names(spatial_context(near, label, 3, share=0.6))[0] == "0"
    assert context_names(spatial_context(near, label, 3, share=0.95))[0] == "0_1_2"
    with pytest.raises(UsageError, match="share"):
        spatial_context(near, label, 3, share=1.5)
