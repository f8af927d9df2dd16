"""Dates and times as DICOM writes them, kept exact: the decay of 18F in a microsecond is 1 part in 10^10."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

from timelens.errors import DataError

__all__ = ["Instant", "parse_date", "parse_datetime", "parse_time", "text_of", "zone_offset"]

_DAY_S = 86400.0
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,9}))?)?)?")
_DATE = re.compile(r"(\d{4})([-./]?)(\d{2})\2(\d{2})")
_DATETIME = re.compile(r"(\d{8})(\d{2}\d{0,4}(?:\.\d{1,9})?)?([+-]\d{4})?")


@dataclass(frozen=True, order=True)
class Instant:
    """A date and the seconds since its midnight: exact where a count-back gives fractions of a microsecond."""

    date: dt.date
    seconds: float

    def __sub__(self, other: Instant) -> float:
        return (self.date - other.date).days * _DAY_S + (self.seconds - other.seconds)

    def shifted(self, seconds: float) -> Instant:
        """The instant so many seconds later."""
        days, rest = divmod(self.seconds + seconds, _DAY_S)
        return Instant(self.date + dt.timedelta(days=int(days)), rest)

    def datetime(self) -> dt.datetime:
        """The nearest microsecond, without time zone."""
        return dt.datetime.combine(self.date, dt.time()) + dt.timedelta(seconds=self.seconds)

    @classmethod
    def of(cls, moment: dt.datetime) -> Instant:
        """From a datetime; its time zone, if any, is not looked at."""
        midnight = dt.datetime.combine(moment.date(), dt.time())
        return cls(moment.date(), (moment.replace(tzinfo=None) - midnight) / dt.timedelta(seconds=1))

    def __str__(self) -> str:
        return self.datetime().isoformat(sep=" ")


def text_of(value: Any) -> str:
    """A value as text, without the padding of DICOM; nothing gives empty text."""
    return "" if value is None else str(value).strip(" \0")


def parse_date(value: Any, field: str = "date") -> dt.date | None:
    """A DICOM date (YYYYMMDD, also with dots or dashes), or None where nothing is written."""
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    text = text_of(value)
    if not text:
        return None
    match = _DATE.fullmatch(text)
    try:
        if match:
            return dt.date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        pass
    raise DataError("Not a date", field=field, found=f"{len(text)} characters", expected="YYYYMMDD", mend="correct it")


def parse_time(value: Any, field: str = "time") -> float | None:
    """A DICOM time (HHMMSS.FFFFFF, possibly cut short) as seconds since midnight, or None where nothing is written."""
    if isinstance(value, dt.datetime):
        value = value.time()
    if isinstance(value, dt.time):
        return value.hour * 3600.0 + value.minute * 60.0 + value.second + value.microsecond / 1e6
    text = text_of(value)
    if not text:
        return None
    match = _TIME.fullmatch(text)
    if match:
        hours, minutes, whole = int(match[1]), int(match[2] or 0), int(match[3] or 0)
        if hours < 24 and minutes < 60 and whole <= 60:  # 60: a leap second
            return hours * 3600.0 + minutes * 60.0 + float(f"{whole}.{match[4] or 0}")
    raise DataError("Not a time", field=field, found=repr(text), expected="HHMMSS.FFFFFF", mend="correct the header")


def parse_datetime(
    value: Any, field: str = "date-time", *, zone_s: float | None = None, notes: list[str] | None = None
) -> Instant | None:
    """A DICOM date-time (YYYYMMDDHHMMSS.FFFFFF&ZZXX) in the zone of the series, or None where nothing is written.

    An offset in the value is applied where the zone of the series (Timezone Offset From UTC) is known; else the clock
    reading stands, and ``notes`` says so.
    """
    if isinstance(value, dt.datetime):
        instant, offset = Instant.of(value), value.utcoffset()
        own = None if offset is None else offset.total_seconds()
    else:
        text = text_of(value)
        if not text:
            return None
        match = _DATETIME.fullmatch(text)
        if match is None or match[2] is None:
            raise DataError(
                "Not a date and time",
                field=field,
                found=f"{len(text)} characters",
                expected="YYYYMMDDHHMMSS",
                mend="correct the header",
            )
        date, seconds = parse_date(match[1], field), parse_time(match[2], field)
        assert date is not None  # the pattern leaves no empty part
        assert seconds is not None
        instant, own = Instant(date, seconds), zone_offset(match[3] or "")
    if own is not None and zone_s is not None:
        return instant.shifted(zone_s - own)
    if own is not None and notes is not None:
        notes.append(f"{field} names a time zone and the series none: its clock reading was used")
    return instant


def zone_offset(text: str) -> float | None:
    """Seconds east of UTC of an offset such as ``+0100``, or None where the text is none."""
    if not re.fullmatch(r"[+-]\d{4}", text):
        return None
    sign = -1.0 if text[0] == "-" else 1.0
    return sign * (int(text[1:3]) * 3600.0 + int(text[3:5]) * 60.0)
