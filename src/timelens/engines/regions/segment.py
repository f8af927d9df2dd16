"""Segmentation rules, each under its own name.

All rules take an image in the unit of the threshold (SUV, as a rule) and return labels with the name of the rule and
its parameters, to be kept with every value measured in them. A voxel equal to the threshold is inside; NaN never is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from timelens.engines.regions.grid import IntArray, checked_shape, float_slab, same_grid
from timelens.engines.regions.labels import Connectivity, Regions, components, find_regions
from timelens.engines.regions.statistics import gather_values
from timelens.errors import DataError, UsageError

__all__ = [
    "Seed",
    "Segmentation",
    "checked_seed",
    "drop_components",
    "fixed_threshold",
    "keep_components",
    "percist",
    "percist_threshold",
    "suv4",
]

Seed = Sequence[int]

_CHUNK = 1 << 23


@dataclass(frozen=True)
class Segmentation:
    """Labels (z, y, x), the rule that made them, and its parameters."""

    labels: IntArray
    method: str
    parameters: Mapping[str, Any]


def fixed_threshold(
    image: Any,
    spacing: Sequence[float],
    threshold: float,
    *,
    min_volume_ml: float = 0.0,
    connectivity: Connectivity = 26,
    exclude: Any | None = None,
    drop_seeds: Sequence[Seed] = (),
    keep_seeds: Sequence[Seed] = (),
) -> Segmentation:
    """Connected components of all voxels at or above a threshold, labelled by decreasing volume, then position.

    Parameters
    ----------
    image
        Volume (z, y, x), an array or lazy.
    spacing
        Voxel edges (z, y, x) in mm.
    threshold
        In the image's unit.
    min_volume_ml
        Smaller components are dropped.
    connectivity
        Neighbours of a voxel: 6, 18 or 26.
    exclude
        Mask of organs with physiological uptake; its voxels are never part of a lesion.
    drop_seeds, keep_seeds
        Voxels (z, y, x). The component that a seed hits is dropped (physiological uptake), or, if there are seeds to
        keep, only hit ones stay. A seed that hits nothing is an error.
    """
    parameters = {
        "threshold": float(threshold),
        "min_volume_ml": float(min_volume_ml),
        "connectivity": connectivity,
        "exclude": exclude is not None,
        "drop_seeds": [tuple(map(int, seed)) for seed in drop_seeds],
        "keep_seeds": [tuple(map(int, seed)) for seed in keep_seeds],
    }
    found = components(
        _above(image, threshold, exclude), connectivity=connectivity, spacing=spacing, min_volume_ml=min_volume_ml
    )
    labels = found.paint()
    if drop_seeds:
        labels = drop_components(labels, drop_seeds)
    if keep_seeds:
        labels = keep_components(labels, keep_seeds)
    return Segmentation(labels, f"fixed_{threshold:g}", parameters)


def suv4(image: Any, spacing: Sequence[float], **options: Any) -> Segmentation:
    """SUV of at least 4 in components of at least 3 mL.

    The rule of the international benchmark for total metabolic tumour volume in lymphoma (Boellaard et al.,
    J Nucl Med 2024, doi:10.2967/jnumed.124.267789). Takes the options of :func:`fixed_threshold`.
    """
    options.setdefault("min_volume_ml", 3.0)
    result = fixed_threshold(image, spacing, 4.0, **options)
    return Segmentation(result.labels, "suv4_3ml", result.parameters)


def percist_threshold(mean: float, sd: float, *, reference: Literal["liver", "blood_pool"] = "liver") -> float:
    """Threshold of PERCIST 1.0: 1.5 times the liver's mean, or 2 times the blood pool's where the liver is diseased.

    Two standard deviations of the reference are added to either (Wahl et al., J Nucl Med 2009,
    doi:10.2967/jnumed.108.057307).
    """
    factors = {"liver": 1.5, "blood_pool": 2.0}
    if reference not in factors:
        raise UsageError("No such reference", field="reference", found=reference, expected="'liver' or 'blood_pool'")
    if not (np.isfinite(mean) and np.isfinite(sd) and mean > 0 and sd >= 0):
        raise DataError(
            "The reference region gives no threshold",
            field=reference,
            found=f"mean {mean:g}, SD {sd:g}",
            expected="a positive mean and its standard deviation",
            mend="check the reference region and the unit of the image",
        )
    return factors[reference] * mean + 2.0 * sd


def percist(
    image: Any,
    spacing: Sequence[float],
    reference_mask: Any,
    *,
    reference: Literal["liver", "blood_pool"] = "liver",
    **options: Any,
) -> Segmentation:
    """Components at or above the PERCIST threshold of a reference region.

    Parameters
    ----------
    image
        SUL (SUV by lean body mass), volume (z, y, x).
    spacing
        Voxel edges (z, y, x) in mm.
    reference_mask
        The reference region: a 3 cm sphere in the right liver, or 1 cm x 2 cm in the descending aorta.
    reference
        Which one it is; see :func:`percist_threshold`.
    **options
        As for :func:`fixed_threshold`.
    """
    values, _ = gather_values(image, find_regions(reference_mask))
    if len(values) == 0:
        raise DataError(
            "The reference region is empty", field=reference, found="no voxel", expected="a region", mend="draw it"
        )
    mean, sd = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    threshold = percist_threshold(mean, sd, reference=reference)
    result = fixed_threshold(image, spacing, threshold, **options)
    facts = {"reference": reference, "reference_mean": mean, "reference_sd": sd, "reference_voxels": len(values)}
    return Segmentation(result.labels, f"percist_{reference}", {**result.parameters, **facts})


def drop_components(labels: IntArray, seeds: Sequence[Seed]) -> IntArray:
    """Labels without the regions that the seeds (z, y, x) hit, numbered anew."""
    regions, hit = _hit(labels, seeds)
    return regions.select(np.flatnonzero(~hit)).ordered().paint()


def keep_components(labels: IntArray, seeds: Sequence[Seed]) -> IntArray:
    """Only the regions that the seeds (z, y, x) hit, numbered anew."""
    regions, hit = _hit(labels, seeds)
    return regions.select(np.flatnonzero(hit)).ordered().paint()


def _hit(labels: IntArray, seeds: Sequence[Seed]) -> tuple[Regions, npt.NDArray[np.bool_]]:
    regions = find_regions(labels)
    hit = np.zeros(len(regions), dtype=bool)
    for seed in seeds:
        label = int(labels[checked_seed(seed, labels.shape)])
        if label == 0:
            raise DataError(
                "A seed hits no region",
                field="seed",
                found=tuple(map(int, seed)),
                expected="a voxel (z, y, x) inside a region",
                mend="move the seed, or check the order of its coordinates",
            )
        hit |= regions.labels == label
    return regions, hit


def checked_seed(seed: Seed, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The seed as an index (z, y, x), or a refusal."""
    if len(seed) != 3 or not all(0 <= int(i) < n for i, n in zip(seed, shape, strict=True)):
        raise DataError(
            "A seed lies outside the volume",
            field="seed",
            found=tuple(seed),
            expected=f"a voxel (z, y, x) within {tuple(shape)}",
        )
    return int(seed[0]), int(seed[1]), int(seed[2])


def _above(image: Any, threshold: float, exclude: Any | None) -> npt.NDArray[np.bool_]:
    """Mask of the voxels at or above the threshold; slab by slab, so that nothing but the mask is kept."""
    shape = checked_shape(image, "image")
    same_grid(shape, exclude, "exclude")
    if not np.isfinite(threshold):
        raise UsageError("The threshold is no number", field="threshold", found=threshold)
    mask = np.empty(shape, dtype=np.bool_)
    step = max(1, _CHUNK // max(1, shape[1] * shape[2]))
    for start in range(0, shape[0], step):
        stop = min(start + step, shape[0])
        np.greater_equal(float_slab(image, start, stop), threshold, out=mask[start:stop])
        if exclude is not None:
            mask[start:stop] &= np.asarray(exclude[start:stop]) == 0
    return mask
