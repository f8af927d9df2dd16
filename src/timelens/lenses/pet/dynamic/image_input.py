"""The input from the image: a blood region's curve, corrected for what a vessel of stated size loses to blurring.

A vessel or ventricle seen with a resolution of some millimetres shows part of its blood and part of its surroundings:
measured = RC blood + (1 - RC) background. RC follows from the stated resolution and the geometry: the region itself as
the object (a left ventricle), or a vessel of stated diameter along the middle of the region (an aorta).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.input_models import ParentFraction
from timelens.engines.kinetics.inputs import InputFunction
from timelens.engines.regions.partial_volume import FWHM_PER_SIGMA, correct_mean, mask_recovery
from timelens.errors import DataError, MissingFieldError, Problem
from timelens.lenses.pet.dynamic.models import AgentInput
from timelens.lenses.pet.dynamic.parent import parent_curve
from timelens.lenses.pet.dynamic.samples import BloodOptions, BloodSamples

__all__ = ["Recovery", "blood_recovery", "image_input", "shell_of", "vessel_recovery"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: The background is what lies this far around the region, in mm.
_SHELL_MM = (4.0, 12.0)
#: Frames that begin later than this, and later than their own length, in s, have missed the bolus.
_LATEST_START_S = 30.0
#: Sub-voxels per edge when a vessel is laid onto voxels.
_FINE = 5


@dataclass(frozen=True)
class Recovery:
    """The recovery coefficient of a blood region, and how it came about."""

    value: float
    how: str


def blood_recovery(
    mask: Mask,
    spacing: Sequence[float],
    *,
    fwhm_mm: float | Sequence[float] | None,
    vessel_diameter_mm: float | None = None,
) -> Recovery:
    """What part of the blood's concentration the mean over the region shows.

    Without a stated resolution nothing is corrected, and that is said.
    """
    if fwhm_mm is None:
        return Recovery(1.0, "not corrected for recovery (resolution not stated)")
    if vessel_diameter_mm is None:
        value = mask_recovery(mask, spacing, fwhm_mm, outline="smooth")
        return Recovery(value, f"recovery {value:.3f} of the region itself, FWHM {fwhm_mm} mm")
    value = vessel_recovery(mask, spacing, fwhm_mm, vessel_diameter_mm)
    return Recovery(value, f"recovery {value:.3f} in a vessel of {vessel_diameter_mm:g} mm, FWHM {fwhm_mm} mm")


def vessel_recovery(
    mask: Mask, spacing: Sequence[float], fwhm_mm: float | Sequence[float], diameter_mm: float
) -> float:
    """Recovery over a region that lies in a vessel which runs along z through the middle of the region's slices.

    The vessel is longer than the region by three standard deviations of the resolution at both ends.
    """
    from scipy.ndimage import gaussian_filter

    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    if slices.size == 0 or not diameter_mm > 0:
        raise DataError("A vessel needs a region and a diameter", field="vessel_diameter_mm", found=diameter_mm)
    sigma = np.broadcast_to(np.asarray(fwhm_mm, float) / FWHM_PER_SIGMA, (3,)) / np.asarray(spacing)
    margin = np.ceil(3 * sigma).astype(int) + 1
    reach = margin[1:] + np.ceil(diameter_mm / 2 / np.asarray(spacing[1:])).astype(int)
    centres = np.array([np.argwhere(mask[z]).mean(axis=0) for z in slices])
    low = np.floor(centres.min(axis=0)).astype(int) - reach
    size = np.ceil(centres.max(axis=0)).astype(int) + reach - low + 1
    depth = range(int(slices[0]) - int(margin[0]), int(slices[-1]) + int(margin[0]) + 1)
    fine = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    rows = ((low[0] + np.arange(size[0]))[:, None] + fine).reshape(-1)
    columns = ((low[1] + np.arange(size[1]))[:, None] + fine).reshape(-1)
    vessel = np.zeros((len(depth), *size))
    inside = np.zeros(vessel.shape, bool)
    for k, z in enumerate(depth):
        cy, cx = centres[int(np.argmin(np.abs(slices - z)))]
        near = ((rows - cy) * spacing[1])[:, None] ** 2 + ((columns - cx) * spacing[2])[None, :] ** 2
        disc = near <= (diameter_mm / 2) ** 2
        vessel[k] = disc.reshape(size[0], _FINE, size[1], _FINE).mean(axis=(1, 3))
        if 0 <= z < mask.shape[0]:
            for y, x in np.argwhere(mask[z]):
                inside[k, y - low[0], x - low[1]] = True
    return float(gaussian_filter(vessel, sigma, mode="nearest")[inside].mean())


def shell_of(mask: Mask, spacing: Sequence[float]) -> Mask:
    """The voxels around a region that are its background."""
    from scipy.ndimage import distance_transform_edt

    edges = np.asarray(spacing)
    margin = np.ceil(_SHELL_MM[1] / edges).astype(int) + 1
    where = np.argwhere(mask)
    lower = np.maximum(where.min(axis=0) - margin, 0)
    upper = np.minimum(where.max(axis=0) + margin + 1, mask.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(lower, upper, strict=True))
    distance = distance_transform_edt(~mask[box], sampling=edges)
    shell = np.zeros_like(mask)
    shell[box] = (distance > _SHELL_MM[0]) & (distance <= _SHELL_MM[1])
    return shell


def image_input(
    frames: Frames,
    blood: Floats,
    background: Floats,
    recovery: Recovery,
    *,
    plasma_ratio: float | None,
    metabolites: bool | None,
    fractions: Sequence[BloodSamples] = (),
    parent: ParentFraction | None = None,
    options: BloodOptions | None = None,
    region: str = "blood pool",
) -> tuple[AgentInput, list[Problem]]:
    """Input from a blood region: linear through the middles of the frames, from zero at the injection.

    Parameters
    ----------
    blood, background
        (frames,), Bq/mL: means of the region and of its surroundings.
    plasma_ratio
        Plasma over whole blood, from the user or the agent's record.
    metabolites
        Whether plasma holds labelled metabolites.
    fractions
        Blood tables with a parent fraction, if there are any.
    parent
        A parent fraction that the user states as a model with its parameters.

    Raises
    ------
    MissingFieldError
        If the ratio of plasma to whole blood is not known, or a parent fraction is needed and not there.
    DataError
        If the frames begin after the bolus, or the region shows too little of its blood.
    """
    if plasma_ratio is None:
        raise MissingFieldError(
            "The image shows whole blood, and the ratio of plasma to whole blood is not known for this agent",
            field="plasma_ratio",
            found="nothing",
            expected="plasma over whole blood",
            mend="write plasma_ratio in the step 'input' (1.0 where whole blood may be taken for plasma)",
        )
    if frames.start[0] > max(_LATEST_START_S, frames.duration[0]):
        raise DataError(
            "The frames begin too late for an image-derived input: the bolus is missing from its integral",
            field="frame times",
            found=f"first frame at {frames.start[0]:g} s",
            expected=f"within {_LATEST_START_S:g} s of the injection, or within the length of the first frame",
            mend="use blood samples from the injection on, or a reference region",
        )
    problems: list[Problem] = []
    corrected = correct_mean(blood, recovery.value, background) if recovery.value < 1 else np.asarray(blood, float)
    if not np.isfinite(corrected).all():
        raise DataError(
            "The blood region shows too little of its blood to be corrected",
            field="fwhm_mm",
            found=recovery.how,
            expected="a larger region, or a smaller width",
        )
    corrected = np.maximum(corrected, 0.0)
    times, values = frames.middle, corrected
    if times[0] > 0:
        times, values = np.append(0.0, times), np.append(0.0, values)
    whole = InputFunction(times, values, "whole_blood", "Bq/mL").held_until(float(frames.end[-1]))
    steps = [f"blood of the region {region!r}", recovery.how, f"plasma / whole blood {plasma_ratio:g}"]
    plasma = replace(whole, values=whole.values * plasma_ratio, kind="plasma")
    if parent is not None:
        steps.append(f"parent fraction {parent.model}, stated")
        unchanged = parent.parent(plasma)
    else:
        unchanged = parent_curve(plasma, fractions, options or BloodOptions(), metabolites, steps, problems)
    return AgentInput(unchanged, whole, source="image-derived", unit="Bq/mL", how=tuple(steps)), problems
