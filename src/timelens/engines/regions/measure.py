"""All that is measured on the regions of one image, in one call."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from timelens.engines.regions.labels import Regions, find_regions
from timelens.engines.regions.peak import PeakMethod, peaks, resampled_peaks
from timelens.engines.regions.shape import max_diameter, mesh, sphericity
from timelens.engines.regions.statistics import NonFinite, describe

__all__ = ["ALL_PEAKS", "measure_labels", "measure_regions", "measure_shape"]

ALL_PEAKS: tuple[PeakMethod, ...] = ("centre", "partial", "resampled")


def measure_labels(
    image: Any,
    labels: Any,
    spacing: Sequence[float],
    *,
    wanted: Sequence[int] | None = None,
    percentiles: Sequence[float] = (10, 50, 90),
    peak_methods: Collection[PeakMethod] = ALL_PEAKS,
    shape: bool = True,
    non_finite: NonFinite = "refuse",
) -> dict[str, npt.NDArray[Any]]:
    """Measure all regions of a label volume.

    The labels are read once, the image once where there are regions and again around each region for its peaks; all
    else is work on the regions' bounding boxes. Both volumes may be lazy.

    Parameters
    ----------
    image
        Real volume (z, y, x) in any unit.
    labels
        Integer or boolean volume of the same shape; 0 is background.
    spacing
        Voxel edges (z, y, x) in mm.
    wanted
        Labels to measure, in this order; one that does not occur is a row of NaN flagged ``EMPTY``. All if not given.
    percentiles, non_finite
        See :func:`~timelens.engines.regions.statistics.describe`. Peaks with values that are not finite are always NaN.
    peak_methods
        See :mod:`timelens.engines.regions.peak`.
    shape
        Whether to measure the mesh and the greatest diameter.

    Returns
    -------
    dict
        Arrays with one entry per region: the columns of ``describe``; ``peak_local_*`` and ``peak_global_*`` for each
        peak method; ``surface_area_mm2``, ``mesh_volume_ml``, ``sphericity`` and ``diameter_max_mm``; ``reason``.
    """
    return measure_regions(
        image,
        find_regions(labels, wanted=wanted),
        spacing,
        percentiles=percentiles,
        peak_methods=peak_methods,
        shape=shape,
        non_finite=non_finite,
    )


def measure_regions(
    image: Any,
    regions: Regions,
    spacing: Sequence[float],
    *,
    percentiles: Sequence[float] = (10, 50, 90),
    peak_methods: Collection[PeakMethod] = ALL_PEAKS,
    shape: bool = True,
    non_finite: NonFinite = "refuse",
) -> dict[str, npt.NDArray[Any]]:
    """As :func:`measure_labels`, for regions already found."""
    table = describe(image, regions, spacing, percentiles=percentiles, non_finite=non_finite)
    reason = table.pop("reason")
    for method in peak_methods:
        if method == "resampled":
            local, overall, why = resampled_peaks(image, regions, spacing)
        else:
            local, overall, why = peaks(image, regions, spacing, weighting=method)
        table[f"peak_local_{method}"], table[f"peak_global_{method}"] = local, overall
        reason = reason | why
    if shape:
        table |= measure_shape(regions, spacing)
    table["reason"] = reason
    return table


def measure_shape(regions: Regions, spacing: Sequence[float]) -> dict[str, npt.NDArray[Any]]:
    """Mesh and greatest diameter of every region; NaN for an empty one."""
    out = np.full((4, len(regions)), np.nan)
    for k in np.flatnonzero(regions.counts):
        mask = regions.mask(int(k))
        area, volume = mesh(mask, spacing)
        out[:, k] = area, volume / 1000.0, sphericity(area, volume), max_diameter(mask, spacing)
    return dict(zip(("surface_area_mm2", "mesh_volume_ml", "sphericity", "diameter_max_mm"), out, strict=True))
