"""Who lies beside whom: distances, contacts against chance, mixing, pairs by distance, neighbourhoods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells import graph, labelling, pairs
from timelens.engines.cells.clusters import adjusted_rand
from timelens.engines.cells.compartments import mixing_score
from timelens.engines.cells.distances import NearestDistances, nearest_distances
from timelens.engines.cells.interaction import Interaction, interaction
from timelens.engines.cells.interaction import count as contacts_of
from timelens.engines.cells.neighbourhoods import context_names, neighbourhoods, spatial_context
from timelens.errors import Problem
from timelens.lenses.cytometry.cells import UNKNOWN, Cells
from timelens.lenses.cytometry.rows import LEVEL, TUMOUR
from timelens.lenses.cytometry.sample import Sample
from timelens.study.contract import Result
from timelens.study.measurement import Measurement
from timelens.study.table import Table

__all__ = ["add_distances", "add_interactions", "add_neighbourhoods", "add_pairs"]

#: Fewer cells than this per neighbourhood are too few to find any.
_CELLS_PER_GROUP = 20
_STARTS = 40  # of k-means; with eight, searches in virtual tumours agree less
#: Pairs are looked at up to this part of the shorter side of a region.
_PART_OF_SIDE = 0.25


def add_distances(sample: Sample, result: Result) -> None:
    """Median distance to the nearest cell of each type in a table; to the nearest tumour cell as measurements."""
    import pandas as pd

    found = _distances(sample)
    # Where a region does not tell the target, its cells there are among the others, and say nothing of their distance.
    told = sample.places_told()[sample.image]
    rows = []
    for a, source in enumerate(sample.names):
        for b, target in enumerate(sample.names):
            mine = (found.types == a) & told[:, b]
            number = int(mine.sum())
            median = float(np.median(found.distance[mine, b])) if number else math.inf
            if not math.isfinite(median):
                continue
            low, high = np.quantile(found.distance[mine, b], [0.25, 0.75], method="nearest")
            certain = float(found.certain[mine, b].mean())
            rows.append({"from": source, "to": target, "cells": number, "median": median, "lower_quartile": low,
                         "upper_quartile": high if math.isfinite(high) else math.nan,
                         "certain_part": certain})  # fmt: skip
            if target == TUMOUR and source != UNKNOWN:
                result.measurements.append(
                    Measurement("nearest_cell_distance", median, "um", component=f"{source}|{target}",
                                region=sample.place(), n=number,
                                **sample.about("median of distances to the nearest cell"))
                )  # fmt: skip
    columns = ["from", "to", "cells", "median", "lower_quartile", "upper_quartile", "certain_part"]
    units = {"cells": "{cells}", "median": "um", "lower_quartile": "um", "upper_quartile": "um", "certain_part": "1"}
    result.tables[sample.prefixed("distances")] = Table(pd.DataFrame(rows, columns=columns), units)


def _distances(sample: Sample) -> NearestDistances:
    """Each cell's nearest in its own region."""
    number = len(sample.names)
    found = [
        nearest_distances(c.y_um, c.x_um, kinds, number, c.window)
        for c, kinds in zip(sample.regions, sample.types, strict=True)
    ]
    return NearestDistances(
        np.concatenate([f.distance for f in found]), np.concatenate([f.border for f in found]), sample.kinds
    )


def add_interactions(sample: Sample, options: Mapping[str, Any], rng: np.random.Generator, result: Result) -> None:
    """Contacts of each two types against a shuffle of types over cells, and how well tumour and others are mixed."""
    net = graph.stack([c.graph for c in sample.regions])
    shuffles = int(options["shuffles"])
    test = interaction(net, sample.kinds, len(sample.names), images=sample.image, shuffles=shuffles, rng=rng)
    result.tables[sample.prefixed("interactions")] = _interaction_table(test, sample.names)
    if TUMOUR not in sample.names:
        return
    reference = sample.names.index(TUMOUR)
    each = [
        contacts_of(c.graph, kinds, len(sample.names)) for c, kinds in zip(sample.regions, sample.types, strict=True)
    ]
    cells = [np.bincount(kinds, minlength=len(sample.names)) for kinds in sample.types]
    for component, own in sample.components().items():
        if component in ("cell", UNKNOWN, TUMOUR) or not test.cells[own].sum():
            continue
        # A component may hold several types: their contacts and cells add up, over the regions that tell it.
        told = sample.told_in(component)
        contacts, number = (np.sum([one[k] for k in told], axis=0) for one in (each, cells))
        joined = np.zeros((2, 2))
        joined[0, 0], joined[0, 1] = contacts[reference, reference], contacts[reference, own].sum()
        score = mixing_score(joined, [number[reference], number[own].sum()], 0, 1)
        row: dict[str, Any] = {"component": f"{TUMOUR}|{component}", "region": sample.place(), "n": int(joined[0, 1])}
        row |= sample.about("contacts with tumour cells over those among them, normalised")
        row["flags"] = sample.partly_told(told)
        row["reason"] = "no two tumour cells touch" if math.isnan(score) else ""
        result.measurements.append(Measurement("mixing_score", score, "1", **row))


def _interaction_table(test: Interaction, names: tuple[str, ...]) -> Table:
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


# -- pairs by distance -----------------------------------------------------------------------------------------------


def add_pairs(sample: Sample, options: Mapping[str, Any], result: Result) -> None:
    """Cross-K, L, pair correlation and co-occurrence of each two types, and how far chance strays."""
    step = float(options["pair_step_um"])
    room = [_rings(c, options) for c in sample.regions]
    if not any(room):
        side = max(min(c.window.height, c.window.width) for c in sample.regions)
        result.problems.append(
            Problem("The region is too small for statistics of pairs", field=sample.prefixed("pairs"),
                    found=f"{side:.4g} um", expected=f"sides of at least {step / _PART_OF_SIDE:g} um",
                    mend="space: {pair_step_um: LESS}", severity="warning")
        )  # fmt: skip
        return
    rings = min(n for n in room if n)
    found, chance = [], []
    for c, kinds, n in zip(sample.regions, sample.types, room, strict=True):
        if n:
            one = pairs.pair_statistics(
                c.y_um, c.x_um, kinds, len(sample.names), c.window, reach=step * rings, rings=rings
            )
            found.append(one)
            chance.append(labelling.labelling(c.y_um, c.x_um, one.cells, c.window, reach=step * rings, rings=rings))
    table = _pair_table(pairs.pool(found), labelling.pool(chance), sample.names)
    result.tables[sample.prefixed("pairs")] = table


def _rings(cells: Cells, options: Mapping[str, Any]) -> int:
    """How many rings of distance the region has room for."""
    side = min(cells.window.height, cells.window.width)
    return int(min(float(options["pair_reach_um"]), _PART_OF_SIDE * side) / float(options["pair_step_um"]) + 1e-9)


def _pair_table(found: pairs.PairStatistics, chance: labelling.Labelling, names: tuple[str, ...]) -> Table:
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


# -- neighbourhoods --------------------------------------------------------------------------------------------------


def add_neighbourhoods(
    sample: Sample, options: Mapping[str, Any], rng: np.random.Generator, result: Result
) -> tuple[NDArray[np.int32], Sequence[str]] | None:
    """Neighbourhoods and spatial contexts: tables of what they are made of; returns those of each cell.

    The neighbourhoods of several regions are found together, so that a number means the same in each. ``stability`` is
    the adjusted Rand index between two searches from other seeds: far below one, other neighbourhoods would do as well.
    """
    import pandas as pd

    groups = int(options["neighbourhoods"])
    if not groups or len(sample.names) < 3:
        return None
    if len(sample) < _CELLS_PER_GROUP * groups:
        result.problems.append(
            Problem("Neighbourhoods are not looked for in so few cells", field=sample.prefixed("neighbourhoods"),
                    found=f"{len(sample)} cells", expected=f"{_CELLS_PER_GROUP * groups} or more",
                    mend="space: {neighbourhoods: FEWER}", severity="warning")
        )  # fmt: skip
        return None
    near, wide = (
        graph.stack([graph.nearest(c.y_um, c.x_um, int(options[k])) for c in sample.regions])
        for k in ("nearest", "context_nearest")
    )
    found, again = (
        neighbourhoods(near, sample.kinds, len(sample.names), groups, one, starts=_STARTS) for one in rng.spawn(2)
    )
    size = np.bincount(found.label, minlength=groups)
    columns: dict[str, Any] = {"neighbourhood": np.arange(groups).astype(str), "cells": size}
    columns |= {name: found.parts[:, k] for k, name in enumerate(sample.names)}
    columns["stability"] = adjusted_rand(found.label, again.label)
    units = {"cells": "{cells}", "stability": "1", **dict.fromkeys(sample.names, "1")}
    result.tables[sample.prefixed("neighbourhoods")] = Table(pd.DataFrame(columns), units)
    context = context_names(spatial_context(wide, found.label, groups, share=float(options["context_share"])))
    names, count = np.unique(np.array(context), return_counts=True)
    order = np.argsort(-count, kind="stable")
    result.tables[sample.prefixed("contexts")] = Table(
        pd.DataFrame({"context": names[order], "cells": count[order], "part": count[order] / len(sample)}),
        {"cells": "{cells}", "part": "1"},
    )
    return found.label, context
