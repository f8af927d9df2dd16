"""The reference hosts: sums, sources, scaling."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import timelens.tumor.host.reference as module
from timelens.errors import DataError, UsageError
from timelens.tumor.host import reference_host
from timelens.tumor.host.reference import BLOOD_DENSITY, PORTAL

DATA = Path(module.__file__).parent / "data"


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="no such host"):
        reference_host("rat")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not the weight of an adult mouse"):
        reference_host("mouse", weight_g=0.025)
    with pytest.raises(DataError, match="not the weight of an adult human"):
        reference_host("human", weight_g=73)
    with pytest.raises(UsageError, match="no such organ"):
        reference_host("mouse").organ("tail")


@pytest.mark.parametrize("species", ["mouse", "human"])
@pytest.mark.parametrize("factor", [0.7, 1.0, 1.5])
def test_masses_blood_and_flows_add_up(species, factor: float) -> None:
    weight = factor * {"mouse": 25.0, "human": 73e3}[species]
    host = reference_host(species, weight_g=weight)
    vessels = BLOOD_DENSITY * (host.arterial_ml + host.venous_ml)
    assert sum(o.mass_g for o in host.organs) + vessels == pytest.approx(weight, rel=1e-12)
    flows = sum(o.flow_ml_s for o in host.organs if o.name != "lung")
    assert flows == pytest.approx(host.cardiac_output_ml_s, rel=1e-12)
    reference = {"mouse": 1.7 / 20, "human": 5300 / 73e3}[species]
    assert host.blood_ml == pytest.approx(weight * reference, rel=1e-12)
    assert all(o.tissue_g > 0 and o.blood_ml > 0 and o.flow_ml_s > 0 for o in host.organs)
    assert set(PORTAL) < {o.name for o in host.organs}


def test_published_values_stand() -> None:
    mouse = reference_host("mouse", weight_g=20)
    assert mouse.organ("liver").mass_g == pytest.approx(1.098)  # Brown 1997: 5.49 %
    assert mouse.cardiac_output_ml_s * 60 == pytest.approx(14.63)  # Brown 1997: 0.275 L/min W^0.75
    man = reference_host("human")
    assert man.organ("liver").tissue_g == pytest.approx(1800)  # ICRP 89
    assert man.organ("kidney").flow_ml_s * 60 == pytest.approx(0.19 * 6500)
    portal = sum(man.organ(o).flow_ml_s for o in PORTAL)
    assert portal / man.cardiac_output_ml_s == pytest.approx(0.19)


def test_flows_grow_slower_than_masses() -> None:
    small, large = reference_host("mouse", weight_g=20), reference_host("mouse", weight_g=40)
    assert large.organ("liver").mass_g == pytest.approx(2 * small.organ("liver").mass_g)
    assert large.filtration_ml_s == pytest.approx(2**0.75 * small.filtration_ml_s)


@pytest.mark.parametrize("name", ["host.csv", "tissue.csv"])
def test_every_value_has_a_source(name: str) -> None:
    rows = list(csv.DictReader((DATA / name).read_text().splitlines()))
    assert len(rows) > 10
    for row in rows:
        assert None not in row and len(row["source"]) > 4, row
        assert "doi:" in row["source"] or "chosen" in row["source"] or name == "tissue.csv", row
