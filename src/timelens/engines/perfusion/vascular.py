"""Blood flow from the first pass by a model of transit: gamma-distributed transit times, and a delay.

    C(t) = F integral C_a(u - delay) R(t - u) du,   R(t) = 1 - P(shape, shape t / MTT)

with P the regularised incomplete gamma function (the vascular model of Østergaard L et al., J Cereb Blood Flow Metab
1999;19:690, doi:10.1097/00004647-199906000-00013). ``shape`` 1 is a well-mixed compartment, a large one plug flow.

At the noise of a single voxel many transit times, shapes and delays fit a curve alike, and the best of them is no
unbiased one. What is reported is therefore their mean, weighted by how well each fits and by a weak prior, as Mouridsen
K et al. do by expectation and maximisation (NeuroImage 2006;33:570, doi:10.1016/j.neuroimage.2006.06.015); here the
mean is summed over a dictionary of curves (:mod:`~timelens.engines.perfusion.transit_posterior`).
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.convolve import convolve_exponential
from timelens.engines.kinetics.fit import IMPRECISE_ABOVE, Fit, t_quantile
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.model import as_mask, check_shape
from timelens.engines.kinetics.reasons import Reason
from timelens.engines.perfusion.deconvolution import check_series
from timelens.engines.perfusion.first_pass import HAEMATOCRIT_FACTOR, TISSUE_DENSITY
from timelens.engines.perfusion.transit_dictionary import STRIDE, TransitDictionary, transit_curve
from timelens.errors import UsageError

__all__ = ["VascularModel"]

Floats = NDArray[np.float64]

_CHUNK = 1024
#: After what time leaked agent is let return, s.
RETURN_S = 60.0


class VascularModel:
    """Flow, volume, transit time and delay with standard errors and intervals.

    The prior is flat in the logarithms of flow and shape, normal in ln MTT and in the delay. Its usual values say of
    tissue in man: 95 % of transit times lie between 1.7 and 38 s, of delays between -5 and 7 s. For other species or
    sites give others.

    Parameters
    ----------
    times, arterial
        (frames,), s, evenly spaced, and the arterial curve in the unit of the tissue.
    mtt, delay
        Possible ranges, s.
    shape
        Possible range of the shape of the transit times.
    prior_mtt
        Middle in s, and standard deviation of the logarithm.
    prior_delay
        Mean and standard deviation in s.
    free_baseline
        Curves lie on an unknown constant, as those do whose zero is the mean of a few noisy frames. The series must
        then begin before the bolus.
    leakage
        Agent also leaves the vessels, and shortens T2* or T1: along the integral of the arterial curve, and along it
        with return after a minute, curves may hold any amount of either sign (linear, as Patlak's and Tofts' models).
    haematocrit_factor, density
        As for :func:`~timelens.engines.perfusion.first_pass.blood_volume`.
    """

    units: ClassVar[dict[str, str]] = {
        "cbf": "mL/min/(100.g)",
        "cbv": "mL/(100.g)",
        "mtt": "s",
        "delay": "s",
        "shape": "1",
    }

    def __init__(
        self,
        times: ArrayLike,
        arterial: ArrayLike,
        *,
        mtt: tuple[float, float] = (1.0, 40.0),
        delay: tuple[float, float] = (-3.0, 12.0),
        shape: tuple[float, float] = (0.5, 64.0),
        prior_mtt: tuple[float, float] = (8.0, 0.8),
        prior_delay: tuple[float, float] = (1.0, 3.0),
        free_baseline: bool = False,
        leakage: bool = False,
        haematocrit_factor: float = HAEMATOCRIT_FACTOR,
        density: float = TISSUE_DENSITY,
    ) -> None:
        self.times, self.arterial, self.dt = check_series(times, arterial)
        if not (0 < mtt[0] < mtt[1] and delay[0] < delay[1] and 0 < shape[0] < shape[1]):
            raise UsageError(
                "Ranges must ascend, those of transit time and shape be positive", found=f"{mtt}, {delay}, {shape}"
            )
        if not (prior_mtt[0] > 0 and prior_mtt[1] > 0 and prior_delay[1] > 0):
            raise UsageError(
                "A prior has a middle and a positive width", field="prior", found=f"{prior_mtt}, {prior_delay}"
            )
        self.factor = haematocrit_factor / density
        self._beside = self._along(free_baseline, leakage)
        self._atoms = TransitDictionary.of(
            self.arterial, self.dt, mtt=mtt, shape=shape, delay=delay, beside=self._beside
        )
        self._nodes = np.array([[nodes[0], nodes[1] - nodes[0]] for nodes in self._atoms.nodes])
        mean = np.array([np.log(prior_mtt[0]), 0.0, prior_delay[0]])
        self._centre = (mean - self._nodes[:, 0]) / self._nodes[:, 1]
        self._precision = np.square(self._nodes[:, 1] / np.array([prior_mtt[1], np.inf, prior_delay[1]]))

    def _along(self, baseline: bool, leakage: bool) -> Floats:
        """What curves may hold beside first passes, orthonormal (curves, frames)."""
        frames = Frames.instants(self.times - self.times[0])
        curves = [np.ones(self.times.size)] if baseline else []
        if leakage:
            made = convolve_exponential(frames.middle, self.arterial, np.array([0.0, 1 / RETURN_S]), frames)
            curves += list(made.T)
        if not curves:
            return np.empty((0, self.times.size))
        return np.linalg.qr(np.stack(curves, axis=1))[0].T

    def fit(self, data: ArrayLike, *, mask: ArrayLike | None = None, curves: bool = False, threads: int = 2) -> Fit:
        """Fit every voxel of (frames, ...) curves.

        Parameters
        ----------
        data
            (frames, ...), in the unit of the artery.
        mask
            Voxels to fit.
        curves
            Keep the fitted curves.
        threads
            How many work at once.

        Returns
        -------
        Fit
            ``cbf``, ``cbv``, ``mtt`` and ``shape`` are geometric posterior means (so flow times transit time is the
            volume), ``delay`` an arithmetic one; standard errors those of the posterior. Intervals are symmetric in
            the logarithm, that of the delay in itself. ``RATE_AT_BOUND`` where the likeliest transit time or delay is
            an end of its range.
        """
        array = np.asarray(data, dtype=np.float64)
        check_shape(array.shape, self.times.size)
        shape = array.shape[1:]
        flat = array.reshape(self.times.size, -1)
        count = flat.shape[1]
        reason = np.zeros(count, dtype=np.int32)
        reason[~np.isfinite(flat).all(axis=0)] = int(Reason.NON_FINITE)
        reason[(flat == 0).all(axis=0)] = int(Reason.NO_SIGNAL)
        chosen = as_mask(mask, shape)
        if chosen is not None:
            reason[~chosen] = int(Reason.NOT_SELECTED)
        number = np.flatnonzero(reason == 0)
        found = np.full((count, 2, 7), np.nan)

        def work(start: int) -> None:
            at = number[start : start + _CHUNK]
            found[at] = self._summaries(flat[:, at])

        with ThreadPoolExecutor(max(1, threads)) as pool:
            list(pool.map(work, range(0, number.size, _CHUNK)))
        mean, spread = found[:, 0, :5].T, np.sqrt(found[:, 1, :5].T)
        factor = self.factor * 6000
        values = {
            "cbf": factor * np.exp(mean[0]),
            "cbv": factor / 60 * np.exp(mean[1]),
            "mtt": np.exp(mean[2]),
            "delay": mean[3],
            "shape": np.exp(mean[4]),
        }
        relative = dict(zip(("cbf", "cbv", "mtt", "delay", "shape"), spread, strict=True))
        errors = {name: value * relative[name] if name != "delay" else spread[3] for name, value in values.items()}
        reason[(reason == 0) & ~np.isfinite(mean[0])] = int(Reason.NOT_PHYSICAL)
        sound = reason == 0
        for column, axis in ((found[:, 0, 5], 0), (found[:, 1, 5], 2)):
            with np.errstate(invalid="ignore"):
                edge = (column < 0.5) | (column > self._atoms.atoms.shape[axis] - 1.5)
            reason[sound & edge] |= int(Reason.RATE_AT_BOUND)
        with np.errstate(invalid="ignore"):
            reason[sound & ~(relative["cbf"] <= IMPRECISE_ABOVE)] |= int(Reason.IMPRECISE)

        def interval(name: str, level: float, at: int) -> tuple[float, float]:
            half = t_quantile(level, self.times.size - 4 - len(self._beside)) * float(relative[name][at])
            value = float(values[name][at])
            return (value - half, value + half) if name == "delay" else (value / np.exp(half), value * np.exp(half))

        predicted = self.predict(values) if curves else None
        if predicted is not None:
            predicted = predicted + self._beside.T @ (self._beside @ (flat - predicted))
        return Fit(
            "vascular_model", values, errors, dict(self.units), "cbf", found[:, 0, 6], self.times.size,
            4 + len(self._beside), reason,
            predicted=predicted, residuals=None if predicted is None else flat - predicted, profile=interval,
        ).shaped(shape)  # fmt: skip

    def predict(self, parameters: Mapping[str, ArrayLike], *, arterial: ArrayLike | None = None) -> Floats:
        """Curves (frames, n) of tissues with these parameters (each (n,)); NaN where one is NaN.

        Parameters
        ----------
        parameters
            ``cbf``, ``mtt``, ``delay`` and ``shape``.
        arterial
            Another arterial curve than the model's, such as a difference of two: the curves are linear in it.
        """
        artery = self.arterial if arterial is None else np.asarray(arterial, dtype=np.float64)
        names = ("cbf", "mtt", "shape", "delay")
        flow, *rest = (np.atleast_1d(np.asarray(parameters[name], dtype=np.float64)) for name in names)
        out = np.full((self.times.size, flow.size), np.nan)
        for k, (mtt, shape, delay) in enumerate(zip(*rest, strict=True)):
            if np.isfinite(mtt + shape + delay):
                out[:, k] = transit_curve(artery, self.dt, mtt, shape, delay) * flow[k] / (6000 * self.factor)
        return out

    def _summaries(self, curves: Floats) -> Floats:
        """What the posterior of curves (frames, n) is, as :func:`summarise` gives it."""
        from timelens.engines.perfusion.transit_posterior import LATTICE, summarise

        known = self._atoms
        curves = curves - self._beside.T @ (self._beside @ curves)
        seen = curves.T.astype(np.float32) @ known.basis.T
        start = known.places[np.argmax(seen @ known.coarse.T, axis=1)]
        out = np.empty((curves.shape[1], 2, 7))
        power, frames = np.square(curves).sum(axis=0), self.times.size - len(self._beside)
        summarise(
            known.atoms, seen, power, frames, start, STRIDE, self._nodes, self._centre, self._precision,
            LATTICE, out,
        )  # fmt: skip
        return out
