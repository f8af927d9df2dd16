"""Clusters of the cells of a region beside their types: found without the table of types, then named by it.

Cells are clustered on the markers that part into two groups, each on a scale from the middle of its negative to the
middle of its positive group and cut off there, so that no marker counts more than another and brightness alone makes no
cluster. A panel without such markers is clustered on all its channels, and its clusters have no names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells.clusters import cluster_cells, name_clusters, names_of, refine_clusters
from timelens.engines.cells.transform import arcsinh
from timelens.errors import Problem
from timelens.lenses.cytometry.markers import nuclear_channels
from timelens.lenses.cytometry.scale import on_landmarks
from timelens.lenses.cytometry.types import told
from timelens.study.contract import Result
from timelens.study.table import Table

if TYPE_CHECKING:
    from timelens.lenses.cytometry.cells import Cells

__all__ = ["add_clusters", "scaled"]

_FEWEST = 50


def scaled(cells: Cells, cofactor: float) -> tuple[list[str], NDArray[np.float64]]:
    """What cells are clustered on: names of the columns, and values (cells, columns) from 0 to 1.

    Parameters
    ----------
    cells
        Of one region.
    cofactor
        Of the transform.
    """
    wanted = {m for marks in told(list(cells.positive)).types.values() for m in marks}
    markers = {m: v for m, v in on_landmarks(cells, cofactor).items() if m in wanted}
    if markers:
        return list(markers), np.clip(np.column_stack(list(markers.values())), 0.0, 1.0)
    nuclear = set(nuclear_channels(cells.channels, cells.channels))
    kept = [k for k in range(len(cells.channels)) if k not in nuclear]
    columns = arcsinh(cells.telling[:, kept], cofactor)
    low, high = np.nanquantile(columns, (0.01, 0.99), axis=0)
    width = np.where(high > low, high - low, 1.0)
    return [cells.channels[k] for k in kept], np.clip((columns - low) / width, 0.0, 1.0)


def add_clusters(
    cells: Cells, types: Mapping[str, Any], options: Mapping[str, Any], rng: np.random.Generator, result: Result
) -> None:
    """Put clusters into a result: two columns of the table of cells, and a table with a row per cluster.

    Parameters
    ----------
    cells
        Of one region.
    types, options
        Of the steps ``types`` and ``clusters``.
    rng
        The same state gives the same clusters.
    result
        Is added to; its table of cells is there.
    """
    import pandas as pd

    if options["method"] == "none":
        return
    names, values = scaled(cells, types["cofactor"])
    enough = max(_FEWEST, int(options["nearest"]) + 2)
    if not names or int(np.isfinite(values).all(axis=1).sum()) < enough:
        result.problems.append(
            Problem("Clusters are not looked for in so few cells", field=cells.prefixed("clusters"),
                    found=f"{len(cells)} cells, {len(names)} markers", expected=f"{enough} or more cells",
                    mend="clusters: {method: none}", severity="warning")
        )  # fmt: skip
        return
    table = told(list(cells.positive)).types
    found = cluster_cells(values, rng, nearest=int(options["nearest"]), resolution=float(options["resolution"]),
                          method=options["method"])  # fmt: skip
    label = refine_clusters(values, found.label, cells.positive, table, rng, method=options["method"])
    named = name_clusters(label, cells.positive, table)
    kinds = names_of(label, named)
    own = np.array(cells.names)[cells.types]
    number = len(named)
    size = np.bincount(label[label >= 0], minlength=number)
    # A cluster that came of another one has the stability of that one's place in the first clustering.
    origin = [int(np.bincount(found.label[label == k]).argmax()) for k in range(number)]
    columns: dict[str, Any] = {
        "cluster": np.arange(number).astype(str),
        "type": [n.name for n in named],
        "score": [n.score for n in named],
        "runner_up": [n.runner_up[0] for n in named],
        "cells": size,
        "first_cluster": [str(k) for k in origin],
        "first_stability": found.stability[origin],
        "same_type": [float((own[label == k] == n.name).mean()) for k, n in enumerate(named)],
    }
    bearing = cells.positive or dict(zip(names, values.T, strict=True))
    for marker, value in bearing.items():
        columns[f"part_{marker}"] = [float(np.mean(value[label == k])) for k in range(number)]
    units = {k: "1" for k in columns if k not in ("cluster", "type", "runner_up", "first_cluster")} | {
        "cells": "{cells}"
    }
    result.tables[cells.prefixed("clusters")] = Table(pd.DataFrame(columns), units)
    before = result.tables[cells.prefixed("cells")]
    frame = before.data.copy()
    place = list(frame.columns).index("neighbours")
    frame.insert(place, "cluster", [str(k) if k >= 0 else "" for k in label])
    frame.insert(place + 1, "cluster_type", kinds)
    result.tables[cells.prefixed("cells")] = Table(frame, dict(before.column_units))
    result.audit.setdefault("cytometry", {})[cells.prefixed("clusters")] = {
        "method": options["method"], "markers": names, "first": len(found.size), "refined": number,
        "agreement_of_random_parts": found.agreement, "same_type_as_the_model": float((kinds == own).mean()),
    }  # fmt: skip
