"""All regions of a subject together: sums over sums, names told in some regions only, sets of masks by themselves."""

from __future__ import annotations

import numpy as np
import pytest
from tests.lenses.cytometry.sections import section

from timelens.engines.cells.graph import stack
from timelens.engines.cells.interaction import moments
from timelens.engines.cells.regions import ratio_of_regions
from timelens.lenses.cytometry.lens import CytometryLens
from timelens.lenses.cytometry.recipe import merged_steps
from timelens.lenses.cytometry.sample import sample_of
from timelens.study.contract import Result

LENS = CytometryLens()


@pytest.fixture(scope="module")
def regions():
    """Three sections of one size and seed each."""
    found = []
    for side, seed in ((14, 3), (18, 4), (20, 5)):
        made = section(side, seed)
        found.append(LENS.quantify({"cytometry": made.acquisitions[0]}, made.regions, {}))
    return found


@pytest.fixture(scope="module")
def joined(regions):
    result = LENS.pooled(regions, {})
    assert result is not None
    return result


def row(result, quantity, component, region):
    (found,) = [m for m in result.measurements if (m.quantity, m.component, m.region) == (quantity, component, region)]
    return found


def test_one_region_is_not_pooled(regions):
    assert LENS.pooled(regions[:1], {}) is None
    assert LENS.pooled([Result(), Result()], {}) is None


def test_densities_are_sums_over_sums_with_the_spread_between_regions(regions, joined):
    whole = row(joined, "cell_density_area", "b-cell", "all regions")
    each = [row(r, "cell_density_area", "b-cell", "section") for r in regions]
    area = [c.window.area * 1e-6 for r in regions for c in r.pictures["cells"]]
    assert whole.value == pytest.approx(sum(m.n for m in each) / sum(area)) and whole.n == sum(m.n for m in each)
    assert "between-region" in whole.method and whole.method.endswith("3 regions")
    assert whole.lower < min(m.value for m in each) or whole.upper > max(m.value for m in each)
    two = LENS.pooled(regions[:2], {})
    assert "counting only" in row(two, "cell_density_area", "b-cell", "all regions").flags
    near = sum(row(r, "cell_density_area", "cell", "margin").n for r in regions)
    assert row(joined, "cell_density_area", "cell", "all regions: margin").n == near


def test_interactions_never_mix_regions(regions, joined):
    table = joined.tables["interactions"].data.set_index(["from", "to"])
    each = [r.tables["interactions"].data.set_index(["from", "to"]) for r in regions]
    pair = ("cd8-t-cell", "tumour-cell")
    for column in ("count", "expected", "variance"):
        assert table.loc[pair, column] == pytest.approx(sum(t.loc[pair, column] for t in each))
    one = table.loc[pair]
    assert one["z"] == pytest.approx((one["count"] - one["expected"]) / np.sqrt(one["variance"]))
    (sample,) = joined.pictures["samples"]
    mixed = moments(stack([c.graph for c in sample.regions]), np.bincount(sample.kinds, minlength=len(sample.names)))
    k = [sample.names.index(n) for n in pair]
    assert mixed[0][tuple(k)] != pytest.approx(one["expected"], rel=1e-3)


def test_neighbourhoods_mean_the_same_in_all_regions(joined, regions):
    cells = joined.tables["cells"].data
    assert len(cells) == sum(len(r.tables["cells"].data) for r in regions)
    assert cells["region"].nunique() == 3 and cells["neighbourhood"].nunique() == 6
    assert joined.tables["neighbourhoods"].data["cells"].sum() == len(cells)


def test_pairs_infiltration_phenotype_and_structures_add_up(regions, joined):
    pairs = joined.tables["pairs"].data.set_index(["from", "to", "radius"])["pairs"]
    each = [r.tables["pairs"].data.set_index(["from", "to", "radius"])["pairs"] for r in regions]
    key = ("tumour-cell", "tumour-cell", 40.0)
    assert pairs[key] == sum(t[key] for t in each)
    profile, parts = (
        [t.data.query("component == 'cd8-t-cell'")["cells"].sum() for t in tables]
        for tables in ([joined.tables["infiltration"]], [r.tables["infiltration"] for r in regions])
    )
    assert profile[0] == sum(parts)
    total = sum(row(joined, f"{n}_probability", "cd8-t-cell", "all regions").value for n in
                ("inflamed", "excluded", "desert"))  # fmt: skip
    assert total == pytest.approx(1.0)
    structures = [row(r, "tls_count", "", "section").value for r in regions]
    area = [c.window.area * 1e-6 for r in regions for c in r.pictures["cells"]]
    density, known = row(joined, "tls_density_area", "", "all regions"), ratio_of_regions(structures, area)
    assert [density.value, density.lower, density.upper] == pytest.approx([known.value, known.lower, known.upper])
    two = LENS.pooled(regions[:2], {})
    assert "counting only" in row(two, "tls_density_area", "", "all regions").flags
    assert row(joined, "tls_count", "", "all regions").value == sum(row(r, "tls_count", "", "section").value for r in
                                                                    regions)  # fmt: skip


def test_a_type_that_one_region_does_not_tell_counts_only_where_it_was_told(regions):
    from dataclasses import replace

    first, second = (r.pictures["cells"][0] for r in regions[:2])
    k = first.names.index("treg")
    blind = replace(
        first, names=tuple(n for n in first.names if n != "treg"),
        types=np.where(first.types == k, 0, first.types - (first.types > k)), not_told={"treg": "no positive group"},
    )  # fmt: skip
    sample = sample_of([blind, second], ["a", "b"])
    assert sample.told_in("treg") == [1] and sample.names[0] == "unknown"
    for cells, kinds in zip(sample.regions, sample.types, strict=True):
        assert [sample.names[t] for t in kinds[:50]] == [cells.names[t] for t in cells.types[:50]]
    result = Result()
    from timelens.lenses.cytometry.statistics import add_densities

    add_densities(sample, [None, None], result)
    found = row(result, "cell_density_area", "treg", "all regions")
    assert found.value == pytest.approx(row(regions[1], "cell_density_area", "treg", "section").value)
    assert "told in 1 of 2 regions" in found.flags


def test_distances_mixing_phenotype_and_infiltration_leave_out_where_a_type_is_not_told(regions):
    """With a second region that tells no CD8 T cells all regions together say of them what the first one says."""
    from dataclasses import replace

    (second,) = regions[1].pictures["cells"]
    names = tuple(n for n in second.names if not n.endswith("cd8-t-cell"))
    place = np.array([names.index(n) if n in names else 0 for n in second.names])
    blind = replace(second, names=names, types=place[second.types], not_told={"cd8-t-cell": "no positive group"})
    other = replace(regions[1], pictures={**regions[1].pictures, "cells": (blind,)})
    joined = LENS.pooled([regions[0], other], {"space": {"neighbourhoods": 0}})
    for quantity, component in (
        ("nearest_cell_distance", "cd8-t-cell|tumour-cell"), ("mixing_score", "tumour-cell|cd8-t-cell"),
        ("inflamed_probability", "cd8-t-cell"), ("excluded_probability", "cd8-t-cell"),
    ):  # fmt: skip
        all_regions, one = (
            row(joined, quantity, component, "all regions"),
            row(regions[0], quantity, component, "section"),
        )
        assert all_regions.value == pytest.approx(one.value) and all_regions.n == one.n
    assert "told in 1 of 2 regions" in row(joined, "inflamed_probability", "cd8-t-cell", "all regions").flags
    tables = (joined.tables, regions[0].tables)
    area, before = (t["infiltration"].data.query("component == 'cd8-t-cell'")["area"].sum() for t in tables)
    assert area == pytest.approx(before)
    of = (joined.tables["distances"].data, regions[0].tables["distances"].data)
    found, wanted = (t.set_index(["from", "to"]).loc[("tumour-cell", "cd8-t-cell")] for t in of)
    assert found["median"] == pytest.approx(wanted["median"]) and found["cells"] == wanted["cells"]


def test_sets_of_masks_are_pooled_each_by_itself():
    from dataclasses import replace

    results = []
    for number, seed in ((1, 3), (2, 4)):
        made = section(12, seed)
        scan = replace(made.acquisitions[0], extra={**made.acquisitions[0].extra, "region_number": number})
        masks = [replace(made.regions[0], id=f"{name}-{number}") for name in ("a", "b")]
        results.append(LENS.quantify({"cytometry": scan}, masks, {"space": {"neighbourhoods": 0}}))
    joined = LENS.pooled(results, merged_steps({"space": {"neighbourhoods": 0}}))
    assert {"a_interactions", "b_interactions"} <= set(joined.tables)
    assert row(joined, "cell_density_area", "cell", "a_all regions").value == pytest.approx(
        row(joined, "cell_density_area", "cell", "b_all regions").value
    )
