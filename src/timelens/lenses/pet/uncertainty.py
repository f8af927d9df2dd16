"""How sure a PET number is: from the noise of the image where it can be had, else from published repeatability.

Noise: the liver (or another uniform reference) gives the noise's coefficient of variation and its correlation length;
iterative reconstruction makes the noise grow with the signal (Barrett 1994, doi:10.1088/0031-9155/39/5/004), so a
lesion has that coefficient of variation too, but for the counts on the lines through both
(:mod:`timelens.lenses.pet.local_noise`). It is the uncertainty of this image's noise alone.

Repeatability: half the width of the limits of agreement between two scans without change, 1.96 sqrt(2) wCV, with the
published within-subject coefficient of variation. It holds for 18F-FDG in people scanned by the QIBA profile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter

from timelens.engines.regions.labels import Regions
from timelens.engines.regions.noise import correlation_length, weighted_standard_error
from timelens.engines.regions.partial_volume import FWHM_PER_SIGMA
from timelens.errors import DataError
from timelens.study.measurement import Measurement
from timelens.study.provenance import DEFAULT_SEED

__all__ = ["REPEATABILITY", "Noise", "image_noise", "volume_errors", "with_noise", "with_repeatability"]

_QIBA = "QIBA FDG-PET/CT Profile 1.13 (wCV 12 %)"
_LODGE = "Lodge 2017 doi:10.2967/jnumed.116.186353 (wCV 10 %)"
_REPLICATES = 40
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


def volume_errors(
    array: NDArray[Any],
    labels: NDArray[Any],
    found: Regions,
    spacing: Sequence[float],
    noise: Sequence[Noise],
    *,
    threshold: float | None = None,
    fraction: float | None = None,
) -> NDArray[np.float64]:
    """Error and bias in mL of each lesion's volume under a threshold, by a bootstrap of the image noise.

    Noise of the image's own strength and correlation is added around the lesion again and again, and the rule applied
    anew. The spread of the volumes and the shift of their mean are the error. Where the threshold hangs on the maximum,
    which noise always raises, the shift is large and also given as the bias. Same input, same result.

    Parameters
    ----------
    array, labels
        SUV and lesion labels (z, y, x); voxels of other lesions stay theirs.
    found
        The lesions, in the order of the result.
    noise
        At each lesion, in the same order.
    threshold, fraction
        One of them: the threshold in the image's unit, or as a fraction of the lesion's maximum.

    Returns
    -------
    ndarray, shape (n, 2)
        Root mean square error, and the bias to take off the centre of the interval (0 for a fixed threshold); NaN for a
        lesion without voxels.

    Notes
    -----
    Davison & Hinkley, Bootstrap Methods and their Application, 1997, doi:10.1017/CBO9780511802843, section 2.1.
    """
    edges = np.asarray(spacing, float)
    rng = np.random.default_rng(DEFAULT_SEED)
    errors = np.full((len(found), 2), np.nan)
    for k in map(int, np.flatnonzero(found.counts)):
        sigma = noise[k].fwhm_mm / FWHM_PER_SIGMA / edges
        margin = np.maximum(2, np.ceil(2 * sigma * FWHM_PER_SIGMA)).astype(int)
        lower = np.maximum(found.lower[k] - margin, 0)
        upper = np.minimum(found.upper[k] + margin, array.shape)
        box = tuple(slice(int(a), int(b)) for a, b in zip(lower, upper, strict=True))
        values, here = array[box].astype(np.float64), labels[box]
        own = here == found.labels[k]
        free = binary_dilation(own, iterations=int(margin.max())) & (own | (here == 0))
        counts = np.empty(_REPLICATES)
        for replicate in range(_REPLICATES):
            white = gaussian_filter(rng.standard_normal(values.shape), sigma, mode="wrap")
            noisy = values * (1 + noise[k].cov * white / white.std())
            limit = threshold if threshold is not None else float(fraction or 0.0) * noisy[own].max()
            counts[replicate] = np.count_nonzero(free & (noisy >= limit))
        shift = counts.mean() - found.counts[k]
        bias = 0.0 if threshold is not None else shift
        errors[k] = np.array([math.hypot(counts.std(ddof=1), shift), bias]) * np.prod(edges) / 1e3
    return errors


def with_noise(
    rows: Sequence[Measurement],
    boxes: Mapping[str, NDArray[Any]],
    spacing: Sequence[float],
    noise: Mapping[str, Noise],
    volumes: dict[str, tuple[float, float]] | None = None,
) -> list[Measurement]:
    """Rows of region means, TLG and volumes with the standard error that the noise gives them.

    Parameters
    ----------
    rows
        Lesion rows.
    boxes
        SUV of each region in its bounding box, 0 outside, by name: noise grows with the signal voxel by voxel.
    noise
        At each region, by name.
    volumes
        Error and bias of each lesion's volume in mL from :func:`volume_errors`, by name; a given mask has none. The
        interval of a volume is centred on the volume less its bias; TLG bears both errors.
    """
    known = volumes or {}
    relative = {
        name: noise[name].cov * weighted_standard_error(box / box.sum(), spacing, noise[name].fwhm_mm)
        for name, box in boxes.items()
        if box.sum() > 0
    }
    result = []
    for row in rows:
        error, bias = math.nan, 0.0
        if row.region in relative and math.isfinite(row.value):
            if row.quantity in ("suv_mean", "sul_mean"):
                error = abs(row.value) * relative[row.region]
            elif row.quantity == "mtv":
                error, bias = known.get(row.region, (math.nan, 0.0))
            elif row.quantity == "tlg":
                volume = known.get(row.region, (0.0, 0.0))[0] / ((row.n or 1) * math.prod(spacing) / 1e3)
                error = abs(row.value) * math.hypot(relative[row.region], volume)
        if math.isfinite(error):
            row = replace(
                row,
                uncertainty=error,
                uncertainty_kind="standard_error",
                lower=row.value - bias - 1.959964 * error,
                upper=row.value - bias + 1.959964 * error,
                level=0.95,
                flags=_joined(
                    row.flags,
                    f"uncertainty: image noise alone (COV {100 * noise[row.region].cov:.1f} %)",
                    f"noise bias {bias:+.2g} mL, in the interval only" if bias else "",
                ),
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
