"""Blood flow from the first pass by a model of transit: gamma-distributed transit times, and a delay.

    C(t) = F integral C_a(u - delay) R(t - u) du,   R(t) = 1 - P(shape, shape t / MTT)

with P the regularised incomplete gamma function (the vascular model of Østergaard L et al., J Cereb Blood Flow Metab
1999;19:690, doi:10.1097/00004647-199906000-00013, and Mouridsen K et al., NeuroImage 2006;33:570,
doi:10.1016/j.neuroimage.2006.06.015). ``shape`` 1 is a well-mixed compartment, a large one plug flow. Curves of a
dictionary of transit times, shapes and delays are compared with the tissue; for each the flow follows linearly. From
the best one Gauss-Newton steps within the dictionary follow, which also give the errors.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import interpolate, special

from timelens.engines.kinetics.fit import IMPRECISE_ABOVE, Fit
from timelens.engines.kinetics.model import as_mask, check_shape
from timelens.engines.kinetics.reasons import Reason
from timelens.engines.perfusion.deconvolution import check_series
from timelens.engines.perfusion.first_pass import HAEMATOCRIT_FACTOR, TISSUE_DENSITY
from timelens.errors import UsageError

__all__ = ["VascularModel"]

Floats = NDArray[np.float64]

#: The arterial curve is read at this many points per frame.
_FINE = 8
_CHUNK = 2048
#: Distance of two nodes of the dictionary, in ln MTT, in ln shape and in frames of delay; the search sees every third.
_NODES = (0.06, 0.2, 0.15)
_STRIDE = 3
#: Gauss-Newton steps, and how far one may go, in nodes of the dictionary.
_STEPS = 12
_LONGEST = 3.0


class VascularModel:
    """Flow, mean transit time and delay with standard errors.

    Parameters
    ----------
    times, arterial
        (frames,), s, evenly spaced, and the arterial curve in the unit of the tissue.
    mtt, delay
        Searched ranges, s.
    shape
        Searched range of the shape of the transit times.
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
        shape: tuple[float, float] = (0.5, 8.0),
        haematocrit_factor: float = HAEMATOCRIT_FACTOR,
        density: float = TISSUE_DENSITY,
    ) -> None:
        self.times, self.arterial, self.dt = check_series(times, arterial)
        if not (0 < mtt[0] < mtt[1] and delay[0] < delay[1] and 0 < shape[0] < shape[1]):
            raise UsageError(
                "Ranges must ascend, those of transit time and shape be positive", found=f"{mtt}, {delay}, {shape}"
            )
        self.factor = haematocrit_factor / density
        self.nodes = (
            _even(np.log(mtt[0]), np.log(mtt[1]), _NODES[0]),
            _even(np.log(shape[0]), np.log(shape[1]), _NODES[1]),
            _even(delay[0], delay[1], _NODES[2] * self.dt),
        )
        self.atoms = self._dictionary()
        coarse = self.atoms[::_STRIDE, ::_STRIDE, ::_STRIDE]
        self._coarse = coarse.shape[:3]
        self._unit = (coarse / np.linalg.norm(coarse, axis=-1, keepdims=True)).reshape(-1, self.times.size)

    def _dictionary(self) -> NDArray[np.float32]:
        """Curves for unit flow (mtt, shape, delay, frames)."""
        fine = self.dt / _FINE
        spare = np.ceil((max(-float(self.nodes[2][0]), 0.0) + self.dt) / fine) * fine
        t = np.arange(0, self.times[-1] - self.times[0] + spare + fine / 2, fine)
        # A straight line between samples would widen a bolus of few samples, and shorten the transit in return.
        spline = interpolate.CubicSpline(self.times - self.times[0], self.arterial)
        artery = np.where(t <= self.times[-1] - self.times[0], spline(t), self.arterial[-1])
        size = 2 * t.size
        sampled = np.fft.rfft(0.5 * (np.concatenate([[0.0], artery[:-1]]) + artery), size)
        grids = [each.size for each in self.nodes]
        out = np.empty((*grids, self.times.size), dtype=np.float32)
        at = (self.times - self.times[0])[None, :] - self.nodes[2][:, None]
        for i, log_mtt in enumerate(self.nodes[0]):
            for j, log_shape in enumerate(self.nodes[1]):
                shape, mean = np.exp(log_shape), np.exp(log_mtt)
                # Mean of R over each fine step, from its integral: exact however short the transit.
                edge = np.concatenate([t, [t[-1] + fine]])
                x = shape * edge / mean
                whole = edge * special.gammaincc(shape, x) + mean * special.gammainc(shape + 1, x)
                curve = np.fft.irfft(sampled * np.fft.rfft(np.diff(whole), size), size)[: t.size]
                out[i, j] = np.interp(at, t, curve, left=0.0)
        return out

    def fit(self, data: ArrayLike, *, mask: ArrayLike | None = None) -> Fit:
        """Fit every voxel of (frames, ...) curves.

        Returns
        -------
        Fit
            ``cbf``, ``cbv`` (flow times transit time), ``mtt``, ``delay`` and ``shape``; ``RATE_AT_BOUND`` where the
            best transit time or delay is an end of its range.
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
        values, errors, rss = np.full((5, count), np.nan), np.full((5, count), np.nan), np.full(count, np.nan)
        number = np.flatnonzero(reason == 0)
        for start in range(0, number.size, _CHUNK):
            at = number[start : start + _CHUNK]
            values[:, at], errors[:, at], rss[at], reason[at] = self._voxels(flat[:, at].T)
        with np.errstate(invalid="ignore"):
            loose = (reason == 0) & ~(errors[0] <= IMPRECISE_ABOVE * np.abs(values[0]))
        reason[loose] |= int(Reason.IMPRECISE)
        return Fit(
            "vascular_model",
            {name: values[i].reshape(shape) for i, name in enumerate(self.units)},
            {name: errors[i].reshape(shape) for i, name in enumerate(self.units)},
            dict(self.units),
            "cbf",
            rss.reshape(shape),
            self.times.size,
            4,
            reason.reshape(shape),
        )

    def _voxels(self, y: Floats) -> tuple[Floats, Floats, Floats, NDArray[np.int32]]:
        """Values, errors, residual sums and reasons of curves (n, frames)."""
        grids = self.atoms.shape[:3]
        scores = y.astype(np.float32) @ self._unit.T
        best = np.argmax(scores, axis=1)
        reason = np.zeros(y.shape[0], dtype=np.int32)
        reason[scores[np.arange(y.shape[0]), best] <= 0] = int(Reason.NOT_PHYSICAL)
        place = _STRIDE * np.stack(np.unravel_index(best, self._coarse), axis=1).astype(np.float64)
        top = np.asarray(grids, dtype=np.float64) - 1
        flow, rss, normal = self._solve(y, place)
        damping = np.full(y.shape[0], 1e-3)
        for _ in range(_STEPS):
            curve, slopes = self._read(place)
            jacobian = np.concatenate([curve[:, None], flow[:, None, None] * slopes], axis=1)
            rest = y - flow[:, None] * curve
            gram = np.einsum("vpf,vqf->vpq", jacobian, jacobian)
            scale = np.sqrt(np.einsum("vpp->vp", gram)) + 1e-300
            damped = gram / scale[:, :, None] / scale[:, None, :] + damping[:, None, None] * np.eye(4)
            move = np.linalg.solve(damped, (np.einsum("vpf,vf->vp", jacobian, rest) / scale)[..., None])[..., 0] / scale
            trial = np.clip(place + np.clip(move[:, 1:], -_LONGEST, _LONGEST), 0, top)
            new_flow, new_rss, _ = self._solve(y, trial)
            better = new_rss < rss
            place[better], flow[better], rss[better] = trial[better], new_flow[better], new_rss[better]
            damping = np.where(better, damping / 5, damping * 8)
        flow, rss, normal = self._solve(y, place)
        return self._report(place, flow, rss, normal, reason)

    def _report(
        self, place: Floats, flow: Floats, rss: Floats, normal: Floats, reason: NDArray[np.int32]
    ) -> tuple[Floats, Floats, Floats, NDArray[np.int32]]:
        widths = np.array([nodes[1] - nodes[0] for nodes in self.nodes])
        mtt, shape, delay = (nodes[0] + place[:, k] * widths[k] for k, nodes in enumerate(self.nodes))
        mtt, shape = np.exp(mtt), np.exp(shape)
        top = np.array(self.atoms.shape[:3]) - 1.0
        edge = (place <= 1e-6) | (place >= top - 1e-6)
        reason[(reason == 0) & (edge[:, 0] | edge[:, 2])] |= int(Reason.RATE_AT_BOUND)
        # A shape at its bound is held there; its own error is then unknown.
        held = edge[:, 1]
        normal[held, 2, :], normal[held, :, 2] = 0.0, 0.0
        normal[held, 2, 2] = 1.0
        scale = np.sqrt(np.einsum("vpp->vp", normal)) + 1e-300
        inverse = np.linalg.pinv(normal / scale[:, :, None] / scale[:, None, :], rcond=1e-10, hermitian=True)
        inverse = inverse / scale[:, :, None] / scale[:, None, :] * (rss / (self.times.size - 4))[:, None, None]
        cbf = flow * self.factor * 6000
        cbv = cbf * mtt / 60
        relative = inverse[:, 0, 0] / flow**2 + inverse[:, 1, 1] * widths[0] ** 2
        relative += 2 * inverse[:, 0, 1] * widths[0] / flow
        errors = np.stack(
            [
                np.sqrt(inverse[:, 0, 0]) * self.factor * 6000,
                cbv * np.sqrt(np.maximum(relative, 0.0)),
                mtt * np.sqrt(inverse[:, 1, 1]) * widths[0],
                np.sqrt(inverse[:, 3, 3]) * widths[2],
                np.where(held, np.nan, shape * np.sqrt(inverse[:, 2, 2]) * widths[1]),
            ]
        )
        values = np.stack([cbf, cbv, mtt, delay, shape])
        blank = reason == int(Reason.NOT_PHYSICAL)
        values[:, blank], errors[:, blank] = np.nan, np.nan
        return values, errors, rss, reason

    def _solve(self, y: Floats, place: Floats) -> tuple[Floats, Floats, Floats]:
        """Flow (1/s), residual sum and normal matrix of (flow, nodes) at places in the dictionary."""
        curve, slopes = self._read(place)
        flow = np.einsum("vf,vf->v", curve, y) / np.einsum("vf,vf->v", curve, curve)
        rss = np.square(y - flow[:, None] * curve).sum(axis=1)
        jacobian = np.concatenate([curve[:, None], flow[:, None, None] * slopes], axis=1)
        return flow, rss, np.einsum("vpf,vqf->vpq", jacobian, jacobian)

    def _read(self, place: Floats) -> tuple[Floats, Floats]:
        """Curves (n, frames) and their slopes per node (n, 3, frames), linear between the nodes."""
        low = np.minimum(place.astype(np.intp), np.array(self.atoms.shape[:3]) - 2)
        part = place - low
        curve = np.zeros((place.shape[0], self.times.size))
        slopes = np.zeros((place.shape[0], 3, self.times.size))
        for corner in np.ndindex(2, 2, 2):
            atom = self.atoms[tuple((low + corner).T)]
            weight = np.where(np.asarray(corner) == 1, part, 1 - part)
            curve += weight.prod(axis=1)[:, None] * atom
            for k in range(3):
                rest = np.delete(weight, k, axis=1).prod(axis=1) * (1 if corner[k] else -1)
                slopes[:, k] += rest[:, None] * atom
        return curve, slopes


def _even(low: float, high: float, step: float) -> Floats:
    """Nodes evenly from low to high, about ``step`` apart, one more than a multiple of the stride."""
    parts = max(int(np.ceil((high - low) / step / _STRIDE)), 1) * _STRIDE
    return np.linspace(low, high, parts + 1)
