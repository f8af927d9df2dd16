"""The outline of a mask along the edges of its pixels: the inverse of rasterising by pixel centres."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["pixel_outlines"]


def pixel_outlines(mask: ArrayLike) -> list[NDArray[np.float64]]:
    """Closed polygons along pixel edges, corners only, as columns (x, y); pixel centres lie at whole numbers.

    Outer outlines and holes are polygons alike; together, by the even-odd rule at pixel centres, they give back exactly
    the mask. Pixels that touch at a corner only belong to different polygons.

    Parameters
    ----------
    mask
        Shape (y, x).

    Returns
    -------
    list of ndarray, shape (corners, 2)
        Not closed by a repeated point. Empty for an empty mask.

    Examples
    --------
    >>> pixel_outlines([[1, 1]])[0].tolist()
    [[-0.5, -0.5], [1.5, -0.5], [1.5, 0.5], [-0.5, 0.5]]
    """
    inside = np.pad(np.asarray(mask, dtype=bool), 1)
    following = _edges(inside)
    outlines = []
    while following:
        start = next(iter(following))
        outlines.append(_walk(following, start))
    return outlines


_Corner = tuple[int, int]


def _edges(inside: NDArray[np.bool_]) -> dict[tuple[_Corner, _Corner], None]:
    """Directed edges (from corner, step), the inside on the right hand when y points down; corners as (y, x)."""
    edges: dict[tuple[_Corner, _Corner], None] = {}
    for step, offset, before in (
        ((0, 1), (0, 0), (-1, 0)),  # along the upper edge of a pixel whose upper neighbour is outside
        ((1, 0), (0, 1), (0, 1)),
        ((0, -1), (1, 1), (1, 0)),
        ((-1, 0), (1, 0), (0, -1)),
    ):
        open_side = inside & ~np.roll(inside, (-before[0], -before[1]), axis=(0, 1))
        for y, x in np.argwhere(open_side):
            edges[((int(y) + offset[0], int(x) + offset[1]), step)] = None
    return dict.fromkeys(sorted(edges))


def _walk(edges: dict[tuple[_Corner, _Corner], None], start: tuple[_Corner, _Corner]) -> NDArray[np.float64]:
    corners: list[_Corner] = []
    corner, step = start
    last: _Corner | None = None
    while (corner, step) in edges:
        del edges[(corner, step)]
        if step != last:
            corners.append(corner)
        last = step
        corner = (corner[0] + step[0], corner[1] + step[1])
        # Where four edges meet, the turn towards the inside keeps pixels that touch at a corner apart.
        right, left = (step[1], -step[0]), (-step[1], step[0])
        step = next((turn for turn in (right, step, left) if (corner, turn) in edges), step)
    if len(corners) > 1 and start[1] == last:  # the start lay within a straight edge
        corners.pop(0)
    # Corner (y, x) of the padded mask is the upper left corner of pixel (y - 1, x - 1).
    return np.array([(x - 1.5, y - 1.5) for y, x in corners], dtype=float)
