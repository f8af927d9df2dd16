"""Models with a reference region instead of blood: SRTM and SRTM2.

The reference curve is itself an input, linear between its samples. SRTM: Lammertsma AA, Hume SP, NeuroImage 1996;4:153,
doi:10.1006/nimg.1996.0066; as a basis search: Gunn RN et al., NeuroImage 1997;6:279, doi:10.1006/nimg.1997.0303. SRTM2
fixes the reference's k2': Wu Y, Carson RE, J Cereb Blood Flow Metab 2002;22:1440,
doi:10.1097/01.WCB.0000033967.83623.34.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.convolve import convolve_with_slope, frame_values
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.inputs import InputFunction
from timelens.engines.kinetics.model import SeparableModel, check_span
from timelens.engines.kinetics.tables import make_table, rate_range
from timelens.errors import UsageError

__all__ = ["SRTM", "SRTM2"]

Array = NDArray[Any]
Floats = NDArray[np.float64]


class SRTM(SeparableModel):
    """Simplified reference tissue model: C = r1 Cr + (k2 - r1 k2a) Cr convolved with exp(-k2a t).

    Parameters
    ----------
    frames
        When the tissue was measured.
    reference
        Curve of the reference region, with samples up to the last frame (see :func:`reference_input`).
    rates
        Searched range of k2a = k2 / (1 + bp_nd), 1/s; by default from 0.01 over the scan's length to 0.02.
    """

    name = "srtm"
    main = "bp_nd"
    units: ClassVar[dict[str, str]] = {"r1": "1", "k2": "/s", "k2a": "/s", "bp_nd": "1"}
    exponentials = 1
    positive = False

    def __init__(self, frames: Frames, reference: InputFunction, *, rates: tuple[float, float] | None = None) -> None:
        check_span(float(reference.times[-1]), frames)
        self.frames, self.reference = frames, reference
        self.offset = np.zeros(len(frames))
        self.seen = frame_values(reference.times, reference.values, frames)
        self.known = self._fixed()
        last = float(frames.end[-1])
        self.table = make_table(self._curve, rate_range(rates or (0.01 / last, max(0.02, 1.0 / last)), last))

    def _fixed(self) -> Floats:
        return self.seen[None, :]

    def _curve(self, rates: Floats) -> tuple[Floats, Floats]:
        return convolve_with_slope(self.reference.times, self.reference.values, rates, self.frames)

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        r1, k2a = coefficients[:, 0], np.exp(u[:, 0])
        k2 = coefficients[:, 1] + r1 * k2a
        return {"r1": r1, "k2": k2, "k2a": k2a, "bp_nd": k2 / k2a - 1.0}


class SRTM2(SRTM):
    """SRTM with the reference's k2' (1/s) known, one for all regions: C = r1 [Cr + (k2' - k2a) Cr * exp(-k2a t)]."""

    name = "srtm2"

    def __init__(
        self,
        frames: Frames,
        reference: InputFunction,
        *,
        k2_reference: float,
        rates: tuple[float, float] | None = None,
    ) -> None:
        if not (np.isfinite(k2_reference) and k2_reference > 0):
            raise UsageError("k2' must be positive", field="k2_reference", found=k2_reference, expected="1/s")
        self.k2_reference = float(k2_reference)
        super().__init__(frames, reference, rates=rates)

    def _fixed(self) -> Floats:
        return np.zeros((0, len(self.frames)))

    def _curve(self, rates: Floats) -> tuple[Floats, Floats]:
        values, slopes = super()._curve(rates)
        gap = self.k2_reference - rates
        return self.seen[:, None] + gap * values, gap * slopes - values

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        r1, k2a = coefficients[:, 0], np.exp(u[:, 0])
        k2 = r1 * self.k2_reference
        return {"r1": r1, "k2": k2, "k2a": k2a, "bp_nd": k2 / k2a - 1.0}
