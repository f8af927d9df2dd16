"""From slices in any order to a regular grid, with frames where places repeat.

Rules
-----
- Slices of one grid have one size, pixel spacing, orientation and frame of reference.
- Slices lie at one place if they are closer than :data:`SAME_PLACE` of the voxel edge along the normal.
- Each slice lies within :data:`POSITION_TOLERANCE` of the slice spacing from where equal steps from the first to the
  last slice put it. A gap that is a multiple of the others means missing slices; any other is uneven spacing.
- Steps that are not along the normal (gantry tilt) give a sheared affine.
- Where every place occurs several times, one coordinate (time, echo time, flip angle, b-value, inversion time) must
  tell the slices at each place apart in the same way.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError, GeometryError, MissingFieldError, Problem
from timelens.formats.dicom.slices import Slice
from timelens.study.axes import Axis, AxisKind
from timelens.study.geometry import Geometry

__all__ = ["POSITION_TOLERANCE", "SAME_PLACE", "Grid", "arrange"]

#: Part of the slice spacing that a slice may lie off its place in the grid.
POSITION_TOLERANCE = 0.05
#: Part of the smallest voxel edge within which two slices lie at one place.
SAME_PLACE = 0.01
#: Difference of a direction cosine between slices of one orientation (headers round to six digits or so).
SAME_DIRECTION = 1e-3
#: Part of the slice spacing that steps may lean sideways before the grid counts as sheared.
STRAIGHT = 1e-3

# coordinate: axis name, kind, unit, factor from DICOM's unit
_AXES: dict[str, tuple[str, AxisKind, str, float]] = {
    "echo": ("echo", "echo", "s", 1e-3),
    "flip": ("flip", "flip", "deg", 1.0),
    "inversion": ("inversion", "other", "s", 1e-3),
    "b-value": ("b", "b-value", "s/mm2", 1.0),
}


@dataclass(frozen=True)
class Grid:
    """Slices in order (frame, z), their geometry, and the axis that frames lie on (None for one frame)."""

    slices: tuple[tuple[Slice, ...], ...]
    geometry: Geometry
    axis: Axis | None
    problems: tuple[Problem, ...]


def arrange(slices: Sequence[Slice], *, descending: bool = False) -> Grid:
    """Put slices into a grid.

    Parameters
    ----------
    slices
        In any order.
    descending
        Whether z runs against the normal of the slices; along it by default.

    Raises
    ------
    GeometryError
        If they do not form a regular grid: the message says why and names slices.
    DataError
        If slices at one place cannot be told apart, or the series is gated.
    """
    slices, problems = _without_copies(slices)
    _require_alike(slices)
    first = slices[0]
    normal = np.cross(first.row, first.column)
    places = _places(slices, normal)
    if descending:
        places, normal = places[::-1], -normal
    frames, axis = _frames(places)
    line = np.array([place.position for place in frames[0]])
    step = _step(line, frames[0], normal)
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(first.row, first.spacing[1])
    affine[:3, 1] = np.multiply(first.column, first.spacing[0])
    affine[:3, 2] = step
    affine[:3, 3] = line[0]
    along = float(step @ normal)
    lean = float(np.linalg.norm(step - along * normal))
    if lean > STRAIGHT * along:
        angle = math.degrees(math.atan2(lean, along))
        problems.append(
            Problem(
                "The slices are stacked at a slant (gantry tilt): the grid is sheared",
                str(first.path),
                "ImagePositionPatient",
                f"{angle:.2f} degrees from the normal",
                "a grid at right angles",
                "volumes and positions account for it; resample before using a program that does not",
                "warning",
            )
        )
    shape = (len(line), first.rows, first.columns)
    return Grid(tuple(map(tuple, frames)), Geometry.from_lps(shape, affine, frame=first.frame), axis, tuple(problems))


def _without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], list[Problem]]:
    """Files that are there twice (same instance, same header) count once."""
    kept: dict[tuple[str, int | None], Slice] = {}
    problems = []
    for item in slices:
        key = (item.uid, item.index) if item.uid else (str(item.path), item.index)
        known = kept.setdefault(key, item)
        if known is item:
            continue
        if replace(known, path=item.path) != item:
            raise DataError(
                "Two files bear the same SOP instance UID and differ",
                file=item.path,
                field="SOPInstanceUID",
                found=f"also in {known.path}",
                expected="one file for an instance",
                mend="remove the wrong one",
            )
        problems.append(
            Problem(
                "A file is there twice; it was used once", str(item.path), "SOPInstanceUID", f"also {known.path}",
                severity="warning",
            )
        )  # fmt: skip
    return list(kept.values()), problems


def _require_alike(slices: Sequence[Slice]) -> None:
    first = slices[0]
    checks: list[tuple[str, str, Callable[[Slice], bool], Callable[[Slice], Any]]] = [
        ("different sizes", "Rows, Columns", lambda s: (s.rows, s.columns) == (first.rows, first.columns),
         lambda s: f"{s.rows} x {s.columns}"),
        ("mixed orientations", "ImageOrientationPatient",
         lambda s: bool(np.allclose(s.row + s.column, first.row + first.column, rtol=0, atol=SAME_DIRECTION)),
         lambda s: "\\".join(f"{v:.4g}" for v in s.row + s.column)),
        ("different pixel spacings", "PixelSpacing",
         lambda s: bool(np.allclose(s.spacing, first.spacing, rtol=1e-4, atol=0)),
         lambda s: f"{s.spacing[0]:g} x {s.spacing[1]:g} mm"),
        ("several frames of reference", "FrameOfReferenceUID", lambda s: s.frame == first.frame,
         lambda s: s.frame or "none"),
    ]  # fmt: skip
    for what, field, same, shown in checks:
        odd = [s for s in slices if not same(s)]
        if odd:
            raise GeometryError(
                f"The series mixes slices with {what}",
                file=odd[0].where,
                field=field,
                found=f"{shown(odd[0])} in {len(odd)} of {len(slices)} slices",
                expected=f"{shown(first)} as in {first.where}",
                mend="give the slices of one stack only (a localiser often hides in the same series)",
            )


def _places(slices: Sequence[Slice], normal: NDArray[np.float64]) -> list[list[Slice]]:
    """Slices by place along the normal, ascending."""
    heights = np.array([s.position for s in slices]) @ normal
    order = np.argsort(heights, kind="stable")
    near = SAME_PLACE * min(*slices[0].spacing, slices[0].thickness or math.inf)
    places: list[list[Slice]] = []
    last = -math.inf
    for i in order:
        if heights[i] - last > near:
            places.append([])
            last = heights[i]
        places[-1].append(slices[i])
    return places


def _frames(places: list[list[Slice]]) -> tuple[list[list[Slice]], Axis | None]:
    counts = Counter(len(p) for p in places)
    if set(counts) == {1}:
        return [[p[0] for p in places]], None
    every = [s for p in places for s in p]
    _refuse_gated(every)
    best: dict[Any, list[Slice]] | None = None
    most = max(counts)
    for key in ("temporal", "echo", "flip", "inversion", "b-value", "type", "acquired", "reference_s"):
        groups: dict[Any, list[Slice]] = defaultdict(list)
        for place in places:
            for item in place:
                groups[_key(item, key)].append(item)
        if None in groups or any(len({_key(s, key) for s in p}) != len(p) for p in places):
            continue
        if all(len(g) == len(places) for g in groups.values()) and len(groups) == most:
            return _labelled([groups[k] for k in sorted(groups)])
        if len(groups) == most:
            best = best or groups
    if best is not None:
        _refuse_incomplete(best, places)
    if counts.most_common(1)[0][0] == most and most > 1 and len(counts) == 1:
        raise _not_told_apart(places[0])
    if len(counts) > 1 and most > 2:
        few = next(p for p in places if len(p) < most)
        raise GeometryError(
            "Some frames lack slices",
            file=few[0].where,
            field="ImagePositionPatient",
            found=f"{len(few)} slices at {_shown(few[0])}",
            expected=f"{most}, as elsewhere",
            mend="copy the complete series again",
        )
    raise _not_told_apart(next(p for p in places if len(p) > 1))


def _key(item: Slice, key: str) -> Any:
    return getattr(item, key) if key in ("acquired", "reference_s") else item.keys.get(key)


def _refuse_gated(slices: Sequence[Slice]) -> None:
    for item in slices:
        kind = str(item.record.get("SeriesType", ""))
        phases = {s.keys.get("trigger") for s in slices} - {None}
        if "GATED" in kind or (len(phases) > 1 and item.record.get("Modality") == "PT"):
            raise DataError(
                "A gated series has phases of a cycle, not frames in time",
                file=item.path,
                field="SeriesType, TriggerTime",
                found=kind or f"{len(phases)} trigger times",
                expected="a static or dynamic series",
                mend="use the ungated reconstruction, or give the files of one phase",
            )


def _refuse_incomplete(groups: dict[Any, list[Slice]], places: list[list[Slice]]) -> None:
    key, short = next((k, g) for k, g in groups.items() if len(g) != len(places))
    there = {id(s) for s in short}
    gap = next((p for p in places if not any(id(s) in there for s in p)), places[0])
    raise GeometryError(
        "A frame lacks slices",
        file=short[0].where,
        field="ImagePositionPatient",
        found=f"{len(short)} of {len(places)} slices in the frame {key}; none at {_shown(gap[0])}",
        expected=f"{len(places)} slices in every frame",
        mend="copy the complete series again; passes over several bed positions are separate series",
    )


def _not_told_apart(place: Sequence[Slice]) -> GeometryError:
    return GeometryError(
        "Duplicate slices: nothing in the headers tells the slices at one place apart",
        file=place[0].where,
        field="ImagePositionPatient",
        found=f"{len(place)} slices at {_shown(place[0])}, also {place[1].where}",
        expected="one slice at each place, or different times, echoes, flip angles or b-values",
        mend="remove the copies, or give the files of one volume",
    )


def _labelled(frames: list[list[Slice]]) -> tuple[list[list[Slice]], Axis | None]:
    """The axis on which frames lie: what differs between them and agrees within each."""
    if len({f[0].keys.get("type") for f in frames}) > 1:
        raise DataError(
            "The series mixes kinds of image (magnitude, phase, maps ...)",
            file=frames[0][0].path,
            field="ImageType",
            found=", ".join(sorted({str(f[0].keys.get("type")) for f in frames})),
            expected="one kind",
            mend="give the files of one kind",
        )
    varying = [name for name in _AXES if len({f[0].keys.get(name) for f in frames}) > 1]
    varying = [name for name in varying if all(len({s.keys.get(name) for s in f}) == 1 for f in frames)]
    if len(varying) > 1:
        raise DataError(
            "More than one coordinate changes between the volumes of the series",
            file=frames[0][0].path,
            field=", ".join(varying),
            expected="one of echo time, flip angle, inversion time, b-value or time",
            mend="give the files of one setting",
        )
    if not varying:
        if all(f[0].acquired is not None for f in frames):
            frames = sorted(frames, key=lambda f: min(s.acquired for s in f if s.acquired is not None))
        return frames, Axis("t", "time", "s")
    name, kind, unit, factor = _AXES[varying[0]]
    found = [f[0].keys.get(varying[0], math.nan) for f in frames]
    values = np.array([v[0] if isinstance(v, tuple) else v for v in found], float) * factor
    order = np.argsort(values, kind="stable")
    return [frames[i] for i in order], Axis(name, kind, unit, values[order])


def _step(line: NDArray[np.float64], slices: Sequence[Slice], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """From one slice to the next, in mm."""
    if len(line) == 1:
        if not slices[0].thickness:
            raise MissingFieldError(
                "A single slice must say how thick it is",
                file=slices[0].where,
                field="SliceThickness",
                found="nothing",
                expected="mm",
            )
        return np.asarray(normal * slices[0].thickness)
    step = (line[-1] - line[0]) / (len(line) - 1)
    off = np.linalg.norm(line - (line[0] + np.arange(len(line))[:, None] * step), axis=1)
    if off.max() <= POSITION_TOLERANCE * np.linalg.norm(step):
        return np.asarray(step)
    gaps = np.diff(line @ normal)
    usual = float(np.median(gaps))
    sizes = gaps / usual
    at = int(np.argmax(np.abs(sizes - 1)))
    place = f"between {_shown(slices[at])} and {_shown(slices[at + 1])}"
    if sizes[at] > 1.5 and np.allclose(sizes, np.rint(sizes), rtol=0, atol=2 * POSITION_TOLERANCE):
        lacking = round(float(np.sum(np.rint(sizes) - 1)))
        raise GeometryError(
            f"{lacking} slice{'s are' if lacking > 1 else ' is'} missing",
            file=slices[at].where,
            field="ImagePositionPatient",
            found=f"a gap of {gaps[at]:.4g} mm {place}",
            expected=f"{usual:.4g} mm between all slices",
            mend="copy the complete series again",
        )
    if np.abs(sizes - 1).max() > POSITION_TOLERANCE:
        raise GeometryError(
            "The slices are unevenly spaced",
            file=slices[at].where,
            field="ImagePositionPatient",
            found=f"{gaps.min():.4g} to {gaps.max():.4g} mm; {gaps[at]:.4g} mm {place}",
            expected=f"equal gaps, to within {POSITION_TOLERANCE:.0%}",
            mend="reconstruct evenly, or give the files of an even part",
        )
    worst = int(np.argmax(off))
    raise GeometryError(
        "The slices do not lie on one straight line",
        file=slices[worst].where,
        field="ImagePositionPatient",
        found=f"{off[worst]:.4g} mm off at {_shown(slices[worst])}",
        expected=f"at most {POSITION_TOLERANCE:.0%} of the slice spacing",
        mend="give the slices of one stack only",
    )


def _shown(item: Slice) -> str:
    return "(" + ", ".join(f"{v:.6g}" for v in item.position) + ") mm"
