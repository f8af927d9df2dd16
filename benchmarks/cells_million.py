"""One million cells: neighbours, neighbourhoods, and K of all pairs of types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocol import Bar, Contender, Workload

CELLS, TYPES = 1_000_000, 12


def prepare(data: Path) -> None:
    """One million cells of 12 types at 10,000 per mm2."""
    import numpy as np

    rng = np.random.default_rng(20240505)
    y, x = rng.random((2, CELLS)) * 10.0 * CELLS**0.5
    np.savez(data / "cells.npz", y=y, x=x, types=rng.integers(0, TYPES, CELLS))


def _read(data: Path) -> Any:
    import numpy as np

    given = np.load(data / "cells.npz")
    return given["y"], given["x"], given["types"]


def nearest(data: Path) -> Any:
    """Each cell's ten nearest others."""
    from timelens.engines.cells import graph

    y, x, _ = _read(data)
    return lambda: {"cells": len(graph.nearest(y, x, 10).degree)}


def neighbourhoods(data: Path) -> Any:
    """Ten groups of windows of ten cells."""
    import numpy as np

    from timelens.engines.cells import graph
    from timelens.engines.cells.neighbourhoods import neighbourhoods as group

    y, x, types = _read(data)
    near = graph.nearest(y, x, 10)
    return lambda: {"groups": len(group(near, types, TYPES, groups=10, rng=np.random.default_rng(1)).parts)}


def cross_k(data: Path) -> Any:
    """K of 144 pairs of types to 100 um, corrected for the border in two ways."""
    import numpy as np

    from timelens.engines.cells.pairs import pair_statistics
    from timelens.engines.cells.window import Window

    y, x, types = _read(data)
    side = 10.0 * CELLS**0.5
    window = Window.rectangle(side, side)

    def work() -> Any:
        found = pair_statistics(y, x, types, TYPES, window, reach=100.0, rings=20)
        off = found.k() / (np.pi * found.radii**2) - 1
        return {"pairs": int(found.pairs.sum()), "error": float(np.abs(off[:, :, -1]).max())}

    return work


def judge(result: Any, data: Path) -> dict[str, float | str]:
    """What came out; of K the largest distance from chance at 100 um, which is noise of the places."""
    return dict(result)


def _both(rows: Any) -> list[Any]:
    return [rows[name] for name in ("10 nearest", "10 neighbourhoods", "K of 12 types to 100 um")]


WORKLOAD = Workload(
    title="One million cells",
    about="12 types at random at 10,000 cells per mm2, two threads. Memory is that of the whole process.",
    contenders=(
        Contender("10 nearest", nearest),
        Contender("10 neighbourhoods", neighbourhoods),
        Contender("K of 12 types to 100 um", cross_k),
    ),
    prepare=prepare,
    judge=judge,
    bars=(
        Bar("10 nearest under 10 s", lambda rows: rows["10 nearest"].seconds < 10),
        Bar("neighbourhoods under 20 s", lambda rows: rows["10 neighbourhoods"].seconds < 20),
        Bar("K under 60 s", lambda rows: rows["K of 12 types to 100 um"].seconds < 60),
        Bar("under 4 GB", lambda rows: all(row.peak_mib < 3814 for row in _both(rows))),
    ),
    repeats=3,
    threads=2,
)
