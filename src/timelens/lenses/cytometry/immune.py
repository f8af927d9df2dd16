"""What the immune cells of a region amount to: phenotype, lymphoid structures, and how deep each type comes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells.compartments import density
from timelens.engines.cells.immune_phenotype import immune_phenotype
from timelens.engines.cells.lymphoid import Structure, lymphoid_structures
from timelens.engines.cells.regions import FEWEST_REGIONS, ratio_of_regions
from timelens.engines.cells.thresholds import split
from timelens.engines.cells.transform import arcsinh
from timelens.lenses.cytometry.cells import Cells
from timelens.lenses.cytometry.profiles import CUT_OFFS, LymphoidProfile, cut_offs, lymphoid_profile
from timelens.lenses.cytometry.rows import LEVEL
from timelens.lenses.cytometry.sample import Sample
from timelens.lenses.cytometry.statistics import Parts
from timelens.study.contract import Result
from timelens.study.measurement import Measurement
from timelens.study.table import Table

__all__ = ["add_immune", "cd8_counts"]

_CD8, _B, _T = "cd8-t-cell", "b-cell", "t-cell"
_CLASSES = ("inflamed", "excluded", "desert")
#: Markers of follicular dendritic cells and of germinal centres, as plain letters (Silina 2018,
#: doi:10.1158/0008-5472.CAN-17-1987).
_DENDRITIC, _GERMINAL = ("cd21", "cr2", "cd35", "cr1"), ("cd23", "fcer2", "bcl6")
#: Multiples of a profile's numbers for which the count of structures is shown.
_GRID = (0.5, 0.75, 1.0, 1.5, 2.0)
_MM2 = 1e-6
Marks = Mapping[str, NDArray[np.bool_] | None]


def add_immune(sample: Sample, parts: Parts, options: Mapping[str, Any], cofactor: float, result: Result) -> None:
    """Put immune phenotype, lymphoid structures and the profile of infiltration into a result.

    Parameters
    ----------
    sample
        One region, or several of one subject.
    parts
        Their compartments.
    options
        Of the step ``immune``.
    cofactor
        Of the arcsinh, for the markers of lymphoid structures.
    result
        Is added to.
    """
    _phenotype(sample, parts, options, result)
    _lymphoid(sample, lymphoid_profile(options["lymphoid"]), cofactor, result)
    if any(p is not None for p in parts):
        _infiltration(sample, parts, options, result)


# -- phenotype -------------------------------------------------------------------------------------------------------


def cd8_counts(sample: Sample, parts: Parts) -> tuple[int, float, int, float]:
    """CD8 T cells and area in mm2 of the nests, then of the rest; the border runs between, there is no margin.

    A region that tells no CD8 T cells, or no tumour cells, is left out with its area.
    """
    found = np.zeros(4)
    for k in sample.told_in(_CD8):
        c, kinds, part = sample.regions[k], sample.types[k], parts[k]
        if part is None:
            continue
        halves = replace(part, margin=0.0)
        is_one = np.isin(kinds, sample.members(_CD8))
        inside = int((halves.of(c.y_um[is_one], c.x_um[is_one]) == "nest").sum())
        rest = halves.area_mm2("stroma") + halves.area_mm2("margin")
        found += inside, halves.area_mm2("nest"), is_one.sum() - inside, rest
    return int(found[0]), float(found[1]), int(found[2]), float(found[3])


def _phenotype(sample: Sample, parts: Parts, options: Mapping[str, Any], result: Result) -> None:
    """Probabilities of the three classes under the convention in force; a table shows them under others."""
    import pandas as pd

    told = [k for k in sample.told_in(_CD8) if parts[k] is not None]
    why = sample.why_not_told(_CD8) or ("" if told else "no tumour nest was found")
    counts = None if why else cd8_counts(sample, parts)
    own = cut_offs(options["cut_offs"])
    what = (
        f"immune phenotype by the convention {own.name}: many are {own.nest:g} CD8 T cells per mm2 in nests and "
        f"{own.stroma:g} in stroma"
    )
    row: dict[str, Any] = {"region": sample.place(), "component": _CD8} | sample.about(what)
    found = None if counts is None else immune_phenotype(*counts, own)
    for name in _CLASSES:
        value = math.nan if found is None else getattr(found, name)
        reason, flags = "", sample.partly_told(sample.told_in(_CD8))
        if math.isnan(value):
            reason = why or ("there is no tumour nest" if counts and not counts[1] else "there is no stroma")
        elif found is not None and found.most_likely == name:
            flags = "; ".join(f for f in ("most likely", flags) if f)
        seen = None if counts is None else counts[0] + counts[2]
        result.measurements.append(
            Measurement(f"{name}_probability", value, "1", n=seen, flags=flags, reason=reason, **row)
        )
    if counts is None:
        return
    rows = []
    for cuts in {own.name: own, **CUT_OFFS}.values():
        one = immune_phenotype(*counts, cuts)
        rows.append({"convention": cuts.name, "nest_from": cuts.nest, "stroma_from": cuts.stroma,
                     "in_nest": counts[0] / counts[1] if counts[1] else math.nan,
                     "in_stroma": counts[2] / counts[3] if counts[3] else math.nan,
                     **{name: getattr(one, name) for name in _CLASSES},
                     "most_likely": one.most_likely or ""})  # fmt: skip
    units = dict.fromkeys(("nest_from", "stroma_from", "in_nest", "in_stroma"), "{cells}/mm2")
    units |= dict.fromkeys(_CLASSES, "1")
    result.tables[sample.prefixed("phenotype")] = Table(pd.DataFrame(rows), units)


# -- lymphoid structures ---------------------------------------------------------------------------------------------


def _lymphoid(sample: Sample, profile: LymphoidProfile, cofactor: float, result: Result) -> None:
    what = (
        f"lymphoid structures by the profile {profile.name}: B cells with {profile.fewest_within_reach} within "
        f"{profile.reach_um:g} um joined, from {profile.fewest_b} B cells with {profile.fewest_t} T cells within "
        f"{profile.around_um:g} um"
    )
    about: dict[str, Any] = {"region": sample.place()} | sample.about(what)
    told = [k for k in sample.told_in(_B) if k in sample.told_in(_T)]
    if why := sample.why_not_told(_B) or sample.why_not_told(_T) or ("" if told else "no region tells B and T cells"):
        for quantity, unit in (("count", "{structures}"), ("density_area", "{structures}/mm2"), ("area", "mm2")):
            result.measurements.append(Measurement(f"tls_{quantity}", math.nan, unit, reason=why, **about))
        return
    marks = [
        {"follicular_dendritic": _marked(c, kinds, _DENDRITIC, cofactor, but=sample.members(_B)),
         "germinal": _marked(c, kinds, _GERMINAL, cofactor)}
        for c, kinds in zip(sample.regions, sample.types, strict=True)
    ]  # fmt: skip
    by_region = _structures(sample, profile, marks)
    found = [s for one in by_region for s in one]
    about["n"] = len(found)
    partly = sample.partly_told(told)
    ripe = [f"{sum(s.maturity == m for s in found)} {m}" for m in dict.fromkeys(s.maturity for s in found)]
    flags = "; ".join(f for f in (f"maturity: {', '.join(ripe)}" if ripe else "", partly) if f)
    rate = _rate([len(by_region[k]) for k in told], sample.area_mm2[told])
    few = "interval of counting only: too few regions to know how much they differ"
    few = few if len(sample.regions) > 1 and len(told) < FEWEST_REGIONS else ""
    result.measurements += [
        Measurement("tls_count", len(found), "{structures}", flags=flags, **about),
        Measurement("tls_density_area", rate[0], "{structures}/mm2", lower=rate[1], upper=rate[2], level=LEVEL,
                    uncertainty_kind="interval", flags="; ".join(f for f in (partly, few) if f), **about),
        Measurement("tls_area", sum(s.area_um2 for s in found) * _MM2, "mm2", flags=partly, **about),
    ]  # fmt: skip
    _lymphoid_tables(sample, profile, by_region, marks, result)


def _rate(number: Sequence[int], area_mm2: NDArray[np.float64]) -> tuple[float, float, float]:
    """Sum over sum with its interval: from the spread between regions, or of counting where they are few."""
    found = ratio_of_regions(number, area_mm2, level=LEVEL)
    if found.regions >= FEWEST_REGIONS:
        return found.value, found.lower, found.upper
    one = density(sum(number), area_mm2.sum(), level=LEVEL)
    return found.value, float(one.lower), float(one.upper)


def _structures(sample: Sample, profile: LymphoidProfile, marks: Sequence[Marks]) -> list[list[Structure]]:
    """Lymphoid structures of each region."""
    return [
        lymphoid_structures(
            c.y_um, c.x_um, b_cells=np.isin(kinds, sample.members(_B)), t_cells=np.isin(kinds, sample.members(_T)),
            reach=profile.reach_um, fewest_within_reach=profile.fewest_within_reach, fewest_b=profile.fewest_b,
            fewest_t=profile.fewest_t, around=profile.around_um, **marked,
        )
        for c, kinds, marked in zip(sample.regions, sample.types, marks, strict=True)
    ]  # fmt: skip


def _lymphoid_tables(
    sample: Sample,
    profile: LymphoidProfile,
    found: Sequence[Sequence[Structure]],
    marks: Sequence[Marks],
    result: Result,
) -> None:
    """The structures, and how many there would be under other thresholds."""
    import pandas as pd

    rows = [
        {"region": title, "structure": k, "x": s.x_um, "y": s.y_um, "b_cells": s.b_cells, "t_cells": s.t_cells,
         "follicular_dendritic": math.nan if s.follicular_dendritic is None else s.follicular_dendritic,
         "germinal": math.nan if s.germinal is None else s.germinal, "area": s.area_um2, "maturity": s.maturity}
        for title, one in zip(sample.titles, found, strict=True) for k, s in enumerate(one, start=1)
    ]  # fmt: skip
    units = {"structure": "1", "x": "um", "y": "um", "area": "um2"}
    units |= dict.fromkeys(("b_cells", "t_cells", "follicular_dendritic", "germinal"), "{cells}")
    columns = ["region", "structure", "x", "y", "b_cells", "t_cells", "follicular_dendritic", "germinal", "area",
               "maturity"]  # fmt: skip
    result.tables[sample.prefixed("lymphoid")] = Table(pd.DataFrame(rows, columns=columns), units)
    grid = []
    for wider in _GRID:
        for more in _GRID:
            other = replace(profile, reach_um=profile.reach_um * wider, fewest_b=max(round(profile.fewest_b * more), 1))
            number = sum(len(one) for one in _structures(sample, other, marks))
            grid.append({"reach": other.reach_um, "fewest_b": other.fewest_b, "structures": number})
    result.tables[sample.prefixed("lymphoid_thresholds")] = Table(
        pd.DataFrame(grid), {"reach": "um", "fewest_b": "{cells}", "structures": "{structures}"}
    )


def _marked(
    cells: Cells, kinds: NDArray[np.int64], markers: tuple[str, ...], cofactor: float, *, but: Sequence[int] = ()
) -> NDArray[np.bool_] | None:
    """Cells that bear one of some markers, by the channels' names; None where none was measured.

    Mature B cells bear CD21 as well: ``but`` leaves out types.
    """
    plain = ["".join(c for c in name.lower() if c.isalnum()) for name in cells.channels]
    there = [k for k, name in enumerate(plain) if name in markers]
    if not there:
        return None
    marked = np.zeros(len(cells), bool)
    for k in there:
        values = arcsinh(cells.telling[:, k], cofactor)
        marked |= np.asarray(split(values).positive(values) > 0.5)
    return marked & ~np.isin(kinds, but)


# -- infiltration ----------------------------------------------------------------------------------------------------


def _infiltration(sample: Sample, parts: Parts, options: Mapping[str, Any], result: Result) -> None:
    """Densities by signed distance to the border of the nests, negative inside."""
    import pandas as pd

    step, reach = float(options["profile_um"]), float(options["profile_reach_um"])
    number = max(int(np.ceil(reach / step - 1e-9)), 1)
    edges = step * np.arange(-number, number + 1.0)
    tables = []
    for component, own in sample.components().items():
        mine = {k: np.isin(sample.types[k], own) for k in sample.told_in(component) if parts[k] is not None}
        if not mine or (component != "cell" and not any(m.any() for m in mine.values())):
            continue
        each = [
            p.profile(sample.regions[k].y_um[m], sample.regions[k].x_um[m], edges)
            for k, m in mine.items() if (p := parts[k]) is not None
        ]  # fmt: skip
        found = density(sum(e.cells for e in each), sum(e.area_mm2 for e in each))
        seen = found.area_mm2 > 0
        tables.append(
            pd.DataFrame(
                {"component": component, "from": edges[:-1], "to": edges[1:], "cells": found.cells,
                 "area": found.area_mm2, "density": found.value, "lower": found.lower, "upper": found.upper}
            )[seen]
        )  # fmt: skip
    units = {"from": "um", "to": "um", "cells": "{cells}", "area": "mm2"}
    units |= dict.fromkeys(("density", "lower", "upper"), "{cells}/mm2")
    result.tables[sample.prefixed("infiltration")] = Table(pd.concat(tables, ignore_index=True), units)
