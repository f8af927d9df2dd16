"""Contrast-enhanced series: from signal, T1 map and plasma input to concentration and maps of exchange."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens import units
from timelens.engines.kinetics import (
    ExtendedTofts,
    Frames,
    InputFunction,
    LinearExchange,
    LinearExtendedTofts,
    LinearReferenceRegion,
    LinearTofts,
    PatlakUptake,
    ReferenceRegion,
    Tofts,
    TwoCompartmentExchange,
    TwoCompartmentUptake,
    WithDelay,
)
from timelens.engines.kinetics.fit import Fit
from timelens.engines.mr_signal import gradient_echo_concentration
from timelens.errors import DataError, UsageError
from timelens.lenses.mri.parametric import parametric_images
from timelens.study.geometry import Geometry
from timelens.study.image import Image

__all__ = [
    "Model",
    "Solver",
    "Uptake",
    "choose_model",
    "concentration_series",
    "exchange_model",
    "map_exchange",
    "on_grid",
]

Model = Literal[
    "tofts",
    "extended_tofts",
    "linear_extended_tofts",
    "patlak",
    "two_compartment_exchange",
    "two_compartment_uptake",
    "reference_region",
]
#: ``auto`` is non-linear but for models that are linear. See :mod:`timelens.engines.kinetics.exchange`.
Solver = Literal["auto", "nonlinear", "dictionary", "linear"]
_SEARCHED: dict[Model, Callable[..., Any]] = {
    "tofts": Tofts,
    "extended_tofts": ExtendedTofts,
    "two_compartment_exchange": TwoCompartmentExchange,
    "two_compartment_uptake": TwoCompartmentUptake,
    "reference_region": ReferenceRegion,
}
_LINEAR: dict[Model, Callable[..., Any]] = {
    "tofts": LinearTofts,
    "extended_tofts": LinearExtendedTofts,
    "linear_extended_tofts": LinearExtendedTofts,
    "patlak": PatlakUptake,
    "two_compartment_exchange": LinearExchange,
}


def exchange_model(
    name: Model,
    frames: Frames,
    plasma: InputFunction,
    *,
    solver: Solver = "auto",
    delay: tuple[float, float] | None = None,
) -> Any:
    """The engine's model of that name, with ``fit`` and ``map``.

    Parameters
    ----------
    name
        See :data:`Model`.
    frames, plasma
        When the tissue was measured, and its input; the tissue of reference for ``reference_region``.
    solver
        See :data:`Solver`.
    delay
        Range in s in which the arrival of the input is searched; None takes it as zero. Not for linear models.

    Raises
    ------
    UsageError
        Unknown model or solver, or one that the model does not have.
    """
    for value, known, field in ((name, Model, "model"), (solver, Solver, "solver")):
        if value not in get_args(known):
            raise UsageError(f"Unknown {field}", field=field, found=value, expected=", ".join(get_args(known)))
    linear = solver == "linear" or name not in _SEARCHED
    if linear and solver not in ("auto", "linear"):
        raise UsageError(
            f"The model {name} is linear", field="solver", found=solver, expected="auto or linear",
            mend="leave the solver out",
        )  # fmt: skip
    if linear and delay is not None:
        raise UsageError(
            "A linear model has no free delay", field="delay", found=name, expected="no delay",
            mend="use a non-linear model",
        )  # fmt: skip
    if linear and name == "reference_region":
        return LinearReferenceRegion(frames, plasma.at(frames.middle))
    if linear and name not in _LINEAR:
        raise UsageError(
            f"The model {name} has no linear form", field="solver", found=solver, expected="nonlinear or dictionary"
        )
    if linear:
        return _LINEAR[name](frames, plasma)
    if name == "reference_region":
        if solver == "dictionary" or delay is not None:
            raise UsageError(
                "The reference region model has neither a dictionary nor a delay", field="solver", found=solver,
                expected="auto, nonlinear or linear, and no delay",
            )  # fmt: skip
        return ReferenceRegion(frames, plasma)
    how = "dictionary" if solver == "dictionary" else "nonlinear"
    if delay is None:
        return _SEARCHED[name](frames, plasma, solver=how)
    return WithDelay(lambda shift: _SEARCHED[name](frames, plasma.shifted(shift), solver=how), bounds=delay)


@dataclass(frozen=True, eq=False)
class Uptake:
    """``concentration`` (t, z, y, x) in mmol/L with NaN where there is none, and ``reason`` (z, y, x) of
    :class:`~timelens.engines.mr_signal.SignalReason`.
    """

    concentration: Image
    reason: Image


def on_grid(image: Image, place: Geometry, unit: str) -> NDArray[np.float64]:
    """A map's values in a unit on another grid of the same frame of reference; NaN outside of it."""
    return image.resample_to(place).numpy().astype(np.float64) * units.conversion_factor(image.unit, unit)


def concentration_series(
    dynamic: Image,
    t1: Image,
    *,
    tr: float,
    flip: float,
    relaxivity: float,
    baseline: slice | ArrayLike,
    b1: Image | None = None,
) -> Uptake:
    """Concentration of contrast agent in a dynamic spoiled gradient echo.

    Parameters
    ----------
    dynamic
        (t, z, y, x) with frame timing.
    t1
        T1 before contrast, in any unit of time, on any grid of the same frame of reference.
    tr, flip, relaxivity, baseline
        As for :func:`~timelens.engines.mr_signal.gradient_echo_concentration` (s, degrees, L/mmol/s, frames).
    b1
        Real over nominal flip angle.

    Raises
    ------
    DataError
        The series has no time axis or frame timing, or the T1 map's unit is no time.
    """
    if [axis.name for axis in dynamic.axes] != ["t", "z", "y", "x"] or dynamic.frames is None or not dynamic.geometry:
        raise DataError(
            "A dynamic series has axes t, z, y, x and frame times",
            file=dynamic.name,
            field="axes",
            found=", ".join(axis.name for axis in dynamic.axes),
            mend="state the frame times",
        )
    before = on_grid(t1, dynamic.geometry, "s")
    scale = 1.0 if b1 is None else on_grid(b1, dynamic.geometry, "1")
    found = gradient_echo_concentration(
        dynamic.numpy(), before, tr=tr, flip=flip, relaxivity=relaxivity, baseline=baseline, b1=scale
    )
    series = Image(
        found.values.astype(np.float32), unit="mmol/L", axes=dynamic.axes, geometry=dynamic.geometry,
        frames=dynamic.frames, name="concentration",
    )  # fmt: skip
    reason = Image(
        found.reason, unit="1", axes=dynamic.axes[1:], geometry=dynamic.geometry, name="concentration_reason"
    )
    return Uptake(series, reason)


def map_exchange(
    concentration: Image,
    plasma: InputFunction,
    *,
    model: Model = "extended_tofts",
    solver: Solver = "auto",
    delay: tuple[float, float] | None = None,
    mask: NDArray[np.bool_] | None = None,
    threads: int = 2,
) -> dict[str, Image]:
    """Maps of a model of exchange, in reported units (K^trans and k_ep per minute, flows mL/min/mL).

    Parameters
    ----------
    concentration
        (t, z, y, x) in mmol/L, as :func:`concentration_series` gives it. A frame is taken at its middle.
    plasma
        Arterial plasma on the same clock, in mmol/L.
    model, solver, delay
        As for :func:`exchange_model`; the arrival is searched per voxel.
    mask
        (z, y, x), voxels to fit.

    Returns
    -------
    dict
        Parameters by name, ``<name>_se`` and ``reason``.
    """
    return parametric_images(_fit(concentration, plasma, model, solver, delay, mask, threads), concentration)


def choose_model(
    concentration: Image,
    plasma: InputFunction,
    *,
    models: Sequence[Model] = ("patlak", "tofts", "extended_tofts", "two_compartment_exchange"),
    mask: NDArray[np.bool_] | None = None,
    threads: int = 2,
) -> dict[str, Image]:
    """Which model each voxel supports, by Akaike's criterion for small samples.

    Parameters
    ----------
    concentration, plasma, mask
        As for :func:`map_exchange`.
    models
        Those to choose from, in the order of their codes. All must fit the tissue curve itself.

    Returns
    -------
    dict
        ``model`` (1 for the first of ``models``, 2 for the second ..., 0 where none could be fitted) and ``weight``,
        Akaike's weight of the chosen one among all: near 1 it is clear, near one over their number it is not.
    """
    if len(models) < 2 or len(set(models)) != len(models):
        raise UsageError("A choice needs two or more different models", field="models", found=", ".join(models))
    fits = [_fit(concentration, plasma, model, "auto", None, mask, threads) for model in models]
    scores = np.stack([np.where(np.isfinite(fit.aic), fit.aic, np.inf) for fit in fits])
    least = scores.min(axis=0)
    known = np.isfinite(least)
    evidence = np.exp(-0.5 * (scores - np.where(known, least, 0.0)))
    weight = np.where(known, 1.0 / np.maximum(evidence.sum(axis=0), 1e-300), np.nan)
    code = np.where(known, np.argmin(scores, axis=0) + 1, 0)
    found = {"model": code.astype(np.int32), "weight": weight.astype(np.float32)}
    axes, geometry = concentration.axes[-3:], concentration.geometry
    return {name: Image(array, unit="1", axes=axes, geometry=geometry, name=name) for name, array in found.items()}


def _fit(
    concentration: Image,
    plasma: InputFunction,
    model: Model,
    solver: Solver,
    delay: tuple[float, float] | None,
    mask: NDArray[np.bool_] | None,
    threads: int,
) -> Fit:
    """Maps of one model, in per second."""
    if concentration.frames is None:
        raise DataError("A dynamic series needs frame times", file=concentration.name, field="frames", found="none")
    if concentration.unit != "mmol/L" or plasma.unit not in ("", "mmol/L"):
        raise DataError(
            "Tissue and plasma must share the unit mmol/L",
            field="unit",
            found=f"{concentration.unit} and {plasma.unit or 'none'}",
            mend="convert the signal to concentration first",
        )
    timing = concentration.frames
    frames = Frames.instants(timing.start + 0.5 * timing.duration)
    fitted = exchange_model(model, frames, plasma, solver=solver, delay=delay)
    fit: Fit = fitted.map(concentration.numpy(), mask=mask, threads=threads, dtype=np.float64)
    return fit
