"""How cells of each type lie around those of each other: cross-K, L, pair correlation, co-occurrence.

All of them are sums over pairs of cells that are not further apart than a reach, and one pass over those pairs gives
them all. K_ab(r) is the number of cells of type b within r of a cell of type a, over the density of b; it is pi r^2 if
they do not care for each other. Two corrections for what lies outside of the window are known to be fair: by
translation, where a pair counts as the area of the window over the area that it shares with itself shifted by the pair
(Ohser 1983), and by the border, where only cells further than r from it are asked about their neighbours (Ripley 1988).
Definitions are those of Baddeley, Rubak and Turner 2015 (doi:10.1201/b19708).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from timelens.engines.cells.graph import points_of
from timelens.engines.cells.window import Window
from timelens.errors import UsageError

__all__ = ["Correction", "PairStatistics", "pair_statistics", "pool", "shared_area", "summed"]

FloatArray = NDArray[np.float64]
Correction = Literal["translation", "border", "none"]


class _Rings(Protocol):
    """A dataclass with radii."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def radii(self) -> FloatArray: ...


Sums = TypeVar("Sums", bound=_Rings)

_STRIPS = 4  # strips per reach
_THREADS = 2


@dataclass(frozen=True)
class PairStatistics:
    """Sums over pairs of cells by type, type and distance; axes (from type, to type, ring).

    Parameters
    ----------
    radii
        Outer radius of each ring, equally spaced, shape (rings,).
    pairs
        Ordered pairs whose distance lies in the ring.
    weighted
        The same, each pair by its translation weight.
    inner
        Pairs within the radius whose first cell is at least the radius from the border.
    expected
        Pairs per area of a ring's disc if types were spread evenly, shape (types, types).
    expected_inner
        The same for ``inner``.
    cells
        Cells of each type.
    """

    radii: FloatArray
    pairs: NDArray[np.int64]
    weighted: FloatArray
    inner: NDArray[np.int64]
    expected: FloatArray
    expected_inner: FloatArray
    cells: NDArray[np.int64]

    def k(self, correction: Correction = "translation") -> FloatArray:
        """K in square micrometres, shape (types, types, rings); NaN where there is no pair to ask."""
        if correction == "border":
            return _ratio(self.inner, self.expected_inner)
        rings = self.weighted if correction == "translation" else self.pairs
        return _ratio(np.cumsum(rings, axis=2), self.expected[:, :, None])

    def l(self, correction: Correction = "translation") -> FloatArray:  # noqa: E743 - the field's name
        """sqrt(K / pi) in micrometres: r itself where types do not care for each other."""
        return np.asarray(np.sqrt(self.k(correction) / np.pi))

    def pair_correlation(self) -> FloatArray:
        """How much denser type b is in each ring around a than on average, corrected by translation; 1 is chance.

        It is the mean over the ring, which needs no bandwidth.
        """
        inside = np.concatenate([[0.0], self.radii[:-1]])
        return _ratio(self.weighted, self.expected[:, :, None] * np.pi * (self.radii**2 - inside**2))

    def co_occurrence(self) -> FloatArray:
        """Chance that a cell in a ring around type a is of type b, over that around any cell; NaN without pairs."""
        around = self.pairs.sum(axis=1, keepdims=True)
        of_type, all_pairs = self.pairs.sum(axis=0, keepdims=True), self.pairs.sum(axis=(0, 1), keepdims=True)
        return _ratio(self.pairs * all_pairs.astype(np.float64), around * of_type.astype(np.float64))


def _ratio(over: ArrayLike, under: ArrayLike) -> FloatArray:
    top, bottom = np.broadcast_arrays(np.asarray(over, np.float64), np.asarray(under, np.float64))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def pool(samples: Sequence[PairStatistics]) -> PairStatistics:
    """The statistics of several windows as one: sums over sums, so that larger windows weigh more.

    Raises
    ------
    UsageError
        If there is none, or their radii or types differ.
    """
    return summed(samples)


def summed(samples: Sequence[Sums]) -> Sums:
    """Sums over rings of several windows as those of one: ``radii`` stay, all other fields are added.

    Raises
    ------
    UsageError
        If there is none, or their radii or types differ.
    """
    if not samples:
        raise UsageError(
            "There are no statistics: nothing to pool", field="samples", found="none", expected="one or more"
        )
    first = samples[0]
    names = [f.name for f in fields(first) if f.name != "radii"]
    shape = getattr(first, names[0]).shape
    for other in samples[1:]:
        found = getattr(other, names[0]).shape
        if found != shape or not np.allclose(other.radii, first.radii):
            raise UsageError("Only statistics of the same types and radii are pooled", field="samples", found=found,
                             expected=shape)  # fmt: skip
    return replace(first, **{n: sum(getattr(s, n) for s in samples) for n in names})


def pair_statistics(
    y: ArrayLike,
    x: ArrayLike,
    types: ArrayLike,
    number_of_types: int,
    window: Window,
    *,
    reach: float = 100.0,
    rings: int = 20,
) -> PairStatistics:
    """Sum over all pairs of cells in one window.

    Parameters
    ----------
    y, x
        Positions in micrometres from the corner of the window.
    types
        Type of each cell, 0 to ``number_of_types - 1``.
    number_of_types
        How many types there are, also such as do not occur.
    window
        The tissue that was looked at.
    reach
        Largest distance in micrometres; not more than a quarter of the window's shorter side is wise.
    rings
        How many rings the distances up to the reach are cut into.

    Raises
    ------
    UsageError
        If a cell lies outside of the window, or types do not fit.
    """
    points, kind = points_of(y, x), np.asarray(types)
    if kind.shape != (len(points),) or (kind.size and kind.dtype.kind not in "iu"):
        raise UsageError(
            "Each cell has one type", field="types", found=f"{kind.dtype} {kind.shape}", expected="integers"
        )
    if kind.size and (kind.min() < 0 or kind.max() >= number_of_types):
        raise UsageError("Types are numbered from 0", field="types", found=f"{kind.min()} to {kind.max()}",
                         expected=f"0 to {number_of_types - 1}")  # fmt: skip
    if not (np.isfinite(reach) and reach > 0 and rings >= 1):
        raise UsageError("The reach is a positive distance, cut into rings", field="reach", found=(reach, rings))
    away = window.border_distance(points[:, 0], points[:, 1])
    step = reach / rings
    radii: FloatArray = step * np.arange(1.0, rings + 1)
    strip = (points[:, 0] * (_STRIPS / reach)).astype(np.int64)
    order = np.lexsort((points[:, 1], strip))
    bounds = np.searchsorted(strip[order], np.arange(int(window.height * _STRIPS / reach) + 2))
    ordered, last = kind[order].astype(np.int64), np.floor(away[order] / step).astype(np.int64)
    given = (
        np.ascontiguousarray(points[order, 0]), np.ascontiguousarray(points[order, 1]), ordered,
        np.minimum(last, rings), bounds, number_of_types, float(reach), rings, window.height, window.width,
        window.set_covariance(reach), np.array(window.pixel), window.area,
    )  # fmt: skip
    with ThreadPoolExecutor(_THREADS) as pool_of_threads:
        parts = list(pool_of_threads.map(lambda first: _sum_pairs(*given, first, _THREADS), range(_THREADS)))
    pairs, weighted, inner = (sum(part) for part in zip(*parts, strict=True))
    cells = np.bincount(kind, minlength=number_of_types)
    possible = np.outer(cells, cells) - np.diag(cells)
    # Cells at least r from the border, by type and radius.
    far = np.array([np.bincount(kind[away >= r], minlength=number_of_types) for r in radii]).T.reshape(-1, rings)
    expected_inner = far[:, None, :] * (cells[None, :, None] / window.area)
    return PairStatistics(
        radii, pairs, weighted, np.cumsum(inner, axis=2), possible / window.area, expected_inner, cells
    )


@njit(cache=True, nogil=True)
def shared_area(dy, dx, height, width, table, pixel):  # type: ignore[no-untyped-def]
    """Area that the window shares with itself shifted."""
    if table.size == 0:
        return max(height - abs(dy), 0.0) * max(width - abs(dx), 0.0)
    v, u = dy / pixel[0] + table.shape[0] // 2, dx / pixel[1] + table.shape[1] // 2
    i, j = int(np.floor(v)), int(np.floor(u))
    if i < 0 or j < 0 or i >= table.shape[0] or j >= table.shape[1]:
        return 0.0
    v, u = v - i, u - j
    total = table[i, j] * (1 - v) * (1 - u)
    if i + 1 < table.shape[0]:
        total += table[i + 1, j] * v * (1 - u)
        if j + 1 < table.shape[1]:
            total += table[i + 1, j + 1] * v * u
    if j + 1 < table.shape[1]:
        total += table[i, j + 1] * (1 - v) * u
    return total


@njit(cache=True, nogil=True)
def _sum_pairs(  # type: ignore[no-untyped-def]
    y, x, kind, last, bounds, types, reach, rings, height, width, table, pixel, area, begin, every
):
    """Each pair once, from strip to the same or a later strip; cells of a strip stand in the order of x."""
    n = np.zeros((types, types, rings), np.int64)
    w = np.zeros((types, types, rings))
    b = np.zeros((types, types, rings + 1), np.int64)
    strips = len(bounds) - 1
    for strip in range(begin, strips, every):
        for other in range(strip, min(strip + _STRIPS + 1, strips)):
            first, end = bounds[other], bounds[other + 1]
            for i in range(bounds[strip], bounds[strip + 1]):
                if other == strip:
                    first = i + 1
                else:
                    while first < end and x[first] < x[i] - reach:
                        first += 1
                for j in range(first, end):
                    dx = x[j] - x[i]
                    if dx > reach:
                        break
                    dy = y[j] - y[i]
                    square = dy * dy + dx * dx
                    if square > reach * reach:
                        continue
                    ring = int(np.ceil(np.sqrt(square) * (rings / reach))) - 1
                    ring = min(max(ring, 0), rings - 1)
                    p, q = kind[i], kind[j]
                    n[p, q, ring] += 1
                    n[q, p, ring] += 1
                    weight = area / shared_area(dy, dx, height, width, table, pixel)
                    w[p, q, ring] += weight
                    w[q, p, ring] += weight
                    # Counted from the ring of the pair to the last ring that is not beyond the border.
                    if last[i] > ring:
                        b[p, q, ring] += 1
                        b[p, q, last[i]] -= 1
                    if last[j] > ring:
                        b[q, p, ring] += 1
                        b[q, p, last[j]] -= 1
    return n, w, b[:, :, :rings]
