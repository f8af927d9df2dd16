"""Linear models with a reference region: reference Patlak and Logan, MRTM1, MRTM2.

Patlak CS, Blasberg RG, J Cereb Blood Flow Metab 1985;5:584, doi:10.1038/jcbfm.1985.87; Logan J et al. 1996;16:834,
doi:10.1097/00004647-199609000-00008; Ichise M et al. 2003;23:1096, doi:10.1097/01.WCB.0000085441.37552.CA (MRTM).
The reference's integral is taken from its frames in the same way as the tissue's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.linear import LinearModel, running_integral
from timelens.engines.kinetics.linear_kernels import INTEGRAL, TISSUE
from timelens.errors import DataError, UsageError

__all__ = ["MRTM1", "MRTM2", "ReferenceLogan", "ReferencePatlak"]

Array = NDArray[Any]
Floats = NDArray[np.float64]


class _ReferenceModel(LinearModel):
    """A linear model with reference input.

    Parameters
    ----------
    frames
        When tissue and reference were measured.
    reference
        (frames,), the reference region's curve.
    t_star
        s; frames that start at or after it enter the regression.
    """

    def _prepare(self, frames: Frames, reference: ArrayLike, t_star: float) -> None:
        curve = np.asarray(reference, dtype=np.float64)
        if curve.shape != (len(frames),) or not np.isfinite(curve).all() or curve.max() <= 0:
            raise DataError(
                "The reference curve needs one finite value per frame, not all zero",
                field="reference",
                found=f"shape {curve.shape}",
                expected=f"({len(frames)},)",
            )
        single, _ = running_integral(curve[:, None], frames)
        self.reference, self.integral = curve, single[:, 0]
        self._use(frames, self._curves_of(), t_star)

    def _curves_of(self) -> list[Floats]:
        return [self.integral, self.reference]

    def __init__(self, frames: Frames, reference: ArrayLike, *, t_star: float = 0.0) -> None:
        self._prepare(frames, reference, t_star)


class ReferencePatlak(_ReferenceModel):
    """C / Cr against (integral of Cr) / Cr: slope k_i_ref (1/s), intercept v_0."""

    name = "reference_patlak"
    main = "k_i_ref"
    units: ClassVar[dict[str, str]] = {"k_i_ref": "/s", "v_0": "1"}
    terms = (0, 1)
    target = TISSUE
    shifts = (0.0, 0.0)

    def __init__(self, frames: Frames, reference: ArrayLike, *, t_star: float = 0.0) -> None:
        super().__init__(frames, reference, t_star=t_star)
        if (self.reference[self.late] <= 0).any():
            raise DataError("The reference is zero in a frame after t*", field="reference", mend="use a later t*")
        self.ordinate = np.divide(1.0, self.reference, out=np.zeros_like(self.reference), where=self.reference > 0)

    def _transform(self, coefficients: Array) -> dict[str, Array]:
        return {"k_i_ref": coefficients[0], "v_0": coefficients[1]}


class _WithK2(_ReferenceModel):
    """A reference model that needs the reference's k2' in 1/s."""

    def __init__(self, frames: Frames, reference: ArrayLike, *, k2_reference: float, t_star: float = 0.0) -> None:
        if not (np.isfinite(k2_reference) and k2_reference > 0):
            raise UsageError(
                "k2' must be positive", field="k2_reference", found=k2_reference, expected="1/s", mend="fit MRTM1 first"
            )
        self.k2_reference = float(k2_reference)
        self._prepare(frames, reference, t_star)

    def _curves_of(self) -> list[Floats]:
        return [self.integral + self.reference / self.k2_reference]


class ReferenceLogan(_WithK2):
    """(integral of C) / C against (integral of Cr + Cr / k2') / C: slope 1 + bp_nd, intercept."""

    name = "reference_logan"
    main = "bp_nd"
    units: ClassVar[dict[str, str]] = {"bp_nd": "1", "intercept": "s"}
    terms = (0, TISSUE)
    target = INTEGRAL
    divided = True
    shifts = (-1.0, 0.0)

    def _transform(self, coefficients: Array) -> dict[str, Array]:
        return {"bp_nd": coefficients[0] - 1.0, "intercept": coefficients[1]}


class MRTM1(_ReferenceModel):
    """C = g1 (integral of Cr) + g2 (integral of C) + g3 Cr: r1 = g3, k2a = -g2, k2 = k2a (1 + bp_nd), k2' = g1 / g3.

    With a t* after equilibrium r1 and k2' lose their meaning; bp_nd stays.
    """

    name = "mrtm1"
    main = "bp_nd"
    units: ClassVar[dict[str, str]] = {"bp_nd": "1", "r1": "1", "k2": "/s", "k2a": "/s", "k2_reference": "/s"}
    terms = (0, INTEGRAL, 1)
    target = TISSUE

    def _transform(self, coefficients: Array) -> dict[str, Array]:
        g1, g2, g3 = coefficients
        return {"bp_nd": -g1 / g2 - 1.0, "r1": g3, "k2": g1, "k2a": -g2, "k2_reference": g1 / g3}


class MRTM2(_WithK2):
    """MRTM with known k2': C = g1 (integral of Cr + Cr / k2') + g2 (integral of C); r1 = g1 / k2'."""

    name = "mrtm2"
    main = "bp_nd"
    units: ClassVar[dict[str, str]] = {"bp_nd": "1", "r1": "1", "k2": "/s", "k2a": "/s"}
    terms = (0, INTEGRAL)
    target = TISSUE

    def _transform(self, coefficients: Array) -> dict[str, Array]:
        g1, g2 = coefficients
        return {"bp_nd": -g1 / g2 - 1.0, "r1": g1 / self.k2_reference, "k2": g1, "k2a": -g2}
