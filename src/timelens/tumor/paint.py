"""Digital patients on a grid: uptake and attenuation as voxel means, organs and lesions as labels.

A voxel holds the mean over its volume: shapes are exact along x and sampled across y and z, and are painted one over
the other in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from timelens.errors import GeometryError
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.region import Region, Role
from timelens.tumor.digital_patient import DigitalPatient, Point, Shape
from timelens.tumor.scene import Scene

__all__ = ["AIR_HU", "extent", "grid_around", "grid_over", "hounsfield", "label_region", "suv_image", "voxel_shares"]

#: Hounsfield number of what surrounds the body.
AIR_HU = -1000.0

Volume = NDArray[np.float32]


def grid_over(length_mm: Sequence[float], spacing: Sequence[float], *, origin: Point, frame: str) -> Geometry:
    """A grid over a box whose lowest corner is ``origin`` (X, Y, Z); length and spacing are (z, y, x) in mm."""
    shape = [max(1, round(n / s)) for n, s in zip(length_mm, spacing, strict=True)]
    first = np.array(origin) + np.array(spacing)[::-1] / 2
    return Geometry.from_spacing(shape, spacing, origin=first.tolist(), frame=frame)


def grid_around(scene: Scene, spacing: Sequence[float], *, margin_mm: float = 24.0, frame: str = "scanner") -> Geometry:
    """A grid over a whole scene with air around it; spacing is (z, y, x) in mm."""
    low, high = extent(scene)
    x, y, z = (float(v) for v in low - margin_mm)
    length = (high - low + 2 * margin_mm)[::-1]
    return grid_over(length.tolist(), spacing, origin=(x, y, z), frame=frame)


def extent(scene: Scene) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest corner (X, Y, Z) of all shapes, in mm."""
    centres, reach = (np.array([getattr(s, name) for s in scene.shapes]) for name in ("centre", "semi_axes"))
    return (centres - reach).min(axis=0), (centres + reach).max(axis=0)


def voxel_shares(
    shape: Shape, geometry: Geometry, *, samples: int = 4
) -> tuple[tuple[slice, slice, slice], Volume] | None:
    """The part of each voxel that lies inside a shape.

    Parameters
    ----------
    shape
        The shape.
    geometry
        A grid along the axes of the body (no rotation).
    samples
        Lines per voxel along z and along y; along x the length inside is exact.

    Returns
    -------
    box, shares or None
        Where the shape may lie on the grid, and the shares 0 to 1 in that box; None where it misses the grid.
    """
    steps, origin = _aligned(geometry)
    centre, reach = np.array(shape.centre), np.array(shape.semi_axes)
    # Along (z, y, x).
    low = np.sort(np.stack([(centre - reach - origin) / steps, (centre + reach - origin) / steps]), axis=0)[:, ::-1]
    first = np.maximum(np.floor(low[0] + 0.5), 0).astype(int)
    last = np.minimum(np.ceil(low[1] + 0.5), geometry.shape).astype(int)
    if (first >= last).any():
        return None
    box = (slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2]))
    faces = np.stack([first, last])[:, ::-1] - 0.5
    corners = origin + steps * np.stack(np.meshgrid(*faces.T, indexing="ij"), axis=-1).reshape(-1, 3)
    if shape.contains(corners).all():  # shapes are convex
        return box, np.ones(tuple(last - first), np.float32)
    inside = (np.arange(samples) + 0.5) / samples - 0.5
    edges = origin[0] + steps[0] * (np.arange(first[2], last[2] + 1) - 0.5) - centre[0]
    shares = np.zeros(tuple(last - first), np.float32)
    rows = np.arange(first[1], last[1])
    for number, z_index in enumerate(range(first[0], last[0])):
        z = (origin[2] + steps[2] * (z_index + inside))[:, None, None, None]
        y = (origin[1] + steps[1] * (rows[:, None] + inside))[None, :, :, None]
        chord = shape.half_chord(y, z)
        lengths = np.abs(np.diff(np.clip(edges, -chord, chord), axis=-1))
        shares[number] = lengths.mean(axis=(0, 2)) / abs(steps[0])
    return box, shares


def _aligned(geometry: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps along X, Y, Z (they may be negative) and the origin of a grid without rotation."""
    matrix = geometry.affine[:3, :3][:, ::-1]
    steps = np.diag(matrix)
    if not np.allclose(matrix, np.diag(steps)):
        raise GeometryError(
            "Digital patients are painted on grids along the axes of the body",
            field="affine",
            found=matrix.tolist(),
            expected="a diagonal matrix",
        )
    return steps, geometry.affine[:3, 3]


def _paint(shapes: Iterable[tuple[Shape, float]], onto: Volume, geometry: Geometry, samples: int) -> Volume:
    for shape, value in shapes:
        if (found := voxel_shares(shape, geometry, samples=samples)) is not None:
            box, shares = found
            part = onto[box]
            part += shares * (np.float32(value) - part)
    return onto


def suv_image(patient: DigitalPatient, geometry: Geometry, *, samples: int = 4) -> Image:
    """True uptake as voxel means, in g/mL."""
    values = np.zeros(geometry.shape, np.float32)
    _paint([(s, s.suv) for s in patient.organs + patient.lesions], values, geometry, samples)
    return Image(values, unit="g/mL", geometry=geometry, quantity="suv")


def hounsfield(scene: Scene, geometry: Geometry) -> Volume:
    """Attenuation of a scene, its field tumours included, as voxel means in Hounsfield units."""
    values = np.full(geometry.shape, AIR_HU, np.float32)
    _paint([(s, s.hu) for s in scene.shapes], values, geometry, 2)
    for tumour in scene.fields:
        values += tumour.on(tumour.share, geometry) * (np.float32(tumour.hu) - values)
    return values


def label_region(
    shapes: Mapping[str, Shape],
    geometry: Geometry,
    *,
    name: str,
    roles: Mapping[str, Role] | None = None,
) -> Region:
    """Shapes as voxel labels: a voxel belongs to a shape that holds at least half of it; the later shape wins.

    Parameters
    ----------
    shapes
        Name to shape, numbered from 1 in their order.
    geometry
        The grid.
    name
        Name of the set.
    roles
        Name to role, where it is not the shape's own.
    """
    labels = np.zeros(geometry.shape, np.uint8)
    for number, shape in enumerate(shapes.values(), start=1):
        if (found := voxel_shares(shape, geometry)) is not None:
            labels[found[0]][found[1] >= 0.5] = number
    numbered = dict(enumerate(shapes, start=1))
    given = {n: (roles or {}).get(key, shapes[key].role) for n, key in numbered.items()}
    image = Image(labels, unit="1", geometry=geometry)
    return Region(
        name, "labels", numbered, labels=image, roles={n: role for n, role in given.items() if role is not None}
    )
