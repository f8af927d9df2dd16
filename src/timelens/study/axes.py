"""Axes: what each dimension of an array stands for.

Default order ``t c z y x``. Space axes get their millimetres from a :class:`~timelens.study.geometry.Geometry`; every
other axis carries its own coordinates and unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from timelens import units
from timelens.errors import DataError, UsageError

__all__ = ["SPACE", "Axis", "AxisKind", "default_names"]

AxisKind = Literal[
    "space", "time", "channel", "wavelength", "energy", "echo", "flip", "b-value", "view", "detector", "sample", "other"
]
SPACE = ("z", "y", "x")


@dataclass(frozen=True, eq=False)
class Axis:
    """One dimension of an array.

    Parameters
    ----------
    name
        Short and unique in its image: ``t``, ``c``, ``z``, ``y``, ``x``, ``echo`` ...
    kind
        What it is.
    unit
        UCUM code of the coordinates; ``1`` for names and counts.
    coordinates
        One number, or one name (of a channel), per position; None where positions only count.
    """

    name: str
    kind: AxisKind
    unit: str = "1"
    coordinates: NDArray[np.float64] | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(AxisKind):
            raise UsageError(
                f"Unknown kind of axis {self.kind!r}", field=self.name, found=self.kind, expected=get_args(AxisKind)
            )
        units.parse(self.unit)

    def check(self, length: int) -> None:
        """Refuse an axis whose coordinates do not fit the array.

        Raises
        ------
        DataError
            If there are more or fewer coordinates than positions.
        """
        if self.coordinates is not None and len(self.coordinates) != length:
            raise DataError(
                f"Axis {self.name!r} has {len(self.coordinates)} coordinates for {length} positions",
                field=self.name,
                found=len(self.coordinates),
                expected=length,
            )

    def agrees_with(self, other: Axis) -> bool:
        """Whether both stand for the same positions, as far as they say."""
        if self.kind != other.kind or self.unit != other.unit:
            return False
        mine, theirs = self.coordinates, other.coordinates
        if mine is None or theirs is None:
            return True
        if isinstance(mine, tuple) or isinstance(theirs, tuple):
            return tuple(mine) == tuple(theirs)
        return len(mine) == len(theirs) and bool(np.allclose(mine, theirs, rtol=1e-6, atol=0))

    def take(self, index: slice) -> Axis:
        """The axis of a part of the array."""
        if self.coordinates is None:
            return self
        return Axis(self.name, self.kind, self.unit, self.coordinates[index])


_KINDS: dict[str, tuple[AxisKind, str]] = {
    "t": ("time", "s"),
    "c": ("channel", "1"),
    "z": ("space", "mm"),
    "y": ("space", "mm"),
    "x": ("space", "mm"),
}


def default_names(dimensions: int) -> tuple[Axis, ...]:
    """The usual axes of an array of two to five dimensions: ``y x``, ``z y x``, ``t z y x``, ``t c z y x``."""
    names = {2: "yx", 3: "zyx", 4: "tzyx", 5: "tczyx"}.get(dimensions)
    if names is None:
        raise UsageError(
            f"An array of {dimensions} dimensions has no usual axes", expected="2 to 5", mend="name the axes"
        )
    return tuple(Axis(n, *_KINDS[n]) for n in names)
