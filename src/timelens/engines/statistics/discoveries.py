"""False discovery rate: p-values of many tests, adjusted so that of what is called found a known part is false."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import UsageError

__all__ = ["benjamini_hochberg", "storey"]

FloatArray = NDArray[np.float64]


def benjamini_hochberg(p_values: ArrayLike) -> FloatArray:
    """Adjusted p-values (Benjamini and Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x).

    Calling everything found whose adjusted p-value is at most q keeps the expected part of false ones among them at or
    below q, where tests are independent or positively dependent.

    Parameters
    ----------
    p_values
        Any shape, each between 0 and 1; NaN is no test and stays NaN.

    Returns
    -------
    numpy.ndarray
        The same shape; never below the p-value itself, and in its order.

    Raises
    ------
    UsageError
        If a p-value lies outside of 0 to 1.
    """
    p = np.asarray(p_values, np.float64)
    known = np.isfinite(p)
    own = p[known]
    if np.isinf(p).any() or (own < 0).any() or (own > 1).any():
        raise UsageError("A p-value lies between 0 and 1", field="p_values", found=_outside(p))
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(own, kind="stable")
    scaled = own[order] * len(own) / np.arange(1, len(own) + 1)
    back = np.empty(len(own))
    back[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    adjusted[known] = back
    return adjusted


def storey(p_values: ArrayLike, *, above: float = 0.5) -> tuple[FloatArray, float]:
    """q-values: adjusted p-values times the part of tests in which nothing is to be found.

    That part is taken from the p-values above a limit, of which few belong to anything real (Storey, Taylor and
    Siegmund 2004, doi:10.1111/j.1467-9868.2004.00439.x). It needs many tests, and is 1 where there are few.

    Parameters
    ----------
    p_values
        As :func:`benjamini_hochberg` takes them.
    above
        The limit, between 0 and 1.

    Returns
    -------
    q_values
        The same shape.
    part
        Estimated part of tests in which nothing is to be found; NaN without any.
    """
    if not 0 < above < 1:
        raise UsageError("The limit lies between 0 and 1", field="above", found=above)
    adjusted = benjamini_hochberg(p_values)
    p = np.asarray(p_values, np.float64)
    number = int(np.isfinite(p).sum())
    if not number:
        return adjusted, float("nan")
    part = min(1.0, (1 + int((p > above).sum())) / (number * (1 - above)))
    return adjusted * part, part


def _outside(p: FloatArray) -> float:
    return float(p[(p < 0) | (p > 1) | np.isinf(p)].flat[0])
