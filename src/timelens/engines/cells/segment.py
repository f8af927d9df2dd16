"""Nuclei and cells by classical means: no learnt weights.

The one thing to be stated is the usual diameter of a nucleus, and every length below is a part of it. The signal is
smoothed and taken as a logarithm, so that dim and bright nuclei count alike; a threshold between the background and
Otsu's says where nuclei are; a relief made of signal and of distance from the background is climbed from every pixel to
a peak; peaks that are parted by no more than a shallow saddle are one nucleus; and each nucleus keeps the pixels above
half of its own height.

Large images are smoothed in tiles. Every step either looks no further than the margin of a tile or runs over the whole
image, so that the result does not depend on the tiles, not even in a single pixel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from timelens.errors import UsageError

__all__ = ["SADDLE", "expand", "grow_to_membrane", "nuclei"]

FloatArray = NDArray[np.float32]

#: Least depth of a saddle between two nuclei, as a part of the relief. All parts below were picked on simulated nuclei.
SADDLE = 0.02
#: Part of a nucleus's own height above the background that its pixels reach. Half marks the border of a blurred disc.
HEIGHT = 0.5
#: Part of the relief that the logarithm of the signal makes up; the distance makes up the rest.
SIGNAL = 0.5
#: Where the threshold lies on the way from the background to Otsu's threshold, on a logarithmic scale.
TOWARDS_OTSU = 0.65
#: Smoothing by standard deviation, as parts of the diameter: for the outline, and for the relief.
FINE, COARSE = 0.045, 0.12
#: Smallest nucleus as a part of the area of a disc of the usual diameter.
SMALLEST = 0.1
#: Half width, as a part of the diameter, below which a rest around a nucleus is its blurred rim.
RIM = 0.2
#: Largest area of what is left beside a nucleus, in areas of the largest disc that it holds: rims are slender.
SLENDER = 2.5
_TRUNCATE = 4.0
_LEVELS = 1024


def nuclei(
    signal: ArrayLike,
    diameter: float,
    *,
    threshold: float | None = None,
    saddle: float = SADDLE,
    tile: int = 2048,
) -> NDArray[np.int32]:
    """Label nuclei.

    Parameters
    ----------
    signal
        Nuclear stain (y, x), zero or more; pixels that are NaN belong to no nucleus.
    diameter
        Usual diameter of a nucleus in pixels, at least 4.
    threshold
        Least smoothed signal of a nucleus; by default between the background and Otsu's
        threshold, see :data:`TOWARDS_OTSU`.
    saddle
        See :data:`SADDLE`; larger joins more, smaller parts more.
    tile
        Side of the tiles in pixels. The result does not depend on it.

    Returns
    -------
    ndarray of int32, shape (y, x)
        0 is background; nuclei are numbered in the order of their first pixel.

    Raises
    ------
    UsageError
        If the signal is no image of numbers of zero or more, or an option makes no sense.
    """
    image = np.asarray(signal)
    if image.ndim != 2 or image.dtype.kind not in "uif" or not image.size:
        raise UsageError("A nuclear signal is an image (y, x)", field="signal", found=f"{image.dtype} {image.shape}")
    if not (np.isfinite(diameter) and diameter >= 4 and saddle > 0 and tile >= 16):
        raise UsageError("Options make no sense", field="diameter, saddle, tile", found=(diameter, saddle, tile),
                         expected="a diameter of 4 pixels or more, a positive saddle, tiles of 16 or more")  # fmt: skip
    if image.dtype.kind != "u" and np.nanmin(image, initial=0) < 0:
        raise UsageError("A nuclear signal is zero or more", field="signal", found=float(np.nanmin(image)))
    smooth = np.empty(image.shape, np.float32)
    for inner, outer, cut in _tiles(image.shape, tile, int(_TRUNCATE * FINE * diameter) + 2):
        known = np.nan_to_num(image[outer].astype(np.float32), posinf=0.0)
        smooth[inner] = ndimage.gaussian_filter(known, FINE * diameter, truncate=_TRUNCATE, mode="nearest")[cut]
    background = float(np.median(smooth))
    scale = max(background, float(np.finfo(np.float32).tiny))
    level = _level(np.log1p(smooth / scale)) if threshold is None else float(np.log1p(threshold / scale))
    inside = (np.log1p(smooth / scale) > level) & np.isfinite(image)
    if not inside.any():
        return np.zeros(image.shape, np.int32)
    around = float(np.median(smooth[~inside])) if not inside.all() else 0.0
    smallest = max(SMALLEST * np.pi * diameter**2 / 4, 1.0)
    found = np.zeros(image.shape, np.int32)
    # A dim nucleus beside a bright one lies below half of the bright one's height: what is left is asked once more.
    for leftover in (False, True):
        relief = _reliefs(smooth, inside, scale, diameter, tile)
        label = _join(_climb(relief, inside), relief, np.float32(saddle))
        _finish(label, smooth, around, smallest, found, RIM * diameter if leftover else 0.0)
        inside = _opened(inside & (found == 0), RIM * diameter)
    found[~np.isfinite(image)] = 0
    return _in_order(found)


def _tiles(shape: tuple[int, ...], tile: int, margin: int) -> Iterator[tuple[tuple[slice, ...], ...]]:
    """Inner part in the image, the part with margin in the image, and the inner part in the latter."""
    for top in range(0, shape[0], tile):
        for left in range(0, shape[1], tile):
            inner, outer, cut = [], [], []
            for start, size in zip((top, left), shape, strict=True):
                end, low = min(start + tile, size), max(start - margin, 0)
                inner.append(slice(start, end))
                outer.append(slice(low, min(end + margin, size)))
                cut.append(slice(start - low, end - low))
            yield tuple(inner), tuple(outer), tuple(cut)


def _level(values: FloatArray) -> float:
    """A part of the way from the background, the most frequent value below Otsu's threshold (1979), to the latter.

    Otsu's threshold parts a histogram into two groups with the least variance; a few very bright nuclei draw it up,
    over the dim ones.
    """
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return high
    counts, edges = np.histogram(values, _LEVELS, (low, high))
    centre = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    total = np.cumsum(counts * centre)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (total / below - (total[-1] - total) / above) ** 2
    cut = int(np.nanargmax(np.where((below > 0) & (above > 0), between, np.nan))) + 1
    usual = int(np.argmax(ndimage.uniform_filter1d(counts[:cut].astype(np.float64), _LEVELS // 50)))
    return float(centre[usual] + TOWARDS_OTSU * (edges[cut] - centre[usual]))


def _reliefs(smooth: FloatArray, inside: NDArray[np.bool_], scale: float, diameter: float, tile: int) -> FloatArray:
    relief = np.empty(smooth.shape, np.float32)
    reach = diameter / 2
    margin = int(_TRUNCATE * COARSE * diameter + reach) + 3
    for inner, outer, cut in _tiles(smooth.shape, tile, margin):
        relief[inner] = _relief(smooth[outer], inside[outer], scale, diameter, reach)[cut]
    return relief


def _opened(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """The parts of a mask that hold a disc."""
    core = ndimage.distance_transform_edt(mask) > radius
    if not core.any():
        return core
    return np.asarray(mask & (ndimage.distance_transform_edt(~core) <= radius))


def _relief(smooth: FloatArray, inside: NDArray[np.bool_], scale: float, diameter: float, reach: float) -> FloatArray:
    """Signal and distance, each about 1 on top of a nucleus of the usual size."""
    sigma = COARSE * diameter
    height = ndimage.gaussian_filter(np.log1p(smooth / np.float32(scale)), sigma, truncate=_TRUNCATE, mode="nearest")
    # A distance that is cut at the reach needs no more than a margin of that size to be right.
    away = np.minimum(ndimage.distance_transform_edt(inside), reach).astype(np.float32) / np.float32(reach)
    away = ndimage.gaussian_filter(away, sigma / 2, truncate=_TRUNCATE, mode="nearest")
    return np.asarray(np.float32(SIGNAL) * height + np.float32(1 - SIGNAL) * away, np.float32)


@njit(cache=True, nogil=True)
def _climb(relief, inside):  # type: ignore[no-untyped-def]
    """Each pixel's peak: it points to the highest of its eight neighbours, of equals to the first."""
    height, width = relief.shape
    target = np.empty(height * width, np.int64)
    for y in range(height):
        for x in range(width):
            place = y * width + x
            target[place] = place
            if not inside[y, x]:
                continue
            best = relief[y, x]
            for v in range(max(y - 1, 0), min(y + 2, height)):
                for u in range(max(x - 1, 0), min(x + 2, width)):
                    # On a plateau only the way back is open, so that no two pixels point to each other.
                    if inside[v, u] and (
                        relief[v, u] > best or (relief[v, u] == best and v * width + u < target[place])
                    ):
                        best = relief[v, u]
                        target[place] = v * width + u
    label = np.zeros((height, width), np.int32)
    flat = label.ravel()
    count = 0
    for place in range(height * width):
        if inside[place // width, place % width] and target[place] == place:
            count += 1
            flat[place] = count
    for place in range(height * width):
        if inside[place // width, place % width] and flat[place] == 0:
            end = place
            while flat[end] == 0:
                end = target[end]
            number = flat[end]
            step = place
            while flat[step] == 0:
                flat[step] = number
                step = target[step]
    return label


def _join(label: NDArray[np.int32], relief: FloatArray, saddle: np.float32) -> NDArray[np.int32]:
    """Join basins whose lower peak rises less than the least saddle above the highest pass between them."""
    count = int(label.max())
    peak = ndimage.maximum(relief, label, np.arange(count + 1)).astype(np.float32)
    low, high, height = _passes(label, relief)
    if len(low):
        code = low.astype(np.int64) * (count + 1) + high
        order = np.lexsort((-height, code))
        first = np.concatenate([[True], np.diff(code[order]) > 0])
        low, high, height = (part[order][first] for part in (low, high, height))
        order = np.lexsort((high, low, -height))
        low, high, height = low[order], high[order], height[order]
    return np.asarray(_merge(low, high, height, peak, saddle)[label], np.int32)


def _passes(label: NDArray[np.int32], relief: FloatArray) -> tuple[NDArray[np.int32], NDArray[np.int32], FloatArray]:
    """Pairs of basins at every pair of neighbouring pixels, with the height of the lower pixel."""
    found: list[tuple[NDArray[np.int32], NDArray[np.int32], FloatArray]] = []
    for one, other in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(1, None)), (slice(None, -1), slice(None, -1))),
        ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))),
    ):
        a, b = label[one], label[other]
        edge = (a != b) & (a > 0) & (b > 0)
        found.append((np.minimum(a, b)[edge], np.maximum(a, b)[edge], np.minimum(relief[one], relief[other])[edge]))
    low, high, height = (np.concatenate(part) for part in zip(*found, strict=True))
    return low, high, height


@njit(cache=True, nogil=True)
def _merge(low, high, height, peak, saddle):  # type: ignore[no-untyped-def]
    """From the highest pass down; a joined basin has the higher of the two peaks."""
    parent = np.arange(len(peak))
    for k in range(len(low)):
        a, b = low[k], high[k]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a != b and min(peak[a], peak[b]) - height[k] < saddle:
            if peak[a] < peak[b] or (peak[a] == peak[b] and b < a):
                a, b = b, a
            parent[b] = a
    for i in range(len(parent)):
        root = i
        while parent[root] != root:
            root = parent[root]
        parent[i] = root
    return parent


def _finish(
    label: NDArray[np.int32],
    smooth: FloatArray,
    around: float,
    smallest: float,
    found: NDArray[np.int32],
    rim: float,
) -> None:
    """Write each nucleus's largest piece above half of its height, without holes, where nothing was found yet.

    With a rim, pieces that hold no disc of that radius, or are longer than such a disc allows, are no nuclei.
    """
    number = int(found.max())
    for value, box in enumerate(ndimage.find_objects(label), 1):
        if box is None:
            continue
        mine = label[box] == value
        top = float(np.quantile(smooth[box][mine], 0.9))
        mine &= smooth[box] > around + HEIGHT * (top - around)
        pieces, count = ndimage.label(mine)
        if count > 1:
            mine = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
        mine = ndimage.binary_fill_holes(mine) & (found[box] == 0)
        if rim:
            width = float(ndimage.distance_transform_edt(np.pad(mine, 1)).max())
            mine &= width > rim and mine.sum() <= SLENDER * np.pi * width**2
        if mine.sum() >= smallest:
            number += 1
            found[box][mine] = number


def _in_order(label: NDArray[np.int32]) -> NDArray[np.int32]:
    values, first = np.unique(label, return_index=True)
    values, first = values[values > 0], first[values > 0]
    table = np.zeros(int(label.max(initial=0)) + 1, np.int32)
    table[values[np.argsort(first)]] = np.arange(1, len(values) + 1)
    return np.asarray(table[label], np.int32)


# -- from nuclei to cells --------------------------------------------------------------------------------------------


def expand(labels: ArrayLike, reach: float) -> NDArray[np.int32]:
    """Let labels grow into the background by a distance, each pixel going to the nearest labelled pixel.

    Parameters
    ----------
    labels
        Whole numbers (y, x), 0 is background.
    reach
        In pixels. Of several pixels that are equally near, the first in the order of rows and columns wins.
    """
    marks = _checked(labels)
    if not (np.isfinite(reach) and reach >= 0):
        raise UsageError("The reach is a distance in pixels", field="reach", found=reach, expected="0 or more")
    span = int(reach)
    dy, dx = (part.ravel() for part in np.mgrid[-span : span + 1, -span : span + 1])
    near = (dy**2 + dx**2 <= reach**2) & ((dy != 0) | (dx != 0))
    order = np.lexsort((dx[near], dy[near], dy[near] ** 2 + dx[near] ** 2))
    return _expand(marks, dy[near][order], dx[near][order])


@njit(cache=True, nogil=True)
def _expand(marks, dy, dx):  # type: ignore[no-untyped-def]
    result = marks.copy()
    height, width = marks.shape
    for y in range(height):
        for x in range(width):
            if marks[y, x]:
                continue
            for k in range(len(dy)):
                v, u = y + dy[k], x + dx[k]
                if 0 <= v < height and 0 <= u < width and marks[v, u]:
                    result[y, x] = marks[v, u]
                    break
    return result


def grow_to_membrane(labels: ArrayLike, membrane: ArrayLike, reach: float, *, sigma: float = 1.0) -> NDArray[np.int32]:
    """Let nuclei grow to the ridges of a membrane signal, but no further than a distance (watershed).

    Parameters
    ----------
    labels
        Nuclei (y, x).
    membrane
        Membrane signal (y, x), or a sum of several; NaN is taken as none.
    reach
        In pixels.
    sigma
        Smoothing of the membrane in pixels.
    """
    from skimage.segmentation import watershed

    marks, wall = _checked(labels), np.nan_to_num(np.asarray(membrane, np.float32))
    if wall.shape != marks.shape:
        raise UsageError("Membrane and labels differ in size", field="membrane", found=wall.shape, expected=marks.shape)
    allowed = expand(marks, reach) > 0
    smooth = ndimage.gaussian_filter(wall, sigma, mode="nearest")
    return np.asarray(watershed(smooth, marks, mask=allowed), np.int32)


def _checked(labels: ArrayLike) -> NDArray[np.int32]:
    marks = np.asarray(labels)
    if marks.ndim != 2 or marks.dtype.kind not in "iub" or marks.min(initial=0) < 0:
        raise UsageError("Labels are whole numbers (y, x)", field="labels", found=f"{marks.dtype} {marks.shape}")
    return np.ascontiguousarray(marks, np.int32)
