"""Clusters of cells: bad input, what is stable, names, and rare types."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.cells import clusters
from timelens.engines.cells.clusters import adjusted_rand, cluster_cells, name_clusters, names_of, refine_clusters
from timelens.errors import UsageError

MARKERS = ("CD45", "CD3", "CD8", "CD20", "panCK")
TYPES = {
    "cd8": {"CD45": True, "CD3": True, "CD8": True, "CD20": False, "panCK": False},
    "t": {"CD45": True, "CD3": True, "CD8": False, "CD20": False, "panCK": False},
    "b": {"CD45": True, "CD20": True, "CD3": False, "panCK": False},
    "tumour": {"panCK": True, "CD45": False, "CD3": False, "CD20": False},
}
SHARE = (0.15, 0.2, 0.05, 0.6)


def draw(rng, cells=2000, share=SHARE):
    """Values from 0 to 1, type of each cell, and which markers it bears."""
    kind = rng.choice(len(TYPES), cells, p=share)
    borne = np.array([[marks.get(m, False) for m in MARKERS] for marks in TYPES.values()])[kind]
    values = np.clip(np.where(borne, 1.0, 0.0) + rng.normal(0, 0.15, borne.shape), 0, 1)
    return values, np.array(list(TYPES))[kind], {m: values[:, k] > 0.5 for k, m in enumerate(MARKERS)}


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        (np.ones(5), {}, "have markers"),
        (np.ones((5, 0)), {}, "have markers"),
        (np.ones((50, 2)), {"nearest": 0}, "have markers"),
        (np.ones((10, 2)), {}, "too few cells"),
        (np.full((50, 2), np.nan), {}, "too few cells"),
        (np.ones((50, 2)), {"method": "som"}, "no such method"),
        (np.ones((50, 2)), {"resolution": -1.0}, "positive number"),
    ],
)
def test_bad_input_is_refused(values, options, said, rng):
    with pytest.raises(UsageError, match=said):
        cluster_cells(values, rng, **options)


def test_cells_without_values_have_no_cluster(rng):
    values, _, positive = draw(rng, 300)
    values[::10, 0] = np.nan
    found = cluster_cells(values, rng, repeats=0)
    assert (found.label[::10] == -1).all() and (found.label >= 0).sum() == 270 == found.size.sum()
    assert np.isnan(found.agreement) and np.isnan(found.stability).all()
    kept = refine_clusters(values, found.label, positive, TYPES, rng)
    assert (kept[::10] == -1).all()
    assert (names_of(kept, name_clusters(kept, positive, TYPES))[::10] == "unknown").all()


def test_types_are_found_and_named(rng):
    values, kind, positive = draw(rng)
    found = cluster_cells(values, rng)
    label = refine_clusters(values, found.label, positive, TYPES, rng)
    named = name_clusters(label, positive, TYPES)
    assert (names_of(label, named) == kind).mean() > 0.98
    assert all(np.diff(np.bincount(label)) <= 0)


def test_groups_that_are_there_come_again(rng):
    centres = np.eye(3)
    values = centres[rng.integers(0, 3, 900)] * 5 + rng.normal(0, 0.05, (900, 3))
    real = cluster_cells(values, rng, resolution=0.2)
    assert len(real.size) == 3 and real.agreement > 0.99 and real.stability.min() > 0.99
    nothing = cluster_cells(rng.random((900, 3)), rng)
    assert nothing.agreement < 0.8


def test_few_cells_of_a_type_get_their_cluster(rng):
    values, kind, positive = draw(rng, 3000, (0.01, 0.38, 0.01, 0.6))
    label = refine_clusters(values, cluster_cells(values, rng, repeats=0).label, positive, TYPES, rng)
    own = names_of(label, name_clusters(label, positive, TYPES))
    for rare in ("cd8", "b"):
        right = ((own == rare) & (kind == rare)).sum()
        assert 2 * right / ((own == rare).sum() + (kind == rare).sum()) > 0.9


def test_names():
    label = np.repeat([0, 1, 2], 10)
    positive = {"CD3": label == 0, "CD8": label > 5, "CD20": label == 1}
    named = name_clusters(label, positive, TYPES)
    assert [n.name for n in named] == ["unknown"] * 3 and named[0].score == 0.0
    types = {"t": {"CD3": True, "CD20": False}, "t-plain": {"CD3": True}, "b": {"CD20": True, "CD3": False}}
    named = name_clusters(label, positive, types)
    assert [n.name for n in named] == ["t", "b", "unknown"]
    assert named[0].runner_up == ("t-plain", 1.0)
    with pytest.raises(UsageError, match="least score"):
        name_clusters(label, positive, types, least=2)


def test_many_cells_follow_those_that_were_clustered(rng, monkeypatch):
    monkeypatch.setattr(clusters, "MOST_AT_ONCE", 500)
    values, kind, positive = draw(rng, 2000)
    found = cluster_cells(values, rng, repeats=0)
    assert found.size.sum() == 2000
    named = name_clusters(found.label, positive, TYPES)
    assert (names_of(found.label, named) == kind).mean() > 0.9


def test_one_seed_gives_one_answer():
    values, _, _ = draw(np.random.default_rng(1), 400)
    one, two = (cluster_cells(values, np.random.default_rng(2)) for _ in range(2))
    assert np.array_equal(one.label, two.label) and one.agreement == two.agreement


def test_adjusted_rand_index():
    # The example of Hubert and Arabie's formula with two groups of three.
    one, two = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2])
    assert adjusted_rand(one, two) == pytest.approx(0.24242424)
    assert adjusted_rand(one, 1 - one) == 1.0 and adjusted_rand(0 * one, 0 * one) == 1.0
