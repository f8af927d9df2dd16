"""An agent in tissue, voxel by voxel: from plasma through the vessel wall to its target, fast for whole volumes.

In the tracer limit free and bound agent decay with two rates per voxel (roots of a quadratic), internalised agent with
one more, ``k_loss``, that all voxels share. So a voxel's curve is a sum of the input convolved with exponentials. The
convolution is computed exactly (:func:`timelens.engines.kinetics.convolve_exponential`) at some two thousand rates,
evenly on ``log(k + k_0)``, and joined by cubic splines: better than 1e-8 of the curve, and independent of the number of
voxels. Where the mass given would occupy more than 5 % of the target, the saturable equations are solved instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit, prange
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from timelens.engines.compartments.saturable import saturable_binding
from timelens.engines.kinetics.convolve import convolve_exponential, convolve_with_slope, frame_values
from timelens.engines.kinetics.frames import Frames
from timelens.errors import DataError, UsageError
from timelens.tumor.agents.rates import OCCUPANCY_LIMIT, TissueRates

__all__ = ["TissueCurves", "tissue_curves"]

Floats = NDArray[np.float64]
#: Step of the table on ``log(k + k_0)``.
_STEP = 0.01
#: Two rates closer than this (relative) are one rate with a derivative.
_CLOSE = 1e-3
#: Voxels of the saturable equations solved at once.
_BLOCK = 65536


@dataclass(frozen=True, eq=False)
class TissueCurves:
    """An agent in tissue over time.

    Attributes
    ----------
    total
        (frames, voxels...) float32, unit of the input: all agent in the voxel, that in its vessels included.
    bound
        Part of it that is bound or internalised, same shape; None unless asked for.
    occupancy
        (voxels...) highest part of the target that was occupied (in the tracer limit over the frames; at any moment
        where the saturable equations were solved); NaN without target or known mass.
    solved
        (voxels...) where the saturable equations were solved.
    """

    total: NDArray[np.float32]
    bound: NDArray[np.float32] | None
    occupancy: Floats
    solved: NDArray[np.bool_]


def tissue_curves(
    rates: TissueRates,
    times: ArrayLike,
    plasma: ArrayLike,
    blood: ArrayLike,
    frames: Frames,
    *,
    nmol_per_unit: float | None = None,
    model: Literal["auto", "tracer", "saturable"] = "auto",
    bound: bool = False,
) -> TissueCurves:
    """Curves of every voxel.

    Parameters
    ----------
    rates
        Of the tissue.
    times, plasma, blood
        Input: knots in s, concentration in plasma and in whole blood, linear in between, in any unit per mL.
    frames
        Averages or instants, not beyond the last knot.
    nmol_per_unit
        nmol of agent per unit of the input (times mL): for parts of the dose, the dose in nmol. Without it nothing can
        saturate.
    model
        ``tracer``: nowhere; ``saturable``: everywhere; ``auto``: where occupancy would exceed 5 %.
    bound
        Whether to return bound agent too.

    Raises
    ------
    UsageError
        If ``saturable`` is asked for without ``nmol_per_unit``.
    DataError
        If the input is not a curve that reaches the last frame.
    """
    if model not in ("auto", "tracer", "saturable"):
        raise UsageError("There is no such model", field="model", found=model, expected="auto, tracer or saturable")
    if model == "saturable" and nmol_per_unit is None:
        raise UsageError("Saturation needs the mass given", field="nmol_per_unit")
    if nmol_per_unit is not None and not (np.isfinite(nmol_per_unit) and nmol_per_unit >= 0):
        raise DataError("A mass must be zero or more", field="nmol_per_unit", found=nmol_per_unit)
    a = rates.affinity
    k1, k2, k3, vessel, target = (
        np.ascontiguousarray(each.reshape(-1)) for each in (rates.k1, rates.k2, rates.k3, rates.vessel, rates.target)
    )
    knots, height = np.asarray(times, float), np.asarray(plasma, float)
    vascular = frame_values(knots, np.asarray(blood, float), frames)
    fastest = float((k2 + k3).max(initial=0.0)) + a.k_off + a.k_int
    table = _Table(knots, height, frames, fastest, a.k_loss)
    total = np.empty((len(frames), k1.size), np.float32)
    kept = np.empty((len(frames), k1.size if bound else 0), np.float32)
    highest = np.zeros(k1.size)
    _evaluate(
        k1, k2, k3, vessel, a.k_off, a.k_int, vascular, table.first, table.step, table.offset, table.plain, table.chain,
        a.k_int > 0, bound, total, kept, highest,
    )  # fmt: skip
    occupancy = np.full(k1.size, np.nan)
    solved = np.zeros(k1.size, bool)
    if nmol_per_unit is not None:
        # A mL of tissue that holds x nmol has 1000 x nmol/L.
        scale = 1e3 * nmol_per_unit
        has = (target > 0) & (k3 > 0) & (a.k_on > 0)
        occupancy[has] = scale * highest[has] / target[has]
        if model != "tracer":
            solved = has & ((occupancy > OCCUPANCY_LIMIT) | (model == "saturable"))
            _saturate(rates, np.flatnonzero(solved), knots, height, vascular, frames, scale, total, kept, occupancy)
    shape = (len(frames), *rates.shape)
    return TissueCurves(
        total.reshape(shape),
        kept.reshape(shape) if bound else None,
        occupancy.reshape(rates.shape),
        solved.reshape(rates.shape),
    )


class _Table:
    """The convolved input at all rates, as cubic pieces: (pieces, frames, 4), powers descending."""

    def __init__(self, knots: Floats, height: Floats, frames: Frames, fastest: float, loss: float) -> None:
        end = float(frames.end[-1])
        self.offset = 0.1 / end
        self.first = float(np.log(self.offset))
        pieces = max(16, int(np.ceil((np.log(fastest * 1.001 + self.offset) - self.first) / _STEP)))
        self.step = _STEP
        at = np.asarray(self.first + _STEP * np.arange(pieces + 1), dtype=np.float64)
        rate = np.asarray(np.maximum(np.exp(at) - self.offset, 0.0), dtype=np.float64)
        plain = convolve_exponential(knots, height, rate, frames)
        self.plain = self._pieces(at, plain)
        # The input convolved with exp(-rate t) and exp(-loss t): a divided difference, near equal rates a derivative.
        gap = rate - loss
        near = np.abs(gap) * end < 1e-3
        own = convolve_exponential(knots, height, np.array([loss]), frames)
        slope = convolve_with_slope(knots, height, np.where(near, 0.5 * (rate + loss), 0.0), frames)[1]
        chain = np.where(near, -slope, (own - plain) / np.where(near, 1.0, gap))
        self.chain = self._pieces(at, chain)

    @staticmethod
    def _pieces(at: Floats, values: Floats) -> Floats:
        return np.ascontiguousarray(np.moveaxis(CubicSpline(at, values, axis=1).c, 0, -1))


@njit(cache=True, inline="always")
def _cubic(piece: Floats, x: float) -> float:
    return ((piece[0] * x + piece[1]) * x + piece[2]) * x + piece[3]


@njit(cache=True, inline="always")
def _cubic_slope(piece: Floats, x: float) -> float:
    return (3.0 * piece[0] * x + 2.0 * piece[1]) * x + piece[2]


@njit(cache=True, nogil=True, parallel=True)
def _evaluate(
    k1s: Floats,
    k2s: Floats,
    k3s: Floats,
    vessels: Floats,
    off: float,
    kint: float,
    vascular: Floats,
    first: float,
    step: float,
    offset: float,
    plain: Floats,
    chain: Floats,
    internalises: bool,
    bound: bool,
    total: NDArray[np.float32],
    kept: NDArray[np.float32],
    highest: Floats,
) -> None:
    pieces = plain.shape[0]
    leaving = off + kint
    for v in prange(k1s.size):
        k1, k2, k3 = k1s[v], k2s[v], k3s[v]
        enters = k2 + k3
        root = np.sqrt((enters - leaving) ** 2 + 4.0 * off * k3)
        fast = 0.5 * (enters + leaving + root)
        slow = (k2 * leaving + k3 * kint) / fast if fast > 0.0 else 0.0
        close = fast - slow <= _CLOSE * fast
        if close:
            middle = 0.5 * (fast + slow)
            um = (np.log(middle + offset) - first) / step
            im = min(int(um), pieces - 1)
            xm = (um - im) * step
            slope = 1.0 / (middle + offset)
        us = (np.log(slow + offset) - first) / step
        uf = (np.log(fast + offset) - first) / step
        i_s, i_f = min(max(int(us), 0), pieces - 1), min(max(int(uf), 0), pieces - 1)
        xs, xf = (us - i_s) * step, (uf - i_f) * step
        gap = fast - slow
        peak = 0.0
        for n in range(vascular.size):
            g_slow = _cubic(plain[i_s, n], xs)
            g_fast = _cubic(plain[i_f, n], xf)
            # Divided differences (g_slow - g_fast) / (fast - slow), safe where both are one.
            both = -_cubic_slope(plain[im, n], xm) * slope if close else (g_slow - g_fast) / gap
            free = k1 * (g_fast + (leaving - slow) * both)
            held = k1 * k3 * both
            peak = max(peak, held)
            if internalises and k3 > 0.0:
                if close:
                    three = -_cubic_slope(chain[im, n], xm) * slope
                else:
                    three = (_cubic(chain[i_s, n], xs) - _cubic(chain[i_f, n], xf)) / gap
                held += kint * k1 * k3 * three
            total[n, v] = free + held + vessels[v] * vascular[n]
            if bound:
                kept[n, v] = held
        highest[v] = peak


def _saturate(
    rates: TissueRates,
    voxels: NDArray[np.intp],
    knots: Floats,
    height: Floats,
    vascular: Floats,
    frames: Frames,
    scale: float,
    total: NDArray[np.float32],
    kept: NDArray[np.float32],
    occupancy: Floats,
) -> None:
    """Replace these voxels by the solution of the saturable equations."""
    a = rates.affinity
    flat = {name: getattr(rates, name).reshape(-1) for name in ("k1", "k2", "space", "target", "vessel")}
    for start in range(0, voxels.size, _BLOCK):
        part = voxels[start : start + _BLOCK]
        one = {name: values[part] for name, values in flat.items()}
        amounts, reached = saturable_binding(
            knots, height * scale, frames, k1=one["k1"], k2=one["k2"], on=a.k_on / one["space"], off=a.k_off,
            target=one["target"], internalised=a.k_int, loss=a.k_loss,
        )  # fmt: skip
        held = (amounts[1] + amounts[2]) / scale
        total[:, part] = amounts[0] / scale + held + one["vessel"] * vascular[:, None]
        if kept.size:
            kept[:, part] = held
        occupancy[part] = reached
