"""MR exams and biopsies of simulated visits: what may be asked for, what is written, and what a run makes of it."""

from __future__ import annotations

import copy
import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from tests.run.simulation.conftest import BIOPSY, DCE, T2, VIRTUAL
from tests.run.simulation.test_parse import changed

from timelens.errors import UsageError
from timelens.formats import nifti
from timelens.formats.cytometry import mcd
from timelens.formats.dicom import read_seg, read_series
from timelens.formats.scan import Found
from timelens.run.api import run_study
from timelens.run.discover import _adopt_strays
from timelens.run.simulation.cohort import simulate_cohort
from timelens.run.simulation.parse import spec_of
from timelens.run.simulation.spec import Biopsy, MrExam


def spec(**changes):
    """One visit of one virtual patient: FDG, two MR exams and a biopsy."""
    given = copy.deepcopy(VIRTUAL)
    arm = {**given["arms"][0], "days": [0], "treatments": [], "outlines": ["DCE", "core"],
           "scans": ["FDG", "DCE", "T2", "core"]}  # fmt: skip
    return {**given, "mri": [copy.deepcopy(DCE), copy.deepcopy(T2)], "biopsies": [dict(BIOPSY)], "arms": [arm],
            **changes}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "message", "field"),
    [
        ("mri", "DCE", "are lists", "mri"),
        ("mri.0.coil", 8, "no such entry", r"mri\[0\]"),
        ("mri.0.series", ["asl"], "no such series", r"mri\[0\].protocol"),
        ("mri.0.agent", "gadolinium juice", "relaxivity", r"mri\[0\].agent"),
        ("mri.0.field_t", 0, "cannot be used", r"mri\[0\].protocol"),
        ("mri.0.voxel_mm", [1, 2], "three numbers", r"mri\[0\].voxel_mm"),
        ("mri.0.voxel_mm", [0, 2, 2], "have a size", r"mri\[0\].voxel_mm"),
        ("mri.0.slices", 0, "whole number", r"mri\[0\].slices"),
        ("mri.0.days", 3, "Days are a list", r"mri\[0\].days"),
        ("mri.0.frame_of", "FET", "no such choice", r"mri\[0\].frame_of"),
        ("mri.0.frame_of", "FDG", "one frame of reference", "frame_of"),
        ("mri.0.name", "FDG", "name of its own", "name"),
        ("mri.0.tumour", "liver", "no such tumour", r"arms\[0\].scans: DCE"),
        ("mri.0.protocol", {"snr": -1}, "cannot be used", r"mri\[0\].protocol"),
        ("biopsies.0.size_mm", 0, "cannot be used", r"biopsies\[0\].size_mm"),
        ("biopsies.0.deepest_mm", "deep", "number is needed", r"biopsies\[0\].deepest_mm"),
        ("biopsies.0.protocol", {"metals": 40}, "no such parameter", r"biopsies\[0\].protocol"),
        ("arms.0.outlines", ["smear"], "no such choice", r"arms\[0\].outlines"),
    ],
)
def test_exams_that_cannot_be(tmp_path, path, value, message, field):
    with pytest.raises(UsageError, match=message) as caught:
        simulate_cohort(changed(spec(), path, value), tmp_path / "out")
    assert re.search(field, caught.value.problem.field)
    assert not (tmp_path / "out").exists()


def test_digital_patients_have_no_tissue_to_be_examined(digital, tmp_path):
    with pytest.raises(UsageError, match="look at virtual tumours"):
        simulate_cohort({**digital, "biopsies": [{}]}, tmp_path / "out")


def test_what_is_not_said_is_usual():
    mri, biopsy = spec_of({**spec(), "mri": [{}], "biopsies": [{}], "arms": [{"tumours": VIRTUAL["arms"][1]["tumours"]}]}).exams  # fmt: skip # noqa: E501
    assert isinstance(mri, MrExam) and isinstance(biopsy, Biopsy)
    assert (mri.name, mri.tumour, mri.days, mri.voxel_mm) == ("MRI", None, None, (4.0, 2.0, 2.0))
    assert (mri.protocol.series, mri.protocol.agent, mri.protocol.field_t) == (("flip", "dce"), "gadobutrol", 3.0)
    assert (biopsy.name, biopsy.size_mm, biopsy.deepest_mm) == ("biopsy", 0.4, np.inf)
    assert biopsy.is_on(21)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The cohort as DICOM and MCD."""
    root = tmp_path_factory.mktemp("exams") / "study"
    return root, simulate_cohort(spec(), root)


def test_series_lie_where_the_tumour_is_in_the_frame_that_was_asked_for(made):
    root, _ = made
    place = root / "DICOM" / "SIM-001" / "ses-01"
    pet, dce, t2 = (read_series(place / name) for name in ("PET-FDG", "MR-DCE-DCE", "MR-T2-SPIN-ECHOES"))
    assert t2.image.geometry.frame == pet.image.geometry.frame != dce.image.geometry.frame
    assert dce.extra["StudyInstanceUID"] == pet.extra["StudyInstanceUID"]
    assert dce.agent is None and dce.extra["mr"].agent == "gadobutrol"
    assert dce.image.shape == (30, 3, 12, 12)
    assert (dce.acquisition_time - pet.acquisition_time).total_seconds() == pytest.approx(5400 + 60 - 3600)
    field = nifti.read(root / "truth" / "fields" / "sub-001_ses-01_tumour-neck-node_field-tumour_fraction.nii.gz").image
    centre = field.geometry.to_mm((np.array(field.shape) - 1) / 2)
    outline = read_seg(place / "SEG" / "regions-DCE.dcm")
    labels = outline.on(dce.image.geometry)
    assert list(outline.names.values()) == ["neck node", "artery"]
    assert dce.image.geometry.to_mm(np.argwhere(labels == 1).mean(axis=0)) == pytest.approx(centre, abs=1.0)
    # Only the artery comes with what nobody outlined.
    assert list(read_seg(place / "SEG" / "regions-T2.dcm").names.values()) == ["artery"]
    assert list(read_seg(root / "truth" / "sub-001_ses-01_T2_lesions.dcm").names.values()) == ["neck node", "artery"]


def test_truth_says_what_voxels_hold_and_what_the_mean_curve_gives(made):
    root, cohort = made
    rows = {(r["acquisition"], r["quantity"]): r for r in cohort.truth if r["modality"] == "mr"}
    k_trans = rows["mr-DCE-dce", "k_trans"]
    assert (k_trans["unit"], k_trans["region"], k_trans["agent"]) == ("1/min", "neck node", "gadobutrol")
    assert 0.04 < k_trans["truth_object"] < 0.12
    assert k_trans["truth"] == pytest.approx(k_trans["truth_object"], rel=0.2)
    assert rows["mr-DCE-flip", "t1"]["truth"] == pytest.approx(rows["mr-DCE-flip", "t1"]["truth_object"], rel=1e-3)
    assert np.isnan(rows["mr-DCE-dce", "f_p"]["truth"])  # the default model does not tell it
    assert rows["mr-T2-spin-echoes", "t2"]["unit"] == "ms"
    cells = {r["component"]: r for r in cohort.truth if r["quantity"] == "cell_density_area"}
    assert cells["cell"]["unit"] == "{cells}/mm2"
    assert cells["cell"]["truth_object"] >= cells["cell"]["truth"] > cells["cd8-t-cell"]["truth"]
    labels = tifffile.imread(root / "truth" / "sub-001_ses-01_core_cells.tiff")
    assert labels.shape == (200, 200)
    assert (len(np.unique(labels)) - 1) / 0.04 == pytest.approx(cells["cell"]["truth"])
    with open(root / "truth" / "truth.csv", encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == len(cohort.truth)


def test_a_slide_holds_counts_of_thirty_markers_and_dna(made):
    root, _ = made
    place = root / "DICOM" / "SIM-001" / "ses-01" / "IMC"
    (path,) = place.glob("*.mcd")
    assert mcd.read(path).image.shape == (32, 1, 200, 200)
    assert [p.name for p in (place / "masks").iterdir()] == [f"{path.stem}_001.tiff"]


def test_a_run_finds_all_of_it_in_one_session(made, tmp_path):
    root, cohort = made
    done = run_study(root, tmp_path / "out", options={"mri": {"enhancement": {"maps": False}}})
    rows = pd.DataFrame([vars(m) for m in done.measurements])
    assert set(zip(rows["subject"], rows["session"], strict=True)) == {("sub-001", "ses-01")}
    assert set(rows["modality"]) >= {"pet", "mr", "cytometry"}
    true = {(r["region"], r["quantity"], r["component"]): r for r in cohort.truth}
    for region, quantity, component, error in (
        ("neck node", "t1", "", 0.02), ("neck node", "k_trans", "", 0.2),
        ("section", "cell_density_area", "cell", 0.01), ("section", "cell_density_area", "tumour-cell", 0.1),
    ):  # fmt: skip
        found = rows[(rows.region == region) & (rows.quantity == quantity) & (rows.component == component)]
        row = true[region, quantity, component]
        assert len(found) == 1
        assert found.iloc[0]["value"] == pytest.approx(row["truth"], rel=error), quantity
        assert found.iloc[0]["unit"] == row["unit"]


def test_as_bids(tmp_path):
    arm = {**spec()["arms"][0], "scans": ["DCE", "core"]}
    simulate_cohort(spec(format="bids", mri=[DCE], arms=[arm]), tmp_path / "a")
    place = tmp_path / "a" / "sub-001" / "ses-01"
    assert (place / "perf" / "sub-001_ses-01_acq-DCE_dce_dseg.nii.gz").is_file()
    assert len(list((place / "anat").glob("sub-001_ses-01_acq-DCE_flip-*_VFA.nii.gz"))) == 4
    assert (place / "micr" / "masks" / "sub-001_ses-01_sample-core_IMC_001.tiff").is_file()
    run_study(tmp_path / "a", tmp_path / "out", options={"mri": {"enhancement": {"maps": False}}})
    rows = pd.read_csv(tmp_path / "out" / "measurements.csv")
    assert set(rows["quantity"]) >= {"t1", "k_trans", "cell_density_area"}
    assert set(rows[rows.quantity == "k_trans"]["region"]) == {"neck node"}


def test_a_slide_goes_to_the_patient_by_whose_series_it_lies():
    def found(kind, form, path, subject, session, modality):
        return Found(kind, form, (Path(path),), subject=subject, session=session, modality=modality, description="")

    one = found("image", "dicom", "/s/p1/v1/ct/1.dcm", "dicom:p1", "2024-01-15", "ct")
    two = found("image", "dicom", "/s/p2/v1/ct/1.dcm", "dicom:p2", "2024-01-16", "ct")
    near = found("image", "mcd", "/s/p1/v1/imc/a.mcd", "name:/s/p1/v1/imc/a", "", "cytometry")
    mask = found("region", "labels", "/s/p1/v1/imc/masks/a_001.tiff", "name:/s/p1/v1/imc/a", "", "cytometry")
    apart = found("image", "mcd", "/s/slides/b.mcd", "name:/s/slides/b", "", "cytometry")
    groups = {"dicom:p1": [one], "dicom:p2": [two], near.subject: [near, mask], apart.subject: [apart]}
    _adopt_strays(groups)
    assert set(groups) == {"dicom:p1", "dicom:p2", apart.subject}
    assert [(t.modality, t.session) for t in groups["dicom:p1"]] == [
        ("ct", "2024-01-15"), ("cytometry", "2024-01-15"), ("cytometry", "2024-01-15"),
    ]  # fmt: skip
