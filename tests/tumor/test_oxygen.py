"""Oxygen and pH: closed forms in uniform tissue, limits, and the right order in a tumour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.tumor.small import tumour

from timelens.engines.diffusion import krogh_mean
from timelens.study.geometry import Geometry
from timelens.tumor.architecture import INFLAMED
from timelens.tumor.oxygen import BLOOD_PER_TISSUE, OXYGEN_DIFFUSIVITY, oxygen_field, ph_field


def uniform(spacing: float, *, fraction: float = 0.03, perfusion: float = 1e6, living: float = 0.7) -> np.ndarray:
    shape = (6, 6, 6)
    full = {name: np.full(shape, value, np.float32) for name, value in {
        "fraction": fraction, "perfusion": perfusion, "haematocrit": 0.45, "living": living, "debris": 0.0, "host": 0.0,
    }.items()}  # fmt: skip
    return oxygen_field(INFLAMED, Geometry.from_spacing(shape, (spacing,) * 3), **full)


@pytest.mark.parametrize("spacing", [0.02, 0.5])
@pytest.mark.parametrize("fraction", [0.005, 0.03, 0.1])
def test_with_plenty_of_flow_a_voxel_has_the_mean_of_its_tissue_cylinders(fraction: float, spacing: float) -> None:
    vessel = INFLAMED.vessel_radius_mm
    mean = krogh_mean(vessel, vessel / np.sqrt(fraction), INFLAMED.consumption_length_mm)
    assert uniform(spacing, fraction=fraction) == pytest.approx(95 * float(mean), rel=1e-4)


def test_with_vessels_everywhere_flow_sets_the_balance() -> None:
    flow = 0.1 / 60 * BLOOD_PER_TISSUE
    consumption = OXYGEN_DIFFUSIVITY / INFLAMED.consumption_length_mm**2
    expected = 95 * flow / (flow + consumption)
    assert uniform(0.2, fraction=0.29, perfusion=0.1) == pytest.approx(expected, rel=2e-3)


def test_without_vessels_or_flow_there_is_none_and_without_cells_all() -> None:
    assert uniform(0.2, fraction=0.0).max() == 0
    assert uniform(0.2, perfusion=0.0).max() == 0
    assert uniform(0.2, living=0.0) == pytest.approx(95, rel=0.01)


def test_more_cells_or_fewer_vessels_mean_less_oxygen() -> None:
    middle = uniform(0.2, perfusion=0.2).mean()
    assert uniform(0.2, perfusion=0.2, living=0.9).mean() < middle < uniform(0.2, perfusion=0.4).mean()


def test_the_tumour_is_hypoxic_where_it_is_expected_to_be() -> None:
    m = tumour("inflamed")
    living, dead = m.masks["living tumour"], m.masks["necrosis"]
    assert m["oxygen"].min() >= 0
    assert m["oxygen"].max() < 95
    # Medians: tumours 10 to 40 mmHg, normal tissue 40 to 70 mmHg.
    assert 10 < np.median(m["oxygen"][living]) < 45
    assert 40 < np.median(m["oxygen"][m.masks["host"]]) < 75
    assert np.median(m["oxygen"][dead]) < 10
    assert 6.5 < np.median(m["ph"][living]) < 7.2
    assert m["ph"][m.masks["host"]].max() <= 7.4


def test_acid_is_carried_off_by_flow_in_uniform_tissue() -> None:
    shape = (5, 5, 5)
    a = replace(INFLAMED, acid_ph_per_s=0.001)
    found = ph_field(
        a,
        Geometry.from_spacing(shape, (0.3,) * 3),
        perfusion=np.full(shape, 0.3, np.float32),
        living=np.full(shape, 0.6, np.float32),
        oxygen=np.full(shape, 1e9, np.float32),
    )
    assert found == pytest.approx(7.4 - 0.001 * 0.6 / (0.3 / 60 + 1e-4), abs=1e-4)
