"""Antibodies over days: Patlak with late images, and the non-specific uptake that every tissue shows.

Jauw YWS et al., J Nucl Med 2019;60:1825, doi:10.2967/jnumed.118.224568 (baseline uptake of tissues without the target);
EJNMMI Res 2022, doi:10.1186/s13550-022-00927-6 (what few late scans can tell: Patlak underestimates k_i).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.graphical import Patlak
from timelens.engines.kinetics.inputs import InputFunction
from timelens.errors import DataError

__all__ = ["AntibodyPatlak", "subtract_baseline"]

Floats = NDArray[np.float64]


class AntibodyPatlak(Patlak):
    """Patlak over days for antibodies: k_i is irreversible uptake, v_0 the reversible part.

    Tissue at two or more days, all from 24 h on by default (Jauw YWS et al., J Nucl Med 2019;60:1825,
    doi:10.2967/jnumed.118.224568). Tissue and plasma follow one decay convention, best decay-corrected. The plasma's
    first sample has to be early, for its integral from injection on is what the slope is measured against. Non-specific
    uptake is taken off afterwards with :func:`subtract_baseline`.
    """

    name = "antibody_patlak"

    #: The plasma before this time may be missing; after it the lost area would bias v_0.
    LATEST_FIRST_SAMPLE = 3600.0
    #: 24 h in seconds.
    DAY = 86400.0

    def __init__(self, frames: Frames, plasma: InputFunction, *, t_star: float = DAY) -> None:
        if plasma.times[0] > self.LATEST_FIRST_SAMPLE:
            raise DataError(
                "The plasma curve starts too late for its integral from injection",
                field="plasma",
                found=f"first sample at {plasma.times[0] / 3600:.1f} h",
                expected="a sample within the first hour",
                mend="extend the curve to time zero with fit_exponentials, or add early samples",
            )
        super().__init__(frames, plasma, t_star=t_star)


def subtract_baseline(
    value: ArrayLike, standard_error: ArrayLike, baseline: ArrayLike, baseline_error: ArrayLike = 0.0
) -> tuple[Floats, Floats]:
    """Target-specific part of k_i or v_0: value minus the tissue's baseline, with the errors of both. Broadcasts."""
    specific = np.asarray(value, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    return specific, np.hypot(
        np.asarray(standard_error, dtype=np.float64), np.asarray(baseline_error, dtype=np.float64)
    )
