"""What the cells of a region add up to: densities, fractions, compartments, and one row per cell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells.compartments import Compartments, compartments, density
from timelens.errors import Problem
from timelens.lenses.cytometry.cells import Cells
from timelens.lenses.cytometry.rows import LEVEL, TUMOUR, component_types, method
from timelens.lenses.cytometry.spatial import distances, interactions, neighbours, pairs
from timelens.study.contract import Result
from timelens.study.measurement import Measurement
from timelens.study.table import Table

__all__ = ["add_statistics", "binomial", "find_compartments"]

_COMPARTMENTS = ("nest", "margin", "stroma")


@dataclass(frozen=True)
class _Place:
    """A part of the region: its name, area, and which cells lie in it."""

    name: str
    area_mm2: float
    inside: NDArray[np.bool_]


def add_statistics(
    cells: Cells, options: Mapping[str, Any], rng: np.random.Generator, result: Result
) -> Compartments | None:
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

    Returns
    -------
    Compartments or None
        None where no tumour cell was told or found.
    """
    places = [_Place("section", cells.window.area * 1e-6, np.ones(len(cells), bool))]
    parts = find_compartments(cells, options, result)
    where = np.full(len(cells), "", dtype="<U6")
    if parts is not None:
        where = parts.of(cells.y_um, cells.x_um)
        places += [_Place(n, parts.area_mm2(n), where == n) for n in _COMPARTMENTS]  # type: ignore[arg-type]
    for place in places:
        _densities(cells, replace(place, name=cells.prefixed(place.name)), result, whole=place.name == "section")
    distances(cells, result)
    interactions(cells, options, rng, result)
    pairs(cells, options, result)
    groups = neighbours(cells, options, rng, result)
    _table(cells, where, parts, groups, result)
    return parts


def find_compartments(cells: Cells, options: Mapping[str, Any], result: Result) -> Compartments | None:
    """Nests, margin and stroma; None, with a warning in the result, where no tumour cell was found."""
    if TUMOUR not in cells.names:
        return None
    tumour = cells.types == cells.names.index(TUMOUR)
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


def _densities(cells: Cells, place: _Place, result: Result, *, whole: bool) -> None:
    """Cells per area with exact Poisson intervals, and parts of all cells with exact binomial ones."""
    listed = component_types(cells)
    count = np.bincount(cells.types[place.inside], minlength=len(cells.names))
    total = int(count.sum())
    for component, own in listed.items():
        number = int(count[own].sum())
        found = density(number, place.area_mm2)
        row: dict[str, Any] = {"component": component, "region": place.name}
        if place.area_mm2 > 0:
            result.measurements.append(
                Measurement("cell_density_area", float(found.value), "{cells}/mm2", lower=float(found.lower),
                            upper=float(found.upper), level=LEVEL, uncertainty_kind="interval", n=number, **row,
                            **method(cells, "count over area, Poisson interval"))
            )  # fmt: skip
        if component != "cell" and total:
            low, high = binomial(number, total)
            result.measurements.append(
                Measurement("cell_fraction", number / total, "1", lower=low, upper=high, level=LEVEL,
                            uncertainty_kind="interval", n=total, **row,
                            **method(cells, "part of all cells, binomial interval"))
            )  # fmt: skip
    if whole:
        for component, why in cells.not_told.items():
            if component not in listed:
                result.measurements.append(
                    Measurement("cell_density_area", math.nan, "{cells}/mm2", component=component, region=place.name,
                                reason=why, **method(cells, "count over area, Poisson interval"))
                )  # fmt: skip


def binomial(number: int, total: int) -> tuple[float, float]:
    """Exact interval of a part (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404)."""
    from scipy.stats import beta

    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, number, total - number + 1)) if number else 0.0
    high = float(beta.ppf(1 - tail, number + 1, total - number)) if number < total else 1.0
    return low, high


def _table(
    cells: Cells,
    where: NDArray[np.str_],
    parts: Compartments | None,
    groups: tuple[NDArray[np.int32], list[str]] | None,
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
        columns["neighbourhood"], columns["context"] = groups[0].astype(str), groups[1]
    for k, channel in enumerate(cells.channels):
        columns[f"mean_{channel}"] = m.mean[:, k]
        units[f"mean_{channel}"] = "{counts}"
    result.tables[cells.prefixed("cells")] = Table(
        pd.DataFrame(columns), {k: v for k, v in units.items() if k in columns}
    )
