"""Peak values: the mean in a 1 mL sphere, in three definitions that must be told apart.

The sphere (radius 6.2035 mm) is centred on voxels of the region, but averages every voxel of the image it covers,
inside the region or not, as the Image Biomarker Standardisation Initiative defines it (IBSI: Zwanenburg et al.,
Radiology 2020, doi:10.1148/radiol.2020191145; local peak VJGA, global peak 0F91). The *local* peak is centred on the
region's maximum (the highest of them if several voxels share it), the *global* peak is the highest over all voxels.

``centre``
    On the image's own grid; a voxel counts fully where its centre lies in the sphere.
``partial``
    On the image's own grid; each voxel counts by the share of its volume that lies in the sphere. A sphere of
    coarse voxels is averaged over 1 mL, not over what happens to have its centre inside.
``resampled``
    As ``centre``, after the image is resampled to 3 mm by cubic splines on a grid with the same centre, and the
    region by linear interpolation, keeping what is at least half inside: the processing under which the programs of
    the IBSI validation study published their values.

Where the sphere leaves the image, the part inside is averaged and the region is flagged.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from timelens.engines.regions.grid import FloatArray, checked_spacing, float_slab
from timelens.engines.regions.labels import Regions, find_regions
from timelens.engines.regions.reasons import Reason
from timelens.engines.regions.resample import Resampling
from timelens.errors import UsageError

__all__ = ["PEAK_RADIUS_MM", "PUBLISHED_SPACING_MM", "PeakMethod", "peaks", "resampled_peaks", "sphere_weights"]

PeakMethod = Literal["centre", "partial", "resampled"]

PEAK_RADIUS_MM = (3 * 1000.0 / (4 * np.pi)) ** (1 / 3)
"""Radius of a sphere of 1 mL: 6.2035 mm."""

PUBLISHED_SPACING_MM = 3.0
"""Voxel edge of the grid on which the programs of the IBSI validation study measured PET (Zwanenburg et al. 2020)."""

Result = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]


@lru_cache(maxsize=32)
def _sphere(spacing: tuple[float, float, float], weighting: str, radius: float) -> npt.NDArray[np.float64]:
    edges = np.asarray(spacing)
    reach = np.ceil(radius / edges + (0.5 if weighting == "partial" else 0.0)).astype(int)
    axes = [np.arange(-n, n + 1) * edge for n, edge in zip(reach, edges, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    if weighting == "centre":
        # A centre exactly on the surface is inside, whatever the rounding.
        weights = (z**2 + y**2 + x**2 <= radius**2 * (1 + 1e-12)).astype(np.float64)
    else:
        weights = _shares(axes, edges, radius)
    weights.setflags(write=False)
    return weights


def _shares(axes: list[npt.NDArray[np.float64]], edges: npt.NDArray[np.float64], radius: float) -> FloatArray:
    """Share of each voxel inside the sphere: exact along x, midpoints of a fine grid across z and y."""
    number = max(24, int(np.ceil(32 * edges.max() / radius)))
    steps = (np.arange(number) + 0.5) / number - 0.5
    z = axes[0][:, None, None, None] + steps[:, None] * edges[0]
    y = axes[1][:, None, None] + steps * edges[1]
    half_chord = np.sqrt(np.maximum(radius**2 - z**2 - y**2, 0.0))
    lines = half_chord.reshape(len(axes[0]), len(axes[1]), 1, -1)
    low = (axes[2] - edges[2] / 2)[:, None]
    high = low + edges[2]
    inside = np.minimum(high, lines) - np.maximum(low, -lines)
    shares = np.maximum(inside, 0.0).mean(axis=-1) / edges[2]
    for axis in range(3):
        # Rounding must not tell a row from its mirror image, which share their weights.
        shares = (shares + np.flip(shares, axis)) / 2
    return np.asarray(np.minimum(shares, 1.0))


def sphere_weights(
    spacing: Sequence[float], *, weighting: Literal["centre", "partial"] = "centre", radius: float = PEAK_RADIUS_MM
) -> npt.NDArray[np.float64]:
    """Weight of each voxel in a sphere centred on the middle voxel, 0 to 1; an array of odd shape.

    ``centre``: 1 where the voxel's centre lies in the sphere. ``partial``: the share of the voxel that does.
    """
    if weighting not in ("centre", "partial"):
        raise UsageError("No such weighting", field="weighting", found=weighting, expected="'centre' or 'partial'")
    edges = checked_spacing(spacing)
    return _sphere((float(edges[0]), float(edges[1]), float(edges[2])), weighting, float(radius))


def peaks(
    image: Any,
    regions: Regions,
    spacing: Sequence[float],
    *,
    weighting: Literal["centre", "partial"] = "centre",
    radius: float = PEAK_RADIUS_MM,
) -> Result:
    """Local and global peak of every region on the image's own grid.

    Parameters
    ----------
    image
        Real volume (z, y, x), an array or lazy.
    regions
        The regions, on the same grid.
    spacing
        Voxel edges (z, y, x) in mm.
    weighting
        See the module's text.
    radius
        Radius of the sphere in mm.

    Returns
    -------
    local_peak, global_peak, reason
        Values in the image's unit, shape (n,), and flags. NaN for an empty region, and where the region or a sphere
        that decides holds values that are not finite.
    """
    weights = sphere_weights(spacing, weighting=weighting, radius=radius)
    kernel = _kernel(weights)
    reach = weights.shape[0] // 2
    n = len(regions)
    out = np.full((n, 2), np.nan)
    reason = np.zeros(n, dtype=np.int64)
    nz, ny, nx = regions.shape
    for k in range(n):
        if regions.counts[k] == 0:
            reason[k] = int(Reason.EMPTY)
            continue
        start = max(0, int(regions.lower[k, 0] - reach))
        stop = min(nz, int(regions.upper[k, 0] + reach))
        part = slice(regions.offsets[k], regions.offsets[k + 1])
        local, overall, truncated, broken = _peak(
            float_slab(image, start, stop), start, regions.starts[part], regions.lengths[part], kernel, ny, nx
        )
        out[k] = local, overall
        reason[k] = (int(Reason.NON_FINITE) if broken else 0) | (int(Reason.SPHERE_TRUNCATED) if truncated else 0)
    return out[:, 0], out[:, 1], reason


class _Kernel(NamedTuple):
    """A sphere's weights in the two forms that the loop needs."""

    offsets: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    taps: npt.NDArray[np.float64]


def _kernel(weights: npt.NDArray[np.float64]) -> _Kernel:
    """Voxel by voxel, and grouped: rows (dz, dy) that share their weights along x are added up before weighting."""
    middle = np.array(weights.shape) // 2
    members: dict[bytes, list[tuple[int, int]]] = {}
    for z, y in np.argwhere(weights.any(axis=2)):
        members.setdefault(weights[z, y].tobytes(), []).append((z - middle[0], y - middle[1]))
    rows = np.array([row for group in members.values() for row in group], dtype=np.int64)
    groups = np.concatenate([[0], np.cumsum([len(group) for group in members.values()])])
    taps = np.array([np.frombuffer(line) for line in members])
    return _Kernel(np.argwhere(weights > 0) - middle, weights[weights > 0], rows, groups, taps)


@njit(cache=True, nogil=True)
def _peak(
    image: npt.NDArray[Any],
    first: int,
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    kernel: _Kernel,
    ny: int,
    nx: int,
) -> tuple[float, float, bool, bool]:
    """Local and global peak, whether the deciding spheres are truncated, and whether values are not finite.

    The weighted neighbours of a whole run are added up row by row, so that the inner loops run along x.
    """
    nz = image.shape[0]
    reach = kernel.taps.shape[1] // 2
    reach_z, reach_y = kernel.rows[:, 0].max(), kernel.rows[:, 1].max()
    size = np.int64(0)
    for r in range(len(starts)):
        size = max(size, lengths[r])
    line = np.empty(size + 2 * reach)
    sums = np.empty(size)
    norms = np.empty(size)
    full = kernel.weights.sum()
    highest, local, overall = -np.inf, -np.inf, -np.inf
    local_cut, overall_cut, broken = False, False, False
    for r in range(len(starts)):
        row = starts[r] // nx
        x0 = starts[r] - row * nx
        y = row % ny
        z = row // ny - first
        length = lengths[r]
        sums[:length] = 0.0
        if reach_z <= z < nz - reach_z and reach_y <= y < ny - reach_y and reach <= x0 and x0 + length <= nx - reach:
            norms[:length] = full
            for g in range(len(kernel.taps)):
                line[: length + 2 * reach] = 0.0
                for k in range(kernel.groups[g], kernel.groups[g + 1]):
                    source = image[z + kernel.rows[k, 0], y + kernel.rows[k, 1], x0 - reach : x0 + length + reach]
                    for i in range(length + 2 * reach):
                        line[i] += source[i]
                for t in range(kernel.taps.shape[1]):
                    weight = kernel.taps[g, t]
                    if weight > 0:
                        for i in range(length):
                            sums[i] += weight * line[i + t]
        else:
            norms[:length] = 0.0
            for k in range(len(kernel.weights)):
                zo, yo, shift = z + kernel.offsets[k, 0], y + kernel.offsets[k, 1], x0 + kernel.offsets[k, 2]
                if 0 <= zo < nz and 0 <= yo < ny:
                    for i in range(max(0, -shift), min(length, nx - shift)):
                        sums[i] += kernel.weights[k] * image[zo, yo, shift + i]
                        norms[i] += kernel.weights[k]
        for i in range(length):
            value = np.float64(image[z, y, x0 + i])
            mean = sums[i] / norms[i]
            cut = norms[i] < full * (1 - 1e-9)
            if not (np.isfinite(value) and np.isfinite(mean)):
                broken = True
                continue
            if mean > overall:
                overall, overall_cut = mean, cut
            if value > highest or (value == highest and mean > local):
                highest, local, local_cut = value, mean, cut
    if broken:
        local, overall = np.nan, np.nan
    return local, overall, local_cut or overall_cut, broken


def resampled_peaks(
    image: Any, regions: Regions, spacing: Sequence[float], *, target: float = PUBLISHED_SPACING_MM
) -> Result:
    """Local and global peak of every region after resampling, as published programs measure them.

    Parameters
    ----------
    image, regions, spacing
        As for :func:`peaks`.
    target
        Edge of the cubic voxels resampled to, in mm.

    Returns
    -------
    local_peak, global_peak, reason
        As for :func:`peaks`; NaN also where nothing of the region is left on the new grid.
    """
    edges = checked_spacing(spacing)
    grid = Resampling(regions.shape, edges, target)
    reach = int(np.ceil(PEAK_RADIUS_MM / target))
    kernel = _kernel(sphere_weights((target, target, target)))
    n = len(regions)
    out = np.full((n, 2), np.nan)
    reason = np.zeros(n, dtype=np.int64)
    for k in range(n):
        if regions.counts[k] == 0:
            reason[k] = int(Reason.EMPTY)
            continue
        inside, lower = grid.mask(regions.mask(k), regions.lower[k])
        if not inside.any():
            reason[k] = int(Reason.LOST_BY_RESAMPLING)
            continue
        low = np.maximum(lower - reach, 0)
        high = np.minimum(lower + np.array(inside.shape) + reach, grid.shape)
        values = grid.image(image, low, high)
        placed = np.zeros(values.shape, dtype=np.uint8)
        placed[tuple(slice(a, a + n) for a, n in zip(lower - low, inside.shape, strict=True))] = inside
        found = find_regions(placed)
        local, overall, truncated, broken = _peak(
            values, 0, found.starts, found.lengths, kernel, values.shape[1], values.shape[2]
        )
        out[k] = local, overall
        reason[k] = (int(Reason.NON_FINITE) if broken else 0) | (int(Reason.SPHERE_TRUNCATED) if truncated else 0)
    return out[:, 0], out[:, 1], reason
