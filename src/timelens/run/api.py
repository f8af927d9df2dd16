"""Run a study: from a folder or ``study.yaml`` to a folder of results, for command line and web alike."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from timelens.errors import Problem, UsageError
from timelens.run.collect import collect
from timelens.run.discover import discover
from timelens.run.execute import execute
from timelens.run.files import overlaid, write_text
from timelens.run.inventory import Inventory, read_inventory, write_inventory
from timelens.run.session import Outcome, SessionTask, run_session
from timelens.study.measurement import Measurement

__all__ = ["StudyRun", "open_study", "plan_study", "run_study"]

_log = logging.getLogger("timelens.run")

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


def open_study(source: Path) -> Inventory:
    """A study from ``study.yaml`` or from a folder of scans.

    Raises
    ------
    UsageError
        If there is no such file or folder.
    """
    if source.is_dir():
        return discover(source)
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
    merged = overlaid(inventory.options, options)
    return [
        SessionTask(str(inventory.root.resolve()), str(out.resolve()), entry, merged) for entry in inventory.sessions
    ]


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
        Options over those of the study, by lens and step: ``{"pet": {"segment": {"rule": "suv4"}}}``.
    jobs, dask
        See :func:`timelens.run.execute.execute`.
    ledger
        URL of a PostgreSQL ledger in place of the SQLite file.
    progress
        Called after each session with the number done, the number of all, and its outcome.
    """
    started = datetime.now(UTC)
    out.mkdir(parents=True, exist_ok=True)
    inventory = open_study(source)
    write_inventory(inventory, out / "study.yaml")
    _keep_private_key(inventory, out)
    shutil.rmtree(out / ".work", ignore_errors=True)
    tasks = plan_study(inventory, out, options or {})
    result = StudyRun(out)
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
    result.measurements, result.problems = collect(
        inventory,
        out,
        failed,
        ledger=ledger,
        started=started.isoformat(timespec="seconds"),
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_text(out / "log.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in log))
    shutil.rmtree(out / ".work", ignore_errors=True)
    return result


def _keep_private_key(inventory: Inventory, out: Path) -> None:
    """Alias to the identifier in the files, readable by its owner alone; never part of any other output."""
    if not inventory.private_key:
        return
    path = out / "private" / "subjects.json"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(inventory.private_key, indent=1, ensure_ascii=False), encoding="utf-8")
    write_text(out / ".bidsignore", "private/\n.work/\n")
