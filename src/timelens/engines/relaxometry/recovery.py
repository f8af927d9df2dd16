"""T1 from recovery curves: after inversion (signed or magnitude), after saturation, and Look-Locker.

All are ``S = a + b exp(-t R)``, which holds whatever the efficiency of the pulse and however short the repetition time
(Barral JK et al., Magn Reson Med 2010;64:1057, doi:10.1002/mrm.22497). Look-Locker's R is faster than 1/T1 and is
corrected by ``T1 = (-b/a - 1) / R`` (Deichmann R, Haase A, J Magn Reson 1992;96:608,
doi:10.1016/0022-2364(92)90347-A).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.fit import Fit
from timelens.engines.kinetics.model import check_shape
from timelens.engines.mr_signal.checks import check_times
from timelens.engines.relaxometry.exponential import ExponentialFit
from timelens.errors import UsageError

__all__ = ["InversionRecovery", "LookLocker", "SaturationRecovery"]

Array = NDArray[Any]
Floats = NDArray[np.float64]
Polarity = Literal["signed", "restore"]

#: Nobody waits longer after a preparation pulse; more was given in milliseconds.
LONGEST_S = 60.0


class SaturationRecovery(ExponentialFit):
    """T1 (s) from signed or never negative recovery curves: ``t1``, the final signal ``m0`` and the amplitude ``b``.

    Parameters
    ----------
    times
        From the preparation pulse to the reading, s, at least three different ones.
    t1_range
        Searched T1, s.
    """

    name = "saturation_recovery"
    main = "t1"
    units: ClassVar[dict[str, str]] = {"t1": "s", "m0": "1", "b": "1"}
    exponentials = 1
    positive = False
    constant = True

    def __init__(self, times: ArrayLike, *, t1_range: tuple[float, float] = (0.02, 10.0)) -> None:
        seconds = check_times(times, "recovery time", longest=LONGEST_S, least=3)
        self._use(seconds, (1 / t1_range[1], 1 / t1_range[0]), field="recovery time")

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        return {"t1": np.exp(-u[:, 0]), "m0": coefficients[:, 0], "b": coefficients[:, 1]}


class InversionRecovery(SaturationRecovery):
    """T1 (s) after inversion.

    Parameters
    ----------
    times, t1_range
        As for :class:`SaturationRecovery`; the times are inversion times.
    polarity
        ``"signed"``: the data keep their sign. ``"restore"``: they are magnitudes; the samples before the smallest one
        are turned negative, once with and once without that one, and the better fit is kept (reduced-dimension fit with
        polarity restoration of Barral et al.).
    """

    name = "inversion_recovery"

    def __init__(
        self, times: ArrayLike, *, polarity: Polarity = "restore", t1_range: tuple[float, float] = (0.02, 10.0)
    ) -> None:
        if polarity not in ("signed", "restore"):
            raise UsageError("Unknown polarity", field="polarity", found=polarity, expected="'signed' or 'restore'")
        super().__init__(times, t1_range=t1_range)
        self.polarity = polarity

    def fit(self, data: ArrayLike, weights: ArrayLike | None = None, **options: Any) -> Fit:
        """As for every model, with signs restored first; ``predicted`` is signed."""
        if self.polarity == "signed":
            return super().fit(data, weights, **options)
        one, two = self._restored(data)
        first = super().fit(one, weights, **options).weighted_rss <= super().fit(two, weights, **options).weighted_rss
        return super().fit(np.where(first, one, two), weights, **options)

    def map(self, data: Any, weights: ArrayLike | None = None, **options: Any) -> Fit:
        """As for every model, with signs restored first."""
        if self.polarity == "signed":
            return super().map(data, weights, **options)
        one, two = (super(InversionRecovery, self).map(each, weights, **options) for each in self._restored(data))
        better = two.weighted_rss < one.weighted_rss

        def pick(a: Array, b: Array) -> Array:
            return np.where(better, b, a)

        return replace(
            one,
            parameters={name: pick(one.parameters[name], two.parameters[name]) for name in one.parameters},
            standard_errors={
                name: pick(one.standard_errors[name], two.standard_errors[name]) for name in one.standard_errors
            },
            weighted_rss=pick(one.weighted_rss, two.weighted_rss),
            reason=pick(one.reason, two.reason),
        )

    def _restored(self, data: ArrayLike) -> tuple[Array, Array]:
        """Magnitudes with the samples before the smallest turned, without and with the smallest itself."""
        array = np.abs(np.asarray(data, dtype=np.float64))
        check_shape(array.shape, len(self.frames))
        times = self.x.reshape(-1, *([1] * (array.ndim - 1)))
        null = np.argmin(np.where(np.isfinite(array), array, np.inf), axis=0)
        at = np.take(self.x, null)
        return np.where(times < at, -array, array), np.where(times <= at, -array, array)


class LookLocker(InversionRecovery):
    """T1 (s) from a train of small pulses after inversion: ``t1``, the apparent ``t1_star``, ``a`` and ``b``.

    The correction takes the inversion as complete and the pulses as weak: at 7 degrees every 50 ms it is 0.4 % off.
    """

    name = "look_locker"
    units: ClassVar[dict[str, str]] = {"t1": "s", "t1_star": "s", "a": "1", "b": "1"}

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        apparent, a, b = np.exp(-u[:, 0]), coefficients[:, 0], coefficients[:, 1]
        return {"t1": apparent * (-b / a - 1.0), "t1_star": apparent, "a": a, "b": b}
