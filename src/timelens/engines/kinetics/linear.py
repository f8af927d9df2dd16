"""What graphical and multilinear models have in common: a weighted linear regression per voxel.

Regressors are known curves (plasma, its integral ...) or come from the tissue curve itself (its running integral).
For averaging frames the tissue's integral is the sum of value times duration, exact at frame ends; for instants it is
the trapezoid through the samples, starting at zero at time zero.

With known regressors only, one matrix serves all voxels. ``t_star`` selects the frames that start at or
after it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics import robust
from timelens.engines.kinetics.fit import IMPRECISE_ABOVE, Fit, Loss, stack
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.linear_kernels import BLOCK, regress, solve_fixed
from timelens.engines.kinetics.model import as_mask, check_data, check_shape, check_weights
from timelens.engines.kinetics.reasons import FATAL, Reason
from timelens.engines.kinetics.source import SlabSource, as_source, read_run
from timelens.errors import DataError, UsageError

__all__ = ["LinearModel", "running_integral"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: Voxels per task of a map: large enough to hide the call, small enough to bound the work arrays.
SLAB = 64 * BLOCK


class LinearModel(ABC):
    """A regression on known curves and integrals of the tissue; subclasses are the models.

    ``terms`` are the regressors (index of a known curve, or TISSUE, INTEGRAL, DOUBLE), ``target`` is what they explain.
    """

    name: ClassVar[str]
    main: ClassVar[str]
    units: ClassVar[dict[str, str]]
    terms: ClassVar[tuple[int, ...]]
    target: ClassVar[int]
    divided: ClassVar[bool] = False
    #: Where parameters are the coefficients plus constants, those constants; maps then need no other algebra.
    shifts: tuple[float, ...] | None = None

    frames: Frames
    known: Floats
    offset: Floats
    share: float
    ordinate: Floats
    t_star: float

    @abstractmethod
    def _transform(self, coefficients: Array) -> dict[str, Array]:
        """Parameters from coefficients (terms, curves); must accept complex numbers."""

    def _use(self, frames: Frames, known: list[Floats], t_star: float) -> None:
        """Set what does not depend on the curve; the subclass may then set ``offset``, ``share`` and ``ordinate``."""
        if not np.isfinite(t_star):
            raise UsageError("t* must be a time", field="t_star", found=t_star, expected="seconds")
        self.frames, self.t_star = frames, float(t_star)
        self.known = np.ascontiguousarray(np.asarray(known, dtype=np.float64).reshape(-1, len(frames)))
        self.offset, self.share, self.ordinate = np.zeros(len(frames)), 1.0, np.ones(len(frames))
        if int(self.late.sum()) <= len(self.terms):
            raise DataError(
                "Too few frames after t* for this model",
                field="t_star",
                found=f"{int(self.late.sum())} frames from {t_star:g} s",
                expected=f"more than {len(self.terms)}",
                mend="use an earlier t*",
            )

    @property
    def late(self) -> NDArray[np.bool_]:
        """Frames from t* on."""
        return np.asarray(self.frames.start >= self.t_star - 1e-6)

    @property
    def reported(self) -> dict[str, str]:
        """Names and units of the parameters that a fit gives."""
        return type(self).units

    @property
    def free_parameters(self) -> int:
        """Number of coefficients."""
        return len(self.terms)

    def fit(self, data: ArrayLike, weights: ArrayLike | None = None, *, loss: Loss = "squares") -> Fit:
        """Fit one or more curves; ``predicted`` and ``residuals`` are in the model's own ordinate, NaN before t*.

        Parameters
        ----------
        data
            (frames, ...), in the unit of the input.
        weights
            (frames,) or the shape of the data: proportional to one over the variance of the tissue's frames, from which
            the weights of the plot's points follow by error propagation; 0 leaves a frame out. None weights the plot's
            points equally.
        loss
            ``"squares"``, or ``"huber"``: points far off the line count less (see :mod:`robust
            <timelens.engines.kinetics.robust>`).

        Raises
        ------
        DataError
            Shapes do not fit, weights are negative, or too few frames with weight lie after t*.
        """
        if robust.chosen(loss):
            return robust.fit(self, data, weights)
        return self._fit(data, weights)

    def _fit(self, data: ArrayLike, weights: ArrayLike | None, factors: Floats | None = None) -> Fit:
        """Least squares; ``factors`` (frames,) multiply the weights of the plot's points."""
        curves, shape = check_data(data, len(self.frames))
        if weights is not None and shape and np.ndim(weights) > 1:
            each = check_weights(weights, shape, len(self.frames))
            return stack([self._fit(curves[:, i], each[:, i], factors) for i in range(curves.shape[1])], shape)
        weight = self._weight(weights)
        weight = weight if factors is None else weight * factors
        out, inverse, rss = self._regress(curves, weight, weights is not None)
        used = int((weight > 0).sum())
        values, covariance = self._parameters(out, inverse, rss, used)
        errors = {name: np.sqrt(covariance[i, i]) for i, name in enumerate(values)}
        reason = self._judge(values, errors, curves, weight, rss)
        design, seen, counted = self.plot(curves, weight, weighted=weights is not None)
        predicted = np.einsum("tfv,tv->fv", design, out)
        predicted[weight == 0], seen[weight == 0] = np.nan, np.nan
        return Fit(
            self.name,
            values,
            errors,
            dict(self.reported),
            self.main,
            rss,
            used,
            self.free_parameters,
            reason,
            covariance,
            predicted,
            seen - predicted,
            counted,
            t_star=self.t_star,
        ).shaped(shape)

    def map(
        self,
        data: ArrayLike | SlabSource,
        weights: ArrayLike | None = None,
        *,
        mask: ArrayLike | None = None,
        threads: int = 2,
        dtype: type = np.float32,
    ) -> Fit:
        """Fit every voxel: parameters, standard errors, weighted RSS and reasons as maps; see :meth:`fit`.

        Memory beyond data and maps is bounded by ``threads`` slabs of 16,384 voxels; a :class:`SlabSource` is read by
        slabs and need never be in memory.
        """
        source = as_source(data)
        check_shape(source.shape, len(self.frames))
        shape = source.shape[1:]
        count = math.prod(shape)
        weight = self._weight(weights)
        used = int((weight > 0).sum())
        chosen = as_mask(mask, shape)
        names = list(self.reported)
        # One block: large ones get large pages, and first touching small pages costs as much as the fit.
        block: Array = np.empty((2 * len(names) + 2, count), dtype)
        values, errors, rss = block[: len(names)], block[len(names) : -2], block[-2]
        reason = block[-1].view(np.int32)[:count] if block.itemsize >= 4 else np.empty(count, np.int32)

        # With known regressors only, nothing before the first fitted frame is read.
        first = 0 if self._tissue_terms else int(np.argmax(weight > 0))
        fixed = None if self._tissue_terms else self._one_matrix(weight)

        def work(start: int) -> None:
            at = slice(start, min(start + SLAB, count))
            run, begin = read_run(source, at.start, at.stop, first)
            doubtful = True
            if fixed is not None:
                if not fixed(run, begin, at, values, errors, rss, reason):
                    doubtful = False
            else:
                out, inverse, part = self._regress(run, weight, weights is not None, begin, at.stop - at.start)
                rss[at] = part
                found, variance = self._parameters(out, inverse, part, used, full=False)
                for i, name in enumerate(names):
                    values[i, at], errors[i, at] = found[name], np.sqrt(variance[i])
            if doubtful:
                here = {name: values[i, at] for i, name in enumerate(names)}
                loose = {name: errors[i, at] for i, name in enumerate(names)}
                seen = run[:, begin : begin + at.stop - at.start]
                reason[at] = self._judge(here, loose, seen, weight[first:], rss[at])
            if chosen is not None:
                outside = ~chosen[at]
                reason[at][outside] = int(Reason.NOT_SELECTED)
                for array in (*values, *errors, rss):
                    array[at][outside] = np.nan

        with ThreadPoolExecutor(max(1, threads)) as pool:
            list(pool.map(work, range(0, count, SLAB)))
        return Fit(
            self.name,
            dict(zip(names, values, strict=True)),
            dict(zip(names, errors, strict=True)),
            dict(self.reported),
            self.main,
            rss,
            used,
            self.free_parameters,
            reason,
            t_star=self.t_star,
        ).shaped(shape)

    @property
    def _tissue_terms(self) -> bool:
        return min(self.terms) < 0 or self.divided

    def _weight(self, weights: ArrayLike | None) -> Floats:
        weight = check_weights(weights, (-1,), len(self.frames))[:, 0] * self.late
        if weights is None:
            weight = weight * self.ordinate**2
        if int((weight > 0).sum()) <= len(self.terms):
            raise DataError(
                "Too few frames with weight after t* for this model",
                field="weights",
                found=f"{int((weight > 0).sum())} frames",
                expected=f"more than {len(self.terms)}",
            )
        return np.asarray(weight)

    def _regress(
        self, curves: Array, weight: Floats, weighted: bool, begin: int = 0, count: int | None = None
    ) -> tuple[Floats, Floats, Floats]:
        count, size = curves.shape[1] if count is None else count, len(self.terms)
        out, inverse, rss = np.empty((size, count)), np.empty((size, size, count)), np.empty(count)
        gaps, lengths = _steps(self.frames)
        regress(
            curves, self.offset, self.share, gaps, lengths, self.known, weight,
            np.asarray(self.terms), self.target, (2 if weighted else 1) if self.divided else 0, out, inverse, rss,
            begin,
        )  # fmt: skip
        return out, inverse, rss

    def _one_matrix(self, weight: Floats) -> Callable[..., int]:
        """What fits a run of voxels by one matrix into given maps, and returns how many need a closer look."""
        keep = weight > 0
        design = np.ascontiguousarray(self.known[list(self.terms)][:, keep].T)
        w = weight[keep]
        normal = np.linalg.inv(design.T @ (w[:, None] * design))
        inverse = normal @ (design.T * w) / self.share
        scale = np.sqrt(np.diag(normal) / (int(keep.sum()) - len(self.terms)))
        first = int(np.argmax(keep))
        together = bool(keep[first:].all())

        offset, scaled, row = self.offset[keep], design * self.share, w / self.share**2
        flag = int(Reason.IMPRECISE)

        def fit(
            run: Array, begin: int, at: slice, values: Array, errors: Array, rss: Array, reason: NDArray[np.int32]
        ) -> int:
            if not together:
                run, begin = np.ascontiguousarray(run[keep[first:], begin : begin + at.stop - at.start]), 0
            maps = (values, errors, rss, reason)
            return int(
                solve_fixed(
                    run, offset, inverse, scaled, row, scale, *maps, flag, IMPRECISE_ABOVE, begin, at.start,
                    at.stop - at.start,
                )
            )  # fmt: skip

        return fit

    def _parameters(
        self, out: Floats, inverse: Floats, rss: Floats, used: int, *, full: bool = True
    ) -> tuple[dict[str, Floats], Floats]:
        """Parameters with their covariance (names, names, curves) or variances (names, curves), by complex steps."""
        variance = rss / max(used - len(self.terms), 1)
        if self.shifts is not None and not full:
            values = {
                name: out[i] + shift for i, (name, shift) in enumerate(zip(self.reported, self.shifts, strict=True))
            }
            return values, np.einsum("iiv->iv", inverse) * variance
        with np.errstate(all="ignore"):
            values = self._transform(out)
            jacobian = np.empty((len(values), *out.shape))
            for i in range(out.shape[0]):
                shifted = out.astype(np.complex128)
                shifted[i] += 1e-30j
                for j, value in enumerate(self._transform(shifted).values()):
                    jacobian[j, i] = value.imag / 1e-30
            if full:
                return values, np.einsum("aiv,ijv,bjv,v->abv", jacobian, inverse, jacobian, variance)
            return values, np.einsum("aiv,ijv,ajv,v->av", jacobian, inverse, jacobian, variance)

    def _judge(
        self, values: dict[str, Array], errors: dict[str, Array], curves: Array, weight: Floats, rss: Array
    ) -> NDArray[np.int32]:
        reason = np.zeros(rss.shape, dtype=np.int32)
        main, error = values[self.main], errors[self.main]
        with np.errstate(invalid="ignore"):
            reason[~(error <= IMPRECISE_ABOVE * np.abs(main))] = int(Reason.IMPRECISE)
        # Sums tell quickly whether everything is finite, as it nearly always is; only else voxels are looked at.
        with np.errstate(all="ignore"):
            whole = sum(float(array.sum()) for array in (*values.values(), *errors.values(), rss))
        if np.isfinite(whole) and rss.min() > 0:
            return reason
        doubtful = np.flatnonzero(~(np.isfinite(main) & np.isfinite(error)) | (rss == 0))
        if doubtful.size:
            seen = np.asarray(curves[:, doubtful], dtype=np.float64)
            seen = seen if self._tissue_terms else seen[weight > 0]
            broken = ~np.isfinite(seen).all(axis=0)
            empty = ~broken & (seen == 0).all(axis=0)
            singular = ~broken & ~empty & ~np.isfinite(np.asarray(rss[doubtful], dtype=np.float64))
            other = ~broken & ~empty & ~singular & ~np.isfinite(main[doubtful])
            for flag, where in (
                (Reason.NON_FINITE, broken),
                (Reason.NO_SIGNAL, empty),
                (Reason.SINGULAR, singular),
                (Reason.NOT_PHYSICAL, other),
            ):
                reason[doubtful[where]] = int(flag)
            blank = doubtful[broken | empty | singular]
            for name in values:
                values[name][blank], errors[name][blank] = np.nan, np.nan
            rss[doubtful[broken | empty]] = np.nan
        for name, value in values.items():
            bad = np.flatnonzero(~np.isfinite(value))
            reason[bad[(reason[bad] & int(FATAL | Reason.SINGULAR)) == 0]] |= int(Reason.NOT_PHYSICAL)
            value[bad], errors[name][bad] = np.nan, np.nan
        return reason

    def plot(self, curves: Floats, weight: Floats, *, weighted: bool) -> tuple[Floats, Floats, Floats]:
        """The regression in the model's own ordinate: terms (n, frames, curves), ordinate and weights (frames, curves).

        ``weight`` (frames,) belongs to the tissue if ``weighted``, else to the plot's points.
        """
        tissue = (curves - self.offset[:, None]) / self.share
        single, double = running_integral(tissue, self.frames)
        own = {-1: tissue, -2: single, -3: double}
        with np.errstate(all="ignore"):
            scale = self.ordinate[:, None] / (tissue if self.divided else 1.0)
            known = np.broadcast_to(self.known[:, :, None], (len(self.known), *tissue.shape))
            terms = [known[code] if code >= 0 else own[code] for code in self.terms]
            counted = np.where(weight > 0, weight / self.ordinate**2, 0.0)[:, None] * np.ones_like(tissue)
            if self.divided and weighted:
                counted = counted * np.square(tissue**2 / single)
            return np.stack([term * scale for term in terms]), np.asarray(own[self.target] * scale), counted


def running_integral(curves: Floats, frames: Frames) -> tuple[Floats, Floats]:
    """Integral from time zero of curves (frames, n) as the frames see it, and the integral of that integral."""
    gaps, lengths = _steps(frames)
    single, double, before = (np.zeros(curves.shape[1]) for _ in range(3))
    at_single, at_double = np.empty_like(curves), np.empty_like(curves)
    for f, (gap, length) in enumerate(zip(gaps, lengths, strict=True)):
        y = curves[f]
        double = double + gap * single + gap**2 * (2 * before + y) / 6
        single = single + gap * (before + y) / 2
        at_single[f] = single + length * y / 2
        at_double[f] = double + length * single / 2 + length**2 * y / 6
        double, single, before = double + length * single + length**2 * y / 2, single + length * y, y
    return at_single, at_double


def _steps(frames: Frames) -> tuple[Floats, Floats]:
    """Gap before each frame and its length; instants are all gap."""
    if frames.sampling == "instant":
        return np.maximum(np.diff(frames.middle, prepend=0.0), 0.0), np.zeros(len(frames))
    return np.maximum(frames.start - np.concatenate([[0.0], frames.end[:-1]]), 0.0), frames.duration
