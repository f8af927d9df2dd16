"""Single cells in a tissue section: where they are and what they are, drawn from the fields.

Conventions
-----------
- A section is one plane of the grid, seen along one of its axes. Its own coordinates ``u_mm`` and ``v_mm`` run along
  the columns and rows of the plane from the outer edge of its first voxel.
- A cell counts if its centre lies in the section (``centres``), or if any of it does (``profiles``: what a microscope
  sees), for which the section is thicker by the cell's diameter (Abercrombie 1946, doi:10.1002/ar.1090940210).
- Numbers are Poisson with the mean that the density says, voxel by voxel. Within a voxel the density of a leaf leans
  towards that of its neighbours (linear, with the voxel's mean), and cells keep a distance where there is room (simple
  sequential inhibition with the best of several proposals). Neither ever changes a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from timelens.errors import UsageError
from timelens.study.table import Table
from timelens.tumor.cells import LEAVES

if TYPE_CHECKING:
    from timelens.tumor.microenvironment import Microenvironment

__all__ = ["MAX_CELLS", "Section", "expected_cells", "sample_cells"]

#: More cells than this are refused: they would fill memory.
MAX_CELLS = 5_000_000
#: Places that a cell tries before it takes the one with the most room.
_PROPOSALS = 12
_AXES = {"z": 0, "y": 1, "x": 2}


@dataclass(frozen=True)
class Section:
    """A cut through the tumour.

    Attributes
    ----------
    index
        Plane of the grid; the middle one by default.
    axis
        Axis of the grid along which one looks.
    thickness_mm
        Thickness; 4 um is usual.
    counted
        ``profiles`` or ``centres``.
    window_mm
        Part of the plane as (first u, last u, first v, last v), cut to whole voxels; all of it by default.
    distance_mm
        Distance of centres that cells keep where they can.
    """

    index: int | None = None
    axis: Literal["z", "y", "x"] = "z"
    thickness_mm: float = 0.004
    counted: Literal["profiles", "centres"] = "profiles"
    window_mm: tuple[float, float, float, float] | None = None
    distance_mm: float = 0.006

    def __post_init__(self) -> None:
        if self.axis not in _AXES:
            raise UsageError("There is no such axis", field="axis", found=self.axis, expected="z, y, x")
        if self.counted not in ("profiles", "centres"):
            raise UsageError("Cells count by profiles or centres", field="counted", found=self.counted)
        if not (self.thickness_mm > 0 and self.distance_mm >= 0):
            raise UsageError(
                "A section has a thickness", field="thickness_mm", found=self.thickness_mm, expected="> 0 mm"
            )

    def depth_mm(self, leaf: str) -> float:
        """Thickness of the slab in which centres of cells of that leaf count."""
        return self.thickness_mm + (LEAVES[leaf].diameter_mm if self.counted == "profiles" else 0.0)


@dataclass(frozen=True)
class _Plane:
    """A section's place in the grid."""

    axis: int
    index: int
    rows: slice
    columns: slice
    edges: tuple[float, float]
    """Of a voxel along v (rows) and u (columns), mm."""

    def take(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.take(values, self.index, axis=self.axis)[self.rows, self.columns]


def expected_cells(tumour: Microenvironment, section: Section) -> dict[str, NDArray[np.float64]]:
    """Mean number of cells of each leaf in each voxel (rows, columns) of a section."""
    plane = _plane(tumour, section)
    area = plane.edges[0] * plane.edges[1]
    return {
        name: plane.take(density).astype(float) * area * section.depth_mm(name)
        for name, density in tumour.cells.items()
    }


def sample_cells(tumour: Microenvironment, section: Section, rng: np.random.Generator) -> Table:
    """Draw the cells of a section.

    Parameters
    ----------
    tumour
        Whose densities.
    section
        Where.
    rng
        Same state, same cells.

    Returns
    -------
    Table
        One row a cell: ``component`` (id of the leaf), ``u_mm``, ``v_mm`` in the section, ``x_mm``, ``y_mm``, ``z_mm``
        in the frame of the grid, ``diameter_mm``; sorted by row and column of the voxel.

    Raises
    ------
    UsageError
        If the section lies outside of the grid, or holds more than :data:`MAX_CELLS`.
    """
    import pandas as pd

    plane = _plane(tumour, section)
    means = np.stack([mean.ravel() for mean in expected_cells(tumour, section).values()], axis=1)
    if means.sum() > MAX_CELLS:
        raise UsageError(
            "The section holds too many cells",
            field="window_mm",
            found=f"{means.sum():.3g}",
            expected=f"at most {MAX_CELLS:.3g}",
            mend="take a smaller window",
        )
    # Voxel by voxel, and within a voxel leaf by leaf: the order of the rows.
    numbers = rng.poisson(means)
    total = int(numbers.sum())
    leaf = np.repeat(np.tile(np.arange(means.shape[1]), len(means)), numbers.ravel())
    voxel = np.repeat(np.arange(len(means)), numbers.sum(axis=1))
    # Types in a voxel take turns at random, so that none is always placed first.
    order = np.lexsort((rng.random(total), voxel))
    leaf = leaf[order]
    columns = plane.columns.stop - plane.columns.start
    rows = plane.rows.stop - plane.rows.start
    v_edge, u_edge = plane.edges
    proposals = rng.random((total, _PROPOSALS, 2), np.float32)
    leans = _leans(means.reshape(rows, columns, -1))
    u, v = _place(voxel, leaf, columns, rows, u_edge, v_edge, section.distance_mm, proposals, *leans)
    names = list(tumour.cells)
    diameters = np.array([LEAVES[name].diameter_mm for name in names])
    depths = np.array([section.depth_mm(name) for name in names])
    away = (rng.random(total) - 0.5) * depths[leaf]
    index = np.empty((total, 3))
    others = [a for a in range(3) if a != plane.axis]
    spacing = tumour.geometry.spacing
    index[:, plane.axis] = plane.index + away / spacing[plane.axis]
    index[:, others[0]] = plane.rows.start + v / v_edge - 0.5
    index[:, others[1]] = plane.columns.start + u / u_edge - 0.5
    mm = tumour.geometry.to_mm(index)
    frame = pd.DataFrame(
        {
            "component": pd.Categorical.from_codes(leaf.astype(np.int64), categories=pd.Index(names)),
            "u_mm": u + plane.columns.start * u_edge,
            "v_mm": v + plane.rows.start * v_edge,
            "x_mm": mm[:, 0],
            "y_mm": mm[:, 1],
            "z_mm": mm[:, 2],
            "diameter_mm": diameters[leaf],
        }
    )
    return Table(frame, dict.fromkeys(("u_mm", "v_mm", "x_mm", "y_mm", "z_mm", "diameter_mm"), "mm"))


def _plane(tumour: Microenvironment, section: Section) -> _Plane:
    axis = _AXES[section.axis]
    shape, spacing = tumour.geometry.shape, tumour.geometry.spacing
    index = shape[axis] // 2 if section.index is None else section.index
    if not 0 <= index < shape[axis]:
        raise UsageError(
            "The section lies outside of the grid", field="index", found=index, expected=f"0 to {shape[axis] - 1}"
        )
    rows, columns = (a for a in range(3) if a != axis)
    edges = spacing[rows], spacing[columns]
    u0, u1, v0, v1 = section.window_mm or (0.0, shape[columns] * edges[1], 0.0, shape[rows] * edges[0])
    cut_u = slice(max(0, int(np.floor(u0 / edges[1] + 1e-6))), min(shape[columns], int(np.ceil(u1 / edges[1] - 1e-6))))
    cut_v = slice(max(0, int(np.floor(v0 / edges[0] + 1e-6))), min(shape[rows], int(np.ceil(v1 / edges[0] - 1e-6))))
    if cut_u.stop <= cut_u.start or cut_v.stop <= cut_v.start:
        raise UsageError("The window holds no voxel", field="window_mm", found=section.window_mm)
    return _Plane(axis, index, cut_v, cut_u, edges)


def _leans(means: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slopes of the density across each voxel relative to its mean, along rows and columns; so that it is positive."""
    found = []
    for axis in (0, 1):
        padded = np.pad(means, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        n = means.shape[axis]
        difference = (padded.take(range(2, n + 2), axis) - padded.take(range(n), axis)) / 2
        lean = np.divide(difference, means, out=np.zeros_like(means), where=means > 0)
        found.append(np.clip(lean, -2.0, 2.0))
    return found[0], found[1]


@njit(cache=True)
def _leaning(p, lean):  # type: ignore[no-untyped-def]
    """The place in 0 to 1 below which a part ``p`` of a density ``1 + lean (t - 1/2)`` lies."""
    a = 1.0 - lean / 2
    low = a + np.sqrt(a * a + 2 * lean * p)
    return min(2 * p / low, 1.0) if low > 0 else 0.0


@njit(cache=True)
def _place(voxel, leaf, columns, rows, u_edge, v_edge, distance, proposals, lean_v, lean_u):  # type: ignore[no-untyped-def]
    """Coordinates of cells in the order of their voxels: the first proposal with room, else the roomiest."""
    total = voxel.size
    u = np.empty(total)
    v = np.empty(total)
    side = max(distance, 1e-6)
    across = int(columns * u_edge / side) + 1
    down = int(rows * v_edge / side) + 1
    if across * down > 8 * total + 1024:  # few cells: larger boxes, so that the grid of boxes stays small
        side *= np.sqrt(across * down / (8.0 * total + 1024.0))
        across = int(columns * u_edge / side) + 1
        down = int(rows * v_edge / side) + 1
    first = np.full(across * down, -1, np.int64)
    following = np.full(total, -1, np.int64)
    for i in range(total):
        row, column = voxel[i] // columns, voxel[i] % columns
        best, best_u, best_v = -1.0, 0.0, 0.0
        for k in range(proposals.shape[1]):
            x = (column + _leaning(proposals[i, k, 0], lean_u[row, column, leaf[i]])) * u_edge
            y = (row + _leaning(proposals[i, k, 1], lean_v[row, column, leaf[i]])) * v_edge
            nearest = distance * distance
            if distance > 0:
                for b in range(max(0, int(y / side) - 1), min(down, int(y / side) + 2)):
                    for a in range(max(0, int(x / side) - 1), min(across, int(x / side) + 2)):
                        j = first[b * across + a]
                        while j >= 0:
                            nearest = min(nearest, (u[j] - x) ** 2 + (v[j] - y) ** 2)
                            j = following[j]
            if nearest > best:
                best, best_u, best_v = nearest, x, y
            if best >= distance * distance:
                break
        u[i], v[i] = best_u, best_v
        box = int(best_v / side) * across + int(best_u / side)
        following[i] = first[box]
        first[box] = i
    return u, v
