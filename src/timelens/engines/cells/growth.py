"""From nuclei to cells: labels grow into what is around them, by distance alone or to the membrane."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from timelens.engines.cells.segment import tiles
from timelens.errors import UsageError

__all__ = ["expand", "grow_to_membrane"]

#: How much longer a way of one pixel counts on the strongest membrane.
WALL = 20.0
#: Bright membrane: this quantile of the smoothed signal about the nuclei counts as the strongest.
_STRONGEST = 0.99


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


def grow_to_membrane(
    labels: ArrayLike,
    membrane: ArrayLike,
    reach: float,
    *,
    sigma: float = 1.0,
    longest: float = np.inf,
    tile: int = 1024,
) -> NDArray[np.int32]:
    """Let nuclei grow to the ridges of a membrane signal, but no further than a distance.

    Each pixel within the reach goes to the nucleus to which the way is shortest, where a pixel of the strongest
    membrane counts :data:`WALL` times more than one without; of equally short ways that to the lower number wins. A way
    cannot be longer than the straight one would be on the strongest membrane, so that no pixel depends on what lies
    further away, and tiles do not show.

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
    longest
        Longest way, counted with the membrane: what lies behind a membrane that makes it longer stays free.
    tile
        Side of the tiles in pixels. The result does not depend on it.
    """
    marks, wall = _checked(labels), np.nan_to_num(np.asarray(membrane, np.float32), posinf=0.0, neginf=0.0)
    if wall.shape != marks.shape:
        raise UsageError("Membrane and labels differ in size", field="membrane", found=wall.shape, expected=marks.shape)
    if not (np.isfinite(sigma) and sigma >= 0 and longest > 0 and tile >= 16):
        raise UsageError("Options make no sense", field="sigma, longest, tile",
                         found=(sigma, longest, tile), expected="widths of 0 or more, tiles of 16 or more")  # fmt: skip
    allowed = expand(marks, reach) > 0
    wall = np.maximum(ndimage.gaussian_filter(wall, sigma, mode="nearest"), 0)
    strongest = float(np.quantile(wall[allowed], _STRONGEST)) if allowed.any() else 0.0
    cost = 1 + WALL * np.minimum(wall / strongest, 1) if strongest > 0 else np.ones_like(wall)
    result = np.empty_like(marks)
    # The straight way over a lattice of eight neighbours is at most 8.3 % longer than the distance.
    margin = int((1.09 * reach + 2) * (1 + WALL)) + 1
    for inner, outer, cut in tiles(marks.shape, tile, margin):
        result[inner] = _shortest(marks[outer], cost[outer].astype(np.float64), allowed[outer], longest)[cut]
    return result


@njit(cache=True, nogil=True)
def _shortest(marks, cost, allowed, longest):  # type: ignore[no-untyped-def]
    """Label of the nearest mark by the sum of costs, by rounds over a list of pixels that became nearer."""
    height, width = marks.shape
    away = np.where(marks > 0, 0.0, np.inf)
    label = marks.copy()
    queue = np.empty((height * width, 2), np.int32)
    waiting = np.zeros((height, width), np.bool_)
    count = 0
    for y in range(height):
        for x in range(width):
            if marks[y, x]:
                queue[count, 0], queue[count, 1] = y, x
                waiting[y, x] = True
                count += 1
    first = 0
    while count:
        y, x = queue[first]
        first = (first + 1) % len(queue)
        count -= 1
        waiting[y, x] = False
        for v in range(max(y - 1, 0), min(y + 2, height)):
            for u in range(max(x - 1, 0), min(x + 2, width)):
                if not allowed[v, u] or marks[v, u] or (v == y and u == x):
                    continue
                step = 1.0 if v == y or u == x else np.sqrt(2.0)
                far = away[y, x] + step * (cost[y, x] + cost[v, u]) / 2
                if far > longest:
                    continue
                if far < away[v, u] or (far == away[v, u] and label[y, x] < label[v, u]):
                    away[v, u], label[v, u] = far, label[y, x]
                    if not waiting[v, u]:
                        last = (first + count) % len(queue)
                        queue[last, 0], queue[last, 1] = v, u
                        waiting[v, u] = True
                        count += 1
    return label


def _checked(labels: ArrayLike) -> NDArray[np.int32]:
    marks = np.asarray(labels)
    if marks.ndim != 2 or marks.dtype.kind not in "iub" or marks.min(initial=0) < 0:
        raise UsageError("Labels are whole numbers (y, x)", field="labels", found=f"{marks.dtype} {marks.shape}")
    return np.ascontiguousarray(marks, np.int32)
