"""Leakage of contrast agent out of vessels during the first pass, and what it adds to or takes from blood volume.

Agent outside vessels shortens T1 (less apparent dR2*) and T2* (more). Both corrections give dR2* without it.

- :func:`correct_leakage`: the curve is ``K1 m(t) - K2 integral m`` with m the mean of tissue that does not leak; the
  second term is taken off (Boxerman JL, Schmainda KM, Weisskoff RM, AJNR 2006;27:859). Needs a transit time like the
  reference's; K2 > 0 is T1-dominant, K2 < 0 T2*-dominant.
- :func:`correct_leakage_both_ways`: the same with agent that comes back, ``K1 m(t) - K2 integral m(u)
  exp(-k_ep (t - u)) du`` (Leu K et al., AJNR 2016;37:1440, doi:10.3174/ajnr.A4759).
- :func:`correct_leakage_by_transit`: the tail of the residue function, long after transit, is the leakage rate
  (Bjørnerud A et al., J Cereb Blood Flow Metab 2011;31:2041, doi:10.1038/jcbfm.2011.52). Needs the arterial curve and
  no reference tissue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.convolve import convolve_exponential
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.model import check_shape
from timelens.engines.kinetics.reasons import Reason
from timelens.engines.perfusion.deconvolution import Deconvolution
from timelens.errors import DataError

__all__ = ["Leakage", "correct_leakage", "correct_leakage_both_ways", "correct_leakage_by_transit"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Leakage:
    """``corrected`` (frames, ...) without leakage; ``rate`` (...) K2 or the leakage rate, 1/s, with its standard
    ``error`` (NaN where the method gives none); ``reason``; ``back`` (...) k_ep, 1/s, where the method has it.
    """

    corrected: Floats
    rate: Floats
    error: Floats
    reason: NDArray[np.int32]
    back: Floats | None = None


def _prepare(times: ArrayLike, data: ArrayLike) -> tuple[Floats, Floats, NDArray[np.int32]]:
    t, y = np.asarray(times, dtype=np.float64), np.asarray(data, dtype=np.float64)
    if t.ndim != 1 or t.size < 8 or not np.isfinite(t).all() or (np.diff(t) <= 0).any():
        raise DataError("A first pass needs eight or more ascending times", field="times", found=t.tolist()[:6])
    check_shape(y.shape, t.size)
    flat = y.reshape(t.size, -1)
    reason = np.zeros(flat.shape[1], dtype=np.int32)
    reason[~np.isfinite(flat).all(axis=0)] = int(Reason.NON_FINITE)
    reason[(flat == 0).all(axis=0)] = int(Reason.NO_SIGNAL)
    return t, flat, reason


def _integral(t: Floats, curve: Floats) -> Floats:
    step = np.diff(t)
    return np.concatenate([[0.0], np.cumsum(0.5 * (curve[1:] + curve[:-1]) * step)])


def correct_leakage(times: ArrayLike, data: ArrayLike, reference: ArrayLike) -> Leakage:
    """Boxerman-Schmainda-Weisskoff's correction.

    Parameters
    ----------
    times
        (frames,), s.
    data
        (frames, ...), dR2* in 1/s.
    reference
        Mask of tissue that does not leak, shape of a frame, or its mean curve (frames,).

    Returns
    -------
    Leakage
        ``rate`` is K2.

    Raises
    ------
    DataError
        The reference is empty or of another shape, or its mean is not positive.
    """
    t, flat, reason = _prepare(times, data)
    shape = np.asarray(data).shape[1:]
    mean = _reference(t, flat, reason, shape, reference)
    k, error, _ = _two_parts(flat, mean, _integral(t, mean), reason == 0)
    corrected = flat + k[1] * _integral(t, mean)[:, None]
    return Leakage(
        corrected.reshape(np.asarray(data).shape), k[1].reshape(shape), error.reshape(shape), reason.reshape(shape)
    )


def correct_leakage_both_ways(
    times: ArrayLike, data: ArrayLike, reference: ArrayLike, *, k_ep: tuple[float, float] = (0.0, 0.05)
) -> Leakage:
    """Leu's correction: agent leaks out and comes back.

    Parameters
    ----------
    times, data, reference
        As for :func:`correct_leakage`.
    k_ep
        Searched range of the rate from tissue back to plasma, 1/s: the best of 26 values, evenly apart, is taken.

    Returns
    -------
    Leakage
        ``rate`` is K2, with its error at the k_ep that was found; ``back`` is k_ep.
    """
    t, flat, reason = _prepare(times, data)
    shape = np.asarray(data).shape[1:]
    mean = _reference(t, flat, reason, shape, reference)
    if not 0 <= k_ep[0] < k_ep[1]:
        raise DataError("The range of k_ep must ascend from 0 or more", field="k_ep", found=k_ep)
    size = flat.shape[1]
    least, rate, error, back = (np.full(size, np.nan) for _ in range(4))
    corrected = np.full_like(flat, np.nan)
    for each in np.linspace(*k_ep, 26):
        leaked = convolve_exponential(t, mean, each, Frames.instants(t))
        k, sure, rss = _two_parts(flat, mean, leaked, reason == 0)
        better = (reason == 0) & ~(rss >= least)
        least[better], rate[better], error[better], back[better] = rss[better], k[1, better], sure[better], each
        corrected[:, better] = flat[:, better] + k[1, better] * leaked[:, None]
    return Leakage(
        corrected.reshape(np.asarray(data).shape), rate.reshape(shape), error.reshape(shape), reason.reshape(shape),
        back.reshape(shape),
    )  # fmt: skip


def _reference(
    t: Floats, flat: Floats, reason: NDArray[np.int32], shape: tuple[int, ...], reference: ArrayLike
) -> Floats:
    """Mean curve of the reference tissue."""
    given = np.asarray(reference)
    if given.dtype == np.bool_:
        usable = reason == 0
        if given.shape != shape or not (given.reshape(-1) & usable).any():
            raise DataError(
                "The reference must be a mask of the shape of a frame that holds voxels",
                field="reference", found=f"shape {given.shape}, {int(given.sum())} voxels", expected=shape,
            )  # fmt: skip
        mean = flat[:, given.reshape(-1) & usable].mean(axis=1)
    else:
        mean = np.asarray(given, dtype=np.float64)
        if mean.shape != t.shape or not np.isfinite(mean).all():
            raise DataError("A reference curve needs one value per time", field="reference", found=mean.shape)
    if not mean.sum() > 0:
        raise DataError("The reference tissue shows no first pass", field="reference", found=f"mean {mean.mean():g}")
    return np.asarray(mean)


def _two_parts(flat: Floats, mean: Floats, leaked: Floats, good: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """K1 and K2 (2, n), error of K2 and residual sum of ``K1 mean - K2 leaked``."""
    design = np.stack([mean, -leaked], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    k = np.full((2, good.size), np.nan)
    k[:, good] = inverse @ (design.T @ flat[:, good])
    rss = np.square(flat - design @ k).sum(axis=0)
    return k, np.sqrt(rss / (mean.size - 2) * inverse[1, 1]), rss


def correct_leakage_by_transit(
    times: ArrayLike, data: ArrayLike, arterial: ArrayLike, *, window: tuple[float, float] = (0.35, 0.65)
) -> Leakage:
    """Bjørnerud's correction.

    Parameters
    ----------
    times, data
        As for :func:`correct_leakage`, evenly spaced.
    arterial
        (frames,), in the unit of the data.
    window
        Part of the series in which the residue counts as leakage: late enough for all transit, early enough for the end
        of the series not to matter.

    Returns
    -------
    Leakage
        ``rate`` is the leakage rate over the arterial curve's scale, positive where leakage adds to dR2*; its error is
        the spread of the tail over the root of its independent points.
    """
    t, flat, reason = _prepare(times, data)
    shape = np.asarray(data).shape[1:]
    artery = np.asarray(arterial, dtype=np.float64)
    first, last = (int(part * t.size) for part in window)
    if not 0 < first < last - 2 < t.size:
        raise DataError("The window must be an ascending part of the series", field="window", found=window)
    # Pure leakage at unit rate is the integral of the artery: its tail says what the filtered deconvolution makes of 1.
    both = np.concatenate([flat, _integral(t, artery)[:, None]], axis=1)
    model = Deconvolution(t, artery, method="csvd", haematocrit_factor=1.0, density=1.0)
    residue = model.fit(both, keep_residue=True).residue
    assert residue is not None
    tail = residue[first:last]
    unit = tail[:, -1].mean()
    rate = tail[:, :-1].mean(axis=0) / unit
    # Filtered to a tenth of the spectrum, neighbouring points repeat each other about five times.
    error = tail[:, :-1].std(axis=0) / np.sqrt(max((last - first) / 5, 1)) / abs(unit)
    corrected = flat - rate * _integral(t, artery)[:, None]
    return Leakage(
        corrected.reshape(np.asarray(data).shape), rate.reshape(shape), error.reshape(shape), reason.reshape(shape)
    )
