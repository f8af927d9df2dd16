"""Who lies beside whom in a region: distances, contacts against chance, mixing, pairs by distance, neighbourhoods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells import graph
from timelens.engines.cells.compartments import mixing_score
from timelens.engines.cells.distances import nearest_distances
from timelens.engines.cells.interaction import Interaction, interaction
from timelens.engines.cells.labelling import labelling
from timelens.engines.cells.neighbourhoods import context_names, neighbourhoods, spatial_context
from timelens.engines.cells.pairs import pair_statistics
from timelens.errors import Problem
from timelens.lenses.cytometry.cells import UNKNOWN, Cells
from timelens.lenses.cytometry.rows import LEVEL, TUMOUR, component_types, method
from timelens.study.contract import Result
from timelens.study.measurement import Measurement
from timelens.study.table import Table

__all__ = ["distances", "interaction_table", "interactions", "neighbours", "pair_table", "pairs", "rings_of"]

#: Fewer cells than this per neighbourhood are too few to find any.
CELLS_PER_GROUP = 20
#: Pairs are looked at up to this part of the shorter side of a region.
_PART_OF_SIDE = 0.25


def distances(cells: Cells, result: Result) -> None:
    """Median distance to the nearest cell of each type in a table; to the nearest tumour cell as measurements."""
    import pandas as pd

    found = nearest_distances(cells.y_um, cells.x_um, cells.types, len(cells.names), cells.window)
    median = found.median()
    rows = []
    for a, source in enumerate(cells.names):
        for b, target in enumerate(cells.names):
            mine = cells.types == a
            number = int(mine.sum())
            if not number or not math.isfinite(median[a, b]):
                continue
            low, high = np.quantile(found.distance[mine, b], [0.25, 0.75])
            certain = float(found.certain[mine, b].mean())
            rows.append({"from": source, "to": target, "cells": number, "median": median[a, b],
                         "lower_quartile": low, "upper_quartile": high, "certain_part": certain})  # fmt: skip
            if target == TUMOUR and source != UNKNOWN:
                result.measurements.append(
                    Measurement("nearest_cell_distance", float(median[a, b]), "um", component=f"{source}|{target}",
                                region=cells.prefixed("section"), n=number,
                                **method(cells, "median of distances to the nearest cell"))
                )  # fmt: skip
    columns = ["from", "to", "cells", "median", "lower_quartile", "upper_quartile", "certain_part"]
    units = {"cells": "{cells}", "median": "um", "lower_quartile": "um", "upper_quartile": "um", "certain_part": "1"}
    result.tables[cells.prefixed("distances")] = Table(pd.DataFrame(rows, columns=columns), units)


def interactions(cells: Cells, options: Mapping[str, Any], rng: np.random.Generator, result: Result) -> None:
    """Contacts of each two types against a shuffle of types over cells, and how well tumour and others are mixed."""
    test = interaction(cells.graph, cells.types, len(cells.names), shuffles=int(options["shuffles"]), rng=rng)
    result.tables[cells.prefixed("interactions")] = interaction_table(test, cells.names)
    if TUMOUR not in cells.names:
        return
    reference = cells.names.index(TUMOUR)
    for component, own in component_types(cells).items():
        if component in ("cell", UNKNOWN, TUMOUR) or not test.cells[own].sum():
            continue
        # A component may hold several types: their contacts and cells add up.
        joined = np.zeros((2, 2))
        joined[0, 0], joined[0, 1] = test.count[reference, reference], test.count[reference, own].sum()
        score = mixing_score(joined, [test.cells[reference], test.cells[own].sum()], 0, 1)
        row: dict[str, Any] = {"component": f"{TUMOUR}|{component}", "region": cells.prefixed("section")}
        row |= {"n": int(joined[0, 1])} | method(cells, "contacts with tumour cells over those among them, normalised")
        if math.isnan(score):
            row["reason"] = "no two tumour cells touch"
        result.measurements.append(Measurement("mixing_score", score, "1", **row))


def interaction_table(test: Interaction, names: tuple[str, ...]) -> Table:
    """Rows of the pairs of types that occur."""
    import pandas as pd

    kinds = range(len(names))
    both = [(a, b) for a in kinds for b in kinds if test.cells[a] and test.cells[b]]
    frame = pd.DataFrame(
        {
            "from": [names[a] for a, _ in both],
            "to": [names[b] for _, b in both],
            "count": [int(test.count[p]) for p in both],
            "expected": [float(test.expected[p]) for p in both],
            "variance": [float(test.variance[p]) for p in both],
            "z": [float(test.z[p]) for p in both],
            "p": [float(test.p_value[p]) for p in both],
            "p_from": [str(test.method[p]) for p in both],
        }
    )
    return Table(frame, dict.fromkeys(("count", "expected", "variance", "z", "p"), "1"))


def pairs(cells: Cells, options: Mapping[str, Any], result: Result) -> None:
    """Cross-K, L, pair correlation and co-occurrence of each two types, and how far chance strays."""
    step, rings = float(options["pair_step_um"]), rings_of(cells, options)
    if not rings:
        side = min(cells.window.height, cells.window.width)
        result.problems.append(
            Problem("The region is too small for statistics of pairs", field=cells.prefixed("pairs"),
                    found=f"{side:.4g} um", expected=f"sides of at least {step / _PART_OF_SIDE:g} um",
                    mend="space: {pair_step_um: LESS}", severity="warning")
        )  # fmt: skip
        return
    number = len(cells.names)
    place = (cells.y_um, cells.x_um)
    found = pair_statistics(*place, cells.types, number, cells.window, reach=step * rings, rings=rings)
    chance = labelling(*place, found.cells, cells.window, reach=step * rings, rings=rings)
    result.tables[cells.prefixed("pairs")] = pair_table(found, chance, cells.names)


def rings_of(cells: Cells, options: Mapping[str, Any]) -> int:
    """How many rings of distance the region has room for."""
    side = min(cells.window.height, cells.window.width)
    step = float(options["pair_step_um"])
    return int(min(float(options["pair_reach_um"]), _PART_OF_SIDE * side) / step + 1e-9)


def pair_table(found: Any, chance: Any, names: tuple[str, ...]) -> Table:
    """Rows of each two types that occur and each radius; what chance gives is a shuffle of the types over the cells."""
    import pandas as pd

    there = np.flatnonzero(found.cells)
    a, b, k = (i.ravel() for i in np.meshgrid(there, there, np.arange(len(found.radii)), indexing="ij"))
    l_chance, l_low, l_high = chance.l_envelope(found, LEVEL)
    _, g_low, g_high = chance.pair_correlation_envelope(found, LEVEL)
    label = np.array(names)
    numbers = {
        "radius": (found.radii[None, None], "um"), "pairs": (np.cumsum(found.pairs, axis=2), "1"),
        "k": (found.k(), "um2"), "l": (found.l(), "um"), "l_border": (found.l("border"), "um"),
        "l_chance": (l_chance, "um"), "l_lower": (l_low, "um"), "l_upper": (l_high, "um"),
        "z": (chance.z(found), "1"), "pair_correlation": (found.pair_correlation(), "1"),
        "pair_correlation_lower": (g_low, "1"), "pair_correlation_upper": (g_high, "1"),
        "co_occurrence": (found.co_occurrence(), "1"),
    }  # fmt: skip
    shape = found.pairs.shape
    frame = {"from": label[a], "to": label[b]}
    frame |= {name: np.broadcast_to(values, shape)[a, b, k] for name, (values, _) in numbers.items()}
    return Table(pd.DataFrame(frame), {name: unit for name, (_, unit) in numbers.items()})


def neighbours(
    cells: Cells, options: Mapping[str, Any], rng: np.random.Generator, result: Result
) -> tuple[NDArray[np.int32], list[str]] | None:
    """Neighbourhoods and spatial contexts: tables of what they are made of, and those of each cell."""
    import pandas as pd

    groups = int(options["neighbourhoods"])
    if not groups or len(cells.names) < 3:
        return None
    if len(cells) < CELLS_PER_GROUP * groups:
        result.problems.append(
            Problem("Neighbourhoods are not looked for in so few cells", field=cells.prefixed("neighbourhoods"),
                    found=f"{len(cells)} cells", expected=f"{CELLS_PER_GROUP * groups} or more",
                    mend="space: {neighbourhoods: FEWER}", severity="warning")
        )  # fmt: skip
        return None
    near = graph.nearest(cells.y_um, cells.x_um, int(options["nearest"]))
    found = neighbourhoods(near, cells.types, len(cells.names), groups, rng)
    size = np.bincount(found.label, minlength=groups)
    columns: dict[str, Any] = {"neighbourhood": np.arange(groups).astype(str), "cells": size}
    columns |= {name: found.parts[:, k] for k, name in enumerate(cells.names)}
    units = {"cells": "{cells}", **dict.fromkeys(cells.names, "1")}
    result.tables[cells.prefixed("neighbourhoods")] = Table(pd.DataFrame(columns), units)
    wide = graph.nearest(cells.y_um, cells.x_um, int(options["context_nearest"]))
    context = context_names(spatial_context(wide, found.label, groups, share=float(options["context_share"])))
    names, count = np.unique(np.array(context), return_counts=True)
    order = np.argsort(-count, kind="stable")
    result.tables[cells.prefixed("contexts")] = Table(
        pd.DataFrame({"context": names[order], "cells": count[order], "part": count[order] / len(cells)}),
        {"cells": "{cells}", "part": "1"},
    )
    return found.label, context
