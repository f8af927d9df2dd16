"""Plasma-input graphical and multilinear models: Patlak, Logan, multilinear Logan, MA1, MA2.

Patlak CS et al., J Cereb Blood Flow Metab 1983;3:1, doi:10.1038/jcbfm.1983.1; Logan J et al. 1990;10:740,
doi:10.1038/jcbfm.1990.127; Ichise M et al. 2002;22:1271, doi:10.1097/01.WCB.0000038000.34930.4E (MA1, MA2).
Every integral of the plasma starts at its first sample and is exact for the piecewise-linear input.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.convolve import convolve_exponential, convolve_with_slope, frame_values
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.inputs import InputFunction, require_same_convention
from timelens.engines.kinetics.linear import LinearModel
from timelens.engines.kinetics.linear_kernels import DOUBLE, INTEGRAL, TISSUE
from timelens.engines.kinetics.model import check_fraction, check_span
from timelens.errors import DataError

__all__ = ["MA1", "MA2", "Logan", "MultilinearLogan", "Patlak", "PlasmaModel"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

_FLOW = "mL/mL/s"
_RATIO = "mL/mL"


class PlasmaModel(LinearModel):
    """A linear model with plasma input.

    Parameters
    ----------
    frames
        When the tissue was measured.
    plasma
        The input that enters tissue.
    t_star
        s; frames that start at or after it enter the regression.
    blood, blood_volume
        Whole blood (``plasma`` if None) and a known blood volume fraction, taken off the tissue before the fit.
    """

    def __init__(
        self,
        frames: Frames,
        plasma: InputFunction,
        *,
        t_star: float = 0.0,
        blood: InputFunction | None = None,
        blood_volume: float = 0.0,
    ) -> None:
        check_span(float(plasma.times[-1]), frames)
        if plasma.kind == "reference":
            raise DataError("A reference region is no plasma input", field="plasma", found="reference")
        self.plasma = plasma
        self._use(frames, self._curves_of(frames), t_star)
        volume = check_fraction(blood_volume, "blood volume")
        if volume:
            seen = plasma if blood is None else blood
            require_same_convention(plasma, seen)
            self.offset, self.share = volume * frame_values(seen.times, seen.values, frames), 1.0 - volume

    def _curves_of(self, frames: Frames) -> list[Floats]:
        """Integral of the plasma, and the plasma, as the frames see them."""
        times, values = self.plasma.times, self.plasma.values
        return [convolve_exponential(times, values, 0.0, frames), frame_values(times, values, frames)]


class Patlak(PlasmaModel):
    """C / Cp against (integral of Cp) / Cp: slope k_i, intercept v_0, points weighted equally by default."""

    name = "patlak"
    main = "k_i"
    units: ClassVar[dict[str, str]] = {"k_i": _FLOW, "v_0": _RATIO}
    terms = (0, 1)
    target = TISSUE
    shifts = (0.0, 0.0)

    def __init__(
        self,
        frames: Frames,
        plasma: InputFunction,
        *,
        t_star: float = 0.0,
        blood: InputFunction | None = None,
        blood_volume: float = 0.0,
    ) -> None:
        super().__init__(frames, plasma, t_star=t_star, blood=blood, blood_volume=blood_volume)
        seen = self.known[1]
        if (seen[self.late] <= 0).any():
            raise DataError(
                "The plasma is zero in a frame after t*", field="plasma", found=f"{seen[self.late].min():g}",
                expected="positive concentrations", mend="use a later t*, or a fitted plasma curve",
            )  # fmt: skip
        # Dividing by Cp is the same regression with rows weighted by 1 / Cp^2.
        self.ordinate = np.divide(1.0, seen, out=np.zeros_like(seen), where=seen > 0)

    def _transform(self, coefficients: Array) -> dict[str, Array]:
        return {"k_i": coefficients[0], "v_0": coefficients[1]}


class Logan(PlasmaModel):
    """(integral of C) / C against (integral of Cp) / C: slope v_t, intercept. Noise biases v_t low (Slifstein 2000)."""

    name = "logan"
    main = "v_t"
    units: ClassVar[dict[str, str]] = {"v_t": _RATIO, "intercept": "s"}
    terms = (0, TISSUE)
    target = INTEGRAL
    divided = True
    shifts = (0.0, 0.0)

    def _transform(self, coefficients: Array) -> dict[str, Array]:
        return {"v_t": coefficients[0], "intercept": coefficients[1]}


class MultilinearLogan(Logan):
    """Logan's equation without the division: integral of C = v_t (integral of Cp) + intercept C."""

    name = "multilinear_logan"
    divided = False


class MA1(PlasmaModel):
    """Ichise's first multilinear analysis: C = g1 (integral of Cp) + g2 (integral of C), v_t = -g1 / g2."""

    name = "ma1"
    main = "v_t"
    units: ClassVar[dict[str, str]] = {"v_t": _RATIO, "intercept": "s"}
    terms = (0, INTEGRAL)
    target = TISSUE

    def _transform(self, coefficients: Array) -> dict[str, Array]:
        return {"v_t": -coefficients[0] / coefficients[1], "intercept": 1.0 / coefficients[1]}


class MA2(PlasmaModel):
    """Ichise's second: C = g1 (double integral of Cp) + g2 (double integral of C) + g3 (integral of C) + g4 (integral
    of Cp); from the two-tissue equation k1 = g4, v_t = -g1 / g2, v_nd = k1 / k2 and v_s = v_t - v_nd.
    """

    name = "ma2"
    main = "v_t"
    units: ClassVar[dict[str, str]] = {
        "v_t": _RATIO,
        "v_nd": _RATIO,
        "v_s": _RATIO,
        "k1": _FLOW,
        "k2": "/s",
        "k3": "/s",
        "k4": "/s",
    }
    terms = (1, DOUBLE, INTEGRAL, 0)
    target = TISSUE

    def _curves_of(self, frames: Frames) -> list[Floats]:
        return [
            convolve_exponential(self.plasma.times, self.plasma.values, 0.0, frames),
            _double_integral(self.plasma, frames),
        ]

    def _transform(self, coefficients: Array) -> dict[str, Array]:
        g1, g2, g3, k1 = coefficients
        # g1 = K1 (k3 + k4), g2 = -k2 k4, g3 = -(k2 + k3 + k4)
        k2 = -(g1 / k1 + g3)
        k4 = -g2 / k2
        v_t, v_nd = -g1 / g2, k1 / k2
        return {"v_t": v_t, "v_nd": v_nd, "v_s": v_t - v_nd, "k1": k1, "k2": k2, "k3": g1 / k1 - k4, "k4": k4}


def _double_integral(plasma: InputFunction, frames: Frames) -> Floats:
    """Double integral of the input at the frames: minus the slope over k at k = 0."""
    return -convolve_with_slope(plasma.times, plasma.values, 0.0, frames)[1]
