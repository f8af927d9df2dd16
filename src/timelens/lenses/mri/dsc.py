"""First-pass series: from signal to dR2*, and from there to blood flow, volume and times in reported units."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.perfusion import (
    Deconvolution,
    Leakage,
    VascularModel,
    correct_leakage,
    correct_leakage_both_ways,
    correct_leakage_by_transit,
    delta_r2_star,
    normalise_to,
)
from timelens.engines.perfusion.first_pass import HAEMATOCRIT_FACTOR, TISSUE_DENSITY
from timelens.errors import DataError, UsageError
from timelens.lenses.mri.dce import Uptake
from timelens.lenses.mri.parametric import REASON, parametric_images
from timelens.study.image import Image

__all__ = [
    "Correction",
    "Method",
    "correct_curves",
    "first_pass_series",
    "leakage_corrected",
    "map_perfusion",
    "relative_maps",
]

Method = Literal["ssvd", "csvd", "osvd", "tikhonov", "vascular_model"]
#: Boxerman's, Leu's and Bjørnerud's corrections of leakage, and leakage as a part of the vascular model.
Correction = Literal["one_way", "both_ways", "by_transit", "fitted"]


def first_pass_series(dynamic: Image, *, te: float, baseline: slice | ArrayLike) -> Uptake:
    """dR2* (1/s) of a T2*-weighted series; parameters as for :func:`~timelens.engines.perfusion.delta_r2_star`.

    Raises
    ------
    DataError
        The series has not the axes t, z, y, x, or no frame times.
    """
    _check(dynamic)
    found = delta_r2_star(dynamic.numpy(), te=te, baseline=baseline)
    series = Image(
        found.values.astype(np.float32), unit="1/s", axes=dynamic.axes, geometry=dynamic.geometry,
        frames=dynamic.frames, name="delta_r2_star",
    )  # fmt: skip
    reason = Image(
        found.reason, unit="1", axes=dynamic.axes[1:], geometry=dynamic.geometry, name="delta_r2_star_reason"
    )
    return Uptake(series, reason)


def correct_curves(
    times: ArrayLike, curves: ArrayLike, method: Correction, *, reference: ArrayLike | None, arterial: ArrayLike | None
) -> Leakage:
    """Curves (frames, ...) without leakage by one of the first three corrections.

    Parameters
    ----------
    reference
        Mean curve or mask of tissue that does not leak, for ``one_way`` and ``both_ways``.
    arterial
        (frames,), for ``by_transit``.
    """
    if method not in get_args(Correction)[:3]:
        raise UsageError("Unknown method", field="leakage", found=method, expected=", ".join(get_args(Correction)[:3]))
    if method == "by_transit":
        if arterial is None:
            raise UsageError("This correction needs the arterial curve", field="arterial", found="nothing")
        return correct_leakage_by_transit(times, curves, arterial)
    if reference is None:
        raise UsageError("This correction needs a tissue that does not leak", field="reference", found="nothing")
    return (correct_leakage if method == "one_way" else correct_leakage_both_ways)(times, curves, reference)


def leakage_corrected(
    series: Image,
    reference: NDArray[np.bool_] | None = None,
    *,
    method: Correction = "one_way",
    arterial: ArrayLike | None = None,
) -> tuple[Image, dict[str, Image]]:
    """The series without leakage, and maps of K2 (``k2_leakage``, its ``_se``, 1/s), ``reason`` and, both ways, k_ep
    (``k_ep_leakage``, 1/s). By transit the map is the leakage rate (``leakage_rate``) along the arterial curve.

    Parameters
    ----------
    series
        (t, z, y, x), dR2* in 1/s.
    reference, method, arterial
        See :func:`correct_curves`; the reference is a mask (z, y, x).
    """
    times = _check(series)
    mask = None if reference is None else np.asarray(reference, dtype=np.bool_)
    found = correct_curves(times, series.numpy(), method, reference=mask, arterial=arterial)
    corrected = Image(
        found.corrected.astype(np.float32), unit=series.unit, axes=series.axes, geometry=series.geometry,
        frames=series.frames, name=series.name,
    )  # fmt: skip
    name = "leakage_rate" if method == "by_transit" else "k2_leakage"
    maps: dict[str, tuple[NDArray[np.float64] | NDArray[np.int32], str]] = {
        name: (found.rate, "1/s"), f"{name}_se": (found.error, "1/s"), REASON: (found.reason, "1"),
    }  # fmt: skip
    if found.back is not None:
        maps["k_ep_leakage"] = (found.back, "1/s")
    return corrected, {name: _map(series, name, values, unit) for name, (values, unit) in maps.items()}


def relative_maps(maps: dict[str, Image], reference: NDArray[np.bool_]) -> dict[str, Image]:
    """``rcbv`` and ``rcbf``: the maps over their median in a reference tissue, a mask (z, y, x)."""
    return {
        f"r{name}": _map(maps[name], f"r{name}", normalise_to(maps[name].numpy(), reference), "1")
        for name in ("cbv", "cbf")
    }


def map_perfusion(
    series: Image,
    arterial: ArrayLike,
    *,
    method: Method = "vascular_model",
    leakage: bool = False,
    mask: NDArray[np.bool_] | None = None,
    haematocrit_factor: float = HAEMATOCRIT_FACTOR,
    density: float = TISSUE_DENSITY,
) -> dict[str, Image]:
    """Maps of ``cbf`` (mL/min/100 g), ``cbv`` (mL/100 g), ``mtt`` (s), ``input_delay`` or ``tmax`` (s), and ``reason``.

    Parameters
    ----------
    series
        (t, z, y, x), dR2* in 1/s, evenly sampled.
    arterial
        (frames,), the arterial curve in the same unit.
    method
        ``"vascular_model"``, which also gives standard errors (``_se``) and ``shape``, or a deconvolution.
    leakage
        Whether the vascular model has it as a part.
    mask
        (z, y, x), voxels to fit.
    haematocrit_factor, density
        As for :func:`~timelens.engines.perfusion.blood_volume`.
    """
    if method not in get_args(Method):
        raise UsageError("Unknown method", field="method", found=method, expected=", ".join(get_args(Method)))
    times = _check(series)
    if series.unit != "1/s":
        raise DataError(
            "Perfusion is computed from dR2*",
            file=series.name,
            field="unit",
            found=series.unit,
            expected="1/s",
            mend="use first_pass_series",
        )
    settings = {"haematocrit_factor": haematocrit_factor, "density": density}
    if method == "vascular_model":
        fit = VascularModel(times, arterial, free_baseline=True, leakage=leakage, **settings).fit(
            series.numpy(), mask=mask
        )
        return parametric_images(fit, series)
    found = Deconvolution(times, arterial, method=method, **settings).fit(series.numpy(), mask=mask)
    maps = {
        "cbf": (found.cbf, "mL/min/(100.g)"),
        "cbv": (found.cbv, "mL/(100.g)"),
        "mtt": (found.mtt, "s"),
        "tmax": (found.tmax, "s"),
        REASON: (found.reason, "1"),
    }
    return {name: _map(series, name, values, unit) for name, (values, unit) in maps.items()}


def _map(series: Image, name: str, values: NDArray[np.float64] | NDArray[np.int32], unit: str) -> Image:
    dtype = np.int32 if name == REASON else np.float32
    known = name if name in ("cbf", "cbv", "mtt", "tmax", "rcbv", "rcbf", "k2_leakage") else None
    return Image(
        values.astype(dtype), unit=unit, axes=series.axes[-3:], geometry=series.geometry, quantity=known, name=name
    )


def _check(series: Image) -> NDArray[np.float64]:
    """Middles of the frames, s."""
    if [axis.name for axis in series.axes] != ["t", "z", "y", "x"] or series.frames is None:
        raise DataError(
            "A first-pass series has axes t, z, y, x and frame times",
            file=series.name,
            field="axes",
            found=", ".join(axis.name for axis in series.axes),
            mend="state the frame times",
        )
    return np.asarray(series.frames.start + 0.5 * series.frames.duration)
