"""Digital patients: bodies of smooth shapes with known uptake and attenuation, as a PET/CT scanner would see them.

Conventions
-----------
- Millimetres (X, Y, Z) in RAS+: the patient's left is at negative X, the front at positive Y. Z = 0 lies in the upper
  thighs, the vertex near 805 mm.
- Shapes are painted one over the other in their order; lesions come last. Uptake is SUV by body weight with 1 g/mL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from timelens.errors import UsageError
from timelens.study.region import Role

__all__ = ["DigitalPatient", "Point", "Shape", "lesion", "standard_organs"]

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Shape:
    """An ellipsoid, or an elliptic cylinder along Z, with one uptake and one attenuation.

    Attributes
    ----------
    name
        What it is.
    centre
        (X, Y, Z) in mm.
    semi_axes
        Along X, Y and Z in mm; of a cylinder the last is half its height.
    suv
        Uptake in g/mL.
    hu
        Attenuation in Hounsfield units.
    role
        Role as a region, or None for mere background.
    cylinder
        Whether it is a cylinder.
    """

    name: str
    centre: Point
    semi_axes: Point
    suv: float
    hu: float = 40.0
    role: Role | None = None
    cylinder: bool = False

    def __post_init__(self) -> None:
        if not all(np.isfinite(a) and a > 0 for a in self.semi_axes):
            raise UsageError(f"{self.name} has no extent", field="semi_axes", found=self.semi_axes, expected="mm > 0")

    @property
    def volume_ml(self) -> float:
        """Its volume, whatever is painted over it."""
        return float(np.pi * np.prod(self.semi_axes) * (2 if self.cylinder else 4 / 3) / 1e3)

    def grown(self, margin_mm: float) -> Shape:
        """The same shape with longer semi-axes (shorter for a negative margin)."""
        x, y, z = (a + margin_mm for a in self.semi_axes)
        return replace(self, semi_axes=(x, y, z))

    def moved(self, offset: Point) -> Shape:
        """The same shape elsewhere."""
        return replace(self, centre=_point(np.add(self.centre, offset)))

    def half_chord(self, y: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half the length in mm of the line along X at (y, z) that lies inside; 0 where none does."""
        v = ((y - self.centre[1]) / self.semi_axes[1]) ** 2
        w = ((z - self.centre[2]) / self.semi_axes[2]) ** 2
        rest = np.where(w <= 1, 1 - v, 0.0) if self.cylinder else 1 - v - w
        return np.asarray(self.semi_axes[0] * np.sqrt(np.maximum(rest, 0.0)))

    def contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether points (..., 3) in mm lie inside."""
        square = ((points - np.array(self.centre)) / np.array(self.semi_axes)) ** 2
        if self.cylinder:
            return np.asarray((square[..., 0] + square[..., 1] <= 1) & (square[..., 2] <= 1))
        return np.asarray(square.sum(axis=-1) <= 1)


def lesion(name: str, centre: Point, diameter_mm: float, suv: float, *, hu: float = 45.0) -> Shape:
    """A spherical lesion."""
    return Shape(name, centre, (diameter_mm / 2,) * 3, suv, hu, "lesion")


@dataclass(frozen=True)
class DigitalPatient:
    """A body, its lesions and what is known about the person.

    Attributes
    ----------
    organs
        In the order of painting.
    lesions
        Painted over the organs.
    weight_g, height_mm, sex, age_years
        As the scanner's console would know them.
    """

    organs: tuple[Shape, ...]
    lesions: tuple[Shape, ...] = ()
    weight_g: float = 64e3
    height_mm: float = 1650.0
    sex: str = "F"
    age_years: float = 54.0

    def suv_at(self, points: NDArray[np.float64], *, without: str = "") -> NDArray[np.float64]:
        """True uptake at points (..., 3) in mm, as if the lesion of the name ``without`` were not there."""
        result = np.zeros(points.shape[:-1])
        for shape in (*self.organs, *(s for s in self.lesions if s.name != without)):
            result[shape.contains(points)] = shape.suv
        return result

    def moved(self, offset: Point) -> DigitalPatient:
        """The same patient lying elsewhere."""
        organs, lesions = (tuple(s.moved(offset) for s in shapes) for shapes in (self.organs, self.lesions))
        return replace(self, organs=organs, lesions=lesions)

    def organ(self, name: str) -> Shape:
        """The organ of that name.

        Raises
        ------
        UsageError
            If there is none.
        """
        for shape in self.organs:
            if shape.name == name:
                return shape
        raise UsageError(
            "There is no such organ", field="name", found=name, expected=", ".join(o.name for o in self.organs)
        )


def standard_organs(*, width: float = 1.0, suv: Mapping[str, float] | None = None) -> tuple[Shape, ...]:
    """A trunk with head after FDG: brain, heart and urinary tract bright, liver 2.2, blood 1.6.

    Parameters
    ----------
    width
        Scales everything across the body (X and Y).
    suv
        Other uptake by the name of an organ.
    """
    organs = (
        Shape("thigh right", (82, -5, 20), (74, 82, 70), 0.6, cylinder=True),
        Shape("thigh left", (-82, -5, 20), (74, 82, 70), 0.6, cylinder=True),
        Shape("pelvis", (0, 0, 95), (172, 108, 95), 0.6),
        Shape("trunk", (0, 0, 305), (160, 106, 215), 0.6, cylinder=True),
        Shape("shoulders", (0, -8, 520), (178, 98, 105), 0.6),
        Shape("neck", (0, -8, 620), (56, 58, 60), 0.6, cylinder=True),
        Shape("head", (0, 0, 705), (76, 96, 102), 0.6),
        Shape("skull", (0, -2, 718), (70, 88, 82), 0.8, 700.0),
        Shape("brain", (0, -2, 718), (63, 80, 74), 7.0, 35.0, "exclude"),
        Shape("lung right", (80, -2, 455), (56, 78, 120), 0.4, -800.0),
        Shape("lung left", (-80, -2, 455), (56, 78, 120), 0.4, -800.0),
        Shape("liver", (62, 8, 300), (84, 76, 78), 2.2, 55.0, "organ"),
        Shape("spleen", (-98, -38, 318), (34, 42, 52), 1.8, 50.0),
        Shape("stomach", (-58, 44, 300), (44, 34, 42), 1.6, 30.0),
        Shape("bowel", (0, 36, 175), (98, 48, 62), 1.2, 30.0),
        Shape("spine", (0, -72, 330), (20, 20, 290), 1.4, 250.0, cylinder=True),
        Shape("hip bone right", (98, -20, 105), (28, 44, 58), 1.2, 350.0),
        Shape("hip bone left", (-98, -20, 105), (28, 44, 58), 1.2, 350.0),
        Shape("myocardium", (-30, 26, 415), (44, 38, 46), 4.8, 45.0, "exclude"),
        Shape("heart chambers", (-28, 26, 418), (32, 26, 33), 1.6, 45.0),
        Shape("aorta", (-20, -36, 425), (13, 13, 130), 1.6, 45.0, "organ", cylinder=True),
        Shape("kidney right", (60, -54, 235), (26, 24, 54), 5.0, 35.0, "exclude"),
        Shape("kidney left", (-62, -54, 240), (26, 24, 54), 5.0, 35.0, "exclude"),
        Shape("bladder", (0, 38, 62), (44, 36, 34), 18.0, 10.0, "exclude"),
    )
    known = {organ.name for organ in organs}
    if unknown := set(suv or {}) - known:
        raise UsageError("There is no such organ", field="suv", found=sorted(unknown), expected=sorted(known))
    wide = np.array([width, width, 1.0])
    return tuple(
        replace(
            organ,
            centre=_point(wide * organ.centre),
            semi_axes=_point(wide * organ.semi_axes),
            suv=(suv or {}).get(organ.name, organ.suv),
        )
        for organ in organs
    )


def _point(values: NDArray[np.float64]) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
