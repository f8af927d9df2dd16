"""T2 and T2* from echoes: log-linear, ARLO and non-linear with a noise floor; two pools.

- ``log_linear``: ln S against TE with weights S^2 (the variance of ln S is that of the noise over S^2); echoes from the
  first one below the noise floor on are left out.
- ``arlo``: auto-regression on linear operations, for evenly spaced echoes (Pei M et al., Magn Reson Med 2015;73:843,
  doi:10.1002/mrm.25137).
- ``nonlinear``: least squares on the signal; with ``floor="constant"`` a constant is fitted too, and with a known noise
  the expected Rician magnitude is fitted (Gudbjartsson H, Patz S 1995, doi:10.1002/mrm.1910340618).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.fit import Fit
from timelens.engines.kinetics.reasons import Reason
from timelens.engines.mr_signal.checks import check_positive, check_times
from timelens.engines.mr_signal.decay import rician_mean
from timelens.engines.relaxometry.decay_kernels import arlo, log_linear
from timelens.engines.relaxometry.exponential import ExponentialFit
from timelens.engines.relaxometry.voxels import run
from timelens.errors import DataError, UsageError

__all__ = ["EchoDecay", "TwoPoolDecay", "fit_decay"]

Array = NDArray[Any]
Floats = NDArray[np.float64]
Method = Literal["log_linear", "arlo", "nonlinear"]

#: An echo later than this was given in milliseconds.
LONGEST_TE_S = 2.0
#: Echo spacings may differ by this part and still count as even.
EVEN = 1e-3
#: The log-linear fit stops at this many standard deviations of noise, below which magnitudes are mostly floor.
FLOOR_SIGMAS = 3.0
#: Rounds in which the Rician bias is taken off; each shrinks what is left at least tenfold where the fit is usable.
_ROUNDS = 8


class _Decay(ExponentialFit):
    """``s0 exp(-rate x)``."""

    name = "decay"
    main = "rate"
    units: ClassVar[dict[str, str]] = {"rate": "1", "s0": "1"}
    exponentials = 1

    def __init__(self, x: Floats, rates: tuple[float, float], field: str) -> None:
        self._use(x, rates, field=field)

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        return {"rate": np.exp(u[:, 0]), "s0": coefficients[:, -1]}


class _DecayWithFloor(_Decay):
    """``s0 exp(-rate x) + floor``, the floor not negative."""

    units: ClassVar[dict[str, str]] = {"rate": "1", "s0": "1", "floor": "1"}
    constant = True

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        return {**super()._transform(coefficients, u), "floor": coefficients[:, 0]}


def fit_decay(
    x: Floats,
    data: ArrayLike,
    *,
    method: Method,
    sigma: float | None,
    floor: bool,
    rates: tuple[float, float],
    field: str,
    mask: ArrayLike | None,
    threads: int,
    dtype: type,
) -> Fit:
    """``rate`` and ``s0`` of one exponential of ``x`` for every voxel; shared by echoes and b values."""
    units = {"rate": "1", "s0": "1"}
    if method == "log_linear":
        order = np.argsort(x, kind="stable")
        limit = 0.0 if sigma is None else FLOOR_SIGMAS * sigma

        def kernel(block: Array, _: int, values: Array, errors: Array, rss: Array, reason: NDArray[np.int32]) -> None:
            log_linear(np.ascontiguousarray(block[order]), x[order], limit, values, errors, rss, reason)

        return run("log_linear", units, "rate", kernel, data, x.size, mask=mask, threads=threads, dtype=dtype)
    if method == "arlo":
        step = np.diff(x)
        if x.size < 3 or (np.abs(step - step.mean()) > EVEN * abs(step.mean())).any() or step.mean() <= 0:
            raise DataError(
                "ARLO needs three or more evenly spaced echoes in ascending order",
                field=field,
                found=x.tolist()[:8],
                mend="use method='nonlinear' or 'log_linear'",
            )

        def regress(block: Array, _: int, values: Array, errors: Array, rss: Array, reason: NDArray[np.int32]) -> None:
            arlo(np.ascontiguousarray(block), float(step.mean()), float(x[0]), values, errors, rss, reason)

        return run("arlo", units, "rate", regress, data, x.size, mask=mask, threads=threads, dtype=dtype)
    model = (_DecayWithFloor if floor else _Decay)(x, rates, field)
    seen = np.asarray(data, dtype=np.float64)
    options: dict[str, Any] = {"mask": mask, "threads": threads, "dtype": dtype}
    found = model.map(seen, **options)
    for _ in range(0 if sigma is None else _ROUNDS):
        assert sigma is not None
        shape = (-1, *([1] * (seen.ndim - 1)))
        with np.errstate(all="ignore"):
            true = found.parameters["s0"] * np.exp(-found.parameters["rate"] * x.reshape(shape))
            bias = rician_mean(np.nan_to_num(true), sigma) - np.nan_to_num(true)
        found = model.map(seen - bias, **options)
    return found


class EchoDecay:
    """T2 or T2* (s) from (echoes, ...) magnitudes.

    Parameters
    ----------
    te
        Echo times, s.
    method
        See the module.
    sigma
        Standard deviation of the noise in one channel, in the unit of the data. Used as the cut-off of ``log_linear``
        and for the Rician expectation of ``nonlinear``.
    floor
        Fit a constant beside the decay (``nonlinear`` only, without ``sigma``).
    star
        The echoes are gradient echoes: what comes out is called ``t2_star`` and ``r2_star``.
    t2_range
        Searched range of ``nonlinear``, s.
    """

    def __init__(
        self,
        te: ArrayLike,
        *,
        method: Method = "nonlinear",
        sigma: float | None = None,
        floor: bool = False,
        star: bool = False,
        t2_range: tuple[float, float] = (2e-4, 5.0),
    ) -> None:
        if method not in get_args(Method):
            raise UsageError("Unknown method", field="method", found=method, expected=", ".join(get_args(Method)))
        if floor and (sigma is not None or method != "nonlinear"):
            raise UsageError(
                "A constant floor is fitted by the non-linear method only, and not beside a known noise",
                field="floor",
                found=f"method {method}, sigma {sigma}",
                mend="give either sigma or floor",
            )
        self.te = check_times(te, "echo time", longest=LONGEST_TE_S, least=2)
        if np.unique(self.te).size < 2:
            raise DataError("Decay needs at least two different echo times", field="echo time", found=te)
        self.sigma = None if sigma is None else float(check_positive(sigma, "noise"))
        self.method, self.floor, self.t2_range = method, floor, t2_range
        self.names = ("t2_star", "r2_star") if star else ("t2", "r2")

    def fit(self, data: ArrayLike, *, mask: ArrayLike | None = None, threads: int = 2, dtype: type = np.float64) -> Fit:
        """Fit every voxel.

        Returns
        -------
        Fit
            ``t2`` (s), ``r2`` (1/s) and ``s0`` (and ``floor``); a signal that does not decay has no ``t2`` and the
            reason NOT_PHYSICAL.
        """
        low, high = self.t2_range
        found = fit_decay(
            self.te,
            data,
            method=self.method,
            sigma=self.sigma,
            floor=self.floor,
            rates=(1 / high, 1 / low),
            field="echo time",
            mask=mask,
            threads=threads,
            dtype=dtype,
        )
        return as_times(found, self.names)


def as_times(found: Fit, names: tuple[str, str]) -> Fit:
    """A fit of a rate with its inverse as the main parameter; rates of zero or less become NaN with their reason."""
    rate, error = found.parameters["rate"], found.standard_errors["rate"]
    reason = found.reason.copy()
    with np.errstate(all="ignore"):
        growing = ~(rate > 0) & np.isfinite(rate)
        time = np.where(growing, np.nan, 1 / rate)
        of_time = np.where(growing, np.nan, error / rate**2)
    reason[growing] |= int(Reason.NOT_PHYSICAL)
    rest = {name: value for name, value in found.parameters.items() if name != "rate"}
    loose = {name: value for name, value in found.standard_errors.items() if name != "rate"}
    return replace(
        found,
        parameters={names[0]: time.astype(rate.dtype), names[1]: rate, **rest},
        standard_errors={names[0]: of_time.astype(rate.dtype), names[1]: error, **loose},
        units={names[0]: "s", names[1]: "/s", **dict.fromkeys(rest, "1")},
        main=names[0],
        reason=reason,
    )


class TwoPoolDecay(ExponentialFit):
    """Two pools of water: ``t2_short``, ``t2_long`` (s), ``fraction_short`` and ``s0``.

    Needs many echoes and little noise; where one pool is enough the reason is COMPARTMENT_AT_ZERO.
    """

    name = "two_pools"
    main = "fraction_short"
    units: ClassVar[dict[str, str]] = {"t2_short": "s", "t2_long": "s", "fraction_short": "1", "s0": "1"}
    exponentials = 2

    def __init__(self, te: ArrayLike, *, t2_range: tuple[float, float] = (1e-3, 2.0)) -> None:
        seconds = check_times(te, "echo time", longest=LONGEST_TE_S, least=4)
        self._use(seconds, (1 / t2_range[1], 1 / t2_range[0]), field="echo time")

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        short, long = coefficients[:, 0], coefficients[:, 1]
        total = short + long
        return {
            "t2_short": np.exp(-u[:, 0]),
            "t2_long": np.exp(-u[:, 1]),
            "fraction_short": short / total,
            "s0": total,
        }
