"""Blood flow from the first pass: the tissue's residue function by regularised deconvolution of the arterial curve.

``C(t) = F integral C_a(u) R(t - u) du`` with R(0) = 1, so the largest value of what deconvolution gives is the flow.

- ``ssvd``: singular values of the lower triangular matrix under ``threshold`` times the largest are left out
  (Østergaard L et al., Magn Reson Med 1996;36:715, doi:10.1002/mrm.1910360510). A delay of the tissue changes the
  flow that is found.
- ``csvd``: the same with a block-circulant matrix of twice the length, which a delay only rotates; ``osvd``: its
  threshold is raised per voxel until the residue oscillates less than ``oscillation`` (Wu O et al., Magn Reson Med
  2003;50:164, doi:10.1002/mrm.10522). A circulant matrix is diagonal in Fourier space, so both are filters there.
- ``tikhonov``: the same in Fourier space with a smooth filter, ``threshold`` times the largest value as its corner, or
  chosen per voxel by generalised cross-validation (Golub GH et al., Technometrics 1979;21:215).

Artery and residue are taken as linear between samples (Sourbron S et al., Phys Med Biol 2007;52:6747,
doi:10.1088/0031-9155/52/22/014). All of them give too low a flow where the mean transit time is short; the parametric
:class:`~timelens.engines.perfusion.vascular.VascularModel` does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from timelens.engines.kinetics.model import as_mask, check_shape
from timelens.engines.kinetics.reasons import Reason
from timelens.engines.perfusion.first_pass import HAEMATOCRIT_FACTOR, TISSUE_DENSITY, blood_volume
from timelens.errors import DataError, UsageError

__all__ = ["Deconvolution", "Method", "Perfusion", "check_series"]

Floats = NDArray[np.float64]
Method = Literal["ssvd", "csvd", "osvd", "tikhonov"]

#: Times may be uneven by this part of their step.
EVEN = 1e-3
_CHUNK = 4096
#: Thresholds that oSVD tries, and corners among which cross-validation chooses.
_THRESHOLDS = np.concatenate([np.arange(0.0, 0.2, 0.01), np.arange(0.2, 0.96, 0.05)])
_CORNERS = np.geomspace(0.005, 0.5, 25)


@dataclass(frozen=True, eq=False)
class Perfusion:
    """Maps of the shape of a frame: ``cbf`` mL/min/100 g, ``cbv`` mL/100 g, ``mtt`` and ``tmax`` s, ``reason``.

    ``tmax`` is where the residue is largest, a delay (negative: before the artery); ``residue`` (frames, ...) is the
    flow-scaled residue in 1/s, or None where it was not asked for.
    """

    cbf: Floats
    cbv: Floats
    mtt: Floats
    tmax: Floats
    reason: NDArray[np.int32]
    residue: Floats | None = None


def check_series(times: ArrayLike, arterial: ArrayLike) -> tuple[Floats, Floats, float]:
    """Times, arterial curve and step of an evenly sampled series.

    Raises
    ------
    DataError
        Fewer than eight frames, uneven times, or an arterial curve that is not finite or not positive.
    """
    t, a = np.asarray(times, dtype=np.float64), np.asarray(arterial, dtype=np.float64)
    if t.ndim != 1 or t.size < 8 or a.shape != t.shape or not (np.isfinite(t).all() and np.isfinite(a).all()):
        raise DataError(
            "Deconvolution needs eight or more frames and one arterial value each", field="arterial",
            found=f"{t.shape} times and {a.shape} values",
        )  # fmt: skip
    step = np.diff(t)
    dt = float(step.mean())
    if dt <= 0 or (np.abs(step - dt) > EVEN * dt).any():
        raise DataError(
            "Deconvolution needs frames at even distances", field="times",
            found=f"steps from {step.min():g} to {step.max():g} s", mend="resample the series to even times",
        )  # fmt: skip
    if not a.sum() > 0:
        raise DataError("The arterial curve is not positive", field="arterial", found=f"sum {a.sum():g}")
    return t, a, dt


class Deconvolution:
    """Flow, volume and times from (frames, ...) curves of dR2* or concentration.

    Parameters
    ----------
    times
        (frames,), s, evenly spaced.
    arterial
        (frames,), in the unit of the tissue.
    method
        See the module; ``osvd`` by default.
    threshold
        Part of the largest singular value: 0.2 for ``ssvd`` and 0.1 for ``csvd`` if not given; for ``tikhonov`` the
        corner, None for cross-validation. Not used by ``osvd``.
    oscillation
        Largest oscillation index of ``osvd``.
    haematocrit_factor, density
        As for :func:`~timelens.engines.perfusion.first_pass.blood_volume`.
    """

    def __init__(
        self,
        times: ArrayLike,
        arterial: ArrayLike,
        *,
        method: Method = "osvd",
        threshold: float | None = None,
        oscillation: float = 0.065,
        haematocrit_factor: float = HAEMATOCRIT_FACTOR,
        density: float = TISSUE_DENSITY,
    ) -> None:
        if method not in get_args(Method):
            raise UsageError("Unknown method", field="method", found=method, expected=", ".join(get_args(Method)))
        if threshold is not None and not 0 <= threshold < 1:
            raise UsageError("A threshold is a part of the largest singular value", field="threshold", found=threshold)
        if not oscillation > 0:
            raise UsageError("The oscillation index must be positive", field="oscillation", found=oscillation)
        self.times, self.arterial, self.dt = check_series(times, arterial)
        self.method, self.threshold, self.oscillation = method, threshold, oscillation
        self.factor = haematocrit_factor / density
        self._volume = {"haematocrit_factor": haematocrit_factor, "density": density}
        size = 2 * self.times.size
        wave = 2 * np.pi * np.arange(self.times.size + 1) / size
        # Two straight-line interpolations meet in the weights 1/6, 4/6, 1/6.
        self._spectrum = np.fft.rfft(self.arterial, size) * (4 + 2 * np.cos(wave)) / 6 * self.dt
        self._matrix = self._truncated() if method == "ssvd" else None

    def _truncated(self) -> Floats:
        """Pseudo-inverse of the lower triangular matrix."""
        a = self.arterial
        smooth = (np.concatenate([[0.0], a[:-1]]) + 4 * a + np.concatenate([a[1:], [a[-1]]])) / 6
        left, values, right = np.linalg.svd(linalg.toeplitz(smooth, np.zeros(a.size)) * self.dt)
        limit = (0.2 if self.threshold is None else self.threshold) * values[0]
        inverse = np.where(values > limit, 1 / np.where(values > 0, values, 1.0), 0.0)
        return np.asarray((right.T * inverse) @ left.T)

    def fit(self, data: ArrayLike, *, mask: ArrayLike | None = None, keep_residue: bool = False) -> Perfusion:
        """Maps of flow, volume, mean transit time and Tmax.

        Parameters
        ----------
        data
            (frames, ...).
        mask
            Voxels to fit.
        keep_residue
            Return the residue functions as well.
        """
        array = np.asarray(data, dtype=np.float64)
        check_shape(array.shape, self.times.size)
        shape = array.shape[1:]
        flat = array.reshape(self.times.size, -1)
        reason = np.zeros(flat.shape[1], dtype=np.int32)
        reason[~np.isfinite(flat).all(axis=0)] = int(Reason.NON_FINITE)
        reason[(flat == 0).all(axis=0)] = int(Reason.NO_SIGNAL)
        chosen = as_mask(mask, shape)
        if chosen is not None:
            reason[~chosen] = int(Reason.NOT_SELECTED)
        number = np.flatnonzero(reason == 0)
        flow, late = np.full(flat.shape[1], np.nan), np.full(flat.shape[1], np.nan)
        residue = np.full(flat.shape, np.nan) if keep_residue else None
        for start in range(0, number.size, _CHUNK):
            at = number[start : start + _CHUNK]
            found = self._residue(flat[:, at])
            top = np.argmax(found, axis=0)
            flow[at] = found[top, np.arange(at.size)]
            late[at] = np.where(top >= self.times.size, top - found.shape[0], top) * self.dt
            if residue is not None:
                residue[:, at] = found[: self.times.size]
        volume = np.full(flat.shape[1], np.nan)
        if number.size:
            volume[number] = blood_volume(self.times, flat[:, number], self.arterial, **self._volume)
        cbf = flow * self.factor * 6000
        with np.errstate(all="ignore"):
            mtt = np.where((cbf > 0) & (volume > 0), 60 * volume / cbf, np.nan)
        reason[(reason == 0) & ~(flow > 0)] = int(Reason.NOT_PHYSICAL)
        cbf[reason == int(Reason.NOT_PHYSICAL)] = np.nan
        return Perfusion(
            cbf.reshape(shape),
            volume.reshape(shape),
            mtt.reshape(shape),
            late.reshape(shape),
            reason.reshape(shape),
            None if residue is None else residue.reshape(array.shape),
        )

    def _residue(self, curves: Floats) -> Floats:
        """Flow-scaled residues (1/s), as long as the curves or, for circulant methods, twice that."""
        if self._matrix is not None:
            return np.asarray(self._matrix @ curves)
        size = 2 * self.times.size
        seen = np.fft.rfft(curves, size, axis=0)
        strength = np.abs(self._spectrum) / np.abs(self._spectrum).max()
        safe = np.where(strength > 0, self._spectrum, 1.0)

        def filtered(weight: Floats) -> Floats:
            return np.asarray(np.fft.irfft(seen * (weight / safe)[:, None], size, axis=0))

        if self.method == "csvd":
            return filtered((strength > (0.1 if self.threshold is None else self.threshold)).astype(np.float64))
        if self.method == "tikhonov":
            if self.threshold is not None:
                return filtered(strength**2 / (strength**2 + self.threshold**2))
            return self._cross_validated(seen, strength, filtered)
        out, left = np.empty((size, curves.shape[1])), np.ones(curves.shape[1], dtype=np.bool_)
        for threshold in _THRESHOLDS:
            trial = filtered((strength > threshold).astype(np.float64))
            bend = np.abs(np.diff(trial, 2, axis=0)).sum(axis=0)
            with np.errstate(all="ignore"):
                calm = bend / trial.max(axis=0) / size <= self.oscillation
            now = left & (calm | (threshold == _THRESHOLDS[-1]))
            out[:, now] = trial[:, now]
            left &= ~now
            if not left.any():
                break
        return out

    def _cross_validated(self, seen: Any, strength: Floats, filtered: Any) -> Floats:
        """Per voxel the corner with the least generalised cross-validation score."""
        power = np.abs(seen) ** 2
        twice = np.full(strength.size, 2.0)  # real spectra are symmetric
        twice[[0, -1]] = 1.0
        scores = []
        for corner in _CORNERS:
            lost = corner**2 / (strength**2 + corner**2)
            scores.append((twice * lost**2) @ power / (twice @ lost) ** 2)
        best = np.argmin(np.stack(scores), axis=0)
        out = np.empty((2 * (strength.size - 1), power.shape[1]))
        for k in np.unique(best):
            here = best == k
            out[:, here] = filtered(strength**2 / (strength**2 + _CORNERS[k] ** 2))[:, here]
        return out
