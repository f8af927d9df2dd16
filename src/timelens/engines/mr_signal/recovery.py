"""Recovery of the longitudinal magnetisation: after inversion, after saturation, and watched by small pulses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.mr_signal.checks import check_flip, check_positive

__all__ = ["inversion_recovery", "look_locker", "saturation_recovery"]

Floats = NDArray[np.float64]


def inversion_recovery(
    m0: ArrayLike, r1: ArrayLike, *, ti: ArrayLike, tr: float = np.inf, efficiency: float = 1.0
) -> Floats:
    """Signed signal ``ti`` s after an inversion that is repeated every ``tr`` s and read by 90 degrees.

    ``m0 (1 - (1 + efficiency) exp(-ti R1) + efficiency exp(-tr R1))``; ``efficiency`` is minus the cosine of the angle
    that the inversion really reaches, 1 when it is perfect.

    References
    ----------
    Barral JK et al., Magn Reson Med 2010;64:1057, doi:10.1002/mrm.22497, equation 1.
    """
    rate = np.asarray(r1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        late = np.exp(-tr * rate) if np.isfinite(tr) else 0.0
    return np.asarray(np.asarray(m0) * (1 - (1 + efficiency) * np.exp(-np.asarray(ti) * rate) + efficiency * late))


def saturation_recovery(m0: ArrayLike, r1: ArrayLike, *, ts: ArrayLike) -> Floats:
    """Signal ``ts`` s after saturation, read by 90 degrees: ``m0 (1 - exp(-ts R1))``."""
    return np.asarray(-np.asarray(m0) * np.expm1(-np.asarray(ts) * np.asarray(r1, dtype=np.float64)))


def look_locker(m0: ArrayLike, r1: ArrayLike, *, times: ArrayLike, flip: float, interval: float) -> Floats:
    """Longitudinal magnetisation after inversion while pulses of ``flip`` degrees follow every ``interval`` s.

    It recovers to ``m0 (1 - E1) / (1 - E1 cos a)`` at the rate ``R1 - ln(cos a) / interval``.

    References
    ----------
    Deichmann R, Haase A, J Magn Reson 1992;96:608, doi:10.1016/0022-2364(92)90347-A.
    """
    rate = np.asarray(r1, dtype=np.float64)
    cosine = np.cos(np.deg2rad(float(check_flip(flip))))
    gap = float(check_positive(interval, "interval between pulses", "seconds"))
    rest = -np.expm1(-gap * rate)
    final = np.asarray(m0) * rest / (1.0 - (1.0 - rest) * cosine)
    apparent = rate - np.log(cosine) / gap
    return np.asarray(final - (final + np.asarray(m0)) * np.exp(-np.asarray(times) * apparent))
