"""Immune phenotype, lymphoid structures and infiltration of a region, where the answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from timelens.engines.cells.graph import delaunay
from timelens.engines.cells.measure import CellMeasures
from timelens.engines.cells.window import Window
from timelens.lenses.cytometry.cells import Cells
from timelens.lenses.cytometry.immune import add_immune, cd8_counts
from timelens.lenses.cytometry.recipe import DEFAULTS
from timelens.lenses.cytometry.sample import sample_of
from timelens.lenses.cytometry.statistics import add_statistics, find_compartments
from timelens.study.contract import Result

NAMES = ("unknown", "tumour-cell", "cd8-t-cell", "b-cell", "cd4-t-cell")
SIDE = 1000.0
SPACE = DEFAULTS["space"]
IMMUNE = DEFAULTS["immune"]


def tissue(types, y, x, names=NAMES, channels=("CD3",), mean=None) -> Cells:
    """Cells of a region of one square millimetre, by their places."""
    n = len(types)
    one = np.ones(n)
    values = np.ones((n, len(channels))) if mean is None else mean
    measures = CellMeasures(
        np.arange(1, n + 1),
        50 * one,
        y - 0.5,
        x - 0.5,
        8 * one,
        8 * one,
        0 * one,
        values,
        np.ones_like(values),
        one > 2,
    )
    return Cells(
        "", np.zeros((2, 2), np.int32), (1.0, 1.0), tuple(channels), measures, Window.rectangle(SIDE, SIDE), names,
        np.asarray(types), one, {}, {}, {}, delaunay(y, x, longest=30.0),
    )  # fmt: skip


def lattice(rng, inside: float, outside: float):
    """Half nest, half stroma, 5,000 cells, and so many CD8 T cells in each."""
    y, x = rng.random((2, 5000)) * SIDE
    types = np.where(x < 500, 1, 4)
    for half, number in ((x < 450, inside), (x > 550, outside)):
        types[rng.choice(np.flatnonzero(half), int(number), replace=False)] = 2
    return tissue(types, y, x)


def rows(result, quantity):
    return [m for m in result.measurements if m.quantity == quantity]


def added(cells, **immune):
    result = Result()
    sample = sample_of([cells])
    add_immune(sample, [find_compartments(cells, SPACE, result)], {**IMMUNE, **immune}, 1.0, result)
    return result


@pytest.mark.parametrize(
    ("inside", "outside", "said"), [(200, 20, "inflamed"), (10, 200, "excluded"), (5, 10, "desert")]
)
def test_phenotypes(rng, inside, outside, said):
    cells = lattice(rng, inside, outside)
    parts = [find_compartments(cells, SPACE, Result())]
    nest, nest_mm2, rest, rest_mm2 = cd8_counts(sample_of([cells]), parts)
    assert (nest, rest) == (inside, outside) and nest_mm2 + rest_mm2 == pytest.approx(1.0)
    assert nest_mm2 == pytest.approx(0.5, abs=0.01)
    result = added(cells)
    found = {q: rows(result, f"{q}_probability")[0] for q in ("inflamed", "excluded", "desert")}
    assert found[said].value > 0.99 and found[said].flags == "most likely"
    assert sum(m.value for m in found.values()) == pytest.approx(1.0)
    assert all("cd8-100-100" in m.method for m in found.values())
    table = result.tables["phenotype"].data.set_index("convention")
    assert table.loc["cd8-100-100", "in_nest"] == pytest.approx(inside / nest_mm2)


def test_a_convention_of_ones_own(rng):
    result = added(lattice(rng, 200, 20), cut_offs={"name": "strict", "nest": 5000.0, "stroma": 5000.0})
    (row,) = rows(result, "desert_probability")
    assert (
        row.value > 0.99 and "strict" in row.method and "strict" in set(result.tables["phenotype"].data["convention"])
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("unknown", "tumour-cell", "tam", "b-cell", "endothelial-cell"), "cd8-t-cell not told"),
        (("unknown", "caf", "cd8-t-cell", "b-cell", "cd4-t-cell"), "no tumour nest"),
    ],
)
def test_what_the_panel_does_not_tell_has_a_reason(rng, names, said):
    cells = replace(lattice(rng, 50, 50), names=names)
    result = added(cells)
    for quantity in ("inflamed", "excluded", "desert"):
        (row,) = rows(result, f"{quantity}_probability")
        assert np.isnan(row.value) and said in row.reason
    assert "phenotype" not in result.tables
    (count,) = rows(result, "tls_count")
    assert np.isnan(count.value) == ("tam" in names)


def test_all_nest_leaves_excluded_and_desert_open(rng):
    y, x = rng.random((2, 4000)) * SIDE
    result = added(tissue(np.where(np.arange(4000) < 300, 2, 1), y, x))
    (inflamed,), (excluded,) = rows(result, "inflamed_probability"), rows(result, "excluded_probability")
    assert inflamed.value > 0.99 and inflamed.flags == "most likely"
    assert np.isnan(excluded.value) and excluded.reason == "there is no stroma"


def follicle(rng, **more):
    """Scattered cells and a follicle of 80 B and 40 T cells at (300, 700)."""
    y, x = rng.random((2, 2000)) * SIDE
    b, t = rng.normal([[300], [700]], 18, (2, 80)), rng.normal([[300], [700]], 25, (2, 40))
    y, x = (np.concatenate([a, one, two]) for a, one, two in zip((y, x), b, t, strict=True))
    return tissue(np.repeat([1, 3, 4], [2000, 80, 40]), y, x, **more)


def test_a_follicle_is_found_with_its_place_and_area(rng):
    result = added(follicle(rng))
    (count,), (rate,), (area,) = (rows(result, f"tls_{q}") for q in ("count", "density_area", "area"))
    assert count.value == rate.value == 1 and rate.lower == pytest.approx(0.0253, abs=1e-3)
    assert "b50-t10" in count.method and count.flags == "maturity: 1 unknown"
    (one,) = result.tables["lymphoid"].data.to_dict("records")
    assert (one["y"], one["x"]) == pytest.approx((300, 700), abs=8)
    assert area.value == pytest.approx(one["area"] * 1e-6)
    grid = result.tables["lymphoid_thresholds"].data.set_index(["reach", "fewest_b"])["structures"]
    assert grid[30.0, 50] == 1 and grid[30.0, 100] == 0
    assert rows(added(follicle(rng), lymphoid="b20-t10"), "tls_count")[0].value == 1


def test_maturity_by_the_markers_that_were_measured(rng):
    cells = follicle(rng, channels=("CD21", "CD23"), mean=rng.gamma(4, 0.05, (2120, 2)))
    mean = cells.measures.mean
    mean[2080:2110, 0] = rng.gamma(20, 1, 30)  # among the T cells of the follicle
    # A B cell may bear CD21 without being a follicular dendritic cell.
    mean[2000:2040, 0] = rng.gamma(20, 1, 40)
    (one,) = added(cells).tables["lymphoid"].data.to_dict("records")
    assert one["maturity"] == "primary follicle" and one["follicular_dendritic"] == 30
    mean[2000:2050, 1] = rng.gamma(20, 1, 50)
    (one,) = added(cells).tables["lymphoid"].data.to_dict("records")
    assert one["maturity"] == "secondary follicle" and one["germinal"] >= 49


def test_the_profile_of_infiltration_counts_every_cell_within_its_reach(rng):
    cells = lattice(rng, 100, 300)
    result = added(cells, profile_um=50.0, profile_reach_um=500.0)
    table = result.tables["infiltration"].data
    of_cd8 = table[table["component"] == "cd8-t-cell"]
    assert of_cd8["cells"].sum() == 400 and of_cd8["area"].sum() == pytest.approx(1.0, abs=0.01)
    deep = of_cd8[(of_cd8["from"] >= 100) & (of_cd8["to"] <= 400)]
    assert (deep["lower"] < 300 / 0.45).all() and (deep["upper"] > 300 / 0.45).all()
    assert set(table["component"]) >= {"cell", "tumour-cell", "t-cell", "cd8-t-cell", "cd4-t-cell"}


def test_mixing_and_pairs_in_halves(rng):
    result = Result()
    add_statistics(sample_of([lattice(rng, 0, 200)]), [None], {**SPACE, "neighbourhoods": 0}, rng, result)
    mixing = {m.component: m.value for m in rows(result, "mixing_score")}
    assert mixing["tumour-cell|cd8-t-cell"] < 0.1
    pairs = result.tables["pairs"].data.set_index(["from", "to", "radius"])
    apart, mixed = pairs.loc[("tumour-cell", "cd8-t-cell", 50.0)], pairs.loc[("cd8-t-cell", "cd4-t-cell", 50.0)]
    assert apart["l"] < apart["l_lower"] and apart["z"] < -5
    assert apart["co_occurrence"] < 0.2 and mixed["co_occurrence"] > 1
    # The cells themselves are spread evenly: chance is L = r.
    assert apart["l_chance"] == pytest.approx(50, rel=0.01)


def test_a_region_too_small_for_pairs_says_so(rng):
    cells = lattice(rng, 10, 10)
    result = Result()
    add_statistics(sample_of([cells]), [None], {**SPACE, "neighbourhoods": 0, "pair_step_um": 300.0}, rng, result)
    assert "pairs" not in result.tables
    assert [p.message for p in result.problems] == ["The region is too small for statistics of pairs"]
