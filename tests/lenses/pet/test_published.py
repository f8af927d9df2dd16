"""Six FDG PET tumours against the values that other programs published for them (IBSI 1 validation data set)."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from timelens.formats import dicom, nifti
from timelens.run.api import run_study
from timelens.run.quantify import quantify_image

PATIENTS = ("STS_001", "STS_002", "STS_006", "STS_009", "STS_020", "STS_030")
#: Column oncoray is one program throughout; the median mixes programs that moved the masks.
EXACT = {
    "suv_max": "int_mask_max_int_init_roi",
    "suv_mean": "int_mask_mean_int_init_roi",
    "suv_min": "int_mask_min_int_init_roi",
    "voxel_count": "morph_mask_vox_count_init_roi",
}
PEAKS = {"suv_peak": "loc_peak_glob", "suv_peak_local": "loc_peak_loc"}


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "pet_fdg_sarcoma"


@pytest.fixture(scope="module")
def published(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with gzip.open(folder / "ibsi1_validation_pet_all_teams.csv.gz", "rt", encoding="utf-8") as stream:
        return {(row["tag"], row["id"]): row for row in csv.DictReader(stream)}


@pytest.mark.parametrize("patient", PATIENTS)
def test_published_values(patient: str, folder: Path, published: dict[tuple[str, str], dict[str, str]]) -> None:
    result = quantify_image(folder / f"{patient}_PET_image.nii.gz", folder / f"{patient}_PET_mask.nii.gz", unit="g/mL")
    values = {m.quantity: m.value for m in result.measurements if m.region != "all lesions"}
    for quantity, tag in EXACT.items():
        assert values[quantity] == pytest.approx(float(published[tag, patient]["oncoray"]), rel=1e-6), quantity
    for quantity, tag in PEAKS.items():
        assert values[quantity] == pytest.approx(float(published[tag, patient]["median"]), rel=0.01), quantity


def test_dicom_series_and_contours_give_the_same(folder: Path, published, tmp_path: Path) -> None:
    source = folder / "dicom_STS_002"
    result = run_study(source, tmp_path)
    values = {m.quantity: m.value for m in result.measurements if m.region == "GTV_Mass_PET"}
    assert values["voxel_count"] == 555
    for quantity, tag in EXACT.items():
        assert values[quantity] == pytest.approx(float(published[tag, "STS_002"]["oncoray"]), rel=1e-6), quantity
    pet = dicom.read_series(sorted((source / "image").iterdir()))
    geometry = pet.image.geometry
    assert geometry is not None
    contours = dicom.read_rtstruct(next((source / "mask").iterdir()))
    mask = nifti.read(folder / "STS_002_PET_mask.nii.gz", unit="1").image
    assert mask.geometry is not None
    # The given mask runs the other way along some axes: compare in millimetres.
    there = geometry.to_index(mask.geometry.to_mm(np.argwhere(mask.numpy() > 0)))
    ours = np.argwhere(contours.on(geometry) > 0)
    assert np.abs(there - np.rint(there)).max() < 0.01
    assert {tuple(v) for v in np.rint(there).astype(int)} == {tuple(v) for v in ours}


def test_what_needs_dose_and_time_is_refused_where_the_dates_contradict(folder: Path) -> None:
    from timelens.errors import DataError
    from timelens.lenses.pet.uptake import uptake

    pet = dicom.read_series(sorted((folder / "dicom_STS_002" / "image").iterdir()))
    with pytest.raises(DataError, match="stored SUV"):
        uptake(pet, "pct_id_ml")


def test_a_nifti_without_unit_is_refused(folder: Path) -> None:
    from timelens.errors import MissingFieldError

    with pytest.raises(MissingFieldError, match="unit"):
        quantify_image(folder / "STS_001_PET_image.nii.gz", folder / "STS_001_PET_mask.nii.gz")
