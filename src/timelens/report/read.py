"""A folder of results, read back: the study, its sessions, their rows and problems.

What the page needs and a file lacks is left empty; what contradicts the form of a file is refused by name. No path that
a file names may lead out of the folder.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from timelens.errors import FormatError, Problem, UsageError
from timelens.knowledge import quantities

__all__ = ["Results", "Row", "SessionResults", "by_region", "read_results"]

_NUMBERS = ("value", "uncertainty", "lower", "upper", "level", "time_s")
_NEEDED = ("subject", "session", "region", "quantity", "value", "unit")
#: Clock times without a date carry this year.
_NO_DATE_YEAR = 1900


@dataclass(frozen=True)
class Row:
    """One row of ``measurements.csv``: the texts by column, and the numbers (NaN where empty)."""

    text: Mapping[str, str]
    value: float
    uncertainty: float
    lower: float
    upper: float
    level: float
    time_s: float

    def __getitem__(self, column: str) -> str:
        return self.text.get(column) or ""

    @property
    def known(self) -> quantities.Quantity:
        """The quantity; rows of unknown ones are left out when reading."""
        return quantities.get(self["quantity"])


@dataclass
class SessionResults:
    """One session: its record, its folder, its rows and problems."""

    subject: str
    session: str
    folder: Path
    record: Mapping[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    order: int = 0

    @property
    def when(self) -> datetime | None:
        """Date-time of the session; None where no date is known."""
        try:
            found = datetime.fromisoformat(str(self.record.get("when") or ""))
        except ValueError:
            return None
        return None if found.year <= _NO_DATE_YEAR else found.replace(tzinfo=None)

    def listed(self, key: str) -> list[Mapping[str, Any]]:
        """The records of a list in ``session.json``."""
        found = self.record.get(key)
        return [r for r in found if isinstance(r, Mapping)] if isinstance(found, list) else []


@dataclass
class Results:
    """A whole study's results."""

    out: Path
    study: Mapping[str, Any]
    sessions: list[SessionResults]
    problems: list[Problem]
    left_out: dict[str, int]


def read_results(out: Path) -> Results:
    """Read a folder of results.

    Raises
    ------
    UsageError
        If it holds no ``study.json`` or ``measurements.csv``.
    FormatError
        If a file cannot be read.
    """
    for name in ("study.json", "measurements.csv"):
        if not (out / name).is_file():
            raise UsageError(
                "The folder holds no results",
                file=out,
                field=name,
                found="no such file",
                expected="a folder that 'timelens run' wrote",
                mend="run 'timelens run INPUT -o OUT' first",
            )
    study = _json(out / "study.json")
    sessions = _sessions(out, study)
    for session in sessions:
        _identify(session)
    by_name = {(s.subject, s.session): s for s in sessions}
    left_out: dict[str, int] = {}
    for row in _rows(out / "measurements.csv"):
        if quantities.find(row["quantity"]) is None:
            left_out[row["quantity"]] = left_out.get(row["quantity"], 0) + 1
            continue
        key = (row["subject"], row["session"])
        if key not in by_name and (bed := _bed_of(row, sessions)) is not None:
            # One of several animals in a bed: it is shown with the scan that all of them were in.
            shown = {**row.text, "region": f"{row['subject']}: {row['region']}"}
            key, row = (bed.subject, bed.session), replace(row, text=shown)
        if key not in by_name:  # a row is never lost because a list is
            by_name[key] = SessionResults(*key, out / key[0] / key[1], order=len(by_name))
            sessions.append(by_name[key])
        by_name[key].rows.append(row)
    problems = _problems(out / "problems.csv", by_name)
    for session in sessions:
        for record in session.listed("problems"):
            problem = _problem({k: str(v) for k, v in record.items()})
            if problem not in session.problems:
                session.problems.append(problem)
    return Results(out, study, sessions, problems, left_out)


def _bed_of(row: Row, sessions: Sequence[SessionResults]) -> SessionResults | None:
    """The session that the row's acquisition belongs to."""
    for session in sessions:
        ids = {record.get("id") for record in session.listed("acquisitions")}
        if session.session == row["session"] and row["acquisition"] in ids:
            return session
    return None


def _sessions(out: Path, study: Mapping[str, Any]) -> list[SessionResults]:
    found: list[SessionResults] = []
    names = study.get("sessions") or []
    for name in names if isinstance(names, list) else []:
        folder = inside(out, str(name))
        parts = str(name).split("/")
        if folder is None or len(parts) != 2:
            raise FormatError(
                "A session is named subject/session",
                file=out / "study.json",
                field="sessions",
                found=name,
                expected="sub-001/ses-01",
            )
        record = _json(folder / "session.json") if (folder / "session.json").is_file() else {}
        found.append(SessionResults(parts[0], parts[1], folder, record))
    count: dict[str, int] = {}
    for session in sorted(found, key=lambda s: (s.when or datetime.max, s.session)):
        session.order = count.get(session.subject, 0)
        count[session.subject] = session.order + 1
    return sorted(found, key=lambda s: (s.subject, s.order))


def by_region(records: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Records of regions by what rows call them: the identity over time where a lesion has one, else its name."""
    named = {str(r.get("name", "")): r for r in records}
    return named | {str(r["identity"]): r for r in records if r.get("identity")}


def _identify(session: SessionResults) -> None:
    """Give the regions of a session the identities over time that the subject's ``lesions.csv`` holds."""
    path = session.folder.parent / "lesions.csv"
    if not path.is_file():
        return
    found = {}
    with path.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            text = {k: v for k, v in line.items() if isinstance(k, str) and isinstance(v, str)}
            if text.get("session") == session.session:
                found[_place(text)] = text.get("identity", "")
    regions = [
        {**r, "identity": found.get(_place({k: str(v) for k, v in r.items()})) or r.get("identity") or ""}
        for r in session.listed("regions")
    ]
    session.record = {**session.record, "regions": regions}


def _place(text: Mapping[str, str]) -> tuple[str, str, str, str]:
    frame = text.get("frame", "")
    return text.get("acquisition", ""), text.get("animal", ""), "" if frame == "0" else frame, text.get("name", "")


def inside(out: Path, name: str) -> Path | None:
    """The path of that name in a folder, or None where it would lead out of it."""
    try:
        path = (out / name).resolve()
    except (OSError, ValueError):
        return None
    return path if path.is_relative_to(out.resolve()) else None


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(
            "The file is not JSON", file=path, found=str(error), expected="a JSON object", mend="run the study again"
        ) from None
    if not isinstance(found, dict):
        raise FormatError("The file holds no JSON object", file=path, found=type(found).__name__, expected="an object")
    return found


def _rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in _NEEDED if name not in (reader.fieldnames or [])]
        if missing:
            raise FormatError(
                "The table of measurements lacks columns",
                file=path,
                field=", ".join(missing),
                found=", ".join(reader.fieldnames or []),
            )
        rows = [_row(record, path, reader.line_num) for record in reader]
    replaced = {row["supersedes"] for row in rows} - {""}
    return [row for row in rows if row["id"] not in replaced]


def _row(record: Mapping[str, Any], path: Path, line: int) -> Row:
    text = {k: v.strip() for k, v in record.items() if isinstance(k, str) and isinstance(v, str)}
    numbers = {}
    for name in _NUMBERS:
        try:
            numbers[name] = float(text.get(name) or math.nan)
        except ValueError:
            raise FormatError(
                "A number cannot be read",
                file=path,
                field=f"{name}, line {line}",
                found=text[name],
                expected="a number",
            ) from None
    return Row(text, **numbers)


def _problems(path: Path, by_name: Mapping[tuple[str, str], SessionResults]) -> list[Problem]:
    """Give each session its problems; what belongs to none of them is the study's."""
    if not path.is_file():
        return []
    of_study: list[Problem] = []
    with path.open(encoding="utf-8", newline="") as stream:
        for record in csv.DictReader(stream):
            problem = _problem({k: v for k, v in record.items() if isinstance(k, str) and isinstance(v, str)})
            session = by_name.get((record.get("subject") or "", record.get("session") or ""))
            target = session.problems if session is not None else of_study
            if problem not in target:
                target.append(problem)
    return of_study


def _problem(record: Mapping[str, str]) -> Problem:
    texts = {k: record.get(k, "") for k in ("message", "file", "field", "found", "expected", "mend")}
    return Problem(**texts, severity="warning" if record.get("severity") == "warning" else "error")
