"""Bed positions: several series of one body, each with times of its own, as one grid.

In a whole-body scan with several passes every bed position is seen at other moments. Each keeps its own frames here;
what is joined are the results. Beds that overlap share slices; maps are averaged there by the inverse of their
variance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.frames import Frames
from timelens.errors import DataError, GeometryError
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

__all__ = ["Bed", "beds_by_slice_times", "group_beds", "join_maps", "stitched", "whole_grid"]

#: Slices of two beds are the same if their positions differ by less than this part of a slice.
_SLICE_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class Bed:
    """One position of the bed: (t, z, y, x) with its frames in s from the injection."""

    image: Image
    frames: Frames

    @property
    def geometry(self) -> Geometry:
        """Of its volume."""
        assert self.image.geometry is not None
        return self.image.geometry


class _Joined:
    """Frames of several series of one grid, in order of time, read when asked for."""

    def __init__(self, parts: Sequence[Any], order: Sequence[tuple[int, int]]) -> None:
        self._parts, self._order = parts, list(order)
        self.shape = (len(self._order), *parts[0].shape[1:])
        self.dtype = np.result_type(*[p.dtype for p in parts])
        self.ndim = len(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        first: Any = key[0] if isinstance(key, tuple) else key
        rest: tuple[Any, ...] = key[1:] if isinstance(key, tuple) else ()
        if isinstance(first, int | np.integer):
            series, frame = self._order[first]
            return np.asarray(self._parts[series][(frame, *rest)])
        chosen = [self._order[i] for i in range(len(self._order))[first]]
        return np.stack([np.asarray(self._parts[s][(f, *rest)]) for s, f in chosen])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


def group_beds(series: Sequence[tuple[Image, Frames]]) -> list[Bed]:
    """Series of one grid as one bed with all their frames; beds in order along the body.

    Raises
    ------
    DataError
        If two series of one bed overlap in time.
    """
    groups: list[list[tuple[Image, Frames]]] = []
    for image, frames in series:
        assert image.geometry is not None
        home = next((g for g in groups if _same_place(g[0][0], image)), None)
        if home is None:
            groups.append([(image, frames)])
        else:
            home.append((image, frames))
    beds = [_one_bed(group) for group in groups]
    return sorted(beds, key=lambda bed: float(bed.geometry.to_mm((0, 0, 0))[2]))


def _same_place(first: Image, second: Image) -> bool:
    assert first.geometry is not None and second.geometry is not None
    return first.geometry.same_grid(second.geometry)


def _one_bed(group: Sequence[tuple[Image, Frames]]) -> Bed:
    if len(group) == 1:
        return Bed(*group[0])
    order = sorted(((float(frames.start[f]), s, f) for s, (_, frames) in enumerate(group) for f in range(len(frames))))
    places = [(s, f) for _, s, f in order]
    start = np.array([group[s][1].start[f] for s, f in places])
    end = np.array([group[s][1].end[f] for s, f in places])
    joined: Any = _Joined([image.array for image, _ in group], places)
    first = group[0][0]
    image = Image(
        joined, unit=first.unit, axes=None, geometry=first.geometry, quantity=first.quantity,
        decay_reference=first.decay_reference, frames=FrameTiming(start, end - start, "injection"), name=first.name,
    )  # fmt: skip
    return Bed(image, Frames(start, end))


def beds_by_slice_times(image: Image, start: NDArray[Any], duration: NDArray[Any]) -> list[Bed]:
    """A stitched series whose slices were measured at different times, as beds of equal times.

    Parameters
    ----------
    image
        (t, z, y, x).
    start, duration
        (t, z), s from the injection: of each slice in each pass.

    Raises
    ------
    DataError
        If shapes do not fit.
    """
    begins, lasts = np.asarray(start, float), np.asarray(duration, float)
    if begins.shape != image.shape[:2] or lasts.shape != begins.shape:
        raise DataError(
            "Times of slices need one row per pass and one column per slice", field="slice times",
            found=f"{begins.shape}", expected=f"{image.shape[:2]}",
        )  # fmt: skip
    times = np.concatenate([begins, lasts])
    edges = np.flatnonzero((np.abs(np.diff(times, axis=1)) > 1e-3).any(axis=0)) + 1
    beds = []
    for low, high in zip((0, *edges), (*edges, image.shape[1]), strict=True):
        part = image.isel(z=slice(int(low), int(high)))
        frames = Frames(begins[:, low], begins[:, low] + lasts[:, low])
        beds.append(Bed(part.with_info(frames=FrameTiming(begins[:, low], lasts[:, low], "injection")), frames))
    return beds


def whole_grid(beds: Sequence[Bed]) -> tuple[Geometry, list[slice]]:
    """The grid that holds all beds, and where the slices of each lie in it.

    Raises
    ------
    GeometryError
        If beds differ in frame of reference, voxels, orientation, or place in the plane, or leave a gap.
    """
    first = beds[0].geometry
    step = first.affine[:3, 0]
    places: list[int] = []
    for bed in beds:
        own = bed.geometry
        offset = np.linalg.solve(first.affine[:3, :3], own.affine[:3, 3] - first.affine[:3, 3])
        same = np.allclose(own.affine[:3, :3], first.affine[:3, :3], atol=1e-3) and own.shape[1:] == first.shape[1:]
        whole = abs(offset[0] - round(offset[0])) < _SLICE_TOLERANCE and np.abs(offset[1:]).max() < _SLICE_TOLERANCE
        if not (same and whole and (own.frame == first.frame)):
            raise GeometryError(
                "The bed positions are not parts of one grid", field="affine",
                found=f"an offset of {np.round(offset, 2)} voxels", expected="whole slices along the body",
                mend="resample the series to one grid, or measure them one by one",
            )  # fmt: skip
        places.append(round(offset[0]))
    low = min(places)
    high = max(p + b.geometry.shape[0] for p, b in zip(places, beds, strict=True))
    covered = np.zeros(high - low, bool)
    where = [slice(p - low, p - low + b.geometry.shape[0]) for p, b in zip(places, beds, strict=True)]
    for part in where:
        covered[part] = True
    if not covered.all():
        raise GeometryError(
            "The bed positions leave a gap", field="affine", found=f"{int((~covered).sum())} slices without a series"
        )
    affine = first.affine.copy()
    affine[:3, 3] = first.affine[:3, 3] + low * step
    return replace(first, shape=(high - low, *first.shape[1:]), affine=affine), where


def stitched(volumes: Sequence[NDArray[Any]], where: Sequence[slice], shape: Sequence[int]) -> NDArray[np.float32]:
    """Volumes of beds as one, the mean where they overlap."""
    total, count = np.zeros(tuple(shape)), np.zeros(int(shape[0]))
    for volume, part in zip(volumes, where, strict=True):
        total[part] += volume
        count[part] += 1
    return (total / count[:, None, None]).astype(np.float32)


def join_maps(maps: Sequence[Mapping[str, Image]], where: Sequence[slice], grid: Geometry) -> dict[str, Image]:
    """Maps of all beds on the whole grid; where two overlap, averaged by the inverse of their variance.

    A map with a standard error is paired with it by name (``Ki`` and ``Ki_se``); of others, such as reasons, the first
    bed's value holds.
    """
    joined: dict[str, Image] = {}
    for name, example in maps[0].items():
        if name.endswith("_se"):
            continue
        error = f"{name}_se"
        if error not in maps[0]:
            plain = np.zeros(grid.shape, example.dtype)
            for own, part in reversed(list(zip(maps, where, strict=True))):
                plain[part] = own[name].numpy()
            joined[name] = Image(plain, unit=example.unit, geometry=grid, quantity=example.quantity, name=name)
            continue
        total, weight = np.zeros(grid.shape), np.zeros(grid.shape)
        for own, part in zip(maps, where, strict=True):
            value, spread = own[name].numpy().astype(float), own[error].numpy().astype(float)
            good = np.isfinite(value) & np.isfinite(spread) & (spread > 0)
            share = np.where(good, 1.0 / np.where(good, spread, 1.0) ** 2, 0.0)
            total[part] += share * np.where(good, value, 0.0)
            weight[part] += share
        with np.errstate(divide="ignore", invalid="ignore"):
            values, errors = total / weight, 1.0 / np.sqrt(weight)
        errors[weight == 0] = np.nan
        for key, array, quantity in ((name, values, example.quantity), (error, errors, None)):
            joined[key] = Image(array.astype(np.float32), unit=example.unit, geometry=grid, quantity=quantity, name=key)
    return joined
