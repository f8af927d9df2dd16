"""Shape of regions: surface and volume of the mesh, sphericity, greatest extent, spread over the patient.

The mesh is the marching-cubes surface of the mask at one half, its vertices midway between a voxel inside and one
outside (Lewiner et al., J Graph Tools 2003, doi:10.1080/10867651.2003.10487582; used as in the IBSI reference manual,
doi:10.1148/radiol.2020191145). In a mask a cube of eight voxels has only 256 states, so area and volume are sums over
a table of states and no mesh is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import njit

from timelens.engines.regions.grid import checked_spacing
from timelens.engines.regions.reasons import Reason
from timelens.errors import DataError

__all__ = ["max_diameter", "mesh", "sphericity", "spread", "standardised_spread"]

Mask = npt.NDArray[np.uint8]


@lru_cache(maxsize=1)
def _triangles() -> tuple[npt.NDArray[np.float64], ...]:
    """Triangles (corners, z y x) of each state of a unit cube; bit 4z + 2y + x is set where that corner is inside."""
    from skimage.measure import marching_cubes

    none = np.zeros((0, 3, 3))
    states = [none]
    for state in range(1, 255):
        corners = np.array([(state >> bit) & 1 for bit in range(8)], dtype=np.float32).reshape(2, 2, 2)
        # "ascent" turns the triangles so that their normals point away from what is inside.
        vertices, faces, _, _ = marching_cubes(corners, 0.5, gradient_direction="ascent")
        states.append(vertices[faces].astype(np.float64))
    return (*states, none)


@lru_cache(maxsize=8)
def _tables(spacing: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Area, flux of (0, 0, x) through the surface, and area projected along x, of each state."""
    table = np.zeros((256, 3))
    for state, triangles in enumerate(_triangles()):
        corners = triangles * np.array(spacing)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
        table[state, 0] = np.linalg.norm(normals, axis=1).sum()
        # Mean of x over a triangle is the mean of its corners.
        table[state, 1] = (normals[:, 2] * corners[:, :, 2].mean(axis=1)).sum()
        table[state, 2] = normals[:, 2].sum()
    table.setflags(write=False)
    return table


def mesh(mask: Mask, spacing: Sequence[float]) -> tuple[float, float]:
    """Area and volume of the surface of one region.

    Parameters
    ----------
    mask
        The region (z, y, x), not 0 inside. What lies beyond the array is outside: the surface is closed.
    spacing
        Voxel edges (z, y, x) in mm.

    Returns
    -------
    area, volume
        In mm2 and mm3. NaN for an empty mask. One voxel gives an octahedron, a sixth of the voxel: compare
        ``volume_ml``, which counts voxels.
    """
    edges = checked_spacing(spacing)
    if not mask.any():
        return np.nan, np.nan
    tables = _tables((float(edges[0]), float(edges[1]), float(edges[2])))
    area, volume = _sum_states(np.pad(mask, 1).astype(np.uint8, copy=False), tables, edges[2])
    return float(area), float(abs(volume))


@njit(cache=True, nogil=True)
def _sum_states(mask: Mask, tables: npt.NDArray[np.float64], edge: float) -> tuple[float, float]:
    """Area and volume (by the divergence theorem along x) of a mask with a margin of one."""
    counts = np.zeros(256, dtype=np.int64)
    columns = np.zeros(256, dtype=np.int64)
    for z in range(mask.shape[0] - 1):
        for y in range(mask.shape[1] - 1):
            state = 0
            for x in range(mask.shape[2] - 1):
                # The right face of the last cube is the left face of this one.
                state = (state >> 1) & 0x55
                state |= (mask[z, y, x + 1] != 0) << 1
                state |= (mask[z, y + 1, x + 1] != 0) << 3
                state |= (mask[z + 1, y, x + 1] != 0) << 5
                state |= (mask[z + 1, y + 1, x + 1] != 0) << 7
                counts[state] += 1
                columns[state] += x
    area, volume = 0.0, 0.0
    for state in range(256):
        area += counts[state] * tables[state, 0]
        volume += counts[state] * tables[state, 1] + columns[state] * edge * tables[state, 2]
    return area, volume


def sphericity(area: float, volume: float) -> float:
    """Area of the sphere of that volume over the area: 1 for a sphere, less for all else (IBSI QCFX)."""
    return float(np.cbrt(36 * np.pi * volume**2) / area)


def max_diameter(mask: Mask, spacing: Sequence[float]) -> float:
    """Greatest distance between two vertices of the region's mesh, in mm (IBSI L0JK).

    The vertices lie midway between voxels inside and outside, so one voxel has the diameter of its longest edge.
    NaN for an empty mask.

    Parameters
    ----------
    mask
        The region (z, y, x), not 0 inside; what lies beyond the array is outside.
    spacing
        Voxel edges (z, y, x) in mm.
    """
    edges = checked_spacing(spacing)
    if not mask.any():
        return np.nan
    points = _hull_points(np.pad(mask, 1).astype(np.uint8, copy=False)) * (edges / 2)
    # From the middle, two points are never farther apart than the sum of their distances to it: far points first.
    radii = np.linalg.norm(points - (points.min(axis=0) + points.max(axis=0)) / 2, axis=1)
    order = np.argsort(-radii, kind="stable")
    return float(_farthest(points[order], radii[order]))


@njit(cache=True, nogil=True)
def _hull_points(mask: Mask) -> npt.NDArray[np.float64]:
    """Mesh vertices that can be farthest: per plane of constant z the corners of their planar convex hull.

    Coordinates are doubled, so that half voxels are whole numbers. ``mask`` has a margin of one.
    """
    nz, ny, nx = mask.shape
    out = np.empty((4096, 3))
    n = 0
    low = np.empty(2 * ny, dtype=np.int64)
    high = np.empty(2 * ny, dtype=np.int64)
    chain = np.empty(2 * ny, dtype=np.int64)
    for level in range(2 * nz - 1):
        z = level // 2
        low[:] = 2 * nx
        high[:] = -1
        for y in range(ny - 1):
            for x in range(nx - 1):
                here = mask[z, y, x] != 0
                if level % 2 == 1:
                    if here != (mask[z + 1, y, x] != 0):
                        low[2 * y] = min(low[2 * y], 2 * x)
                        high[2 * y] = max(high[2 * y], 2 * x)
                else:
                    if here != (mask[z, y, x + 1] != 0):
                        low[2 * y] = min(low[2 * y], 2 * x + 1)
                        high[2 * y] = max(high[2 * y], 2 * x + 1)
                    if here != (mask[z, y + 1, x] != 0):
                        low[2 * y + 1] = min(low[2 * y + 1], 2 * x)
                        high[2 * y + 1] = max(high[2 * y + 1], 2 * x)
        for side in range(2):
            sign = 1 if side == 0 else -1
            ends = low if side == 0 else high
            size = 0
            for y in range(2 * ny):
                if high[y] < 0:
                    continue
                # Drop corners that are no longer convex.
                while size >= 2:
                    a, b = chain[size - 2], chain[size - 1]
                    turn = (b - a) * (ends[y] - ends[a]) - (ends[b] - ends[a]) * (y - a)
                    if sign * turn > 0:
                        break
                    size -= 1
                chain[size] = y
                size += 1
            while n + size > len(out):
                grown = np.empty((2 * len(out), 3))
                grown[:n] = out[:n]
                out = grown
            for i in range(size):
                out[n, 0] = level
                out[n, 1] = chain[i]
                out[n, 2] = ends[chain[i]]
                n += 1
    return out[:n].copy()


@njit(cache=True, nogil=True)
def _farthest(points: npt.NDArray[np.float64], radii: npt.NDArray[np.float64]) -> float:
    best = 0.0
    for i in range(len(points)):
        if radii[i] + radii[i] <= best:
            break
        for j in range(i + 1, len(points)):
            if radii[i] + radii[j] <= best:
                break
            z = points[i, 0] - points[j, 0]
            y = points[i, 1] - points[j, 1]
            x = points[i, 2] - points[j, 2]
            square = z * z + y * y + x * x
            if square > best * best:
                best = np.sqrt(square)
    return best


def spread(centroids_mm: npt.NDArray[np.float64]) -> tuple[float, Reason]:
    """Largest distance between the centroids of a patient's lesions (Dmax), in mm.

    Cottereau et al., Ann Oncol 2021.

    Parameters
    ----------
    centroids_mm
        Shape (n, 3), in mm; rows with NaN (empty regions) are left out.

    Returns
    -------
    dmax, reason
        NaN with :attr:`Reason.SINGLE_REGION` where fewer than two lesions remain.
    """
    points = np.asarray(centroids_mm, dtype=np.float64).reshape(-1, 3)
    points = np.ascontiguousarray(points[np.all(np.isfinite(points), axis=1)])
    if len(points) < 2:
        return np.nan, Reason.SINGLE_REGION
    radii = np.linalg.norm(points - points.mean(axis=0), axis=1)
    order = np.argsort(-radii, kind="stable")
    return float(_farthest(points[order], radii[order])), Reason(0)


def standardised_spread(dmax_mm: float, body_surface_m2: float) -> float:
    """Dmax over body surface area (SDmax), in 1/m: metres over square metres (Cottereau et al. 2021)."""
    if not (np.isfinite(body_surface_m2) and body_surface_m2 > 0):
        raise DataError(
            "The body surface area is not usable",
            field="body_surface_m2",
            found=body_surface_m2,
            expected="a positive area in m2",
            mend="give height and weight",
        )
    return dmax_mm / 1000.0 / body_surface_m2
