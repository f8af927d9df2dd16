"""Apparent diffusion coefficient and intravoxel incoherent motion from diffusion-weighted images.

Units: b in s/mm2, D in mm2/s. Directions are averaged before (geometric mean for ADC), or given as images of their own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.fit import Fit
from timelens.engines.kinetics.model import check_shape
from timelens.engines.kinetics.reasons import Reason
from timelens.engines.mr_signal.checks import check_positive
from timelens.engines.relaxometry.echoes import fit_decay
from timelens.engines.relaxometry.exponential import ExponentialFit
from timelens.engines.relaxometry.voxels import CHUNK
from timelens.errors import DataError, UsageError

__all__ = ["ADC", "IVIM", "SegmentedIVIM"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: From this b value (s/mm2) on the blood in capillaries has lost its signal (Le Bihan 2019,
#: doi:10.1016/j.pacs.2019.100147).
PERFUSION_FREE_B = 200.0
#: Below this fraction D* is not determined by any usual measurement.
LEAST_FRACTION = 0.03
#: Two rates closer than this ratio are one rate and noise.
LEAST_RATIO = 2.0
#: b values in s/mm2; all at or below this were given in ms/um2.
SMALLEST_LARGEST_B = 20.0


def check_b(b: ArrayLike, least: int) -> Floats:
    """The b values in s/mm2 as a list."""
    values = np.atleast_1d(np.asarray(b, dtype=np.float64))
    if values.ndim != 1 or not bool(np.all(np.isfinite(values) & (values >= 0))):
        raise DataError("b values are numbers from zero up", field="b", found=b, expected="s/mm2")
    if np.unique(values).size < least:
        raise DataError(
            "Too few different b values", field="b", found=f"{np.unique(values).size}", expected=f"at least {least}"
        )
    if values.max() <= SMALLEST_LARGEST_B:
        raise DataError(
            "b values look too small",
            field="b",
            found=f"largest {values.max():g}",
            expected="s/mm2, such as 0 and 800",
            mend="multiply ms/um2 by 1000",
        )
    return values


class ADC:
    """Apparent diffusion coefficient (mm2/s) from two or more b values.

    Parameters
    ----------
    b
        s/mm2.
    method
        ``"log_linear"`` (ln S, weights S^2) or ``"nonlinear"`` (least squares on the signal).
    sigma
        Noise, for the cut-off of ``log_linear`` and the Rician expectation of ``nonlinear``.
    """

    def __init__(
        self, b: ArrayLike, *, method: Literal["log_linear", "nonlinear"] = "log_linear", sigma: float | None = None
    ) -> None:
        if method not in ("log_linear", "nonlinear"):
            raise UsageError("Unknown method", field="method", found=method, expected="'log_linear' or 'nonlinear'")
        self.b, self.method = check_b(b, 2), method
        self.sigma = None if sigma is None else float(check_positive(sigma, "noise"))

    def fit(self, data: ArrayLike, *, mask: ArrayLike | None = None, threads: int = 2, dtype: type = np.float64) -> Fit:
        """``adc`` (mm2/s) and ``s0`` of every voxel; an ADC below zero is noise and kept by ``log_linear``."""
        found = fit_decay(
            self.b,
            data,
            method=self.method,
            sigma=self.sigma,
            floor=False,
            rates=(1e-6, 0.02),
            field="b",
            mask=mask,
            threads=threads,
            dtype=dtype,
        )
        return replace(
            found,
            parameters={"adc": found.parameters["rate"], "s0": found.parameters["s0"]},
            standard_errors={"adc": found.standard_errors["rate"], "s0": found.standard_errors["s0"]},
            units={"adc": "mm2/s", "s0": "1"},
            main="adc",
        )


class IVIM(ExponentialFit):
    """Perfusion fraction ``f``, ``d`` and ``d_star`` (mm2/s), ``s0``: both rates searched together.

    Parameters
    ----------
    b
        At least four different values, s/mm2.
    d_range
        Lowest D and highest D* that are searched, mm2/s.

    Notes
    -----
    Where f is below 0.03 D* is NaN, and where the two rates differ by less than a factor of two, so that neither is
    perfusion, f is NaN as well; both have the reason COMPARTMENT_AT_ZERO.
    """

    name = "ivim"
    main = "d"
    units: ClassVar[dict[str, str]] = {"f": "1", "d": "mm2/s", "d_star": "mm2/s", "s0": "1"}
    exponentials = 2

    def __init__(self, b: ArrayLike, *, d_range: tuple[float, float] = (1e-4, 0.3)) -> None:
        self._use(check_b(b, 4), d_range, field="b")

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        fast, slow = coefficients[:, 0], coefficients[:, 1]
        return {"f": fast / (fast + slow), "d": np.exp(u[:, 1]), "d_star": np.exp(u[:, 0]), "s0": fast + slow}

    def _judge(
        self, values: dict[str, Floats], errors: dict[str, Floats], reason: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        with np.errstate(invalid="ignore"):
            alike = values["d_star"] < LEAST_RATIO * values["d"]
            empty = (values["f"] < LEAST_FRACTION) | alike
        reason = super()._judge(values, errors, reason)
        values["d_star"][empty], errors["d_star"][empty] = np.nan, np.nan
        values["f"][alike], errors["f"][alike] = np.nan, np.nan
        reason[empty] |= int(Reason.COMPARTMENT_AT_ZERO)
        return reason


class SegmentedIVIM:
    """IVIM in two steps: D from b values above a threshold, then f from its intercept and D* from the rest.

    Robust where noise forbids the joint fit; biased where the fast part has not died away at the threshold.

    Parameters
    ----------
    b
        s/mm2: at least two values from the threshold on and two below it.
    threshold
        s/mm2.
    """

    def __init__(self, b: ArrayLike, *, threshold: float = PERFUSION_FREE_B) -> None:
        self.b = check_b(b, 4)
        self.late = self.b >= threshold
        if np.unique(self.b[self.late]).size < 2 or np.unique(self.b[~self.late]).size < 2:
            raise DataError(
                "The segmented fit needs two b values on each side of its threshold",
                field="b",
                found=self.b.tolist(),
                expected=f"two below {threshold:g} and two from there on",
            )

    def fit(self, data: ArrayLike, *, mask: ArrayLike | None = None, threads: int = 2, dtype: type = np.float64) -> Fit:
        """``f``, ``d``, ``d_star``, ``s0`` of every voxel, with the noise propagated through both steps."""
        seen = np.asarray(data, dtype=np.float64)
        check_shape(seen.shape, self.b.size)
        slow = ADC(self.b[self.late]).fit(seen[self.late], mask=mask, threads=threads)
        shape = (-1, *([1] * (seen.ndim - 1)))
        decay = np.exp(-self.b.reshape(shape) * slow.parameters["adc"])
        level = slow.parameters["s0"]
        early = ~self.late
        rest = seen[early] - (level * decay)[early]
        fast = fit_decay(
            self.b[early], np.nan_to_num(rest), method="nonlinear", sigma=None, floor=False, rates=(3e-3, 0.3),
            field="b", mask=mask, threads=threads, dtype=np.float64,
        )  # fmt: skip
        extra = np.nan_to_num(fast.parameters["s0"])
        rate = np.nan_to_num(fast.parameters["rate"])
        with np.errstate(all="ignore"):
            total = level + extra
            f = extra / total
            model = level * decay + extra * np.exp(-self.b.reshape(shape) * rate)
        rss = np.square(seen - model).sum(axis=0)
        empty = ~(f >= LEAST_FRACTION)
        reason = slow.reason | np.where(empty & (slow.reason == 0), int(Reason.COMPARTMENT_AT_ZERO), 0)
        d_star = np.where(empty, np.nan, rate)
        variances = np.full((4, f.size), np.nan)
        flat = [np.asarray(each, dtype=np.float64).reshape(-1) for each in (level, slow.parameters["adc"], extra, rate)]
        for start in range(0, f.size, CHUNK):
            at = slice(start, start + CHUNK)
            variances[:, at] = self._spread(*(each[at] for each in flat))
        with np.errstate(all="ignore"):
            spread = np.sqrt(variances.reshape(4, *f.shape) * rss / (self.b.size - 4))
        spread[2][empty] = np.nan
        names = ("f", "d", "d_star", "s0")
        values = dict(zip(names, (f, slow.parameters["adc"], d_star, total), strict=True))
        return Fit(
            "ivim_segmented",
            {name: np.asarray(value, dtype=dtype) for name, value in values.items()},
            {name: np.asarray(spread[i], dtype=dtype) for i, name in enumerate(names)},
            dict(IVIM.units),
            "d",
            np.asarray(rss),
            self.b.size,
            4,
            np.asarray(reason, dtype=np.int32),
        )

    def _spread(self, level: Floats, d: Floats, extra: Floats, rate: Floats) -> Floats:
        """Variances of f, D, D* and S0 per unit noise, (4, voxels): the noise propagated through both steps."""
        b, early, late = self.b, ~self.late, self.late
        decay = np.exp(-np.multiply.outer(d, b))
        slow = np.stack([decay, -b * level[:, None] * decay], axis=1)  # (voxels, 2, images)
        quick = np.exp(-np.multiply.outer(rate, b[early]))
        fast = np.stack([quick, -b[early] * extra[:, None] * quick], axis=1)
        with np.errstate(all="ignore"):
            one = np.zeros_like(slow)
            one[:, :, late] = _solve(slow[:, :, late])
            # What noise does to the early images once the slow part has been taken off.
            left = np.eye(b.size)[early] - np.einsum("vpi,vpj->vij", slow[:, :, early], one)
            two = _solve(fast) @ left
            total = level + extra
            of_f = (level[:, None] * two[:, 0] - extra[:, None] * one[:, 0]) / np.square(total)[:, None]
            parts = (of_f, one[:, 1], two[:, 1], one[:, 0] + two[:, 0])
            return np.stack([np.square(part).sum(axis=1) for part in parts])


def _solve(rows: Floats) -> Floats:
    """``(J'J)^-1 J'`` of many Jacobians given as (voxels, 2, images); NaN where singular."""
    aa, ab, bb = (np.einsum("vi,vi->v", rows[:, i], rows[:, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
    over = 1 / (aa * bb - ab * ab)
    first = bb[:, None] * rows[:, 0] - ab[:, None] * rows[:, 1]
    second = aa[:, None] * rows[:, 1] - ab[:, None] * rows[:, 0]
    return np.asarray(np.stack([first, second], axis=1) * over[:, None, None])
