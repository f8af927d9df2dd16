"""Tumour nests, their margin and the stroma, from where the tumour cells lie; densities in them and across the border.

Around each point of a fine raster, tumour cells and all cells are counted with a Gaussian weight; where tumour cells
make up more than a stated part, there is a nest. The signed distance to the border of the nests, negative inside, gives
the margin and the profile of infiltration. Where there are no cells at all, a point belongs to what the nearest cells
say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.stats import chi2

from timelens.engines.cells.graph import points_of
from timelens.engines.cells.window import Window
from timelens.errors import UsageError

__all__ = ["Compartments", "Density", "compartments", "density", "mixing_score"]

FloatArray = NDArray[np.float64]
Name = Literal["nest", "margin", "stroma"]

_TRUNCATE = 4.0  # standard deviations of the Gaussian weight
_FLAT = 1e-6  # how far from the border's value a point is that was filled by what is around it
_SMOOTHED_PIXELS = 80  # how far from the steps of the border its curve is looked for
_PER_STEP = 4  # points of the curve per step of the raster


@dataclass(frozen=True)
class Density:
    """Cells per area with an exact Poisson interval.

    Parameters
    ----------
    cells
        Counted.
    area_mm2
        Of the tissue.
    value, lower, upper
        Per square millimetre; NaN where there is no area.
    """

    cells: NDArray[np.int64]
    area_mm2: FloatArray
    value: FloatArray
    lower: FloatArray
    upper: FloatArray


def density(cells: ArrayLike, area_mm2: ArrayLike, *, level: float = 0.95) -> Density:
    """Cells per square millimetre, with the exact interval of a Poisson count (Garwood 1936).

    Parameters
    ----------
    cells, area_mm2
        Counts and areas, of one shape or broadcast.
    level
        Of the interval. It holds for cells that are placed independently; clusters vary more.
    """
    if not 0 < level < 1:
        raise UsageError("A level lies between 0 and 1", field="level", found=level)
    count, area = np.broadcast_arrays(np.asarray(cells, np.int64), np.asarray(area_mm2, np.float64))
    if (count < 0).any() or (area < 0).any():
        raise UsageError("Counts and areas are zero or more", field="cells, area_mm2", found=(count.min(), area.min()))
    tail = (1 - level) / 2
    low = np.where(count > 0, chi2.ppf(tail, 2 * np.maximum(count, 1)) / 2, 0.0)
    high = chi2.ppf(1 - tail, 2 * count + 2) / 2
    value, lower, upper = (
        np.divide(part, area, out=np.full(area.shape, np.nan), where=area > 0) for part in (count, low, high)
    )
    return Density(count, area, value, lower, upper)


@dataclass(frozen=True)
class Compartments:
    """The raster of a window by signed distance to the border of the nests.

    Parameters
    ----------
    distance
        In micrometres, negative inside of nests, shape (rows, columns); NaN outside of the window. Plus infinity
        everywhere if there is no nest, minus infinity if there is nothing else.
    pixel
        Size of the raster in micrometres.
    margin
        Half width of the margin in micrometres.
    area
        Part of each pixel of the raster that lies in the window, in square micrometres; same shape.
    """

    distance: FloatArray
    pixel: float
    margin: float
    area: FloatArray

    def at(self, y: ArrayLike, x: ArrayLike) -> FloatArray:
        """Signed distance at positions, that of their pixel."""
        points = points_of(y, x)
        index = np.clip((points / self.pixel).astype(np.int64), 0, np.array(self.distance.shape) - 1)
        return np.asarray(self.distance[index[:, 0], index[:, 1]])

    def of(self, y: ArrayLike, x: ArrayLike) -> NDArray[np.str_]:
        """Name of the compartment at positions: ``nest``, ``margin`` or ``stroma``; "" outside of the window."""
        return self._names(self.at(y, x))

    def area_mm2(self, name: Name) -> float:
        """Area of a compartment; those of all three add up to that of the window."""
        return float(self.area[self._names(self.distance) == name].sum()) * 1e-6

    def _names(self, distance: FloatArray) -> NDArray[np.str_]:
        with np.errstate(invalid="ignore"):
            return np.select(
                [np.isnan(distance), distance < -self.margin, distance <= self.margin], ["", "nest", "margin"], "stroma"
            )

    def profile(self, y: ArrayLike, x: ArrayLike, edges: ArrayLike) -> Density:
        """Density of cells by signed distance to the border of the nests.

        Parameters
        ----------
        y, x
            Positions of the cells of one type.
        edges
            Edges of the bins of distance in micrometres, ascending; a bin holds its lower edge.
        """
        cuts = np.asarray(edges, np.float64)
        if cuts.ndim != 1 or len(cuts) < 2 or (np.diff(cuts) <= 0).any():
            raise UsageError("Edges of bins ascend", field="edges", found=cuts.tolist(), expected="two or more")
        known = np.isfinite(self.distance)
        area = np.histogram(self.distance[known], _half_open(cuts), weights=self.area[known])[0] * 1e-6
        place = self.at(y, x)
        return density(np.histogram(place[np.isfinite(place)], _half_open(cuts))[0], area)


def _half_open(cuts: FloatArray) -> FloatArray:
    """Edges whose last bin, too, leaves out its upper edge."""
    return np.concatenate([cuts[:-1], [np.nextafter(cuts[-1], -np.inf)]])


def compartments(
    y: ArrayLike,
    x: ArrayLike,
    tumour: ArrayLike,
    window: Window,
    *,
    pixel: float = 5.0,
    sigma: float = 20.0,
    part: float = 0.5,
    smallest_um2: float = 2500.0,
    margin: float = 50.0,
) -> Compartments:
    """Find nests.

    Parameters
    ----------
    y, x
        Positions of all cells in micrometres.
    tumour
        Whether each is a tumour cell.
    window
        The tissue that was looked at.
    pixel
        Of the raster, in micrometres.
    sigma
        Standard deviation of the Gaussian weight in micrometres.
    part
        Part of tumour cells from which on there is a nest.
    smallest_um2
        Smaller nests, and smaller gaps in nests, are filled by what is around them.
    margin
        Half width of the margin; half a millimetre on each side is usual for whole sections (Galon 2006).

    Raises
    ------
    UsageError
        If cells lie outside of the window, there are none, or an option makes no sense.
    """
    points, kind = points_of(y, x), np.asarray(tumour)
    if kind.shape != (len(points),) or kind.dtype != bool or not len(points):
        raise UsageError("Each cell is a tumour cell or not", field="tumour", found=f"{kind.dtype} {kind.shape}",
                         expected=f"bool ({len(points)},), at least one cell")  # fmt: skip
    if not (min(pixel, sigma) > 0 and 0 < part < 1 and smallest_um2 >= 0 and margin >= 0):
        raise UsageError("Sizes are positive, and a part lies between 0 and 1", field="pixel, sigma, part",
                         found=(pixel, sigma, part, smallest_um2, margin))  # fmt: skip
    outside = ~window.contains(points[:, 0], points[:, 1])
    if outside.any():
        raise UsageError("A cell lies outside of the window", field="y, x", found=tuple(points[outside][0]))
    shape = tuple(max(int(np.ceil(side / pixel)), 1) for side in (window.height, window.width))
    index = np.minimum((points / pixel).astype(np.int64), np.array(shape) - 1)
    area = _area(window, shape, pixel)
    tissue = area > 0
    flat = index[:, 0] * shape[1] + index[:, 1]
    smooth = [
        ndimage.gaussian_filter(np.bincount(flat[of], minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64),
                                sigma / pixel, mode="constant", truncate=_TRUNCATE)
        for of in (kind, np.ones(len(kind), bool))
    ]  # fmt: skip
    known = smooth[1] > 0
    share = np.divide(smooth[0], smooth[1], out=np.zeros(shape), where=known)
    if not known.all():
        nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        share = share[tuple(nearest)]
    nest = (share > part) & tissue
    fewest = smallest_um2 / pixel**2
    nest = ~_drop_small(~_drop_small(nest, fewest) & tissue, fewest) & tissue
    rough = _signed(nest, tissue, pixel)
    return Compartments(_smoothed(rough, share - part, nest, tissue, pixel), float(pixel), float(margin), area)


def _area(window: Window, shape: tuple[int, ...], pixel: float) -> FloatArray:
    """How much of each pixel of the raster lies in the window: those at its edge do in part only."""
    edges = [np.minimum(np.arange(n + 1) * pixel, side) for n, side in zip(shape, (window.height, window.width),
                                                                           strict=True)]  # fmt: skip
    if window.mask is None:
        return np.outer(np.diff(edges[0]), np.diff(edges[1]))
    rows = np.diff(_filled(window.mask, edges[0] / window.pixel[0]), axis=0)
    cells = np.diff(_filled(rows.T, edges[1] / window.pixel[1]), axis=0).T
    return np.maximum(cells, 0.0) * window.pixel[0] * window.pixel[1]


def _filled(values: NDArray[Any], edges: FloatArray) -> FloatArray:
    """Sum of the rows above each edge, which may lie within a row: exact, since a row is even within itself."""
    total = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=total[1:])
    whole = np.minimum(edges.astype(np.int64), len(values) - 1)
    return total[whole] + (edges - whole)[:, None] * values[whole]


def _drop_small(mask: NDArray[np.bool_], fewest: float) -> NDArray[np.bool_]:
    label, _ = ndimage.label(mask)
    large = np.bincount(label.ravel()) >= fewest
    large[0] = False
    return np.asarray(large[label])


def _signed(nest: NDArray[np.bool_], tissue: NDArray[np.bool_], pixel: float) -> FloatArray:
    """Distance from the centre of each pixel to the border between the two, which runs between pixels."""
    rest = tissue & ~nest
    if not nest.any():
        return np.where(tissue, np.inf, np.nan)
    if not rest.any():
        return np.where(tissue, -np.inf, np.nan)
    out = ndimage.distance_transform_edt(~nest) - 0.5
    into = ndimage.distance_transform_edt(~rest) - 0.5
    return np.where(tissue, np.where(nest, -into, out) * pixel, np.nan)


def _smoothed(
    rough: FloatArray, excess: FloatArray, nest: NDArray[np.bool_], tissue: NDArray[np.bool_], pixel: float
) -> FloatArray:
    """The same distance from the curve where tumour cells make up the stated part, which runs between points.

    Steps of the raster make a border longer than it is, and what lies around it larger. Where the curve says something
    else than the steps by more than a pixel (it does not cross what was not seen), these are kept.
    """
    from skimage.measure import find_contours

    level = np.where(nest, np.maximum(excess, _FLAT), np.minimum(excess, -_FLAT))
    curves = find_contours(level, 0.0, mask=tissue)
    near = np.isfinite(rough) & (np.abs(rough) < _SMOOTHED_PIXELS * pixel)
    if not curves or not near.any():
        return rough
    steps = np.arange(_PER_STEP) / _PER_STEP
    points = np.concatenate(
        [(c[:-1, None] + steps[None, :, None] * (c[1:] - c[:-1])[:, None]).reshape(-1, 2) for c in curves]
    )
    away = cKDTree(points).query(np.argwhere(near))[0] * pixel
    old = rough[near]
    result = rough.copy()
    result[near] = np.where(np.abs(away - np.abs(old)) <= pixel, np.where(nest[near], -away, away), old)
    return result


def mixing_score(count: ArrayLike, cells: ArrayLike, reference: int, target: int) -> float:
    """Normalised mixing score of two types: 1 if they are mixed at random, less if they keep apart.

    Edges from the reference to the target over those among the reference, with what chance gives divided out (Keren
    2018, doi:10.1016/j.cell.2018.08.039; normalised as by Feng 2023, doi:10.1038/s41467-023-37822-0).

    Parameters
    ----------
    count
        Directed edges between types, (types, types), of a symmetric graph.
    cells
        Cells of each type.
    reference, target
        Types.

    Returns
    -------
    float
        NaN where no two cells of the reference are neighbours, or there is no cell of the target.
    """
    edges, number = np.asarray(count, np.float64), np.asarray(cells, np.float64)
    among, possible = edges[reference, reference], number[target]
    if among <= 0 or possible <= 0:
        return float("nan")
    return float(edges[reference, target] * (number[reference] - 1) / (among * possible))
