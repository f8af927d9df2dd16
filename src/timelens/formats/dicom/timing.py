"""When frames were measured, and to which moment values are decay-corrected, as DICOM headers state it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from timelens.engines.radioactivity import average_count_rate_time
from timelens.errors import DataError, MissingFieldError, Problem
from timelens.formats.dicom.slices import Slice
from timelens.formats.dicom.times import written_moment
from timelens.study.timing import FrameTiming

__all__ = ["decay_reference", "frame_timing"]

#: Acquisition times are often cut to whole seconds: frames may seem to overlap by that much.
_CUT_S = 1.0
#: Dynamic scans start up to so long before the injection.
_LEAD_S = 300.0
_ONE_MOMENT_S = 1.0

_Frames = Sequence[Sequence[Slice]]


def frame_timing(
    frames: _Frames, *, injected: datetime | None, half_life_s: float | None
) -> tuple[FrameTiming, list[Problem]]:
    """Timing of the frames of a dynamic series.

    Starts come from the acquisition time of each frame, else from the frame reference time less the mean time within
    the frame. Time zero is the injection if it lies before the end of the first frame, else the first frame.

    Raises
    ------
    MissingFieldError
        If the headers give no times.
    DataError
        If frames overlap.
    """
    problems: list[Problem] = []
    where = frames[0][0].where
    durations = [f[0].duration_s for f in frames]
    acquired = [min((s.acquired for s in f if s.acquired is not None), default=None) for f in frames]
    known = [a for a in acquired if a is not None]
    zero: datetime | None = None
    if len(known) == len(frames) and len(set(known)) == len(known):
        zero = known[0]
        start = np.array([(a - zero).total_seconds() for a in known])
    elif all(f[0].reference_s is not None and f[0].duration_s is not None for f in frames):
        start = np.array([_frame_start(f[0], half_life_s) for f in frames])
        start -= start[0]
    elif len(triggers := [f[0].keys.get("trigger") for f in frames]) == len(set(triggers)) and None not in triggers:
        start = np.array(triggers, float) / 1000  # magnetic resonance of one vendor: ms since the first volume
        start -= start[0]
        if (np.diff(start) <= 0).any():
            raise DataError(
                "The trigger times of the volumes do not ascend",
                file=where,
                field="TriggerTime",
                found=[f"{t:g} ms" for t in triggers][:6],
                expected="ascending times in the order of TemporalPositionIdentifier",
                mend="export the series again",
            )
    else:
        raise MissingFieldError(
            "The frames of the dynamic series have no times",
            file=where,
            field="AcquisitionTime, FrameReferenceTime",
            found="nothing, or one time for all",
            expected="a time for each frame",
            mend="export the series with its times",
        )
    if any(d is None or d <= 0 for d in durations):
        gaps = np.diff(start)
        lengths = np.append(gaps, gaps[-1])
        if frames[0][0].record.get("Modality") != "MR":  # whose headers never state one
            problems.append(
                _warning("Frames state no duration; the next start was taken for the end", where, "ActualFrameDuration")
            )
    else:
        lengths = np.array([d for d in durations if d is not None], float)
        over = start[:-1] + lengths[:-1] - start[1:]
        if (over > 1e-3).any() and over.max() <= _CUT_S:
            lengths[:-1] -= np.maximum(over, 0)
            problems.append(
                _warning(
                    "Frames overlap by less than a second, as cut times do; each was ended where the next starts",
                    where,
                    "AcquisitionTime",
                    f"{over.max():.3g} s",
                )
            )
    if injected is not None and zero is not None:
        since = (zero - injected).total_seconds()
        if since >= -_LEAD_S or since >= -float(lengths[0]):
            return FrameTiming(start + since, lengths, "injection"), problems
        problems.append(
            _warning(
                "The injection lies after the scan; frame times count from the first frame",
                where,
                "RadiopharmaceuticalStartDateTime",
                f"{-since:.6g} s after the start of the scan",
            )
        )
    return FrameTiming(start, lengths, "first frame"), problems


def _frame_start(item: Slice, half_life_s: float | None) -> float:
    assert item.reference_s is not None and item.duration_s is not None
    if not half_life_s or item.duration_s <= 0:
        return item.reference_s - item.duration_s / 2
    return item.reference_s - float(average_count_rate_time(item.duration_s, half_life_s))


def decay_reference(
    slices: Sequence[Slice], fields: dict[str, Any], unit: str
) -> tuple[datetime | None, list[Problem]]:
    """The date-time to which the values are decay-corrected; None where they are not, or are no activities.

    ``ADMIN`` is the injection. ``START`` is the series time if that is not after the first acquisition, else the
    private date-time of the vendor, else the time counted back by the frame reference time, else the first acquisition
    (QIBA FDG-PET/CT profile v1.13, appendix G).
    """
    kind = str(slices[0].record.get("DecayCorrection", "")).upper()
    if not any(word in unit for word in ("Bq", "{counts}", "{propc")) or kind in ("", "NONE"):
        return None, []
    where = slices[0].where
    if kind == "ADMIN":
        if fields.get("administered_time") is None:
            return None, [
                _warning(
                    "Decay-corrected to an injection at an unknown time", where, "RadiopharmaceuticalStartDateTime"
                )
            ]
        return fields["administered_time"], []
    earliest = min((s.acquired for s in slices if s.acquired is not None), default=None)
    # From the record: enhanced files say there to which moment they refer.
    said = slices[0].record
    series = written_moment(str(said.get("SeriesDate", "")), str(said.get("SeriesTime", "")), "Series")
    if kind != "START" or earliest is None:
        return None, [_warning("The time of decay correction is not known", where, "DecayCorrection", kind)]
    if series is not None and series <= earliest:
        return series, []
    private = slices[0].record.get("GEPrivateScanDateTime") or slices[0].record.get(
        "SiemensPrivateDecayCorrectionDateTime"
    )
    counted = _counted_back(slices, fields.get("half_life_s"))
    found = _private_moment(private) or counted or earliest
    late = "" if series is None else f"{(series - earliest).total_seconds():.6g} s after the first acquisition"
    problem = _warning(
        f"The series time is not that of the scan; values were taken as decay-corrected to {found}",
        where,
        "SeriesTime",
        late,
    )
    return found, [problem]


def _counted_back(slices: Sequence[Slice], half_life_s: float | None) -> datetime | None:
    moments = []
    for item in slices:
        if not half_life_s or item.acquired is None or not item.reference_s or not item.duration_s:
            return None
        moments.append(item.acquired - timedelta(seconds=_frame_start(item, half_life_s)))
    return min(moments) if (max(moments) - min(moments)).total_seconds() <= _ONE_MOMENT_S else None


def _private_moment(written: Any) -> datetime | None:
    try:
        return datetime.strptime(str(written)[:14], "%Y%m%d%H%M%S")
    except ValueError:
        return None


def _warning(message: str, file: str, field: str, found: str = "") -> Problem:
    return Problem(message, file, field, found, severity="warning")
