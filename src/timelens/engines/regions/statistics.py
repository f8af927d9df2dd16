"""Intensity statistics of all regions of an image.

Values are gathered region by region in one pass over the image; from then on the image is not read again. Standard
deviations divide by the number of voxels (IBSI, Zwanenburg et al., Radiology 2020, doi:10.1148/radiol.2020191145),
percentiles interpolate linearly between order statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from timelens.engines.regions import runs
from timelens.engines.regions.grid import FloatArray, checked_shape, checked_spacing, float_slab, slab_limits
from timelens.engines.regions.labels import Regions
from timelens.engines.regions.reasons import Reason
from timelens.errors import GeometryError, UsageError

__all__ = ["NonFinite", "describe", "gather_values"]

NonFinite = Literal["refuse", "omit"]

_COLUMNS = ("sum", "mean", "sd", "min", "max", "auc_csh")


def gather_values(image: Any, regions: Regions) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Values of all regions' voxels in raster order, and where each region begins in them, shape (n + 1,).

    A lazy image is read in slabs, and only where there are regions.
    """
    shape = checked_shape(image, "image")
    if shape != regions.shape:
        raise GeometryError(
            "Image and labels have different shapes",
            field="labels",
            found=regions.shape,
            expected=shape,
            mend="resample the labels to the image by nearest neighbour",
        )
    single = np.dtype(image.dtype).itemsize <= 2 or image.dtype == np.float32
    kind: type[np.floating[Any]] = np.float32 if single else np.float64
    values: FloatArray = np.empty(int(regions.counts.sum()), dtype=kind)
    places = np.concatenate([[0], np.cumsum(regions.lengths)])[:-1].astype(np.int64)
    plane = shape[1] * shape[2]
    for start, stop in slab_limits(image):
        if np.any((regions.starts >= start * plane) & (regions.starts < stop * plane)):
            flat = float_slab(image, start, stop).reshape(-1)
            runs.gather(flat, start * plane, regions.starts, regions.lengths, places, values)
    return values, np.concatenate([[0], np.cumsum(regions.counts)]).astype(np.int64)


def describe(
    image: Any,
    regions: Regions,
    spacing: Sequence[float],
    *,
    percentiles: Sequence[float] = (10, 50, 90),
    non_finite: NonFinite = "refuse",
) -> dict[str, npt.NDArray[Any]]:
    """Statistics of every region.

    Parameters
    ----------
    image
        Real volume (z, y, x) in any unit, an array or lazy.
    regions
        The regions, on the same grid.
    spacing
        Voxel edges (z, y, x) in mm.
    percentiles
        Which ones, in percent; p becomes the column ``percentile_p``, 50 also ``median``.
    non_finite
        ``"refuse"``: a region with NaN or infinite values gets NaN for all that depends on values. ``"omit"``: they are
        left out of those. Either way the region is flagged, and its volume counts all its voxels.

    Returns
    -------
    dict
        Arrays with one entry per region: ``label``, ``voxel_count``, ``volume_ml``, ``sum``, ``mean``, ``sd``,
        ``cv``, ``min``, ``max``, ``median``, ``percentile_*``, ``tlg`` (mean times volume in mL), ``auc_csh`` and
        ``reason`` (flags of :class:`~timelens.engines.regions.reasons.Reason`); ``max_index`` (first voxel of that
        value in raster order, -1 if none), ``centroid_index`` and ``centroid_mm`` (index times spacing), shape (n, 3).

    Notes
    -----
    ``auc_csh`` is the area under the cumulative volume histogram, the fraction of the volume above a threshold that
    runs from 0 to the region's maximum (van Velden et al., Eur J Nucl Med Mol Imaging 2011,
    doi:10.1007/s00259-011-1845-6). Without binning the area is exactly the mean of the values, those below 0 taken as
    0, over the maximum. It is 1 for a uniform region and falls with heterogeneity.
    """
    if non_finite not in ("refuse", "omit"):
        raise UsageError("No such rule", field="non_finite", found=non_finite, expected="'refuse' or 'omit'")
    ranks = np.asarray(percentiles, dtype=np.float64)
    if np.any(~((ranks >= 0) & (ranks <= 100))):
        raise UsageError("Percentiles run from 0 to 100", field="percentiles", found=list(percentiles))
    edges = checked_spacing(spacing)
    values, begins = gather_values(image, regions)
    moments, max_place, bad = _moments(values, begins)
    reason = np.where(regions.counts == 0, int(Reason.EMPTY), 0)
    reason |= np.where(bad > 0, int(Reason.NON_FINITE), 0)
    usable = regions.counts - bad if non_finite == "omit" else np.where(bad > 0, 0, regions.counts)
    moments[usable == 0] = np.nan
    max_place[usable == 0] = -1
    max_index = _locate(max_place, begins, regions)
    quantiles = _percentiles(values, begins, usable, ranks)

    volume = regions.counts * (np.prod(edges) / 1000.0)
    centroid = regions.centroids()
    table: dict[str, npt.NDArray[Any]] = {"label": regions.labels, "voxel_count": regions.counts}
    table["volume_ml"] = np.where(regions.counts == 0, np.nan, volume)
    table |= {name: moments[:, i] for i, name in enumerate(_COLUMNS)}
    table["sd"] = np.where(usable > 1, table["sd"], np.nan)
    reason |= np.where(usable == 1, int(Reason.SINGLE_VOXEL), 0)
    positive = table["mean"] > 0
    table["cv"] = np.where(positive, table["sd"] / np.where(positive, table["mean"], 1.0), np.nan)
    reason |= np.where((usable > 0) & ~(positive & (table["max"] > 0)), int(Reason.NOT_POSITIVE), 0)
    for i, rank in enumerate(ranks):
        table[f"percentile_{rank:g}"] = quantiles[:, i]
        if rank == 50:
            table["median"] = quantiles[:, i]
    table["tlg"] = table["mean"] * volume
    table["max_index"] = max_index
    table["centroid_index"] = centroid
    table["centroid_mm"] = centroid * edges
    table["reason"] = reason
    return table


@njit(cache=True, nogil=True)
def _moments(
    values: npt.NDArray[Any], begins: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sum, mean, SD, minimum, maximum and histogram area; place of the maximum; values that are not finite."""
    n = len(begins) - 1
    out = np.full((n, 6), np.nan)
    place = np.full(n, -1)
    bad = np.zeros(n, dtype=np.int64)
    for k in range(n):
        total, above = 0.0, 0.0
        low, high = np.inf, -np.inf
        for i in range(begins[k], begins[k + 1]):
            value = np.float64(values[i])
            if not np.isfinite(value):
                bad[k] += 1
                continue
            total += value
            above += max(value, 0.0)
            low = min(low, value)
            if value > high:
                high = value
                place[k] = i
        count = begins[k + 1] - begins[k] - bad[k]
        if count == 0:
            continue
        mean = total / count
        squares = 0.0
        for i in range(begins[k], begins[k + 1]):
            value = np.float64(values[i])
            if np.isfinite(value):
                squares += (value - mean) ** 2
        out[k, 0] = total
        out[k, 1] = mean
        out[k, 2] = np.sqrt(squares / count)
        out[k, 3] = low
        out[k, 4] = high
        if high > 0:
            out[k, 5] = above / count / high
    return out, place, bad


def _locate(place: npt.NDArray[np.int64], begins: npt.NDArray[np.int64], regions: Regions) -> npt.NDArray[np.int64]:
    """Index (z, y, x) of the voxels at the given places in the gathered values."""
    out = np.full((len(place), 3), -1, dtype=np.int64)
    known = np.flatnonzero(place >= 0)
    if len(known) == 0:
        return out
    run_places = np.concatenate([[0], np.cumsum(regions.lengths)])
    run = np.searchsorted(run_places, place[known], side="right") - 1
    flat = regions.starts[run] + place[known] - run_places[run]
    out[known] = np.stack(np.unravel_index(flat, regions.shape), axis=1)
    return out


def _percentiles(
    values: FloatArray, begins: npt.NDArray[np.int64], usable: npt.NDArray[np.int64], ranks: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Percentiles of each region's finite values, which are sorted in place."""
    out = np.full((len(usable), len(ranks)), np.nan)
    for k in np.flatnonzero(usable):
        part = values[begins[k] : begins[k + 1]]
        if usable[k] < len(part):
            part = part[np.isfinite(part)]
        part.sort()
        position = ranks / 100.0 * (len(part) - 1)
        below = np.floor(position).astype(np.int64)
        above = np.minimum(below + 1, len(part) - 1)
        low, high = part[below].astype(np.float64), part[above].astype(np.float64)
        out[k] = low + (high - low) * (position - below)
    return out
