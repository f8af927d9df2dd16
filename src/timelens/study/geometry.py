"""Where voxels lie: shape, affine and frame of reference.

Conventions
-----------
- Indices run ``(z, y, x)``, as arrays do. The affine takes ``(z, y, x, 1)`` to millimetres ``(X, Y, Z, 1)``.
- For bodies, X, Y, Z point to the Right, Anterior and Superior (RAS+). DICOM's LPS and NIfTI's column order are
  converted by :meth:`Geometry.from_lps` and :meth:`Geometry.from_nifti` and back.
- A voxel's index is its centre.
- ``frame`` names the frame of reference (a DICOM UID, or any unique text). Two geometries meet only in one frame, or
  through a :class:`Registration` that has a name. An unknown frame (None) equals nothing, not even another unknown one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import GeometryError

__all__ = ["FLATNESS", "GRID_TOLERANCE", "Geometry", "Registration"]

#: Two grids are the same if no voxel centre is further off than this part of the smallest voxel edge.
GRID_TOLERANCE = 1e-3
#: A voxel is flat if its volume is less than this part of the product of its edges.
FLATNESS = 1e-6

Affine = NDArray[np.float64]
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_REVERSE = np.eye(4)[[2, 1, 0, 3]]  # (x, y, z, 1) <-> (z, y, x, 1)


@dataclass(frozen=True, eq=False)
class Geometry:
    """A regular grid of voxels in space.

    Parameters
    ----------
    shape
        Voxels along (z, y, x).
    affine
        4 x 4, from index (z, y, x, 1) to millimetres (X, Y, Z, 1).
    frame
        Frame of reference, or None where it is not known.
    space
        ``body`` (RAS+) or ``slide`` (a frame of its own, which claims no anatomy).

    Raises
    ------
    GeometryError
        If the affine is not finite, is singular, or the shape is empty.
    """

    shape: tuple[int, int, int]
    affine: Affine
    frame: str | None = None
    space: Literal["body", "slide"] = "body"

    def __post_init__(self) -> None:
        affine = _affine(self.affine, field="affine")
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError("A geometry needs three positive sizes", field="shape", found=self.shape)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", shape)

    # -- made from other conventions -----------------------------------------------------------------------------

    @classmethod
    def from_spacing(
        cls,
        shape: Sequence[int],
        spacing: Sequence[float],
        *,
        origin: Sequence[float] = (0.0, 0.0, 0.0),
        frame: str | None = None,
        space: Literal["body", "slide"] = "body",
    ) -> Geometry:
        """A grid along the axes of the frame: spacing (z, y, x) in mm, origin (X, Y, Z) of voxel 0 in mm."""
        affine = np.eye(4)
        affine[:3, :3] = np.diag(np.asarray(spacing, float))[::-1]
        affine[:3, 3] = origin
        return cls(_three(shape), affine, frame, space)

    @classmethod
    def from_nifti(cls, shape_xyz: Sequence[int], affine: ArrayLike, *, frame: str | None = None) -> Geometry:
        """From NIfTI's shape (x, y, z) and affine for (x, y, z, 1), already RAS+."""
        return cls(_three(shape_xyz[::-1]), np.asarray(affine, float) @ _REVERSE, frame)

    @classmethod
    def from_lps(cls, shape: Sequence[int], affine_lps: ArrayLike, *, frame: str | None = None) -> Geometry:
        """From an affine for (x, y, z, 1) in DICOM's and ITK's LPS frame; shape is (z, y, x)."""
        return cls(_three(shape), _LPS_TO_RAS @ np.asarray(affine_lps, float) @ _REVERSE, frame)

    def to_nifti(self) -> Affine:
        """The affine for (x, y, z, 1) in RAS+."""
        return self.affine @ _REVERSE

    def to_lps(self) -> Affine:
        """The affine for (x, y, z, 1) in LPS."""
        return _LPS_TO_RAS @ self.affine @ _REVERSE

    # -- what it says --------------------------------------------------------------------------------------------

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edges along (z, y, x) in mm."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel in mm3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def is_orthogonal(self) -> bool:
        """Whether the axes are at right angles (a gantry-tilted grid is not)."""
        axes = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-4))

    def to_mm(self, index: ArrayLike) -> NDArray[np.float64]:
        """Millimetres (..., 3) of indices (..., 3) in the order (z, y, x)."""
        return np.asarray(index, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, mm: ArrayLike) -> NDArray[np.float64]:
        """Fractional indices (..., 3) in the order (z, y, x) of millimetres (..., 3)."""
        return (np.asarray(mm, float) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T

    def same_grid(self, other: Geometry) -> bool:
        """Whether both have the same voxels, whatever their frames (see :data:`GRID_TOLERANCE`)."""
        if self.shape != other.shape or self.space != other.space:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(3, -1).T
        worst = np.linalg.norm(self.to_mm(corners) - other.to_mm(corners), axis=1).max()
        return bool(worst <= GRID_TOLERANCE * min(self.spacing))

    def same_frame(self, other: Geometry) -> bool:
        """Whether both are known to lie in one frame of reference."""
        return self.frame is not None and self.frame == other.frame and self.space == other.space

    def require_same_frame(self, other: Geometry, *, registration: Registration | None = None) -> None:
        """Refuse to bring together what is not known to lie in one frame.

        Raises
        ------
        GeometryError
            If the frames differ or one is unknown, and no registration between them is given.
        """
        if self.same_frame(other):
            return
        if registration is not None and registration.connects(other, self):
            return
        raise GeometryError(
            "The two images are not known to lie in one frame of reference",
            field="FrameOfReferenceUID",
            found=f"{self.frame or 'unknown'} and {other.frame or 'unknown'}",
            expected="one frame, or a registration between the two",
            mend="name a registration, or state that they share a frame with Geometry.with_frame",
        )

    def require_same_grid(self, other: Geometry) -> None:
        """Refuse arrays that do not have the same voxels in the same frame.

        Raises
        ------
        GeometryError
            If frames or grids differ.
        """
        self.require_same_frame(other)
        if not self.same_grid(other):
            raise GeometryError(
                "The two grids differ",
                field="geometry",
                found=f"{other.shape} voxels of {_mm(other.spacing)} at {_mm(other.affine[:3, 3])}",
                expected=f"{self.shape} voxels of {_mm(self.spacing)} at {_mm(self.affine[:3, 3])}",
                mend="resample one onto the other with Image.resample_to",
            )

    # -- other geometries made from it ---------------------------------------------------------------------------

    def with_frame(self, frame: str | None) -> Geometry:
        """The same grid, stated to lie in that frame."""
        return replace(self, frame=frame)

    def crop(self, index: Sequence[slice]) -> Geometry:
        """The grid of ``array[index]``; slices (z, y, x) may have a step.

        Raises
        ------
        GeometryError
            If nothing would be left.
        """
        starts, steps, sizes = [], [], []
        for cut, size in zip(index, self.shape, strict=True):
            positions = range(size)[cut]
            if len(positions) == 0:
                raise GeometryError("The cut leaves no voxels", field="slice", found=str(cut), expected=f"0 to {size}")
            starts.append(positions[0])
            steps.append(positions.step)
            sizes.append(len(positions))
        affine = self.affine.copy()
        affine[:3, 3] = self.to_mm(starts)
        affine[:3, :3] = self.affine[:3, :3] * np.asarray(steps, float)
        return replace(self, shape=_three(sizes), affine=affine)

    def with_spacing(self, spacing: Sequence[float]) -> Geometry:
        """A grid over the same box with other voxel edges (z, y, x) in mm; the centres of both boxes agree.

        Raises
        ------
        GeometryError
            If the edges are not three positive lengths.
        """
        old = np.asarray(self.spacing)
        new = np.asarray(spacing, float)
        if new.shape != (3,) or not np.isfinite(new).all() or (new <= 0).any():
            raise GeometryError(
                "A spacing is three positive lengths", field="spacing", found=spacing, expected="z, y, x"
            )
        # Rounded to 1e-6 first: 60 x 1.1 mm into 3.3 mm is 20 voxels, not 21.
        shape = np.maximum(1, np.ceil(np.round(np.asarray(self.shape) * old / new, 6)).astype(int))
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, :3] * (new / old)
        centre = self.to_mm((np.asarray(self.shape) - 1) / 2)
        affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
        return replace(self, shape=_three(shape), affine=affine)

    def as_dict(self) -> dict[str, object]:
        """The geometry as plain lists."""
        return {"shape": list(self.shape), "affine": self.affine.tolist(), "frame": self.frame, "space": self.space}


@dataclass(frozen=True, eq=False)
class Registration:
    """A named transform between two frames of reference.

    Parameters
    ----------
    name
        What made it, for provenance ("rigid, mutual information, 2024-03-01").
    source, target
        Frames of reference.
    matrix
        4 x 4, from millimetres of ``source`` to millimetres of ``target``.

    Raises
    ------
    GeometryError
        If it has no name, or the matrix is not finite, is singular or is no affine transform.
    """

    name: str
    source: str
    target: str
    matrix: Affine = field(default_factory=lambda: np.eye(4))

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise GeometryError("A registration needs a name", field="name", expected="what made it, and when")
        object.__setattr__(self, "matrix", _affine(self.matrix, field="matrix"))

    def connects(self, moving: Geometry, fixed: Geometry) -> bool:
        """Whether it leads from the one geometry's frame to the other's."""
        return self.source == moving.frame and self.target == fixed.frame


def _affine(values: ArrayLike, *, field: str) -> Affine:
    """A checked copy that nobody can change."""
    affine = np.array(values, dtype=float)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.allclose(affine[3], [0, 0, 0, 1]):
        raise GeometryError(
            f"The {field} is not a finite 4 x 4 matrix with last row 0 0 0 1", field=field, found=affine.tolist()
        )
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if not abs(np.linalg.det(affine[:3, :3])) > FLATNESS * edges.prod():
        raise GeometryError(
            f"The {field} is singular: voxels have no volume", field=field, found=affine[:3, :3].tolist()
        )
    affine.setflags(write=False)
    return affine


def _three(values: Sequence[int] | NDArray[np.int_]) -> tuple[int, int, int]:
    if len(values) != 3:
        raise GeometryError("A geometry has three space axes", field="shape", found=tuple(values), expected="z, y, x")
    return int(values[0]), int(values[1]), int(values[2])


def _mm(values: Sequence[float] | NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{v:.6g}" for v in values) + ") mm"
