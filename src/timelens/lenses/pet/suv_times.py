"""Which time the stored values refer to, and when the injection was: the two questions that make or break an SUV.

The reference follows the vendor-neutral pseudo-code of the QIBA FDG-PET/CT profile (v1.13, 2016, appendix G). Decay
correction START means one moment for the whole series: the series time, unless that lies after the acquisition. Then
the series was post-processed, its time is that of its making, and the moment is the private GE (or Siemens)
date-time, else counted back from each image by its frame reference time, else the earliest acquisition time.

An injection that says only its time of day gets the date of the reference, or the day before where it would fall after
it. Dates that contradict each other are refused: shifting one of them is a known fault of de-identification.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from timelens.engines.radioactivity import average_count_rate_time
from timelens.errors import DataError, MissingFieldError
from timelens.lenses.pet.dicom_time import Instant
from timelens.lenses.pet.suv_audit import TagUsed
from timelens.lenses.pet.suv_header import PetInstance, PetSeriesHeader

__all__ = ["Injection", "Reference", "candidates", "injection_time", "reference_time"]

# A time of day without a date is only trusted where a wrong day would show: below half a day of half-life
# (all of 11C, 13N, 15O, 18F, 44Sc, 68Ga, 82Rb; none of 64Cu, 86Y, 89Zr, 124I).
DATELESS_HALF_LIFE_S = 41400.0
# After so many half-lives less than 0.1 % is left, and nobody scans.
MOST_HALF_LIVES = 10.0
# A day guessed for an injection must make a scan that somebody would do.
MOST_HALF_LIVES_DATELESS = 6.0
UNUSUAL_HALF_LIVES = 4.0
# Dynamic scans start a little before the injection.
LEAD_S = 300.0
# Images of one series that disagree more about their common reference deserve a note.
SPREAD_S = 5.0
# Frame reference times that point so far from the series time deserve one too.
CONTRADICTION_S = 60.0

_SERIES_TAGS = ("SeriesDate and SeriesTime", "(0008,0021) (0008,0031)")
_ACQUISITION_TAGS = ("AcquisitionDate and AcquisitionTime", "(0008,0022) (0008,0032)")


@dataclass(frozen=True)
class Reference:
    """The moment to which each image is decay-corrected, the rule that found it, and the tags it used."""

    rule: str
    instants: tuple[Instant, ...]
    tags: tuple[TagUsed, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Injection:
    """The moment of injection, the tags it was read from, and what was assumed."""

    instant: Instant
    tags: tuple[TagUsed, ...]
    notes: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()


def candidates(header: PetSeriesHeader, half_life_s: float | None) -> dict[str, tuple[Instant, ...]]:
    """Every moment that the header offers as reference: rule to one instant per image."""
    count = len(header.instances)
    found: dict[str, tuple[Instant, ...]] = {}
    if header.series is not None:
        found["series_time"] = (header.series,) * count
    for name in ("ge_scan", "siemens_decay"):
        private = [getattr(instance, name) for instance in header.instances]
        if all(instant is not None for instant in private):
            found[f"{name.split('_')[0]}_private"] = tuple(private)
    if half_life_s is not None:
        counted = [_counted_back(instance, half_life_s) for instance in header.instances]
        if counted and all(instant is not None for instant in counted):
            found["frame_reference_time"] = tuple(instant for instant in counted if instant is not None)
    earliest = header.earliest_acquisition
    if earliest is not None:
        found["acquisition_time"] = (earliest,) * count
    return found


def reference_time(header: PetSeriesHeader, half_life_s: float) -> Reference:
    """The moment to which values with decay correction START are referenced.

    Raises
    ------
    MissingFieldError
        No acquisition time: whether the series time is that of the scan cannot be known; or no time at all.
    """
    offered = candidates(header, half_life_s)
    earliest = header.earliest_acquisition
    notes: list[str] = []
    if earliest is None and not {"ge_private", "siemens_private"} & set(offered):
        raise MissingFieldError(
            "The time to which the values are decay-corrected cannot be told without an acquisition time",
            file=header.source,
            field="AcquisitionTime",
            found="nothing",
            expected="a date and time in each image",
            mend="write decay_reference_time in study.yaml",
        )
    if header.series is not None and earliest is not None and header.series <= earliest:
        return Reference(
            "series_time", offered["series_time"], (_tag(*_SERIES_TAGS, header.series),), _contradicted(offered)
        )
    if header.series is None:
        notes.append("SeriesTime is absent: the acquisition was taken for the reference")
    elif earliest is not None:
        late = header.series - earliest
        notes.append(f"the series time is {late:.6g} s after the first acquisition: a post-processed series")
    for rule, key, tag in (
        ("ge_private", "GEPrivateScanDateTime", "(0009,xx0D) GEMS_PETD_01"),
        ("siemens_private", "SiemensPrivateDecayCorrectionDateTime", "(0071,xx22) SIEMENS MED PT"),
    ):
        if rule in offered:
            return Reference(rule, offered[rule], (_tag(key, tag, offered[rule][0]),), tuple(notes))
    assert earliest is not None  # without it, only the private rules come this far
    if "frame_reference_time" in offered:
        return _by_frame(header, offered["frame_reference_time"], notes)
    notes.append("no usable frame reference time and duration in every image: the earliest acquisition time was used")
    return Reference(
        "acquisition_time", offered["acquisition_time"], (_tag(*_ACQUISITION_TAGS, earliest),), tuple(notes)
    )


def _contradicted(offered: dict[str, tuple[Instant, ...]]) -> tuple[str, ...]:
    """A note where the frame reference times point to another moment than the series time."""
    if "frame_reference_time" not in offered:
        return ()
    apart = offered["frame_reference_time"][0] - offered["series_time"][0]
    if abs(apart) <= CONTRADICTION_S:
        return ()
    return (f"counted back by its frame reference time, the first image refers to {apart:+.6g} s from the series time",)


def _by_frame(header: PetSeriesHeader, instants: tuple[Instant, ...], notes: list[str]) -> Reference:
    spread = max(instants) - min(instants)
    if spread > SPREAD_S:
        notes.append(
            f"the images disagree by {spread:.6g} s about their common reference; each was given the one it states"
        )
    first = header.instances[0]
    assert first.acquisition is not None
    tags = (
        _tag(*_ACQUISITION_TAGS, first.acquisition),
        _tag("FrameReferenceTime", "(0054,1300)", f"{first.frame_reference_time_ms} ms"),
        _tag("ActualFrameDuration", "(0018,1242)", f"{first.actual_frame_duration_ms} ms"),
    )
    return Reference("frame_reference_time", instants, tags, tuple(notes))


def _counted_back(instance: PetInstance, half_life_s: float) -> Instant | None:
    """Start of the scan from one image: acquisition + average count rate time in the frame - frame reference time."""
    offset, duration = instance.frame_reference_time_ms, instance.actual_frame_duration_ms
    if instance.acquisition is None or not offset or not duration or offset <= 0 or duration <= 0:
        return None
    within = float(average_count_rate_time(duration / 1000, half_life_s))
    return instance.acquisition.shifted(within - offset / 1000)


def injection_time(header: PetSeriesHeader, reference: Instant, half_life_s: float) -> Injection:
    """The moment of injection, plausible against the reference time.

    Raises
    ------
    MissingFieldError
        Neither date-time nor time is given, or only a time of day for a long-lived nuclide.
    DataError
        The injection lies after the scan or implausibly long before it.
    """
    if header.injection is not None:
        return _dated(header, header.injection, reference, half_life_s)
    if header.injection_time_s is None:
        raise MissingFieldError(
            "The time of injection is not known",
            file=header.source,
            field="RadiopharmaceuticalStartDateTime, RadiopharmaceuticalStartTime",
            found=f"{header.administrations} administrations" if header.administrations > 1 else "nothing",
            expected="a date and time",
            mend="write administered_time in study.yaml",
        )
    return _dateless(header, header.injection_time_s, reference, half_life_s)


def _dated(header: PetSeriesHeader, injection: Instant, reference: Instant, half_life_s: float) -> Injection:
    elapsed = reference - injection
    notes: list[str] = []
    if elapsed < 0 and not _leads(header, injection, elapsed):
        raise _shifted(header, f"injection {-elapsed:.6g} s after the reference time of the scan")
    if elapsed > MOST_HALF_LIVES * half_life_s:
        raise _shifted(header, f"injection {elapsed / half_life_s:.1f} half-lives before the scan")
    if elapsed < 0:
        notes.append(_lead_note(elapsed))
    if elapsed > UNUSUAL_HALF_LIVES * half_life_s:
        notes.append(f"the scan was {elapsed / half_life_s:.1f} half-lives after the injection")
    clock = header.injection_time_s
    if clock is not None and abs(clock - injection.seconds) > 1.0:
        notes.append(
            f"RadiopharmaceuticalStartTime differs from the date-time by {clock - injection.seconds:+.6g} s; "
            "the date-time was used"
        )
    tag = _tag("RadiopharmaceuticalStartDateTime", "(0018,1078)", injection)
    return Injection(injection, (tag,), tuple(notes))


def _dateless(header: PetSeriesHeader, clock: float, reference: Instant, half_life_s: float) -> Injection:
    if half_life_s >= DATELESS_HALF_LIFE_S:
        raise MissingFieldError(
            "The day of the injection is not known, and this nuclide lives long enough for several days to be possible",
            file=header.source,
            field="RadiopharmaceuticalStartDateTime",
            found=f"a time of day, half-life {half_life_s:g} s",
            expected="a date and time",
            mend="write administered_time (date and time) in study.yaml",
        )
    notes: list[str] = []
    same_day = Instant(reference.date, clock)
    elapsed = reference - same_day
    if elapsed < 0 and _leads(header, same_day, elapsed):
        notes.append(_lead_note(elapsed))
        instant, default = same_day, "the day of the injection is that of the scan"
    elif elapsed < 0:
        instant, default = Instant(reference.date - dt.timedelta(days=1), clock), "injected the day before the scan"
        notes.append("the time of injection is later in the day than the scan: midnight was crossed in between")
    else:
        instant, default = same_day, "the day of the injection is that of the scan"
    half_lives = (reference - instant) / half_life_s
    if half_lives > MOST_HALF_LIVES_DATELESS:
        raise DataError(
            "The time of injection does not fit the scan on the same day, nor on the day before",
            file=header.source,
            field="RadiopharmaceuticalStartTime",
            found=f"{half_lives:.1f} half-lives before the scan"
            + (f", or {-elapsed:.6g} s after it" if elapsed < 0 else ""),
            expected=f"before the scan, by at most {MOST_HALF_LIVES_DATELESS:g} half-lives",
            mend="write administered_time (date and time) in study.yaml",
        )
    tag = _tag("RadiopharmaceuticalStartTime", "(0018,1072)", _clock(clock))
    return Injection(instant, (tag,), tuple(notes), (f"RadiopharmaceuticalStartDateTime is absent: {default}",))


def _leads(header: PetSeriesHeader, injection: Instant, elapsed: float) -> bool:
    """Whether the scan ran when the injection was given: a dynamic scan started ahead of it."""
    end = header.acquisition_end
    return -elapsed <= LEAD_S and end is not None and injection < end


def _lead_note(elapsed: float) -> str:
    return f"the scan began {-elapsed:.6g} s before the injection: a dynamic scan"


def _shifted(header: PetSeriesHeader, found: str) -> DataError:
    return DataError(
        "The dates of injection and scan contradict each other; de-identification may have shifted one of them",
        file=header.source,
        field="RadiopharmaceuticalStartDateTime",
        found=found,
        expected=f"an injection before the scan, by at most {MOST_HALF_LIVES:g} half-lives",
        mend="write administered_time (date and time) in study.yaml",
    )


def _tag(keyword: str, tag: str, value: object) -> TagUsed:
    return TagUsed(keyword, tag, str(value))


def _clock(seconds: float) -> str:
    return str(dt.timedelta(seconds=seconds))
