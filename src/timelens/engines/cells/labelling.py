"""How far cross-K, L and pair correlation may stray by chance, if types are shuffled over the cells of a window.

In tissue cells are never spread evenly: they fill nests and leave out vessels, and against an even spread everything
clusters. The question is then whether types are mixed over the cells as they lie (random labelling; Baddeley, Rubak and
Turner 2015, doi:10.1201/b19708, chapter 14). Under it the sum over the pairs of two types is one of weighted edges
between shuffled types, whose mean and variance are exact (:func:`~timelens.engines.cells.interaction.shuffle_law`): no
simulation is needed. The envelope is pointwise, from the normal law, and fair where some tens of pairs are expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from timelens.engines.cells.graph import points_of
from timelens.engines.cells.interaction import shuffle_law
from timelens.engines.cells.pairs import PairStatistics, shared_area, summed
from timelens.engines.cells.window import Window
from timelens.errors import UsageError

__all__ = ["Labelling", "labelling", "pool"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Labelling:
    """Mean and variance of the translation-weighted sums over pairs; axes (from type, to type, radius).

    Parameters
    ----------
    radii
        In micrometres.
    expected, variance
        Of the sum over pairs up to each radius.
    ring_expected, ring_variance
        Of the sum over the pairs in each ring.
    """

    radii: FloatArray
    expected: FloatArray
    variance: FloatArray
    ring_expected: FloatArray
    ring_variance: FloatArray

    def z(self, found: PairStatistics) -> FloatArray:
        """Standard score of the pairs up to each radius; NaN where their sum cannot vary."""
        off = np.cumsum(found.weighted, axis=2) - self.expected
        moves = self.variance > 1e-9 * np.maximum(self.expected, 1) ** 2 / max(found.cells.sum(), 1)
        return np.divide(off, np.sqrt(self.variance), out=np.full(off.shape, np.nan), where=moves)

    def l_envelope(self, found: PairStatistics, level: float = 0.95) -> tuple[FloatArray, FloatArray, FloatArray]:
        """L as chance has it, and the lower and the upper end of where it lies with that probability at each radius."""
        ends = self._ends(self.expected, self.variance, level)
        with np.errstate(divide="ignore", invalid="ignore"):
            low, middle, high = (np.sqrt(np.maximum(e, 0) / found.expected[:, :, None] / np.pi) for e in ends)
        return middle, low, high

    def pair_correlation_envelope(
        self, found: PairStatistics, level: float = 0.95
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The same of the pair correlation."""
        ends = self._ends(self.ring_expected, self.ring_variance, level)
        inside = np.concatenate([[0.0], self.radii[:-1]])
        with np.errstate(divide="ignore", invalid="ignore"):
            per = found.expected[:, :, None] * np.pi * (self.radii**2 - inside**2)
            low, middle, high = (np.maximum(e, 0) / per for e in ends)
        return middle, low, high

    @staticmethod
    def _ends(mean: FloatArray, variance: FloatArray, level: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        if not 0 < level < 1:
            raise UsageError("A level lies between 0 and 1", field="level", found=level)
        half = ndtri(0.5 + level / 2) * np.sqrt(variance)
        return mean - half, mean, mean + half


def labelling(
    y: ArrayLike, x: ArrayLike, cells: ArrayLike, window: Window, *, reach: float = 100.0, rings: int = 20
) -> Labelling:
    """Mean and variance of the sums over pairs when types are shuffled over the cells.

    Parameters
    ----------
    y, x
        Positions in micrometres from the corner of the window.
    cells
        Of each type, shape (types,); together as many as there are positions.
    window
        The tissue that was looked at.
    reach, rings
        As for :func:`~timelens.engines.cells.pairs.pair_statistics`.

    Raises
    ------
    UsageError
        If the cells of the types are not those of the positions, one lies outside of the window, or the reach is not
        positive.
    """
    points, number = points_of(y, x), np.asarray(cells, np.int64)
    if number.ndim != 1 or number.sum() != len(points) or (number < 0).any():
        raise UsageError("Every cell has a type", field="cells", found=int(number.sum()), expected=len(points))
    if not (np.isfinite(reach) and reach > 0 and rings >= 1):
        raise UsageError("The reach is a positive distance, cut into rings", field="reach", found=(reach, rings))
    window.border_distance(points[:, 0], points[:, 1])  # refuses what lies outside
    order = np.argsort(points[:, 0], kind="stable")
    weight, square = _per_cell(
        np.ascontiguousarray(points[order, 0]), np.ascontiguousarray(points[order, 1]), float(reach), rings,
        window.height, window.width, window.set_covariance(reach), np.array(window.pixel), window.area,
    )  # fmt: skip
    up_to = np.cumsum(weight, axis=1)
    means, variances = zip(*(_law(len(points), number, up_to[:, k], square[: k + 1].sum()) for k in range(rings)),
                           strict=True)  # fmt: skip
    ring = [_law(len(points), number, weight[:, k], square[k]) for k in range(rings)]
    return Labelling(
        reach / rings * np.arange(1.0, rings + 1), np.stack(means, axis=2), np.stack(variances, axis=2),
        np.stack([m for m, _ in ring], axis=2), np.stack([v for _, v in ring], axis=2),
    )  # fmt: skip


def pool(windows: Sequence[Labelling]) -> Labelling:
    """Of several windows, between which types are never shuffled: means and variances add up.

    Raises
    ------
    UsageError
        If there is none, or their radii or types differ.
    """
    return summed(windows)


def _law(n: int, number: NDArray[np.int64], weight: FloatArray, square: float) -> tuple[FloatArray, FloatArray]:
    """Edges lead both ways with one weight: two that share a cell do so in four ways, each as often."""
    fork = float((weight * weight).sum()) - square
    total = float(weight.sum())
    return shuffle_law(n, number, total=total, square=square, back=square, fork=fork, meet=fork, path=fork)


@njit(cache=True, nogil=True)
def _per_cell(y, x, reach, rings, height, width, table, pixel, area):  # type: ignore[no-untyped-def]
    """Sum of the weights of the pairs of each cell by ring, and of their squares over all ordered pairs."""
    n = len(y)
    weight = np.zeros((n, rings))
    squares = np.zeros(rings)
    for i in range(n):
        for j in range(i + 1, n):
            dy = y[j] - y[i]
            if dy > reach:
                break
            dx = x[j] - x[i]
            square = dy * dy + dx * dx
            if square > reach * reach:
                continue
            ring = int(np.ceil(np.sqrt(square) * (rings / reach))) - 1
            ring = min(max(ring, 0), rings - 1)
            w = area / shared_area(dy, dx, height, width, table, pixel)
            weight[i, ring] += w
            weight[j, ring] += w
            squares[ring] += 2 * w * w
    return weight, squares
