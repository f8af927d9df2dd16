"""The demonstration on patients cut short, so that it takes seconds: DICOM, run, truth beside measured."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.formats.dicom import read_rtstruct, read_seg, read_series
from timelens.run import demo, demo_study
from timelens.study.measurement import Measurement


@pytest.fixture
def short(monkeypatch):
    """Trunks from the kidneys to the neck, two visits; drawn outlines on one visit; one scan without a weight."""
    first, second, _, last = demo_study._PLANS
    trunk = (190.0, 640.0)
    lesions = tuple(tuple(v for v in visit if v[0] != "mesenteric mass") for visit in first.visits)
    plans = (
        replace(first, range_mm=trunk, visits=lesions),
        replace(second, range_mm=trunk, visits=(second.visits[0][:1],)),
        replace(last, subject="sub-003"),
    )
    monkeypatch.setattr(demo_study, "_PLANS", plans)
    return plans


@pytest.fixture
def one(monkeypatch, short):
    """One short scan with drawn outlines."""
    plan = replace(short[1], subject="sub-001", range_mm=(270.0, 370.0))
    monkeypatch.setattr(demo_study, "_PLANS", (plan,))
    return plan


def _hashes(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_other_lenses_are_refused(tmp_path):
    with pytest.raises(UsageError, match="does not show this lens"):
        demo.run_demo(tmp_path, lenses=["pet", "mri"])


def test_a_study_of_somebody_is_not_overwritten(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "scan.dcm").write_bytes(b"mine")
    with pytest.raises(UsageError, match="no demonstration wrote"):
        demo.run_demo(tmp_path)
    assert (tmp_path / "study" / "scan.dcm").read_bytes() == b"mine"


def test_same_seed_same_bytes_and_another_seed_other_noise(tmp_path, one):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        demo_study.write_demo_study(tmp_path / name, seed=seed)
    a, b, c = (_hashes(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    pixels = [name for name in a if "/PET/" in name]
    assert pixels
    assert all(a[name] != c[name] for name in pixels)


def test_what_is_written_is_what_was_simulated(tmp_path, one):
    truth = demo_study.write_demo_study(tmp_path)
    place = tmp_path / "DICOM" / "DEMO-001" / "2024-01-15"
    pet, ct = read_series(place / "PET"), read_series(place / "CT")
    assert pet.image.unit == "Bq/mL"
    assert pet.weight_g == pytest.approx(one.weight_g)
    assert (pet.image.decay_reference - pet.administered_time).total_seconds() == 3600
    assert pet.image.geometry.frame == ct.image.geometry.frame
    suv = pet.image.numpy() * pet.weight_g / (pet.administered_activity_bq * 2 ** (-3600 / pet.half_life_s))
    organs = read_seg(place / "SEG" / "organs.dcm")
    roles = {organs.name(n): organs.role(n) for n in organs.names}
    assert roles["liver"] == "liver"
    assert roles["blood pool"] == "blood pool"
    labels = organs.on(pet.image.geometry)
    liver = next(n for n in organs.names if organs.name(n) == "liver")
    assert suv[labels == liver].mean() == pytest.approx(2.2, rel=0.02)
    drawn = read_rtstruct(place / "RTSTRUCT" / "lesions.dcm").on(pet.image.geometry)
    volume = next(r["truth"] for r in truth if r["quantity"] == "mtv")
    assert (drawn == 1).sum() * pet.image.geometry.voxel_volume / 1e3 == pytest.approx(volume, rel=0.04)


def test_drawn_outlines_have_the_area_of_the_circle():
    from timelens.study.geometry import Geometry
    from timelens.tumor.digital_patient import lesion

    grid = Geometry.from_spacing((9, 50, 50), (4, 4, 4), origin=(-100, -100, -16), frame="f")
    (contours,) = demo_study.drawn_region([lesion("a", (3, 4, 0), 24, 9)], grid).shapes.values()
    assert len(contours) == 5  # z = -8, -4, 0, 4, 8; the poles at 12 mm are points
    for ring in contours:
        x, y = ring[:, 0], ring[:, 1]
        area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
        assert area == pytest.approx(np.pi * (144 - ring[0, 2] ** 2), rel=1e-9)


def test_the_whole_road(tmp_path, short):
    made = demo.run_demo(tmp_path, seed=3)
    with open(made.table, encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert tuple(table[0]) == demo.COLUMNS
    assert len(table) == len(made.rows)
    found = {(r["subject"], r["session"], r["lesion"] or r["region"], r["quantity"]): r for r in made.rows}
    assert all(np.isfinite(r["measured"]) for r in made.rows)
    for (subject, *_, quantity), row in found.items():
        # Noise lifts the maximum; a threshold volume of 4 mm voxels is known to a few voxels, a diameter to one.
        bar = {"suv_max": 12, "mtv": 10, "tlg": 10, "tmtv": 6, "diameter_max": 18, "lesion_count": 0}.get(quantity, 4)
        assert abs(row["error_percent"]) <= bar, (subject, quantity, row)
    assert found["sub-001", "ses-01", "all lesions", "lesion_count"]["measured"] == 2
    # The same lesion bears the same name at both visits, though the patient lay elsewhere.
    regions = {found["sub-001", s, "neck node", "mtv"]["region"] for s in ("ses-01", "ses-02")}
    assert len(regions) == 1
    assert found["sub-002", "ses-01", "liver metastasis", "mtv"]["region"] == "liver metastasis"
    # The scan without a weight gives a problem that says so, and no number.
    assert not any(m.subject == "sub-003" for m in made.run.measurements)
    assert any("weight" in p["message"].lower() for p in made.run.problems if p["subject"] == "sub-003")
    assert {r["quantity"] for r in made.shown} >= {"suv_max", "suv_peak", "mtv", "tlg", "tmtv"}


def test_what_was_not_measured_is_nan(tmp_path):
    truth = [
        dict(zip(demo_study.COLUMNS, ("sub-001", "ses-01", r, q, u, 2.0, 3.0, "rule", *c), strict=True))
        for r, q, u, c in (
            ("liver", "suv_mean", "g/mL", ("", "", "")),
            ("neck node", "mtv", "mL", (0.0, 0.0, 0.0)),
        )
    ]
    liver = Measurement("suv_mean", 2.1, "g/mL", region="liver", subject="sub-001", session="ses-01", modality="pet")
    rows = demo.compare(truth, [liver], tmp_path)
    assert rows[0]["error_percent"] == pytest.approx(5.0)
    assert rows[0]["lens"] == "pet"
    assert np.isnan(rows[1]["measured"])
    assert rows[1]["lesion"] == "neck node"
