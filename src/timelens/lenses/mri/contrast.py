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

from timelens import units
from timelens.engines.mr_signal import (
    concentration_bias,
    gradient_echo_concentration,
    temporal_variance,
    without_floor,
)
from timelens.engines.relaxometry import VariableFlipAngle
from timelens.lenses.mri.relaxometry import series_axis
from timelens.lenses.mri.settings import Before
from timelens.study.image import Image

__all__ = ["ContrastSignal", "FlipSignal", "contrast_signal", "corrected"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class FlipSignal:
    """Flip angles (deg), their signal (angles, z, y, x) on the grid of the dynamic series, TR in s, and B1."""

    angles: Floats
    signal: Floats
    tr: float
    b1: Floats


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
        Those that T1 comes from, where they have the grid of the series.
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
        seen, t1, b1 = without_floor(raw, noise), self.t1[mask] * self.t1_factor, self.b1[mask]
        found = self._converted(seen, t1, b1)
        variance = float(np.nan_to_num(np.nanmean(self.t1_variance[mask]))) if raw.shape[1] else 0.0
        return found - self._bias(seen, t1, b1, noise, variance)

    def blood(self, mask: Mask) -> Floats:
        """Concentration (frames,) in mmol/L of the mean signal of a region of one fluid."""
        known = mask & np.isfinite(self.t1) & np.isfinite(self.signal).all(axis=0)
        raw = self.signal[:, known]
        noise, count = float(np.nanmean(temporal_variance(raw))), raw.shape[1]
        seen = without_floor(raw.mean(axis=1), noise)[:, None]
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
        if self.flips is not None:
            fit = VariableFlipAngle(self.flips.angles, self.flips.tr, method="nonlinear").fit(
                self.flips.signal[:, known].mean(axis=1), b1=float(self.flips.b1[known].mean())
            )
            if np.isfinite(fit.parameters["t1"]):
                return float(fit.parameters["t1"])
        return float(self.t1[known].mean())

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
        if other is None:
            return np.full(place.shape, empty)
        return other.resample_to(place).numpy().astype(np.float64) * units.conversion_factor(other.unit, unit)

    flips, b1 = None, here(before.b1, "1", 1.0)
    if before.flips is not None:
        grid = before.flips.image.geometry
        if grid is not None and place.same_frame(grid) and place.same_grid(grid):
            _, angles = series_axis(before.flips.image)
            flips = FlipSignal(angles, before.flips.image.numpy().astype(np.float64), before.flip_tr, b1)
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
