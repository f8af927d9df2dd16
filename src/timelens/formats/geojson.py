"""GeoJSON of cells, as QuPath and other viewers read it: an outline, a class and measurements per cell.

Coordinates are pixels of the image, x to the right and y down, from the outer corner of the first pixel. Outlines run
along the edges of pixels and close; a cell of several pieces is a multipolygon, holes are holes.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from timelens.errors import UsageError
from timelens.formats.atomic import write_file

__all__ = ["outlines", "write"]

Ring = list[tuple[int, int]]
_IDS = uuid.UUID("5b1c2f0e-7a0d-4a3c-9d52-3d4f6a1e8c77")


def outlines(mask: ArrayLike) -> list[list[Ring]]:
    """Polygons of a mask (y, x): for each 4-connected piece its outer ring, then its holes, as corners (x, y).

    >>> outlines([[True, True]])
    [[[(0, 0), (2, 0), (2, 1), (0, 1), (0, 0)]]]
    """
    pieces, count = ndimage.label(np.asarray(mask, bool))
    found = []
    for number in range(1, count + 1):
        rings = _rings(np.pad(pieces == number, 1))
        rings = [[(x - 1, y - 1) for x, y in ring] for ring in rings]
        found.append(sorted(rings, key=lambda r: -abs(_area(r))))
    return found


def _rings(piece: NDArray[np.bool_]) -> list[Ring]:
    """Rings along pixel edges with the piece to the right of the way (y runs down): outer ones clockwise to the eye."""
    after: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y, x in zip(*np.nonzero(piece), strict=True):
        y, x = int(y), int(x)
        for outside, start, end in (
            (not piece[y - 1, x], (x, y), (x + 1, y)),
            (not piece[y, x + 1], (x + 1, y), (x + 1, y + 1)),
            (not piece[y + 1, x], (x + 1, y + 1), (x, y + 1)),
            (not piece[y, x - 1], (x, y + 1), (x, y)),
        ):
            if outside:
                after.setdefault(start, []).append(end)
    rings = []
    while after:
        start = min(after)
        ring, here, way = [start], start, (0, 0)
        while True:
            ends = after[here]
            # Where two corners of the piece meet at a point, the sharpest turn to the right keeps a ring simple.
            turn = max(ends, key=lambda e: (way[0] * (e[1] - here[1]) - way[1] * (e[0] - here[0]), e))
            ends.remove(turn)
            if not ends:
                del after[here]
            step = (turn[0] - here[0], turn[1] - here[1])
            if step == way:
                ring.pop()
            ring.append(turn)
            here, way = turn, step
            if here == start:
                break
        if len(ring) > 3 and (ring[1][0] - ring[0][0]) * way[1] == (ring[1][1] - ring[0][1]) * way[0]:
            ring = [*ring[1:-1], ring[1]]
        rings.append(ring)
    return rings


def _area(ring: Ring) -> float:
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)) / 2


def write(
    labels: ArrayLike,
    path: str | Path,
    *,
    classes: Mapping[int, str],
    colours: Mapping[str, str] | None = None,
    measurements: Mapping[int, Mapping[str, float]] | None = None,
    name: str = "",
) -> Path:
    """Write cells as a collection of features, one per label that has a class.

    Parameters
    ----------
    labels
        Whole numbers (y, x), 0 outside of cells.
    path
        Ends in ``.geojson``.
    classes
        Label to the name of its class.
    colours
        Class to ``#rrggbb``.
    measurements
        Label to numbers by name; NaN is left out, since JSON has none.
    name
        Of the image: identifiers of cells are made of it and of their labels.

    Raises
    ------
    UsageError
        If labels are not whole numbers in a plane, or a class belongs to no label.
    """
    marks = np.asarray(labels)
    if marks.ndim != 2 or marks.dtype.kind not in "iu":
        raise UsageError("Labels are whole numbers (y, x)", field="labels", found=f"{marks.dtype} {marks.shape}")
    boxes = ndimage.find_objects(marks)
    features = []
    for label, kind in classes.items():
        box = boxes[label - 1] if 0 < label <= len(boxes) else None
        if box is None:
            raise UsageError(
                "A class belongs to no label", field="classes", found=label, expected="a label of the mask"
            )
        corner = (box[1].start, box[0].start)
        polygons = [
            [[[x + corner[0], y + corner[1]] for x, y in ring] for ring in rings]
            for rings in outlines(marks[box] == label)
        ]
        features.append(_feature(name, label, kind, polygons, colours or {}, (measurements or {}).get(label, {})))
    document = {"type": "FeatureCollection", "features": features}
    return write_file(json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n", path)


def _feature(
    image: str,
    label: int,
    kind: str,
    polygons: Sequence[Any],
    colours: Mapping[str, str],
    measurements: Mapping[str, float],
) -> dict[str, Any]:
    single = len(polygons) == 1
    classification: dict[str, Any] = {"name": kind}
    if kind in colours:
        classification["color"] = [int(colours[kind][k : k + 2], 16) for k in (1, 3, 5)]
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_IDS, f"{image}:{label}")),
        "geometry": {
            "type": "Polygon" if single else "MultiPolygon",
            "coordinates": polygons[0] if single else polygons,
        },
        "properties": {
            "objectType": "detection",
            "name": str(label),
            "classification": classification,
            "measurements": {k: float(v) for k, v in measurements.items() if math.isfinite(v)},
        },
    }
