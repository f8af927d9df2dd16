"""How far each cell is from the nearest cell of each type, and the law of that distance corrected for the border.

The nearest of a cell's own type is another cell. Where the nearest that was seen lies further away than the border of
the window, a nearer one may lie outside: such distances are known only to be longer than the distance to the border,
and the Kaplan-Meier estimate of their law treats them so (Baddeley and Gill 1997, doi:10.1214/aos/1034276628).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from timelens.engines.cells.graph import points_of
from timelens.engines.cells.window import Window
from timelens.errors import UsageError

__all__ = ["NearestDistances", "nearest_distances"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class NearestDistances:
    """Distances from each cell to the nearest of each type.

    Parameters
    ----------
    distance
        In micrometres, shape (cells, types); infinite where there is no (other) cell of the type.
    border
        Distance of each cell from the border of the window.
    types
        Type of each cell.
    """

    distance: FloatArray
    border: FloatArray
    types: NDArray[np.int64]

    @property
    def certain(self) -> NDArray[np.bool_]:
        """Whether no cell outside of the window can be nearer."""
        return np.asarray(self.distance <= self.border[:, None])

    def median(self) -> FloatArray:
        """Median distance from cells of type a to the nearest of type b, shape (types, types); NaN where there is none.

        It is that of the cells as they are, without correction for the border.
        """
        number = self.distance.shape[1]
        found = np.full((number, number), np.nan)
        for a in range(number):
            rows = self.distance[self.types == a]
            if len(rows):
                middle = np.median(rows, axis=0)
                found[a] = np.where(np.isfinite(middle), middle, np.nan)
        return found

    def law(self, source: int, target: int, radii: ArrayLike) -> FloatArray:
        """Chance that a cell of one type has one of another within each radius, corrected for the border.

        Beyond the longest distance that any cell can vouch for it is NaN.

        Parameters
        ----------
        source, target
            Types.
        radii
            In micrometres.
        """
        mine = self.types == source
        seen, edge = self.distance[mine, target], self.border[mine]
        time, event = np.minimum(seen, edge), seen <= edge
        order = np.lexsort((~event, time))
        time, event = time[order], event[order]
        at_risk = np.arange(len(time), 0, -1)
        survival = np.cumprod(1 - event / at_risk) if len(time) else np.ones(0)
        place = np.searchsorted(time, np.asarray(radii, np.float64), side="right")
        found = 1 - np.concatenate([[1.0], survival])[place]
        beyond = (place == len(time)) & (found < 1)
        return np.where(beyond, np.nan, found)


def nearest_distances(
    y: ArrayLike, x: ArrayLike, types: ArrayLike, number_of_types: int, window: Window | None = None
) -> NearestDistances:
    """Distances from each cell to the nearest other cell of each type.

    Parameters
    ----------
    y, x
        Positions in micrometres; several cells may share one.
    types
        Type of each cell, 0 to ``number_of_types - 1``.
    number_of_types
        How many types there are.
    window
        What was looked at; without it nothing is taken to lie outside.

    Raises
    ------
    UsageError
        If types do not fit, or a cell lies outside of the window.
    """
    points, kind = points_of(y, x), np.asarray(types)
    if kind.shape != (len(points),) or (kind.size and not (0 <= kind.min() <= kind.max() < number_of_types)):
        raise UsageError("Each cell has one type, numbered from 0", field="types", found=kind.shape,
                         expected=f"({len(points)},) below {number_of_types}")  # fmt: skip
    distance = np.full((len(points), number_of_types), np.inf)
    for target in range(number_of_types):
        members = np.flatnonzero(kind == target)
        if not len(members):
            continue
        tree = cKDTree(points[members])
        others = np.flatnonzero(kind != target)
        if len(others):
            distance[others, target] = tree.query(points[others], workers=2)[0]
        if len(members) > 1:
            distance[members, target] = tree.query(points[members], 2, workers=2)[0][:, 1]
    border = np.full(len(points), np.inf) if window is None else window.border_distance(points[:, 0], points[:, 1])
    return NearestDistances(distance, border, kind.astype(np.int64))
