"""Is this blood the blood of this scan? Slips of unit, clock and decay that would give numbers, caught before they do.

Minutes read as seconds make K_i wrong by 60, nCi/mL read as Bq/mL by 37, kBq/mL by 1000. Each is looked for where it
would show: in the span of the samples, in the mean concentration of blood against the dose per body weight, and in
the blood against what the image itself shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.convolve import frame_values
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.inputs import InputFunction
from timelens.errors import DataError, Problem

__all__ = ["check_against_dose", "check_against_image", "check_decay", "covering"]

Floats = NDArray[np.float64]

#: Units taken for another, and the factor by which the values are then wrong.
_SLIPS = {
    "kBq/mL read as Bq/mL": 1e-3,
    "nCi/mL read as Bq/mL": 1 / 37,
    "MBq/mL read as Bq/mL": 1e-6,
    "uCi/mL read as Bq/mL": 1 / 37000,
    "Bq/mL read as kBq/mL": 1e3,
    "Bq/mL read as nCi/mL": 37.0,
    "nCi/mL read as kBq/mL": 1e3 / 37,
    "kBq/mL read as nCi/mL": 37 / 1e3,
}
#: Samples may end before the scan by this part of it; the last one is then held.
HELD_PART = 0.1
#: The first sample has to come within this part of the scan, or this many seconds.
_FIRST_PART, _FIRST_S = 0.02, 60.0
#: Mean SUV of blood over the first ten minutes that a living body shows (g/mL), with room on both sides.
_BLOOD_SUV = (0.25, 40.0)
#: Brightest voxels of the first minutes over the blood of the same frames: arteries show 1, brain without them 0.1;
#: noise of short frames lifts it.
_BRIGHT = (0.03, 25.0)
#: The largest of some regions over the same.
_REGIONS = (0.01, 12.0)
#: Part of the decay constant at which sampled blood has to fall behind the image's to be called uncorrected.
_DECAY_SLOPE = (0.6, 1.6)
#: Blood region over sampled blood: partial volume lowers it, spill-in raises it.
_POOL = (0.15, 4.0)


def covering(curve: InputFunction, frames: Frames, *, file: str = "") -> tuple[InputFunction, list[Problem]]:
    """The input up to the end of the frames; refused where its samples do not span them.

    Raises
    ------
    DataError
        If samples end long before the scan does, begin long after the injection, or last twenty times as long: a slip
        between minutes and seconds, or the wrong file.
    """
    last, end = float(curve.times[-1]), float(frames.end[-1])
    facts: dict[str, Any] = {
        "file": file,
        "field": "time",
        "found": f"last sample at {last:g} s, last frame ends at {end:g} s",
    }
    if last * 60 > 0.5 * end and last * 60 < 3 * end and last < 0.5 * end:
        raise DataError(
            "Blood samples span one sixtieth of the scan: their times are minutes, read as seconds",
            expected="samples up to the end of the scan",
            mend="state the unit of the column time: min; if the blood is right, check the unit of the frame times",
            **facts,
        )
    if last > 20 * end:
        raise DataError(
            "Blood samples last far longer than the scan: one of them is in another unit of time",
            expected="the same unit of time",
            mend="check the units of frame times and of the column time (s or min)",
            **facts,
        )
    if last < (1 - HELD_PART) * end:
        raise DataError(
            "Blood samples end before the scan does",
            expected=f"a sample after {(1 - HELD_PART) * end:g} s",
            mend="add the late samples, or leave the last frames out",
            **facts,
        )
    begins = float(curve.times[np.argmax(curve.values > 0)])
    if begins > max(_FIRST_S, _FIRST_PART * end):
        raise DataError(
            "Blood samples begin too late: the bolus is missing from the integral of the input",
            file=file,
            field="time",
            found=f"first activity at {begins:g} s",
            expected=f"within {max(_FIRST_S, _FIRST_PART * end):g} s of the injection",
            mend="add the early samples, correct the clock (clock_offset_s), or use an image-derived input",
        )
    if last >= end:
        return curve, []
    held = Problem(
        f"The last blood sample was held for {end - last:.0f} s, to the end of the scan", **facts, severity="warning"
    )
    return curve.held_until(end), [held]


def check_against_dose(blood: InputFunction, *, dose_bq: float | None, weight_g: float | None, file: str = "") -> None:
    """The mean concentration of the first ten minutes in units of dose per body weight; no check where these miss.

    Raises
    ------
    DataError
        If no body shows it: nCi, kBq or MBq per mL read as Bq/mL, or a dose or weight in another unit.
    """
    if dose_bq is None or weight_g is None or dose_bq <= 0 or weight_g <= 0:
        return
    end = min(600.0, float(blood.times[-1]))
    mean = float(frame_values(blood.times, blood.values, Frames([0.0], [end]))[0])
    suv = mean * weight_g / dose_bq
    if _BLOOD_SUV[0] <= suv <= _BLOOD_SUV[1]:
        return
    raise DataError(
        "No body shows that concentration in blood after that dose",
        file=file,
        field="whole_blood_radioactivity, plasma_radioactivity",
        found=f"a mean of {mean:.3g} Bq/mL over the first {end / 60:g} min, SUV {suv:.3g}",
        expected=f"SUV {_BLOOD_SUV[0]:g} to {_BLOOD_SUV[1]:g}",
        mend=_likely(suv, 3.0),
    )


def check_against_image(
    blood: InputFunction,
    frames: Frames,
    bright: Floats,
    *,
    pool: bool = False,
    regions: bool = False,
    file: str = "",
) -> None:
    """What the image shows against the blood of the same frames, over the first three minutes.

    Parameters
    ----------
    bright
        (frames,): the brightest voxels of each frame, or the mean of a blood region.
    pool
        Whether it is a blood region, for which the agreement has to be closer; over all frames.
    regions
        Whether there is no image, and ``bright`` is the largest of the regions: tissue shows less of the bolus.

    Raises
    ------
    DataError
        If they differ by orders of magnitude.
    """
    seen = frame_values(blood.times, blood.values, frames)
    early = np.ones(len(frames), bool) if pool else frames.start < max(180.0, float(frames.end[0]))
    inside = early & (seen > 0)
    if not inside.any() or frames.end[-1] > 86400:
        return
    length = frames.duration[inside]
    ratio = float((bright[inside] * length).sum() / (seen[inside] * length).sum())
    low, high = _POOL if pool else _REGIONS if regions else _BRIGHT
    if low <= ratio <= high:
        return
    shown = "the blood region shows" if pool else "the largest region shows" if regions else "the brightest voxels show"
    raise DataError(
        "Blood samples and tissue differ by orders of magnitude",
        file=file,
        field="whole_blood_radioactivity, plasma_radioactivity",
        found=f"{shown} {ratio:.3g} times the sampled blood",
        expected=f"{low:g} to {high:g} times",
        mend=_likely(1.0 / max(ratio, 1e-30), 1.0),
    )


def check_decay(blood: InputFunction, frames: Frames, pool: Floats, half_life_s: float, *, file: str = "") -> None:
    """Refuse blood that falls behind a blood region of the image as fast as the nuclide decays.

    The logarithm of sampled over seen blood is a straight line over time: level where both are decay-corrected, falling
    with the decay constant where only the image is, rising where the samples were corrected twice.
    """
    seen = frame_values(blood.times, blood.values, frames)
    late = (frames.start > 120.0) & (seen > 0) & (pool > 0)
    span = float(np.ptp(frames.middle[late])) if late.sum() >= 5 else 0.0
    constant = np.log(2) / half_life_s
    if constant * span < 0.5:
        return
    slope = np.polyfit(frames.middle[late], np.log(seen[late] / pool[late]), 1, w=np.sqrt(frames.duration[late]))[0]
    if not _DECAY_SLOPE[0] < abs(slope) / constant < _DECAY_SLOPE[1]:
        return  # level, or so steep that decay is not the reason: the region may hold tissue
    behind = slope < 0
    raise DataError(
        "Blood falls behind the blood of the image as if it were not decay-corrected"
        if behind
        else "Blood rises against the blood of the image as if it were decay-corrected twice",
        file=file,
        field="decay_corrected",
        found=f"a slope of {slope / constant:.2g} decay constants",
        expected="0",
        mend=f"write DecayCorrected: {str(not behind).lower()} into the JSON beside the table",
    )


def _likely(found: float, expected: float) -> str:
    """The slips of unit that would explain a factor about as well as each other, the likeliest first."""
    factor = np.log(found / expected)
    off = {name: abs(np.log(slip) - factor) for name, slip in _SLIPS.items()}
    names = sorted((n for n in off if off[n] <= min(off.values()) + 0.5), key=lambda n: off[n])
    return f"check the unit of the samples: {', or '.join(names)}?"
