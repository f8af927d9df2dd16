"""DICOM codes of nuclides and agents, read and written."""

from __future__ import annotations

import pytest

from timelens.knowledge import agents, dicom_codes, nuclides
from timelens.knowledge.load import store


@pytest.mark.parametrize(
    ("value", "scheme", "nuclide"),
    [
        ("77004003", "SCT", "18F"),
        ("C-111A1", "SRT", "18F"),
        ("C-111A1", "SNM3", "18F"),
        ("C-111A1", "99SDM", "18F"),
        ("C-168A4", "SRT", "89Zr"),
        ("63360001", " sct ", "89Zr"),
        ("C-131A3", "SRT", "68Ga"),
        ("72454006", "SCT", "99mTc"),
        ("79197006", "SCT", "82Rb"),
        ("126600", "DCM", "44Sc"),
    ],
)
def test_nuclide_codes_are_understood(value, scheme, nuclide):
    assert dicom_codes.nuclide(value, scheme) == nuclide


@pytest.mark.parametrize(("value", "scheme"), [("", ""), ("77004003", "SRT"), ("C-111A1", "SCT"), ("35321007", "SCT")])
def test_other_codes_are_no_nuclides(value, scheme):
    assert dicom_codes.nuclide(value, scheme) is None


@pytest.mark.parametrize(("value", "scheme"), [("35321007", "SCT"), ("C-B1031", "SRT"), ("C-B1031", "99SDM")])
def test_agent_codes_are_understood(value, scheme):
    assert store().agents.rows[dicom_codes.agent(value, scheme)].name == "[18F]FDG"


def test_a_code_of_an_agent_that_is_not_known_keeps_its_meaning():
    assert dicom_codes.agent("126502", "DCM") is None
    assert dicom_codes.meaning("126502", "DCM") == "T807 F^18^"
    assert dicom_codes.meaning("0", "DCM") is None


def test_what_is_written_is_read():
    written = {each.id: dicom_codes.nuclide_code(each.id) for each in nuclides.all_nuclides()}
    assert {name for name, code in written.items() if code is None} == {"225Ac", "211At"}
    for name, code in written.items():
        if code is not None:
            assert code.scheme in ("SCT", "DCM")
            assert dicom_codes.nuclide(code.value, code.scheme) == name
    for agent in agents.all_agents():
        code = dicom_codes.agent_code(agent.id)
        if code is not None:
            assert dicom_codes.agent(code.value, code.scheme) == agent.id


def test_codes_agree_with_the_published_dictionary():
    codes = pytest.importorskip("pydicom.sr.codedict").codes
    assert dicom_codes.nuclide_code("18F").value == codes.cid4020._18Fluorine.value
    assert dicom_codes.nuclide_code("89Zr").value == codes.cid4020._89Zirconium.value
    assert dicom_codes.agent_code(agents.get("FDG").id).value == codes.cid4021.FluorodeoxyglucoseF18.value


def test_every_code_of_a_nuclide_names_one():
    nameless = [code for code in store().codes if code.about == "nuclide:"]
    assert nameless == []
