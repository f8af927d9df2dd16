"""Which types of cell are neighbours more often than chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import squidpy_cells
from protocol import Bar, Contender, Workload

CELLS, TYPES, SHUFFLES = 100_000, 12, 1000


def prepare(data: Path) -> None:
    """100,000 cells of 12 types in patches, each with the six nearest others as its neighbours in either direction."""
    import numpy as np
    from scipy.spatial import cKDTree

    from timelens.engines.cells import graph

    rng = np.random.default_rng(20240503)
    side = 10.0 * CELLS**0.5
    y, x = rng.random((2, CELLS)) * side
    y = np.sort(y)  # numbered from top to bottom, as the labels of a picture are
    # Half of the cells take the type of their patch: some pairs attract, others avoid each other.
    _, patch = cKDTree(rng.random((200, 2)) * side).query(np.column_stack([y, x]))
    types = np.where(rng.random(CELLS) < 0.5, rng.integers(0, TYPES, 200)[patch], rng.integers(0, TYPES, CELLS))
    near = graph.nearest(y, x, 6)
    source = np.repeat(np.arange(CELLS), near.degree)
    both = np.unique(np.concatenate([source * CELLS + near.neighbours, near.neighbours.astype(int) * CELLS + source]))
    start = np.searchsorted(both // CELLS, np.arange(CELLS + 1))
    np.savez(data / "cells.npz", y=y, x=x, types=types, start=start, neighbours=both % CELLS)


def _ours(how: Callable[..., Any]) -> Any:
    def start(data: Path) -> Any:
        import numpy as np

        from timelens.engines.cells.graph import Graph

        given = np.load(data / "cells.npz")
        near = Graph(given["start"].astype(np.int64), given["neighbours"].astype(np.int32))
        types = given["types"].astype(np.int64)
        return lambda: how(near, types)

    return start


def exact(near: Any, types: Any) -> Any:
    """Closed form."""
    from timelens.engines.cells.interaction import interaction

    return interaction(near, types, TYPES, p_values="normal").z


def _score(found: Any, chance: Any) -> Any:
    return (found - chance.mean(axis=0)) / chance.std(axis=0)


def by_shuffling(near: Any, types: Any) -> Any:
    """Our own shuffles, on one thread as squidpy's."""
    import numpy as np

    from timelens.engines.cells.interaction import count, shuffled

    return _score(count(near, types, TYPES), shuffled(near, types, TYPES, SHUFFLES, np.random.default_rng(1)))


def by_bincount(near: Any, types: Any) -> Any:
    """What a few lines of numpy do."""
    import numpy as np

    rng, source = np.random.default_rng(1), np.repeat(np.arange(CELLS), near.degree)

    def count(kind: Any) -> Any:
        return np.bincount(kind[source] * TYPES + kind[near.neighbours], minlength=TYPES**2).reshape(TYPES, TYPES)

    return _score(count(types), np.array([count(rng.permutation(types)) for _ in range(SHUFFLES)]))


def squidpy(data: Path) -> Any:
    """nhood_enrichment with 1,000 permutations; two threads are its fastest way here (processes refuse the arrays)."""
    import numpy as np
    import scipy.sparse as sp
    import squidpy as sq

    given = np.load(data / "cells.npz")
    edges = given["neighbours"]
    adata = squidpy_cells.cells_of(given["types"], TYPES)
    adata.obsp["spatial_connectivities"] = sp.csr_matrix(
        (np.ones(edges.size, np.float32), edges, given["start"]), shape=(CELLS, CELLS)
    )

    def work() -> Any:
        found = sq.gr.nhood_enrichment(
            adata, "type", n_perms=SHUFFLES, seed=1, copy=True, n_jobs=2, backend="threading", show_progress_bar=False
        )
        return np.asarray(found.zscore)

    return work


def judge(result: Any, data: Path) -> dict[str, float | str]:
    """How far standard scores are from those of the closed form, as a share of 1 + |z|: the median of all pairs."""
    import numpy as np

    file = data / "exact.npy"
    if not file.exists():  # the first contender's: the tests hold it against all permutations of small graphs
        np.save(file, result)
    exact = np.load(file)
    return {"error": float(np.median(np.abs(result - exact) / (1 + np.abs(exact))))}


WORKLOAD = Workload(
    title="Interaction of 100,000 cells",
    about="12 types, the six nearest cells as neighbours in either direction, 144 standard scores against chance. The "
    "closed form is exact; the others shuffle 1,000 times. The error is the median distance of the scores from the "
    "exact ones over 1 + |z|.",
    contenders=(
        Contender("timelens, closed form", _ours(exact)),
        Contender("timelens, shuffling", _ours(by_shuffling)),
        Contender("numpy's bincount, shuffling", _ours(by_bincount)),
        Contender("squidpy", squidpy, requirements=squidpy_cells.REQUIREMENTS),
    ),
    prepare=prepare,
    judge=judge,
    bars=(
        Bar(
            "500 times as fast as squidpy",
            lambda rows: 500 * rows["timelens, closed form"].seconds <= rows["squidpy"].seconds,
        ),
    ),
    repeats=3,
    threads=2,
)
