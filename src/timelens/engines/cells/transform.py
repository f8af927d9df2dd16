"""Counts on a scale for thresholds and distances, and slides on one scale."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import UsageError

__all__ = ["COFACTORS", "Normalised", "arcsinh", "normalise"]

#: Usual cofactors by kind of measurement: mean counts per pixel, counts per suspended cell, fluorescence.
COFACTORS = MappingProxyType({"imaging mass cytometry": 1.0, "mass cytometry": 5.0, "fluorescence": 150.0})


def arcsinh(values: ArrayLike, cofactor: float) -> NDArray[np.float64]:
    """asinh(value / cofactor): linear below the cofactor, logarithmic above.

    Parameters
    ----------
    values
        Counts or intensities, any shape.
    cofactor
        In the unit of the values; see :data:`COFACTORS`. There is no default, since results depend on it.
    """
    if not cofactor > 0 or not np.isfinite(cofactor):
        raise UsageError("A cofactor is a positive number", field="cofactor", found=cofactor)
    return np.arcsinh(np.asarray(values, np.float64) / cofactor)


@dataclass(frozen=True)
class Normalised:
    """Values on one scale, and what each slide's were multiplied by.

    Parameters
    ----------
    values
        Shape (cells, channels).
    factors
        Slide to factor per channel; 1 where a slide has no signal at the quantile.
    """

    values: NDArray[np.float64]
    factors: dict[object, NDArray[np.float64]]


def normalise(values: ArrayLike, slides: ArrayLike, *, quantile: float = 0.99) -> Normalised:
    """Scale each slide and channel so that a high quantile agrees between slides.

    The common value is the geometric mean over slides that have signal there. Zero stays zero, and ratios within a
    slide are kept. A channel that truly differs between slides loses that difference: normalise only what is stained
    alike.

    Parameters
    ----------
    values
        Shape (cells, channels), zero or more, before any transform.
    slides
        Slide of each cell.
    quantile
        Between 0 and 1.
    """
    table, slide = np.asarray(values, np.float64), np.asarray(slides)
    if table.ndim != 2 or slide.shape != table.shape[:1]:
        raise UsageError("Each cell has one slide", field="slides", found=slide.shape, expected=table.shape[:1])
    if not 0 < quantile < 1:
        raise UsageError("A quantile lies between 0 and 1", field="quantile", found=quantile)
    if (table < 0).any():
        raise UsageError("Values to be scaled are zero or more", field="values", found=float(np.nanmin(table)))
    names = np.unique(slide)
    high = np.array([np.nanquantile(table[slide == n], quantile, axis=0) for n in names]).reshape(-1, table.shape[1])
    signal = high > 0
    logs = np.log(high, out=np.zeros_like(high), where=signal)
    common = np.exp(logs.sum(axis=0) / np.maximum(signal.sum(axis=0), 1))
    factor = np.divide(common, high, out=np.ones_like(high), where=signal)
    return Normalised(table * factor[np.searchsorted(names, slide)], dict(zip(names.tolist(), factor, strict=True)))


def landmarks(values: ArrayLike, positive: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle of the negative and of the positive group of each marker.

    Parameters
    ----------
    values
        Shape (cells, markers), after the transform; what is not finite is left out.
    positive
        Whether each cell bears each marker, same shape.

    Returns
    -------
    low, high
        Medians, shape (markers,); NaN where a group has no cell.
    """
    table, borne = np.asarray(values, np.float64), np.asarray(positive, bool)
    if table.ndim != 2 or borne.shape != table.shape:
        raise UsageError("Each value is of a positive cell or not", field="positive", found=borne.shape,
                         expected=table.shape)  # fmt: skip
    found = np.full((2, table.shape[1]), np.nan)
    for k in range(table.shape[1]):
        for side, own in enumerate((~borne[:, k], borne[:, k])):
            column = table[own & np.isfinite(table[:, k]), k]
            if len(column):
                found[side, k] = np.median(column)
    return found[0], found[1]
