"""Every row of the vocabulary can be used: its unit parses, it says what it is and where from, its codes exist."""

from __future__ import annotations

import csv
import re
from importlib import resources

import pytest
from pydicom.sr._concepts_dict import concepts

from timelens import units
from timelens.errors import UnitError, UsageError
from timelens.knowledge import quantities
from timelens.knowledge.quantities import Quantity

ROWS = [quantities.get(name) for name in quantities.names()]
#: DICOM code value -> meaning, in the dictionary that pydicom makes from PS3.16.
DCM = {code: meaning for known in concepts["DCM"].values() for code, (meaning, _) in known.items()}
SCT = {code: meaning for known in concepts["SCT"].values() for code, (meaning, _) in known.items()}
#: What the meaning of a DICOM code must speak of; a code that exists but means something else is the likelier slip.
MEANINGS = {
    "126401": "SUVbw",
    "126402": "SUVlbm",
    "126403": "SUVbsa",
    "126032": "Metabolic Volume",
    "126033": "Total Lesion Glycolysis",
    "126312": "Ktrans",
    "126313": "kep",
    "126314": "ve",
    "126331": "vp",
    "126321": "IAUC60",
    "126322": "IAUC90",
    "126371": "Bolus Arrival Time",
    "113063": "T1",
    "113065": "T2",
    "113041": "Apparent Diffusion Coefficient",
    "112031": "Attenuation Coefficient",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_complete(row: Quantity):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", row.name)
    assert row.symbol
    assert row.kind
    assert row.definition[0].isupper()
    assert len(row.definition) > 10
    # A paper with its identifier, or a part of a standard.
    assert re.search(r"doi:10\.\d{4,}/\S+|PS3\.\d+|IBSI|QIBA|CAPLEX|ISO \d+|ICRU|BIDS", row.source), row.source


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_its_unit_parses(row: Quantity):
    assert units.parse(row.unit).code == row.unit


@pytest.mark.parametrize("row", [r for r in ROWS if r.dicom], ids=lambda row: row.name)
def test_its_dicom_code_is_in_the_dictionary(row: Quantity):
    value, scheme = row.dicom.split(":")
    known = {"DCM": DCM, "SCT": SCT}[scheme]
    assert value in known, f"{row.dicom} is not a code of DICOM"
    if scheme == "DCM":
        assert MEANINGS[value] in known[value].replace("^", ""), f"{row.dicom} means {known[value]!r}"


@pytest.mark.parametrize("row", [r for r in ROWS if r.ibsi], ids=lambda row: row.name)
def test_its_ibsi_code_has_the_form_of_one(row: Quantity):
    assert re.fullmatch(r"[A-Z0-9]{4}", row.ibsi)


def test_names_are_unique():
    text = resources.files("timelens.knowledge").joinpath("data/quantities.csv").read_text(encoding="utf-8")
    names = [row["name"] for row in csv.DictReader(text.splitlines())]
    assert len(names) == len(set(names)) == len(ROWS)


def test_quantities_of_one_kind_may_be_added():
    by_kind: dict[str, list[Quantity]] = {}
    compared = 0
    for row in ROWS:
        by_kind.setdefault(row.kind, []).append(row)
    for rows in by_kind.values():
        first = rows[0]
        for row in rows:
            # Densities of cells are per volume, or per area of a section.
            areal = {one.unit.endswith("/mm2") for one in (first, row)}
            if row.kind == "count" or (row.kind == "cell density" and len(areal) == 2):
                continue
            compared += 1
            units.require_same_kind(first.unit, row.unit)  # raises where they may not be added
    assert compared > 100


def test_k1_is_not_k2():
    k1, k2 = quantities.get("k1"), quantities.get("k2")
    with pytest.raises(UnitError, match=r"Cannot add mL/min/mL and 1/min: they measure different things"):
        units.require_same_kind(k1.unit, k2.unit, operation="add", left_kind=k1.kind, right_kind=k2.kind)
    k_trans = quantities.get("k_trans")
    with pytest.raises(UnitError, match=r"a transfer constant and a rate constant, though both have the unit 1/min"):
        units.require_same_kind(k_trans.unit, k2.unit, operation="add", left_kind=k_trans.kind, right_kind=k2.kind)


def test_an_unknown_name_proposes_near_ones():
    assert quantities.find("suvmax") is None
    with pytest.raises(UsageError, match=r"Unknown quantity 'suvmax'.*did you mean suv_max"):
        quantities.get("suvmax")
    with pytest.raises(UsageError, match=r"see timelens.knowledge.quantities.names"):
        quantities.get("qqqqqq")


def test_categories_are_named_by_their_definition():
    assert quantities.categories(quantities.get("curve_type")) == {1: "persistent", 2: "plateau", 3: "wash-out"}
    assert quantities.categories(quantities.get("k_trans")) == {}
    for row in ROWS:
        if row.kind == "category":
            assert sorted(quantities.categories(row)) == list(range(1, len(quantities.categories(row)) + 1)), row.name
