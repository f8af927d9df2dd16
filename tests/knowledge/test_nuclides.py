"""Radionuclides against evaluated half-lives, and in themselves."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from timelens.errors import UsageError
from timelens.knowledge import nuclides

SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
ASKED = [
    *("11C", "13N", "15O", "18F", "44Sc", "64Cu", "68Ga", "86Y", "89Zr", "124I", "67Ga", "99mTc", "111In", "123I"),
    *("131I", "201Tl", "177Lu", "90Y", "32P", "225Ac", "211At"),
]
# Half-lives of ICRP Publication 107 in seconds, an older evaluation: all agree within 2 %.
ICRP_107 = {
    "11C": 1223.4, "13N": 597.9, "15O": 122.24, "18F": 6586.2, "44Sc": 14292.0, "64Cu": 45720.0, "68Ga": 4062.6,
    "86Y": 53064.0, "89Zr": 282276.0, "124I": 360806.4, "67Ga": 281767.68, "99mTc": 21654.0, "111In": 242326.08,
    "123I": 47772.0, "131I": 692988.48, "201Tl": 262483.2, "177Lu": 574300.8, "90Y": 230760.0, "32P": 1232323.2,
    "225Ac": 864000.0, "211At": 25970.4,
}  # fmt: skip


def reference() -> list[dict[str, str]]:
    with (Path(__file__).parent / "half_lives.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_nuclide_is_there():
    assert [each.id for each in nuclides.all_nuclides()] == ASKED
    assert {row["nuclide"] for row in reference()} == set(ASKED)


@pytest.mark.parametrize("row", reference(), ids=lambda row: f"{row['nuclide']} {row['source']}")
def test_half_life_within_the_published_uncertainty(row):
    scale = SECONDS[row["unit"]]
    found = nuclides.get(row["nuclide"])
    assert abs(found.half_life_s - float(row["value"]) * scale) <= float(row["uncertainty"]) * scale * (1 + 1e-9)


@pytest.mark.parametrize("nuclide", ASKED)
def test_half_life_near_the_older_evaluation(nuclide):
    assert nuclides.get(nuclide).half_life_s == pytest.approx(ICRP_107[nuclide], rel=0.02)


@pytest.mark.parametrize("nuclide", ASKED)
def test_a_record_agrees_with_itself(nuclide):
    record = nuclides.get(nuclide)
    value, unit = record.half_life_as_published.split()
    figures = value.partition("(")[0]
    assert float(figures) * SECONDS[unit] == pytest.approx(record.half_life_s, rel=1e-9)
    digits = int(value.partition("(")[2].rstrip(")"))
    spread = digits * 10.0 ** -len(figures.partition(".")[2]) * SECONDS[unit]
    assert spread == pytest.approx(record.half_life_uncertainty_s, rel=1e-9)
    assert math.fsum(branch.fraction for branch in record.branches) == pytest.approx(1.0, abs=0.003)
    assert f"{record.a}" in record.id and record.name.startswith(record.element)
    for spectrum in record.spectra:
        assert spectrum.mean_kev < spectrum.max_kev
    assert record.half_life_source


@pytest.mark.parametrize("nuclide", ASKED)
def test_positrons_spectrum_and_annihilation_agree(nuclide):
    record = nuclides.get(nuclide)
    spectra = [spectrum.per_decay for spectrum in record.spectra if spectrum.kind == "beta+"]
    pairs = [photon.per_decay for photon in record.photons if photon.kind == "annihilation"]
    if record.positron_fraction < 1e-3:
        assert spectra == pairs == []
    else:
        # ICRP-107 and ENSDF are different evaluations.
        assert spectra == [pytest.approx(record.positron_fraction, rel=0.01)]
        assert pairs == [pytest.approx(2 * record.positron_fraction, rel=1e-3)]


# Well-known values, from data sheets of the nuclides (MIRD: Radionuclide Data and Decay Schemes, 2nd edition, 2008).
@pytest.mark.parametrize(
    ("nuclide", "fraction"),
    [
        ("18F", 0.967),
        ("11C", 0.998),
        ("68Ga", 0.891),
        ("89Zr", 0.227),
        ("64Cu", 0.174),
        ("124I", 0.227),
        ("86Y", 0.319),
    ],
)
def test_positron_fractions(nuclide, fraction):
    assert nuclides.get(nuclide).positron_fraction == pytest.approx(fraction, rel=0.015)


@pytest.mark.parametrize(
    ("nuclide", "energy", "percent"),
    [
        ("99mTc", 140.5, 89.0),
        ("111In", 171.3, 90.7),
        ("111In", 245.4, 94.1),
        ("123I", 159.0, 83.3),
        ("131I", 364.5, 81.5),
        ("177Lu", 208.4, 10.4),
        ("177Lu", 112.9, 6.2),
        ("89Zr", 909.1, 99.0),
        ("124I", 602.7, 62.9),
        ("67Ga", 93.3, 38.8),
        ("68Ga", 1077.3, 3.2),
        ("44Sc", 1157.0, 99.9),
    ],
)
def test_main_gammas(nuclide, energy, percent):
    near = [photon for photon in nuclides.get(nuclide).photons if abs(photon.energy_kev - energy) < 0.5]
    assert len(near) == 1
    assert 100 * near[0].per_decay == pytest.approx(percent, rel=0.02)


@pytest.mark.parametrize(
    ("nuclide", "kind", "mean"),
    [
        ("18F", "beta+", 249.8),
        ("68Ga", "beta+", 829.5),
        ("90Y", "beta-", 933),
        ("177Lu", "beta-", 133.5),
        ("131I", "beta-", 182),
    ],
)
def test_mean_energies(nuclide, kind, mean):
    (spectrum,) = (each for each in nuclides.get(nuclide).spectra if each.kind == kind)
    assert spectrum.mean_kev == pytest.approx(mean, rel=0.01)


def test_spellings():
    assert nuclides.find("Tc-99m") is nuclides.get("technetium 99m")
    assert nuclides.find("99Mo") is None
    assert nuclides.find("CD8") is None


def test_unknown_nuclides_are_refused():
    with pytest.raises(UsageError, match="no data on this nuclide"):
        nuclides.get("99Mo")
    with pytest.raises(UsageError, match="This is no nuclide"):
        nuclides.get("unobtainium")


def test_a_header_half_life_is_compared():
    exact = nuclides.compare("F-18", 6586.2)
    assert (exact.agrees, exact.relative_difference, exact.sigmas) == (True, 0.0, 0.0)
    # 6588 s is what many scanners write.
    assert nuclides.compare("18F", 6588.0).agrees
    wrong = nuclides.compare("18F", 4062.6)
    assert not wrong.agrees
    # One hour of decay: exp(ln 2 * 3600 * (1/4062.6 - 1/6586.2)) = 1.2653.
    assert wrong.activity_error_percent == pytest.approx(26.535, abs=0.001)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_half_life_is_a_positive_number(value):
    with pytest.raises(UsageError, match="positive number of seconds"):
        nuclides.compare("18F", value)
