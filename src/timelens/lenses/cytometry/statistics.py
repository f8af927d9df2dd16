"""What cells add up to: densities, parts, compartments, and one row per cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells.compartments import Compartments, compartments, density
from timelens.engines.cells.regions import FEWEST_REGIONS, ratio_of_regions
from timelens.errors import Problem
from timelens.lenses.cytometry.cells import Cells
from timelens.lenses.cytometry.rows import LEVEL, TUMOUR, binomial
from timelens.lenses.cytometry.sample import Sample
from timelens.lenses.cytometry.spatial import add_distances, add_interactions, add_neighbourhoods, add_pairs
from timelens.study.contract import Result
from timelens.study.measurement import Measurement
from timelens.study.table import Table

__all__ = ["Parts", "add_densities", "add_statistics", "find_compartments"]

_COMPARTMENTS = ("nest", "margin", "stroma")
#: Compartments by region; None where no tumour cell was told or found.
Parts = Sequence[Compartments | None]


def add_statistics(
    sample: Sample, parts: Parts, options: Mapping[str, Any], rng: np.random.Generator, result: Result
) -> None:
    """Put measurements and tables of a sample into a result.

    Parameters
    ----------
    sample
        One region, or several of one subject.
    parts
        Their compartments.
    options
        Of the step ``space``.
    rng
        For shuffles and for the seeds of neighbourhoods.
    result
        Is added to.
    """
    add_densities(sample, parts, result)
    add_distances(sample, result)
    add_interactions(sample, options, rng, result)
    add_pairs(sample, options, result)
    groups = add_neighbourhoods(sample, options, rng, result)
    if len(sample.regions) == 1:
        _cell_table(sample.regions[0], parts[0], groups, result)
    elif groups is not None:
        _common_neighbourhoods(sample, groups, result)


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


# -- densities -------------------------------------------------------------------------------------------------------


def add_densities(sample: Sample, parts: Parts, result: Result) -> None:
    """Cells per area and parts of all cells, in the section and its compartments.

    Of one region with exact intervals of counting (Poisson, binomial); of three regions or more with the spread between
    them; of two with those of counting, and a remark.
    """
    count = _counts(sample, [np.ones(len(c), bool) for c in sample.regions])
    _place_rows(sample, sample.place(), count, sample.area_mm2, result)
    for component, why in sample.regions[0].not_told.items():
        if component not in sample.components():
            result.measurements.append(
                Measurement("cell_density_area", math.nan, "{cells}/mm2", component=component, region=sample.place(),
                            reason=why, **sample.about("count over area, Poisson interval"))
            )  # fmt: skip
    if all(p is None for p in parts):
        return
    where = [
        np.full(len(c), "", "<U6") if p is None else p.of(c.y_um, c.x_um)
        for c, p in zip(sample.regions, parts, strict=True)
    ]
    for name in _COMPARTMENTS:
        area = np.array([0.0 if p is None else p.area_mm2(name) for p in parts])  # type: ignore[arg-type]
        _place_rows(sample, sample.place(name), _counts(sample, [w == name for w in where]), area, result)


def _counts(sample: Sample, inside: Sequence[NDArray[np.bool_]]) -> NDArray[np.int64]:
    """Cells by region and type."""
    number = len(sample.names)
    return np.array([np.bincount(k[i], minlength=number) for k, i in zip(sample.types, inside, strict=True)])


def _place_rows(
    sample: Sample, place: str, count: NDArray[np.int64], area: NDArray[np.float64], result: Result
) -> None:
    for component, own in sample.components().items():
        told = sample.told_in(component)
        number, whole = count[told][:, own].sum(axis=1), count[told].sum(axis=1)
        flags = sample.partly_told(told)
        row: dict[str, Any] = {"component": component, "region": place}
        if area[told].sum() > 0:
            one = density(number.sum(), area[told].sum())
            exact = (float(one.lower), float(one.upper), "Poisson")
            result.measurements.append(
                _ratio(sample, "cell_density_area", "{cells}/mm2", number, area[told], exact, flags, row)
            )
        if component != "cell" and whole.sum():
            exact = (*binomial(int(number.sum()), int(whole.sum())), "binomial")
            result.measurements.append(_ratio(sample, "cell_fraction", "1", number, whole, exact, flags, row))


def _ratio(
    sample: Sample,
    quantity: str,
    unit: str,
    number: NDArray[np.int64],
    size: NDArray[Any],
    exact: tuple[float, float, str],
    flags: str,
    row: Mapping[str, Any],
) -> Measurement:
    """A row of sum over sum with its interval: of counting, or from the spread between regions."""
    part = quantity == "cell_fraction"
    found = ratio_of_regions(number, size, level=LEVEL, part=part)
    lower, upper, law = exact
    what = "part of all cells" if part else "count over area"
    if found.regions >= FEWEST_REGIONS:
        lower, upper, law = found.lower, found.upper, "between-region"
    elif len(sample.regions) > 1:
        few = "of counting only: too few regions to know how much they differ"
        flags = f"{flags}; interval {few}" if flags else f"interval {few}"
    return Measurement(
        quantity, found.value, unit, lower=lower, upper=upper, level=LEVEL, uncertainty_kind="interval", flags=flags,
        n=int(size.sum()) if part else int(number.sum()), **row, **sample.about(f"{what}, {law} interval"),
    )  # fmt: skip


# -- one row per cell ------------------------------------------------------------------------------------------------


def _cell_table(
    cells: Cells, parts: Compartments | None, groups: tuple[NDArray[np.int32], Sequence[str]] | None, result: Result
) -> None:
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
        columns["compartment"] = parts.of(cells.y_um, cells.x_um)
        columns["distance_to_nest"] = parts.at(cells.y_um, cells.x_um)
    if groups is not None:
        columns["neighbourhood"], columns["context"] = groups[0].astype(str), groups[1]
    for k, channel in enumerate(cells.channels):
        columns[f"mean_{channel}"] = m.mean[:, k]
        units[f"mean_{channel}"] = "{counts}"
    for k, channel in enumerate(cells.channels if cells.core_mean is not None else ()):
        columns[f"core_{channel}"] = cells.telling[:, k]
        units[f"core_{channel}"] = "{counts}"
    result.tables[cells.prefixed("cells")] = Table(
        pd.DataFrame(columns), {k: v for k, v in units.items() if k in columns}
    )


def _common_neighbourhoods(sample: Sample, groups: tuple[NDArray[np.int32], Sequence[str]], result: Result) -> None:
    """Which cell of which region belongs to which of the neighbourhoods that all regions share."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "region": np.array(sample.titles)[sample.image],
            "cell": np.concatenate([c.measures.label for c in sample.regions]),
            "type": np.array(sample.names)[sample.kinds],
            "neighbourhood": groups[0].astype(str),
            "context": groups[1],
        }
    )
    result.tables[sample.prefixed("cells")] = Table(frame, {"cell": "1"})
