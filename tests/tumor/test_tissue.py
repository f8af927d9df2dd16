"""What fills a voxel sums to 1; cells are where their parameters put them; numbers are kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tumor.small import GRID, tumour

from timelens.errors import DataError
from timelens.study.geometry import Geometry
from timelens.tumor.architecture import ARCHITECTURES, DESERT, INFLAMED, Architecture
from timelens.tumor.cells import LEAVES
from timelens.tumor.layout import lay_out
from timelens.tumor.tissue import ENDOTHELIAL_AREA_MM2, Tissue, Vessels, fill, vessels

SMALL = Geometry.from_spacing((20, 20, 20), (0.8, 0.8, 0.8))


def filled(a: Architecture, seed: int = 1, grid: Geometry = SMALL, **options: float) -> tuple[Vessels, Tissue]:
    layout = lay_out(a, grid, seed, None)
    blood = vessels(a, layout)
    return blood, fill(a, layout, blood, **options)


def whole(blood: Vessels, tissue: Tissue) -> np.ndarray:
    cells = sum(LEAVES[name].volume_mm3 * density.astype(float) for name, density in tissue.cells.items())
    return blood.fraction + cells + tissue.interstitial + tissue.collagen + tissue.debris + tissue.host


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(sorted(ARCHITECTURES)),
    st.floats(0, 1),
    st.floats(0, 0.6),
    st.floats(0, 0.9),
    st.floats(0, 1),
    st.integers(0, 1000),
)
def test_parts_of_a_voxel_sum_to_one_and_none_is_negative(
    name: str, access: float, stroma: float, necrosis: float, loss: float, seed: int
) -> None:
    a = replace(
        ARCHITECTURES[name],
        access=access,
        stroma_fraction=stroma,
        necrotic_fraction=necrosis,
        core_vessel_loss=loss,
        tls_count=0,
    )
    blood, tissue = filled(a, seed)
    assert np.abs(whole(blood, tissue) - 1).max() < 2e-6
    for part in (blood.fraction, *tissue.cells.values(), tissue.collagen, tissue.debris, tissue.host):
        assert part.min() >= 0
    assert tissue.interstitial.min() > 0.02


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_means_over_the_tumour_are_the_parameters(name: str) -> None:
    m = tumour(name)
    inside = m.masks["tumour"]
    for leaf, density in m.architecture.densities.items():
        assert m.cells[leaf][inside].mean(dtype=float) == pytest.approx(density, rel=1e-4)
    living = m["vessel_volume_fraction"][m.masks["living tumour"]].mean()
    assert living == pytest.approx(m.architecture.vessel_fraction, rel=0.1)


def test_exclusion_keeps_effector_cells_out_of_nests_and_nothing_else() -> None:
    def ratio(name: str, leaf: str) -> float:
        m = tumour(name)
        living = m.masks["living tumour"] & (m["tls"] < 0.1) & (m["depth"] > 1)
        nest, stroma = living & (m["stroma"] < 0.1), living & (m["stroma"] > 0.9)
        return float(m.cells[leaf][nest].mean() / m.cells[leaf][stroma].mean())

    assert ratio("inflamed", "cd8-t-cell") == pytest.approx(0.7, rel=0.3)
    assert ratio("excluded", "cd8-t-cell") < 0.1
    assert ratio("excluded", "mdsc") == pytest.approx(ratio("inflamed", "mdsc"), rel=0.3)
    assert ratio("inflamed", "caf") < 0.2
    assert ratio("inflamed", "tumour-cell") > 5


def test_the_margin_has_more_effector_cells_than_the_core() -> None:
    m = tumour("excluded")
    inside = m.masks["living tumour"] & (m["tls"] < 0.1)
    assert (
        m.cells["cd8-t-cell"][inside & m.masks["margin"]].mean()
        > 2 * m.cells["cd8-t-cell"][inside & (m["depth"] > 3)].mean()
    )


def test_follicles_hold_b_cells_and_the_zone_around_them_t_cells() -> None:
    a = replace(INFLAMED, tls_radius_mm=1.0, tls_count=1, necrotic_fraction=0).with_densities(
        b_cell=2e4, cd4_t_cell=3e4
    )
    layout = lay_out(a, GRID, 2, None)
    tissue = fill(a, layout, vessels(a, layout))
    follicle, zone = layout.follicle > 0.95, (layout.tls > 0.95) & (layout.follicle < 0.05)
    assert tissue.cells["b-cell"][follicle].mean() == pytest.approx(1e6, rel=0.1)
    assert tissue.cells["cd4-t-cell"][zone].mean() == pytest.approx(4e5, rel=0.15)
    assert tissue.cells["b-cell"][zone].mean() < 1e5


def test_endothelium_covers_the_vessels_and_necrosis_has_neither_vessels_nor_cells() -> None:
    m = tumour("inflamed")
    covered = m.cells["endothelial-cell"] * ENDOTHELIAL_AREA_MM2
    assert covered == pytest.approx(m.vessel_surface, rel=1e-5)
    dead = (m["necrosis_fraction"] > 0.5) & m.masks["tumour"]
    assert dead.any()
    assert m["vessel_volume_fraction"][dead].max() < 0.01
    assert m.cells["tumour-cell"][dead].mean() < 0.1 * m.cells["tumour-cell"][m.masks["living tumour"]].mean()


def test_a_stated_number_of_tumour_cells_is_met_and_too_many_are_refused() -> None:
    blood, tissue = filled(DESERT, tumour_cells=5e7)
    inside = lay_out(DESERT, SMALL, 1, None).inside
    assert tissue.cells["tumour-cell"][inside].mean() * DESERT.volume_mm3 == pytest.approx(5e7, rel=1e-4)
    assert np.abs(whole(blood, tissue) - 1).max() < 2e-6
    with pytest.raises(DataError, match="So many tumour cells do not fit"):
        filled(DESERT, tumour_cells=1e9)


def test_crowded_voxels_pass_cells_on_and_keep_their_numbers() -> None:
    crowded = replace(INFLAMED, tls_count=0, margin_mm=0.3).with_densities(cd8_t_cell=7e5, caf=5e4)
    blood, tissue = filled(crowded, grid=GRID)
    inside = lay_out(crowded, GRID, 1, None).inside
    assert tissue.cells["cd8-t-cell"][inside].mean(dtype=float) == pytest.approx(7e5, rel=0.01)
    others = sum(LEAVES[n].volume_mm3 * d for n, d in tissue.cells.items() if n != "tumour-cell") + blood.fraction
    assert others.max() <= 0.85 + 1e-4
    assert others.max() > 0.84  # crowding did take place
    assert np.abs(whole(blood, tissue) - 1).max() < 2e-6


def test_cells_that_fit_nowhere_are_refused() -> None:
    with pytest.raises(DataError, match=r"do not fit into the tumour.*mend|do not fit into the tumour.*Mend"):
        filled(INFLAMED.with_densities(caf=5e5))
