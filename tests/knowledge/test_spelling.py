"""Spellings: nuclides are found wherever they stand, and numbers of molecules are never taken for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelens.knowledge import spelling


@pytest.mark.parametrize("text", ["", " ", "-", "[]", "^^", "()", "\x00", "--"])
def test_nothing_is_nothing(text):
    assert spelling.read(text) == spelling.Spelling((), "", frozenset())


@pytest.mark.parametrize(
    ("text", "nuclide"),
    [
        *((each, "89Zr") for each in ("89Zr", "Zr-89", "zr 89", "[89Zr]", "89-Zr", "^89^Zr", "⁸⁹Zr", "Zirconium-89")),
        *((each, "89Zr") for each in ("zirconium (89Zr)", "Zirconium Zr 89", "^89^Zirconium", "$^{89}$Zr", "Zr^89^")),
        *((each, "99mTc") for each in ("99mTc", "Tc-99m", "Tc99m", "99m-Tc", "99m Tc", "Technetium Tc^99m^", "TC99M")),
        *((each, "99mTc") for each in ("technetium-99m", "Technetium Tc 99m", "^99m^Technetium", "<sup>99m</sup>Tc")),
        *((each, "18F") for each in ("F18", "F-18", "18F", "fluorine-18", "18-F", "^18^Fluorine", "F^18^")),
        *((each, "177Lu") for each in ("Lu-177", "177Lu", "Lutetium^177^", "lutetium (177Lu)")),
        ("In-111", "111In"),
        ("I-124", "124I"),
        ("At-211", "211At"),
    ],
)
def test_a_nuclide_in_every_spelling(text, nuclide):
    found = spelling.read(text)
    assert (found.nuclides, found.core) == ((nuclide,), "")


@pytest.mark.parametrize(
    "text",
    [
        *("CD8", "FAPI-46", "PSMA-617", "IL-2", "DPA-714", "PK11195", "CXCR4", "MMP-14", "GE-180", "IR-780", "HX4"),
        *("NK-92", "IAB22M2C", "PD-L1", "RP832c", "COG1410", "B-16", "CT-26", "U-87", "C-C-R-2", "F-46", "I-63", "Zr"),
    ],
)
def test_numbers_of_molecules_are_no_nuclides(text):
    assert spelling.read(text).nuclides == ()


@pytest.mark.parametrize(
    ("one", "other"), [("99mTc", "99Mo"), ("99mTc", "99Tc"), ("177Lu", "177mLu"), ("67Ga", "68Ga")]
)
def test_neighbours_are_told_apart(one, other):
    assert spelling.nuclide(one) == one
    assert spelling.nuclide(other) == other


@pytest.mark.parametrize(
    ("text", "core"),
    [
        ("[89Zr]Zr-Df-IAB22M2C", "dfiab22m2c"),
        ("18FDG", "fdg"),
        ("[18F]FDG", "fdg"),
        ("[18F]F-AraG", "arag"),
        ("18-Fluorodeoxyglucose", "fluorodeoxyglucose"),
        ("Fludeoxyglucose F 18 Injection", "fludeoxyglucose"),
        ("Al[18F]F-NOTA-GZP", "alfnotagzp"),
        ("[18F] AlF-NOTA-GZP", "alfnotagzp"),
        ("αvβ6", "alphavbeta6"),
        ("Miltuximab®-IRDye800CW", "miltuximabirdye800cw"),
        ("GNR@SN/Gel", "gnrsngel"),
    ],
)
def test_the_core_is_what_remains(text, core):
    assert spelling.read(text).core == core


def test_a_shared_symbol_gives_both_readings():
    assert spelling.read("18FDG").cores == {"fdg", "dg"}
    assert spelling.read("18F-DG").cores == {"dg"}


def test_two_nuclides_are_not_one():
    assert spelling.read("68Ga and 177Lu PSMA").nuclides == ("68Ga", "177Lu")
    assert spelling.nuclide("68Ga and 177Lu PSMA") is None


def test_parts_of_a_text_with_several_names():
    assert spelling.parts("FDG -- fluorodeoxyglucose") == ["fdg", "fluorodeoxyglucose"]
    assert spelling.parts("Fluorodeoxyglucose (FDG)") == ["fluorodeoxyglucose", "fdg"]
    assert spelling.parts("FDG / fludeoxyglucose") == ["fdg", "fludeoxyglucose"]


@given(st.text(max_size=60))
def test_any_text_can_be_read(text):
    found = spelling.read(text)
    assert all(core.isalnum() or not core.isascii() for core in found.cores)
    assert found.nuclides == spelling.read(spelling.plain(text)).nuclides


@given(
    st.sampled_from(["89Zr", "68Ga", "18F", "124I", "177Lu", "99mTc"]),
    st.from_regex(r"[a-z]{4}[a-z0-9]{0,6}", fullmatch=True),
)
def test_brackets_and_hyphens_do_not_matter(nuclide, name):
    mass = nuclide.rstrip("ZrGaFILuTc")
    symbol = nuclide.removeprefix(mass)
    texts = (f"[{nuclide}]{symbol}-{name}", f"{nuclide}-{name}", f"{symbol}-{mass}-{name}", f"^{mass}^{symbol}-{name}")
    assert {spelling.read(text).core for text in texts} == {name}
    assert {spelling.read(text).nuclides for text in texts} == {(nuclide,)}
