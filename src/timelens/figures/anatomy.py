"""How a volume is turned for display, and which letters stand at the edges.

A turned volume has axes head to feet, anterior to posterior, right to left (of the patient), so that axial, coronal and
sagittal cuts come out as radiologists hang them: the patient's right on the left of the picture, anterior up in axial
and left in sagittal cuts, head up. Oblique grids take the nearest axes; edges that lie between two directions bear two
letters, as in DICOM.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.study.geometry import Geometry

__all__ = ["PLANES", "Display"]

#: Plane to its axes in the turned volume: (rows, columns, the axis it cuts).
PLANES: dict[str, tuple[int, int, int]] = {"Axial": (1, 2, 0), "Coronal": (0, 2, 1), "Sagittal": (0, 1, 2)}

_TOWARDS = ("R", "A", "H")
_AWAY = ("L", "P", "F")
# A second letter from this direction cosine on (about 17 degrees).
_SECOND_LETTER = 0.3


@dataclass(frozen=True, eq=False)
class Display:
    """The turn from array axes (z, y, x) to display axes.

    Attributes
    ----------
    order
        Array axis of each display axis.
    flips
        Whether a display axis runs against its array axis.
    geometry
        Geometry of the turned volume.
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    geometry: Geometry

    @classmethod
    def of(cls, geometry: Geometry) -> Display:
        """The turn for a geometry; a slide is not turned."""
        if geometry.space == "slide":
            return cls((0, 1, 2), (False, False, False), geometry)
        cosines = geometry.affine[:3, :3] / np.linalg.norm(geometry.affine[:3, :3], axis=0)
        rows = (2, 1, 0)  # head, anterior, right
        order = max(permutations(range(3)), key=lambda p: sum(abs(cosines[r, a]) for r, a in zip(rows, p, strict=True)))
        flips = tuple(bool(cosines[r, a] > 0) for r, a in zip(rows, order, strict=True))
        affine = geometry.affine.copy()
        affine[:3, :3] = geometry.affine[:3, list(order)]
        z, y, x = (geometry.shape[a] for a in order)
        turned = Geometry((z, y, x), affine, geometry.frame, geometry.space).crop([_cut(f) for f in flips])
        return cls((order[0], order[1], order[2]), (flips[0], flips[1], flips[2]), turned)

    def turn(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array (z, y, x) in display order; a view."""
        return array.transpose(self.order)[tuple(_cut(f) for f in self.flips)]

    def turn_index(self, index: NDArray[np.intp]) -> NDArray[np.intp]:
        """Indices (n, 3) of the array as indices of the turned array."""
        turned = index[:, list(self.order)].copy()
        for axis, flip in enumerate(self.flips):
            if flip:
                turned[:, axis] = self.geometry.shape[axis] - 1 - turned[:, axis]
        return turned

    def letters(self, axis: int) -> tuple[str, str]:
        """What stands at the first and the last index of a display axis; empty on a slide."""
        if self.geometry.space == "slide":
            return "", ""
        direction = self.geometry.affine[:3, axis] / np.linalg.norm(self.geometry.affine[:3, axis])
        return _letters(-direction), _letters(direction)


def _cut(flip: bool) -> slice:
    return slice(None, None, -1) if flip else slice(None)


def _letters(direction: NDArray[np.float64]) -> str:
    found = sorted(
        ((abs(c), (_TOWARDS if c > 0 else _AWAY)[i]) for i, c in enumerate(direction)), key=lambda item: -item[0]
    )
    return found[0][1] + "".join(letter for size, letter in found[1:] if size >= _SECOND_LETTER)
