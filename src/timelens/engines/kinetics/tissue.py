"""Tissue models driven by blood: one tissue, two tissues with and without return, and with internalisation.

With plasma input Cp, whole blood Cb and blood volume v_b the region holds

    C = (1 - v_b) (sum of compartments) + v_b Cb,     dC1/dt = K1 Cp - (k2 + k3) C1 + k4 C2,  dC2/dt = k3 C1 - k4 C2 ...

whose solution is Cp convolved with one exponential per compartment (Gunn RN, Gunn SR, Cunningham VJ, J Cereb Blood Flow
Metab 2001;21:635, doi:10.1097/00004647-200106000-00002; names as Innis RB et al. 2007, doi:10.1038/sj.jcbfm.9600493).
Positive coefficients of those exponentials are the same set of models as positive rate constants.

Rate constants are per second. Data and inputs that are not decay-corrected give rates with the decay constant added.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.convolve import convolve_exponential, convolve_with_slope, frame_values
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.inputs import InputFunction, require_same_convention
from timelens.engines.kinetics.model import SeparableModel, check_fraction, check_span
from timelens.engines.kinetics.tables import make_table, rate_range
from timelens.errors import DataError

__all__ = ["InternalisingTwoTissue", "IrreversibleTwoTissue", "OneTissue", "TissueModel", "TwoTissue"]

Array = NDArray[Any]
Floats = NDArray[np.float64]
BloodVolume = float | Literal["fit"]

_PER_S = "/s"
_FLOW = "mL/mL/s"
_RATIO = "mL/mL"


class TissueModel(SeparableModel):
    """A tissue in exchange with plasma.

    Parameters
    ----------
    frames
        When the tissue was measured.
    plasma
        The input that enters tissue: parent in plasma where the agent is metabolised.
    blood
        Whole blood, for the blood volume; ``plasma`` is used if it is None.
    blood_volume
        ``"fit"``, or a fixed fraction (0: none).
    rates
        Searched range of the exponentials' rates, 1/s; by default from 0.01 over the scan's length to 0.5.
    """

    trapped: ClassVar[bool] = False

    def __init__(
        self,
        frames: Frames,
        plasma: InputFunction,
        blood: InputFunction | None = None,
        *,
        blood_volume: BloodVolume = "fit",
        rates: tuple[float, float] | None = None,
    ) -> None:
        if blood is not None:
            require_same_convention(plasma, blood)
        if plasma.kind == "reference":
            raise DataError(
                "A reference region is no plasma input", field="plasma", found="reference", mend="use SRTM or MRTM"
            )
        check_span(float(plasma.times[-1]), frames)
        self.frames, self.plasma, self.blood = frames, plasma, blood if blood is not None else plasma
        self.fitted_volume = blood_volume == "fit"
        self.volume = 0.0 if blood_volume == "fit" else check_fraction(float(blood_volume), "blood volume")
        seen = np.zeros(len(frames))
        if self.fitted_volume or self.volume:
            seen = frame_values(self.blood.times, self.blood.values, frames)
        share = 1.0 - self.volume
        self.offset = self.volume * seen
        known = []
        if self.trapped:
            known.append(share * convolve_exponential(plasma.times, plasma.values, 0.0, frames))
        if self.fitted_volume:
            known.append(seen)
        self.known = np.asarray(known).reshape(-1, len(frames))

        def curve(rates: Floats) -> tuple[Floats, Floats]:
            values, slopes = convolve_with_slope(plasma.times, plasma.values, rates, frames)
            return share * values, share * slopes

        self.table = make_table(curve, rate_range(rates, float(frames.end[-1])), entries=self.entries)

    @property
    def reported(self) -> dict[str, str]:
        """Names and units of the parameters; the blood volume only where it is fitted."""
        return {name: unit for name, unit in type(self).units.items() if self.fitted_volume or name != "v_b"}

    def _volume(self, c: Array) -> Array:
        """Fitted blood volume of each curve, or zeros."""
        return np.asarray(c[:, int(self.trapped)] if self.fitted_volume else np.zeros_like(c[:, 0]))

    def _finish(self, values: dict[str, Array], c: Array) -> dict[str, Array]:
        if self.fitted_volume:
            values["v_b"] = self._volume(c)
        return {name: values[name] for name in self.reported}


class OneTissue(TissueModel):
    """One tissue compartment: k1, k2, v_t = k1 / k2, and v_b where it is fitted."""

    name = "1tcm"
    main = "v_t"
    units: ClassVar[dict[str, str]] = {"k1": _FLOW, "k2": _PER_S, "v_t": _RATIO, "v_b": _RATIO}
    exponentials = 1

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        k1 = coefficients[:, -1] / (1.0 - self._volume(coefficients))
        k2 = np.exp(u[:, 0])
        return self._finish({"k1": k1, "k2": k2, "v_t": k1 / k2}, coefficients)


class TwoTissue(TissueModel):
    """Two tissue compartments with return: k1..k4, v_t, v_nd = k1/k2, bp_nd = k3/k4, bp_p = v_t - v_nd."""

    name = "2tcm"
    main = "v_t"
    units: ClassVar[dict[str, str]] = {
        "k1": _FLOW,
        "k2": _PER_S,
        "k3": _PER_S,
        "k4": _PER_S,
        "v_t": _RATIO,
        "v_nd": _RATIO,
        "bp_nd": "1",
        "bp_p": _RATIO,
        "v_b": _RATIO,
    }
    exponentials = 2

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        share = 1.0 - self._volume(coefficients)
        a, b = coefficients[:, -2] / share, coefficients[:, -1] / share
        fast, slow = np.exp(u[:, 0]), np.exp(u[:, 1])
        k1 = a + b
        k34 = (a * slow + b * fast) / k1
        k2 = fast + slow - k34
        k4 = fast * slow / k2
        k3 = k34 - k4
        v_t = a / fast + b / slow
        values = {"k1": k1, "k2": k2, "k3": k3, "k4": k4, "v_t": v_t}
        values |= {"v_nd": k1 / k2, "bp_nd": k3 / k4, "bp_p": v_t - k1 / k2}
        return self._finish(values, coefficients)


class IrreversibleTwoTissue(TissueModel):
    """Two tissue compartments without return (k4 = 0): k1, k2, k3, k_i = k1 k3 / (k2 + k3), v_nd."""

    name = "2tcm_irreversible"
    main = "k_i"
    units: ClassVar[dict[str, str]] = {
        "k1": _FLOW,
        "k2": _PER_S,
        "k3": _PER_S,
        "k_i": _FLOW,
        "v_nd": _RATIO,
        "v_b": _RATIO,
    }
    exponentials = 1
    trapped = True

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        share = 1.0 - self._volume(coefficients)
        k_i, free = coefficients[:, 0] / share, coefficients[:, -1] / share
        rate = np.exp(u[:, 0])
        k1 = k_i + free
        k2 = rate * free / k1
        values = {"k1": k1, "k2": k2, "k3": rate * k_i / k1, "k_i": k_i, "v_nd": k1 / k2}
        return self._finish(values, coefficients)


class InternalisingTwoTissue(TissueModel):
    """An antibody that binds (k3), leaves (k4) or is taken into the cell for good (k_int).

    dC1/dt = K1 Cp - (k2 + k3) C1 + k4 C2,  dC2/dt = k3 C1 - (k4 + k_int) C2,  dC3/dt = k_int C2, with a
    label that stays in the cell. k_i = K1 k3 k_int / (k2 (k4 + k_int) + k3 k_int) is the net rate of internalisation.
    """

    name = "2tcm_internalising"
    main = "k_i"
    units: ClassVar[dict[str, str]] = {
        "k1": _FLOW,
        "k2": _PER_S,
        "k3": _PER_S,
        "k4": _PER_S,
        "k_int": _PER_S,
        "k_i": _FLOW,
        "v_b": _RATIO,
    }
    exponentials = 2
    trapped = True

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        # C1 + C2 + C3 has the response a e^-ft + b e^-st + k_i. From its Laplace transform,
        #   K1 = a + b + k_i,  K1 (k3 + k4 + k_int) = a s + b f + k_i (f + s),  K1 k3 k_int = k_i f s,
        # and f + s = k2 + k3 + k4 + k_int,  f s = k2 (k4 + k_int) + k3 k_int.
        share = 1.0 - self._volume(coefficients)
        k_i, a, b = coefficients[:, 0] / share, coefficients[:, -2] / share, coefficients[:, -1] / share
        f, s = np.exp(u[:, 0]), np.exp(u[:, 1])
        k1 = a + b + k_i
        k2 = f + s - (a * s + b * f + k_i * (f + s)) / k1
        trapping = k_i * f * s / k1  # k3 k_int
        leaving = (f * s - trapping) / k2  # k4 + k_int
        k3 = f + s - k2 - leaving
        k_int = trapping / k3
        values = {"k1": k1, "k2": k2, "k3": k3, "k4": leaving - k_int, "k_int": k_int, "k_i": k_i}
        return self._finish(values, coefficients)
