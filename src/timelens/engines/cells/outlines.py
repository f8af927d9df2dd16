"""Whole cells around nuclei, and cells that show none, from what the markers change at.

Two cells that touch seldom bear the same markers in the same strength: where many channels change at once, a cell
ends. Nuclei grow up to such edges; what bears markers further away is parted in the same way, into profiles of cells
that the section cut beside their nucleus.

A pixel of the border holds some of both cells. What a cell is told by are the pixels of its core.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from timelens.engines.cells.growth import expand, grow_to_membrane
from timelens.engines.cells.partition import partition
from timelens.engines.cells.segment import ABOVE_NOISE, opened, towards_otsu
from timelens.errors import UsageError

__all__ = ["cell_outlines", "cores", "marker_edges"]

FloatArray = NDArray[np.float64]

#: Lengths as parts of the diameter of a nucleus, picked on simulated sections: smoothing of the edges, of the relief of
#: the remainder (distance, edges), half width of the thinnest remainder, rim that a nucleus has whatever the markers.
EDGE, AWAY, RIDGE, THIN, RIM = 0.125, 0.09, 0.06, 0.125, 0.125
#: Usual diameter of a profile without a nucleus, in diameters of a nucleus; its least area, in areas of a nucleus.
PROFILE, LEAST_PROFILE = 1.25, 0.3
#: Least height of a profile over the ground: of the usual cell's, and in standard errors of the ground.
FAINTEST = 0.25
#: Longest way from a nucleus, counted with the edges on it, in parts of the reach.
LONGEST = 4.0
#: Least depth of a saddle between two profiles.
SADDLE = 0.05
#: How deep a core lies in its cell in pixels, and in parts of the deepest pixel of a small cell.
CORE_PIXELS, CORE_PART = 3.0, 0.6


def marker_edges(markers: ArrayLike, sigma: float) -> FloatArray:
    """How much all channels together change at each pixel: the root of the sum of squared gradients.

    Parameters
    ----------
    markers
        Channels (c, y, x) in counts; NaN is taken as zero. Roots are taken, so that the noise of counts is even.
    sigma
        Smoothing in pixels.
    """
    total = np.zeros(np.shape(markers)[1:])
    for plane in np.asarray(markers):
        root = np.sqrt(np.maximum(np.nan_to_num(plane.astype(np.float64), posinf=0.0), 0) + 0.375)
        for order in ((1, 0), (0, 1)):
            total += ndimage.gaussian_filter(root, sigma, order=order, mode="nearest") ** 2
    return np.sqrt(total)


def cell_outlines(
    nuclei: ArrayLike, markers: ArrayLike, diameter: float, reach: float, *, bare: ArrayLike | None = None
) -> NDArray[np.int32]:
    """Grow nuclei to the edges of markers, and part what bears markers and no nucleus.

    Parameters
    ----------
    nuclei
        Labels (y, x).
    markers
        Channels (c, y, x) in counts, without those of the nuclei; NaN where nothing was measured.
    diameter
        Usual diameter of a nucleus in pixels.
    reach
        Furthest that a cell reaches from its nucleus, in pixels.
    bare
        Channels (c, y, x) that only cells bear: where they are and no nucleus is near, there is a cell without one.
        None, or no channel, looks for no such cells.

    Returns
    -------
    ndarray of int32, shape (y, x)
        Cells have the numbers of their nuclei; those without one follow.

    Raises
    ------
    UsageError
        If shapes differ or lengths make no sense.
    """
    marks, values = np.asarray(nuclei), np.asarray(markers)
    cellular = np.zeros((0, *marks.shape)) if bare is None else np.asarray(bare)
    for name, channels in (("markers", values), ("bare", cellular)):
        if channels.ndim != 3 or channels.shape[1:] != marks.shape:
            raise UsageError("Channels and nuclei differ in size", field=name, found=channels.shape,
                             expected=("c", *marks.shape))  # fmt: skip
    if not (np.isfinite([diameter, reach]).all() and diameter > 0 and reach >= 0):
        raise UsageError("Lengths make no sense", field="diameter, reach", found=(diameter, reach),
                         expected="a positive diameter, a reach of 0 or more")  # fmt: skip
    rim = expand(marks, min(RIM * diameter, reach))
    if not len(values):
        return rim
    edges, within = _edges(values, EDGE * diameter)
    cells = grow_to_membrane(marks, edges, reach, sigma=0.0, longest=LONGEST * reach)
    cells = np.where(within | (rim > 0), cells, 0).astype(np.int32)
    if not len(cellular):
        return cells
    bears = _foreground(cellular, EDGE * diameter)
    free = opened(bears & (cells == 0), THIN * diameter)
    if not free.any():
        return cells
    profiles = _profiles(edges, free, diameter)
    signal = np.nan_to_num(cellular, posinf=0.0).sum(axis=0, dtype=np.float64)
    profiles = _lit(profiles, signal, cells, ~bears & (cells == 0))
    profiles[profiles > 0] += int(cells.max(initial=0))
    # Once it is known where cells without a nucleus are, all grow together: a nucleus may have reached into them.
    seeds = np.where(marks > 0, marks, cores(profiles)).astype(np.int32)
    again = grow_to_membrane(seeds, edges, reach, sigma=0.0, longest=LONGEST * reach)
    return np.where(within | (rim > 0), again, 0).astype(np.int32)


def _edges(values: NDArray[np.generic], sigma: float) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Edges over those of the noise, and where markers are."""
    edges = marker_edges(values, sigma)
    within = _foreground(values, sigma)
    ground = ~within
    noise = np.median(edges[ground]) if ground.mean() > 0.01 else np.quantile(edges, 0.05)
    return np.maximum(edges - noise, 0), within


def _foreground(values: NDArray[np.generic], sigma: float) -> NDArray[np.bool_]:
    total = ndimage.gaussian_filter(np.nan_to_num(values, posinf=0.0).sum(axis=0, dtype=np.float64), sigma)
    scale = max(float(np.median(total)), 3e-3 * float(total.max()))
    if not scale > 0:
        return np.zeros(total.shape, bool)
    bright = np.log1p(total / scale).astype(np.float32)
    return np.asarray(bright > towards_otsu(bright))


def _profiles(edges: FloatArray, free: NDArray[np.bool_], diameter: float) -> NDArray[np.int32]:
    """The remainder in its parts: away from its border and from edges is the middle of a cell."""
    half = diameter / 2
    away = np.minimum(ndimage.gaussian_filter(ndimage.distance_transform_edt(free), AWAY * diameter), half) / half
    strong = max(float(np.quantile(edges, 0.95)), float(np.finfo(np.float32).tiny))
    relief = away - ndimage.gaussian_filter(edges, RIDGE * diameter) / strong
    parts = partition(relief.astype(np.float32), free.astype(np.float32), free, PROFILE * diameter, SADDLE)
    large = np.bincount(parts.ravel()) >= LEAST_PROFILE * np.pi * diameter**2 / 4
    large[0] = False
    return np.where(large, np.cumsum(large), 0)[parts].astype(np.int32)


def _lit(
    profiles: NDArray[np.int32], signal: FloatArray, cells: NDArray[np.int32], ground: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """The profiles that stand out from the noise of the ground, and bear about what other cells bear."""
    level = float(signal[ground].mean()) if ground.any() else 0.0
    # The ground was chosen for being dark: its own spread would be too small. Differences of neighbours tell the noise.
    outside = cells == 0
    apart = np.diff(signal, axis=1)[outside[:, 1:] & outside[:, :-1]]
    spread = float(np.sqrt((apart**2).mean() / 2)) if apart.size else 0.0
    area = np.maximum(np.bincount(profiles.ravel()), 1)
    height = np.bincount(profiles.ravel(), signal.ravel()) / area - level
    own = np.bincount(cells.ravel())
    others = np.bincount(cells.ravel(), signal.ravel())[1:][own[1:] > 0] / own[1:][own[1:] > 0]
    usual = float(np.median(others)) - level if len(others) else 0.0
    # Few counts are skewed: Bernstein's inequality adds a third of the squared factor, in units of one count.
    count = spread**2 / level if level > 0 else 0.0
    least = ABOVE_NOISE * spread / np.sqrt(area) + ABOVE_NOISE**2 / 3 * count / area
    keep = (height > least) & (height > FAINTEST * usual)
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0)[profiles].astype(np.int32)


def cores(labels: ArrayLike) -> NDArray[np.int32]:
    """The inner pixels of cells, away from their neighbours and from the ground; every cell keeps some.

    Parameters
    ----------
    labels
        Whole numbers (y, x), 0 outside of cells. The edge of the image is no border.
    """
    marks = np.asarray(labels)
    if marks.ndim != 2 or marks.dtype.kind not in "iub" or marks.min(initial=0) < 0:
        raise UsageError("Labels are whole numbers (y, x)", field="labels", found=f"{marks.dtype} {marks.shape}")
    if not marks.size:
        return marks.astype(np.int32)
    padded = np.pad(marks, 1, mode="edge")
    border = np.zeros(marks.shape, bool)
    for side in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        border |= side != marks
    depth = ndimage.distance_transform_edt(~border) if border.any() else np.full(marks.shape, np.inf)
    label, cell = np.unique(marks, return_inverse=True)
    deepest = np.zeros(len(label))
    np.maximum.at(deepest, cell.ravel(), depth.ravel())
    kept = depth >= np.minimum(CORE_PIXELS, CORE_PART * deepest[cell.reshape(marks.shape)])
    return np.where(kept, marks, 0).astype(np.int32)
