"""Sums of exponentials of the setting (time, echo, b value), a constant if wanted: the separable fit without an input.

``S(x) = c0 + sum_j c_j exp(-k_j x)``: for given rates the amplitudes follow linearly, so only rates are searched, on a
grid and then by Gauss-Newton steps. There is no start value (variable projection, see
:mod:`timelens.engines.kinetics.separable`).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.fit import Fit
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.model import SeparableModel
from timelens.engines.kinetics.tables import make_table
from timelens.errors import DataError

__all__ = ["ExponentialFit"]

Array = NDArray[Any]
Floats = NDArray[np.float64]


class ExponentialFit(SeparableModel):
    """One or two exponentials of ``x``; subclasses name the parameters.

    ``fit`` (regions: covariance, profile intervals) and ``map`` (voxels) are those of compartment models; the frames
    are the images, in any order.
    """

    constant: ClassVar[bool] = False

    def _use(self, x: Floats, rates: tuple[float, float], *, field: str) -> None:
        """Set table and known curves for settings ``x`` and a range of rates."""
        free = 2 * self.exponentials + int(self.constant)
        if np.unique(x).size < free:
            raise DataError(
                "Too few different images for this model",
                field=field,
                found=f"{np.unique(x).size} different",
                expected=f"at least {free}, better more",
                mend="use a simpler model",
            )
        if not (0 < rates[0] < rates[1] and np.isfinite(rates[1])):
            raise DataError("The range of rates must ascend and be positive", field="range", found=rates)
        self.x = x
        # The search knows images by their number only.
        self.frames = Frames.instants(np.arange(x.size))
        self.offset = np.zeros(x.size)
        self.known = np.ones((int(self.constant), x.size))

        def curve(rate: Floats) -> tuple[Floats, Floats]:
            value = np.exp(-np.multiply.outer(x, rate))
            return value, -x[:, None] * value

        self.table = make_table(curve, rates)

    @abstractmethod
    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        """Parameters from amplitudes (constant first) and ln rates."""

    def map_all(self, data: ArrayLike, **options: Any) -> Fit:
        """As :meth:`map`, with float64 maps by default."""
        return self.map(data, **{"dtype": np.float64, **options})
