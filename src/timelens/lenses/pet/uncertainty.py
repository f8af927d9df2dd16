"""How sure a PET number is: from the noise of the image where it can be had, else from published repeatability.

Noise: the liver (or another uniform reference) gives the noise's coefficient of variation and its correlation length;
iterative reconstruction makes the noise grow with the signal (Barrett 1994, doi:10.1088/0031-9155/39/5/004), so the
same coefficient of variation is taken for the lesion. It is the uncertainty of this image's noise alone.

Repeatability: half the width of the limits of agreement between two scans without change, 1.96 sqrt(2) wCV, with the
published within-subject coefficient of variation. It holds for 18F-FDG in people scanned by the QIBA profile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.regions.noise import correlation_length, mean_standard_error
from timelens.errors import DataError
from timelens.study.measurement import Measurement

__all__ = ["REPEATABILITY", "Noise", "image_noise", "with_noise", "with_repeatability"]

_QIBA = "QIBA FDG-PET/CT Profile 1.13 (wCV 12 %)"
_LODGE = "Lodge 2017 doi:10.2967/jnumed.116.186353 (wCV 10 %)"
#: Within-subject coefficient of variation and its source.
REPEATABILITY: dict[str, tuple[float, str]] = {
    "suv_max": (0.12, _QIBA),
    "sul_max": (0.12, _QIBA),
    "suv_mean": (0.10, _LODGE),
    "sul_mean": (0.10, _LODGE),
    "suv_peak": (0.10, _LODGE),
    "sul_peak": (0.10, _LODGE),
}


@dataclass(frozen=True)
class Noise:
    """Noise of an image: coefficient of variation in a uniform region, and FWHM (z, y, x) of its correlation in mm."""

    cov: float
    fwhm_mm: NDArray[np.float64]


def image_noise(array: NDArray[Any], reference: NDArray[np.bool_], spacing: Sequence[float]) -> Noise | None:
    """The noise in a reference region that is taken as uniform; None where it is too small to tell."""
    try:
        sd, fwhm = correlation_length(array, reference, spacing)
    except DataError:
        return None
    mean = float(array[reference].mean(dtype=np.float64))
    return Noise(sd / mean, fwhm) if mean > 0 and sd > 0 else None


def with_noise(
    rows: Sequence[Measurement], boxes: dict[str, NDArray[Any]], spacing: Sequence[float], noise: Noise
) -> list[Measurement]:
    """Rows of region means and TLG with the standard error that the noise gives them.

    Parameters
    ----------
    rows
        Lesion rows.
    boxes
        Mask of each region in its bounding box, by name.
    """
    relative = {name: mean_standard_error(box, spacing, noise.cov, noise.fwhm_mm) for name, box in boxes.items()}
    result = []
    for row in rows:
        if row.quantity in ("suv_mean", "sul_mean", "tlg") and row.region in relative and math.isfinite(row.value):
            error = abs(row.value) * relative[row.region]
            row = replace(
                row,
                uncertainty=error,
                uncertainty_kind="standard_error",
                lower=row.value - 1.959964 * error,
                upper=row.value + 1.959964 * error,
                level=0.95,
                flags=_joined(row.flags, f"uncertainty: image noise alone (COV {100 * noise.cov:.1f} % in the liver)"),
            )
        result.append(row)
    return result


def with_repeatability(rows: Sequence[Measurement]) -> list[Measurement]:
    """Rows that have no uncertainty yet with the published repeatability of their quantity, where there is one."""
    result = []
    for row in rows:
        if row.quantity in REPEATABILITY and row.uncertainty_kind == "none" and math.isfinite(row.value):
            wcv, source = REPEATABILITY[row.quantity]
            limit = 1.959964 * math.sqrt(2) * wcv * abs(row.value)
            row = replace(
                row,
                uncertainty=limit,
                uncertainty_kind="repeatability",
                lower=row.value - limit,
                upper=row.value + limit,
                level=0.95,
                flags=_joined(row.flags, f"uncertainty: published repeatability, {source}"),
            )
        result.append(row)
    return result


def _joined(*parts: str) -> str:
    return "; ".join(p for p in parts if p)
