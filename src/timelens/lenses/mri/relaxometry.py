"""Relaxation and diffusion maps of one series whose images differ in flip angle, inversion time, echo time or b value.

Which of the four it is the image's own axis says; nothing is guessed from names.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from timelens.engines.relaxometry import (
    ADC,
    EchoDecay,
    InversionRecovery,
    LookLocker,
    SaturationRecovery,
    VariableFlipAngle,
)
from timelens.errors import DataError, MissingFieldError, UsageError
from timelens.lenses.mri.parametric import parametric_images
from timelens.study.image import Image

__all__ = ["RECOVERIES", "Recovery", "map_relaxation", "series_axis"]

Recovery = Literal["inversion", "saturation", "look locker"]
#: Models of a series over times after a preparation pulse.
RECOVERIES: dict[Recovery, type[SaturationRecovery]] = {
    "inversion": InversionRecovery,
    "saturation": SaturationRecovery,
    "look locker": LookLocker,
}

#: What each axis is for, by kind or, for those of kind ``other``, by name; and the unit of its coordinates.
_AXES = {"flip": "deg", "echo": "s", "b-value": "s/mm2", "inversion": "s"}


def series_axis(image: Image) -> tuple[str, NDArray[np.float64]]:
    """What the images differ in, and its values: ``flip`` (deg), ``echo``, ``inversion`` (s) or ``b-value`` (s/mm2).

    Raises
    ------
    DataError
        The image has not exactly one axis before z, y, x, it is of another kind, or its unit is not the one needed.
    """
    before = image.axes[:-3]
    if image.geometry is None or len(before) != 1:
        raise DataError(
            "Relaxometry needs one axis before z, y, x",
            file=image.name,
            field="axes",
            found=", ".join(axis.name for axis in image.axes),
            expected="flip, echo, inversion or b-value, then z, y, x",
        )
    axis = before[0]
    kind = axis.kind if axis.kind in _AXES else axis.name
    if kind not in _AXES or axis.coordinates is None or isinstance(axis.coordinates, tuple):
        raise DataError(
            "The images of the series differ in nothing that relaxometry knows",
            file=image.name,
            field=f"axis {axis.name}",
            found=axis.kind,
            expected="flip angles, echo times, inversion times or b values with their numbers",
        )
    if axis.unit != _AXES[kind]:
        raise DataError(
            "The axis has another unit than its kind",
            file=image.name,
            field=f"axis {axis.name}",
            found=axis.unit,
            expected=_AXES[kind],
            mend="convert the coordinates and state their unit",
        )
    return kind, np.asarray(axis.coordinates, dtype=np.float64)


def map_relaxation(
    series: Image,
    *,
    tr: float | None = None,
    b1: Image | None = None,
    mask: NDArray[np.bool_] | None = None,
    gradient_echo: bool | None = None,
    recovery: Recovery = "inversion",
    threads: int = 2,
    **options: Any,
) -> dict[str, Image]:
    """Maps of a series: T1 (flip angles, inversion times), T2 or T2* (echo times), ADC (b values).

    Parameters
    ----------
    series
        (series axis, z, y, x), magnitudes.
    tr
        Repetition time in s; needed for flip angles.
    b1
        Real over nominal flip angle, on any grid of the same frame of reference; for flip angles.
    mask
        (z, y, x), voxels to fit.
    gradient_echo
        For echo times: whether they are gradient echoes (T2*) or spin echoes (T2). The file does not say it safely, so
        it must be stated.
    recovery
        For inversion times: what the times follow. Files have no field for saturation nor for a Look-Locker train.
    **options
        Of the engine's model: ``method``, ``sigma``, ``floor``, ``polarity`` ...

    Returns
    -------
    dict
        ``t1`` (ms), ``t2`` or ``t2_star`` (ms), ``r2_star`` (1/s), ``adc`` (mm2/s), each with ``<name>_se``, and
        ``reason`` (:class:`~timelens.engines.kinetics.Reason`).

    Raises
    ------
    MissingFieldError
        ``tr`` or ``gradient_echo`` is needed and not given.
    DataError
        The series is none that relaxometry knows, or the engine refuses its settings.
    """
    kind, values = series_axis(series)
    data = series.numpy()
    if kind == "flip":
        if tr is None:
            raise _missing(series, "tr", "T1 from flip angles", "the repetition time in s")
        assert series.geometry is not None
        scale = None if b1 is None else b1.resample_to(series.geometry).numpy()
        fit = VariableFlipAngle(values, tr, **options).fit(data, b1=scale, mask=mask, threads=threads)
    elif kind == "inversion":
        if recovery not in RECOVERIES:
            raise UsageError("Unknown preparation", field="recovery", found=recovery, expected=", ".join(RECOVERIES))
        fit = RECOVERIES[recovery](values, **options).map_all(data, mask=mask, threads=threads)
    elif kind == "echo":
        if gradient_echo is None:
            raise _missing(series, "gradient_echo", "A decay over echoes", "True for T2*, False for T2")
        fit = EchoDecay(values, star=gradient_echo, **options).fit(data, mask=mask, threads=threads)
    else:
        fit = ADC(values, **options).fit(data, mask=mask, threads=threads)
    return parametric_images(fit, series)


def _missing(series: Image, field: str, purpose: str, expected: str) -> MissingFieldError:
    return MissingFieldError(
        f"{purpose} needs {field}",
        file=series.name,
        field=field,
        found="nothing",
        expected=expected,
        mend=f"state {field}",
    )
