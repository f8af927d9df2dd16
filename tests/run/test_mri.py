"""A session of PET and MRI from BIDS files to results: every series measured, rows, maps, tables, pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from tests.formats.dicom.make import patient
from tests.run.test_cli import timelens

from timelens.formats import bids, bids_mr, nifti
from timelens.lenses.mri.lens import MriLens
from timelens.lenses.mri.scene import MrTissue, block_scene
from timelens.run.api import open_study, plan_study, run_study
from timelens.run.session import planned_recipes
from timelens.study.contract import Protocol

TISSUES = {
    "tumour": MrTissue(f_p=0.5, ps=0.2 / 60, v_p=0.05, v_e=0.3),
    "muscle": MrTissue(t1=1.1, f_p=0.5, ps=0.05 / 60, v_p=0.02, v_e=0.12),
}
PLAN = Protocol(
    "mri",
    {"series": ["flip", "spin echoes", "diffusion", "dce", "dsc"], "snr": 80.0, "dce_interval_s": 2.0},
)
WHO = {"subject": "sub-01", "session": "ses-01"}


@pytest.fixture(scope="module")
def truth():
    return MriLens().simulate(block_scene(TISSUES, edge=6), [], PLAN, np.random.default_rng(2))


@pytest.fixture(scope="module")
def study(truth, tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    for scan in truth.acquisitions:
        bids_mr.write_series(replace(scan, **WHO), root)
    nifti.write_labels(truth.regions[0], root / "sub-01" / "ses-01" / "perf" / "sub-01_ses-01_dce_dseg.nii.gz")
    bids.write(patient("pet", shape=(12, 12, 12), **WHO), root)
    return root


@pytest.fixture(scope="module")
def results(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    ended = timelens("run", study, "-o", out)
    assert ended.returncode == 0, ended.stderr
    return out


def test_every_series_is_planned_and_pet_is_too(study):
    inventory = open_study(study)
    items = inventory.sessions[0].acquisitions
    assert sorted(i["modality"] for i in items) == ["mr"] * 5 + ["pet"]
    assert inventory.sessions[0].regions[0]["drawn_on"] == next(
        i["id"] for i in items if i["description"].endswith("dce")
    )
    plan = planned_recipes(plan_study(inventory, study / "out", {})[0])
    assert [r["lens"] for r in plan["recipes"]] == ["pet", *["mri"] * 5]
    assert [p for p in plan["problems"] if p["severity"] == "error"] == []


def test_rows_have_values_errors_and_units(results, truth):
    rows = pd.read_csv(results / "measurements.csv")
    assert set(rows["modality"]) >= {"pet", "mr"}
    known = {(t.region, t.quantity): t for t in truth.truth}
    mr = rows[rows["modality"] == "mr"].set_index(["region", "quantity"])
    for quantity, within in {
        "t1": 0.02, "t2": 0.02, "adc": 0.02, "k_trans": 0.1, "v_e": 0.1, "v_p": 0.15, "cbv": 0.1
    }.items():  # fmt: skip
        for region in TISSUES:
            row = mr.loc[(region, quantity)]
            assert row["value"] == pytest.approx(known[region, quantity].ideal, rel=within), (region, quantity)
            assert row["unit"] == known[region, quantity].unit
            assert row["uncertainty"] > 0 and row["uncertainty_kind"] == "standard_error"
    assert mr.index.get_level_values("region").nunique() >= 2


def test_maps_tables_and_pictures_are_there(results):
    folder = results / "sub-01" / "ses-01"
    record = json.loads((folder / "session.json").read_text())
    assert [p for p in record["problems"] if p["severity"] == "error"] == []
    names = " ".join(record["outputs"])
    for part in ("ktrans", "ktransse", "t1", "t1se", "adc", "cbf", "exchangereason", "fits", "tacs", "input"):
        assert f"desc-{part}_" in names.lower(), part
    path = next(folder.glob("mri/*desc-ktrans_map.nii.gz"), None) or next(folder.glob("mri/*[kK]*rans_map.nii.gz"))
    assert nib.load(path).shape == (18, 6, 2)
    assert json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())["Units"] == "1/min"
    kinds = {p["kind"] for p in record["pictures"]}
    assert {"fits", "input", "parameter"} <= kinds
    assert (results / "report.html").stat().st_size > 10_000


def test_a_series_that_cannot_be_measured_leaves_the_others(study, truth, tmp_path):
    root = tmp_path / "study"
    for scan in truth.acquisitions:
        if scan.description in ("dce", "spin echoes"):
            bids_mr.write_series(replace(scan, **WHO), root)
    assert run_study(root, tmp_path / "out") is not None
    rows = pd.read_csv(tmp_path / "out" / "measurements.csv")
    assert set(rows["quantity"]) == {"t2"}
    problems = pd.read_csv(tmp_path / "out" / "problems.csv")
    assert problems["message"].str.contains("needs T1 before contrast").any()
    stated = {"mri": {"t1": {"source": "stated", "t1_ms": 1300}}}
    run_study(root, tmp_path / "more", options=stated)
    assert "k_trans" in set(pd.read_csv(tmp_path / "more" / "measurements.csv")["quantity"])


def test_nothing_of_this_machine_is_in_the_results(results):
    text = Path(results / "sub-01" / "ses-01" / "session.json").read_text()
    assert "/tmp/" not in text
