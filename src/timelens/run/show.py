"""How results look on a terminal: tables people like to read, and JSON for programs. Progress goes to stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from timelens.errors import Problem, TimelensError
from timelens.knowledge import quantities
from timelens.run.api import Progress, StudyRun
from timelens.run.files import plain
from timelens.run.inventory import Inventory
from timelens.run.session import Outcome, SessionTask, planned_recipes
from timelens.study.measurement import Measurement

__all__ = ["error", "inventory", "number", "plan", "progress", "result", "rows", "validation", "write_json"]

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)
_HEADLINES = ("suv_max", "suv_peak", "suv_mean", "mtv", "tlg")


def number(value: float | None, digits: int = 4) -> str:
    """Significant digits without an exponent where that reads well; a dash for what is not there."""
    if value is None or value != value:
        return "–"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e" in text else text


def write_json(value: Any) -> None:
    """A value as JSON on stdout."""
    sys.stdout.write(json.dumps(plain(value), indent=1, ensure_ascii=False) + "\n")


def error(problem: TimelensError) -> None:
    """A refusal: what was wrong first, then where, then the mend."""
    _problem(problem.problem)


def _problem(problem: Problem | Mapping[str, str]) -> None:
    facts = problem.as_dict() if isinstance(problem, Problem) else dict(problem)
    colour = "red" if facts["severity"] == "error" else "yellow"
    where = " ".join(w for w in (facts.get("subject", ""), facts.get("session", "")) if w)
    head = Text(f"{facts['severity'].capitalize()}: ", style=f"bold {colour}")
    head.append(f"{where}: " if where else "", style="bold")
    head.append(facts["message"].rstrip(".") + ".", style="")
    _err.print(head)
    for name in ("file", "field", "found", "expected", "mend"):
        if facts.get(name):
            _err.print(Text(f"  {name:9}{facts[name]}", style="dim"), soft_wrap=True)


def simulated(done: int, total: int, name: str) -> None:
    """A line for each subject that was simulated."""
    _err.print(f"[{done}/{total}] {name}: simulated")


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar with subject counts and time left on a terminal, log lines elsewhere."""
    if not _err.is_terminal:
        started = time.monotonic()

        def line(done: int, total: int, outcome: Outcome) -> None:
            _err.print(f"[{done}/{total}] {outcome.name}: {outcome.status} ({time.monotonic() - started:.1f} s)")

        try:
            yield line
        except KeyboardInterrupt:
            _interrupted()
            raise
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=_err, transient=True) as bar:
        task = bar.add_task("Working", total=None)

        def step(done: int, total: int, outcome: Outcome) -> None:
            bar.update(task, completed=done, total=total, description=f"{outcome.name} {outcome.status}")

        try:
            yield step
        except KeyboardInterrupt:
            _interrupted()
            raise


def _interrupted() -> None:
    _err.print("Interrupted. Finished sessions are kept; run the same command again to go on.")


def inventory(found: Inventory, path: Path, *, as_json: bool) -> None:
    """What a folder holds, and what is missing."""
    if as_json:
        write_json(
            {
                "study": found.name,
                "inventory": path,
                "sessions": [vars(entry) for entry in found.sessions],
                "not_used": found.not_used,
                "problems": [p.as_dict() for p in found.problems],
            }
        )
        return
    table = Table(title=f"Study {found.name}", title_justify="left", title_style="bold")
    for column in ("subject", "session", "scan", "what", "regions", "missing"):
        table.add_column(column)
    for entry in found.sessions:
        for row, item in enumerate(entry.acquisitions):
            drawn = [r for r in entry.regions if r.get("drawn_on") == item["id"]]
            missing = ", ".join(item.get("needs", {})) or "–"
            table.add_row(
                entry.subject if row == 0 else "",
                f"{entry.session} {entry.when[:10]}" if row == 0 else "",
                item["modality"],
                item.get("agent") or item.get("description", ""),
                ", ".join(r["id"] for r in drawn) or "–",
                Text(missing, style="yellow" if missing != "–" else ""),
            )
    _out.print(table)
    for problem in found.problems:
        _problem(problem)
    if found.not_used:
        _err.print(f"{len(found.not_used)} other files are not used (listed in the inventory).")
    _out.print(f"Inventory: {path}")
    _out.print(f"Next: correct it where needed, then  timelens run {path} -o results")


def plan(tasks: Sequence[SessionTask], *, as_json: bool) -> bool:
    """The steps of every session, without carrying them out; whether all of them can be."""
    plans = [planned_recipes(task) for task in tasks]
    complete = not any(p["severity"] == "error" for one in plans for p in one["problems"])
    if as_json:
        write_json(plans)
        return complete
    for one in plans:
        _out.print(Text(one["name"], style="bold"))
        for recipe in one["recipes"]:
            _out.print(f"  {recipe['acquisition']} by the lens {recipe['lens']}")
            for step in recipe["steps"]:
                given = ", ".join(f"{k}={v}" for k, v in step["parameters"].items())
                _out.print(f"    {step['name']:15} {given}", soft_wrap=True)
                if step["why"]:
                    _out.print(Text(f"    {'':15} {step['why']}", style="dim"))
        for problem in one["problems"]:
            _problem(problem)
        if not one["recipes"]:
            _out.print("  nothing to measure")
    return complete


def rows(measurements: Sequence[Measurement], problems: Sequence[Problem], *, as_json: bool) -> None:
    """All rows of one image."""
    if as_json:
        write_json([m.as_dict() for m in measurements])
    else:
        table = Table()
        for column, side in (("region", "left"), ("quantity", "left"), ("value", "right"), ("unit", "left"),
                             ("uncertainty", "right"), ("remark", "left")):  # fmt: skip
            table.add_column(column, justify=side)  # type: ignore[arg-type]
        for m in measurements:
            error_text = "–" if m.uncertainty_kind == "none" else f"± {number(m.uncertainty, 2)}"
            table.add_row(m.region, quantities.get(m.quantity).symbol, number(m.value), m.unit, error_text, m.reason)
        _out.print(table)
    for problem in problems:
        _problem(problem)


def result(study: StudyRun, page: Path, *, as_json: bool) -> None:
    """What a run gave: burden per session, problems by name, and where everything is."""
    if as_json:
        write_json(
            {
                "out": study.out,
                "report": page,
                "measurements": len(study.measurements),
                "sessions": {o.name: o.status for o in study.outcomes},
                "problems": study.problems,
            }
        )
        return
    if any(m.quantity in ("mtv", "tmtv") for m in study.measurements):  # other modalities have no lesions to list
        _out.print(_burden(study.measurements))
    for problem in study.problems:
        _problem(problem)
    states = [o.status for o in study.outcomes]
    kept = f", {states.count('kept')} unchanged" if "kept" in states else ""
    failed = f", {states.count('failed')} failed" if "failed" in states else ""
    sessions = f"{len(states)} session{'' if len(states) == 1 else 's'}"
    _out.print(f"{sessions}{kept}{failed}, {len(study.measurements)} measurements.")
    _out.print(f"Table:  {study.out / 'measurements.csv'}")
    _out.print(f"Report: {page}")


def _burden(measurements: Sequence[Measurement]) -> Table:
    """One line a lesion and one a scan; the agent stands there where a session has several."""
    table = Table(title="Lesions", title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    scans = {(m.subject, m.session, m.acquisition, m.agent) for m in measurements if m.quantity in _HEADLINES}
    several = len({scan[:2] for scan in scans}) < len(scans)
    for name in ("subject", "session", *(["agent"] if several else []), "region"):
        table.add_column(name, no_wrap=name != "agent", min_width=12 if name == "agent" else None, overflow="fold")
    shown = [*_HEADLINES]
    for name in shown:
        known = quantities.get(name)
        table.add_column(f"{known.symbol}\n[dim]{known.unit}[/dim]", justify="right", no_wrap=True)
    cells: dict[tuple[str, str, str, str, str], dict[str, Measurement]] = {}
    for m in measurements:
        if m.time_s == m.time_s:
            continue  # frames of a series are in the table, not on the screen
        cells.setdefault((m.subject, m.session, m.acquisition, m.agent, m.region), {}).setdefault(
            "mtv" if m.quantity == "tmtv" else m.quantity, m
        )
    before: tuple[str, ...] = ("", "", "")
    for (subject, session, scan, agent, region), values in cells.items():
        if "mtv" not in values:
            continue
        whole = region == "all lesions"
        style = "bold" if whole else ""
        same, within = before == (subject, session, scan), before[:2] == (subject, session)
        before = (subject, session, scan)
        texts = [number(values[n].value if n in values else None, 4) for n in shown]
        heads = ["" if within else subject, "" if within else session, *(["" if same else agent] if several else [])]
        table.add_row(*map(Text, heads), Text(region, style=style), *texts, style=style)
        if whole:
            table.add_section()
    return table


def validation(found: Sequence[Mapping[str, Any]], files: Sequence[Path], *, as_json: bool) -> None:
    """Bias, spread, coverage and detection limit, one quantity and lesion a line."""
    if as_json:
        write_json(list(found))
        return
    table = Table(title="Validation", title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    least = {"quantity": 11, "lesion": 12}
    for column in ["quantity", "lesion", "truth", "unit", "bias,%", "spread,%", "cover,%", "object,%", "limit", "n"]:
        words = column in ("quantity", "lesion", "unit")
        side: Literal["left", "right"] = "left" if words else "right"
        head = column.replace(",", "\n")
        table.add_column(head, justify=side, no_wrap=not words, overflow="fold", min_width=least.get(column))
    before, case = "", ""
    for row in found:
        known = quantities.find(row["quantity"])
        if before and (row["quantity"], row["case"]) != (before, case):
            table.add_section()
        if row["case"] != case:
            table.add_row(f"[bold]{row['case']}")
            before, case = "", row["case"]
        table.add_row(
            (known.symbol if known else row["quantity"]) if row["quantity"] != before else "",
            row["region"], number(row["truth"], 3), row["unit"], _percent(row["bias_percent"]),
            _percent(row["spread_percent"], sign=""),
            _percent(None if row["coverage_95"] is None else 100 * row["coverage_95"], sign=""),
            _percent(row["bias_object_percent"]), number(row["detection_limit"], 2), str(row["n"]),
        )  # fmt: skip
        before = row["quantity"]
    _out.print(table)
    for file in files:
        _out.print(f"{file}")


def _percent(value: float | None, *, sign: str = "+") -> str:
    return "–" if value is None else f"{value:{sign}.1f}"
