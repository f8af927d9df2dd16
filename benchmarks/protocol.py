"""How a workload is declared, and how one contender is measured.

A workload is a file ``benchmarks/<workload>.py`` with one object named ``WORKLOAD``. It says what is done, who does it
and what must hold::

    from pathlib import Path
    from protocol import Bar, Contender, Workload

    def prepare(data: Path) -> None:          # optional; runs once in our environment, writes its files into `data`
        ...

    def ours(data: Path):                     # reads what `prepare` wrote, then returns the work that is timed
        import numpy as np
        from timelens.engines.regions import volume
        labels = np.load(data / "labels.npy")
        return lambda: volume(labels, ...)

    def with_peer(data: Path):                # runs in an environment of its own: imports stand inside the function
        import numpy as np
        from peer import volume
        labels = np.load(data / "labels.npy")
        return lambda: volume(labels)

    def judge(result, data: Path) -> dict[str, float | str]:   # optional; "error" is the table's column, the rest notes
        return {"error": abs(result - 4.19) / 4.19}

    WORKLOAD = Workload(
        title="Volume of 50 lesions",
        about="What is computed on what, and what the error is measured against.",
        contenders=(
            Contender("timelens", ours),
            Contender("peer", with_peer, requirements=("peer==1.2", "numpy==2.4.6")),
        ),
        prepare=prepare,
        judge=judge,
        bars=(Bar("twice as fast as peer", lambda rows: rows["timelens"].seconds * 2 <= rows["peer"].seconds),),
    )

Rules that keep a comparison fair:

- The first contender is ours. Every contender computes the same list of quantities on the same files.
- The workload file is imported in the peers' environments too, where only the standard library and the peer's own
  requirements exist: at the top of the file import nothing else; `judge` needs what the contenders have in common.
- Reading files and imports belong into the contender function, outside the returned work.
- One call of the work is done unmeasured first (compilation, caches); its time is kept as ``first_seconds``. With
  ``cold=True`` there is none: each repeat is a new process and its first call is what counts.
- ``threads`` limits everybody's thread pools alike.

Run as ``python protocol.py FILE CONTENDER DATA REPEATS``, this file measures one contender and prints one line of
JSON. Only the standard library is used here.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Bar", "Contender", "Row", "Workload", "load"]

Note = float | int | str


@dataclass
class Row:
    """What one contender took: seconds are the median of the repeats, memory is the peak of its process in MiB."""

    name: str
    seconds: float = float("nan")
    best_seconds: float = float("nan")
    first_seconds: float = float("nan")
    repeats: int = 0
    peak_mib: float = float("nan")
    before_mib: float = float("nan")
    error: float | None = None
    notes: dict[str, Note] = field(default_factory=dict)
    not_run: str = ""


@dataclass(frozen=True)
class Contender:
    """Somebody who does the work: ``requirements`` are pinned packages of an own environment, ``None`` means ours.

    ``python`` asks for another interpreter (``"3.12"``) where a peer needs one; without it the peer is not run.
    """

    name: str
    start: Callable[[Path], Callable[[], Any]]
    requirements: tuple[str, ...] | None = None
    python: str = ""


@dataclass(frozen=True)
class Bar:
    """A promise about the measured rows, in words and as a check."""

    text: str
    holds: Callable[[Mapping[str, Row]], bool]


@dataclass(frozen=True)
class Workload:
    """What is done, who does it, and what must hold."""

    title: str
    about: str
    contenders: tuple[Contender, ...]
    prepare: Callable[[Path], None] | None = None
    judge: Callable[[Any, Path], Mapping[str, Note]] | None = None
    bars: tuple[Bar, ...] = ()
    repeats: int = 5
    cold: bool = False
    threads: int | None = None


def load(file: Path) -> Workload:
    """The workload that a file declares."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module.WORKLOAD


def _memory(field_name: str) -> float:
    """``VmHWM`` (peak) or ``VmRSS`` (now) of this process in MiB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field_name))
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _forget_peak() -> None:
    # The peak of the set-up (reading files, importing) is not the peak of the work.
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def measure(workload: Workload, contender: Contender, data: Path, repeats: int) -> Row:
    """Run one contender's work in this process and say what it took."""
    work = contender.start(data)
    gc.collect()
    before = _memory("VmRSS")
    _forget_peak()
    seconds: list[float] = []
    result: Any = None
    for _ in range(repeats if workload.cold else repeats + 1):
        result = None
        begin = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begin)
    row = Row(contender.name, before_mib=before, peak_mib=_memory("VmHWM"), first_seconds=seconds[0], repeats=repeats)
    counted = seconds if workload.cold else seconds[1:]
    row.seconds, row.best_seconds = statistics.median(counted), min(counted)
    if workload.judge is not None:
        notes = dict(workload.judge(result, data))
        if "error" in notes:
            row.error = float(notes.pop("error"))
        row.notes = notes
    return row


def _main(file: str, name: str, data: str, repeats: str) -> None:
    workload = load(Path(file))
    if name == "prepare":
        if workload.prepare is not None:
            workload.prepare(Path(data))
        return
    contender = next(each for each in workload.contenders if each.name == name)
    print(json.dumps(asdict(measure(workload, contender, Path(data), int(repeats)))))


if __name__ == "__main__":
    # Workload files import this module by its name; let both names be one module.
    sys.modules["protocol"] = sys.modules["__main__"]
    _main(*sys.argv[1:5])
