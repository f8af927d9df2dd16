"""The public object: units, sums, vessels for agents, regions, reproducibility, truth."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from tests.tumor.small import GRID, tumour

from timelens import units
from timelens.errors import MissingFieldError, UsageError
from timelens.knowledge import quantities
from timelens.tumor.architecture import ARCHITECTURES, INFLAMED
from timelens.tumor.cells import LEAVES
from timelens.tumor.microenvironment import FIELDS, build


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_field_is_finite_has_a_unit_and_becomes_an_image(name: str) -> None:
    m = tumour(name)
    assert set(m.fields) == set(FIELDS)
    for field, (unit, quantity) in FIELDS.items():
        assert m[field].dtype == np.float32
        assert np.isfinite(m[field]).all()
        assert units.parse(unit).code == unit
        assert quantity is None or quantities.get(quantity).unit == unit
        image = m.image(field)
        assert (image.unit, image.geometry) == (unit, GRID)
    assert m.image("t-cell").quantity == "cell_density"


def test_parts_sum_to_one_and_leaves_to_all_cells() -> None:
    m = tumour()
    parts = (
        "vessel_volume_fraction",
        "interstitial_fraction",
        "collagen_fraction",
        "necrosis_fraction",
        "host_fraction",
    )
    assert sum(m[p] for p in parts) + m.cell_volume_fraction == pytest.approx(1, abs=2e-6)
    assert set(m.cells) == set(LEAVES)
    assert m.density("cell") == pytest.approx(sum(d.astype(float) for d in m.cells.values()), rel=1e-5)
    t_cells = m.density("cd8-t-cell") + m.density("cd4-t-cell") + m.density("memory-t-cell") + m.density("nkt-cell")
    assert m.density("t-cell") == pytest.approx(t_cells + m.density("car-t-cell"), rel=1e-5)


def test_the_number_of_tumour_cells_has_the_order_of_tumours() -> None:
    # 1e8 to 1e9 cells per gram: Del Monte 2009, doi:10.4161/cc.8.3.7608.
    m = tumour()
    assert 1e5 < m.cells["tumour-cell"][m.masks["living tumour"]].mean() < 1e6


def test_vessels_for_agents() -> None:
    m = tumour()
    assert m.vessel_surface == pytest.approx(2 * m.vessel_volume_fraction / 0.005, rel=1e-5)
    assert m.ps(1e-3) == pytest.approx(m.vessel_surface * m["leakiness"] * 1e-3 * 60, rel=1e-5)
    assert m.ps_of_class("antibody") == pytest.approx(m.ps(3e-6), rel=1e-6)
    assert m.plasma_volume_fraction == pytest.approx(m.vessel_volume_fraction * (1 - m["haematocrit"]), rel=1e-5)
    assert m.plasma_flow == pytest.approx(m.perfusion * (1 - m["haematocrit"]), rel=1e-5)
    assert m["leakiness"][m.masks["tumour"]].mean() == pytest.approx(1, abs=0.25)


def test_regions_are_disjoint_where_they_should_be() -> None:
    masks = tumour().masks
    assert not (masks["tumour"] & masks["host"]).any()
    assert (masks["living tumour"] | masks["necrosis"]).sum() == masks["tumour"].sum()
    assert not (masks["core"] & masks["margin"]).any()
    assert (masks["margin"] & masks["host"]).any()


def test_same_seed_same_bytes() -> None:
    def digest(seed: int) -> str:
        m = build(INFLAMED, GRID, seed)
        return hashlib.sha256(b"".join(a.tobytes() for a in (*m.fields.values(), *m.cells.values()))).hexdigest()

    assert digest(5) == digest(5)
    assert digest(5) != digest(6)


def test_nobody_changes_a_field_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        tumour()["oxygen"][0, 0, 0] = 1


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_a_seed_is_a_whole_number(seed) -> None:
    with pytest.raises(UsageError, match="A seed is a whole number from 0 on"):
        build(INFLAMED, GRID, seed)


def test_what_is_not_there_is_refused() -> None:
    m = tumour()
    with pytest.raises(UsageError, match="There is no such field"):
        m["colour"]
    with pytest.raises(MissingFieldError, match="no cells of this component"):
        m.density("pd-1")
    with pytest.raises(UsageError, match="No permeability is known for this class"):
        m.ps_of_class("virus")
    with pytest.raises(UsageError, match="A permeability is not negative"):
        m.ps(-1.0)


def test_the_truth_table_says_what_the_fields_say() -> None:
    m = tumour()
    table = m.truth().data
    inside = m.masks["tumour"]

    def value(quantity: str, component: str = "", region: str = "tumour") -> float:
        rows = table[(table.quantity == quantity) & (table.component == component) & (table.region == region)]
        assert len(rows) == 1
        assert rows.unit.item() == quantities.get(quantity).unit
        return float(rows.value.item())

    assert value("volume") == pytest.approx(inside.sum() * GRID.voxel_volume / 1000)
    assert value("po2") == pytest.approx(m["oxygen"][inside].mean(dtype=float), rel=1e-6)
    assert value("cell_density", "t-cell") == pytest.approx(m.density("t-cell")[inside].mean(dtype=float), rel=1e-6)
    shares = [value("cell_fraction", leaf) for leaf in LEAVES if leaf not in ("cd8-t-cell", "cd4-t-cell", "b-cell")]
    sums = (
        value("cell_fraction", "cd8-t-cell") + value("cell_fraction", "cd4-t-cell") + value("cell_fraction", "b-cell")
    )
    counted_twice = sum(value("cell_fraction", n) for n in ("exhausted-cd8-t-cell", "th1", "treg", "plasma-cell"))
    assert sum(shares) + sums - counted_twice == pytest.approx(1, abs=1e-5)
    assert value("hypoxic_fraction", region="necrosis") > value("hypoxic_fraction", region="margin")
    assert value("necrotic_fraction") == pytest.approx(m.architecture.necrotic_fraction, abs=0.03)


def test_targets_enter_the_truth_table_on_demand() -> None:
    from timelens.tumor.truth import truth_table

    table = truth_table(tumour(), targets=("gzmb", "cd274"), regions=("tumour",)).data
    rows = table[table.target != ""].set_index(["quantity", "target"]).value
    expected = tumour().target_concentration("cd274")[tumour().masks["tumour"]].mean()
    assert rows["target_concentration", "cd274"] == pytest.approx(expected, rel=1e-5)
    assert ("enzyme_activity", "gzmb") in rows
    assert ("enzyme_activity", "cd274") not in rows
