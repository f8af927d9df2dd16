"""Which voxels are lesions: given masks, or one of the named rules, with physiological uptake taken out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from timelens.engines.regions import segment
from timelens.engines.regions.labels import find_regions
from timelens.engines.regions.segment_local import fraction_of_maximum, gradient_watershed
from timelens.engines.regions.statistics import describe
from timelens.errors import MissingFieldError, Problem, UsageError
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.region import Region

__all__ = ["RULES", "Lesions", "Organs", "Rule", "find_lesions", "organs_on"]

Rule = Literal["auto", "given", "fixed", "percent", "percist", "suv4", "gradient"]

RULES: dict[str, str] = {
    "auto": "given masks where there are any, else suv4",
    "given": "the masks as they are",
    "fixed": "SUV at or above 'threshold' (2.5, 3, 4 ...)",
    "percent": "at or above 'fraction' (0.41, 0.50) of the maximum of each lesion found by 'threshold'",
    "percist": "at or above 1.5 times the liver's mean SUL plus 2 SD (blood pool: 2 times its mean plus 2 SD)",
    "suv4": "SUV at or above 4 in lesions of at least 3 mL (international TMTV benchmark 2024)",
    "gradient": "watershed of the gradient around each lesion found by 'threshold'",
}


@dataclass(frozen=True)
class Lesions:
    """Lesion labels on the image's grid, names in the order of their numbers, the rule in words, and remarks."""

    labels: NDArray[np.int32]
    names: dict[int, str]
    method: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Organs:
    """What is not a lesion on the image's grid: liver and blood pool as references, and everything to exclude."""

    liver: NDArray[np.bool_] | None = None
    blood: NDArray[np.bool_] | None = None
    exclude: NDArray[np.bool_] | None = None
    bodies: NDArray[np.int32] | None = None
    body_names: Mapping[int, str] = field(default_factory=dict)


def organs_on(regions: Sequence[Region], target: Geometry) -> Organs:
    """The regions with a role other than lesion, on a grid."""
    masks: dict[str, NDArray[np.bool_]] = {}
    bodies = np.zeros(target.shape, np.int32)
    body_names: dict[int, str] = {}
    for region in regions:
        wanted = [n for n in region.names if region.role(n) not in ("lesion", "unknown")]
        for number, here in region.masks(target, wanted) if wanted else ():
            role = region.role(number)
            if role == "body":
                new = len(body_names) + 1
                bodies[here] = new
                body_names[new] = region.name(number)
                continue
            masks[role] = masks.get(role, False) | here
            if role in ("liver", "blood pool", "organ", "exclude"):
                masks["not lesion"] = masks.get("not lesion", False) | here
    return Organs(
        masks.get("liver"),
        masks.get("blood pool"),
        masks.get("not lesion"),
        bodies if body_names else None,
        body_names,
    )


def find_lesions(
    suv: Image,
    regions: Sequence[Region],
    organs: Organs,
    options: Mapping[str, Any],
    *,
    sul_factor: float | None = None,
) -> Lesions:
    """Lesions by the rule of the options.

    Parameters
    ----------
    suv
        Volume in g/mL.
    regions
        Given regions; those with the role lesion count.
    organs
        From :func:`organs_on`.
    options
        ``rule`` (see :data:`RULES`), ``threshold``, ``fraction``, ``min_volume_ml``, ``drop_seeds_mm`` and
        ``keep_seeds_mm`` (points X, Y, Z in RAS+ millimetres), ``reference`` (liver or blood_pool).
    sul_factor
        SUL over SUV; PERCIST thresholds are defined on SUL.

    Raises
    ------
    UsageError, MissingFieldError, DataError
        If the rule is unknown or lacks what it needs.
    """
    rule = options.get("rule", "auto")
    if rule not in RULES:
        raise UsageError("There is no such segmentation rule", field="rule", found=rule, expected=", ".join(RULES))
    given = _given(regions, suv)
    if rule == "given" or (rule == "auto" and given.names):
        if not given.names:
            raise MissingFieldError(
                "No lesion is given", field="regions", found="nothing", expected="a mask, SEG or RTSTRUCT with lesions",
                mend="add it under 'regions' in study.yaml, or choose another rule",
            )  # fmt: skip
        return given
    return _by_rule("suv4" if rule == "auto" else rule, suv, organs, options, sul_factor)


def _given(regions: Sequence[Region], image: Image) -> Lesions:
    """Given lesions, each laid down whole; where two overlap, the voxels stay with the first and a problem says so."""
    assert image.geometry is not None
    labels = np.zeros(image.geometry.shape, np.int32)
    names: dict[int, str] = {}
    problems: list[Problem] = []
    for region in regions:
        wanted = sorted(n for n in region.names if region.role(n) == "lesion")
        for number, here in region.masks(image.geometry, wanted) if wanted else ():
            new = len(names) + 1
            names[new] = _unique(region.name(number), set(names.values()))
            claimed = here & (labels > 0)
            if claimed.any():
                others = ", ".join(names[n] for n in np.unique(labels[claimed]))
                problems.append(
                    Problem(
                        f"The lesions {others} and {names[new]} overlap; the shared voxels count for the first",
                        field="regions",
                        found=f"{int(claimed.sum())} of {int(here.sum())} voxels",
                        expected="lesions that do not overlap",
                        mend="edit the masks, or leave one of them out in study.yaml",
                        severity="warning",
                    )
                )
            labels[here & (labels == 0)] = new
            if here.any() and not (labels == new).any():
                problems.append(
                    Problem(
                        f"The lesion {names[new]} lies wholly in others: nothing of it was measured",
                        field="regions",
                        found="no voxel of its own",
                        mend="leave it or the others out in study.yaml",
                    )
                )
    return Lesions(labels, names, "given", problems=tuple(problems))


def _unique(name: str, taken: set[str]) -> str:
    count, free = 1, name
    while free in taken:
        count += 1
        free = f"{name} ({count})"
    return free


def _by_rule(rule: str, suv: Image, organs: Organs, options: Mapping[str, Any], sul_factor: float | None) -> Lesions:
    assert suv.geometry is not None
    array, spacing = suv.numpy(), suv.geometry.spacing
    common: dict[str, Any] = {
        "exclude": organs.exclude,
        "drop_seeds": _seeds(options.get("drop_seeds_mm", ()), suv.geometry),
        "keep_seeds": _seeds(options.get("keep_seeds_mm", ()), suv.geometry),
    }
    if "min_volume_ml" in options:
        common["min_volume_ml"] = float(options["min_volume_ml"])
    threshold = float(options.get("threshold", 4.0))
    if rule == "suv4":
        found = segment.suv4(array, spacing, **common)
        words = f"SUV >= 4, at least {found.parameters['min_volume_ml']:g} mL"
    elif rule == "fixed":
        found = segment.fixed_threshold(array, spacing, threshold, **common)
        words = f"SUV >= {threshold:g}"
    elif rule == "percist":
        found, words = _percist(array, spacing, organs, options, common, sul_factor)
    else:
        start = segment.fixed_threshold(array, spacing, threshold, **common)
        if rule == "percent":
            fraction = float(options.get("fraction", 0.41))
            # From the maximum of each find outwards: 41 % of a maximum may lie below the threshold that found it.
            maxima = describe(array, find_regions(start.labels), spacing, percentiles=())["max_index"]
            seeds = [tuple(map(int, index)) for index in maxima]
            if seeds:
                basins = _basins(array, seeds, fraction, organs.exclude)
                found = fraction_of_maximum(array, spacing, fraction, candidates=basins, exclude=organs.exclude)
            else:
                found = start
            words = f"{100 * fraction:g} % of maximum, lesions found by SUV >= {threshold:g}"
        else:
            found = gradient_watershed(array, spacing, start.labels, exclude=organs.exclude)
            words = f"gradient watershed, lesions found by SUV >= {threshold:g}"
    if rule != "suv4" and common.get("min_volume_ml"):
        words += f", at least {common['min_volume_ml']:g} mL"
    count = int(found.labels.max(initial=0))
    names = {n: f"lesion-{n:02d}" for n in range(1, count + 1)}
    return Lesions(found.labels.astype(np.int32, copy=False), names, words, found.parameters)


def _basins(
    array: NDArray[Any], seeds: Sequence[tuple[int, ...]], fraction: float, exclude: NDArray[Any] | None
) -> NDArray[np.int32]:
    """What belongs to which maximum: a watershed of the uptake from the maxima down to the lowest threshold.

    Without it the region of a faint maximum would flow around a hot one beside it and take its rim.
    """
    from skimage.segmentation import watershed

    lowest = fraction * min(float(array[seed]) for seed in seeds)
    mask = array >= lowest
    if exclude is not None:
        mask &= ~np.asarray(exclude, bool)
    box = tuple(
        slice(int(used[0]), int(used[-1]) + 1)
        for axis in range(3)
        for used in [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))]
    )
    markers = np.zeros(array.shape, np.int32)
    for number, seed in enumerate(seeds, start=1):
        markers[seed] = number
    basins = np.zeros(array.shape, np.int32)
    basins[box] = watershed(-array[box], markers[box], mask=mask[box], connectivity=np.ones((3, 3, 3)))
    return basins


def _percist(
    array: NDArray[Any],
    spacing: tuple[float, float, float],
    organs: Organs,
    options: Mapping[str, Any],
    common: Mapping[str, Any],
    sul_factor: float | None,
) -> tuple[segment.Segmentation, str]:
    reference = options.get("reference", "liver")
    mask = organs.liver if reference == "liver" else organs.blood
    if mask is None:
        raise MissingFieldError(
            f"The PERCIST rule needs a region of the {reference.replace('_', ' ')}",
            field="regions",
            found="none",
            expected=f"a region with the role {reference.replace('_', ' ')}",
            mend="add it in study.yaml, or choose another rule",
        )
    if sul_factor is None:
        raise MissingFieldError(
            "The PERCIST rule is defined on SUV by lean body mass, which needs weight, height and sex",
            field="PatientSize, PatientSex",
            mend="write height_mm and sex in study.yaml",
        )
    found = segment.percist(array * np.float32(sul_factor), spacing, mask, reference=reference, **common)
    threshold = found.parameters["threshold"]
    times = "1.5" if reference == "liver" else "2"
    return found, f"PERCIST, SUL >= {threshold:.3g} ({times} x {reference.replace('_', ' ')} mean + 2 SD)"


def _seeds(points_mm: Sequence[Sequence[float]], geometry: Geometry) -> list[tuple[int, int, int]]:
    result = []
    for point in points_mm:
        z, y, x = np.rint(geometry.to_index(point)).astype(int)
        if not all(0 <= i < n for i, n in zip((z, y, x), geometry.shape, strict=True)):
            raise UsageError(
                "A seed lies outside the image",
                field="seed",
                found=", ".join(f"{v:g}" for v in point) + " mm",
                expected="X, Y, Z in RAS+ millimetres inside the image",
                mend="DICOM's LPS has X and Y of the other sign",
            )
        result.append((int(z), int(y), int(x)))
    return result
