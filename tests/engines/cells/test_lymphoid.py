"""Clusters by density, and tertiary lymphoid structures."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.cells.lymphoid import dense_clusters, lymphoid_structures
from timelens.errors import UsageError

OPTIONS = {"reach": 20.0, "fewest_within_reach": 5, "fewest_b": 30, "fewest_t": 10, "around": 30.0}


def brute(points, reach, fewest):
    far = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    core = (far <= reach).sum(axis=1) >= fewest
    label, number = np.full(len(points), -1), 0
    for start in np.flatnonzero(core):
        if label[start] >= 0:
            continue
        todo = [start]
        while todo:
            i = todo.pop()
            if label[i] < 0:
                label[i] = number
                todo += [j for j in np.flatnonzero((far[i] <= reach) & core) if label[j] < 0]
        number += 1
    for i in np.flatnonzero(~core):
        near = np.where(core, far[i], np.inf)
        if near.min() <= reach:
            label[i] = label[np.argmin(near)]
    return label


@pytest.mark.parametrize("fewest", [1, 3, 6])
def test_clusters_by_brute_force(rng, fewest):
    points = rng.random((150, 2)) * 20
    assert np.array_equal(dense_clusters(*points.T, reach=1.2, fewest=fewest), brute(points, 1.2, fewest))


def test_no_points_and_no_sense():
    assert len(dense_clusters([], [], reach=1, fewest=2)) == 0
    with pytest.raises(UsageError, match="at least itself"):
        dense_clusters([0], [0], reach=1, fewest=0)
    with pytest.raises(UsageError, match="marked or not"):
        lymphoid_structures([0], [0], b_cells=[1], t_cells=[True], **OPTIONS)


def tissue(rng):
    """A follicle at (100, 100), a cluster of B cells without T cells at (400, 400), scattered others."""
    b = np.concatenate([rng.normal(100, 15, (80, 2)), rng.normal(400, 12, (50, 2)), rng.random((30, 2)) * 600])
    t = np.concatenate([rng.normal(100, 30, (60, 2)), rng.random((10, 2)) * 300 + [300, 0]])
    points = np.concatenate([b, t, [[101.0, 99.0]]])
    kind = np.repeat([0, 1, 2], [len(b), len(t), 1])
    return points, kind


def test_structures_are_found_with_their_maturity(rng):
    points, kind = tissue(rng)
    given = {"b_cells": kind == 0, "t_cells": kind == 1}
    found = lymphoid_structures(*points.T, **given, **OPTIONS)
    assert len(found) == 1 and found[0].maturity == "unknown" and found[0].follicular_dendritic is None
    assert (found[0].y_um, found[0].x_um) == pytest.approx((100, 100), abs=8)
    assert 70 <= found[0].b_cells <= 85 and found[0].t_cells > 40 and 2000 < found[0].area_um2 < 10000
    assert (kind[found[0].members] == 0).all()
    none = np.zeros(len(kind), bool)
    for dendritic, germinal, maturity in (
        (none, None, "early"),
        (kind == 2, None, "primary follicle"),
        (kind == 2, none, "primary follicle"),
        (kind == 2, kind == 2, "secondary follicle"),
    ):
        one = lymphoid_structures(*points.T, **given, follicular_dendritic=dendritic, germinal=germinal, **OPTIONS)
        assert [s.maturity for s in one] == [maturity]
    without = lymphoid_structures(*points.T, **given, **{**OPTIONS, "fewest_t": 0})
    assert [s.b_cells for s in without] == sorted((s.b_cells for s in without), reverse=True) and len(without) == 2
