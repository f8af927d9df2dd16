"""Recovery curves from magnitudes by maximum likelihood: near its null a magnitude holds noise more than signal.

The likelihood of a Rician magnitude is even in the signal, so no sign has to be restored, and a sample at the null
counts as little as it says: its information about the signal vanishes there (Karlsen OT et al., Magn Reson Med
1999;41:614, doi:10.1002/(SICI)1522-2594(199903)41:3<614::AID-MRM26>3.0.CO;2-1; Sijbers J, den Dekker AJ, Magn Reson Med
2004;51:586, doi:10.1002/mrm.10728).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from timelens.engines.mr_signal.decay import rician_mean

__all__ = ["RicianFit", "fit_recovery", "rician_information"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: Scoring steps; a voxel that has not settled by then is flagged.
STEPS = 40
#: A step that promises to raise the log-likelihood by less than this ends the search.
_SETTLED = 1e-9
#: Signal over noise beyond which the expansion of the information is exact to 1e-4.
_FAR = 12.0
#: A chi-square of residuals beyond this quantile is misfit, not noise: errors then follow from the residuals.
_MISFIT = 0.999


@dataclass(frozen=True, eq=False)
class RicianFit:
    """``a + b exp(-t/T)`` of each curve.

    Attributes
    ----------
    values
        (3, n): a, b and T (s), without their bias to second order.
    covariance
        (3, 3, n), of the same.
    log_likelihood, chi_square
        (n,), the latter of residuals over their own variances.
    settled
        (n,)
    """

    values: Floats
    covariance: Floats
    log_likelihood: Floats
    chi_square: Floats
    settled: NDArray[np.bool_]

    def better_of(self, other: RicianFit) -> RicianFit:
        """Of each curve the fit with the higher likelihood."""
        first = self.log_likelihood >= other.log_likelihood
        return RicianFit(*(np.where(first, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))


@cache
def _tables() -> tuple[Floats, Floats, Floats]:
    """Signal over noise; information about the signal in one magnitude; what makes its estimate skew; by quadrature.

    Both in powers of the noise. The skewness is minus half of E[l'^3] + E[l'' l'] of the log-likelihood l, which is
    what Cox and Snell's bias takes beside curvature.
    """
    ratio = np.linspace(0.0, _FAR, 481)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    low = np.maximum(ratio[:, None] - 9.0, 0.0)
    length = ratio[:, None] + 9.0 - low
    seen = low + length * (nodes + 1) / 2
    product = np.maximum(seen * ratio[:, None], 1e-8)
    density = seen * np.exp(-((seen - ratio[:, None]) ** 2) / 2) * special.i0e(product) * weights * length / 2
    pull = special.i1e(product) / special.i0e(product)
    first = seen * pull - ratio[:, None]
    second = seen**2 * (1 - pull / product - pull**2) - 1
    information = (density * first**2).sum(axis=1)
    skew = -0.5 * (density * (first**3 + first * second)).sum(axis=1)
    return ratio, np.asarray(information), np.asarray(skew)


def rician_information(ratio: Array) -> Floats:
    """Fisher information about the signal in one magnitude, in units of one over the variance of one channel.

    Parameters
    ----------
    ratio
        Signal over noise, of any sign; 0 at 0, 1 from a ratio of about five on.
    """
    grid, known, _ = _tables()
    size = np.abs(ratio)
    return np.where(size < _FAR, np.interp(size, grid, known), 1 - 0.5 / np.maximum(size, 1.0) ** 2)


def _skewness(ratio: Array) -> Floats:
    """The third table, odd in the signal; nothing is left of it far from the null."""
    grid, _, known = _tables()
    return np.asarray(np.sign(ratio) * np.interp(np.abs(ratio), grid, known, right=0.0))


def fit_recovery(
    times: Floats, data: Array, start: Floats, sigma: float, *, least_t: float, most_t: float
) -> RicianFit:
    """Maximum-likelihood fit of magnitudes, by Fisher scoring with damping from a start.

    Parameters
    ----------
    times
        (images,), s.
    data
        (images, n), magnitudes, all finite.
    start
        (3, n): a, b, T.
    sigma
        Noise of one channel, in the unit of the data.
    least_t, most_t
        Range of T, s.

    Notes
    -----
    The bias of second order is that of Cox DR, Snell EJ (J R Stat Soc B 1968;30:248,
    doi:10.1111/j.2517-6161.1968.tb00724.x); it is taken off where it is smaller than the standard error.
    """
    t = times[:, None]
    theta = np.array(start, np.float64)
    theta[2] = np.clip(theta[2], least_t, most_t)
    seen = np.asarray(data, np.float64)
    best = _likelihood(seen, _curve(t, theta), sigma)
    damping = np.full(theta.shape[1], 1e-3)
    settled = np.zeros(theta.shape[1], bool)
    for _ in range(STEPS):
        at = np.flatnonzero(~settled)
        if at.size == 0:
            break
        own, y = theta[:, at], seen[:, at]
        curve, slopes = _curve(t, own), _slopes(t, own)
        product = y * curve / sigma**2
        force = (y * special.i1e(product) / special.i0e(product) - curve) / sigma**2
        score = np.einsum("pin,in->np", slopes, force)
        normal = np.einsum("pin,qin,in->npq", slopes, slopes, rician_information(curve / sigma) / sigma**2)
        diagonal = np.einsum("npp->np", normal)
        damped = normal + np.einsum("np,pq->npq", damping[at, None] * diagonal + 1e-12 * diagonal.max(), np.eye(3))
        step = np.linalg.solve(damped, score[..., None])[..., 0]
        tried = own + step.T
        tried[2] = np.clip(tried[2], least_t, most_t)
        value = _likelihood(y, _curve(t, tried), sigma)
        better = value >= best[at]
        gain = np.abs(np.einsum("np,np->n", step, score))
        settled[at] = gain < _SETTLED
        theta[:, at[better]], best[at[better]] = tried[:, better], value[better]
        damping[at] = np.where(better, damping[at] * 0.1, damping[at] * 10)
    return _judged(t, theta, seen, sigma, best, settled)


def _judged(t: Floats, theta: Floats, seen: Floats, sigma: float, best: Floats, settled: Any) -> RicianFit:
    curve, slopes = _curve(t, theta), _slopes(t, theta)
    weight = rician_information(curve / sigma) / sigma**2
    normal = np.einsum("pin,qin,in->npq", slopes, slopes, weight)
    mean = rician_mean(curve, sigma)
    residual = seen - mean
    chi = np.sum(residual**2 / np.maximum(curve**2 + 2 * sigma**2 - mean**2, 1e-3 * sigma**2), axis=0)
    freedom = t.size - 3
    covariance = np.full(normal.shape, np.nan)
    good = np.linalg.cond(normal) < 1e14
    covariance[good] = np.linalg.inv(normal[good])
    # Curvature of the signal along the covariance: d2/db dT and d2/dT2 are all there is.
    decay, time = np.exp(-t / theta[2]), theta[2]
    mixed, double = decay * t / time**2, theta[1] * decay * (t**2 / time**4 - 2 * t / time**3)
    bend = 2 * mixed * covariance[:, 1, 2] + double * covariance[:, 2, 2]
    spread = np.einsum("pin,npq,qin->in", slopes, covariance, slopes)
    pushed = _skewness(curve / sigma) / sigma**3 * spread - 0.5 * weight * bend
    bias = np.einsum("npq,qin,in->pn", covariance, slopes, pushed)
    if freedom > 0:
        misfit = chi > special.chdtri(freedom, 1 - _MISFIT)
        covariance *= np.where(misfit, np.maximum(chi / freedom, 1.0), 1.0)[:, None, None]
    with np.errstate(invalid="ignore"):
        known = (np.square(bias) < np.einsum("npp->pn", covariance)).all(axis=0)
    values = np.where(known, theta - bias, theta)
    return RicianFit(values, np.moveaxis(covariance, 0, -1), best, chi, settled & good)


def _curve(t: Floats, theta: Floats) -> Floats:
    return np.asarray(theta[0] + theta[1] * np.exp(-t / theta[2]))


def _slopes(t: Floats, theta: Floats) -> Floats:
    decay = np.exp(-t / theta[2])
    return np.stack([np.ones_like(decay), decay, theta[1] * decay * t / theta[2] ** 2])


def _likelihood(seen: Floats, curve: Floats, sigma: float) -> Floats:
    """Logarithm of the likelihood, without what the signal does not change."""
    product = np.abs(seen * curve) / sigma**2
    return np.asarray(np.sum(np.log(special.i0e(product)) + product - curve**2 / (2 * sigma**2), axis=0))
