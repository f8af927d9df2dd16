"""The host's body as smooth shapes: mouse and human, with tumours and metastases placed in it, and labels of organs.

Conventions
-----------
- Millimetres (X, Y, Z) in RAS+: the subject's right is at positive X, its front (belly) at positive Y, its head at
  positive Z. The human reaches from the upper thighs to the vertex, the mouse from the tail's root to the nose.
- Organs have the volumes of the reference host (:func:`timelens.tumor.host.reference_host`); a shape painted later
  takes what it covers. What is not painted as an organ is background, with the mean of all organs that have no shape.
- Each shape belongs to a region of :class:`timelens.tumor.agents.HostCurves`; several joined by ``+`` are one mixture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from timelens.errors import DataError, GeometryError, UsageError
from timelens.study.geometry import Geometry
from timelens.study.region import Region
from timelens.tumor.digital_patient import DigitalPatient, Point, Shape, standard_organs
from timelens.tumor.host.reference import Host
from timelens.tumor.paint import label_region

__all__ = ["Part", "Phantom", "body_phantom"]

#: Organs without a shape of their own make up the background, with the vessels that run through it.
_BACKGROUND = "muscle+skin+adipose+rest+pancreas+thyroid+salivary glands+adrenal+lymph nodes+blood"
_BONES = "bone+bone marrow"


@dataclass(frozen=True)
class Part:
    """A shape and the region of the host that it shows."""

    shape: Shape
    region: str


@dataclass(frozen=True)
class Phantom:
    """A host's body in shapes.

    Attributes
    ----------
    host
        In numbers.
    parts
        In the order of painting; the first ones are the body's outline.
    tumours
        Painted last.
    """

    host: Host
    parts: tuple[Part, ...]
    tumours: tuple[Shape, ...] = ()

    @property
    def patient(self) -> DigitalPatient:
        """The body as the painters take it (:func:`timelens.tumor.paint.suv_image`)."""
        human = self.host.species == "human"
        return DigitalPatient(
            tuple(part.shape for part in self.parts),
            self.tumours,
            weight_g=self.host.weight_g,
            height_mm=1760.0 if human else 95.0,
            sex="M" if human else "F",
            age_years=40.0 if human else 0.2,
        )

    @property
    def regions(self) -> Mapping[str, str]:
        """Shape to region, as :func:`timelens.tumor.scene.curves_of` takes it."""
        return {part.shape.name: part.region for part in self.parts}

    def shape(self, name: str) -> Shape:
        """The organ's shape or tumour of that name."""
        for each in (*(part.shape for part in self.parts), *self.tumours):
            if each.name == name:
                return each
        names = [part.shape.name for part in self.parts]
        raise UsageError("There is no such shape", field="name", found=name, expected=", ".join(names))

    def with_tumour(
        self,
        name: str,
        diameter_mm: float | Point,
        *,
        inside: str | None = None,
        at: Point = (0.0, 0.0, 0.0),
        suv: float = 0.0,
        hu: float = 45.0,
    ) -> Phantom:
        """The same body with one more tumour or metastasis.

        Parameters
        ----------
        name
            Its name, new in this body.
        diameter_mm
            Of a sphere, or along X, Y and Z.
        inside
            A shape (``liver``, ``lung right``): ``at`` then counts from its centre.
        at
            Its centre in mm, in the body or from the centre of ``inside``.
        suv, hu
            Uptake and attenuation of the shape.

        Raises
        ------
        UsageError
            If the name is taken or ``inside`` is unknown.
        DataError
            If its centre lies outside the body, or more than its own size outside the shape it is placed in, or in
            another tumour.
        """
        if name in {part.shape.name for part in self.parts} | {each.name for each in self.tumours}:
            raise UsageError("This name is taken", field="name", found=name)
        sizes = (diameter_mm,) * 3 if isinstance(diameter_mm, int | float) else diameter_mm
        home = self.shape(inside) if inside is not None else None
        centre = np.asarray(at, float) + (np.asarray(home.centre) if home is not None else 0.0)
        half = (float(sizes[0]) / 2, float(sizes[1]) / 2, float(sizes[2]) / 2)
        tumour = Shape(name, _point(centre), half, suv, hu, "lesion")
        if home is not None and not home.grown(max(half)).contains(centre):
            raise DataError(f"{name} does not touch {inside}", field="at", found=list(at))
        if not any(part.shape.contains(centre) for part in self.parts):
            raise DataError(f"{name} lies outside the body", field="at", found=centre.tolist())
        for other in self.tumours:
            if other.grown(min(half)).contains(centre):
                raise DataError(f"{name} and {other.name} overlap", field="at", found=centre.tolist())
        return replace(self, tumours=(*self.tumours, tumour))

    def labels(self, geometry: Geometry) -> Region:
        """Every shape as voxel labels, numbered from 1 in the order of painting: outline, organs, tumours.

        Raises
        ------
        GeometryError
            If the grid misses the body.
        """
        shapes = {each.name: each for each in (*(part.shape for part in self.parts), *self.tumours)}
        roles = {name: each.role or ("body" if name in _OUTLINE else "organ") for name, each in shapes.items()}
        region = label_region(shapes, geometry, name="host", roles=roles)
        assert region.labels is not None
        if not region.labels.numpy().any():
            raise GeometryError("The grid misses the body", field="geometry")
        return region

    def grid(self, spacing_mm: float, *, margin_mm: float = 2.0) -> Geometry:
        """A grid of cubic voxels over the whole body."""
        low = np.min([np.subtract(p.shape.centre, p.shape.semi_axes) for p in self.parts], axis=0) - margin_mm
        high = np.max([np.add(p.shape.centre, p.shape.semi_axes) for p in self.parts], axis=0) + margin_mm
        count = np.ceil((high - low) / spacing_mm).astype(int)[::-1]
        middle = (low + high) / 2 - (count[::-1] - 1) / 2 * spacing_mm
        return Geometry.from_spacing(
            count.tolist(), (spacing_mm,) * 3, origin=middle.tolist(), frame=f"{self.host.species} phantom"
        )


_OUTLINE = (
    "body",
    "head",
    "leg right",
    "leg left",
    "thigh right",
    "thigh left",
    "pelvis",
    "trunk",
    "shoulders",
    "neck",
)

# Mouse of 25 g: name, region, centre, relative semi-axes, how many share the region's volume (0: as drawn).
_MOUSE: tuple[tuple[str, str, Point, Point, int, bool], ...] = (
    ("body", _BACKGROUND, (0, 0, 38), (12.0, 10.5, 38), 0, False),
    ("head", _BACKGROUND, (0, 0, 78), (8.0, 8.0, 14.0), 0, False),
    ("leg right", _BACKGROUND, (9.5, 3, 8), (5, 4.5, 11), 0, False),
    ("leg left", _BACKGROUND, (-9.5, 3, 8), (5, 4.5, 11), 0, False),
    ("skull", _BONES, (0, -1.5, 78), (5.5, 4.5, 6.0), 0, False),
    ("brain", "brain", (0, -1.5, 78), (4.8, 3.8, 5.2), 1, False),
    ("spine", _BONES, (0, -7.5, 38), (1.6, 1.6, 25), 0, True),
    ("femur right", _BONES, (9.5, 3, 8), (1.1, 1.1, 7.5), 0, False),
    ("femur left", _BONES, (-9.5, 3, 8), (1.1, 1.1, 7.5), 0, False),
    ("lung right", "lung", (5.0, 0, 59.5), (3.2, 4.5, 5.8), 2, False),
    ("lung left", "lung", (-5.0, 0, 59.5), (3.2, 4.5, 5.8), 2, False),
    ("heart", "heart", (-0.4, 3.2, 57.5), (3.2, 3.2, 5.0), 0, False),
    ("heart chambers", "blood", (-0.4, 3.2, 57.5), (2.4, 2.4, 4.1), 0, False),
    ("aorta", "blood", (-0.6, -4.8, 44), (0.6, 0.6, 18), 0, True),
    ("liver", "liver", (2.6, 2.0, 46.5), (8.0, 6.0, 5.0), 1, False),
    ("stomach", "stomach", (-7.4, 2.4, 42.0), (3.0, 3.2, 3.4), 1, False),
    ("spleen", "spleen", (-9.0, -2.0, 36.0), (1.3, 2.2, 5.6), 1, False),
    ("intestine", "intestine", (0, 3.0, 26.0), (8.0, 5.0, 5.5), 1, False),
    ("kidney right", "kidney", (6.2, -5.0, 36.0), (2.8, 2.6, 4.6), 2, False),
    ("kidney left", "kidney", (-5.0, -5.6, 30.0), (2.8, 2.6, 4.6), 2, False),
    ("bladder", "bladder", (0, 4.0, 13.0), (3.4, 3.2, 4.0), 1, False),
)
#: Human shapes of :func:`standard_organs` and their regions, and how many share its volume (0: as drawn).
_HUMAN: Mapping[str, tuple[str, int]] = {
    "skull": ("bone", 0), "brain": ("brain", 1), "lung right": ("lung", 2), "lung left": ("lung", 2),
    "liver": ("liver", 1), "spleen": ("spleen", 1), "stomach": ("stomach", 1), "bowel": ("intestine", 1),
    "spine": (_BONES, 0), "hip bone right": (_BONES, 0), "hip bone left": (_BONES, 0), "myocardium": ("heart", 0),
    "heart chambers": ("blood", 0), "aorta": ("blood", 0), "kidney right": ("kidney", 2), "kidney left": ("kidney", 2),
    "bladder": ("bladder", 1),
}  # fmt: skip
#: Kidneys differ slightly in place where larger organs meet them.
_MOVED: Mapping[str, Point] = {"kidney right": (0, -6, -12), "kidney left": (0, -6, -14)}


def body_phantom(host: Host) -> Phantom:
    """The body of a host: shapes at the places of its species, organs with the host's volumes.

    Examples
    --------
    >>> from timelens.tumor.host import reference_host
    >>> mouse = body_phantom(reference_host("mouse")).with_tumour("flank", 6.0, inside="leg right", at=(2, 0, 6))
    >>> round(mouse.shape("liver").volume_ml, 2), mouse.tumours[0].name
    (1.31, 'flank')
    """
    if host.species == "mouse":
        size = (host.weight_g / 25.0) ** (1 / 3)
        parts = [Part(_sized(_mouse_shape(row, size), host, row[1], row[4]), row[1]) for row in _MOUSE]
        return Phantom(host, tuple(parts))
    width = (host.weight_g / 73e3) ** 0.5
    parts = []
    for shape in standard_organs(width=width):
        region, share = _HUMAN.get(shape.name, (_BACKGROUND, 0))
        placed = shape.moved(_MOVED.get(shape.name, (0.0, 0.0, 0.0)))
        parts.append(Part(_sized(replace(placed, suv=0.0), host, region, share), region))
    return Phantom(host, tuple(parts))


def _mouse_shape(row: tuple[str, str, Point, Point, int, bool], size: float) -> Shape:
    name, region, centre, axes, _, cylinder = row
    hu = {_BACKGROUND: 30.0, _BONES: 500.0, "blood": 45.0, "bladder": 10.0, "lung": -600.0}.get(region, 45.0)
    middle, half = _point(np.array(centre) * size), _point(np.array(axes) * size)
    return Shape(name, middle, half, 0.0, hu, "liver" if name == "liver" else None, cylinder)


def _sized(shape: Shape, host: Host, region: str, sharing: int) -> Shape:
    """The same shape with the organ's volume, or its part of it."""
    if not sharing:
        return shape
    volume = (host.bladder_ml if region == "bladder" else host.organ(region).volume_ml) / sharing
    factor = (volume / shape.volume_ml) ** (1 / 3)
    return replace(shape, semi_axes=_point(factor * np.array(shape.semi_axes)))


def _point(values: np.ndarray) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
