"""What the immune cells of a region amount to: phenotype, lymphoid structures, and how deep each type comes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells.compartments import Compartments, density
from timelens.engines.cells.immune_phenotype import immune_phenotype
from timelens.engines.cells.lymphoid import Structure, lymphoid_structures
from timelens.engines.cells.thresholds import split
from timelens.engines.cells.transform import arcsinh
from timelens.lenses.cytometry.cells import Cells
from timelens.lenses.cytometry.profiles import CUT_OFFS, LymphoidProfile, cut_offs, lymphoid_profile
from timelens.lenses.cytometry.rows import LEVEL, component_types, members, method, missing, why_not_told
from timelens.study.contract import Result
from timelens.study.measurement import Measurement
from timelens.study.table import Table

__all__ = ["add_immune", "cd8_counts", "phenotype_rows"]

_CD8, _B, _T = "cd8-t-cell", "b-cell", "t-cell"
_CLASSES = ("inflamed", "excluded", "desert")
#: Markers of follicular dendritic cells and of germinal centres, as plain letters (Silina 2018,
#: doi:10.1158/0008-5472.CAN-17-1987).
_DENDRITIC, _GERMINAL = ("cd21", "cr2", "cd35", "cr1"), ("cd23", "fcer2", "bcl6")
#: Multiples of a profile's numbers for which the count of structures is shown.
_GRID = (0.5, 0.75, 1.0, 1.5, 2.0)
_MM2 = 1e-6


def add_immune(
    cells: Cells, parts: Compartments | None, options: Mapping[str, Any], cofactor: float, result: Result
) -> None:
    """Put immune phenotype, lymphoid structures and the profile of infiltration into a result.

    Parameters
    ----------
    cells
        Of one region.
    parts
        Its compartments; None where no tumour cell was told or found.
    options
        Of the step ``immune``.
    cofactor
        Of the arcsinh, for the markers of lymphoid structures.
    result
        Is added to.
    """
    _phenotype(cells, parts, options, result)
    _lymphoid(cells, lymphoid_profile(options["lymphoid"]), cofactor, result)
    if parts is not None:
        _infiltration(cells, parts, options, result)


# -- phenotype -------------------------------------------------------------------------------------------------------


def cd8_counts(cells: Cells, parts: Compartments) -> tuple[int, float, int, float]:
    """CD8 T cells and area in mm2 of the nests, then of the rest; the border runs between, there is no margin."""
    halves = replace(parts, margin=0.0)
    is_one = np.isin(cells.types, members(_CD8, cells.names))
    where = halves.of(cells.y_um[is_one], cells.x_um[is_one])
    inside = int((where == "nest").sum())
    rest = halves.area_mm2("stroma") + halves.area_mm2("margin")
    return inside, halves.area_mm2("nest"), int(is_one.sum()) - inside, rest


def phenotype_rows(
    counts: tuple[int, float, int, float] | None, why: str, stated: Any, region: str, about: Mapping[str, Any]
) -> list[Measurement]:
    """Probabilities of the three classes under the convention in force.

    Parameters
    ----------
    counts
        As :func:`cd8_counts` gives them; None where they could not be had.
    why
        Why not.
    stated
        Name of the convention, or its numbers.
    region, about
        Columns of the rows; ``method`` is added to.
    """
    cuts = cut_offs(stated)
    said = f"{cuts.name}: many from {cuts.nest:g} CD8 T cells per mm2 in nests and {cuts.stroma:g} in stroma"
    row: dict[str, Any] = {"region": region, "component": _CD8} | dict(about)
    row["method"] = f"immune phenotype by the convention {said}; {row['method']}"
    found = None if counts is None else immune_phenotype(*counts, cuts)
    rows = []
    for name in _CLASSES:
        value = math.nan if found is None else getattr(found, name)
        if math.isnan(value):
            reason = why or ("there is no tumour nest" if counts and not counts[1] else "there is no stroma")
            rows.append(Measurement(f"{name}_probability", value, "1", reason=reason, **row))
            continue
        assert counts is not None and found is not None
        flags = "most likely" if found.most_likely == name else ""
        rows.append(Measurement(f"{name}_probability", value, "1", n=counts[0] + counts[2], flags=flags, **row))
    return rows


def _phenotype(cells: Cells, parts: Compartments | None, options: Mapping[str, Any], result: Result) -> None:
    import pandas as pd

    why = why_not_told(cells, _CD8) or ("no tumour nest was found" if parts is None else "")
    counts = None if why or parts is None else cd8_counts(cells, parts)
    about = method(cells, "Jeffreys interval of densities")
    result.measurements += phenotype_rows(counts, why, options["cut_offs"], cells.prefixed("section"), about)
    if counts is None:
        return
    own = cut_offs(options["cut_offs"])
    rows = []
    for cuts in {own.name: own, **CUT_OFFS}.values():
        found = immune_phenotype(*counts, cuts)
        rows.append({"convention": cuts.name, "nest_from": cuts.nest, "stroma_from": cuts.stroma,
                     "in_nest": counts[0] / counts[1] if counts[1] else math.nan,
                     "in_stroma": counts[2] / counts[3] if counts[3] else math.nan,
                     **{name: getattr(found, name) for name in _CLASSES},
                     "most_likely": found.most_likely or ""})  # fmt: skip
    units = dict.fromkeys(("nest_from", "stroma_from", "in_nest", "in_stroma"), "{cells}/mm2")
    units |= dict.fromkeys(_CLASSES, "1")
    result.tables[cells.prefixed("phenotype")] = Table(pd.DataFrame(rows), units)


# -- lymphoid structures ---------------------------------------------------------------------------------------------


def _lymphoid(cells: Cells, profile: LymphoidProfile, cofactor: float, result: Result) -> None:
    region = cells.prefixed("section")
    what = (
        f"lymphoid structures by the profile {profile.name}: B cells with {profile.fewest_within_reach} within "
        f"{profile.reach_um:g} um joined, from {profile.fewest_b} B cells with {profile.fewest_t} T cells within "
        f"{profile.around_um:g} um"
    )
    quantities = (("tls_count", "{structures}"), ("tls_density_area", "{structures}/mm2"), ("tls_area", "mm2"))
    if why := why_not_told(cells, _B) or why_not_told(cells, _T):
        result.measurements += [missing(cells, q, unit, why, what, region=region) for q, unit in quantities]
        return
    marks = {"follicular_dendritic": _marked(cells, _DENDRITIC, cofactor, but=_B),
             "germinal": _marked(cells, _GERMINAL, cofactor)}  # fmt: skip
    found = _structures(cells, profile, marks)
    area = cells.window.area * _MM2
    rate = density(len(found), area)
    about: dict[str, Any] = {"region": region, "n": len(found)} | method(cells, what)
    ripe = [f"{sum(s.maturity == m for s in found)} {m}" for m in dict.fromkeys(s.maturity for s in found)]
    flags = f"maturity: {', '.join(ripe)}" if ripe else ""
    result.measurements += [
        Measurement("tls_count", len(found), "{structures}", flags=flags, **about),
        Measurement("tls_density_area", float(rate.value), "{structures}/mm2", lower=float(rate.lower),
                    upper=float(rate.upper), level=LEVEL, uncertainty_kind="interval", **about),
        Measurement("tls_area", sum(s.area_um2 for s in found) * _MM2, "mm2", **about),
    ]  # fmt: skip
    _lymphoid_tables(cells, profile, found, marks, result)


def _structures(
    cells: Cells, profile: LymphoidProfile, marks: Mapping[str, NDArray[np.bool_] | None]
) -> list[Structure]:
    return lymphoid_structures(
        cells.y_um, cells.x_um, b_cells=np.isin(cells.types, members(_B, cells.names)),
        t_cells=np.isin(cells.types, members(_T, cells.names)), reach=profile.reach_um,
        fewest_within_reach=profile.fewest_within_reach, fewest_b=profile.fewest_b, fewest_t=profile.fewest_t,
        around=profile.around_um, **marks,
    )  # fmt: skip


def _lymphoid_tables(
    cells: Cells,
    profile: LymphoidProfile,
    found: list[Structure],
    marks: Mapping[str, NDArray[np.bool_] | None],
    result: Result,
) -> None:
    """The structures, and how many there would be under other thresholds."""
    import pandas as pd

    rows = [
        {"structure": k, "x": s.x_um, "y": s.y_um, "b_cells": s.b_cells, "t_cells": s.t_cells,
         "follicular_dendritic": math.nan if s.follicular_dendritic is None else s.follicular_dendritic,
         "germinal": math.nan if s.germinal is None else s.germinal, "area": s.area_um2, "maturity": s.maturity}
        for k, s in enumerate(found, start=1)
    ]  # fmt: skip
    columns = ["structure", "x", "y", "b_cells", "t_cells", "follicular_dendritic", "germinal", "area", "maturity"]
    units = {"structure": "1", "x": "um", "y": "um", "area": "um2"}
    units |= dict.fromkeys(("b_cells", "t_cells", "follicular_dendritic", "germinal"), "{cells}")
    result.tables[cells.prefixed("lymphoid")] = Table(pd.DataFrame(rows, columns=columns), units)
    grid = []
    for wider in _GRID:
        for more in _GRID:
            other = replace(profile, reach_um=profile.reach_um * wider, fewest_b=max(round(profile.fewest_b * more), 1))
            number = len(_structures(cells, other, marks))
            grid.append({"reach": other.reach_um, "fewest_b": other.fewest_b, "structures": number})
    result.tables[cells.prefixed("lymphoid_thresholds")] = Table(
        pd.DataFrame(grid), {"reach": "um", "fewest_b": "{cells}", "structures": "{structures}"}
    )


def _marked(cells: Cells, markers: tuple[str, ...], cofactor: float, *, but: str = "") -> NDArray[np.bool_] | None:
    """Cells that bear one of some markers, by the channels' names; None where none was measured.

    Mature B cells bear CD21 as well: ``but`` leaves out a component.
    """
    plain = ["".join(c for c in name.lower() if c.isalnum()) for name in cells.channels]
    there = [k for k, name in enumerate(plain) if name in markers]
    if not there:
        return None
    marked = np.zeros(len(cells), bool)
    for k in there:
        values = arcsinh(cells.measures.mean[:, k], cofactor)
        marked |= np.asarray(split(values).positive(values) > 0.5)
    return marked & ~np.isin(cells.types, members(but, cells.names)) if but else marked


# -- infiltration ----------------------------------------------------------------------------------------------------


def _infiltration(cells: Cells, parts: Compartments, options: Mapping[str, Any], result: Result) -> None:
    """Densities by signed distance to the border of the nests, negative inside."""
    import pandas as pd

    step, reach = float(options["profile_um"]), float(options["profile_reach_um"])
    number = max(int(np.ceil(reach / step - 1e-9)), 1)
    edges = step * np.arange(-number, number + 1.0)
    tables = []
    for component, own in component_types(cells).items():
        mine = np.isin(cells.types, own)
        if not mine.any() and component != "cell":
            continue
        found = parts.profile(cells.y_um[mine], cells.x_um[mine], edges)
        seen = found.area_mm2 > 0
        tables.append(
            pd.DataFrame(
                {"component": component, "from": edges[:-1], "to": edges[1:], "cells": found.cells,
                 "area": found.area_mm2, "density": found.value, "lower": found.lower, "upper": found.upper}
            )[seen]
        )  # fmt: skip
    units = {"from": "um", "to": "um", "cells": "{cells}", "area": "mm2"}
    units |= dict.fromkeys(("density", "lower", "upper"), "{cells}/mm2")
    result.tables[cells.prefixed("infiltration")] = Table(pd.concat(tables, ignore_index=True), units)
