"""From tissue to concentration: contrast agent in exchange between plasma and interstitium, and in its first pass.

The same equations as the fits use (:mod:`timelens.engines.kinetics.exchange`), the other way round.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics import Frames, InputFunction
from timelens.engines.kinetics.convolve import convolve_exponential
from timelens.errors import DataError

__all__ = ["exchange_concentration", "k_trans_of"]

Floats = NDArray[np.float64]

#: Plasma volumes and exchange below these are too small to be told from none; they keep the rates finite.
_LEAST_V_P, _LEAST_PS, _LEAST_V_E = 1e-3, 1e-9, 1e-3


def k_trans_of(f_p: ArrayLike, ps: ArrayLike) -> Floats:
    """Transfer constant of plasma flow and exchange: ``f_p ps / (f_p + ps)`` (Sourbron 2013, doi:10.1002/nbm.2940)."""
    flow, exchange = np.asarray(f_p, float), np.asarray(ps, float)
    total = flow + exchange
    return np.divide(flow * exchange, total, out=np.zeros_like(total), where=total > 0)


def exchange_concentration(
    plasma: InputFunction,
    frames: Frames,
    *,
    f_p: ArrayLike,
    ps: ArrayLike,
    v_p: ArrayLike,
    v_e: ArrayLike,
    part: Literal["both", "plasma"] = "both",
) -> Floats:
    """Tissue concentration of two compartments in exchange.

    Parameters
    ----------
    plasma
        Arterial plasma, mmol/L.
    frames
        When it is wanted.
    f_p, ps
        (voxels,), plasma flow and permeability-surface product, 1/s.
    v_p, v_e
        (voxels,), volumes of plasma and interstitium per volume of tissue.
    part
        All of the agent in the tissue, or only that in its plasma.

    Returns
    -------
    ndarray, shape (frames, voxels)
        mmol/L; zero where there is no flow.

    Raises
    ------
    DataError
        If a value is negative or not finite.
    """
    flow, exchange, blood, space = (np.atleast_1d(np.asarray(v, float)) for v in (f_p, ps, v_p, v_e))
    for name, values in (("f_p", flow), ("ps", exchange), ("v_p", blood), ("v_e", space)):
        if not np.isfinite(values).all() or (values < 0).any():
            raise DataError("Tissue parameters are not negative", field=name, found=float(np.nanmin(values)))
    fed = flow > 0
    blood, space = np.maximum(blood, _LEAST_V_P), np.maximum(space, _LEAST_V_E)
    exchange = np.maximum(exchange, _LEAST_PS)
    alpha, beta = (flow + exchange) / blood, exchange / space
    both = alpha + beta
    root = np.sqrt(np.maximum(both**2 - 4 * beta * flow / blood, 0.0))
    fast = 0.5 * (both + root)
    slow = np.where(fed, beta * flow / blood / np.maximum(fast, 1e-300), 0.0)
    # Start of the response is the flow, its area the volumes; that of the plasma's own is the plasma's volume.
    area = blood + space if part == "both" else blood
    with np.errstate(all="ignore"):
        second = (area - flow / fast) / (1 / slow - 1 / fast)
    second = np.where(fed & np.isfinite(second), np.clip(second, 0.0, flow), 0.0)
    first = flow - second
    quick = convolve_exponential(plasma.times, plasma.values, fast, frames)
    late = convolve_exponential(plasma.times, plasma.values, slow, frames)
    return np.asarray(first * quick + second * late)
