"""Segmentation around local maxima: a fraction of the maximum, and the steepest edge.

Both start from candidate regions (rough outlines, one per lesion) or, for the fraction, from seeds. Voxels that are
not finite are never inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from timelens.engines.regions.grid import checked_shape, checked_spacing, same_grid
from timelens.engines.regions.labels import Connectivity, components, find_regions
from timelens.engines.regions.segment import Seed, Segmentation, checked_seed
from timelens.errors import DataError, UsageError

__all__ = ["fraction_of_maximum", "gradient_watershed"]


def fraction_of_maximum(
    image: npt.NDArray[Any],
    spacing: Sequence[float],
    fraction: float,
    *,
    candidates: npt.NDArray[Any] | None = None,
    seeds: Sequence[Seed] = (),
    search_radius_mm: float = 10.0,
    connectivity: Connectivity = 26,
    exclude: npt.NDArray[Any] | None = None,
) -> Segmentation:
    """The voxels around a local maximum that reach a fraction of it (0.41 and 0.5 are usual).

    Parameters
    ----------
    image
        Volume (z, y, x).
    spacing
        Voxel edges (z, y, x) in mm.
    fraction
        Between 0 and 1.
    candidates
        Labels of rough regions, one per lesion: maximum and result stay inside, and keep the label.
    seeds
        Instead of candidates: voxels (z, y, x) near the lesions. The maximum is sought within ``search_radius_mm`` of
        the seed; the result is its connected component in the whole image, and results are labelled by decreasing
        volume. Seeds that lead to one lesion give one region; voxels claimed twice go to the higher maximum.
    connectivity
        Neighbours of a voxel: 6, 18 or 26.
    exclude
        Mask of voxels that are never part of a lesion.
    """
    if not 0 < fraction < 1:
        raise UsageError("Not a fraction of the maximum", field="fraction", found=fraction, expected="between 0 and 1")
    edges = checked_spacing(spacing)
    shape = checked_shape(image, "image")
    same_grid(shape, exclude, "exclude")
    labels = np.zeros(shape, dtype=np.int32)
    parameters: dict[str, Any] = {"fraction": float(fraction), "connectivity": connectivity}
    if (candidates is None) == (len(seeds) == 0):
        raise UsageError("Give either candidate regions or seeds", field="candidates", expected="one of the two")
    if candidates is not None:
        same_grid(shape, candidates, "candidates")
        regions = find_regions(candidates)
        for k in range(len(regions)):
            box = _box(regions.lower[k], regions.upper[k])
            allowed = regions.mask(k) != 0
            if exclude is not None:
                allowed &= exclude[box] == 0
            core = _around_maximum(image[box], allowed, fraction, connectivity)
            labels[box][core] = regions.labels[k]
        return Segmentation(labels, f"max_{100 * fraction:g}_percent", parameters)
    parameters |= {"seeds": [tuple(map(int, seed)) for seed in seeds], "search_radius_mm": float(search_radius_mm)}
    peaks = [_nearby_maximum(image, seed, search_radius_mm / edges, edges, exclude) for seed in seeds]
    for number, peak in enumerate(sorted(set(peaks), key=lambda p: (-float(image[p]), p)), start=1):
        if labels[peak] == 0:
            box, core = _grow(image, peak, fraction, connectivity, exclude)
            labels[box][core & (labels[box] == 0)] = number
    return Segmentation(find_regions(labels).ordered().paint(), f"max_{100 * fraction:g}_percent", parameters)


def gradient_watershed(
    image: npt.NDArray[Any],
    spacing: Sequence[float],
    candidates: npt.NDArray[Any],
    *,
    sigma_mm: float = 0.0,
    margin_mm: float = 15.0,
    inner: float = 0.7,
    outer: float = 0.2,
    exclude: npt.NDArray[Any] | None = None,
) -> Segmentation:
    """The lesion up to its steepest edge: a watershed of the gradient's magnitude, independent of contrast.

    In the box around each candidate, contrast is scaled from 0 (median of the box's faces) to 1 (the candidate's
    maximum). Water rises from two markers, the voxels above ``inner`` that are connected with the maximum, and those
    below ``outer`` together with all other candidates; they meet on the ridge of the gradient (Geets et al.,
    Eur J Nucl Med Mol Imaging 2007, doi:10.1007/s00259-006-0363-4). The steepest edge of a sphere of radius R blurred
    with standard deviation s lies about s^2 / R inside its border: small lesions come out too small.

    Parameters
    ----------
    image
        Volume (z, y, x).
    spacing
        Voxel edges (z, y, x) in mm.
    candidates
        Labels of rough regions, one per lesion, which results keep. They need not contain the lesion wholly.
    sigma_mm
        Gaussian smoothing before the gradient, in mm; 0 for central differences of the image itself.
    margin_mm
        How far around a candidate its edge is sought.
    inner, outer
        Levels of the two markers.
    exclude
        Mask of voxels that are never part of a lesion.
    """
    from skimage.segmentation import watershed

    if not 0 <= outer < inner < 1:
        raise UsageError(
            "Levels out of order", field="outer", found=f"{outer}, {inner}", expected="0 <= outer < inner < 1"
        )
    edges = checked_spacing(spacing)
    shape = checked_shape(image, "image")
    same_grid(shape, candidates, "candidates")
    same_grid(shape, exclude, "exclude")
    regions = find_regions(candidates)
    labels = np.zeros(shape, dtype=np.int32)
    margin = np.ceil(margin_mm / edges).astype(int)
    for k in range(len(regions)):
        lower = np.maximum(regions.lower[k] - margin, 0)
        box = _box(lower, np.minimum(regions.upper[k] + margin, shape))
        values = np.asarray(image[box], dtype=np.float64)
        others = candidates[box]
        own = others == regions.labels[k]
        blocked = (others != 0) & ~own | ~np.isfinite(values)
        if exclude is not None:
            blocked |= exclude[box] != 0
        allowed = own & ~blocked
        if not allowed.any():
            continue
        values = np.where(np.isfinite(values), values, 0.0)
        floor = float(np.median(_faces(values)))
        contrast = (values - floor) / max(float(values[allowed].max()) - floor, np.finfo(float).tiny)
        core = _around_maximum(contrast, ~blocked, inner, 26, peak_in=allowed)
        markers = np.where(core, 2, np.where((contrast < outer) | blocked, 1, 0))
        lesion = watershed(_gradient(contrast, edges, sigma_mm), markers, connectivity=3) == 2
        labels[box][lesion & (labels[box] == 0)] = regions.labels[k]
    parameters = {"sigma_mm": sigma_mm, "margin_mm": margin_mm, "inner": inner, "outer": outer}
    return Segmentation(labels, "gradient_watershed", parameters)


def _box(lower: npt.NDArray[np.int64], upper: npt.NDArray[np.int64]) -> tuple[slice, slice, slice]:
    z, y, x = (slice(int(a), int(b)) for a, b in zip(lower, upper, strict=True))
    return z, y, x


def _around_maximum(
    values: npt.NDArray[Any],
    allowed: npt.NDArray[np.bool_],
    fraction: float,
    connectivity: Connectivity,
    *,
    peak_in: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.bool_]:
    """Component of the voxels above a fraction of the maximum that holds the maximum (the first, if several do)."""
    inside = np.where(allowed if peak_in is None else peak_in, values, -np.inf)
    inside = np.where(np.isnan(inside), -np.inf, inside)
    peak = np.unravel_index(int(inside.argmax()), inside.shape)
    if not inside[peak] > 0:
        return np.zeros(values.shape, dtype=bool)
    labels = components(allowed & (values >= fraction * inside[peak]), connectivity=connectivity).paint()
    return np.asarray(labels == labels[peak])


def _nearby_maximum(
    image: npt.NDArray[Any],
    seed: Seed,
    reach: npt.NDArray[np.float64],
    edges: npt.NDArray[np.float64],
    exclude: npt.NDArray[Any] | None,
) -> tuple[int, int, int]:
    """The highest voxel around a seed (the first, if several are)."""
    centre = np.array(checked_seed(seed, image.shape))
    lower = np.maximum(centre - np.floor(reach).astype(int), 0)
    box = _box(lower, np.minimum(centre + np.floor(reach).astype(int) + 1, image.shape))
    axes = [(np.arange(s.start, s.stop) - c) * edge for s, c, edge in zip(box, centre, edges, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    near = z**2 + y**2 + x**2 <= float(np.max(reach * edges)) ** 2 * (1 + 1e-12)
    if exclude is not None:
        near &= exclude[box] == 0
    values = np.where(near & np.isfinite(image[box]), image[box], -np.inf)
    peak = np.unravel_index(int(values.argmax()), values.shape)
    if not values[peak] > 0:
        raise DataError(
            "There is no uptake around a seed",
            field="seed",
            found=tuple(map(int, seed)),
            expected="a positive value within the search radius",
            mend="move the seed, or check the order of its coordinates",
        )
    z0, y0, x0 = (int(i) for i in np.array(peak) + lower)
    return z0, y0, x0


def _grow(
    image: npt.NDArray[Any],
    peak: tuple[int, int, int],
    fraction: float,
    connectivity: Connectivity,
    exclude: npt.NDArray[Any] | None,
) -> tuple[tuple[slice, slice, slice], npt.NDArray[np.bool_]]:
    """Component of a voxel above a fraction of its value, in a box that grows until it holds the component."""
    reach = 16
    while True:
        lower = np.maximum(np.array(peak) - reach, 0)
        upper = np.minimum(np.array(peak) + reach + 1, image.shape)
        box = _box(lower, upper)
        mask = np.asarray(image[box] >= fraction * image[peak])
        if exclude is not None:
            mask &= exclude[box] == 0
        labels = components(mask, connectivity=connectivity).paint()
        z, y, x = np.array(peak) - lower
        core = np.asarray(labels == int(labels[z, y, x]), dtype=np.bool_)
        held = True
        for axis in range(3):
            layer = np.asarray(np.moveaxis(core, axis, 0).reshape(core.shape[axis], -1).any(axis=1))
            held &= not (bool(layer[0]) and lower[axis] > 0)
            held &= not (bool(layer[-1]) and upper[axis] < image.shape[axis])
        if held:
            return box, core
        reach *= 2


def _faces(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Values on the six faces of a box."""
    shell = np.ones(values.shape, dtype=bool)
    shell[1:-1, 1:-1, 1:-1] = False
    return values[shell]


def _gradient(
    values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], sigma_mm: float
) -> npt.NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(values, sigma_mm / edges) if sigma_mm > 0 else values
    squares = np.zeros(values.shape)
    for axis in range(3):
        if values.shape[axis] > 1:
            squares += np.gradient(smooth, edges[axis], axis=axis) ** 2
    return np.asarray(np.sqrt(squares))
