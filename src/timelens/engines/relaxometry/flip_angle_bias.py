"""What noise does to T1 from flip angles on average: a fit of a curved model is biased."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.mr_signal.checks import check_flip, check_positive
from timelens.errors import DataError

__all__ = ["FlipAngleNoise", "flip_angle_noise"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FlipAngleNoise:
    """Of T1 from the non-linear fit, to second order in the noise.

    Attributes
    ----------
    variance
        Of T1 in s2, for noise of one unit in each image and M0 of one unit; it goes with the square of their ratio.
    bias_per_variance
        By how much T1 is too high on average, in s per s2 of its variance, whatever noise and M0 are.
    """

    variance: float
    bias_per_variance: float


def flip_angle_noise(t1: float, flip: ArrayLike, tr: float, *, b1: float = 1.0) -> FlipAngleNoise:
    """Variance and bias of T1 by :class:`~timelens.engines.relaxometry.VariableFlipAngle`, method ``nonlinear``.

    Parameters
    ----------
    t1
        s.
    flip, tr
        Nominal angles in degrees, two or more different ones, and TR in s.
    b1
        Real over nominal flip angle.

    Raises
    ------
    DataError
        Fewer than two different angles, or settings that are impossible.

    References
    ----------
    Box MJ, J R Stat Soc B 1971;33:171, doi:10.1111/j.2517-6161.1971.tb00871.x: with slopes J and second derivatives H
    of the model the bias is ``-(J'J)^-1 J' tr(H C) / 2``, C the covariance.
    """
    angles = np.deg2rad(np.atleast_1d(check_flip(flip))) * b1
    if np.unique(angles).size < 2:
        raise DataError(
            "T1 needs at least two different flip angles", field="flip angle", found=flip, expected="degrees"
        )
    time = float(check_positive(t1, "T1", "seconds"))
    cosine, sine = np.cos(angles), np.sin(angles)
    e = np.exp(-tr / time)
    e_1, e_2 = e * tr / time**2, e * (tr**2 / time**4 - 2 * tr / time**3)
    left = 1 - e * cosine
    signal = sine * (1 - e) / left
    by_e, by_ee = sine * (cosine - 1) / left**2, 2 * sine * cosine * (cosine - 1) / left**3
    slopes = np.stack([signal, by_e * e_1], axis=1)
    covariance = np.linalg.inv(slopes.T @ slopes)
    # By M0 twice there is nothing; by M0 and T1 the slope by T1, for M0 of one.
    bend = 2 * slopes[:, 1] * covariance[0, 1] + (by_ee * e_1**2 + by_e * e_2) * covariance[1, 1]
    bias = -0.5 * covariance @ slopes.T @ bend
    return FlipAngleNoise(float(covariance[1, 1]), float(bias[1] / covariance[1, 1]))
