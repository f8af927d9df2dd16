"""How long the knowledge base takes to load in a new process, and how long a question to it takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocol import Bar, Contender, Workload


def compiled(data: Path) -> Callable[[], object]:
    """Ours: the compiled file, nothing imported before."""

    def load() -> object:
        from timelens.knowledge.load import store

        return store()

    return load


def from_sources(data: Path) -> Callable[[], object]:
    """The same records from their YAML and CSV files, validated: what a load would cost without compiling."""
    from timelens.knowledge import build

    return lambda: build.read_sources()


def questions() -> dict[str, Callable[[], object]]:
    """The questions whose time is noted."""
    from timelens.knowledge import agents, dicom_codes, paths

    return {
        "resolve": lambda: agents.resolve("Zr-89 atezolizumab"),
        "unknown name": lambda: agents.resolve("68Ga-nosuchpeptide-17"),
        "search": lambda: agents.search(target="FAP", modality="PET", stage="clinical"),
        "path": lambda: paths.ask("how can I see M2 macrophages?"),
        "DICOM code": lambda: dicom_codes.nuclide("C-111A1", "SRT"),
    }


def judge(result: Any, data: Path) -> dict[str, float | str]:
    """Milliseconds of each question, median of 50 after one unmeasured (for the compiled file only)."""
    if not hasattr(result, "exact"):
        return {}
    from timelens.knowledge.spelling import read

    notes: dict[str, float | str] = {"agents": len(result.agents.rows)}
    for name, ask in questions().items():
        ask()
        times = []
        for _ in range(50):
            read.cache_clear()
            started = time.perf_counter()
            ask()
            times.append(1e3 * (time.perf_counter() - started))
        notes[f"{name} ms"] = statistics.median(times)
    return notes


def _slowest(notes: dict[str, Any]) -> float:
    return max(value for name, value in notes.items() if name.endswith(" ms"))


WORKLOAD = Workload(
    title="Knowledge base: load and ask",
    about="The time to have every record in memory, imports of our own modules included, each repeat in a new process; "
    "beside it the same records read from their YAML and CSV files. The notes give the milliseconds of a question.",
    contenders=(
        Contender("timelens", compiled),
        Contender("YAML and pydantic, without compiling", from_sources),
    ),
    judge=judge,
    bars=(
        Bar("loaded under 50 ms from cold", lambda rows: rows["timelens"].seconds < 0.050),
        Bar("every question under 5 ms", lambda rows: _slowest(rows["timelens"].notes) < 5.0),
    ),
    cold=True,
    repeats=9,
)
