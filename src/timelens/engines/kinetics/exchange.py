"""Contrast agent in exchange between plasma and the extravascular extracellular space: Tofts, extended Tofts, exchange.

The same convolution and search as for radiotracers, with the names of contrast imaging. Plasma concentration Cp
and tissue concentration C share one unit; with flow F_p, exchange PS, volumes v_p and v_e (per volume of tissue)

    v_p dcp/dt = F_p Cp + PS ce - (F_p + PS) cp,   v_e dce/dt = PS (cp - ce),   C = v_p cp + v_e ce.

Its response to an impulse is ``a exp(-f t) + b exp(-s t)`` with a, b >= 0, and from its start, first slope and area

    F_p = a + b,   v_p = F_p^2 / (a f + b s),   v_e = a/f + b/s - v_p,   PS = f s v_p v_e / F_p.

The others are its limits (Sourbron SP, Buckley DL, Phys Med Biol 2012;57:R1, doi:10.1088/0031-9155/57/2/R1; NMR Biomed
2013;26:1004, doi:10.1002/nbm.2940): K_trans = F_p where plasma is negligible (Tofts), or without resistance in plasma
(extended Tofts, Tofts PS et al., J Magn Reson Imaging 1999;10:223), and uptake without return.
Rates are per second; K_trans is reported as a rate, as QIBA does, though it is a clearance per volume.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.inputs import InputFunction
from timelens.engines.kinetics.reference import SRTM
from timelens.engines.kinetics.tissue import TissueModel
from timelens.errors import UsageError

__all__ = ["ExtendedTofts", "ReferenceRegion", "Tofts", "TwoCompartmentExchange", "TwoCompartmentUptake"]

Array = NDArray[Any]

_PER_S = "/s"
_FLOW = "mL/mL/s"
_RATIO = "mL/mL"

#: Fastest rate of the models with plasma flow, 1/s: a plasma space of 1 % emptied by a flow of 3 mL/min/mL.
FASTEST_PLASMA = 5.0
#: Rates of a dictionary of pairs: 29,000 pairs, 5 % from one rate to the next for a series of 5 minutes.
FINE_ENTRIES = 241


class _Exchange(TissueModel):
    """A model of contrast agent: plasma input, no whole blood.

    Parameters
    ----------
    frames
        When the tissue was measured; ``Frames.instants(times)`` for MRI.
    plasma
        Concentration in arterial plasma: that in blood over one minus the haematocrit.
    rates
        Searched range of the exponentials' rates, 1/s.
    solver
        ``"nonlinear"``: the best entry of a dictionary of rates, its amplitudes by projection, then steps to the least
        squares. ``"dictionary"``: without those steps; the rates are those at the vertex of the parabola through the
        best entry and its neighbours. For linear regressions see :mod:`~timelens.engines.kinetics.exchange_linear`.
    """

    with_plasma: ClassVar[bool] = False
    fastest: ClassVar[float | None] = None

    def __init__(
        self,
        frames: Frames,
        plasma: InputFunction,
        *,
        rates: tuple[float, float] | None = None,
        solver: Literal["nonlinear", "dictionary"] = "nonlinear",
    ) -> None:
        if solver not in ("nonlinear", "dictionary"):
            raise UsageError("Unknown solver", field="solver", found=solver, expected="nonlinear, dictionary")
        self.refined = solver == "nonlinear"
        if solver == "dictionary" and self.exponentials == 2:
            self.entries = FINE_ENTRIES
        if rates is None and self.fastest is not None:
            rates = (0.01 / float(frames.end[-1]), self.fastest)
        super().__init__(frames, plasma, blood_volume="fit" if self.with_plasma else 0.0, rates=rates)

    @property
    def reported(self) -> dict[str, str]:
        """Names and units of the parameters."""
        return type(self).units


class Tofts(_Exchange):
    """Tofts and Kermode's model: k_trans, k_ep and v_e = k_trans / k_ep."""

    name = "tofts"
    main = "k_trans"
    units: ClassVar[dict[str, str]] = {"k_trans": _PER_S, "k_ep": _PER_S, "v_e": _RATIO}
    exponentials = 1

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        k_trans, k_ep = coefficients[:, -1], np.exp(u[:, 0])
        return {"k_trans": k_trans, "k_ep": k_ep, "v_e": k_trans / k_ep}


class ExtendedTofts(Tofts):
    """Tofts' model with plasma in the tissue: k_trans, k_ep, v_e and v_p."""

    name = "extended_tofts"
    units: ClassVar[dict[str, str]] = {**Tofts.units, "v_p": _RATIO}
    with_plasma = True

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        return {**super()._transform(coefficients, u), "v_p": coefficients[:, 0]}


class TwoCompartmentExchange(_Exchange):
    """Plasma and interstitium with flow and exchange: f_p, ps, v_p, v_e, and k_trans = f_p ps / (f_p + ps)."""

    name = "two_compartment_exchange"
    main = "f_p"
    units: ClassVar[dict[str, str]] = {"f_p": _FLOW, "ps": _FLOW, "v_p": _RATIO, "v_e": _RATIO, "k_trans": _PER_S}
    exponentials = 2
    fastest = FASTEST_PLASMA

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        a, b = coefficients[:, 0], coefficients[:, 1]
        f, s = np.exp(u[:, 0]), np.exp(u[:, 1])
        f_p = a + b
        v_p = f_p * f_p / (a * f + b * s)
        v_e = a / f + b / s - v_p
        ps = f * s * v_p * v_e / f_p
        return {"f_p": f_p, "ps": ps, "v_p": v_p, "v_e": v_e, "k_trans": f_p * ps / (f_p + ps)}


class TwoCompartmentUptake(_Exchange):
    """Plasma from which agent leaves for good within the scan: f_p, ps, v_p and k_trans = f_p ps / (f_p + ps)."""

    name = "two_compartment_uptake"
    main = "f_p"
    units: ClassVar[dict[str, str]] = {"f_p": _FLOW, "ps": _FLOW, "v_p": _RATIO, "k_trans": _PER_S}
    exponentials = 1
    trapped = True
    fastest = FASTEST_PLASMA

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        # The response is F_p [(1 - E) exp(-k t) + E] with E = PS / (F_p + PS) and k = (F_p + PS) / v_p.
        kept, passing = coefficients[:, 0], coefficients[:, 1]
        f_p = kept + passing
        v_p = f_p * f_p / (passing * np.exp(u[:, 0]))
        return {"f_p": f_p, "ps": f_p * kept / passing, "v_p": v_p, "k_trans": kept}


class ReferenceRegion(SRTM):
    """Tofts' model without arterial input, relative to a reference tissue such as muscle.

    ``k_trans_ratio`` (K_trans over the reference's), ``v_e_ratio``, ``k_ep`` and the reference's ``k_ep_reference``;
    the equation is that of the simplified reference tissue model (Yankeelov TE et al., Magn Reson Imaging 2005;23:519,
    doi:10.1016/j.mri.2005.02.013).
    """

    name = "reference_region"
    main = "k_trans_ratio"
    units: ClassVar[dict[str, str]] = {"k_trans_ratio": "1", "v_e_ratio": "1", "k_ep": _PER_S, "k_ep_reference": _PER_S}

    def __init__(self, frames: Frames, reference: InputFunction, *, rates: tuple[float, float] | None = None) -> None:
        last = float(frames.end[-1])
        super().__init__(frames, reference, rates=rates or (0.01 / last, max(0.2, 1.0 / last)))

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        ratio, k_ep = coefficients[:, 0], np.exp(u[:, 0])
        k_ep_reference = coefficients[:, 1] / ratio + k_ep
        return {
            "k_trans_ratio": ratio,
            "v_e_ratio": ratio * k_ep_reference / k_ep,
            "k_ep": k_ep,
            "k_ep_reference": k_ep_reference,
        }
