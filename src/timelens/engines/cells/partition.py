"""Which parts of a relief are one nucleus: the best set of regions out of a tree of joined basins.

Every pixel climbs to a peak, and the pixels of one peak are a basin. Basins are joined pair by pair, those parted by
the shallowest saddle first, until all that touch are one: each region on the way, from a single basin to the whole
clump, could be a nucleus. The regions form a tree, and from each of its branches either a region or the best of what
it was joined from is taken, whichever is worth more. A region is worth its area times how far it looks like one
nucleus: the overlap with the ellipse of the same area and second moments, less a price for an unusual size, above a
least overlap. Choosing disjoint regions from a tree by dynamic programming is the idea of Arteta, Lempitsky, Noble and
Zisserman (2012), doi:10.1007/978-3-642-33415-3_43, who learn the worth of a region from examples; here it is stated.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["HEIGHT", "partition"]

FloatArray = NDArray[np.float32]

#: Part of a nucleus's own height above the background that its pixels reach. Half marks the border of a blurred disc.
HEIGHT = 0.5
#: Least overlap (intersection over union) with its own ellipse. This and what follows was picked on simulated nuclei.
LEAST_OVERLAP = 0.7
#: Price, in overlap, of a size: times the square of the logarithm of area over usual area.
SIZE_PRICE = 0.05
#: A joined region is preferred to its parts if it is worth this much less.
PREFER_JOINED = 0.1
#: Smallest and largest nucleus in areas of a disc of the usual diameter.
SMALLEST, LARGEST = 0.1, 4.0


def partition(
    relief: FloatArray, excess: FloatArray, inside: NDArray[np.bool_], diameter: float, saddle: float
) -> NDArray[np.int32]:
    """Label the regions of a foreground that are most like nuclei.

    Parameters
    ----------
    relief
        What is climbed, shape (y, x).
    excess
        Signal above the background; a region is judged by its pixels above :data:`HEIGHT` of its own height.
    inside
        The foreground. Its parts that are like no nucleus are 0 in the result.
    diameter
        Usual diameter in pixels.
    saddle
        Basins whose lower peak rises less than this above the pass between them are one from the start.
    """
    label = _climb(relief, inside)
    count = int(label.max(initial=0))
    if not count:
        return label
    peak = np.full(count, -np.inf, np.float32)
    within = label > 0
    np.maximum.at(peak, label[within] - 1, relief[within])
    low, high, height = _passes(label, relief)
    order = np.lexsort((high, low, -height))
    # Edges of the tree that joins all, each with the saddle that it closes; basins parted by too little are one first.
    one, other, depth = _spanning(low[order] - 1, high[order] - 1, height[order], peak)
    order = np.argsort(depth, kind="stable")
    children = _tree(one[order], other[order], count)
    shallow = int(np.searchsorted(depth[order], saddle))
    place = np.flatnonzero(within)
    place = place[np.argsort(label.ravel()[place], kind="stable")]
    start = np.searchsorted(label.ravel()[place], np.arange(1, count + 2))
    y, x = np.divmod(place, relief.shape[1])
    disc = np.pi * diameter**2 / 4
    chosen = _choose(children, count, shallow, start, y, x, excess.ravel()[place], disc)
    return np.asarray(np.concatenate([np.zeros(1, np.int32), chosen])[label], np.int32)


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
def _root(parent, k):  # type: ignore[no-untyped-def]
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k


@njit(cache=True, nogil=True)
def _spanning(low, high, height, peak):  # type: ignore[no-untyped-def]
    """From the highest pass down: which passes join what was apart, and how deep below the lower peak they lie."""
    parent, top = np.arange(len(peak)), peak.copy()
    one, other, depth = np.empty(len(peak), np.int64), np.empty(len(peak), np.int64), np.empty(len(peak), np.float32)
    count = 0
    for k in range(len(low)):
        a, b = _root(parent, low[k]), _root(parent, high[k])
        if a == b:
            continue
        if top[a] < top[b] or (top[a] == top[b] and b < a):
            a, b = b, a
        one[count], other[count], depth[count] = low[k], high[k], top[b] - height[k]
        count += 1
        parent[b] = a
    return one[:count], other[:count], depth[:count]


@njit(cache=True, nogil=True)
def _tree(one, other, count):  # type: ignore[no-untyped-def]
    """The two regions that each join is made of; basins come first, then joins in their order."""
    parent = np.arange(count + len(one))
    children = np.full((count + len(one), 2), -1)
    for k in range(len(one)):
        a, b = _root(parent, one[k]), _root(parent, other[k])
        parent[a] = parent[b] = count + k
        children[count + k, 0], children[count + k, 1] = a, b
    return children


@njit(cache=True, nogil=True)
def _choose(children, count, shallow, start, y, x, excess, disc):  # type: ignore[no-untyped-def]
    """For each basin the number of the chosen region that it is in, 0 if in none."""
    nodes = len(children)
    above = np.full(nodes, -1)
    area = np.zeros(nodes, np.int64)
    area[:count] = start[1:] - start[:-1]
    for k in range(count, nodes):
        a, b = children[k]
        above[a] = above[b] = k
        area[k] = area[a] + area[b]
    # Pixels in an order in which each region is one stretch.
    first, total = np.zeros(nodes, np.int64), 0
    for k in range(nodes - 1, -1, -1):
        if above[k] < 0:
            first[k], total = total, total + area[k]
        if k >= count:
            a, b = children[k]
            first[a], first[b] = first[k], first[k] + area[a]
    pixels = np.empty(total, np.int64)
    for k in range(count):
        pixels[first[k] : first[k] + area[k]] = np.arange(start[k], start[k + 1])
    worth, taken = np.zeros(nodes), np.zeros(nodes, np.bool_)
    for k in range(nodes):
        parts = 0.0 if k < count else worth[children[k, 0]] + worth[children[k, 1]]
        own = 0.0
        if SMALLEST * disc <= area[k] <= 2 * LARGEST * disc:
            own = _worth(pixels[first[k] : first[k] + area[k]], y, x, excess, disc)
            if k >= count:
                own *= 1 + PREFER_JOINED
        # A join over too shallow a saddle stands for its parts, whatever they are worth.
        take = own > 0 and (own > parts or k < count + shallow)
        taken[k] = take
        worth[k] = own if take or k < count + shallow else parts
    result, number = np.zeros(nodes, np.int32), 0
    for k in range(nodes - 1, -1, -1):
        over = above[k]
        if over >= 0 and (result[over] or over < count + shallow):
            result[k] = result[over]
        elif taken[k]:
            number += 1
            result[k] = number
    return result[:count]


@njit(cache=True, nogil=True)
def _worth(pixels, y, x, excess, disc):  # type: ignore[no-untyped-def]
    values = np.sort(excess[pixels])
    cut = HEIGHT * values[int(0.9 * (len(values) - 1))]
    n, sy, sx, syy, sxx, syx = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    y0, x0 = y[pixels[0]], x[pixels[0]]
    for p in pixels:
        if excess[p] > cut:
            v, u = y[p] - y0, x[p] - x0
            n += 1
            sy, sx, syy, sxx, syx = sy + v, sx + u, syy + v * v, sxx + u * u, syx + v * u
    if not SMALLEST * disc <= n <= LARGEST * disc:
        return 0.0
    sy, sx = sy / n, sx / n
    # A pixel is a square, whose own second moment is a twelfth.
    syy, sxx, syx = syy / n - sy * sy + 1 / 12, sxx / n - sx * sx + 1 / 12, syx / n - sy * sx
    size = syy * sxx - syx * syx
    limit = n / (np.pi * np.sqrt(size))
    common = 0.0
    for p in pixels:
        if excess[p] > cut:
            v, u = y[p] - y0 - sy, x[p] - x0 - sx
            if (sxx * v * v - 2 * syx * v * u + syy * u * u) / size <= limit:
                common += 1
    return n * (common / (2 * n - common) - SIZE_PRICE * np.log(n / disc) ** 2 - LEAST_OVERLAP)
