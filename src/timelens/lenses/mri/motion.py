"""Does the body rest between the images of a series? Measured by default where a bolus passes, corrected on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.registration.frames import FrameMotion, apply_motion, register_frames
from timelens.errors import DataError, Problem
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image
from timelens.study.table import Table

__all__ = ["Rest", "at_rest"]

#: Series in which motion is measured where nobody says anything.
_LOOKED_AT = ("dce", "dsc")
#: Series whose images may hardly be alike: magnitudes on both sides of a null. What is found there is no motion.
_UNLIKE = ("inversion", "saturation", "look locker")
#: So many images are laid over each other to see whether anything moved.
_LOOKS = 12
#: Fields of fewer slices or voxels do not tell motion from contrast: tumours at rest seemed to move by centimetres.
_FEWEST_SLICES, _FEWEST_VOXELS = 6, 10_000
#: Motion is worth a warning beyond this part of a voxel and so many of its standard errors.
_PART, _SURE = 0.5, 4.0


@dataclass(frozen=True)
class Rest:
    """The series to measure, with warnings, the table ``motion`` and facts."""

    scan: Acquisition
    problems: tuple[Problem, ...] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def at_rest(scan: Acquisition, kind: str, mode: str) -> Rest:
    """A series whose motion is measured, or taken off.

    Parameters
    ----------
    scan
        Its image has one axis before z, y, x.
    kind
        As :func:`timelens.lenses.mri.matching.kind_of` names it.
    mode
        ``none``; ``measure``: twelve images are laid over each other, and a warning says what moved by more than half a
        voxel; ``rigid``: all images are, and each is brought back to the first one; ``auto``: ``measure`` for
        contrast-enhanced and first-pass series, else ``none``. Images of a recovery are never laid over each other, and
        fields of fewer than six slices or 10,000 voxels only where ``rigid`` asks for it.
    """
    image = scan.image
    chosen = ("measure" if kind in _LOOKED_AT else "none") if mode == "auto" else mode
    facts: dict[str, Any] = {"mode": chosen}
    if kind in _UNLIKE and chosen != "none":
        asked = Problem(
            "Motion is not looked for between images of a recovery: they differ too much", scan.where, "motion.mode",
            f"{kind}", "flip angles, echoes, b values or a series in time", "look at the images", "warning",
        )  # fmt: skip
        return Rest(scan, (asked,), facts={"mode": "none"})
    if chosen == "none" or image.geometry is None or len(image.shape) != 4:
        return Rest(scan, facts=facts)
    data = image.numpy()
    spacing = _along(image)
    count = data.shape[0]
    if chosen == "measure" and (data.shape[1] < _FEWEST_SLICES or data[0].size < _FEWEST_VOXELS):
        return Rest(scan, facts={**facts, "found": "the field is too small to tell motion"})
    at = np.arange(count) if chosen == "rigid" else np.unique(np.linspace(0, count - 1, _LOOKS).round().astype(int))
    try:
        motion = register_frames(data[at], spacing)
    except DataError as error:
        if chosen == "rigid":
            raise error.at(file=scan.where, field="motion") from None
        return Rest(scan, facts={**facts, "found": error.problem.message})
    worst = int(np.argmax(motion.displacement))
    facts |= {
        "images": int(at.size), "largest_mm": float(motion.displacement[worst]), "of_image": int(at[worst]),
        "largest_error_mm": float(motion.displacement_errors[worst]),
    }  # fmt: skip
    tables = {"motion": _table(motion, at, image)}
    if chosen == "rigid":
        mended = apply_motion(data, spacing, motion)
        facts["lost_voxels"] = int((~np.isfinite(mended)).any(axis=0).sum())
        corrected = Image(
            mended.astype(np.float32), unit=image.unit, axes=image.axes, geometry=image.geometry, frames=image.frames,
            name=image.name,
        )  # fmt: skip
        return Rest(replace(scan, data=corrected), tables=tables, facts=facts)
    moved = (motion.displacement > _PART * min(spacing)) & (motion.displacement > _SURE * motion.displacement_errors)
    if not moved.any():
        return Rest(scan, tables=tables, facts=facts)
    problem = Problem(
        "The body moved between the images of the series", scan.where, "motion",
        f"{motion.displacement[worst]:.1f} mm in image {at[worst] + 1} of {count}",
        f"less than half a voxel ({_PART * min(spacing):.1f} mm)", "write 'mri: {motion: {mode: rigid}}' in study.yaml",
        "warning",
    )  # fmt: skip
    return Rest(scan, (problem,), tables, facts)


def _along(image: Image) -> tuple[float, float, float]:
    """Size of a voxel along (z, y, x), mm."""
    assert image.geometry is not None
    edges = np.linalg.norm(image.geometry.affine[:3, :3], axis=0)
    return float(edges[0]), float(edges[1]), float(edges[2])


def _table(motion: FrameMotion, at: NDArray[np.intp], image: Image) -> Table:
    import pandas as pd

    rows: dict[str, Any] = {"image": at + 1}
    units = {"image": "1"}
    if image.frames is not None:
        rows["start_s"], units["start_s"] = image.frames.start[at], "s"
    for k, axis in enumerate("zyx"):
        rows[f"shift_{axis}_mm"], units[f"shift_{axis}_mm"] = motion.shifts[:, k], "mm"
    for k, axis in enumerate("zyx"):
        rows[f"turn_{axis}_deg"], units[f"turn_{axis}_deg"] = motion.turns[:, k], "deg"
    rows |= {"displacement_mm": motion.displacement, "displacement_error_mm": motion.displacement_errors}
    units |= {"displacement_mm": "mm", "displacement_error_mm": "mm"}
    return Table(pd.DataFrame(rows), units)
