"""A dynamic study from files to results: PET-BIDS and DICOM with blood beside it, and the maps in other formats."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from timelens.formats import bids, dicom, nifti, ome_zarr
from timelens.lenses.pet.dynamic.lens import DynamicPetLens
from timelens.run.api import open_study, plan_study, run_study
from timelens.run.export import export_results
from timelens.run.inventory import write_inventory
from timelens.run.session import planned_recipes
from timelens.study.acquisition import Acquisition
from timelens.study.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "lenses" / "pet" / "dynamic"))
from dynamic_data import DynamicCase, dynamic_case

TRUTH = {"lesion-1": 0.25 * 0.12 / (0.35 + 0.12), "muscle": 0.03 * 0.02 / (0.15 + 0.02)}


@pytest.fixture(scope="module")
def case() -> DynamicCase:
    return dynamic_case(noise=0.01, seed=3)


@pytest.fixture(scope="module")
def study(case: DynamicCase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The case as PET-BIDS with regions and a blood table."""
    root = tmp_path_factory.mktemp("study")
    path = bids.write(replace(case.pet, subject="sub-01", session="ses-01"), root)
    bids.write(replace(case.blood, subject="sub-01", session="ses-01"), root)
    nifti.write_labels(case.regions[0], path.with_name("sub-01_ses-01_desc-regions_dseg.nii.gz"))
    return root


@pytest.fixture(scope="module")
def results(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its results."""
    out = tmp_path_factory.mktemp("out")
    assert run_study(study, out).complete
    return out


def test_blood_is_an_acquisition_of_its_session(study: Path, tmp_path: Path) -> None:
    inventory = open_study(study)
    items = inventory.sessions[0].acquisitions
    assert [(i["modality"], i["format"]) for i in items] == [("pet", "nifti"), ("blood", "blood")]
    write_inventory(inventory, tmp_path / "study.yaml")
    plan = plan_study(open_study(tmp_path / "study.yaml"), tmp_path / "out", {})
    recipe = planned_recipes(plan[0])["recipes"][0]
    assert recipe["lens"] == "pet-dynamic"
    models = {s["name"]: s["parameters"].get("models") for s in recipe["steps"]}
    assert models["fit"] == ["2tcm_irreversible", "patlak"]
    assert models["maps"] == ["patlak"]


def test_rows_maps_tables_and_pictures(results: Path) -> None:
    rows = pd.read_csv(results / "measurements.csv")
    k_i = rows[(rows.quantity == "k_i") & rows.method.str.startswith("2tcm")].set_index("region")
    for region, truth in TRUTH.items():
        assert k_i.lower[region] < truth < k_i.upper[region]
        assert k_i.unit[region] == "mL/min/mL"
    suv = rows[(rows.quantity == "suv_mean") & (rows.region == "lesion-1")]
    assert len(suv) == 1
    assert "mean of 45 to 55 min" in suv.method.iloc[0]
    place = results / "sub-01" / "ses-01" / "pet-dynamic"
    stem = "sub-01_ses-01_pet_desc-"
    ki, error = (nifti.read(place / f"{stem}{name}_map.nii.gz").image for name in ("ki", "kiSe"))
    assert ki.unit == error.unit == "mL/min/mL"
    assert ki.quantity == "k_i"
    # Patlak sees the whole voxel, of which blood is a part: (1 - v_b) K_i.
    assert np.nanmean(ki.numpy()[1:5, 2:6, 2:6]) == pytest.approx(0.94 * TRUTH["lesion-1"], rel=0.02)
    assert (error.numpy()[np.isfinite(error.numpy())] > 0).all()
    tacs = pd.read_csv(place / f"{stem}tacs_table.tsv", sep="\t")
    assert list(tacs.columns) == ["region", "frame_start_s", "frame_duration_s", "mean", "sd", "voxels", "unit"]
    assert set(tacs.region) == {"lesion-1", "liver", "aorta", "muscle"}
    pictures = {p.name.rsplit("_", 1)[-1] for p in (results / "sub-01" / "ses-01" / "figures").iterdir()}
    assert {"fits.png", "graphical.png", "parameter.png", "input.png"} <= pictures


def test_maps_as_ome_zarr_keep_their_unit(results: Path, tmp_path: Path) -> None:
    files = export_results(results, "ome-zarr", tmp_path)
    found = {f.name.split("desc-")[1].removesuffix("_map.ome.zarr"): f for f in files}
    image = ome_zarr.read(found["ki"]).image
    assert (image.unit, image.quantity) == ("mL/min/mL", "k_i")
    original = nifti.read(results / "sub-01/ses-01/pet-dynamic/sub-01_ses-01_pet_desc-ki_map.nii.gz").image
    np.testing.assert_array_equal(image.numpy(), original.numpy())


def test_dicom_with_blood_beside_it(case: DynamicCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blood table of a folder with one patient is that patient's; maps come back as DICOM parametric maps."""
    monkeypatch.setattr("timelens.run.outputs.draw", lambda *_: None)  # its pictures are those of the other test
    root, out = tmp_path / "in", tmp_path / "out"
    dicom.write_series(replace(case.pet, subject="sub-001"), root / "pet")
    table = case.blood.data.data.rename(
        columns={"time": "time[s]", "whole_blood_radioactivity": "whole-blood[Bq/cc]",
                 "plasma_radioactivity": "plasma[Bq/cc]"}
    )  # fmt: skip
    (root / "samples.csv").write_text("# decay corrected = true\n" + table.to_csv(index=False))
    inventory = open_study(root)
    session = inventory.sessions[0]
    assert [i["modality"] for i in session.acquisitions] == ["pet", "blood"]
    session.options = {"pet-dynamic": {"fit": {"models": ["patlak"]}, "segment": {"rule": "fixed", "threshold": 2.0}}}
    write_inventory(inventory, tmp_path / "study.yaml")
    assert run_study(tmp_path / "study.yaml", out).complete
    rows = pd.read_csv(out / "measurements.csv")
    found = rows[rows.quantity == "k_i"]
    assert len(found) >= 1
    files = export_results(out, "dicom", tmp_path / "dicom")
    maps = {f.name.split("desc-")[1]: f for f in files if f.name.endswith("_map.dcm")}
    assert set(maps) == {"ki_map.dcm", "kiSe_map.dcm", "v0_map.dcm", "v0Se_map.dcm"}
    back = dicom.read_parametric_map(maps["ki_map.dcm"]).image
    assert (back.unit, back.quantity) == ("mL/min/mL", "k_i")
    original = nifti.read(next(out.rglob("*desc-ki_map.nii.gz"))).image
    np.testing.assert_array_equal(back.numpy(), original.numpy())
    header = pydicom.dcmread(maps["kiSe_map.dcm"])
    assert header.SeriesDescription == "kiSe"


def test_options_of_the_static_lens_serve_the_late_window(study: Path) -> None:
    inventory = open_study(study)
    options = {"pet": {"segment": {"rule": "fixed", "threshold": 3.0}, "frames": {"which": 1}}}
    steps = planned_recipes(plan_study(inventory, study / "out", options)[0])["recipes"][0]["steps"]
    named = {s["name"]: s["parameters"] for s in steps}
    assert (named["segment"]["rule"], named["segment"]["threshold"]) == ("fixed", 3.0)
    assert named["frames"] == {"first": 1, "last": None}  # a step of the same name means another thing here


def test_blood_counts_from_time_zero_and_not_from_the_injection(case: DynamicCase, tmp_path: Path) -> None:
    """Half a minute between PET-BIDS' TimeZero and the injection, for the image and for the blood."""
    shift = 30.0
    path = bids.write(replace(case.pet, subject="sub-01", session="ses-01"), tmp_path)
    side = path.with_name("sub-01_ses-01_pet.json")
    said = json.loads(side.read_text())
    said["TimeZero"] = "08:59:30"
    for key in ("InjectionStart", "ScanStart", "ImageDecayCorrectionTime"):
        said[key] += shift
    said["FrameTimesStart"] = [t + shift for t in said["FrameTimesStart"]]
    for key in [k for k in said["timelens"] if k.startswith("time_zero")]:
        said["timelens"][key] = "2024-03-01T08:59:30"
    side.write_text(json.dumps(said))
    rows = case.blood.data.data.copy()
    rows["time"] += shift
    for name in ("whole_blood_radioactivity", "plasma_radioactivity"):
        rows[name] *= 2 ** (shift / case.pet.half_life_s)  # corrected to TimeZero
    blood = replace(case.blood, data=Table(rows, case.blood.data.column_units), subject="sub-01", session="ses-01")
    bids.write(blood, tmp_path)
    found = bids.read(tmp_path)
    lens = DynamicPetLens()
    options = {"input": {"delay_s": 0}, "maps": {"models": "none"}, "fit": {"models": ["2tcm_irreversible"]}}

    def k_i(pet: Acquisition, table: Acquisition) -> float:
        match = lens.accepts([pet, table])
        regions = [replace(case.regions[0], labels=case.regions[0].labels)]
        result = lens.quantify(
            match.roles, regions, {s.name: dict(s.parameters) for s in lens.recipe(match, options).steps}
        )
        return next(m.value for m in result.measurements if m.quantity == "k_i" and m.region == "lesion-1")

    assert k_i(found.acquisitions[0], found.blood[0]) == pytest.approx(k_i(case.pet, case.blood), rel=1e-6)
