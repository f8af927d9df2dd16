"""``study.yaml``: what a folder of scans holds, in a file that a person can read and correct.

Each acquisition is listed with what its files say. What is missing for quantification stands there as ``?`` with what
it is needed for; whatever a person writes in its place, or changes, goes before the file's own value and is recorded as
stated by the user.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

import timelens
from timelens.errors import DataError, MissingFieldError, Problem, UsageError
from timelens.run.files import write_text
from timelens.study.acquisition import Acquisition

__all__ = ["FIELDS", "UNKNOWN", "Inventory", "SessionEntry", "read_inventory", "stated_values", "write_inventory"]

#: Stands where a value is needed and not known.
UNKNOWN = "?"
#: Fields of an acquisition that a person may state, and how their text is read.
FIELDS: dict[str, type] = {
    "agent": str,
    "radionuclide": str,
    "half_life_s": float,
    "administered_activity_bq": float,
    "administered_time": datetime,
    "assay_time": datetime,
    "residual_activity_bq": float,
    "residual_time": datetime,
    "weight_g": float,
    "height_mm": float,
    "sex": str,
    "species": str,
    "glucose_mmol_per_l": float,
    "cross_calibration": float,
    "decay_correction": str,
    "corrected_image": tuple,
    "decay_reference_time": datetime,
}
_KEYS = {"id", "format", "files", "folder", "modality", "description", "unit", "series", "problems", *FIELDS,
         "pixel_size_um"}  # fmt: skip
_REGION_KEYS = {"id", "format", "files", "folder", "drawn_on", "names", "roles", "series"}
_SESSION_KEYS = {"subject", "session", "when", "acquisitions", "regions", "options", "identity"}
_STUDY_KEYS = {"timelens", "study", "root", "participants", "sessions", "options", "not used", "problems"}
_PROBLEM_KEYS = {f.name for f in fields(Problem)}


@dataclass
class SessionEntry:
    """One session of ``study.yaml``: plain values only."""

    subject: str
    session: str
    when: str = ""
    acquisitions: list[dict[str, Any]] = field(default_factory=list)
    regions: list[dict[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, str] = field(default_factory=dict)


@dataclass
class Inventory:
    """A study as ``study.yaml`` holds it; ``root`` is the folder that file names are relative to."""

    name: str
    root: Path
    sessions: list[SessionEntry]
    participants: dict[str, dict[str, Any]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    not_used: list[str] = field(default_factory=list)
    private_key: dict[str, str] = field(default_factory=dict)


def write_inventory(inventory: Inventory, path: Path) -> None:
    """Write ``study.yaml``; each ``?`` gets a comment that says what the value is needed for."""
    needs: dict[tuple[str, str], str] = {}
    sessions = []
    for entry in inventory.sessions:
        acquisitions = []
        for acquisition in entry.acquisitions:
            shown = {k: v for k, v in acquisition.items() if k != "needs" and v not in (None, "", [], {})}
            for name, why in acquisition.get("needs", {}).items():
                shown[name] = UNKNOWN
                needs[acquisition["id"], name] = why
            acquisitions.append(shown)
        session: dict[str, Any] = {"subject": entry.subject, "session": entry.session}
        for key in ("when", "acquisitions", "regions", "options", "identity"):
            value = acquisitions if key == "acquisitions" else getattr(entry, key)
            if value:
                session[key] = value
        sessions.append(session)
    document = {
        "timelens": timelens.__version__,
        "study": inventory.name,
        "root": _relative(inventory.root, path.parent),
        "participants": inventory.participants,
        "options": inventory.options,
        "sessions": sessions,
        "not used": inventory.not_used,
        "problems": [{k: v for k, v in p.as_dict().items() if v} for p in _lasting(inventory)],
    }
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    write_text(path, _HEAD + _commented(text, needs))


_HEAD = """\
# What timelens found. Correct whatever is wrong: a value written here goes before the file's own.
# A '?' is a value that is needed and not known: write it in place of the '?', or leave it and do without.
# Masses in g, lengths in mm, activities in Bq, times as 2024-03-01T09:30:00.
"""


def _lasting(inventory: Inventory) -> list[Problem]:
    """Problems that a run from the file could not find by itself: those of files that belong to no session."""
    items = [item for entry in inventory.sessions for item in (*entry.acquisitions, *entry.regions)]
    used = {str(place) for item in items for place in (item.get("folder"), *(item.get("files") or ())) if place}
    return [
        p for p in inventory.problems if p.severity == "warning" or not {p.file, Path(p.file).parent.as_posix()} & used
    ]


def _commented(text: str, needs: Mapping[tuple[str, str], str]) -> str:
    current, lines = "", []
    for line in text.splitlines():
        key, _, value = line.strip().removeprefix("- ").partition(": ")
        if key == "id":
            current = value.strip("'\"")
        why = needs.get((current, key)) if value.strip() == f"'{UNKNOWN}'" else None
        lines.append(f"{line}  # needed: {why}" if why else line)
    return "\n".join(lines) + "\n"


def _relative(target: Path, base: Path) -> str:
    return Path(os.path.relpath(target.resolve(), base.resolve())).as_posix()


def read_inventory(path: Path) -> Inventory:
    """Read ``study.yaml``.

    Raises
    ------
    DataError
        If it is not YAML, or a key is unknown or of the wrong kind; the message names it.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(
            "The study file is not YAML", file=path, found=str(error).splitlines()[0], mend="run 'timelens scan' again"
        ) from None
    if not isinstance(document, dict) or not isinstance(document.get("sessions"), list):
        raise DataError("The study file has no list of sessions", file=path, field="sessions", expected="a list")
    _known(document, _STUDY_KEYS, path, "study file")
    root = (path.parent / str(document.get("root", "."))).resolve()
    sessions = [_session(entry, path) for entry in document["sessions"]]
    seen: set[tuple[str, str]] = set()
    for entry in sessions:
        if (entry.subject, entry.session) in seen:
            raise DataError(
                "A session stands twice in the study file", file=path, field=f"{entry.subject}, {entry.session}",
                mend="join the two, or rename one",
            )  # fmt: skip
        seen.add((entry.subject, entry.session))
    return Inventory(
        name=str(document.get("study", path.parent.name)),
        root=root,
        sessions=sessions,
        participants={str(k): dict(v or {}) for k, v in (document.get("participants") or {}).items()},
        options=dict(document.get("options") or {}),
        not_used=[str(item) for item in document.get("not used") or []],
        problems=[_problem(item, path) for item in document.get("problems") or []],
    )


def _problem(item: Any, path: Path) -> Problem:
    if not isinstance(item, dict) or not item.get("message") or item.get("severity") not in ("error", "warning"):
        raise DataError(
            "A problem of the study file is no problem", file=path, field="problems", found=str(item)[:80],
            expected="message and severity (error or warning)", mend="run 'timelens scan' again",
        )  # fmt: skip
    _known(item, _PROBLEM_KEYS, path, "problem")
    facts: dict[str, Any] = {k: str(v) for k, v in item.items()}
    return Problem(**facts)


def _session(entry: Any, path: Path) -> SessionEntry:
    if not isinstance(entry, dict):
        raise DataError("A session is a mapping", file=path, field="sessions", found=type(entry).__name__)
    _known(entry, _SESSION_KEYS, path, "session")
    for key in ("subject", "session"):
        name = str(entry.get(key, ""))
        prefix = {"subject": "sub-", "session": "ses-"}[key]
        if not name.startswith(prefix) or not name[4:].replace("_", "").isalnum():
            raise DataError(
                f"A session's {key} is not a BIDS label",
                file=path,
                field=key,
                found=name or "nothing",
                expected=f"{prefix} and letters or digits",
            )
    ids = [str(a.get("id")) for a in entry.get("acquisitions") or [] if isinstance(a, dict)]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise DataError(
            "Two acquisitions of a session have one id", file=path, field="id", found=", ".join(twice),
            mend="give each an id of its own",
        )  # fmt: skip
    for acquisition in entry.get("acquisitions") or []:
        _known(acquisition, _KEYS, path, f"acquisition {acquisition.get('id', '')}")
        for key in ("id", "format", "modality"):
            if not acquisition.get(key):
                raise MissingFieldError("An acquisition of the study file lacks a key", file=path, field=key)
    for region in entry.get("regions") or []:
        _known(region, _REGION_KEYS, path, f"region {region.get('id', '')}")
    return SessionEntry(
        str(entry["subject"]),
        str(entry["session"]),
        str(entry.get("when") or ""),
        list(entry.get("acquisitions") or []),
        list(entry.get("regions") or []),
        dict(entry.get("options") or {}),
        {str(k): str(v) for k, v in (entry.get("identity") or {}).items()},
    )


def _known(mapping: Mapping[str, Any], known: set[str], path: Path, what: str) -> None:
    if unknown := {str(k) for k in mapping} - known:
        raise DataError(
            f"The {what} has a key that is not known",
            file=path,
            field=", ".join(sorted(unknown)),
            expected=", ".join(sorted(known)),
        )


def stated_values(entry: Mapping[str, Any], acquisition: Acquisition) -> dict[str, Any]:
    """What a person stated in ``study.yaml`` that differs from what the file says.

    Raises
    ------
    UsageError
        If a value is not of the kind that its field takes.
    """
    values = {}
    for name, kind in FIELDS.items():
        text = entry.get(name)
        if text is None or text == UNKNOWN:
            continue
        value = _converted(text, kind, name, str(entry.get("id", "")))
        if value != getattr(acquisition, name):
            values[name] = value
    return values


def _local_time(text: Any) -> datetime:
    """A date with a clock time, as the scanner's clock shows it: no date alone, no time zone."""
    said = text.isoformat() if hasattr(text, "isoformat") else str(text).strip()
    moment = datetime.fromisoformat(said)
    if moment.tzinfo is not None or ":" not in said:
        raise ValueError(said)
    return moment


def _converted(text: Any, kind: type, name: str, acquisition: str) -> Any:
    try:
        if kind is datetime:
            return _local_time(text)
        if kind is tuple:
            return tuple(str(v).upper() for v in (text if isinstance(text, list) else re.split(r"[\\, ]+", str(text))))
        value = kind(text)
    except (TypeError, ValueError):
        value = math.nan
    if value == "" or (isinstance(value, float) and not math.isfinite(value)):
        expected = {
            float: "a number",
            datetime: "the scanner's date and time, such as 2024-03-01T09:30:00, without a time zone",
            str: "text",
        }[kind]
        raise UsageError(
            f"The value of {name} in the study file cannot be used", field=f"{acquisition}: {name}", found=text,
            expected=expected,
        )  # fmt: skip
    return value
