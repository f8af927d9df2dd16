"""What OME-Zarr and OME-TIFF share: units of length, grids that claim no anatomy, channel names.

OME's images are of microscopes: without our own metadata their grid lies on a slide (``space="slide"``) that is in no
known frame, and nothing is said about left or right. A flat image gets one slice. Where its thickness is not stated,
one micrometre stands there and a warning says that areas are right and volumes are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from timelens.errors import GeometryError, MissingFieldError, Problem, UnitError
from timelens.study.axes import Axis
from timelens.study.geometry import Geometry

__all__ = ["MILLIMETRES", "SECONDS", "THICKNESS_MM", "axes_of", "slide", "to_mm"]

#: Thickness of a slice that is not stated, in millimetres.
THICKNESS_MM = 1e-3

#: Millimetres per unit of length, by UDUNITS name (OME-Zarr) and by symbol (OME-XML).
MILLIMETRES = {
    "angstrom": 1e-7, "nanometer": 1e-6, "micrometer": 1e-3, "micron": 1e-3, "millimeter": 1.0, "centimeter": 10.0,
    "decimeter": 100.0, "meter": 1000.0, "inch": 25.4, "foot": 304.8,
    "Å": 1e-7, "nm": 1e-6, "µm": 1e-3, "μm": 1e-3, "um": 1e-3, "mm": 1.0, "cm": 10.0, "dm": 100.0, "m": 1000.0,
    "in": 25.4,
}  # fmt: skip
#: Seconds per unit of time, by UDUNITS name and by symbol.
SECONDS = {
    "microsecond": 1e-6, "millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0,
    "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0,
}  # fmt: skip


def to_mm(value: float, unit: str | None, *, file: object, field: str) -> float:
    """A length in millimetres.

    Raises
    ------
    MissingFieldError
        If it has no unit.
    UnitError
        If the unit is no length that is known.
    """
    if unit is None:
        raise MissingFieldError(
            "The voxel size has no unit",
            file=file,
            field=field,
            found=f"{value:g} of nothing",
            expected="a unit such as micrometer",
            mend="state it with length_unit='um'",
        )
    factor = MILLIMETRES.get(unit)
    if factor is None:
        raise UnitError(
            "Not a unit of length", file=file, field=field, found=unit, expected="micrometer, millimeter ..."
        )
    return value * factor


def slide(
    shape: Sequence[int],
    spacing: Sequence[float | None],
    origin: Sequence[float],
    *,
    file: str | Path,
    field: str,
    problems: list[Problem],
) -> Geometry:
    """A grid on a slide: shape and spacing (z, y, x) in mm, origin (X, Y, Z) in mm; z may be None.

    Raises
    ------
    GeometryError
        If sizes are not positive.
    """
    z, y, x = spacing
    if z is None:
        problems.append(
            Problem("The thickness is not stated: areas are right, volumes are not", str(file), field, "nothing",
                    "a voxel size along z", "write the thickness of the section into the file", "warning")
        )  # fmt: skip
        z = THICKNESS_MM
    sizes = (z, y, x)
    if not all(s is not None and np.isfinite(s) and s > 0 for s in sizes) or not np.isfinite(origin).all():
        raise GeometryError("The voxel sizes are not positive numbers", file=file, field=field, found=sizes)
    try:
        return Geometry.from_spacing(shape, [float(s or 0) for s in sizes], origin=origin, space="slide")
    except GeometryError as error:
        raise error.at(file=file, field=field) from None


def axes_of(names: str, channels: Sequence[str] | None) -> tuple[Axis, ...]:
    """Axes by letter, with the names of channels where every channel has one."""
    kinds: dict[str, Any] = {"t": ("time", "s"), "c": ("channel", "1")}
    made = []
    for name in names:
        kind, unit = kinds.get(name, ("space", "mm"))
        named = tuple(channels) if name == "c" and channels and all(channels) else None
        made.append(Axis(name, kind, unit, named))
    return tuple(made)
