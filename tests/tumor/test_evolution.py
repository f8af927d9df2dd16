"""Fields follow the populations of a course: numbers, volume, necrosis, access; day 0 is the tumour itself."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from timelens.errors import GeometryError, MissingFieldError, UsageError
from timelens.study.geometry import Geometry
from timelens.tumor.architecture import ARCHITECTURES
from timelens.tumor.microenvironment import Microenvironment, build
from timelens.tumor.scenarios import checkpoint_cycles, scenario, tgf_beta_cycles
from timelens.tumor.targets import expression
from timelens.tumor.treatments import CellInfusion, Radiotherapy

#: Room for a tumour to grow.
GRID = Geometry.from_spacing((44, 44, 44), (0.4, 0.4, 0.4), frame="tumour")


@lru_cache(maxsize=4)
def tumour(name: str = "inflamed") -> Microenvironment:
    return build(ARCHITECTURES[name], GRID, 5)


def following(name: str, treatments=(), *, architecture: str = "inflamed", days: float = 120.0) -> Microenvironment:
    m = tumour(architecture)
    return m.with_course(scenario(name).scaled(m.count("tumour-cell")).run(days, treatments))


@pytest.mark.parametrize("day", [21.0, 56.0])
@pytest.mark.parametrize("name", ["responder", "non-responder", "pseudoprogression", "hyperprogression"])
def test_numbers_and_volume_are_those_of_the_course(name: str, day: float) -> None:
    m = following(name, checkpoint_cycles())
    if name == "hyperprogression" and day > 30:
        day = 35.0  # later it outgrows this grid
    then = m.at(day)
    assert then.day == day
    for leaf, population in (("tumour-cell", "tumour"), ("cd8-t-cell", "effector"), ("treg", "suppressor")):
        ratio = then.count(leaf) / m.count(leaf)
        assert ratio == pytest.approx(float(m.course.relative(population, day)), rel=0.02)
    volume = then.masks["tumour"].sum() / m.masks["tumour"].sum()
    assert volume == pytest.approx(float(m.course.volume_ratio(day)), rel=0.03)
    parts = (
        "vessel_volume_fraction",
        "interstitial_fraction",
        "collagen_fraction",
        "necrosis_fraction",
        "host_fraction",
    )
    assert sum(then[p] for p in parts) + then.cell_volume_fraction == pytest.approx(1, abs=3e-6)


def test_day_zero_is_the_tumour_itself_and_days_do_not_depend_on_the_way() -> None:
    m = following("responder", checkpoint_cycles())
    assert m.at(0.0) is m
    direct, around = m.at(20.0), m.at(40.0).at(20.0)
    assert direct.cells["cd8-t-cell"].tobytes() == around.cells["cd8-t-cell"].tobytes()
    assert around.at(0.0) is m


def test_infused_cells_come_along_vessels_and_margin() -> None:
    m = following("responder", [CellInfusion(7.0, 1e8)])
    assert m.count("car-t-cell") == 0
    then = m.at(9.0)
    infused = float(m.course.population("car_t", 9.0) / m.course.population("tumour")[0]) * m.count("tumour-cell")
    assert then.count("car-t-cell") == pytest.approx(infused, rel=0.02)
    cells, inside = then.cells["car-t-cell"], then.masks["living tumour"]
    assert cells[inside & then.masks["margin"]].mean() > 2 * cells[inside & (then["depth"] > 3)].mean()
    level = np.median(then["vessel_volume_fraction"][inside])
    shell = inside & (then["depth"] > 0.5) & (then["depth"] < 2) & (then["tls"] < 0.1)
    rich = shell & (then["vessel_volume_fraction"] > level)
    assert cells[rich].mean() > 1.2 * cells[shell & ~rich].mean()


def test_an_opened_tumour_lets_effector_cells_into_its_nests() -> None:
    def nest_to_stroma(m: Microenvironment) -> float:
        living = m.masks["living tumour"] & (m["tls"] < 0.1)
        nest, stroma = living & (m["stroma"] < 0.1), living & (m["stroma"] > 0.9)
        return float(m.cells["cd8-t-cell"][nest].mean() / m.cells["cd8-t-cell"][stroma].mean())

    m = following("excluded", checkpoint_cycles() + tgf_beta_cycles(), architecture="excluded")
    assert nest_to_stroma(m) < 0.1
    assert nest_to_stroma(m.at(35.0)) > 0.5


def test_radiotherapy_turns_tumour_into_necrosis_at_unchanged_size() -> None:
    m = following("responder", [Radiotherapy(7.0, 2.0, 5)])
    before, after = m.at(6.9), m.at(7.0)
    assert after.masks["tumour"].sum() == pytest.approx(before.masks["tumour"].sum(), rel=0.1)
    assert after.necrotic_share[after.masks["tumour"]].mean() > 0.8
    assert before.necrotic_share[before.masks["tumour"]].mean() < 0.2


def test_expressions_of_the_user_go_along() -> None:
    own = expression("cd8a").replaced({"cd8-t-cell": 1e5})
    m = following("responder").with_expression(own)
    assert m.at(10.0).expression_of("cd8a") == own


def test_refusals() -> None:
    with pytest.raises(MissingFieldError, match=r"The tumour has no course.*with_course"):
        tumour().at(3.0)
    m = following("hyperprogression", checkpoint_cycles())
    with pytest.raises(UsageError, match="The course does not reach that day"):
        m.at(500.0)
    with pytest.raises(GeometryError, match="The grid cuts the tumour"):
        m.at(115.0)
    assert GRID.shape == m.at(10.0)["oxygen"].shape
