"""One session is one task: inputs, parameters and version in, a complete folder out. Running it again changes nothing.

The folder appears by a rename when all of it is there, so a run that is killed leaves either the old state or the new.
A session whose inputs, parameters and version are those of its folder is not computed again.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from timelens.errors import DataError, Problem, TimelensError
from timelens.formats.scan import load_acquisition, load_region
from timelens.run.files import appearing_folder, overlaid, plain, write_json
from timelens.run.inventory import SessionEntry, stated_values
from timelens.run.lenses import choose
from timelens.run.outputs import write_result
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Lens, Match, Recipe, Result
from timelens.study.provenance import Run, SourceFile
from timelens.study.region import Region

__all__ = ["Outcome", "SessionTask", "files_of", "planned_recipes", "run_session", "session_folder"]

#: Raised when the layout of a session's folder changes, so that old ones are computed anew.
LAYOUT = 1


@dataclass(frozen=True)
class SessionTask:
    """All that one session needs, as plain values that another process or machine can take.

    ``root`` and ``out`` are absolute paths; ``options`` are the study's, with the session's own over them.
    """

    root: str
    out: str
    entry: SessionEntry
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Subject and session."""
        return f"{self.entry.subject} {self.entry.session}"


@dataclass(frozen=True)
class Outcome:
    """How a task ended: ``done``, ``kept`` (nothing had changed) or ``failed``; ``detail`` is for the log."""

    name: str
    status: str
    problems: tuple[Problem, ...] = ()
    detail: str = ""


def session_folder(out: Path, entry: SessionEntry) -> Path:
    """Where a session's results stand."""
    return out / entry.subject / entry.session


def run_session(task: SessionTask) -> Outcome:
    """Carry out one session; errors come back as problems, never as exceptions."""
    try:
        return _run(task)
    except TimelensError as error:
        return Outcome(task.name, "failed", (error.problem,))
    except Exception as error:  # noqa: BLE001 - one broken subject leaves the others whole
        problem = Problem(
            f"The session could not be computed: {type(error).__name__}: {error}",
            mend="this is a fault of timelens: please report it with the detail in log.jsonl",
        )
        return Outcome(task.name, "failed", (problem,), traceback.format_exc())


def _run(task: SessionTask) -> Outcome:
    root, out = Path(task.root), Path(task.out)
    target = session_folder(out, task.entry)
    run = _provenance(task, root)
    if _is_current(target, run.id):
        record = json.loads((target / "session.json").read_text(encoding="utf-8"))
        return Outcome(task.name, "kept", tuple(Problem(**p) for p in record["problems"]))
    problems: list[Problem] = []
    acquisitions = _acquisitions(task, root, problems)
    regions = _regions(task, root, acquisitions, problems)
    results: list[tuple[str, Recipe, Result]] = []
    for lens, match, recipe in _recipes(task, acquisitions, problems):
        primary = next(iter(match.roles.values()))
        try:
            drawn = [r for r in regions if r.extra.get("drawn_on") in ("", None, primary.id)]
            result = lens.quantify(match.roles, drawn, {s.name: s.parameters for s in recipe.steps})
        except TimelensError as error:
            if error.exit_code == 2:
                raise
            problems.append(error.at(file=primary.where).problem)
            continue
        results.append((primary.id, recipe, result))
        problems += result.problems
    if not results and not problems:
        problems.append(
            Problem(
                "No lens measures any scan of this session",
                found=", ".join(sorted({a.modality for a in acquisitions})) or "no readable scan",
                expected="a PET image",
            )
        )
    problems = list(dict.fromkeys(problems))
    with appearing_folder(target, out / ".work") as draft:
        record = write_result(draft, task.entry, acquisitions, results, problems, run)
        record |= {"key": run.id, "layout": LAYOUT}
        write_json(draft / "session.json", record)
    return Outcome(task.name, "done", tuple(problems))


def _recipes(
    task: SessionTask, acquisitions: Sequence[Acquisition], problems: list[Problem]
) -> Iterator[tuple[Lens, Match, Recipe]]:
    """Every acquisition that a lens measures, with its recipe; supporting scans (a CT, say) serve several."""
    options = overlaid(task.options, task.entry.options)
    waiting = list(acquisitions)
    while (chosen := choose(waiting, options.get("lens"))) is not None:
        lens, match = chosen
        primary = next(iter(match.roles.values()))
        problems += match.set_aside.values()
        waiting = [a for a in waiting if a is not primary and a.id not in match.set_aside]
        yield lens, match, lens.recipe(match, options.get(lens.name) or {})


def planned_recipes(task: SessionTask) -> dict[str, Any]:
    """What a session would do, and what it lacks, as plain data; nothing is computed."""
    problems: list[Problem] = []
    recipes = []
    acquisitions = _acquisitions(task, Path(task.root), problems)
    for lens, match, recipe in _recipes(task, acquisitions, problems):
        problems += match.missing
        steps = [{"name": s.name, "parameters": dict(s.parameters), "why": s.why} for s in recipe.steps]
        primary = next(iter(match.roles.values()))
        recipes.append({"lens": lens.name, "acquisition": primary.id, "steps": steps})
    return {"name": task.name, "recipes": recipes, "problems": [p.as_dict() for p in problems]}


def _provenance(task: SessionTask, root: Path) -> Run:
    names = {name for item in (*task.entry.acquisitions, *task.entry.regions) for name in files_of(item, root)}
    sources = []
    for name in sorted(names):
        path = root / name
        if not path.is_file():
            raise DataError(
                "A file of the study is not there",
                file=name,
                field="files",
                expected="a file under the study's root",
                mend="run 'timelens scan' again, or correct 'root' in study.yaml",
            )
        sources.append(SourceFile(name, *_hash_and_size(path)))
    parameters = {
        "entry": plain(task.entry.__dict__),
        "options": plain(dict(task.options)),
        "layout": LAYOUT,
    }
    return Run(tuple(sources), parameters)


def _hash_and_size(path: Path) -> tuple[str, int]:
    source = SourceFile.of(path)
    return source.sha256, source.size


def files_of(item: Mapping[str, Any], root: Path) -> list[str]:
    """Names from the root of the files that an entry of ``study.yaml`` stands for."""
    if "folder" in item:
        folder = root / str(item["folder"])
        if not folder.is_dir():
            raise DataError(
                "A folder of the study is not there",
                file=str(item["folder"]),
                field="folder",
                expected="a folder under the study's root",
                mend="run 'timelens scan' again, or correct 'root' in study.yaml",
            )
        return [p.relative_to(root).as_posix() for p in sorted(folder.iterdir()) if p.is_file()]
    return [str(name) for name in item.get("files") or []]


def _is_current(target: Path, key: str) -> bool:
    try:
        record = json.loads((target / "session.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(record.get("key") == key and record.get("layout") == LAYOUT)


def _acquisitions(task: SessionTask, root: Path, problems: list[Problem]) -> list[Acquisition]:
    """Every scan of the session that can be read, with the user's values; the others are problems."""
    found = []
    for entry in task.entry.acquisitions:
        try:
            acquisition = load_acquisition(
                str(entry["format"]),
                [root / name for name in files_of(entry, root)],
                id=str(entry["id"]),
                subject=task.entry.subject,
                session=task.entry.session,
                modality=str(entry["modality"]),
                unit=entry.get("unit") if entry.get("unit") != "?" else None,
                series=str(entry.get("series") or ""),
                root=root,
            )
            if values := stated_values(entry, acquisition):
                acquisition = acquisition.stated(**values)
        except TimelensError as error:
            problems.append(error.at(file=", ".join(files_of(entry, root)[:1])).problem)
            continue
        problems += acquisition.problems
        found.append(acquisition)
    return found


def _regions(
    task: SessionTask, root: Path, acquisitions: Sequence[Acquisition], problems: list[Problem]
) -> list[Region]:
    found = []
    by_id = {a.id: a for a in acquisitions}
    for entry in task.entry.regions:
        on = str(entry.get("drawn_on") or "")
        try:
            region = load_region(
                str(entry["format"]),
                [root / name for name in files_of(entry, root)],
                id=str(entry.get("id") or "regions"),
                on=by_id[on].image.geometry if on in by_id else None,
                root=root,
            )
        except TimelensError as error:
            problems.append(error.at(file=", ".join(files_of(entry, root)[:1])).problem)
            continue
        names = {int(k): str(v) for k, v in (entry.get("names") or {}).items()}
        roles = {int(k): v for k, v in (entry.get("roles") or {}).items()}
        found.append(
            replace(
                region,
                names={**region.names, **names},
                roles={**region.roles, **roles},
                extra={**region.extra, "drawn_on": on},
            )
        )
    return found
