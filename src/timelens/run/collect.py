"""From the sessions' folders to the study's tables: identities over time, ledger, CSV and Parquet, provenance."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import timelens
from timelens.errors import Problem
from timelens.run.files import write_json, write_text
from timelens.run.follow import Followed, follow_subject
from timelens.run.inventory import Inventory, SessionEntry
from timelens.run.session import session_folder
from timelens.study.derivative import write_dataset_description
from timelens.study.export import guard, write_csv, write_parquet
from timelens.study.measurement import Measurement
from timelens.study.provenance import Run, SourceFile
from timelens.study.ro_crate import write_crate
from timelens.study.store import Store

__all__ = ["collect"]

_PROBLEM_COLUMNS = (
    "subject", "session", "severity", "message", "file", "field", "found", "expected", "mend",
)  # fmt: skip


def collect(
    inventory: Inventory,
    out: Path,
    failed: Mapping[tuple[str, str], Sequence[Problem]],
    *,
    ledger: str | None = None,
    started: str = "",
    ended: str = "",
) -> tuple[list[Measurement], list[dict[str, str]]]:
    """Join all sessions that are there into the study's tables.

    Parameters
    ----------
    inventory
        The study.
    out
        The folder of results.
    failed
        Problems of sessions that left no folder, by (subject, session).
    ledger
        URL of a PostgreSQL ledger; the SQLite file in ``out`` where None.
    started, ended
        Times of the run, for provenance only.

    Returns
    -------
    measurements, problems
        All rows, and problem records with subject and session.
    """
    records = {(e.subject, e.session): r for e in inventory.sessions if (r := _record(out, e, failed)) is not None}
    followed = _follow(inventory, out, records)
    problems = _all_problems(inventory, records, failed, followed)
    runs: list[Run] = []
    results: dict[str, list[str]] = {}
    with_rows: list[tuple[Run, list[Measurement], list[Problem]]] = []
    for entry in inventory.sessions:
        record = records.get((entry.subject, entry.session))
        if record is None:
            continue
        run = _run(record, started, ended)
        rows = _rows(out, entry, followed.get(entry.subject, Followed()))
        runs.append(run)
        folder = f"{entry.subject}/{entry.session}"
        results[run.id] = [f"{folder}/{name}" for name in (*record["outputs"], "measurements.json")]
        with_rows.append((run, rows, [Problem(**p) for p in record["problems"]]))
    measurements = _ledger(ledger or str(out / "timelens.sqlite"), with_rows)
    write_csv(measurements, out / "measurements.csv")
    write_parquet(measurements, out / "measurements.parquet")
    write_text(out / "problems.csv", _csv(_PROBLEM_COLUMNS, problems))
    _study_files(inventory, out, records)
    write_crate(out, runs, results=results, name=f"timelens results of {inventory.name}")
    return measurements, problems


def _record(
    out: Path, entry: SessionEntry, failed: Mapping[tuple[str, str], Sequence[Problem]]
) -> dict[str, Any] | None:
    """The record of a session's folder; none for a session that failed now (an older state is no result of now)."""
    if (entry.subject, entry.session) in failed:
        return None
    path = session_folder(out, entry) / "session.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _follow(
    inventory: Inventory, out: Path, records: Mapping[tuple[str, str], Mapping[str, Any]]
) -> dict[str, Followed]:
    result = {}
    for subject in dict.fromkeys(e.subject for e in inventory.sessions):
        entries = [e for e in inventory.sessions if e.subject == subject and (subject, e.session) in records]
        entries.sort(key=lambda e: (e.when or "9999", e.session))
        stated = {e.session: e.identity for e in entries}
        found = follow_subject(out / subject, [records[subject, e.session] for e in entries], stated)
        result[subject] = found
        if found.rows:
            write_text(out / subject / "lesions.csv", _csv(tuple(found.rows[0]), found.rows))
    return result


def _rows(out: Path, entry: SessionEntry, followed: Followed) -> list[Measurement]:
    """A session's rows; a lesion bears its identity, and remembers its own name where that differs."""
    path = session_folder(out, entry) / "measurements.json"
    rows = []
    for record in json.loads(path.read_text(encoding="utf-8")):
        row = Measurement(**{k: _number(k, v) for k, v in record.items()})
        identity = followed.identity.get((entry.session, row.acquisition, row.region))
        if identity is not None and identity != row.region:
            flags = "; ".join(p for p in (row.flags, f"{row.region} of this session") if p)
            row = replace(row, region=identity, flags=flags)
        rows.append(row)
    return rows


_NUMBERS = {"value", "uncertainty", "lower", "upper", "level", "time_s"}


def _number(name: str, value: Any) -> Any:
    return float("nan") if value is None and name in _NUMBERS else value


def _run(record: Mapping[str, Any], started: str, ended: str) -> Run:
    run = record["run"]
    return Run(
        tuple(SourceFile(**s) for s in run["inputs"]),
        run["parameters"],
        run["software"],
        run["seed"],
        started,
        ended,
    )


def _ledger(place: str, with_rows: Sequence[tuple[Run, list[Measurement], list[Problem]]]) -> list[Measurement]:
    """Add what is new to the ledger and return the rows of these runs that hold.

    A run that is there already is not added again. Where a later session has given its lesions other identities, the
    rows are corrected: new ones that name the old ones.
    """
    store = Store(place)
    try:
        for run, rows, problems in with_rows:
            if not store.add_run(run, rows, problems=problems):
                for old, new in _renamed(store.current(run=run.id), rows):
                    store.correct(old.id, new)
        held = store.current(run=[run.id for run, _, _ in with_rows])
    finally:
        store.close()
    wanted = [_key(m) for _, rows, _ in with_rows for m in rows]
    place_of = {key: k for k, key in enumerate(wanted)}
    return sorted(held, key=lambda m: place_of[_key(m)])


def _key(row: Measurement) -> tuple[Any, ...]:
    """What tells a row from the others of its run, its region's identity included."""
    return (row.run, row.acquisition, row.region, row.quantity, row.method, repr(row.time_s), repr(row.value), row.n)


def _renamed(old: Sequence[Measurement], new: Sequence[Measurement]) -> list[tuple[Measurement, Measurement]]:
    """Pairs of rows that are the same but for the identity of their region."""
    known = {_key(m) for m in old}
    wanted = {_key(m) for m in new}
    stale: dict[tuple[Any, ...], list[Measurement]] = {}
    for m in old:
        if _key(m) not in wanted:
            stale.setdefault((*_key(m)[:2], *_key(m)[3:]), []).append(m)
    pairs = []
    for m in new:
        waiting = stale.get((*_key(m)[:2], *_key(m)[3:]))
        if _key(m) not in known and waiting:
            pairs.append((waiting.pop(0), m))
    return pairs


def _all_problems(
    inventory: Inventory,
    records: Mapping[tuple[str, str], Mapping[str, Any]],
    failed: Mapping[tuple[str, str], Sequence[Problem]],
    followed: Mapping[str, Followed],
) -> list[dict[str, str]]:
    found: list[dict[str, str]] = [{"subject": "", "session": "", **p.as_dict()} for p in inventory.problems]
    for entry in inventory.sessions:
        key = (entry.subject, entry.session)
        here = [p.as_dict() for p in failed.get(key, ())]
        here += records[key]["problems"] if key in records else []
        found += [{"subject": entry.subject, "session": entry.session, **p} for p in here]
    for subject, result in followed.items():
        found += [{"subject": subject, "session": "", **p.as_dict()} for p in result.problems]
    return found


def _study_files(inventory: Inventory, out: Path, records: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
    links = {"raw": Path(os.path.relpath(inventory.root, out)).as_posix()}
    write_dataset_description(out, name=f"timelens results of {inventory.name}", sources=links)
    write_json(
        out / "study.json",
        {
            "name": inventory.name,
            "version": timelens.__version__,
            "created": "",
            "sessions": [f"{e.subject}/{e.session}" for e in inventory.sessions if (e.subject, e.session) in records],
            "options": inventory.options,
            "participants": inventory.participants,
        },
    )
    traits = sorted({name for values in inventory.participants.values() for name in values})
    subjects = list(dict.fromkeys(e.subject for e in inventory.sessions))
    table = [
        {"participant_id": s, **{t: inventory.participants.get(s, {}).get(t, "n/a") for t in traits}} for s in subjects
    ]
    write_text(out / "participants.tsv", _csv(("participant_id", *traits), table, delimiter="\t"))


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, delimiter: str = ",") -> str:
    import io

    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name, "")) for name in columns])
    return stream.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else repr(value)
    return guard(str(value))
