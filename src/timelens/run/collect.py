"""From the sessions' folders to the study's tables: identities over time, ledger, CSV and Parquet, provenance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import timelens
from timelens.errors import Problem
from timelens.formats import nifti
from timelens.run.files import write_json
from timelens.run.follow import Followed, follow_subject
from timelens.run.groups import write_groups
from timelens.run.inventory import Inventory, SessionEntry
from timelens.run.ledger import SessionResults, enter, renamed
from timelens.run.session import session_folder
from timelens.run.slides import check_slides
from timelens.study.export import PROBLEM_COLUMNS, write_csv, write_parquet, write_table
from timelens.study.measurement import Measurement, from_dict
from timelens.study.provenance import Run, SourceFile
from timelens.study.region import Region
from timelens.study.ro_crate import write_crate

__all__ = ["collect"]


def collect(
    inventory: Inventory,
    out: Path,
    failed: Mapping[tuple[str, str], Sequence[Problem]],
    *,
    by: str | None = None,
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
    by
        Trait of participants whose groups are compared; None for the first that fits, empty for none.
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
    results = []
    files: dict[str, list[str]] = {}
    for entry in inventory.sessions:
        if (record := records.get((entry.subject, entry.session))) is not None:
            one = _results(out, entry, record, followed.get(entry.subject, Followed()), started, ended)
            results.append(one)
            folder = f"{entry.subject}/{entry.session}"
            files[one.run.id] = [f"{folder}/{name}" for name in (*record["outputs"], "measurements.json")]
    measurements = enter(ledger or str(out / "timelens.sqlite"), results)
    write_csv(measurements, out / "measurements.csv")
    write_parquet(measurements, out / "measurements.parquet")
    of_study = [*check_slides(records), *write_groups(out, measurements, inventory.participants, records, by)[1]]
    problems += [{"subject": "", "session": "", **p.as_dict()} for p in of_study]
    write_table(out / "problems.csv", ("subject", "session", *PROBLEM_COLUMNS), problems)
    _study_files(inventory, out, records)
    write_crate(out, [one.run for one in results], results=files, name=f"timelens results of {inventory.name}")
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
            write_table(out / subject / "lesions.csv", tuple(found.rows[0]), found.rows)
    return result


def _results(
    out: Path, entry: SessionEntry, record: Mapping[str, Any], followed: Followed, started: str, ended: str
) -> SessionResults:
    """What a session's folder holds, its lesions under their identities."""
    folder = session_folder(out, entry)
    rows = []
    for stored in json.loads((folder / "measurements.json").read_text(encoding="utf-8")):
        row = from_dict(stored)
        animal = "" if row.subject == entry.subject else row.subject
        identity = followed.identity.get((entry.session, row.acquisition, animal, _time(row.time_s), row.region))
        rows.append(renamed(row, identity) if identity is not None else row)
    run = record["run"]
    return SessionResults(
        Run(tuple(SourceFile(**s) for s in run["inputs"]), run["parameters"], run["software"], run["seed"], started,
            ended),
        rows,
        _regions(folder, entry.session, record, followed),
        [Problem(**p) for p in record["problems"]],
        [SourceFile(f"{entry.subject}/{entry.session}/{f['path']}", f["sha256"], f["size"]) for f in record["files"]],
    )  # fmt: skip


def _time(time_s: float) -> float | None:
    return None if time_s != time_s else time_s


def _regions(folder: Path, session: str, record: Mapping[str, Any], followed: Followed) -> Iterator[Region]:
    """The region sets of a session, under the names that its rows bear; the voxels stay on disk."""
    sets: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for region in record["regions"]:
        sets.setdefault((region["acquisition"], region["set"]), []).append(region)
    for (acquisition, name), listed in sets.items():
        first = listed[0]
        lasting = {
            int(r["number"]): followed.identity.get((session, acquisition, r["animal"], r["time_s"], r["name"]), "")
            for r in listed
        }
        yield Region(
            f"{acquisition}: {name}",
            "labels",
            {int(r["number"]): lasting[int(r["number"])] or r["name"] for r in listed},
            nifti.read(folder / first["file"], unit="1").image,
            method=first["method"],
            roles={int(r["number"]): r["role"] for r in listed},
            identity={n: identity for n, identity in lasting.items() if identity},
        )


def _all_problems(
    inventory: Inventory,
    records: Mapping[tuple[str, str], Mapping[str, Any]],
    failed: Mapping[tuple[str, str], Sequence[Problem]],
    followed: Mapping[str, Followed],
) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for entry in inventory.sessions:
        key = (entry.subject, entry.session)
        here = [p.as_dict() for p in failed.get(key, ())]
        here += records[key]["problems"] if key in records else []
        found += [{"subject": entry.subject, "session": entry.session, **p} for p in here]
    told = [{k: v for k, v in p.items() if k not in ("subject", "session")} for p in found]
    of_study = [p for p in inventory.problems if p.as_dict() not in told]
    found = [*({"subject": "", "session": "", **p.as_dict()} for p in of_study), *found]
    for subject, result in followed.items():
        found += [{"subject": subject, "session": "", **p.as_dict()} for p in result.problems]
    return found


def _study_files(inventory: Inventory, out: Path, records: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
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
    write_table(out / "participants.tsv", ("participant_id", *traits), table, delimiter="\t")
