"""Runs the workloads of this folder, ours and every peer in one go, and keeps the table.

``python benchmarks/harness.py [WORKLOAD ...]`` (what ``make bench`` calls): for each workload it makes one environment
per peer under ``benchmarks/.envs``, prepares the data under ``benchmarks/.data``, runs every contender in a process of
its own, prints the table, keeps it in ``benchmarks/results/<workload>.json`` and writes the page
``docs/benchmarks.md`` anew between its two markers. How a workload is declared stands in ``protocol.py``. Exit 1: a bar
was missed or ours failed.

Options: ``--repeats N``; ``--list``; ``--docs`` (only write the page from the kept results); ``--no-peers``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from protocol import Contender, Row, Workload, load

HELPERS = ("contrast_maps", "harness", "protocol", "squidpy_cells")

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
POOLS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


def workload_files() -> dict[str, Path]:
    """The workloads of this folder by name."""
    return {file.stem: file for file in sorted(HERE.glob("*.py")) if file.stem not in HELPERS}


def machine() -> dict[str, Any]:
    """What the numbers were measured on; nothing that names the machine."""
    cpu, memory = platform.processor() or platform.machine(), 0.0
    try:
        cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text()).group(1)  # type: ignore[union-attr]
    except (OSError, AttributeError):
        pass
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, ValueError):
        pass
    return {
        "cpu": cpu.strip(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "ram_gib": round(memory),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def environment(workload: str, contender: Contender) -> Path:
    """The interpreter that runs a contender; its environment is made, or made anew when its requirements changed."""
    if contender.requirements is None:
        return Path(sys.executable)
    slug = re.sub(r"[^a-z0-9]+", "-", f"{workload}-{contender.name}".lower()).strip("-")
    folder = HERE / ".envs" / slug
    interpreter, stamp = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join((f"# python {contender.python or platform.python_version()}", *contender.requirements)) + "\n"
    if stamp.is_file() and stamp.read_text() == wanted:
        return interpreter
    shutil.rmtree(folder, ignore_errors=True)
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    env = os.environ | {"UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
    print(f"  {contender.name}: making its environment", flush=True)
    if uv:
        python = contender.python or sys.executable
        _call([uv, "venv", "--quiet", "--python", python, str(folder)], env)
        _call([uv, "pip", "install", "--quiet", "--python", str(interpreter), *contender.requirements], env)
    else:
        python = f"python{contender.python}" if contender.python else sys.executable
        _call([python, "-m", "venv", str(folder)], env)
        _call([str(interpreter), "-m", "pip", "install", "--quiet", *contender.requirements], env)
    stamp.write_text(wanted)
    return interpreter


def _call(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.strip().splitlines() if line.strip()]
        raise RuntimeError(said[-1].strip() if said else f"exit status {done.returncode}")
    return done.stdout


def prepared(name: str, file: Path) -> Path:
    """The folder with a workload's data, made anew when the workload file changed."""
    folder = HERE / ".data" / name
    stamp, wanted = folder / "made-by.txt", hashlib.sha256(file.read_bytes()).hexdigest()
    if not (stamp.is_file() and stamp.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _call([sys.executable, str(HERE / "protocol.py"), str(file), "prepare", str(folder), "0"], dict(os.environ))
        stamp.write_text(wanted)
    return folder


def contend(name: str, file: Path, workload: Workload, contender: Contender, data: Path, repeats: int) -> Row:
    """Measure one contender in processes of its own; what fails is a row with the reason."""
    threads = str(workload.threads or machine()["cores"])
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | dict.fromkeys(POOLS, threads)
    try:
        interpreter = environment(name, contender)
        processes, inside = (repeats, 1) if workload.cold else (1, repeats)
        command = [str(interpreter), str(HERE / "protocol.py"), str(file), contender.name, str(data), str(inside)]
        rows = [Row(**json.loads(_call(command, env).splitlines()[-1])) for _ in range(processes)]
    except (RuntimeError, OSError, ValueError, IndexError) as error:
        return Row(contender.name, not_run=str(error).replace(str(HERE.parent), "."))
    row = rows[-1]
    row.repeats = repeats
    row.first_seconds = rows[0].first_seconds
    row.seconds = statistics.median(each.seconds for each in rows)
    row.best_seconds = min(each.best_seconds for each in rows)
    row.peak_mib = max(each.peak_mib for each in rows)
    return row


def run(name: str, repeats: int | None = None, *, peers: bool = True) -> dict[str, Any]:
    """All contenders of one workload, as the record that is kept."""
    file = workload_files()[name]
    workload = load(file)
    print(f"{workload.title} ({name})", flush=True)
    data = prepared(name, file)
    contenders = workload.contenders if peers else workload.contenders[:1]
    count = repeats or workload.repeats
    rows = {each.name: contend(name, file, workload, each, data, count) for each in contenders}
    return {
        "workload": name,
        "title": workload.title,
        "about": workload.about,
        "date": date.today().isoformat(),
        "machine": machine(),
        "threads": workload.threads or machine()["cores"],
        "cold": workload.cold,
        "rows": [asdict(row) for row in rows.values()],
        "bars": [{"text": bar.text, "holds": _holds(bar.holds, rows)} for bar in workload.bars] if peers else [],
    }


def _holds(check: Any, rows: dict[str, Row]) -> bool | None:
    """Kept or missed; None where a row that the bar needs was not run."""
    try:
        return bool(check({name: row for name, row in rows.items() if not row.not_run}))
    except KeyError:
        return None


def _figure(value: float | None, unit: str = "") -> str:
    if value is None or not math.isfinite(value):
        return "-"
    if unit == "s":
        return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"
    return f"{value:.3g}"


def table(record: dict[str, Any]) -> list[list[str]]:
    """Head and lines of a record's table, as text."""
    ours = record["rows"][0]["seconds"]
    lines = [["contender", "time (median)", "best", "ours / peer", "peak memory", "error", "notes"]]
    for row in record["rows"]:
        if row["not_run"]:
            lines.append([row["name"], "not run", "-", "-", "-", "-", row["not_run"]])
            continue
        notes = ", ".join(
            f"{key} {value if isinstance(value, str) else _figure(value)}" for key, value in row["notes"].items()
        )
        lines.append(
            [
                row["name"],
                _figure(row["seconds"], "s"),
                _figure(row["best_seconds"], "s"),
                _figure(ours / row["seconds"]),
                f"{row['peak_mib']:.0f} MiB",
                _figure(row["error"]),
                notes or "-",
            ]
        )
    return lines


def verdict(bar: dict[str, Any]) -> str:
    """A bar in words."""
    return {True: "kept", False: "missed", None: "not measured"}[bar["holds"]] + f": {bar['text']}"


def show(record: dict[str, Any]) -> None:
    """Print a record's table."""
    lines = table(record)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for bar in record["bars"]:
        print(f"  {verdict(bar)}")
    print(flush=True)


def write_page() -> None:
    """The tables of all kept results, between the markers of the documentation page."""
    parts: list[str] = []
    for file in sorted((HERE / "results").glob("*.json")):
        record = json.loads(file.read_text())
        of = record["machine"]
        head, *lines = [[cell.replace("|", "\\|") for cell in line] for line in table(record)]
        parts += [f"## {record['title']}", "", record["about"], "", "| " + " | ".join(head) + " |"]
        parts += ["|" + "---|" * len(head), *("| " + " | ".join(line) + " |" for line in lines), ""]
        parts += [*(f"- Bar {verdict(bar)}" for bar in record["bars"]), ""] if record["bars"] else []
        calls = "new processes" if record["cold"] else "calls after one unmeasured call"
        parts += [
            f"Measured {record['date']}: {of['cpu']}, {of['cores']} cores, {of['ram_gib']} GiB, {of['system']}, "
            f"Python {of['python']}; {record['threads']} threads for everybody; "
            f"{record['rows'][0]['repeats']} {calls}.",
            "",
        ]
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text("\n".join([before + BEGIN, "", *parts, END]) + after)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Run benchmarks, ours and peers, and keep the table.")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="which ones (default: all)")
    parser.add_argument("--repeats", type=int, help="how often the work is timed")
    parser.add_argument("--no-peers", action="store_true", help="only ours; nothing is kept")
    parser.add_argument("--list", action="store_true", help="name the workloads")
    parser.add_argument("--docs", action="store_true", help="only write the documentation page from the kept results")
    options = parser.parse_args()
    files = workload_files()
    if options.list:
        print("\n".join(files))
        return 0
    unknown = sorted(set(options.workloads) - set(files))
    if unknown:
        parser.error(f"no such workload: {', '.join(unknown)}; known: {', '.join(files)}")
    good = True
    for name in [] if options.docs else options.workloads or list(files):
        record = run(name, options.repeats, peers=not options.no_peers)
        show(record)
        good &= not record["rows"][0]["not_run"] and all(bar["holds"] is not False for bar in record["bars"])
        if not options.no_peers:
            (HERE / "results" / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    if not options.no_peers:
        write_page()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
