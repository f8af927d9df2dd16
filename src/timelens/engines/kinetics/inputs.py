"""Input functions: what the blood or a reference region offers the tissue, with its kind, unit and time base.

An input is linear between its samples and zero before the first; models convolve exactly that curve, so nothing depends
on an interpolation grid. Times are seconds from injection on the scanner's clock, concentrations have any one unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.frames import Frames
from timelens.errors import DataError, UnitError, UsageError

__all__ = ["InputFunction", "Kind", "merge_samples", "reference_input", "require_same_convention"]

Floats = NDArray[np.float64]
Kind = Literal["whole_blood", "plasma", "parent", "contrast", "reference"]

#: A background-corrected sample may fall below zero by this part of the peak; more is an error.
NEGATIVE_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class InputFunction:
    """A sampled input.

    Parameters
    ----------
    times
        (samples,), s from injection, ascending; two equal times are a step.
    values
        (samples,), concentration.
    kind
        ``"whole_blood"``, ``"plasma"`` (all radioactivity in plasma), ``"parent"`` (unchanged agent in plasma),
        ``"contrast"`` or ``"reference"`` (a tissue without the target).
    unit
        UCUM code of the values; "" only where tissue and input are known to share it.
    decay_corrected
        Whether all samples are referenced to time zero. Tissue and every input must agree.

    Raises
    ------
    DataError
        Fewer than two samples, not finite, times that descend, values clearly below zero or zero throughout.
    """

    times: Floats
    values: Floats
    kind: Kind
    unit: str = ""
    decay_corrected: bool = True

    def __post_init__(self) -> None:
        times = np.array(self.times, dtype=np.float64)
        values = np.array(self.values, dtype=np.float64)
        _check(times, values, self.kind)
        for name, array in (("times", times), ("values", values)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def at(self, times: ArrayLike) -> Floats:
        """Values at these times (s), linear between samples, 0 before the first; NaN after the last."""
        where = np.asarray(times, dtype=np.float64)
        return np.asarray(np.interp(where, self.times, self.values, left=0.0, right=np.nan))

    def shifted(self, delay: float) -> InputFunction:
        """The input ``delay`` s later (earlier where negative: its last sample is then held to the old end)."""
        return replace(self, times=self.times + delay).held_until(float(self.times[-1]))

    def held_until(self, time: float) -> InputFunction:
        """The last sample held to ``time`` (s), where sampling stopped shortly before the scan did."""
        if time <= self.times[-1]:
            return self
        return replace(self, times=np.append(self.times, time), values=np.append(self.values, self.values[-1]))

    def scaled(self, factor: float, *, unit: str | None = None) -> InputFunction:
        """All values times a positive factor, for a change of unit or a recovery correction."""
        if not (np.isfinite(factor) and factor > 0):
            raise UsageError("An input is scaled by a positive factor", field="factor", found=factor)
        return replace(self, values=self.values * factor, unit=self.unit if unit is None else unit)

    def resampled(self, times: ArrayLike) -> InputFunction:
        """The same curve with these knots, none of them after the last sample."""
        knots = np.asarray(times, dtype=np.float64)
        return replace(self, times=knots, values=self.at(knots))

    def times_curve(self, times: ArrayLike, factors: ArrayLike, *, kind: Kind) -> InputFunction:
        """Multiply with a curve (a parent fraction, a plasma-to-blood ratio) given at some times.

        The factors are linear between their times and constant beyond; the product has the knots of both.
        """
        at, factor = np.asarray(times, dtype=np.float64), np.asarray(factors, dtype=np.float64)
        if at.ndim != 1 or at.shape != factor.shape or not np.isfinite(factor).all() or (np.diff(at) <= 0).any():
            raise DataError("A factor curve needs ascending times and one finite factor each", field="factors")
        inside = at[(at > self.times[0]) & (at < self.times[-1])]
        knots = np.sort(np.concatenate([self.times, np.setdiff1d(inside, self.times)]))
        # Equal times (steps) must keep both of their values.
        values = np.where(np.isin(knots, self.times), 0.0, self.at(knots))
        values[np.isin(knots, self.times)] = self.values
        return replace(self, times=knots, values=values * np.interp(knots, at, factor), kind=kind)

    def decayed_to_zero(self, half_life: float) -> InputFunction:
        """Samples as measured, referenced to time zero: times 2^(t / half-life); refused if already so."""
        if self.decay_corrected:
            raise DataError(
                "The input is decay-corrected already", field="decay_corrected", found="True", mend="leave it as it is"
            )
        if not half_life > 0:
            raise UsageError("A half-life is positive", field="half_life", found=half_life, expected="seconds")
        return replace(self, values=self.values * np.exp2(self.times / half_life), decay_corrected=True)


def merge_samples(first: InputFunction, second: InputFunction, *, switch: float | None = None) -> InputFunction:
    """One input from an autosampler and manual samples: ``first`` up to ``switch``, ``second`` after it.

    Parameters
    ----------
    switch
        s; by default the last time of ``first``. Where the two overlap before it, ``second`` is not used.

    Raises
    ------
    DataError, UnitError
        The two differ in kind, unit or decay correction, or ``second`` has no sample after the switch.
    """
    require_same_convention(first, second)
    if first.kind != second.kind:
        raise DataError(
            "Samples of different kinds cannot be one input",
            field="kind",
            found=f"{first.kind} and {second.kind}",
            expected="the same kind",
            mend="convert one by a plasma-to-blood ratio or parent fraction first",
        )
    last = float(first.times[-1]) if switch is None else switch
    early, late = first.times <= last, second.times > last
    if not late.any() or not early.any():
        raise DataError("One of the two sets has no sample on its side of the switch", field="switch", found=last)
    return replace(
        first,
        times=np.concatenate([first.times[early], second.times[late]]),
        values=np.concatenate([first.values[early], second.values[late]]),
    )


def reference_input(frames: Frames, curve: ArrayLike, *, unit: str = "", decay_corrected: bool = True) -> InputFunction:
    """A reference region's curve (frames,) as an input: linear through mid-frames from zero at time zero.

    After the last mid-frame the last value is held to the end of the frame.
    """
    values = np.asarray(curve, dtype=np.float64)
    if values.shape != (len(frames),):
        raise DataError(
            "The reference curve needs one value per frame",
            field="reference",
            found=f"shape {values.shape}",
            expected=f"({len(frames)},)",
        )
    times = frames.middle
    if times[0] > 0:
        times, values = np.concatenate([[0.0], times]), np.concatenate([[0.0], values])
    made = InputFunction(times, values, "reference", unit, decay_corrected)
    return made.held_until(float(frames.end[-1]))


def require_same_convention(first: InputFunction, second: InputFunction) -> None:
    """Refuse two inputs whose unit or decay correction differ."""
    if first.unit != second.unit:
        raise UnitError(
            "Two inputs have different units",
            field="unit",
            found=f"{first.unit or 'none'} and {second.unit or 'none'}",
            expected="the same UCUM code",
            mend="use scaled(factor, unit=...)",
        )
    if first.decay_corrected != second.decay_corrected:
        raise DataError(
            "One input is decay-corrected and the other is not",
            field="decay_corrected",
            found=f"{first.kind}: {first.decay_corrected}, {second.kind}: {second.decay_corrected}",
            expected="one convention",
            mend="use decayed_to_zero(half_life)",
        )


def _check(times: Floats, values: Floats, kind: str) -> None:
    if kind not in get_args(Kind):
        raise UsageError("Unknown kind of input", field="kind", found=kind, expected=", ".join(get_args(Kind)))
    if times.ndim != 1 or times.shape != values.shape or times.size < 2:
        raise DataError(
            "An input needs at least two samples, one value per time",
            field=kind,
            found=f"shapes {times.shape} and {values.shape}",
        )
    if not (np.isfinite(times).all() and np.isfinite(values).all()):
        raise DataError("An input must be numbers", field=kind, found="NaN or infinity", mend="drop missing samples")
    if (np.diff(times) < 0).any():
        at = int(np.argmax(np.diff(times) < 0)) + 1
        raise DataError(
            "Times of the input descend",
            field=f"{kind}, sample {at}",
            found=f"{times[at]:g} s after {times[at - 1]:g} s",
            expected="ascending times",
            mend="sort the samples",
        )
    peak = float(values.max())
    if peak <= 0:
        raise DataError("The input is zero throughout", field=kind, found=f"largest value {peak:g}")
    if values.min() < -NEGATIVE_TOLERANCE * peak:
        at = int(np.argmin(values))
        raise DataError(
            "The input is negative",
            field=f"{kind}, sample {at}",
            found=f"{values[at]:g} at {times[at]:g} s",
            expected=f"no less than -{NEGATIVE_TOLERANCE:.0%} of the peak",
            mend="check the background correction",
        )
