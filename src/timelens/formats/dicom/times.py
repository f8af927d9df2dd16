"""DICOM dates, times and date-times as Python date-times in the clock of the series."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from pathlib import Path

from pydicom.dataset import Dataset

from timelens.errors import FormatError
from timelens.formats.dicom.safe import text

__all__ = ["UNKNOWN_DATE", "da", "dt", "join", "moment", "read_da", "read_dt", "read_tm", "tm", "written_moment"]

#: Stands for the date where only a clock time is known.
UNKNOWN_DATE = date(1900, 1, 1)

_DATE = re.compile(r"(\d{4})[-./]?(\d{2})[-./]?(\d{2})")
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6})\d*)?)?)?")
_DATETIME = re.compile(r"(\d{8})(\d[\d.]*)?([+-]\d{4})?")


def read_da(dataset: Dataset, keyword: str, path: str | Path = "") -> date | None:
    """A date, or None where nothing is written."""
    written = text(dataset, keyword, path)
    return _date(written, keyword, path) if written else None


def read_tm(dataset: Dataset, keyword: str, path: str | Path = "") -> time | None:
    """A time of day, or None where nothing is written."""
    written = text(dataset, keyword, path)
    return _time(written, keyword, path) if written else None


def read_dt(dataset: Dataset, keyword: str, path: str | Path = "", *, zone: str = "") -> datetime | None:
    """A date-time in the zone ``zone`` (+HHMM) of the series, or None where nothing is written.

    An offset in the value is applied where the zone of the series is known; else the clock reading stands.
    """
    written = text(dataset, keyword, path)
    if not written:
        return None
    match = _DATETIME.fullmatch(written)
    if match is None:
        raise _wrong(keyword, path, "YYYYMMDDHHMMSS.FFFFFF")
    day = _date(match[1], keyword, path)
    result = datetime.combine(day, _time(match[2], keyword, path) if match[2] else time())
    if match[3] and re.fullmatch(r"[+-]\d{4}", zone):
        result += _offset(zone) - _offset(match[3])
    return result


def moment(dataset: Dataset, name: str, path: str | Path = "", *, day: date | None = None) -> datetime | None:
    """Date and time of ``<name>Date`` and ``<name>Time``, else of ``<name>DateTime``; None where no time is written.

    ``day`` is taken where the date is absent.
    """
    clock = read_tm(dataset, f"{name}Time", path)
    if clock is None:
        return read_dt(dataset, f"{name}DateTime", path, zone=text(dataset, "TimezoneOffsetFromUTC", path))
    return join(read_da(dataset, f"{name}Date", path) or day, clock)


def written_moment(day: str, clock: str, name: str) -> datetime | None:
    """Date and time from their text; None without a time."""
    if not clock:
        return None
    return join(_date(day, f"{name}Date", "") if day else None, _time(clock, f"{name}Time", ""))


def join(day: date | None, clock: time | None) -> datetime | None:
    """Date and time together, on :data:`UNKNOWN_DATE` where no date is known; None without a time."""
    return None if clock is None else datetime.combine(day or UNKNOWN_DATE, clock)


def da(when: datetime | None) -> str:
    """As a DICOM date; empty for None and for the unknown date."""
    return "" if when is None or when.date() == UNKNOWN_DATE else f"{when:%Y%m%d}"


def tm(when: datetime | None) -> str:
    """As a DICOM time with microseconds."""
    return "" if when is None else f"{when:%H%M%S.%f}"


def dt(when: datetime) -> str:
    """As a DICOM date-time with microseconds."""
    return f"{when:%Y%m%d%H%M%S.%f}"


def _date(written: str, keyword: str, path: str | Path) -> date:
    match = _DATE.fullmatch(written)
    try:
        if match:
            return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        pass
    raise _wrong(keyword, path, "YYYYMMDD")


def _time(written: str, keyword: str, path: str | Path) -> time:
    match = _TIME.fullmatch(written)
    if match:
        hour, minute, second = int(match[1]), int(match[2] or 0), int(match[3] or 0)
        if second == 60:  # a leap second
            return _time(f"{hour:02d}{minute:02d}59.999999", keyword, path)
        if hour < 24 and minute < 60 and second < 60:
            return time(hour, minute, second, int((match[4] or "0").ljust(6, "0")))
    raise _wrong(keyword, path, "HHMMSS.FFFFFF")


def _offset(zone: str) -> timedelta:
    size = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
    return -size if zone[0] == "-" else size


def _wrong(keyword: str, path: str | Path, expected: str) -> FormatError:
    # What was found is not repeated: a damaged date field may hold a date of birth.
    return FormatError(
        "A date or time cannot be read", file=path, field=keyword, expected=expected, mend="correct the header"
    )
