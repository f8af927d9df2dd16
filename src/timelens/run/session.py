"""One session is one task: inputs, parameters and version in, a complete folder out. Running it again changes nothing.

The folder appears by a rename when all of it is there. A run that is killed between putting the old state aside and the
new one in its place leaves both; the next run puts the old one back first (:mod:`timelens.run.files`).
A session whose inputs, parameters and version are those of its folder is not computed again.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from timelens.errors import Problem, TimelensError, UsageError
from timelens.run.files import POOLED, appearing_folder, from_root, overlaid, write_json
from timelens.run.inputs import Inputs, load_inputs, regions_for
from timelens.run.inventory import SessionEntry
from timelens.run.lenses import all_lenses, choose
from timelens.run.outputs import write_result
from timelens.study.contract import Lens, Match, Recipe, Result
from timelens.study.provenance import DEFAULT_SEED
from timelens.study.region import Region

__all__ = ["Outcome", "SessionTask", "check_options", "planned_recipes", "run_session", "session_folder"]

#: Raised when the layout of a session's folder changes, so that old ones are computed anew.
LAYOUT = 4


@dataclass(frozen=True)
class SessionTask:
    """All that one session needs, as plain values that another process or machine can take.

    ``root`` and ``out`` are absolute paths; ``options`` are the study's. The session's own go over them, and
    ``stated``, from the command line, over both.
    """

    root: str
    out: str
    entry: SessionEntry
    options: Mapping[str, Any] = field(default_factory=dict)
    stated: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options_in_force(self) -> dict[str, Any]:
        """Options of the study, the session and the command line, the later over the earlier."""
        return overlaid(overlaid(self.options, self.entry.options), self.stated)

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
    inputs = load_inputs(task.entry, root)
    run = inputs.run(task.entry, task.options_in_force, LAYOUT, DEFAULT_SEED)
    if _is_current(target, run.id):
        record = json.loads((target / "session.json").read_text(encoding="utf-8"))
        return Outcome(task.name, "kept", tuple(Problem(**p) for p in record["problems"]))
    problems = inputs.problems
    results: list[tuple[str, Recipe, Result]] = []
    lenses: dict[str, Lens] = {}
    unused = list(inputs.regions)
    for lens, match, recipe in _recipes(task, inputs, problems):
        primary = next(iter(match.roles.values()))
        drawn = regions_for(primary, inputs.regions)
        unused = [r for r in unused if r.id not in {d.id for d in drawn}]
        try:
            result = lens.quantify(match.roles, drawn, {s.name: s.parameters for s in recipe.steps})
        except TimelensError as error:
            problems.append(error.at(file=primary.where).problem)
            continue
        results.append((primary.id, recipe, result))
        lenses[lens.name] = lens
        problems += result.problems
    results += _pooled(task.entry, lenses, results)
    problems += [_not_used(region) for region in unused]
    if not results and not problems:
        problems.append(
            Problem(
                "No lens measures any scan of this session",
                found=", ".join(sorted({a.modality for a in inputs.acquisitions})) or "no readable scan",
                expected="a PET image",
            )
        )
    problems = list(dict.fromkeys(replace(p, file=from_root(p.file, root)) for p in problems))
    with appearing_folder(target, out / ".work") as draft:
        record = write_result(draft, task.entry, inputs.acquisitions, results, problems, run, root)
        record |= {"key": run.id, "layout": LAYOUT}
        write_json(draft / "session.json", record)
    return Outcome(task.name, "done", tuple(problems))


def _pooled(
    entry: SessionEntry, lenses: Mapping[str, Lens], results: Sequence[tuple[str, Recipe, Result]]
) -> list[tuple[str, Recipe, Result]]:
    """What a lens makes of all its scans of a session together, where it knows how (the regions of a slide)."""
    found = []
    for name, lens in lenses.items():
        own = [(recipe, result) for _, recipe, result in results if recipe.lens == name]
        pooled = getattr(lens, "pooled", None)
        if pooled is None or len(own) < 2:
            continue
        joined = pooled([result for _, result in own], own[0][0].options())
        if joined is not None:
            found.append((f"{entry.subject}_{entry.session}_{name}{POOLED}", Recipe(name, ()), joined))
    return found


def _not_used(region: Region) -> Problem:
    return Problem(
        "The regions of this file lie in the space of no scan that was measured",
        file=region.sources[0].path if region.sources else region.id,
        field="FrameOfReferenceUID",
        found=region.frame or "unknown",
        expected="the frame of reference of a measured scan",
        mend="register the images first, or leave the regions out of study.yaml",
    )


def _recipes(task: SessionTask, inputs: Inputs, problems: list[Problem]) -> Iterator[tuple[Lens, Match, Recipe]]:
    """Every acquisition that a lens measures, with its recipe; supporting scans (a CT, say) serve several."""
    options = task.options_in_force
    waiting = list(inputs.acquisitions)
    while (chosen := choose(waiting, options.get("lens"))) is not None:
        lens, match = chosen
        match = replace(match, lost_regions=tuple(inputs.lost_regions))
        primary = next(iter(match.roles.values()))
        problems += match.set_aside.values()
        done = {primary.id, *match.set_aside, *match.also}
        waiting = [a for a in waiting if a.id not in done]
        yield lens, match, lens.recipe(match, _options_for(lens, options))


def _options_for(lens: Lens, options: Mapping[str, Any]) -> dict[str, Any]:
    """A lens's options; where it builds on another lens, over those of that one as far as it has the same steps."""
    base = getattr(lens, "builds_on", "")
    shared = {step: v for step, v in (options.get(base) or {}).items() if step in getattr(lens, "shared_steps", ())}
    return overlaid(shared, options.get(lens.name) or {})


def planned_recipes(task: SessionTask) -> dict[str, Any]:
    """What a session would do, and what it lacks, as plain data; nothing is computed."""
    inputs = load_inputs(task.entry, Path(task.root))
    problems = inputs.problems
    recipes = []
    for lens, match, recipe in _recipes(task, inputs, problems):
        if not recipe.options().get("animals"):  # animals state their own
            problems += match.missing
        steps = [{"name": s.name, "parameters": dict(s.parameters), "why": s.why} for s in recipe.steps]
        primary = next(iter(match.roles.values()))
        recipes.append({"lens": lens.name, "acquisition": primary.id, "steps": steps})
    return {"name": task.name, "recipes": recipes, "problems": [p.as_dict() for p in problems]}


def check_options(task: SessionTask) -> None:
    """Refuse options that no lens knows before anything is computed.

    Raises
    ------
    UsageError
        If a key is neither a lens nor ``lens``, or a lens refuses a step, parameter or value.
    """
    lenses = all_lenses()
    options = task.options_in_force
    if unknown := set(options) - {"lens", *lenses}:
        raise UsageError(
            "Options stand under the name of a lens",
            field=f"options of {task.name}: {', '.join(sorted(map(str, unknown)))}",
            expected=", ".join(sorted(lenses)) + ", or lens",
            mend="write for example 'pet: {segment: {rule: suv4}}'",
        )
    for name, lens in lenses.items():
        lens.recipe(Match(0.0), options.get(name) or {})


def _is_current(target: Path, key: str) -> bool:
    try:
        record = json.loads((target / "session.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(record.get("key") == key and record.get("layout") == LAYOUT)
