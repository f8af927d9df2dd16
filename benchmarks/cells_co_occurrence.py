"""Which types of cell lie around each type, by distance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import squidpy_cells
from protocol import Bar, Contender, Workload

CELLS, TYPES, REACH, RADII = 30_000, 12, 100.0, 20


def prepare(data: Path) -> None:
    """30,000 cells of 12 types, some clustered, and the counts of pairs by an independent tree."""
    import numpy as np
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(20240504)
    side = 15.0 * CELLS**0.5
    y, x = rng.random((2, CELLS)) * side
    _, patch = cKDTree(rng.random((150, 2)) * side).query(np.column_stack([y, x]))
    types = np.where(rng.random(CELLS) < 0.4, rng.integers(0, TYPES, 150)[patch], rng.integers(0, TYPES, CELLS))
    radii = REACH / RADII * np.arange(1, RADII + 1)
    trees = [cKDTree(np.column_stack([y, x])[types == k]) for k in range(TYPES)]
    pairs = np.array([[a.count_neighbors(b, radii) for b in trees] for a in trees], float)
    pairs -= np.eye(TYPES)[:, :, None] * np.bincount(types)[:, None, None]  # not with themselves
    np.savez(data / "cells.npz", y=y, x=x, types=types, radii=radii, exact=_ratio(pairs))


def _ratio(pairs: Any) -> Any:
    """Chance of type b around type a over that around any cell, shape (a, b, radii)."""
    around = pairs.sum(axis=1, keepdims=True)
    return pairs / around / (pairs.sum(axis=0, keepdims=True) / pairs.sum(axis=(0, 1), keepdims=True))


def ours(data: Path) -> Any:
    """One pass over pairs within reach; it also gives K, L and the pair correlation."""
    import numpy as np

    from timelens.engines.cells.pairs import pair_statistics
    from timelens.engines.cells.window import Window

    given = np.load(data / "cells.npz")
    y, x, types = given["y"], given["x"], given["types"]
    window = Window.rectangle(15.0 * CELLS**0.5, 15.0 * CELLS**0.5)

    def work() -> Any:
        found = pair_statistics(y, x, types, TYPES, window, reach=REACH, rings=RADII)
        return _ratio(np.cumsum(found.pairs, axis=2).astype(float))

    return work


def squidpy(data: Path) -> Any:
    """co_occurrence at the same radii."""
    import numpy as np
    import squidpy as sq

    given = np.load(data / "cells.npz")
    adata = squidpy_cells.cells_of(given["types"], TYPES)
    adata.obsm["spatial"] = np.column_stack([given["x"], given["y"]])
    radii = np.concatenate([[0.0], given["radii"]])
    # Its first axis is the type that is found, its second the type around which it is.
    return lambda: np.swapaxes(sq.gr.co_occurrence(adata, "type", interval=radii, copy=True)[0], 0, 1)


def judge(result: Any, data: Path) -> dict[str, float | str]:
    """Largest relative error of all pairs and radii."""
    import numpy as np

    exact = np.load(data / "cells.npz")["exact"]
    return {"error": float(np.nanmax(np.abs(result / exact - 1)))}


WORKLOAD = Workload(
    title="Co-occurrence of 30,000 cells",
    about="12 types, 20 radii to 100 um in a field of 2.6 mm. squidpy looks at all pairs of cells whatever the radius, "
    "so the ratio depends on reach and field. The error is the largest of all pairs of types, relative to counts of "
    "scipy's tree (squidpy keeps places in single precision).",
    contenders=(
        Contender("timelens", ours),
        Contender("squidpy", squidpy, requirements=squidpy_cells.REQUIREMENTS),
    ),
    prepare=prepare,
    judge=judge,
    bars=(Bar("10 times as fast as squidpy", lambda rows: 10 * rows["timelens"].seconds <= rows["squidpy"].seconds),),
    repeats=3,
    threads=2,
)
