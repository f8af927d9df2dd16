"""Where tumour, nests, stroma, necrosis, margin and lymphoid structures lie, from parameters and a seed.

Everything is a smooth function of millimetres from the tumour's centre, along the axes of the grid; the grid only
samples it. The pattern grows with the tumour where it is shape, and stays in place where it is texture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

from timelens.errors import DataError, GeometryError
from timelens.study.geometry import Geometry
from timelens.tumor.architecture import Architecture
from timelens.tumor.random_field import random_field, stream

__all__ = ["Layout", "grid_axes", "lay_out"]

Field = NDArray[np.float32]
Axes = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

#: Knots of the noise that shapes the surface, per radius.
_SURFACE = 0.7
#: Width of the edges of stroma, in standard deviations of the noise that makes it.
_SEPTUM = 0.12
#: Depth of lymphoid structures below the surface, relative to their radius.
_TLS_DEPTH = 1.2
#: Radius of the follicle relative to the structure.
_FOLLICLE = 0.6


@dataclass(frozen=True, eq=False)
class Layout:
    """Fields of shape (z, y, x), all between 0 and 1 but for ``depth``.

    Attributes
    ----------
    depth
        Distance to the surface in mm, positive inside (near the surface; coarser in the depth of flat tumours).
    tumour
        Part that is tumour.
    necrosis
        Part of the tumour that is necrotic.
    stroma
        Part of the living tumour that is stroma; the rest is nests.
    tls, follicle
        Tertiary lymphoid structures, and the B-cell follicle in the middle of each.
    noise
        Normal noise for vessels.
    """

    depth: Field
    tumour: Field
    necrosis: Field
    stroma: Field
    tls: Field
    follicle: Field
    noise: Field

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Voxels of which at least half is tumour."""
        return np.asarray(self.tumour >= 0.5)


def grid_axes(geometry: Geometry, centre: tuple[float, float, float] | None = None) -> Axes:
    """Coordinates along z, y, x in mm from the tumour's centre, along the axes of the grid.

    Parameters
    ----------
    geometry
        A grid with axes at right angles.
    centre
        (X, Y, Z) of the tumour in the grid's frame; the middle of the grid by default.

    Raises
    ------
    GeometryError
        If the axes are not at right angles.
    """
    if not geometry.is_orthogonal:
        raise GeometryError("A tumour needs a grid with axes at right angles", field="affine")
    middle = (np.asarray(geometry.shape) - 1) / 2 if centre is None else geometry.to_index(centre)
    z, y, x = ((np.arange(n) - m) * s for n, m, s in zip(geometry.shape, middle, geometry.spacing, strict=True))
    return z, y, x


def lay_out(
    architecture: Architecture, geometry: Geometry, seed: int, centre: tuple[float, float, float] | None
) -> Layout:
    """Lay out a tumour on a grid.

    Raises
    ------
    GeometryError
        If the grid cuts the tumour, is too coarse for it, or has slanted axes.
    """
    a = architecture
    axes = grid_axes(geometry, centre)
    depth, tumour = _surface(a, axes, geometry, seed)
    core = _noise(seed, "necrosis", axes, a.radius_mm * _SURFACE)
    necrosis = _necrosis(a, depth, core, tumour)
    septa = _noise(seed, "stroma", axes, a.nest_mm) + 0.5 * _noise(seed, "fine stroma", axes, a.nest_mm / 3)
    # Stroma runs where the noise crosses 0: sheets between nests. Its width follows from the part that it takes up.
    wide = np.float32(norm.ppf((1 + a.stroma_fraction) / 2))
    stroma = expit((wide - np.abs(septa) / np.float32(np.sqrt(1.25))) / np.float32(_SEPTUM))
    if a.stroma_fraction == 0:
        stroma = np.zeros_like(stroma)
    tls, follicle = _lymphoid(a, depth, axes, seed)
    vessels = _noise(seed, "vessels", axes, 1.5 * a.nest_mm)
    return Layout(depth, tumour, necrosis, stroma, tls, follicle, vessels)


def _noise(seed: int, purpose: str, axes: Axes, length: float) -> Field:
    return random_field(stream(seed, purpose), axes, length)


def _surface(a: Architecture, axes: Axes, geometry: Geometry, seed: int) -> tuple[Field, Field]:
    """Depth and the part of each voxel that is tumour, with the volume that the diameter says."""
    radius = a.radius_mm
    shape = np.asarray(a.aspect) / np.cbrt(np.prod(a.aspect))
    z, y, x = ((c / (radius * s)).astype(np.float32) for c, s in zip(axes, shape, strict=True))
    rho = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    # Drawn in radii, so that a tumour keeps its shape as it grows.
    bumps = random_field(stream(seed, "surface"), (axes[0] / radius, axes[1] / radius, axes[2] / radius), _SURFACE)
    depth = np.float32(radius) * (1 - rho) + np.float32(radius * a.roughness) * bumps
    wanted = a.volume_mm3 / geometry.voxel_volume
    if wanted < 8:
        raise GeometryError(
            "The grid is too coarse for the tumour",
            field="spacing",
            found=geometry.spacing,
            expected=f"< {radius:g} mm",
        )
    front = np.float32(a.front_mm / 4)

    def excess(shift: float) -> float:
        return float(expit((depth + np.float32(shift)) / front).sum(dtype=np.float64) - wanted)

    reach = 0.5 * radius
    if excess(reach) < 0:
        raise _cut(a, geometry)
    depth += np.float32(brentq(excess, -reach, reach, xtol=1e-5 * radius))
    tumour = expit(depth / front)
    for axis in range(3):
        if geometry.shape[axis] > 1 and max(tumour.take(0, axis).max(), tumour.take(-1, axis).max()) >= 0.5:
            raise _cut(a, geometry)
    return depth, tumour


def _cut(a: Architecture, geometry: Geometry) -> GeometryError:
    size = " x ".join(f"{n * s:.3g}" for n, s in zip(geometry.shape, geometry.spacing, strict=True))
    return GeometryError(
        "The grid cuts the tumour",
        field="geometry",
        found=f"{size} mm (z, y, x)",
        expected=f"room around a tumour of {a.diameter_mm:g} mm",
        mend="take a larger grid or a smaller tumour",
    )


def _necrosis(a: Architecture, depth: Field, noise: Field, tumour: Field) -> Field:
    """The deepest part, warped, of the volume that the parameter says."""
    if a.necrotic_fraction == 0:
        return np.zeros_like(depth)
    level = depth / np.float32(a.radius_mm) + np.float32(0.2) * noise
    edge = np.float32(0.03)
    wanted = a.necrotic_fraction * float(tumour.sum(dtype=np.float64))

    def excess(threshold: float) -> float:
        return float((tumour * expit((level - np.float32(threshold)) / edge)).sum(dtype=np.float64) - wanted)

    low, high = float(level.min()) - 1, float(level.max()) + 1
    # Shares near 0 or 1, which a blurred edge cannot give.
    if excess(high) >= 0:
        return np.zeros_like(depth)
    if excess(low) <= 0:
        return np.ones_like(depth)
    return np.asarray(expit((level - np.float32(brentq(excess, low, high, xtol=1e-5))) / edge))


def _lymphoid(a: Architecture, depth: Field, axes: Axes, seed: int) -> tuple[Field, Field]:
    """Round structures at the margin, in random directions, and their follicles."""
    result, follicle = np.zeros_like(depth), np.zeros_like(depth)
    rng = stream(seed, "lymphoid structures")
    wanted = _TLS_DEPTH * a.tls_radius_mm
    steps = np.linspace(0, 2.5 * a.radius_mm, 2000)
    origin = np.array([c[0] for c in axes])
    edges = np.array([c[1] - c[0] if len(c) > 1 else 1.0 for c in axes])
    for _ in range(a.tls_count):
        way = rng.standard_normal(3)
        points = steps[:, None] * way / np.linalg.norm(way)
        along = map_coordinates(depth, ((points - origin) / edges).T, order=1, mode="nearest")
        if not (along > wanted).any():
            raise DataError(
                "The tumour is too small for its lymphoid structures",
                field="tls_radius_mm",
                found=a.tls_radius_mm,
                expected=f"< {float(depth.max()) / _TLS_DEPTH:.2g} mm",
            )
        centre = points[np.flatnonzero(along > wanted)[-1]]
        z, y, x = ((c - m).astype(np.float32) for c, m in zip(axes, centre, strict=True))
        distance = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
        for field, part in ((result, 1.0), (follicle, _FOLLICLE)):
            radius = np.float32(part * a.tls_radius_mm)
            np.maximum(field, expit((radius - distance) / (np.float32(0.08) * radius)), out=field)
    return result, follicle
