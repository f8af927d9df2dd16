"""Noise at a lesion, from the noise of the reference region and the counts on the lines through both.

Relative variance is inverse to the counts on the lines through a place (Strother SC, Casey ME, Hoffman EJ. IEEE Trans
Nucl Sci 1990;37:783, doi:10.1109/23.106715). In the neck, where little matter is in the way, the same scan shows less
noise than in the liver. The image itself says how much activity lies on a line, and a CT, or else the outline of the
body filled with water, how much of it gets out. Where the body leaves the field of view across the lines (a cut-out),
this cannot be known, and the noise of the reference is taken for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes

from timelens.engines.radioactivity.attenuation import WATER_PER_MM, mu_511kev
from timelens.engines.regions.labels import Regions
from timelens.lenses.pet.counts import block_means, coarse_counts, coarse_factor, counts_at
from timelens.lenses.pet.uncertainty import Noise
from timelens.study.geometry import Geometry
from timelens.study.image import Image

__all__ = ["noise_at_lesions"]

#: What is brighter than this part of the 99th percentile belongs to the body.
_BODY = 0.1
#: Part of the border of the slices that may be body; more is a cut-out.
_MOST_CUT = 0.1
#: Noise changes at most by this factor.
_MOST = 4.0
#: Voxels of the reference that are looked at.
_SAMPLE = 5000


def noise_at_lesions(
    suv: Image,
    reference: NDArray[np.bool_],
    noise: Noise,
    found: Regions,
    names: Mapping[int, str],
    ct: Image | None = None,
) -> dict[str, Noise]:
    """Noise at every lesion that has voxels, by name.

    Parameters
    ----------
    suv
        Volume (z, y, x).
    reference
        Mask in which ``noise`` was measured.
    noise
        From :func:`~timelens.lenses.pet.uncertainty.image_noise`.
    found, names
        The lesions, and their names in that order.
    ct
        Hounsfield units in the same frame of reference; without it the body is water.
    """
    assert suv.geometry is not None
    spacing = suv.geometry.spacing
    factor = coarse_factor(spacing)
    activity = np.maximum(block_means(np.nan_to_num(suv.numpy()), factor), 0.0)
    body = activity > _BODY * np.percentile(activity, 99)
    there = {name: k for k, name in enumerate(names.values()) if found.counts[k]}
    if _cut(body):
        return dict.fromkeys(there, noise)
    seen = coarse_counts(activity, _attenuation(body, suv.geometry, factor, ct), spacing)
    inside = np.flatnonzero(reference)
    own = _mean_inverse(seen, factor, inside[:: max(1, inside.size // _SAMPLE)], suv.shape)
    result = {}
    for name, k in there.items():
        ratio = np.sqrt(_mean_inverse(seen, factor, found.indices(k), suv.shape) / own)
        change = float(np.clip(ratio, 1 / _MOST, _MOST)) if np.isfinite(ratio) else 1.0
        result[name] = replace(noise, cov=noise.cov * change)
    return result


def _cut(body: NDArray[np.bool_]) -> bool:
    """Whether slices end within the body."""
    border = [body[:, 0, :], body[:, -1, :], body[:, :, 0], body[:, :, -1]]
    return float(np.concatenate([b.ravel() for b in border]).mean()) > _MOST_CUT


def _mean_inverse(
    seen: NDArray[np.float64], factor: tuple[int, int, int], flat: NDArray[np.int64], shape: tuple[int, ...]
) -> float:
    """Mean of the inverse counts: it goes with the variance of the noise."""
    counts = counts_at(seen, factor, np.stack(np.unravel_index(flat, shape)))
    return float(np.mean(1 / counts)) if (counts > 0).all() else float("nan")


def _attenuation(
    body: NDArray[np.bool_], geometry: Geometry, factor: tuple[int, int, int], ct: Image | None
) -> NDArray[np.float64]:
    """Coefficients in 1/mm on the block means."""
    if ct is not None:
        affine = geometry.affine.copy()
        affine[:3, :3] = affine[:3, :3] * np.array(factor)
        affine[:3, 3] = geometry.to_mm((np.array(factor) - 1) / 2)
        z, y, x = body.shape
        coarse = Geometry((z, y, x), affine, geometry.frame)
        return mu_511kev(ct.resample_to(coarse, order=1, fill=-1000.0).numpy())
    filled = np.stack([binary_fill_holes(plane) for plane in body])
    return np.where(filled, WATER_PER_MM, 0.0)
