"""First-pass series: from signal to dR2*, and from there to blood flow, volume and times in reported units."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.perfusion import Deconvolution, VascularModel, correct_leakage, delta_r2_star
from timelens.engines.perfusion.first_pass import HAEMATOCRIT_FACTOR, TISSUE_DENSITY
from timelens.errors import DataError, UsageError
from timelens.lenses.mri.dce import Uptake
from timelens.lenses.mri.parametric import REASON, parametric_images
from timelens.study.image import Image

__all__ = ["Method", "first_pass_series", "leakage_corrected", "map_perfusion"]

Method = Literal["ssvd", "csvd", "osvd", "tikhonov", "vascular_model"]


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


def leakage_corrected(series: Image, reference: NDArray[np.bool_]) -> tuple[Image, dict[str, Image]]:
    """The series without leakage, and maps of K2 (``k2_leakage``, its ``_se``, 1/s) and ``reason``.

    Parameters
    ----------
    series
        (t, z, y, x), dR2* in 1/s.
    reference
        (z, y, x), tissue that does not leak; see :func:`~timelens.engines.perfusion.correct_leakage`.
    """
    times = _check(series)
    found = correct_leakage(times, series.numpy(), np.asarray(reference, dtype=np.bool_))
    corrected = Image(
        found.corrected.astype(np.float32), unit=series.unit, axes=series.axes, geometry=series.geometry,
        frames=series.frames, name=series.name,
    )  # fmt: skip
    maps = {"k2_leakage": (found.rate, "1/s"), "k2_leakage_se": (found.error, "1/s"), REASON: (found.reason, "1")}
    return corrected, {name: _map(series, name, values, unit) for name, (values, unit) in maps.items()}


def map_perfusion(
    series: Image,
    arterial: ArrayLike,
    *,
    method: Method = "osvd",
    mask: NDArray[np.bool_] | None = None,
    haematocrit_factor: float = HAEMATOCRIT_FACTOR,
    density: float = TISSUE_DENSITY,
) -> dict[str, Image]:
    """Maps of ``cbf`` (mL/min/100 g), ``cbv`` (mL/100 g), ``mtt`` (s) and ``tmax`` or ``delay`` (s), and ``reason``.

    Parameters
    ----------
    series
        (t, z, y, x), dR2* in 1/s, evenly sampled.
    arterial
        (frames,), the arterial curve in the same unit.
    method
        A deconvolution, or ``"vascular_model"``, which also gives standard errors.
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
        fit = VascularModel(times, arterial, **settings).fit(series.numpy(), mask=mask)
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
    known = name if name in ("cbf", "cbv", "mtt") else None
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
