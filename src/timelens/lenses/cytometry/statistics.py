"""What the cells of a region add up to: densities, fractions, compartments, distances, interactions, neighbourhoods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import timelens
from timelens.engines.cells import graph
from timelens.engines.cells.compartments import Compartments, compartments, density
from timelens.engines.cells.distances import nearest_distances
from timelens.engines.cells.interaction import interaction
from timelens.engines.cells.neighbourhoods import neighbourhoods
from timelens.errors import Problem
from timelens.knowledge import components
from timelens.lenses.cytometry.cells import UNKNOWN, Cells
from timelens.lenses.cytometry.types import SIGNATURES
from timelens.study.contract import Result
from timelens.study.measurement import Measurement
from timelens.study.table import Table

__all__ = ["add_statistics", "members"]

_TUMOUR = "tumour-cell"
_LEVEL = 0.95
#: Fewer cells than this per neighbourhood are too few to find any.
_CELLS_PER_GROUP = 20
_COMPARTMENTS = ("nest", "margin", "stroma")


@dataclass(frozen=True)
class _Place:
    """A part of the region: its name, area, and which cells lie in it."""

    name: str
    area_mm2: float
    inside: NDArray[np.bool_]


def members(component: str, names: Sequence[str]) -> list[int]:
    """Places of the told types that are a component or belong to it."""
    family = components.family(component)
    return [k for k, name in enumerate(names) if name in family]


def add_statistics(cells: Cells, options: Mapping[str, Any], rng: np.random.Generator, result: Result) -> None:
    """Put measurements and tables of a set of cells into a result.

    Parameters
    ----------
    cells
        Of one region.
    options
        Of the step ``space``.
    rng
        For shuffles and for the seeds of neighbourhoods.
    result
        Is added to.
    """
    places = [_Place("section", cells.window.area * 1e-6, np.ones(len(cells), bool))]
    parts = _compartments(cells, options, result)
    where = np.full(len(cells), "", dtype="<U6")
    if parts is not None:
        where = parts.of(cells.y_um, cells.x_um)
        places += [_Place(n, parts.area_mm2(n), where == n) for n in _COMPARTMENTS]  # type: ignore[arg-type]
    for place in places:
        _densities(cells, replace(place, name=cells.prefixed(place.name)), result, whole=place.name == "section")
    _distances(cells, result)
    _interactions(cells, options, rng, result)
    groups = _neighbourhoods(cells, options, rng, result)
    _table(cells, where, parts, groups, result)


def _compartments(cells: Cells, options: Mapping[str, Any], result: Result) -> Compartments | None:
    tumour = cells.types == cells.names.index(_TUMOUR) if _TUMOUR in cells.names else np.zeros(len(cells), bool)
    if _TUMOUR not in cells.names:
        return None
    if not tumour.any():
        result.problems.append(
            Problem(
                "Nests and stroma are not told apart: no tumour cell was found",
                field=cells.prefixed("compartments"),
                found="0 tumour cells",
                severity="warning",
            )
        )
        return None
    return compartments(cells.y_um, cells.x_um, tumour, cells.window, margin=options["margin_um"])


def _method(cells: Cells, what: str) -> dict[str, Any]:
    source = f"cells: {cells.name}" if cells.name else "cells"
    return {"modality": "cytometry", "method": f"{what}; {source}", "method_version": timelens.__version__}


def _densities(cells: Cells, place: _Place, result: Result, *, whole: bool) -> None:
    """Cells per area with exact Poisson intervals, and parts of all cells with exact binomial ones."""
    families = {s.family for k, s in SIGNATURES.items() if s.family and k in cells.names}
    listed: dict[str, list[int]] = {"cell": list(range(len(cells.names)))}
    listed |= {c: members(c, cells.names) for c in dict.fromkeys((*cells.names[1:], *sorted(families)))}
    listed[UNKNOWN] = [0]
    count = np.bincount(cells.types[place.inside], minlength=len(cells.names))
    total = int(count.sum())
    for component, own in listed.items():
        number = int(count[own].sum())
        found = density(number, place.area_mm2)
        row: dict[str, Any] = {"component": component, "region": place.name}
        if place.area_mm2 > 0:
            result.measurements.append(
                Measurement("cell_density_area", float(found.value), "{cells}/mm2", lower=float(found.lower),
                            upper=float(found.upper), level=_LEVEL, uncertainty_kind="interval", n=number, **row,
                            **_method(cells, "count over area, Poisson interval"))
            )  # fmt: skip
        if component != "cell" and total:
            low, high = _binomial(number, total)
            result.measurements.append(
                Measurement("cell_fraction", number / total, "1", lower=low, upper=high, level=_LEVEL,
                            uncertainty_kind="interval", n=total, **row,
                            **_method(cells, "part of all cells, binomial interval"))
            )  # fmt: skip
    if whole:
        for component, why in cells.not_told.items():
            if component not in listed:
                result.measurements.append(
                    Measurement("cell_density_area", math.nan, "{cells}/mm2", component=component, region=place.name,
                                reason=why, **_method(cells, "count over area, Poisson interval"))
                )  # fmt: skip


def _binomial(number: int, total: int) -> tuple[float, float]:
    """Exact interval of a part (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404)."""
    from scipy.stats import beta

    tail = (1 - _LEVEL) / 2
    low = float(beta.ppf(tail, number, total - number + 1)) if number else 0.0
    high = float(beta.ppf(1 - tail, number + 1, total - number)) if number < total else 1.0
    return low, high


def _distances(cells: Cells, result: Result) -> None:
    """Median distance to the nearest cell of each type in a table; to the nearest tumour cell as measurements."""
    import pandas as pd

    found = nearest_distances(cells.y_um, cells.x_um, cells.types, len(cells.names), cells.window)
    median = found.median()
    rows = []
    for a, source in enumerate(cells.names):
        for b, target in enumerate(cells.names):
            number = int((cells.types == a).sum())
            if not number or not math.isfinite(median[a, b]):
                continue
            certain = float(found.certain[cells.types == a, b].mean())
            rows.append({"from": source, "to": target, "cells": number, "median": median[a, b],
                         "certain_part": certain})  # fmt: skip
            if target == _TUMOUR and source != UNKNOWN:
                result.measurements.append(
                    Measurement("nearest_cell_distance", float(median[a, b]), "um", n=number,
                                component=f"{source}|{target}", region=cells.prefixed("section"),
                                **_method(cells, "median over cells, as they lie"))
                )  # fmt: skip
    frame = pd.DataFrame(rows, columns=["from", "to", "cells", "median", "certain_part"])
    units = {"cells": "{cells}", "median": "um", "certain_part": "1"}
    result.tables[cells.prefixed("distances")] = Table(frame, units)


def _interactions(cells: Cells, options: Mapping[str, Any], rng: np.random.Generator, result: Result) -> None:
    import pandas as pd

    test = interaction(cells.graph, cells.types, len(cells.names), shuffles=int(options["shuffles"]), rng=rng)
    pairs = [
        (a, b) for a in range(len(cells.names)) for b in range(len(cells.names)) if test.cells[a] and test.cells[b]
    ]
    frame = pd.DataFrame(
        {
            "from": [cells.names[a] for a, _ in pairs],
            "to": [cells.names[b] for _, b in pairs],
            "count": [int(test.count[p]) for p in pairs],
            "expected": [float(test.expected[p]) for p in pairs],
            "z": [float(test.z[p]) for p in pairs],
            "p": [float(test.p_value[p]) for p in pairs],
            "p_from": [str(test.method[p]) for p in pairs],
        }
    )
    units = {"count": "1", "expected": "1", "z": "1", "p": "1"}
    result.tables[cells.prefixed("interactions")] = Table(frame, units)


def _neighbourhoods(
    cells: Cells, options: Mapping[str, Any], rng: np.random.Generator, result: Result
) -> NDArray[np.int32] | None:
    import pandas as pd

    groups = int(options["neighbourhoods"])
    if not groups or len(cells.names) < 3:
        return None
    if len(cells) < _CELLS_PER_GROUP * groups:
        result.problems.append(
            Problem("Neighbourhoods are not looked for in so few cells", field=cells.prefixed("neighbourhoods"),
                    found=f"{len(cells)} cells", expected=f"{_CELLS_PER_GROUP * groups} or more",
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
    return found.label


def _table(
    cells: Cells,
    where: NDArray[np.str_],
    parts: Compartments | None,
    groups: NDArray[np.int32] | None,
    result: Result,
) -> None:
    """One row per cell."""
    import pandas as pd

    m = cells.measures
    columns: dict[str, Any] = {
        "cell": m.label, "x": cells.x_um, "y": cells.y_um, "area": m.area_um2, "major_axis": m.major_um,
        "minor_axis": m.minor_um, "eccentricity": m.eccentricity, "at_border": np.where(m.at_border, "yes", "no"),
        "type": np.array(cells.names)[cells.types], "probability": cells.probability,
    }  # fmt: skip
    units = {"cell": "1", "x": "um", "y": "um", "area": "um2", "major_axis": "um", "minor_axis": "um",
             "eccentricity": "1", "probability": "1", "neighbours": "1", "distance_to_nest": "um"}  # fmt: skip
    columns["neighbours"] = cells.graph.degree
    if parts is not None:
        columns["compartment"] = where
        columns["distance_to_nest"] = parts.at(cells.y_um, cells.x_um)
    if groups is not None:
        columns["neighbourhood"] = groups.astype(str)
    for k, channel in enumerate(cells.channels):
        columns[f"mean_{channel}"] = m.mean[:, k]
        units[f"mean_{channel}"] = "{counts}"
    result.tables[cells.prefixed("cells")] = Table(
        pd.DataFrame(columns), {k: v for k, v in units.items() if k in columns}
    )
