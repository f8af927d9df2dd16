"""What is measured on each lesion and on each patient: from labels on an SUV image to tidy rows.

The numbers come from ``engines.regions``; here they get their names, units, reasons and context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import timelens
from timelens.engines.regions.labels import Regions
from timelens.engines.regions.measure import measure_regions
from timelens.engines.regions.reasons import Reason, explain
from timelens.engines.uptake.body import body_surface_area
from timelens.knowledge import quantities
from timelens.study.measurement import Measurement

__all__ = ["PEAKS", "SUV_COLUMNS", "lesion_rows", "lesion_table", "patient_rows", "scaled_rows"]

#: Quantity to column of the engine's table, and what its value is divided by to reach the reported unit.
SUV_COLUMNS: dict[str, tuple[str, float]] = {
    "suv_max": ("max", 1.0),
    "suv_mean": ("mean", 1.0),
    "suv_min": ("min", 1.0),
    "suv_median": ("median", 1.0),
    "suv_sd": ("sd", 1.0),
    "suv_cv": ("cv", 1.0),
    "auc_csh": ("auc_csh", 1.0),
    "tlg": ("tlg", 1.0),
}
PEAKS: dict[str, tuple[str, float]] = {
    "suv_peak": ("peak_global_resampled", 1.0),
    "suv_peak_local": ("peak_local_resampled", 1.0),
    "suv_peak_native": ("peak_global_centre", 1.0),
    "suv_peak_native_local": ("peak_local_centre", 1.0),
    "suv_peak_subvoxel": ("peak_global_partial", 1.0),
    "suv_peak_subvoxel_local": ("peak_local_partial", 1.0),
}
_SHAPE: dict[str, tuple[str, float]] = {
    "voxel_count": ("voxel_count", 1.0),
    "mtv": ("volume_ml", 1.0),
    "volume_mesh": ("mesh_volume_ml", 1.0),
    "surface_area": ("surface_area_mm2", 100.0),
    "sphericity": ("sphericity", 1.0),
    "diameter_max": ("diameter_max_mm", 1.0),
}
_VALUES: dict[str, tuple[str, float]] = {
    "value_max": ("max", 1.0),
    "value_mean": ("mean", 1.0),
    "value_min": ("min", 1.0),
    "value_median": ("median", 1.0),
    "value_sd": ("sd", 1.0),
}
#: Which flags explain that a column is missing.
_WHY: dict[str, Reason] = {
    "sd": Reason.EMPTY | Reason.NON_FINITE | Reason.SINGLE_VOXEL,
    "cv": Reason.EMPTY | Reason.NON_FINITE | Reason.SINGLE_VOXEL | Reason.NOT_POSITIVE,
    "auc_csh": Reason.EMPTY | Reason.NON_FINITE | Reason.NOT_POSITIVE,
}


def lesion_table(image: NDArray[Any], found: Regions, spacing: Sequence[float]) -> dict[str, NDArray[Any]]:
    """The engine's table for lesions already found, in their order; one without voxels is a row of NaN."""
    return measure_regions(image, found, spacing)


def lesion_rows(
    table: Mapping[str, NDArray[Any]], names: Sequence[str], *, unit: str, method: str, suv: bool = True
) -> list[Measurement]:
    """Rows of every lesion of a table.

    Parameters
    ----------
    table
        From :func:`lesion_table`.
    names
        Region name of each row of the table.
    unit
        Unit of the image. SUV quantities are given where ``suv`` is true (the unit is then g/mL), else the generic
        ``value_*`` in the unit of the image.
    method
        Name of the segmentation rule.
    """
    columns = {**_SHAPE, **(SUV_COLUMNS | PEAKS if suv else _VALUES)}
    if not suv:
        columns["volume"] = columns.pop("mtv")
    rows = []
    for k, name in enumerate(names):
        count = int(table["voxel_count"][k])
        flags = Reason(int(table["reason"][k]))
        for quantity, (column, divisor) in columns.items():
            value = float(table[column][k]) / divisor
            known = quantities.get(quantity)
            rows.append(
                Measurement(
                    quantity=quantity,
                    value=value,
                    unit=unit if known.kind == "value" else known.unit,
                    region=name,
                    n=count,
                    method=_named(quantity, method),
                    method_version=timelens.__version__,
                    flags="peak sphere leaves the image"
                    if "peak" in column and Reason.SPHERE_TRUNCATED in flags
                    else "",
                    reason=_reason(column, flags) if np.isnan(value) else "",
                )
            )
    return rows


def _reason(column: str, flags: Reason) -> str:
    relevant = _WHY.get(column, Reason.EMPTY | Reason.NON_FINITE | Reason.LOST_BY_RESAMPLING)
    return explain(int(flags & relevant)) or explain(int(flags)) or "not defined for this region"


_PEAK_NAMES = {
    "suv_peak": "global, 3 mm cubic grid, 1 mL sphere",
    "suv_peak_local": "at SUVmax, 3 mm cubic grid, 1 mL sphere",
    "suv_peak_native": "global, native grid, voxel centres in a 1 mL sphere",
    "suv_peak_native_local": "at SUVmax, native grid, voxel centres in a 1 mL sphere",
    "suv_peak_subvoxel": "global, native grid, voxels weighted by their part in a 1 mL sphere",
    "suv_peak_subvoxel_local": "at SUVmax, native grid, voxels weighted by their part in a 1 mL sphere",
}


def _named(quantity: str, method: str) -> str:
    """The segmentation rule, and for peaks which peak."""
    return f"{method}; {_PEAK_NAMES[quantity]}" if quantity in _PEAK_NAMES else method


def scaled_rows(
    rows: Sequence[Measurement], factor: float, renamed: Mapping[str, str], method: str
) -> list[Measurement]:
    """Rows of SUV by another body size: ``factor`` times those by body weight (the voxels stay the same)."""
    return [
        replace(
            row,
            quantity=renamed[row.quantity],
            unit=quantities.get(renamed[row.quantity]).unit,
            value=row.value * factor,
            uncertainty=row.uncertainty * factor,
            lower=row.lower * factor,
            upper=row.upper * factor,
            method=f"{row.method}; {method}",
        )
        for row in rows
        if row.quantity in renamed
    ]


def patient_rows(
    table: Mapping[str, NDArray[Any]],
    centroids_mm: NDArray[np.float64],
    *,
    method: str,
    weight_g: float | None = None,
    height_mm: float | None = None,
) -> list[Measurement]:
    """Rows of the whole patient: lesion count, TMTV, TLG, largest SUV values, Dmax and SDmax.

    Parameters
    ----------
    table
        From :func:`lesion_table`; a lesion without voxels makes the totals NaN.
    centroids_mm
        Centroid of each lesion, (n, 3), in millimetres of the body.
    weight_g, height_mm
        For SDmax; without them it is NaN with a reason.
    """
    there = table["voxel_count"] > 0
    count = int(there.sum())
    spread, why_not = _largest_distance(centroids_mm[there])
    lost = "" if there.all() else "a lesion that was asked for has no voxel"
    volume = float(table["volume_ml"][there].sum()) if there.all() else np.nan
    rows: list[tuple[str, float, str, str]] = [
        ("lesion_count", float(count), "", method),
        ("tmtv", volume, lost, method),
        ("tlg", _total(table["tlg"]), lost or "a lesion has no TLG", method),
    ]
    for quantity, column in (("suv_max", "max"), ("suv_peak", "peak_global_resampled")):
        values = table[column][there]
        best = float(np.nanmax(values)) if np.isfinite(values).any() else np.nan
        rows.append((quantity, best, "no lesion has a value", _named(quantity, method)))
    rows.append(("dmax", spread, why_not, method))
    if weight_g is not None and height_mm is not None:
        area_m2 = body_surface_area(weight_g / 1e3, height_mm / 1e3) / 1e4
        rows.append(("sdmax", spread / 1e3 / area_m2, why_not, f"{method}; body surface DuBois 1916"))
    else:
        rows.append(("sdmax", np.nan, "weight or height is not known", method))
    return [
        Measurement(
            quantity=quantity,
            value=value,
            unit=quantities.get(quantity).unit,
            region="all lesions",
            n=count,
            method=how,
            method_version=timelens.__version__,
            reason=why if np.isnan(value) else "",
        )
        for quantity, value, why, how in rows
    ]


def _total(values: NDArray[Any]) -> float:
    return float(values.sum())


def _largest_distance(centroids_mm: NDArray[np.float64]) -> tuple[float, str]:
    """Dmax in mm (Cottereau 2020); one lesion alone has none."""
    if len(centroids_mm) < 2:
        return np.nan, "fewer than two lesions"
    difference = centroids_mm[:, None, :] - centroids_mm[None, :, :]
    return float(np.sqrt((difference**2).sum(axis=-1)).max()), ""
