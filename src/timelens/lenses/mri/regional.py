"""Regions of a series, their curves, and rows of what maps hold in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

import timelens
from timelens.engines.kinetics.fit import Fit, t_quantile
from timelens.engines.kinetics.reasons import explain
from timelens.errors import DataError, Problem
from timelens.knowledge import quantities
from timelens.lenses.mri.parametric import reported
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.measurement import Measurement
from timelens.study.region import Region
from timelens.study.table import Table
from timelens.study.timing import FrameTiming

__all__ = [
    "BLOOD",
    "FEWEST_GROUPS",
    "WHOLE",
    "blood_mask",
    "curves_table",
    "fit_rows",
    "fits_table",
    "jackknife",
    "left_out",
    "map_rows",
    "mean_curves",
    "measured_row",
    "region_masks",
    "tissue_mask",
]

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

#: Role of a region of blood.
BLOOD = "blood pool"
#: Name of all tissue, which is measured where no region is given.
WHOLE = "all tissue"
#: Voxels whose signal lies below this part of the 99th percentile are air.
AIR_PART = 0.08
_Z95 = 1.959963984540054
#: Fewer groups of voxels than this say nothing of an error.
FEWEST_GROUPS = 5
_LEFT_OUT = ("exclude", "body", "unknown")


def tissue_mask(volume: NDArray[np.generic]) -> Mask:
    """Where there is tissue: above the air, with holes filled slice by slice."""
    from scipy.ndimage import binary_fill_holes

    values = np.asarray(volume, float)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.zeros(values.shape, bool)
    with np.errstate(invalid="ignore"):
        mask = np.asarray(values > AIR_PART * np.percentile(finite, 99))
    return np.stack([binary_fill_holes(part) for part in mask])


def region_masks(geometry: Geometry, regions: Sequence[Region], tissue: Mask) -> tuple[dict[str, Mask], dict[str, str]]:
    """Masks and roles by name; all tissue where no region was given that is measured."""
    masks: dict[str, Mask] = {}
    roles: dict[str, str] = {}
    for region in regions:
        for number, mask in region.masks(geometry, list(region.names)):
            role, name = region.role(number), region.name(number)
            if role in _LEFT_OUT or not mask.any():
                continue
            masks[name] = masks[name] | mask if name in masks else mask
            roles[name] = role
    if not any(role in ("lesion", "organ", "liver") for role in roles.values()):
        masks[WHOLE], roles[WHOLE] = tissue, "organ"
    return masks, roles


def blood_mask(masks: dict[str, Mask], roles: Mapping[str, str]) -> Mask | None:
    """Everything that was drawn as blood, or None."""
    drawn = [mask for name, mask in masks.items() if roles[name] == BLOOD]
    return np.any(drawn, axis=0) if drawn else None


def mean_curves(
    series: Image, masks: Mapping[str, Mask], scan: Acquisition, result: Result
) -> tuple[Floats, Floats, dict[str, int], list[str]]:
    """Mean and spread of each region over the voxels that are complete, how many they are, and the names.

    A voxel that lacks a frame is left out of all: means over other voxels in each frame would make false curves.
    """
    data = series.numpy()
    complete = np.isfinite(data).all(axis=0)
    columns, spreads, counts, names = [], [], {}, []
    for name, mask in masks.items():
        inside = mask & complete
        count = int(inside.sum())
        if count == 0:
            result.problems.append(Problem(
                f"The region {name} has no voxel with a complete curve: it is not measured", scan.where, "regions",
                f"0 of {int(mask.sum())} voxels", "one or more", "look at the reasons in the map", "warning",
            ))  # fmt: skip
            continue
        values = data[:, inside].astype(np.float64)
        columns.append(values.mean(axis=1))
        spreads.append(values.std(axis=1, ddof=1) if count > 1 else np.full(data.shape[0], np.nan))
        counts[name] = count
        names.append(name)
    if not names:
        raise DataError(
            "No region has a voxel with a complete curve", file=scan.where, field="regions", found=", ".join(masks),
            expected="voxels with a signal that the equations allow",
            mend="check T1, flip angle and repetition time",
        )  # fmt: skip
    return np.stack(columns, axis=1), np.stack(spreads, axis=1), counts, names


def map_rows(
    maps: Mapping[str, Image], masks: Mapping[str, Mask], *, method: str, flags: str = ""
) -> list[Measurement]:
    """Mean of each quantity in each region over the voxels that have a value.

    The standard error is that of the mean of independent voxels with their own errors: it knows the noise, and neither
    the spread of the tissue nor what is common to all voxels (flip angle, relaxivity, input).
    """
    rows = []
    for name, image in maps.items():
        known = quantities.find(name)
        if known is None or name.endswith("_se") or image.quantity != name:
            continue
        values = image.numpy().astype(np.float64)
        errors = maps[f"{name}_se"].numpy().astype(np.float64) if f"{name}_se" in maps else None
        for region, mask in masks.items():
            inside = mask & np.isfinite(values)
            count, total = int(inside.sum()), int(mask.sum())
            mean = float(values[inside].mean()) if count else math.nan
            error = math.nan
            if errors is not None and count and np.isfinite(errors[inside]).all():
                error = float(np.sqrt(np.square(errors[inside]).sum()) / count)
            left = f"{total - count} of {total} voxels have no value" if count < total else ""
            rows.append(
                measured_row(known.name, mean, known.unit, error, region, count,
                     method, "; ".join(t for t in (flags, left) if t), "no voxel of the region could be fitted")
            )  # fmt: skip
    return rows


def left_out(masks: Sequence[Mask], groups: int) -> list[list[Mask]]:
    """For each group the masks without it; groups are runs of voxels in the order of the image, one after the other.

    Fewer groups where a mask has fewer voxels; an empty list where one has too few for any.
    """
    count = min([groups, *(int(mask.sum()) for mask in masks)])
    if count < FEWEST_GROUPS:
        return []
    parts = [np.array_split(np.flatnonzero(mask.reshape(-1)), count) for mask in masks]
    found = []
    for k in range(count):
        rest = []
        for mask, part in zip(masks, parts, strict=True):
            kept = mask.copy()
            kept.reshape(-1)[part[k]] = False
            rest.append(kept)
        found.append(rest)
    return found


def jackknife(values: Floats) -> Floats:
    """Standard error (...) of a number from values (groups, ...) that each lack one group of voxels; NaN without any.

    Where the number could not be made without some group, the spread of those is taken as that of the others; NaN where
    this is so of more than half, or fewer than five are left.

    It holds what voxels do not share: noise of tissue, artery, T1 and baseline, and the spread of the tissue (Efron B,
    Stein C, Ann Stat 1981;9:586, doi:10.1214/aos/1176345462).
    """
    if values.shape[0] == 0:
        return np.full(values.shape[1:], np.nan)
    there = np.isfinite(values)
    count = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, values, 0.0).sum(axis=0) / count
        variance = np.where(there, np.square(values - mean), 0.0).sum(axis=0) / count
    enough = count >= max(FEWEST_GROUPS, values.shape[0] / 2)
    return np.asarray(np.sqrt((values.shape[0] - 1) * np.where(enough, variance, np.nan)))


def fit_rows(
    fit: Fit, names: Sequence[str], voxels: Mapping[str, int], *, method: str, flags: str = ""
) -> list[Measurement]:
    """Parameters of the mean curve of each region, with the standard errors and 95 % intervals of the fit."""
    rows, quantile = [], t_quantile(0.95, fit.degrees_of_freedom)
    for k, region in enumerate(names):
        said = explain(int(fit.reason[k]))
        for short, unit in fit.units.items():
            known = reported(short, unit)
            if known is None:
                continue
            quantity, code, factor = known
            value, error = float(fit.parameters[short][k]) * factor, float(fit.standard_errors[short][k]) * factor
            remark = "; ".join(t for t in (flags, said) if t)
            rows.append(
                measured_row(quantity, value, code, error, region, voxels[region], method, remark,
                             said or "the fit does not determine it", quantile)
            )  # fmt: skip
    return rows


def measured_row(
    quantity: str,
    value: float,
    unit: str,
    error: float,
    region: str,
    count: int,
    method: str,
    flags: str,
    reason: str,
    quantile: float = _Z95,
) -> Measurement:
    """One row: a value with its standard error and interval, or NaN with a reason."""
    known = math.isfinite(value)
    sure = known and math.isfinite(error)
    return Measurement(
        quantity, value if known else math.nan, unit, region=region, modality="mr",
        uncertainty=error if sure else math.nan, uncertainty_kind="standard_error" if sure else "none",
        lower=value - quantile * error if sure else math.nan, upper=value + quantile * error if sure else math.nan,
        level=0.95 if sure else math.nan, n=count or None, method=method, method_version=timelens.__version__,
        flags=flags, reason="" if known else reason,
    )  # fmt: skip


def curves_table(curves: Floats, names: Sequence[str], spread: Floats, timing: FrameTiming, unit: str) -> Table:
    """Mean and spread of each region in each frame, as a tidy table."""
    import pandas as pd

    count = len(timing)
    rows = pd.DataFrame(
        {
            "region": np.repeat(np.array(names, object), count),
            "frame_start_s": np.tile(timing.start, len(names)),
            "frame_duration_s": np.tile(timing.duration, len(names)),
            "mean": curves.T.reshape(-1),
            "sd": spread.T.reshape(-1),
            "unit": unit,
        }
    )
    return Table(rows, {"frame_start_s": "s", "frame_duration_s": "s", "mean": unit, "sd": unit})


def fits_table(fit: Fit, names: Sequence[str], model: str, curves: Floats, timing: FrameTiming, unit: str) -> Table:
    """Measured and fitted curves as a tidy table."""
    import pandas as pd

    predicted = fit.predict()
    parts = [
        pd.DataFrame(
            {"region": region, "model": model, "frame_start_s": timing.start, "frame_duration_s": timing.duration,
             "measured": curves[:, k], "fitted": predicted[:, k]}
        )
        for k, region in enumerate(names)
    ]  # fmt: skip
    units = {"frame_start_s": "s", "frame_duration_s": "s", "measured": unit, "fitted": unit}
    return Table(pd.concat(parts, ignore_index=True), units)
