"""Partial volume of lesions: recovery coefficient and corrected mean, with what noise and the stated width leave open.

Corrected is ``c = (m - (1 - RC) B) / RC`` with the lesion's mean ``m`` and its background ``B``. Its variance follows
to first order: noise moves ``m`` and, where a shell of the image gives it, ``B``; they share correlated noise, so both
are one weighted sum of voxels. A width that is known to a standard uncertainty only moves ``RC``. That the lesion is
uniform and its outline right is not in the interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

import timelens
from timelens.engines.regions.labels import Regions
from timelens.engines.regions.noise import weighted_standard_error
from timelens.engines.regions.partial_volume import correct_mean, mask_recovery
from timelens.knowledge import quantities
from timelens.lenses.pet.segmentation import Lesions
from timelens.lenses.pet.uncertainty import Noise
from timelens.study.measurement import Measurement

__all__ = ["partial_volume_rows"]

#: Voxels around a lesion and in no other one are its background: from one resolution on, where little of the lesion
#: spills to, over this width.
_SHELL_MM = 7.0
#: Error of a median over that of a mean, for normal noise.
_OF_MEDIAN = math.sqrt(math.pi / 2)
#: Step in mm by which the slope of a recovery over the width is had.
_STEP_MM = 0.05

Box = tuple[slice, slice, slice]


def partial_volume_rows(
    array: NDArray[Any],
    means: NDArray[np.float64],
    found: Regions,
    lesions: Lesions,
    spacing: tuple[float, float, float],
    options: Mapping[str, Any],
    noise: Mapping[str, Noise],
) -> list[Measurement]:
    """Recovery coefficient and corrected mean of each lesion; nothing where the resolution is not stated.

    Parameters
    ----------
    array
        SUV (z, y, x).
    means
        Mean of each lesion.
    found, lesions
        The lesions, in one order.
    spacing
        Voxel edges (z, y, x) in mm.
    options
        ``fwhm_mm``; ``fwhm_sd_mm``, the standard uncertainty of it; ``background`` in g/mL.
    noise
        Noise at each lesion, by name; those without it get no error from noise.
    """
    fwhm = options.get("fwhm_mm")
    if fwhm is None:
        return []
    unsure = options.get("fwhm_sd_mm") or 0.0
    rows = []
    for k, name in enumerate(lesions.names.values()):
        if not found.counts[k]:
            continue
        mask, mean = found.mask(k), float(means[k])
        recovery = mask_recovery(mask, spacing, fwhm, outline="smooth")
        box, own, shell = _around(lesions.labels, found, k, spacing, float(np.max(fwhm)))
        given = options.get("background")
        background = given if given is not None else float(np.median(array[box][shell])) if shell.any() else math.nan
        corrected = float(correct_mean(mean, recovery, background))
        slope = _slope(mask, spacing, fwhm) if unsure else 0.0
        method = f"{lesions.method}; FWHM {np.round(fwhm, 2)} mm, background {background:.3g} g/mL"
        row = _row("recovery_coefficient", recovery, name, method, int(found.counts[k]))
        rows.append(_with_error(row, abs(slope) * unsure, _said(None, unsure)))
        row = _row("suv_mean_pvc", corrected, name, method, int(found.counts[k]))
        if not math.isfinite(corrected):
            rows.append(replace(row, reason="the region recovers too little of its contrast to be corrected"))
            continue
        here = noise.get(name)
        of_noise = 0.0
        if here is not None:
            weights = own * np.maximum(array[box], 0.0) / (own.sum() * recovery)
            if given is None:
                weights = weights - shell * (_OF_MEDIAN * background * (1 - recovery) / (shell.sum() * recovery))
            of_noise = here.cov * weighted_standard_error(weights, spacing, here.fwhm_mm)
        of_width = abs((corrected - background) / recovery * slope) * unsure
        rows.append(_with_error(row, math.hypot(of_noise, of_width), _said(here, unsure)))
    return rows


def _slope(mask: NDArray[Any], spacing: tuple[float, float, float], fwhm: Any) -> float:
    """Change of the recovery per mm of the width."""
    low, high = (
        mask_recovery(mask, spacing, (np.asarray(fwhm, float) + step).tolist(), outline="smooth")
        for step in (-_STEP_MM, _STEP_MM)
    )
    return (high - low) / (2 * _STEP_MM)


def _around(
    labels: NDArray[Any], found: Regions, k: int, spacing: Sequence[float], start_mm: float
) -> tuple[Box, NDArray[np.bool_], NDArray[np.bool_]]:
    """A box around a lesion, the lesion in it, and a shell around the lesion that touches no other one."""
    edges = np.asarray(spacing)
    margin = np.ceil((start_mm + _SHELL_MM) / edges).astype(int) + 1
    lower = np.maximum(found.lower[k] - margin, 0)
    upper = np.minimum(found.upper[k] + margin, labels.shape)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(lower, upper, strict=True))
    around = labels[z, y, x]
    own = around == found.labels[k]
    distance = distance_transform_edt(~own, sampling=edges)
    return (z, y, x), own, (distance > start_mm) & (distance <= start_mm + _SHELL_MM) & (around == 0)


def _said(noise: Noise | None, unsure: float) -> str:
    parts = [f"image noise (COV {100 * noise.cov:.1f} %)"] if noise is not None else []
    parts += [f"FWHM known to {unsure:g} mm"] if unsure else []
    return "uncertainty: " + " and ".join(parts) if parts else ""


def _with_error(row: Measurement, error: float, said: str) -> Measurement:
    if not (error > 0 and math.isfinite(error)):
        return row
    return replace(
        row,
        uncertainty=error,
        uncertainty_kind="standard_error",
        lower=row.value - 1.959964 * error,
        upper=row.value + 1.959964 * error,
        level=0.95,
        flags=said,
    )


def _row(quantity: str, value: float, region: str, method: str, n: int) -> Measurement:
    return Measurement(
        quantity=quantity,
        value=value,
        unit=quantities.get(quantity).unit,
        region=region,
        n=n,
        method=method,
        method_version=timelens.__version__,
    )
