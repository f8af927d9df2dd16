"""Mesh: a triangulated surface in a frame of reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timelens.errors import GeometryError

__all__ = ["Mesh"]


@dataclass(frozen=True, eq=False)
class Mesh:
    """Vertices (n, 3) in millimetres (X, Y, Z) and triangles (m, 3) of vertex numbers.

    Raises
    ------
    GeometryError
        If shapes are wrong or a triangle names a vertex that is not there.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    frame: str | None = None

    def __post_init__(self) -> None:
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3 or self.faces.ndim != 2 or self.faces.shape[1] != 3:
            raise GeometryError(
                "A mesh needs vertices (n, 3) and faces (m, 3)",
                found=f"{self.vertices.shape}, {self.faces.shape}",
            )
        if self.faces.size and (self.faces.min() < 0 or self.faces.max() >= len(self.vertices)):
            raise GeometryError(
                "A face names a vertex that is not there", found=int(self.faces.max()), expected=len(self.vertices)
            )
