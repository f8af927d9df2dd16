"""The spoiled gradient echo in its steady state, and the relaxation rate that a contrast agent gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.mr_signal.checks import check_flip, check_positive

__all__ = ["ernst_angle", "spoiled_gradient_echo", "with_contrast"]

Floats = NDArray[np.float64]


def spoiled_gradient_echo(
    m0: ArrayLike, r1: ArrayLike, *, flip: ArrayLike, tr: float, te: float = 0.0, r2_star: ArrayLike = 0.0
) -> Floats:
    """Signal of a spoiled gradient echo: ``m0 sin a (1 - E1) / (1 - E1 cos a) exp(-te R2*)``, ``E1 = exp(-tr R1)``.

    Parameters
    ----------
    m0
        Equilibrium magnetisation times receiver gain, any unit; what returns has the same.
    r1, r2_star
        Relaxation rates, 1/s.
    flip
        Flip angle as the tissue sees it (nominal times B1), degrees.
    tr, te
        Repetition and echo time, s.

    References
    ----------
    Ernst RR, Anderson WA, Rev Sci Instrum 1966;37:93, doi:10.1063/1.1719961. Haase A et al., J Magn Reson 1986;67:258,
    doi:10.1016/0022-2364(86)90433-6.
    """
    angle = np.deg2rad(check_flip(flip))
    time = float(check_positive(tr, "repetition time", "seconds"))
    rest = -np.expm1(-time * np.asarray(r1, dtype=np.float64))  # 1 - E1 without cancellation
    steady = np.sin(angle) * rest / (1.0 - (1.0 - rest) * np.cos(angle))
    return np.asarray(np.asarray(m0) * steady * np.exp(-te * np.asarray(r2_star, dtype=np.float64)))


def ernst_angle(r1: ArrayLike, *, tr: float) -> Floats:
    """The flip angle in degrees at which a spoiled gradient echo is strongest: cos a = exp(-tr R1)."""
    return np.asarray(np.rad2deg(np.arccos(np.exp(-float(check_positive(tr, "repetition time")) * np.asarray(r1)))))


def with_contrast(rate: ArrayLike, relaxivity: float, concentration: ArrayLike) -> Floats:
    """Relaxation rate (1/s) with contrast agent: rate + relaxivity (L/mmol/s) times concentration (mmol/L)."""
    return np.asarray(np.asarray(rate) + float(check_positive(relaxivity, "relaxivity")) * np.asarray(concentration))
