"""What the curves of a contrast-enhanced series show without a model: rows of regions and maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.fit import t_quantile
from timelens.engines.perfusion import describe_enhancement
from timelens.engines.perfusion.enhancement import CURVE_TYPES
from timelens.knowledge import quantities
from timelens.lenses.mri.dce_errors import FEW, Sureness
from timelens.lenses.mri.regional import FEWEST_GROUPS, measured_row
from timelens.study.image import Image
from timelens.study.measurement import Measurement

__all__ = ["NAMES", "enhancement_maps", "enhancement_numbers", "enhancement_rows", "grid_errors"]

Floats = NDArray[np.float64]

#: Seconds after arrival over which areas are taken, as QIBA does.
WINDOWS = (60.0, 90.0)
#: Quantities that are numbers; the type of curve is a category.
NAMES = ("bolus_arrival", "time_to_peak", "iauc_60", "iauc_90", "wash_in", "wash_out")


def enhancement_numbers(times: Floats, curves: Floats) -> dict[str, Floats]:
    """Each of :data:`NAMES` and ``curve_type`` of curves (frames, ...), in reported units; NaN (0) where nothing rises.

    Parameters
    ----------
    times
        s, middles of the frames; arrival is counted from the first frame's.
    curves
        mmol/L. An area whose window ends after the last frame is NaN.
    """
    short, long = (describe_enhancement(times, curves, window=window) for window in WINDOWS)
    ends = [short.arrival + window <= times[-1] for window in WINDOWS]
    return {
        "bolus_arrival": short.arrival - times[0],
        "time_to_peak": short.time_to_peak,
        "iauc_60": np.where(ends[0], short.iauc, np.nan),
        "iauc_90": np.where(ends[1], long.iauc, np.nan),
        "wash_in": short.wash_in,
        "wash_out": short.wash_out,
        "curve_type": short.curve_type.astype(np.float64),
    }


def grid_errors(times: Floats, found: Mapping[str, Floats]) -> dict[str, Floats]:
    """Standard errors by frames that are no shorter: arrival and peak lie anywhere within half a frame of theirs.

    A time known to one frame of length d has the standard error d / sqrt(12), a difference of two d / sqrt(6).
    """
    step = float(np.median(np.diff(times)))
    errors = {name: np.zeros_like(values) for name, values in found.items()}
    errors["bolus_arrival"] = np.full_like(found["bolus_arrival"], step / math.sqrt(12))
    errors["time_to_peak"] = np.full_like(found["time_to_peak"], step / math.sqrt(6))
    return errors


def enhancement_rows(
    found: Mapping[str, Floats],
    sure: Sureness,
    names: Sequence[str],
    voxels: Mapping[str, int],
    *,
    method: str,
    flags: str = "",
) -> list[Measurement]:
    """Rows of each region."""
    rows = []
    for k, region in enumerate(names):
        remark = "; ".join(t for t in (flags, FEW if voxels[region] < FEWEST_GROUPS else "") if t)
        for name in NAMES:
            unit = quantities.get(name).unit
            quantile = t_quantile(0.95, float(sure.degrees[name][k]))
            lost = "the series ends before the window" if name.startswith("iauc") else "the curve does not rise"
            rows.append(
                measured_row(name, float(found[name][k]), unit, float(sure.errors[name][k]), region, voxels[region],
                             method, remark, lost, quantile)
            )  # fmt: skip
        code = int(found["curve_type"][k])
        rows.append(
            measured_row("curve_type", float(code) if code else math.nan, "1", math.nan, region, voxels[region],
                         method, CURVE_TYPES.get(code, ""), "the curve does not rise, or ends in its early phase")
        )  # fmt: skip
    return rows


def enhancement_maps(series: Image, mask: NDArray[np.bool_]) -> dict[str, Image]:
    """Maps of the same quantities of a concentration series within a mask."""
    assert series.frames is not None
    shape = mask.shape
    found = enhancement_numbers(np.asarray(series.frames.mid), series.numpy()[:, mask].astype(np.float64))
    maps = {}
    for name, values in found.items():
        whole = np.full(shape, np.nan if name in NAMES else 0.0, np.float32)
        whole[mask] = values
        maps[name] = Image(
            whole if name in NAMES else whole.astype(np.int32), unit=quantities.get(name).unit, axes=series.axes[-3:],
            geometry=series.geometry, quantity=name, name=name,
        )  # fmt: skip
    return maps
