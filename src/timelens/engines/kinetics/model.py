"""What compartment models have in common: from curves and weights through the separable fit to a :class:`Fit`.

A model says which known curves and which tabulated curves make up the tissue and how the fitted coefficients and rates
become physiological parameters; everything else is here. ``fit`` is for regions (covariance, fitted curves, profile
intervals), ``map`` for voxels (chunks, threads, parameters and standard errors only). Both run the same search.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics import profile, robust, separable
from timelens.engines.kinetics.fit import IMPRECISE_ABOVE, Fit, Loss
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.reasons import FATAL, Reason
from timelens.engines.kinetics.source import SlabSource, as_source
from timelens.engines.kinetics.tables import GRID, Table, read_row
from timelens.errors import DataError, PlausibilityWarning, UsageError

__all__ = ["CHUNK", "SeparableModel", "as_mask", "check_data", "check_shape", "check_span", "check_weights"]

Array = NDArray[Any]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Curves per chunk of a map: its work arrays stay within a few MB.
CHUNK = 4096
#: A map's iteration ends with the step that promises to lower the residual sum by less than this part of it, for one
#: and for two rates; what is left then is a hundredth of a standard error.
MAP_TOLERANCE = {1: 1e-3, 2: 1e-5}
#: Most steps of a map's iteration; what has not settled by then is flagged.
MAP_STEPS = 30
#: The same for regions, whose fits are exact.
TOLERANCE, STEPS = 1e-13, 60
#: Starts of two exponentials besides the tops of the grid. Regions take many. Maps take one more, at the fastest rate,
#: where no more than twice the residuals are left: 0.2 % of noisy voxels then have 1 % more left than need be, else
#: 0.5 %.
MAP_STARTS, STARTS, PROMISING = 1, 15, 2.0


class SeparableModel(ABC):
    """A sum of known curves and one or two tabulated exponentials; subclasses are the models."""

    name: ClassVar[str]
    main: ClassVar[str]
    units: ClassVar[dict[str, str]]
    exponentials: ClassVar[int]
    positive: ClassVar[bool] = True
    #: False leaves the rates at the best entry of the grid and its neighbours' parabola: a dictionary of curves.
    refined: bool = True
    #: Rates of the grid.
    entries: int = GRID

    frames: Frames
    table: Table
    known: Floats
    offset: Floats

    @abstractmethod
    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        """Parameters from coefficients (curves, n) and ln rates (curves, m); must accept complex numbers."""

    @property
    def reported(self) -> dict[str, str]:
        """Names and units of the parameters that a fit gives."""
        return type(self).units

    @property
    def free_parameters(self) -> int:
        """Coefficients and rates that the curve decides."""
        return int(self.known.shape[0]) + 2 * self.exponentials

    @property
    def sizes(self) -> tuple[int, int]:
        """How many coefficients and how many ln rates make a point of the search."""
        return int(self.known.shape[0]) + self.exponentials, self.exponentials

    def limits(self) -> tuple[Floats, Floats]:
        """Lowest and highest value of every coefficient and ln rate."""
        linear, rates = self.sizes
        low, high = self.table.span
        return (
            np.concatenate([np.full(linear, 0.0 if self.positive else -np.inf), np.full(rates, low)]),
            np.concatenate([np.full(linear, np.inf), np.full(rates, high)]),
        )

    def shape(self, point: Floats) -> tuple[Floats, Floats]:
        """Curve at a point (coefficients, then ln rates), without the offset, and its derivatives (n, frames)."""
        linear = self.sizes[0]
        c, table = point[:linear], self.table
        curves, rises = np.full((2, self.exponentials, len(self.frames)), np.nan)
        for j, at in enumerate(point[linear:]):
            if np.isfinite(at):
                read_row(table.values, table.slopes, table.first, table.step, float(at), curves[j], rises[j])
        rows = np.concatenate([self.known, curves])
        return c @ rows, np.concatenate([rows, c[self.known.shape[0] :, None] * rises])

    def fit(self, data: ArrayLike, weights: ArrayLike | None = None, *, loss: Loss = "squares") -> Fit:
        """Fit one or more curves with everything a region deserves.

        Parameters
        ----------
        data
            (frames, ...), in the unit of the input.
        weights
            (frames,) or the shape of the data: proportional to one over the variance; 0 leaves a frame out. Equal
            weights if not given.
        loss
            ``"squares"``, or ``"huber"``: frames far off the curve count less (see :mod:`robust
            <timelens.engines.kinetics.robust>`); intervals are then Wald's.

        Raises
        ------
        DataError
            Shapes do not fit, weights are negative, or all of them are zero. (Too few frames for the model is a
            reason, not an error.)
        """
        if robust.chosen(loss):
            return robust.fit(self, data, weights)
        return self._fit(data, weights)

    def _fit(self, data: ArrayLike, weights: ArrayLike | None, factors: Floats | None = None) -> Fit:
        """Least squares; ``factors`` (frames,) multiply the weights."""
        curves, shape = check_data(data, len(self.frames))
        weight = check_weights(weights, shape, len(self.frames))
        weight = weight if factors is None else weight * factors[:, None]
        shared = weight.shape[1] == 1
        parts = [
            self._solve(curves[:, at], weight[:, 0 if shared else at.start])
            for at in ([slice(0, curves.shape[1])] if shared else [slice(i, i + 1) for i in range(curves.shape[1])])
        ]
        c, u, rss, inverse, reason = (np.concatenate(list(part)) for part in zip(*parts, strict=True))
        used = int((weight[:, 0] > 0).sum())
        values, covariance = self._parameters(c, u, rss, inverse, used)
        names = list(values)
        errors = {name: np.sqrt(np.maximum(covariance[i, i], 0.0)) for i, name in enumerate(names)}
        reason = self._judge(values, errors, reason)
        model = self._model(c, u)
        blank = (reason & int(FATAL)) != 0
        model[:, blank] = np.nan

        def interval(name: str, level: float, at: int) -> tuple[float, float]:
            column = 0 if shared else at
            return profile.interval(self, curves[:, at], weight[:, column], c[at], u[at], name, level)

        return Fit(
            self.name,
            values,
            errors,
            {name: self.reported[name] for name in names},
            self.main,
            rss,
            used,
            self.free_parameters,
            reason,
            covariance,
            model,
            curves - model,
            np.broadcast_to(weight, curves.shape),
            profile=interval,
        ).shaped(shape)

    def map(
        self,
        data: ArrayLike | SlabSource,
        weights: ArrayLike | None = None,
        *,
        mask: ArrayLike | None = None,
        threads: int = 2,
        chunk: int = CHUNK,
        dtype: type = np.float32,
    ) -> Fit:
        """Fit every voxel; memory beyond data and results is bounded by ``threads * chunk`` curves.

        Parameters
        ----------
        data
            (frames, ...), or a :class:`~timelens.engines.kinetics.source.SlabSource`, which is read by chunks.
        weights
            (frames,), as in :meth:`fit`: one list for all voxels. A factor common to a voxel's frames cancels, and
            weights taken from a voxel's own noisy frames would be correlated with its noise and bias the fit.
        mask
            Voxels to fit, shape of the data without frames.
        dtype
            Of the resulting maps; all computing is in float64.
        """
        source = as_source(data)
        check_shape(source.shape, len(self.frames))
        shape = source.shape[1:]
        count = math.prod(shape)
        weight = check_weights(weights, (-1,), len(self.frames))[:, 0]
        chosen = as_mask(mask, shape)
        used = int((weight > 0).sum())
        names = list(self.reported)
        values: dict[str, Array] = {name: np.full(count, np.nan, dtype) for name in names}
        errors: dict[str, Array] = {name: np.full(count, np.nan, dtype) for name in names}
        rss: Array = np.full(count, np.nan, dtype)
        reason = np.full(count, int(Reason.NOT_SELECTED), np.int32)
        search = self._search(weight)

        def work(start: int) -> None:
            stop = min(start + chunk, count)
            at: slice | NDArray[np.intp] = slice(start, stop)
            inside: slice | NDArray[np.intp] = slice(None)
            if chosen is not None:
                inside = np.flatnonzero(chosen[start:stop])
                at = inside + start
                if at.size == 0:
                    return
            c, u, part, inverse, flags = self._solve(source.slab(start, stop, 0)[:, inside], weight, search, quick=True)
            value, variance = self._parameters(c, u, part, inverse, used, full=False)
            error = {name: np.sqrt(np.maximum(variance[i], 0.0)) for i, name in enumerate(value)}
            reason[at] = self._judge(value, error, flags)
            rss[at] = part
            for name in names:
                values[name][at] = value[name]
                errors[name][at] = error[name]

        with ThreadPoolExecutor(max(1, threads)) as pool:
            list(pool.map(work, range(0, count, chunk)))
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
        ).shaped(shape)

    def _search(self, weight: Floats) -> Any:
        """What the search needs for these weights; None with too few frames."""
        keep = weight > 0
        return self._prepare(np.sqrt(weight), keep) if int(keep.sum()) > self.free_parameters else None

    def _prepare(self, root: Floats, keep: Bools) -> Any:
        return separable.prepare(
            self.table.scaled(root, keep), self.known[:, keep] * root[keep], self.exponentials, positive=self.positive
        )

    def _search_all(
        self, search: Any, y: Floats, *, quick: bool
    ) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.int32]]:
        """Coefficients, ln rates, residual sums, inverse normal matrices and flags of weighted curves (n, frames)."""
        tolerance = MAP_TOLERANCE[self.exponentials] if quick else TOLERANCE
        limit = (MAP_STEPS if quick else STEPS) if self.refined else 0
        found = separable.solve(
            search,
            y,
            tolerance=tolerance,
            limit=limit,
            closing=quick and self.exponentials == 1 and self.refined,
            starts=MAP_STARTS if quick else STARTS,
            promising=PROMISING if quick else math.inf,
        )
        reason = found.reason if self.refined else found.reason & ~int(Reason.NOT_CONVERGED)
        return found.coefficients, found.u, found.rss, found.inverse, reason

    def _solve(
        self, curves: Array, weight: Floats, search: Any = None, *, quick: bool = False
    ) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.int32]]:
        """Coefficients, ln rates, weighted RSS, inverse normal matrix and reasons of curves (frames, n)."""
        keep = weight > 0
        search = self._search(weight) if search is None else search
        count = curves.shape[1]
        linear, rates = self.sizes
        root = np.sqrt(weight[keep])
        y = np.ascontiguousarray(((curves[keep] - self.offset[keep, None]) * root[:, None]).T, dtype=np.float64)
        reason = np.zeros(count, dtype=np.int32)
        power = np.einsum("ij,ij->i", y, y)
        reason[~np.isfinite(power)] = int(Reason.NON_FINITE)
        reason[power == 0] = int(Reason.NO_SIGNAL)
        if search is None:
            reason[:] |= int(Reason.TOO_FEW_FRAMES)
        c, u = np.full((count, linear), np.nan), np.full((count, rates), np.nan)
        rss, inverse = np.full(count, np.nan), np.full((count, linear + rates, linear + rates), np.nan)
        good = reason == 0
        if search is not None and good.any():
            found = self._search_all(search, y if good.all() else y[good], quick=quick)
            c[good], u[good], rss[good], inverse[good], reason[good] = found
        return c, u, rss, inverse, reason

    def _parameters(
        self, c: Floats, u: Floats, rss: Floats, inverse: Floats, used: int, *, full: bool = True
    ) -> tuple[dict[str, Floats], Floats]:
        """Parameters, and their covariance (names, names, curves) or variances (names, curves)."""
        linear = c.shape[1]
        derivative = []
        tiny = 1e-30
        with np.errstate(all="ignore"):
            values = self._transform(c, u)
            for i in range(linear + u.shape[1]):
                # Complex step: the derivative of an analytic function without cancellation.
                cc, uu = c.astype(np.complex128), u.astype(np.complex128)
                (cc if i < linear else uu)[:, i - (0 if i < linear else linear)] += 1j * tiny
                shifted = self._transform(cc, uu)
                derivative.append([shifted[name].imag / tiny for name in values])
            jacobian = np.asarray(derivative).transpose(2, 1, 0)
            variance = rss / max(used - self.free_parameters, 1)
            half = jacobian @ inverse
            if full:
                return values, np.asarray((half @ jacobian.transpose(0, 2, 1)).transpose(1, 2, 0) * variance)
            return values, np.asarray(np.einsum("vij,vij->iv", half, jacobian) * variance)

    def _judge(
        self, values: dict[str, Floats], errors: dict[str, Floats], reason: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        """Add what the parameters themselves tell; impossible ones become NaN."""
        reason = reason.copy()
        for name, value in values.items():
            bad = ~np.isfinite(value) & ((reason & int(FATAL)) == 0)
            reason[bad] |= int(Reason.NOT_PHYSICAL)
            value[~np.isfinite(value)] = np.nan
            # What a coefficient of zero holds fixed has no error of its own, not one of zero.
            errors[name][np.isnan(value) | (errors[name] == 0)] = np.nan
        with np.errstate(invalid="ignore"):
            loose = ~(errors[self.main] <= IMPRECISE_ABOVE * np.abs(values[self.main]))
        reason[loose & ((reason & int(FATAL)) == 0)] |= int(Reason.IMPRECISE)
        return reason

    def _model(self, c: Floats, u: Floats) -> Floats:
        """Fitted curves (frames, n) from the table."""
        out = np.empty((len(self.frames), c.shape[0]))
        for i in range(c.shape[0]):
            out[:, i] = self.offset + self.shape(np.concatenate([c[i], u[i]]))[0]
        return out


def check_data(data: ArrayLike, frames: int) -> tuple[Floats, tuple[int, ...]]:
    """Curves as (frames, n) float64, and the shape of the rest."""
    array = np.asarray(data, dtype=np.float64)
    check_shape(array.shape, frames)
    return array.reshape(frames, -1), array.shape[1:]


def check_shape(shape: tuple[int, ...], frames: int) -> None:
    """Refuse data whose first axis is not the frames."""
    if not shape or shape[0] != frames:
        raise DataError(
            "Data need one value per frame along the first axis",
            field="data",
            found=f"shape {shape}",
            expected=f"({frames}, ...)",
            mend="move the frame axis to the front",
        )


def check_weights(weights: ArrayLike | None, shape: tuple[int, ...], frames: int) -> Floats:
    """Weights as (frames, 1) or (frames, n)."""
    if weights is None:
        return np.ones((frames, 1))
    array = np.asarray(weights, dtype=np.float64)
    if array.shape not in ((frames,), (frames, *shape)):
        raise DataError(
            "Weights need one value per frame",
            field="weights",
            found=f"shape {array.shape}",
            expected=f"({frames},) or {(frames, *shape)}",
        )
    if not bool(np.all(np.isfinite(array) & (array >= 0))):
        raise DataError(
            "Weights must be finite and not negative", field="weights", found=array.min(), expected="zero or more"
        )
    if not (array.reshape(frames, -1) > 0).any(axis=0).all():
        raise DataError("All weights are zero", field="weights", found="0", expected="some frames with weight")
    return array.reshape(frames, -1)


def as_mask(mask: ArrayLike | None, shape: tuple[int, ...]) -> Bools | None:
    """A mask as a flat array of bools, None for no mask."""
    if mask is None:
        return None
    chosen = np.asarray(mask, dtype=np.bool_)
    if chosen.shape != shape:
        raise DataError("The mask must have the shape of a frame", field="mask", found=chosen.shape, expected=shape)
    return chosen.reshape(-1)


def check_span(last_sample: float, frames: Frames) -> None:
    """Warn when an input lasts so much longer than the frames that one of them is in minutes."""
    last = float(frames.end[-1])
    if last_sample > 20 * last:
        warnings.warn(
            f"The input lasts {last_sample:g} s but the last frame ends at {last:g} s: are the frames in minutes?",
            PlausibilityWarning,
            stacklevel=4,
        )


def check_fraction(value: float, field: str) -> float:
    """A fraction from 0 to below 1."""
    if not 0 <= value < 1:
        raise UsageError(f"The {field} must be a fraction", field=field, found=value, expected="0 to below 1")
    return float(value)
