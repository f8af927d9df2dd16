"""From the signal of a dynamic series to concentrations of regions that noise does not bias.

A lesion's voxels differ, so that each is converted by itself; what noise adds to their mean by the floor of magnitudes
and by the convexity of the equation is taken off (:mod:`timelens.engines.mr_signal.noise`). An artery is one fluid
whose peak lies where the equation bends most, so that its mean signal is converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from timelens.engines.mr_signal import (
    concentration_bias,
    gradient_echo_concentration,
    temporal_variance,
    without_floor,
)
from timelens.engines.relaxometry import VariableFlipAngle
from timelens.engines.relaxometry.flip_angle_bias import flip_angle_noise
from timelens.lenses.mri.dce import on_grid
from timelens.lenses.mri.relaxometry import series_axis
from timelens.lenses.mri.settings import Before
from timelens.study.image import Image

__all__ = ["ContrastSignal", "FlipSignal", "contrast_signal", "corrected"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class FlipSignal:
    """Flip angles (deg), TR in s, B1, and their signal (angles, z, y, x) where it has the grid of the series."""

    angles: Floats
    tr: float
    b1: Floats
    signal: Floats | None


@dataclass(frozen=True, eq=False)
class ContrastSignal:
    """A dynamic spoiled gradient echo with all that its concentration needs.

    Attributes
    ----------
    signal
        (t, z, y, x), magnitudes.
    t1, t1_variance, b1
        (z, y, x): T1 before contrast in s, the square of its standard error (zero where none is known), and real over
        nominal flip angle.
    tr, flip, relaxivity, baseline
        s, degrees, L/mmol/s, frames before contrast.
    flips
        Those that T1 comes from.
    t1_factor
        What every T1 is multiplied with.
    """

    signal: Floats
    t1: Floats
    t1_variance: Floats
    b1: Floats
    tr: float
    flip: float
    relaxivity: float
    baseline: int
    flips: FlipSignal | None = None
    t1_factor: float = 1.0

    def tissue(self, mask: Mask) -> Floats:
        """Concentration (frames, voxels) in mmol/L of the voxels of a region; their mean is not biased by noise."""
        raw = self.signal[:, mask]
        noise = float(np.nan_to_num(np.nanmean(temporal_variance(raw)))) if raw.shape[1] else 0.0
        seen, b1 = without_floor(raw, noise), self.b1[mask]
        t1 = (self.t1[mask] - self._t1_excess(mask)) * self.t1_factor
        found = self._converted(seen, t1, b1)
        variance = float(np.nan_to_num(np.nanmean(self.t1_variance[mask]))) if raw.shape[1] else 0.0
        return found - self._bias(seen, t1, b1, noise, variance)

    def blood(self, mask: Mask) -> Floats:
        """Concentration (frames,) in mmol/L of the mean signal of a region of one fluid."""
        known = mask & np.isfinite(self.t1) & np.isfinite(self.signal).all(axis=0)
        raw = self.signal[:, known]
        noise, count = float(np.nanmean(temporal_variance(raw))), raw.shape[1]
        seen = without_floor(raw.mean(axis=1), noise, mean=True)[:, None]
        b1 = self.b1[known].mean(keepdims=True)
        t1 = np.array([self._arterial_t1(known) * self.t1_factor])
        variance = float(np.nan_to_num(np.nanmean(self.t1_variance[known]))) / count
        return np.asarray((self._converted(seen, t1, b1) - self._bias(seen, t1, b1, noise / count, variance))[:, 0])

    def scaled(self, *, relaxivity: float = 1.0, b1: float = 1.0, t1: float = 1.0) -> ContrastSignal:
        """The same series with settings times a factor; T1 from flip angles goes with B1 to the power of minus two."""
        follows = b1**-2 if self.flips is not None else 1.0
        return replace(
            self, relaxivity=self.relaxivity * relaxivity, b1=self.b1 * b1, t1_factor=self.t1_factor * t1 * follows
        )

    def _arterial_t1(self, known: Mask) -> float:
        """Of the mean signal of the flip angles: a mean of T1 of voxels is too high by its own convexity."""
        fitted = self._t1_of_mean(known)
        return fitted[1] if fitted else float(self.t1[known].mean() - self._t1_excess(known))

    def _t1_excess(self, mask: Mask) -> float:
        """By how much T1 of the voxels of a region is too high on average, by its fit and by the floor, s."""
        known = mask & np.isfinite(self.t1)
        if self.flips is None or not known.any():
            return 0.0
        typical, variance = float(self.t1[known].mean()), float(np.nan_to_num(np.nanmean(self.t1_variance[known])))
        b1 = float(self.flips.b1[known].mean())
        bias = flip_angle_noise(typical, self.flips.angles, self.flips.tr, b1=b1).bias_per_variance * variance
        fitted = self._t1_of_mean(known)
        return bias + (fitted[0] - fitted[1] if fitted else 0.0)

    def _t1_of_mean(self, known: Mask) -> tuple[float, float] | None:
        """T1 of the mean signal of the flip angles, with the floor of magnitudes and without it."""
        if self.flips is None or self.flips.signal is None:
            return None
        angles, tr, b1 = self.flips.angles, self.flips.tr, float(self.flips.b1[known].mean())
        mean, model = self.flips.signal[:, known].mean(axis=1), VariableFlipAngle(angles, tr, method="nonlinear")
        first = model.fit(mean, b1=b1)
        t1, m0 = float(first.parameters["t1"]), float(first.parameters["m0"])
        if not np.isfinite(t1):
            return None
        variance = float(np.nan_to_num(np.nanmean(self.t1_variance[known])))
        noise = variance * m0**2 / flip_angle_noise(t1, angles, tr, b1=b1).variance
        second = float(model.fit(without_floor(mean, noise, mean=True), b1=b1).parameters["t1"])
        return t1, second if np.isfinite(second) else t1

    def _converted(self, seen: Floats, t1: Floats, b1: Floats) -> Floats:
        return gradient_echo_concentration(
            seen, t1, tr=self.tr, flip=self.flip, relaxivity=self.relaxivity, baseline=slice(0, self.baseline), b1=b1
        ).values

    def _bias(self, seen: Floats, t1: Floats, b1: Floats, noise: float, t1_variance: float) -> Floats:
        return concentration_bias(
            seen, seen[: self.baseline].mean(axis=0), t1, tr=self.tr, flip=self.flip, relaxivity=self.relaxivity,
            signal_variance=noise, baseline_variance=noise / self.baseline, t1_variance=t1_variance, b1=b1,
        )  # fmt: skip


def contrast_signal(
    image: Image, before: Before, *, tr: float, flip: float, relaxivity: float, baseline: int
) -> ContrastSignal:
    """The series with T1 and B1 on its grid."""
    place = image.geometry
    assert place is not None

    def here(other: Image | None, unit: str, empty: float) -> Floats:
        return np.full(place.shape, empty) if other is None else on_grid(other, place, unit)

    flips, b1 = None, here(before.b1, "1", 1.0)
    if before.flips is not None:
        grid = before.flips.image.geometry
        same = grid is not None and place.same_frame(grid) and place.same_grid(grid)
        _, angles = series_axis(before.flips.image)
        seen = before.flips.image.numpy().astype(np.float64) if same else None
        flips = FlipSignal(angles, before.flip_tr, b1, seen)
    return ContrastSignal(
        image.numpy().astype(np.float64), here(before.t1, "s", np.nan), np.square(here(before.error, "s", 0.0)),
        b1, tr, flip, relaxivity, baseline, flips,
    )  # fmt: skip


def corrected(series: Image, signal: ContrastSignal, masks: Mapping[str, Mask]) -> Image:
    """The concentration series with the bias by noise taken off the voxels of regions."""
    data = series.numpy().astype(np.float64)
    for mask in masks.values():
        data[:, mask] = signal.tissue(mask)
    return Image(
        data, unit=series.unit, axes=series.axes, geometry=series.geometry, frames=series.frames, name=series.name
    )
