"""Cohorts as files: what is refused, what is written, and that neither seed nor processes leave a doubt."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.formats import bids
from timelens.formats.dicom import read_seg, read_series
from timelens.run.simulate import COLUMNS, read_spec, simulate_cohort

SPEC = {
    "seed": 3,
    "range_mm": [570, 618],
    "protocol": {"voxel_mm": 6, "calibration": {"cov": 0.05}},
    "arms": [
        {
            "name": "treated",
            "subjects": 2,
            "days": [0, 21],
            "uptake": [1, 0.5],
            "variation": 0.1,
            "lesions": [{"name": "node", "centre": [46, 8, 594], "diameter_mm": 24, "suv": 9}],
        }
    ],
}


def hashes(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def arm(**changes):
    return {**SPEC, "arms": [{**SPEC["arms"][0], **changes}]}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], "Names and values"),
        ({}, "has arms"),
        ({**SPEC, "sead": 1}, "no such entry"),
        ({**SPEC, "format": "nifti"}, "No such format"),
        ({**SPEC, "range_mm": [5, 5]}, "range is empty"),
        ({**SPEC, "protocol": {"voxels": 2}}, "no such parameter"),
        (arm(uptake=[1]), "One factor for each visit"),
        (arm(lesions=[{"name": "a", "suv": 3}]), "not complete"),
        (arm(lesions=[{"centre": [0, 0, 0], "suv": 3, "diameter_mm": 0}]), "no extent"),
    ],
)
def test_specifications_that_cannot_be(tmp_path, spec, message):
    with pytest.raises(UsageError, match=message):
        simulate_cohort(spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_specification(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_spec(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("seed: [1")
    with pytest.raises(UsageError, match="cannot be read"):
        read_spec(tmp_path / "a.yaml")


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        simulate_cohort(SPEC, tmp_path)


def test_dicom_cohort(tmp_path):
    made = simulate_cohort(SPEC, tmp_path / "out")
    assert made.scans == 4
    with open(tmp_path / "out" / "truth" / "truth.csv", encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert tuple(table[0]) == COLUMNS
    assert len(table) == len(made.truth) == 4 * 5
    place = tmp_path / "out" / "DICOM" / "SIM-001" / "ses-01"
    pet, ct = read_series(place / "PET"), read_series(place / "CT")
    assert pet.image.geometry.frame == ct.image.geometry.frame
    outline = read_seg(tmp_path / "out" / "truth" / "sub-001_ses-01_lesions.dcm").on(pet.image.geometry)
    row = next(
        r for r in made.truth if (r["subject"], r["session"], r["quantity"]) == ("sub-001", "ses-01", "suv_mean")
    )
    dose = pet.administered_activity_bq * 2 ** (-3600 / pet.half_life_s)
    found = pet.image.numpy()[outline == 1].mean() * pet.weight_g / dose
    assert found == pytest.approx(row["truth"], rel=0.06)
    uptake = {r["session"]: r["truth_object"] for r in made.truth
              if r["subject"] == "sub-001" and r["quantity"] == "suv_mean"}  # fmt: skip
    assert uptake["ses-02"] / uptake["ses-01"] == pytest.approx(0.5)


def test_bids_cohort(tmp_path):
    simulate_cohort({**SPEC, "format": "bids"}, tmp_path / "out")
    found = bids.read(tmp_path / "out")
    assert sorted({(a.subject, a.session) for a in found.acquisitions if a.modality == "pet"}) == [
        (f"sub-00{s}", f"ses-0{v}") for s in (1, 2) for v in (1, 2)
    ]
    assert all(np.isfinite(a.image.numpy()).all() for a in found.acquisitions)


def test_same_bytes_on_one_and_two_processes(tmp_path):
    short = arm(days=[0], uptake=[1])
    for name, jobs, seed in (("a", 1, 3), ("b", 2, 3), ("c", 1, 4)):
        simulate_cohort({**short, "seed": seed, "format": "bids"}, tmp_path / name, jobs=jobs)
    a, b, c = (hashes(tmp_path / name) for name in "abc")
    assert a == b
    scans = [name for name in a if name.endswith("_pet.nii.gz")]
    assert scans and all(a[name] != c[name] for name in scans)
