"""Tertiary lymphoid structures: dense clusters of B cells with T cells among and around them, and how mature they are.

B cells are clustered by density (DBSCAN, Ester 1996). A cluster with enough T cells in and near it is a structure. Its
maturity follows Silina 2018 (doi:10.1158/0008-5472.CAN-17-1987): early without follicular dendritic cells, primary
follicle with them, secondary follicle with a germinal centre. Thresholds differ between studies and have no accepted
values: they must be stated, and results should be shown over a range of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, QhullError, cKDTree

from timelens.engines.cells.graph import points_of, radius
from timelens.errors import UsageError

__all__ = ["Maturity", "Structure", "dense_clusters", "lymphoid_structures"]

Maturity = Literal["early", "primary follicle", "secondary follicle", "unknown"]


@dataclass(frozen=True)
class Structure:
    """One tertiary lymphoid structure.

    Parameters
    ----------
    y_um, x_um
        Centre of its B cells.
    b_cells, t_cells
        In the cluster, and in it or within the reach.
    follicular_dendritic, germinal
        Such cells in it or within the reach; None where the marker was not measured.
    area_um2
        Of the convex hull of its B cells.
    maturity
        ``unknown`` where follicular dendritic cells were not measured.
    members
        Places of its B cells.
    """

    y_um: float
    x_um: float
    b_cells: int
    t_cells: int
    follicular_dendritic: int | None
    germinal: int | None
    area_um2: float
    maturity: Maturity
    members: NDArray[np.int64]


def dense_clusters(y: ArrayLike, x: ArrayLike, *, reach: float, fewest: int) -> NDArray[np.int64]:
    """Clusters of points by density; -1 for a point in none.

    A point with at least ``fewest`` points within ``reach``, itself counted, is a core; cores within reach of each
    other are one cluster, and a point within reach of a core joins the cluster of the nearest.

    Parameters
    ----------
    y, x
        Positions.
    reach
        In the unit of the positions.
    fewest
        At least 1.

    Returns
    -------
    ndarray of int64, shape (points,)
        Clusters are numbered from 0 in the order of their first core.
    """
    if fewest < 1:
        raise UsageError("A core has at least itself within reach", field="fewest", found=fewest, expected="1 or more")
    points = points_of(y, x)
    near = radius(y, x, reach)
    core = near.degree + 1 >= fewest
    label = np.full(len(points), -1, np.int64)
    if not core.any():
        return label
    source, target = near.sources, near.neighbours
    both = core[source] & core[target]
    joined = csr_array((np.ones(both.sum(), bool), (source[both], target[both])), shape=(len(points),) * 2)
    _, part = connected_components(joined, directed=False)
    names, first = np.unique(part[core], return_index=True)
    rank = np.empty(len(names), np.int64)
    rank[np.argsort(first)] = np.arange(len(names))
    label[core] = rank[np.searchsorted(names, part[core])]
    edge = np.flatnonzero(~core)
    if len(edge):
        away, place = cKDTree(points[core]).query(points[edge])
        label[edge] = np.where(away <= reach, label[np.flatnonzero(core)[place]], -1)
    return label


def lymphoid_structures(
    y: ArrayLike,
    x: ArrayLike,
    *,
    b_cells: ArrayLike,
    t_cells: ArrayLike,
    follicular_dendritic: ArrayLike | None = None,
    germinal: ArrayLike | None = None,
    reach: float,
    fewest_within_reach: int,
    fewest_b: int,
    fewest_t: int,
    around: float,
) -> list[Structure]:
    """Find tertiary lymphoid structures, largest first.

    Parameters
    ----------
    y, x
        Positions of all cells in micrometres.
    b_cells, t_cells
        Whether each is one.
    follicular_dendritic
        Whether each is one (CD21, CD35); None where it was not measured.
    germinal
        Whether each marks a germinal centre (CD23, BCL6); None where it was not measured.
    reach, fewest_within_reach
        Of the clusters of B cells, see :func:`dense_clusters`.
    fewest_b, fewest_t
        Fewest B cells of a structure, and T cells in it and around.
    around
        How far around its B cells other cells belong to it, in micrometres.
    """
    points = points_of(y, x)
    given = {"b_cells": b_cells, "t_cells": t_cells, "follicular_dendritic": follicular_dendritic, "germinal": germinal}
    is_a: dict[str, NDArray[np.int64] | None] = {}
    for name, marks in given.items():
        if marks is None:
            is_a[name] = None
            continue
        mark = np.asarray(marks)
        if mark.shape != (len(points),) or mark.dtype != bool:
            raise UsageError(
                "Each cell is marked or not", field=name, found=f"{mark.dtype} {mark.shape}", expected="bool"
            )
        is_a[name] = np.flatnonzero(mark)
    b = is_a["b_cells"]
    assert b is not None
    label = dense_clusters(points[b, 0], points[b, 1], reach=reach, fewest=fewest_within_reach)
    found = []
    for number in range(label.max(initial=-1) + 1):
        members = b[label == number]
        if len(members) < fewest_b:
            continue
        tree = cKDTree(points[members])
        near = {name: _near(tree, points, marked, around) for name, marked in is_a.items() if name != "b_cells"}
        t = near["t_cells"] or 0
        if t < fewest_t:
            continue
        dendritic, centre = near["follicular_dendritic"], near["germinal"]
        middle = points[members].mean(axis=0)
        found.append(
            Structure(float(middle[0]), float(middle[1]), len(members), t, dendritic, centre, _hull(points[members]),
                      _maturity(dendritic, centre), members)
        )  # fmt: skip
    return sorted(found, key=lambda s: -s.b_cells)


def _near(tree: cKDTree, points: NDArray[np.float64], marked: NDArray[np.int64] | None, around: float) -> int | None:
    if marked is None:
        return None
    return int((tree.query(points[marked])[0] <= around).sum()) if len(marked) else 0


def _hull(points: NDArray[np.float64]) -> float:
    try:
        return float(ConvexHull(points).volume)
    except (QhullError, ValueError):
        return 0.0


def _maturity(dendritic: int | None, germinal: int | None) -> Maturity:
    if dendritic is None:
        return "unknown"
    if dendritic == 0:
        return "early"
    return "secondary follicle" if germinal else "primary follicle"
