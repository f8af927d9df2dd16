"""Nuclei by classical means: no learnt weights.

The one thing to be stated is the usual diameter of a nucleus, and every length below is a part of it. The signal is
smoothed and taken as a logarithm, so that dim and bright nuclei count alike; a threshold between the background and
Otsu's says where nuclei are; a relief made of signal, of its bulge and of distance from the background is parted into
basins; of the basins and all that they can be joined to, those are taken that are most like nuclei
(:mod:`~timelens.engines.cells.partition`); and each nucleus keeps the pixels above half of its own height over the
background about it. A dim nucleus beside a bright one lies below that: what is left over is asked once more.

Large images are smoothed in tiles. Every step either looks no further than the margin of a tile or runs over the whole
image, so that the result does not depend on the tiles, not even in a single pixel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from timelens.engines.cells.partition import HEIGHT, SMALLEST, partition
from timelens.errors import UsageError

__all__ = ["ABOVE_NOISE", "SADDLE", "nuclei", "opened", "tiles", "towards_otsu"]

FloatArray = NDArray[np.float32]

#: Basins that are parted by a shallower saddle than this part of the relief are one, whatever they look like. All parts
#: below were picked on simulated nuclei.
SADDLE = 0.002
#: Parts of the relief: the logarithm of the signal and the distance from the background, together 1, and the bulge.
SIGNAL, BULGE = 0.5, 0.2
#: Where the threshold lies on the way from the background to Otsu's threshold, on a logarithmic scale.
TOWARDS_OTSU = 0.5
#: Smoothing by standard deviation, as parts of the diameter: for the outline, the relief, its bulge, the background.
FINE, COARSE, CAP, WIDE = 0.045, 0.12, 0.2, 0.5
#: Least smoothing of the outline in pixels: the counts of single pixels are noise, however small nuclei are.
LEAST_FINE = 1.0
#: Half width, as a part of the diameter, below which a rest around a nucleus is its blurred rim.
RIM = 0.25
#: Largest area of what is left beside a nucleus, in areas of the largest disc that it holds: rims are slender.
SLENDER = 2.5
_TRUNCATE = 4.0
_LEVELS = 1024
#: Least height of a nucleus in standard deviations of the smoothed noise of the background.
ABOVE_NOISE = 6.0
#: Weight of the background of the whole image where none is near.
_FAR = 1e-3
#: Least background as a part of the brightest pixel.
_EMPTY = 3e-3


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
        See :data:`SADDLE`; larger joins more.
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
    known = np.isfinite(image)
    if not known.any():
        return np.zeros(image.shape, np.int32)
    fine = max(FINE * diameter, LEAST_FINE)
    smooth = _smoothed(np.where(known, image, 0), known, fine, tile, 0.0)
    # Where the background is empty, its logarithm would swallow all differences between nuclei.
    scale = max(float(np.median(smooth[known])), _EMPTY * float(smooth.max()), float(np.finfo(np.float32).tiny))
    bright = np.log1p(smooth / np.float32(scale))
    level = towards_otsu(bright[known]) if threshold is None else float(np.log1p(threshold / scale))
    inside = (bright > level) & known
    if not inside.any():
        return np.zeros(image.shape, np.int32)
    noise = _noise(image, known, known & ~inside, fine)
    excess = smooth - _background(smooth, known & ~inside, diameter, tile)
    smallest = max(SMALLEST * np.pi * diameter**2 / 4, 1.0)
    found = np.zeros(image.shape, np.int32)
    for leftover in (False, True):
        relief = _reliefs(bright, inside, diameter, tile)
        label = partition(relief, excess, inside, diameter, saddle)
        _finish(label, excess, smallest, noise, found, RIM * diameter if leftover else 0.0)
        inside = opened(inside & (found == 0), RIM * diameter)
    found[~known] = 0
    return _in_order(found)


def _smoothed(values: ArrayLike, known: NDArray[np.bool_], sigma: float, tile: int, rest: float) -> FloatArray:
    """Mean of the known values about each pixel by a normal law; a rest pulls it to zero where few are known."""
    image, whole = np.asarray(values), bool(known.all())
    smooth = np.empty(image.shape, np.float32)
    for inner, outer, cut in tiles(image.shape, tile, int(_TRUNCATE * sigma) + 2):
        part = _gauss(image[outer].astype(np.float32), sigma)
        if not whole or rest:
            weight = _gauss(known[outer].astype(np.float32), sigma)
            part = np.divide(part, weight + np.float32(rest), out=np.zeros_like(part), where=weight + rest > 0)
        smooth[inner] = part[cut]
    return smooth


def _gauss(values: FloatArray, sigma: float) -> FloatArray:
    return np.asarray(ndimage.gaussian_filter(values, sigma, truncate=_TRUNCATE, mode="nearest"), np.float32)


def _background(smooth: FloatArray, outside: NDArray[np.bool_], diameter: float, tile: int) -> FloatArray:
    """The background about each pixel, that of the whole image where there is none near; haze is not even."""
    usual = float(np.median(smooth[outside])) if outside.any() else 0.0
    above = np.where(outside, smooth - np.float32(usual), 0)
    return np.float32(usual) + _smoothed(above, outside, WIDE * diameter, tile, _FAR)


def _noise(
    image: NDArray[np.generic], known: NDArray[np.bool_], outside: NDArray[np.bool_], sigma: float
) -> tuple[float, float, float]:
    """Standard deviation of the smoothed and of the raw background, and what one count is.

    Differences of neighbouring pixels tell the noise. One count is variance over mean; it is taken of the whole image,
    since a background that was chosen for being dark may hold no count at all.
    """
    values = np.where(known, image, 0).astype(np.float64)
    apart, pixel, count = np.diff(values, axis=1) ** 2, 0.0, 0.0
    for where in (known, outside):
        pair = where[:, 1:] & where[:, :-1]
        variance = float(apart[pair].mean() / 2) if pair.any() else 0.0
        if where is known:
            level = float(values[known].mean())
            count = variance / level if level > 0 else 0.0
        else:
            pixel = float(np.sqrt(variance))
    point = np.zeros(2 * int(_TRUNCATE * sigma + 1) + 1)
    point[len(point) // 2] = 1.0
    kept = float((ndimage.gaussian_filter1d(point, sigma, truncate=_TRUNCATE) ** 2).sum())
    return kept * pixel, pixel, count


def tiles(shape: tuple[int, ...], tile: int, margin: int) -> Iterator[tuple[tuple[slice, ...], ...]]:
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


def towards_otsu(values: FloatArray) -> float:
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


def _reliefs(bright: FloatArray, inside: NDArray[np.bool_], diameter: float, tile: int) -> FloatArray:
    relief = np.empty(bright.shape, np.float32)
    reach = diameter / 2
    margin = int(_TRUNCATE * max(COARSE, CAP) * diameter + reach) + 3
    for inner, outer, cut in tiles(bright.shape, tile, margin):
        relief[inner] = _relief(bright[outer], inside[outer], diameter, reach)[cut]
    return relief


def _relief(bright: FloatArray, inside: NDArray[np.bool_], diameter: float, reach: float) -> FloatArray:
    """Signal and distance, each about 1 on top of a nucleus of the usual size, and how the signal bulges."""
    height = _gauss(bright, COARSE * diameter)
    # A distance that is cut at the reach needs no more than a margin of that size to be right.
    away = np.minimum(ndimage.distance_transform_edt(inside), reach).astype(np.float32) / np.float32(reach)
    away = _gauss(away, COARSE / 2 * diameter)
    # A dim nucleus on the flank of a bright one has no peak, but its cap bends down.
    wide = CAP * diameter
    bend = ndimage.gaussian_laplace(bright, wide, truncate=_TRUNCATE, mode="nearest") * np.float32(wide**2)
    return np.asarray(
        np.float32(SIGNAL) * height + np.float32(1 - SIGNAL) * away - np.float32(BULGE) * bend, np.float32
    )


def opened(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """The parts of a mask that hold a disc."""
    core = ndimage.distance_transform_edt(mask) > radius
    if not core.any():
        return core
    return np.asarray(mask & (ndimage.distance_transform_edt(~core) <= radius))


def _finish(
    label: NDArray[np.int32],
    excess: FloatArray,
    smallest: float,
    noise: tuple[float, float, float],
    found: NDArray[np.int32],
    rim: float,
) -> None:
    """Write each nucleus's largest piece above half of its height, without holes, where nothing was found yet.

    What is no higher than noise can be is none. With a rim, pieces that hold no disc of that radius,
    or are longer than such a disc allows, are no nuclei.
    """
    number = int(found.max())
    smoothed, pixel, count = noise
    for value, box in enumerate(ndimage.find_objects(label), 1):
        if box is None:
            continue
        mine = label[box] == value
        top = float(np.quantile(excess[box][mine], 0.9))
        if top < ABOVE_NOISE * smoothed:
            continue
        mine &= excess[box] > HEIGHT * top
        pieces, number_of_pieces = ndimage.label(mine)
        if number_of_pieces > 1:
            mine = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
        mine = ndimage.binary_fill_holes(mine) & (found[box] == 0)
        if rim:
            width = float(ndimage.distance_transform_edt(np.pad(mine, 1)).max())
            mine &= width > rim and mine.sum() <= SLENDER * np.pi * width**2
        area = int(mine.sum())
        # Few counts are skewed: Bernstein's inequality adds a third of the squared factor, in units of one count.
        least = ABOVE_NOISE * pixel * np.sqrt(area) + ABOVE_NOISE**2 / 3 * count
        if area >= smallest and float(excess[box][mine].sum()) > least:
            number += 1
            found[box][mine] = number


def _in_order(label: NDArray[np.int32]) -> NDArray[np.int32]:
    values, first = np.unique(label, return_index=True)
    values, first = values[values > 0], first[values > 0]
    table = np.zeros(int(label.max(initial=0)) + 1, np.int32)
    table[values[np.argsort(first)]] = np.arange(1, len(values) + 1)
    return np.asarray(table[label], np.int32)
