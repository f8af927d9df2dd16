"""Region: which voxels, contours, points or cells a measurement belongs to.

A region set holds numbered regions with names. Voxel labels live on a grid; contours, points and cell polygons live in
millimetres of a frame of reference and are laid onto a grid when voxels are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from timelens.errors import GeometryError, UsageError
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.provenance import SourceFile

__all__ = ["SAME_PLANE", "SLICE_TOLERANCE", "Region", "Role"]

Role = Literal["lesion", "liver", "blood pool", "organ", "exclude", "body", "reference", "unknown"]

#: A contour whose points spread over more than this part of the slice spacing lies across the slices.
SLICE_TOLERANCE = 0.5
#: Contours closer than this part of the slice spacing lie in one plane.
SAME_PLANE = 0.05


@dataclass(frozen=True, eq=False)
class Region:
    """A set of numbered, named regions.

    Parameters
    ----------
    id
        Name of the set, unique in its session.
    kind
        ``labels``, ``contours``, ``points`` or ``polygons``.
    names
        Number to name, for instance ``{1: "lesion-1"}``.
    labels
        For ``labels``: an integer image (z, y, x), 0 is background.
    shapes
        For the other kinds: number to arrays (n, 3) of millimetres (X, Y, Z); a contour or polygon is closed.
    frame
        Frame of reference of the shapes (labels have their own geometry).
    method
        How it was made: ``given``, ``fixed SUV 4.0``, ``41 % of maximum`` ...
    roles
        Number to role; ``lesion`` where nothing is said.
    identity
        Number to the lesion's identity over time, where it is known.
    """

    id: str
    kind: Literal["labels", "contours", "points", "polygons"]
    names: Mapping[int, str]
    labels: Image | None = None
    shapes: Mapping[int, tuple[NDArray[np.float64], ...]] = field(default_factory=dict)
    frame: str | None = None
    method: str = "given"
    roles: Mapping[int, Role] = field(default_factory=dict)
    identity: Mapping[int, str] = field(default_factory=dict)
    sources: tuple[SourceFile, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.kind == "labels") != (self.labels is not None):
            raise UsageError("A region of kind 'labels' has labels, and no other kind has", field="labels")
        if self.labels is not None and self.labels.dtype.kind not in "iub":
            raise UsageError("Labels are integers", field="labels", found=self.labels.dtype, expected="an integer type")
        if any(n < 1 for n in self.names):
            raise UsageError("Regions are numbered from 1; 0 is background", field="names", found=sorted(self.names))

    def name(self, number: int) -> str:
        """Name of a region, or its number as text."""
        return self.names.get(number, str(number))

    def role(self, number: int) -> Role:
        """Role of a region; ``lesion`` where nothing is said."""
        return self.roles.get(number, "lesion")

    def with_identity(self, identity: Mapping[int, str]) -> Region:
        """The same regions with lesion identities."""
        return replace(self, identity={**self.identity, **identity})

    def on(self, target: Geometry, *, only: Sequence[int] | None = None) -> NDArray[np.int32]:
        """Voxel labels on a grid.

        Labels on the same grid are taken as they are; on another grid of the same frame by the nearest voxel. A slice
        takes the contours of the nearest plane that was drawn, if that lies within half the spacing of the planes, and
        the voxels whose centres lie inside by the even-odd rule. Where regions overlap, the higher number wins; ask for
        one at a time with ``only`` where each is wanted whole.

        Parameters
        ----------
        target
            The grid.
        only
            Numbers to lay; all by default.

        Returns
        -------
        ndarray of int32, shape (z, y, x)

        Raises
        ------
        GeometryError
            If frames are not known to agree, or contours are not parallel to the slices of the grid.
        """
        if self.labels is not None:
            geometry = self.labels.geometry
            assert geometry is not None
            target.require_same_frame(geometry)
            image = self.labels if target.same_grid(geometry) else self.labels.resample_to(target, order=0)
            result = image.numpy().astype(np.int32, copy=False)
            return result if only is None else np.where(np.isin(result, list(only)), result, 0).astype(np.int32)
        target.require_same_frame(Geometry((1, 1, 1), np.eye(4), self.frame, target.space))
        result = np.zeros(target.shape, np.int32)
        for number in sorted(self.shapes) if only is None else only:
            result[self._mask(number, target)] = number
        return result

    def masks(self, target: Geometry, numbers: Iterable[int]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Each of some regions whole, as a mask on a grid; label images are laid once for all of them."""
        whole = self.on(target) if self.labels is not None else None
        for number in numbers:
            yield number, (self.on(target, only=[number]) if whole is None else whole) == number

    def _mask(self, number: int, target: Geometry) -> NDArray[np.bool_]:
        if self.kind == "points":
            mask = np.zeros(target.shape, bool)
            index = np.rint(target.to_index(np.concatenate(self.shapes[number]))).astype(int)
            inside = ((index >= 0) & (index < target.shape)).all(axis=1)
            mask[tuple(index[inside].T)] = True
            return mask
        from timelens.engines.regions.rasterize import rasterize_polygons

        levels: list[float] = []
        planes: list[NDArray[np.float64]] = []
        for contour in self.shapes[number]:
            index = target.to_index(contour)
            if np.ptp(index[:, 0]) > SLICE_TOLERANCE:
                raise GeometryError(
                    f"A contour of {self.name(number)!r} is not parallel to the slices of the image",
                    field="ContourData",
                    found=f"slice positions {index[:, 0].min():.3f} to {index[:, 0].max():.3f}",
                    expected="one slice",
                    mend="rasterise it onto the image it was drawn on",
                )
            levels.append(float(index[:, 0].mean()))
            planes.append(index[:, :0:-1])
        return rasterize_polygons(_on_slices(np.array(levels), planes, target.shape[0]), target.shape)


def _on_slices(
    levels: NDArray[np.float64], planes: list[NDArray[np.float64]], slices: int
) -> list[tuple[int, NDArray[np.float64]]]:
    """The contours of the nearest plane for each slice that lies within half the spacing of the planes."""
    order = np.argsort(levels, kind="stable")
    starts = np.concatenate([[True], np.diff(levels[order]) > SAME_PLANE])
    group = np.cumsum(starts) - 1
    places = np.array([levels[order][group == g].mean() for g in range(group[-1] + 1)])
    reach = 0.5 * (float(np.median(np.diff(places))) if len(places) > 1 else 1.0) + SAME_PLANE
    found = []
    for number in range(max(0, math.ceil(places[0] - reach)), min(slices - 1, math.floor(places[-1] + reach)) + 1):
        nearest = int(np.argmin(np.abs(places - number)))
        if abs(places[nearest] - number) <= reach:
            found += [(number, planes[k]) for k in order[group == nearest]]
    return found
