"""T1 from recovery curves: after inversion (signed or magnitude), after saturation, and Look-Locker.

All are ``S = a + b exp(-t R)``, which holds whatever the efficiency of the pulse and however short the repetition time
(Barral JK et al., Magn Reson Med 2010;64:1057, doi:10.1002/mrm.22497). Look-Locker's R is faster than 1/T1 and is
corrected by ``T1 = (-b/a - 1) / R`` (Deichmann R, Haase A, J Magn Reson 1992;96:608,
doi:10.1016/0022-2364(92)90347-A).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.fit import Fit
from timelens.engines.kinetics.model import check_shape
from timelens.engines.kinetics.reasons import FATAL, Reason
from timelens.engines.mr_signal.checks import check_positive, check_times
from timelens.engines.relaxometry.exponential import ExponentialFit
from timelens.engines.relaxometry.rician import fit_recovery
from timelens.errors import UsageError

__all__ = ["InversionRecovery", "LookLocker", "SaturationRecovery"]

Array = NDArray[Any]
Floats = NDArray[np.float64]
Polarity = Literal["signed", "restore"]

#: Nobody waits longer after a preparation pulse; more was given in milliseconds.
LONGEST_S = 60.0
#: Voxels per task of the likelihood.
_CHUNK = 4096


class SaturationRecovery(ExponentialFit):
    """T1 (s) from signed or never negative recovery curves: ``t1``, the final signal ``m0`` and the amplitude ``b``.

    Parameters
    ----------
    times
        From the preparation pulse to the reading, s, at least three different ones.
    sigma
        Noise of one channel, in the unit of the data. With it :meth:`map` goes on from least squares to the maximum of
        the likelihood of magnitudes (:mod:`~timelens.engines.relaxometry.rician`): without it samples near the null,
        which are mostly noise, bias T1. ``weighted_rss`` is then a chi-square. For magnitudes only.
    t1_range
        Searched T1, s.
    """

    name = "saturation_recovery"
    main = "t1"
    units: ClassVar[dict[str, str]] = {"t1": "s", "m0": "1", "b": "1"}
    exponentials = 1
    positive = False
    constant = True

    def __init__(
        self, times: ArrayLike, *, sigma: float | None = None, t1_range: tuple[float, float] = (0.02, 10.0)
    ) -> None:
        seconds = check_times(times, "recovery time", longest=LONGEST_S, least=3)
        self._use(seconds, (1 / t1_range[1], 1 / t1_range[0]), field="recovery time")
        self.t1_range = t1_range
        self.sigma = None if sigma is None else float(check_positive(sigma, "noise"))

    def map(self, data: Any, weights: ArrayLike | None = None, **options: Any) -> Fit:
        """As for every model, then by the likelihood of magnitudes where the noise is known."""
        found = super().map(data, weights, **options)
        return found if self.sigma is None else self._likeliest(data, [found], int(options.get("threads", 2)))

    def _likeliest(self, data: ArrayLike, fits: Sequence[Fit], threads: int) -> Fit:
        """The maximum of the likelihood of magnitudes, from the best of several starts."""
        one = fits[0]
        shape = one.reason.shape
        flat = np.abs(np.asarray(data, np.float64)).reshape(len(self.frames), -1)
        starts = [self._start(fit) for fit in fits]
        ready = np.all([((fit.reason & int(FATAL)) == 0).reshape(-1) for fit in fits], axis=0)
        chosen = np.flatnonzero(ready & np.isfinite(starts).all(axis=(0, 1)))
        parameters = {n: np.array(v, np.float64).reshape(-1) for n, v in one.parameters.items()}
        errors = {n: np.array(v, np.float64).reshape(-1) for n, v in one.standard_errors.items()}
        rss, reason = np.array(one.weighted_rss, np.float64).reshape(-1), one.reason.reshape(-1).copy()
        low, high = self.t1_range
        noise = self.sigma
        assert noise is not None

        def work(at: NDArray[np.intp]) -> None:
            tops = [fit_recovery(self.x, flat[:, at], s[:, at], noise, least_t=low, most_t=high) for s in starts]
            best = tops[0]
            for top in tops[1:]:
                best = best.better_of(top)
            values = best.values
            found, spread = self._named(values, best.covariance)
            flags = np.where(best.settled, 0, int(Reason.NOT_CONVERGED))
            # Of a bound of the range there is no likelihood to speak of.
            flags |= np.where((values[2] <= low) | (values[2] >= high), int(Reason.RATE_AT_BOUND), 0)
            reason[at] = self._judge(found, spread, flags.astype(np.int32))
            rss[at] = best.chi_square
            for name in parameters:
                parameters[name][at], errors[name][at] = found[name], spread[name]

        with ThreadPoolExecutor(max(1, threads)) as pool:
            list(pool.map(work, np.array_split(chosen, max(1, -(-chosen.size // _CHUNK)))))
        return replace(
            one,
            parameters={n: v.reshape(shape) for n, v in parameters.items()},
            standard_errors={n: v.reshape(shape) for n, v in errors.items()},
            weighted_rss=rss.reshape(shape),
            reason=reason.reshape(shape),
        )

    def _start(self, fit: Fit) -> Floats:
        """a, b and T of a fit, (3, voxels)."""
        return np.stack([np.asarray(fit.parameters[n], np.float64).reshape(-1) for n in ("m0", "b", "t1")])

    def _named(self, values: Floats, covariance: Floats) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Parameters of (a, b, T) with standard errors."""
        tiny, rows = 1e-30, []
        with np.errstate(all="ignore"):
            found = self._transform(values[:2].T, -np.log(values[2:]).T)
            for k in range(3):
                shifted = values.astype(np.complex128)
                shifted[k] += 1j * tiny
                turned = self._transform(shifted[:2].T, -np.log(shifted[2:]).T)
                rows.append({name: value.imag / tiny for name, value in turned.items()})
        errors = {}
        for name in found:
            slope = np.stack([row[name] for row in rows])
            errors[name] = np.sqrt(np.maximum(np.einsum("pn,pqn,qn->n", slope, covariance, slope), 0.0))
        return found, errors

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        return {"t1": np.exp(-u[:, 0]), "m0": coefficients[:, 0], "b": coefficients[:, 1]}


class InversionRecovery(SaturationRecovery):
    """T1 (s) after inversion.

    Parameters
    ----------
    times, sigma, t1_range
        As for :class:`SaturationRecovery`; the times are inversion times.
    polarity
        ``"signed"``: the data keep their sign. ``"restore"``: they are magnitudes; the samples before the smallest one
        are turned negative, once with and once without that one, and the better fit is kept (reduced-dimension fit with
        polarity restoration of Barral et al.).
    """

    name = "inversion_recovery"

    def __init__(
        self,
        times: ArrayLike,
        *,
        polarity: Polarity = "restore",
        sigma: float | None = None,
        t1_range: tuple[float, float] = (0.02, 10.0),
    ) -> None:
        if polarity not in ("signed", "restore"):
            raise UsageError("Unknown polarity", field="polarity", found=polarity, expected="'signed' or 'restore'")
        if sigma is not None and polarity == "signed":
            raise UsageError(
                "Signed data have no floor of noise", field="sigma", found=sigma, mend="leave sigma out, or 'restore'"
            )
        super().__init__(times, sigma=sigma, t1_range=t1_range)
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
            return ExponentialFit.map(self, data, weights, **options)
        one, two = (ExponentialFit.map(self, each, weights, **options) for each in self._restored(data))
        better = two.weighted_rss < one.weighted_rss

        def pick(a: Array, b: Array) -> Array:
            return np.where(better, b, a)

        if self.sigma is not None:
            threads = int(options.get("threads", 2))
            return self._likeliest(data, [one, two], threads)
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

    The inversion is taken as complete; the flip angle need not be known.

    Parameters
    ----------
    times, polarity, sigma, t1_range
        As for :class:`InversionRecovery`.
    interval
        From pulse to pulse, s. With it the correction is exact: of the steady state ``a = m0 (1 - E1) / (1 - E*)`` with
        ``E = exp(-interval / T)``. Without it pulses are taken as weak: at 7 degrees every 50 ms that is 0.4 % off.
    """

    name = "look_locker"
    units: ClassVar[dict[str, str]] = {"t1": "s", "t1_star": "s", "a": "1", "b": "1"}

    def __init__(self, times: ArrayLike, *, interval: float | None = None, **options: Any) -> None:
        super().__init__(times, **options)
        self.interval = None if interval is None else float(check_positive(interval, "interval", "seconds"))

    def _start(self, fit: Fit) -> Floats:
        return np.stack([np.asarray(fit.parameters[n], np.float64).reshape(-1) for n in ("a", "b", "t1_star")])

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        apparent, a, b = np.exp(-u[:, 0]), coefficients[:, 0], coefficients[:, 1]
        rest = -b / a - 1.0  # m0 / a
        if self.interval is None:
            t1 = apparent * rest
        else:
            t1 = -self.interval / np.log1p(np.expm1(-self.interval / apparent) / rest)
        return {"t1": t1, "t1_star": apparent, "a": a, "b": b}
