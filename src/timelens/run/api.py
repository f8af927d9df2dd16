"""Run a study: from a folder or ``study.yaml`` to a folder of results, for command line and web alike."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from timelens.assess.groups import groups_of
from timelens.errors import DataError, Problem, UsageError
from timelens.run.collect import collect
from timelens.run.discover import discover
from timelens.run.execute import execute
from timelens.run.files import clear_drafts, overlaid, put_back, write_text
from timelens.run.groups import group_options
from timelens.run.inventory import Inventory, read_inventory, write_inventory
from timelens.run.lock import LOCK, locked
from timelens.run.session import Outcome, SessionTask, check_options, run_session, session_folder
from timelens.study.derivative import write_dataset_description
from timelens.study.measurement import Measurement

__all__ = ["StudyRun", "open_study", "plan_study", "run_study"]

_log = logging.getLogger("timelens.run")
_KEY_FILE = Path("private") / "subjects.json"

Progress = Callable[[int, int, Outcome], None]


@dataclass
class StudyRun:
    """What a run gave."""

    out: Path
    measurements: list[Measurement] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether everything could be used (warnings aside)."""
        return not any(p["severity"] == "error" for p in self.problems)


def open_study(source: Path, out: Path | None = None) -> Inventory:
    """A study from ``study.yaml`` or from a folder of scans.

    Parameters
    ----------
    source
        The folder or file.
    out
        The folder of results: it is no part of the study where it lies in the folder of scans, and subjects keep the
        aliases that they have there.

    Raises
    ------
    UsageError
        If there is no such file or folder, or the results would go among the scans themselves.
    DataError
        If the list of aliases in ``out`` cannot be read.
    """
    if source.is_dir():
        if out is None:
            return discover(source)
        if out.resolve() == source.resolve():
            raise UsageError(
                "Scans and results would stand in one folder", file=out, field="--out", found="the folder of scans",
                expected="another folder", mend=f"use {out / 'results'}",
            )  # fmt: skip
        return discover(source, skip=[out], known=_private_key(out))
    if source.is_file() and source.suffix in (".yaml", ".yml"):
        return read_inventory(source)
    raise UsageError(
        "There is nothing to run",
        file=source,
        found="a file of another kind" if source.exists() else "no such file or folder",
        expected="a folder of scans, or study.yaml",
    )


def plan_study(inventory: Inventory, out: Path, options: Mapping[str, Any]) -> list[SessionTask]:
    """One task per session."""
    root, target = str(inventory.root.resolve()), str(out.resolve())
    # Who is compared with whom changes nothing in a session.
    shared, stated = ({k: v for k, v in o.items() if k != "groups"} for o in (inventory.options, options))
    tasks = [SessionTask(root, target, entry, shared, stated) for entry in inventory.sessions]
    for task in tasks:
        check_options(task)
    return tasks


def run_study(
    source: Path,
    out: Path,
    *,
    options: Mapping[str, Any] | None = None,
    jobs: int = 1,
    dask: str | None = None,
    ledger: str | None = None,
    progress: Progress | None = None,
) -> StudyRun:
    """Run every session of a study and join the results.

    Parameters
    ----------
    source
        A folder of scans, or ``study.yaml``.
    out
        Folder of results; made if it is not there. What is there and still holds is kept.
    options
        Options over those of the study, by lens and step: ``{"pet": {"segment": {"rule": "suv4"}}}``; groups of
        patients to be compared: ``{"groups": {"by": "arm"}}``.
    jobs, dask
        See :func:`timelens.run.execute.execute`.
    ledger
        URL of a PostgreSQL ledger in place of the SQLite file.
    progress
        Called after each session with the number done, the number of all, and its outcome.

    Raises
    ------
    UsageError
        If another run is writing into ``out``, something else stands there, or an option is unknown.
    """
    started = datetime.now(UTC)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        clear_drafts(out / ".work")
        inventory = open_study(source, out)
        _require_own_folders(inventory, out)
        for entry in inventory.sessions:
            put_back(session_folder(out, entry))
        tasks = plan_study(inventory, out, options or {})
        by = group_options(overlaid(inventory.options, options or {}))
        if by:
            groups_of(inventory.participants, by)  # a trait that is none is refused before hours of work
        _begin(inventory, out)
        result = StudyRun(out)
        failed = _carry_out(tasks, result, jobs, dask, progress)
        result.measurements, result.problems = collect(
            inventory,
            out,
            failed,
            by=by,
            ledger=ledger,
            started=started.isoformat(timespec="seconds"),
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        clear_drafts(out / ".work")
    return result


def _carry_out(
    tasks: Sequence[SessionTask], result: StudyRun, jobs: int, dask: str | None, progress: Progress | None
) -> dict[tuple[str, str], list[Problem]]:
    """Run the tasks; outcomes go into the result and the log, problems of those that failed come back by session."""
    failed: dict[tuple[str, str], list[Problem]] = {}
    log = []
    for number, outcome in execute(run_session, tasks, jobs=jobs, dask=dask):
        if isinstance(outcome, BaseException):
            problem = Problem(
                "The process of this session ended before it was done",
                found=type(outcome).__name__,
                mend="memory may have run out: use fewer --jobs",
            )
            outcome = Outcome(tasks[number].name, "failed", (problem,))
        entry = tasks[number].entry
        if outcome.status == "failed":
            failed[entry.subject, entry.session] = list(outcome.problems)
        result.outcomes.append(outcome)
        log.append({"time": datetime.now(UTC).isoformat(), "session": outcome.name, "status": outcome.status,
                    "problems": [p.message for p in outcome.problems], "detail": outcome.detail})  # fmt: skip
        _log.info("%s: %s", outcome.name, outcome.status)
        if progress is not None:
            progress(len(result.outcomes), len(tasks), outcome)
    write_text(result.out / "log.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in log))
    return failed


def _begin(inventory: Inventory, out: Path) -> None:
    """What stands in the folder of results from the start: what it is, the study, and who its aliases are."""
    links = {"raw": Path(os.path.relpath(inventory.root.resolve(), out.resolve())).as_posix()}
    write_dataset_description(out, name=f"timelens results of {inventory.name}", sources=links)
    write_inventory(inventory, out / "study.yaml")
    _keep_private_key(inventory, out)


def _require_own_folders(inventory: Inventory, out: Path) -> None:
    """Refuse to put results where something else stands: a folder of a session that no run has written."""
    for entry in inventory.sessions:
        folder = session_folder(out, entry)
        if folder.is_dir() and any(folder.iterdir()) and not (folder / "session.json").is_file():
            raise UsageError(
                "A session's folder of results holds something else",
                file=folder,
                field="--out",
                found="no session.json",
                expected="a folder that is empty or that a run has written",
                mend="write the results into another folder",
            )


def _private_key(out: Path) -> dict[str, str]:
    """Alias to identifier from an earlier run into this folder; empty where there is none."""
    path = out / _KEY_FILE
    if not path.is_file():
        return {}
    try:
        key = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        key = None
    if not isinstance(key, dict):
        raise DataError(
            "The list of aliases cannot be read",
            file=path,
            found="no JSON object",
            expected="alias and identifier of each subject",
            mend="restore the file, or write the results into another folder; without it, aliases would be given anew",
        )
    return {str(alias): str(identifier) for alias, identifier in key.items()}


def _keep_private_key(inventory: Inventory, out: Path) -> None:
    """Alias to the identifier in the files, readable by its owner alone; never part of any other output."""
    if not inventory.private_key:
        return
    path = out / _KEY_FILE
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(inventory.private_key, indent=1, ensure_ascii=False), encoding="utf-8")
    draft.replace(path)
    write_text(out / ".bidsignore", f"private/\n.work/\n{LOCK}\n")
