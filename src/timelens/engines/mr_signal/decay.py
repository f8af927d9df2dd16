"""Decay of the transverse magnetisation with echo time and with diffusion weighting, and the bias of magnitudes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from timelens.engines.mr_signal.checks import check_positive

__all__ = ["diffusion_decay", "echo_decay", "ivim_decay", "rician_mean"]

Floats = NDArray[np.float64]


def echo_decay(s0: ArrayLike, rate: ArrayLike, *, te: ArrayLike) -> Floats:
    """``s0 exp(-te R)``: R2 for spin echoes, R2* for gradient echoes (1/s), te in s."""
    return np.asarray(np.asarray(s0) * np.exp(-np.asarray(te) * np.asarray(rate, dtype=np.float64)))


def diffusion_decay(s0: ArrayLike, adc: ArrayLike, *, b: ArrayLike, kurtosis: ArrayLike = 0.0) -> Floats:
    """``s0 exp(-b D + (b D)^2 K / 6)``: b in s/mm2, D in mm2/s, K without unit.

    References
    ----------
    Stejskal EO, Tanner JE, J Chem Phys 1965;42:288, doi:10.1063/1.1695690; Jensen JH et al., Magn Reson Med
    2005;53:1432, doi:10.1002/mrm.20508 (kurtosis).
    """
    x = np.asarray(b) * np.asarray(adc, dtype=np.float64)
    return np.asarray(np.asarray(s0) * np.exp(-x + x * x * np.asarray(kurtosis) / 6))


def ivim_decay(s0: ArrayLike, fraction: ArrayLike, d: ArrayLike, d_star: ArrayLike, *, b: ArrayLike) -> Floats:
    """Blood in capillaries beside tissue: ``s0 (f exp(-b D*) + (1 - f) exp(-b D))``; D and D* in mm2/s.

    D* is the rate of the perfused part as a whole, pseudo-diffusion included.

    References
    ----------
    Le Bihan D et al., Radiology 1988;168:497, doi:10.1148/radiology.168.2.3393671.
    """
    share, dose = np.asarray(fraction, dtype=np.float64), np.asarray(b)
    fast = share * np.exp(-dose * np.asarray(d_star))
    return np.asarray(np.asarray(s0) * (fast + (1 - share) * np.exp(-dose * np.asarray(d))))


def rician_mean(signal: ArrayLike, sigma: float) -> Floats:
    """Expected magnitude of a signal with Gaussian noise ``sigma`` in both channels: never below ``1.2533 sigma``.

    References
    ----------
    Gudbjartsson H, Patz S, Magn Reson Med 1995;34:910, doi:10.1002/mrm.1910340618.
    """
    width = float(check_positive(sigma, "noise"))
    half = np.square(np.asarray(signal, dtype=np.float64) / width) / 4
    scaled = (1 + 2 * half) * special.ive(0, half) + 2 * half * special.ive(1, half)
    return np.asarray(width * np.sqrt(np.pi / 2) * scaled)
