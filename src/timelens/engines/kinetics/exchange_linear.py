"""Linear forms of the contrast models: one regression per voxel on integrals of plasma and tissue, no search.

Murase K, Magn Reson Med 2004;51:858, doi:10.1002/mrm.20022 (Tofts); Flouri D et al., Magn Reson Med 2016;76:998,
doi:10.1002/mrm.25991 (exchange); Cárdenas-Rodríguez J et al., Magn Reson Imaging 2013;31:497,
doi:10.1016/j.mri.2012.10.008 (reference region). The tissue is integrated by trapezoids and its noise enters the
regressors, so that noise biases these low; the models of :mod:`timelens.engines.kinetics.exchange` are free of both.
"""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray

from timelens.engines.kinetics.graphical import MA2, PlasmaModel
from timelens.engines.kinetics.linear_kernels import INTEGRAL, TISSUE
from timelens.engines.kinetics.reference_linear import MRTM1

__all__ = ["LinearExchange", "LinearExtendedTofts", "LinearReferenceRegion", "LinearTofts", "PatlakUptake"]

Array = NDArray[Any]

_PER_S = "/s"
_FLOW = "mL/mL/s"
_RATIO = "mL/mL"


class PatlakUptake(PlasmaModel):
    """C = ps (integral of Cp) + v_p Cp: uptake without return, every frame weighted as measured.

    Patlak CS et al. 1983, doi:10.1038/jcbfm.1983.1; unlike the plot it is not divided by Cp, which is noise before the
    bolus.
    """

    name = "patlak_uptake"
    main = "ps"
    units: ClassVar[dict[str, str]] = {"ps": _FLOW, "v_p": _RATIO}
    terms = (0, 1)
    target = TISSUE
    shifts = (0.0, 0.0)

    def _transform(self, coefficients: Array) -> dict[str, Array]:
        return {"ps": coefficients[0], "v_p": coefficients[1]}


class LinearTofts(PlasmaModel):
    """C = k_trans (integral of Cp) - k_ep (integral of C)."""

    name = "linear_tofts"
    main = "k_trans"
    units: ClassVar[dict[str, str]] = {"k_trans": _PER_S, "k_ep": _PER_S, "v_e": _RATIO}
    terms = (0, INTEGRAL)
    target = TISSUE

    def _transform(self, coefficients: Array) -> dict[str, Array]:
        return {"k_trans": coefficients[0], "k_ep": -coefficients[1], "v_e": -coefficients[0] / coefficients[1]}


class LinearExtendedTofts(PlasmaModel):
    """C = (k_trans + k_ep v_p) (integral of Cp) - k_ep (integral of C) + v_p Cp."""

    name = "linear_extended_tofts"
    main = "k_trans"
    units: ClassVar[dict[str, str]] = {"k_trans": _PER_S, "k_ep": _PER_S, "v_e": _RATIO, "v_p": _RATIO}
    terms = (0, INTEGRAL, 1)
    target = TISSUE

    def _transform(self, coefficients: Array) -> dict[str, Array]:
        both, minus, v_p = coefficients
        k_trans = both + minus * v_p
        return {"k_trans": k_trans, "k_ep": -minus, "v_e": -k_trans / minus, "v_p": v_p}


class LinearExchange(MA2):
    """The exchange model by double integrals: f_p, ps, v_p, v_e and k_trans."""

    name = "linear_exchange"
    main = "f_p"
    units: ClassVar[dict[str, str]] = {"f_p": _FLOW, "ps": _FLOW, "v_p": _RATIO, "v_e": _RATIO, "k_trans": _PER_S}

    def _transform(self, coefficients: Array) -> dict[str, Array]:
        # C'' + beta C' + alpha C = F_p Cp' + gamma Cp, with gamma / alpha the whole volume.
        gamma, minus_alpha, minus_beta, f_p = coefficients
        v_p = f_p * f_p / (-minus_beta * f_p - gamma)
        v_e = -gamma / minus_alpha - v_p
        ps = -minus_alpha * v_p * v_e / f_p
        return {"f_p": f_p, "ps": ps, "v_p": v_p, "v_e": v_e, "k_trans": f_p * ps / (f_p + ps)}


class LinearReferenceRegion(MRTM1):
    """C = k_trans_ratio Cr + (k_trans / v_e of the reference) (integral of Cr) - k_ep (integral of C)."""

    name = "linear_reference_region"
    main = "k_trans_ratio"
    units: ClassVar[dict[str, str]] = {"k_trans_ratio": "1", "v_e_ratio": "1", "k_ep": _PER_S, "k_ep_reference": _PER_S}

    def _transform(self, coefficients: Array) -> dict[str, Array]:
        g1, g2, ratio = coefficients
        return {"k_trans_ratio": ratio, "v_e_ratio": -g1 / g2, "k_ep": -g2, "k_ep_reference": g1 / ratio}
