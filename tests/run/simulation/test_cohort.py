"""Cohorts as files: what is written, what is true of it, and that neither seed nor processes leave a doubt."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from tests.run.simulation.conftest import BIOPSY, DCE

from timelens.errors import UsageError
from timelens.formats import bids, nifti
from timelens.formats.dicom import read_rtstruct, read_seg, read_series
from timelens.formats.scan import scan_folder
from timelens.run.simulation.cohort import COLUMNS, TRUE_OUTLINE, simulate_cohort


def hashes(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def table(path: Path, separator: str = ",") -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=separator))


def suv(pet) -> np.ndarray:
    """A scan as SUV, by hand."""
    elapsed = (pet.image.decay_reference - pet.administered_time).total_seconds()
    return pet.image.numpy() * pet.weight_g / (pet.administered_activity_bq * 2 ** (-elapsed / pet.half_life_s))


def test_nothing_is_overwritten(tmp_path, digital):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        simulate_cohort(digital, tmp_path)


def test_digital_patients_as_dicom(tmp_path, digital):
    made = simulate_cohort(digital, tmp_path / "out")
    assert made.scans == 4
    rows = table(tmp_path / "out" / "truth" / "truth.csv")
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(made.truth) == 4 * 5
    place = tmp_path / "out" / "DICOM" / "SIM-001" / "ses-01"
    pet, ct = read_series(place / "PET"), read_series(place / "CT")
    assert pet.image.geometry.frame == ct.image.geometry.frame
    outline = read_seg(tmp_path / "out" / "truth" / "sub-001_ses-01_lesions.dcm").on(pet.image.geometry)
    true = {(r["subject"], r["session"], r["quantity"]): r for r in made.truth}
    assert suv(pet)[outline == 1].mean() == pytest.approx(true["sub-001", "ses-01", "suv_mean"]["truth"], rel=0.06)
    first, second = (true["sub-001", s, "suv_mean"]["truth_object"] for s in ("ses-01", "ses-02"))
    assert second / first == pytest.approx(0.5)


@pytest.fixture(scope="module")
def dicom(tmp_path_factory):
    """The virtual cohort as DICOM."""
    from tests.run.simulation.conftest import VIRTUAL

    root = tmp_path_factory.mktemp("virtual") / "out"
    return root, simulate_cohort(VIRTUAL, root)


def test_two_agents_of_one_visit_are_one_study_on_two_days(dicom):
    root, made = dicom
    assert made.scans == 5
    place = root / "DICOM" / "SIM-001" / "ses-01"
    fdg, cd8 = (read_series(place / name) for name in ("PET-FDG", "PET-CD8-MINIBODY"))
    assert (fdg.radionuclide, cd8.radionuclide) == ("18F", "89Zr")
    assert cd8.administered_activity_bq == pytest.approx(111e6)
    assert (cd8.acquisition_time - fdg.acquisition_time).total_seconds() == pytest.approx(7200 + 86400 - 3600)
    assert fdg.image.geometry.frame != cd8.image.geometry.frame
    assert read_series(place / "CT-CD8-minibody").image.geometry.frame == cd8.image.geometry.frame
    found = [f for f in scan_folder(root).found if "SIM-001" in f.files[0].parts]
    assert {f.session for f in found} == {"2024-01-15", "2024-02-05"}


def test_truth_is_no_scan(dicom):
    root, _ = dicom
    assert not [f for f in scan_folder(root).found if any("truth" in p.parts for p in f.files)]


def test_images_and_outlines_hold_what_is_true(dicom):
    root, made = dicom
    place = root / "DICOM" / "SIM-001" / "ses-01"
    pet = read_series(place / "PET-CD8-MINIBODY")
    drawn = read_rtstruct(place / "RTSTRUCT" / "lesions-CD8-minibody.dcm").on(pet.image.geometry)
    assert not (place / "RTSTRUCT" / "lesions-FDG.dcm").exists()
    row = next(
        r
        for r in made.truth
        if (r["session"], r["agent"], r["quantity"]) == ("ses-01", "zr89-crefmirlimab", "suv_mean")
    )
    assert suv(pet)[drawn == 1].mean() == pytest.approx(row["truth"], rel=0.08)
    assert row["truth_object"] > row["truth"]  # blur takes uptake out of a small hot tumour
    (x, y, z) = (row[k] for k in ("x_mm", "y_mm", "z_mm"))
    centroid = pet.image.geometry.to_mm(np.argwhere(drawn == 1).mean(axis=0))
    assert centroid == pytest.approx([x, y, z], abs=2.0)


def test_threshold_truth_stands_beside_that_of_the_true_outline(dicom):
    _, made = dicom
    rows = [r for r in made.truth if (r["subject"], r["session"], r["agent"]) == ("sub-001", "ses-01", "f18-fdg")]
    by = {(r["outline"], r["quantity"]): r["truth"] for r in rows}
    assert {outline for outline, _ in by} == {TRUE_OUTLINE, "SUV >= 3"}
    assert by["SUV >= 3", "suv_max"] == by[TRUE_OUTLINE, "suv_max"]
    assert by["SUV >= 3", "suv_mean"] >= 3
    for outline in (TRUE_OUTLINE, "SUV >= 3"):
        assert by[outline, "tlg"] == pytest.approx(by[outline, "mtv"] * by[outline, "suv_mean"], rel=1e-5)


def test_fields_lie_where_the_tumour_is_and_hold_what_the_tables_say(dicom):
    root, made = dicom
    stem = root / "truth" / "fields" / "sub-001_ses-02_tumour-neck-node_field-"

    def field(name):
        return nifti.read(f"{stem}{name}.nii.gz").image

    names = ("tumour_fraction", "tumour_cells", "cd8", "vessels", "oxygen", "target_cd8a", "suv_f18-fdg",
             "suv_zr89-crefmirlimab")  # fmt: skip
    units = ["mL/mL", "{cells}/mm3", "{cells}/mm3", "mL/mL", "mm[Hg]", "nmol/L", "g/mL", "g/mL"]
    images = {name: field(name) for name in names}
    assert [image.unit for image in images.values()] == units
    share = images["tumour_fraction"].numpy()
    inside = share >= 0.5
    true = {
        (r["quantity"], r["component"]): float(r["value"])
        for r in table(root / "truth" / "tumours.csv")
        if (r["subject"], r["session"]) == ("sub-001", "ses-02")
    }
    assert images["cd8"].numpy()[inside].mean() == pytest.approx(true["cell_density", "cd8-t-cell"], rel=1e-4)
    assert images["oxygen"].numpy()[inside].mean() == pytest.approx(true["po2", ""], rel=1e-4)
    said = json.loads(Path(f"{stem}suv_zr89-crefmirlimab.json").read_text())
    assert said["Tumour"] == "neck node"
    assert said["TimeFromInjection"] == 86400 + 600
    for agent in ("f18-fdg", "zr89-crefmirlimab"):
        row = next(
            r for r in made.truth
            if (r["subject"], r["session"], r["agent"], r["quantity"]) == ("sub-001", "ses-02", agent, "suv_mean")
        )  # fmt: skip
        image = images[f"suv_{agent}"]
        uptake = image.numpy()
        assert (uptake * share).sum() / share.sum() == pytest.approx(row["truth_object"], rel=1e-3)
        centre = image.geometry.to_mm((np.array(image.shape) - 1) / 2)
        assert centre == pytest.approx([row["x_mm"], row["y_mm"], row["z_mm"]], abs=1e-3)


def test_treatment_changes_cells_and_the_minibody_sees_it(dicom):
    root, made = dicom
    cells = {
        r["session"]: float(r["value"])
        for r in table(root / "truth" / "tumours.csv")
        if (r["subject"], r["quantity"], r["component"]) == ("sub-001", "cell_density", "cd8-t-cell")
    }
    seen = {
        r["session"]: r["truth"]
        for r in made.truth
        if (r["subject"], r["agent"], r["quantity"]) == ("sub-001", "zr89-crefmirlimab", "suv_mean")
    }
    assert cells["ses-02"] > 2 * cells["ses-01"]
    # Uptake rises, and less than the cells do.
    assert 1.2 < seen["ses-02"] / seen["ses-01"] < cells["ses-02"] / cells["ses-01"]
    populations = table(root / "truth" / "populations.csv")
    assert {r["subject"] for r in populations} == {"sub-001"}  # the other tumour has no course
    effector = {float(r["day"]): float(r["cells"]) for r in populations if r["population"] == "effector"}
    assert sorted(effector) == list(range(22))
    assert effector[21] > 2 * effector[0]


def test_a_weight_that_was_left_out_is_not_in_the_headers(dicom):
    root, _ = dicom
    pet = read_series(root / "DICOM" / "SIM-002" / "ses-01" / "PET-FDG")
    assert pet.weight_g is None
    assert "left out on purpose" in pet.description


def test_virtual_cohort_as_bids_on_one_and_two_processes(tmp_path, virtual):
    virtual["format"] = "bids"
    virtual["arms"][0]["days"] = [0]
    virtual |= {"mri": [DCE], "biopsies": [BIOPSY]}
    for name, jobs, seed in (("a", 1, 5), ("b", 2, 5), ("c", 1, 6)):
        simulate_cohort({**virtual, "seed": seed}, tmp_path / name, jobs=jobs)
    a, b, c = (hashes(tmp_path / name) for name in "abc")
    assert a == b
    scans = [name for name in a if name.endswith("_pet.nii.gz")]
    assert scans == [
        "sub-001/ses-01/pet/sub-001_ses-01_trc-CD8minibody_pet.nii.gz",
        "sub-001/ses-01/pet/sub-001_ses-01_trc-FDG_pet.nii.gz",
        "sub-002/ses-01/pet/sub-002_ses-01_trc-FDG_pet.nii.gz",
    ]
    assert all(a[name] != c[name] for name in scans)
    found = bids.read(tmp_path / "a")
    assert not found.problems
    images = [f for f in scan_folder(tmp_path / "a").found if f.kind == "image"]
    assert {f.modality for f in images} == {"pet", "ct", "mr", "cytometry"}
    assert {f.modality for f in scan_folder(tmp_path / "a").found if "ct" in f.files[0].parent.name} == {"ct"}
    kinds = [(s.subject, s.modality) for s in found.acquisitions]
    assert sorted(kinds) == [("sub-001", "ct")] * 2 + [("sub-001", "pet")] * 2 + [("sub-002", "ct"), ("sub-002", "pet")]
    masks = tmp_path / "a" / "derivatives" / "masks" / "sub-001" / "ses-01" / "pet"
    drawn = table(masks / "sub-001_ses-01_desc-drawnCD8minibody_dseg.tsv", "\t")
    assert [row["name"] for row in drawn] == ["neck node"]
    assert (masks / "sub-001_ses-01_desc-organsFDG_dseg.nii.gz").is_file()


def test_serial_scans_of_a_mouse_over_days(tmp_path):
    scans = [{"start_s": 86400.0 * day, "frames_s": 1200} for day in (1, 4)]
    spec = {
        "host": "mouse",
        "format": "bids",
        "range_mm": [0, 24],
        "ct": {"voxel_mm": 1},
        "administrations": [
            {"agent": "89Zr-atezolizumab", "activity_bq": 3e6, "mass_mg": 0.01, "targets": ["PD-L1"]},
        ],
        "protocol": {"voxel_mm": 1, "calibration": {"cov": 0}, "scans": scans},
        "arms": [
            {
                "tumours": [
                    {"name": "flank", "inside": "leg right", "at": [2, 0, 6], "diameter_mm": 6, "grid_mm": 0.5},
                ],
            },
        ],
    }
    made = simulate_cohort(spec, tmp_path / "out")
    assert made.scans == 2
    found = [s for s in bids.read(tmp_path / "out").acquisitions if s.modality == "pet"]
    times = [(s.image.decay_reference - s.administered_time).total_seconds() for s in found]
    assert sorted(times) == [86400, 4 * 86400]
    assert {s.species for s in found} == {"mouse"}
    fields = sorted(p.name for p in (tmp_path / "out" / "truth" / "fields").glob("*suv*.nii.gz"))
    assert fields == [f"sub-001_ses-01_tumour-flank_field-suv_zr89-atezolizumab-{n}.nii.gz" for n in (1, 2)]
    first, second = (r["truth_object"] for r in made.truth if r["quantity"] == "suv_mean")
    assert first > 1
    assert second > 1  # the antibody stays
