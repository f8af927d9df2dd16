"""Which model, and from when on: Akaike weights, averages over models, and t* of graphical methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.fit import Fit
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.linear import LinearModel
from timelens.errors import DataError, UsageError

__all__ = ["Comparison", "compare", "find_t_star", "frame_weights"]

Floats = NDArray[np.float64]

#: t* is the first time from which no point is further from the line than this part of it.
T_STAR_TOLERANCE = 0.1


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models held against each other on the same curves.

    ``weights`` (models, ...) are Akaike weights, ``best`` the index of the largest, ``average`` and
    ``standard_error`` the parameter averaged with them; the error includes the spread between models.
    """

    models: tuple[str, ...]
    aic: Floats
    weights: Floats
    best: NDArray[np.intp]
    average: Floats
    standard_error: Floats


def compare(fits: Sequence[Fit], parameter: str) -> Comparison:
    """Akaike weights of fits to the same data, and a parameter averaged over the models that have it.

    Burnham KP, Anderson DR, Model Selection and Multimodel Inference, 2002, sections 2.9 and 4.3.

    Raises
    ------
    UsageError
        No fit, different numbers of frames, or no model has the parameter.
    """
    if not fits or len({fit.frames_used for fit in fits}) != 1:
        raise UsageError(
            "Models are compared on the same frames", found=[fit.frames_used for fit in fits], expected="one number"
        )
    having = [i for i, fit in enumerate(fits) if parameter in fit.parameters]
    if not having:
        raise UsageError("No model has this parameter", field="parameter", found=parameter)
    aic = np.stack([np.asarray(fit.aic, dtype=np.float64) for fit in fits])
    with np.errstate(invalid="ignore", over="ignore"):
        lowest = np.min(np.where(np.isnan(aic), np.inf, aic), axis=0)
        raw = np.nan_to_num(np.exp(-0.5 * (aic - lowest)), nan=0.0)
        weights = raw / raw.sum(axis=0)
        part = weights[having] / weights[having].sum(axis=0)
        values = np.stack([fits[i].parameters[parameter] for i in having])
        errors = np.stack([fits[i].standard_errors[parameter] for i in having])
        # A model without weight must not bring its NaN in.
        values, errors = np.where(part > 1e-12, values, 0.0), np.where(part > 1e-12, errors, 0.0)
        average = (part * values).sum(axis=0)
        error = (part * np.sqrt(errors**2 + (values - average) ** 2)).sum(axis=0)
    return Comparison(
        tuple(fit.model for fit in fits),
        aic,
        weights,
        np.argmax(weights, axis=0),
        np.asarray(average),
        np.asarray(error),
    )


def find_t_star(
    make_model: Callable[[float], LinearModel],
    frames: Frames,
    curve: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    tolerance: float = T_STAR_TOLERANCE,
    fewest: int = 5,
) -> float:
    """The earliest t* (s) from which every point lies within ``tolerance`` of the fitted line, relative to it.

    Parameters
    ----------
    make_model
        Model for a t*, such as ``lambda t: Logan(frames, plasma, t_star=t)``.
    curve
        (frames,): a region's curve, or the mean of those to be compared, so that all share one t*.
    fewest
        Points that have to be left; NaN if the criterion is not met even with these.
    """
    size = len(frames)
    given = np.ones(size) if weights is None else np.asarray(weights, dtype=np.float64)
    for first in range(size - fewest + 1):
        if int((given[first:] > 0).sum()) < fewest:
            break
        # Row weights and a plasma that is still zero can forbid an early start; that start is simply not chosen.
        try:
            fit = make_model(float(frames.start[first])).fit(curve, weights)
        except DataError:
            continue
        if fit.predicted is None or fit.residuals is None:
            continue
        used = np.isfinite(fit.residuals)
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.abs(fit.residuals[used] / fit.predicted[used])
        if used.sum() >= fewest and np.isfinite(off).all() and float(off.max()) <= tolerance:
            return float(frames.start[first])
    return float("nan")


def frame_weights(frames: Frames, mean_curve: ArrayLike, *, half_life: float | None = None) -> Floats:
    """Weights from counting statistics: duration times undecayed over decay-corrected activity, mean 1.

    The variance of a decay-corrected frame is proportional to C e^(lambda t) / duration, so its weight is
    duration * e^(-lambda t) / C. Frames without activity get the weight of the weakest frame that has some.

    Parameters
    ----------
    mean_curve
        (frames,), decay-corrected curve of the whole field of view or organ.
    half_life
        s; None where data are not decay-corrected.
    """
    curve = np.asarray(mean_curve, dtype=np.float64)
    if curve.shape != (len(frames),) or not np.isfinite(curve).all() or curve.max() <= 0:
        raise UsageError("Weights need one finite value per frame", field="mean_curve", found=f"shape {curve.shape}")
    decay = np.exp2(-frames.middle / half_life) if half_life is not None else np.ones(len(frames))
    length = frames.duration if frames.sampling == "frame" else np.ones(len(frames))
    floor = curve[curve > 0].min()
    weights = length * decay / np.maximum(curve, floor)
    return np.asarray(weights / weights.mean())
