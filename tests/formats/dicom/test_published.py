"""A real PET series with its structure set, against the same patient as NIfTI."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from timelens.formats.dicom import group_series, read_rtstruct, read_series


@pytest.fixture(scope="module")
def sarcoma(shared_data):
    return shared_data / "pet_fdg_sarcoma"


@pytest.fixture(scope="module")
def scan(sarcoma):
    return read_series(sarcoma / "dicom_STS_002", subject="sub-002")


def test_the_volume_equals_the_published_nifti(sarcoma, scan):
    nifti = nib.load(sarcoma / "STS_002_PET_image.nii.gz")
    published = np.asarray(nifti.dataobj).T
    assert scan.image.unit == "g/mL"
    assert scan.image.shape == published.shape == (48, 27, 30)
    # One rounding to float32 apart; the affine of the NIfTI is itself float32 (2e-5 mm at 630 mm).
    np.testing.assert_allclose(scan.image.numpy(), published, rtol=1.2e-7, atol=0)
    np.testing.assert_allclose(scan.image.geometry.to_nifti(), nifti.affine, rtol=0, atol=4e-5)


def test_the_structure_set_gives_the_published_mask_voxel_for_voxel(sarcoma, scan):
    region = read_rtstruct(sarcoma / "dicom_STS_002" / "mask" / "RS.dcm")
    assert region.names == {1: "GTV_Mass_PET"}
    assert region.frame == scan.image.geometry.frame
    mask = region.on(scan.image.geometry) == 1
    published = np.asarray(nib.load(sarcoma / "STS_002_PET_mask.nii.gz").dataobj).T != 0
    assert mask.sum() == 555
    np.testing.assert_array_equal(mask, published)
    # Exact values of the IBSI validation (column oncoray): voxel values as published, float32.
    inside = scan.image.numpy()[mask]
    published_values = np.asarray(nib.load(sarcoma / "STS_002_PET_image.nii.gz").dataobj).T[published]
    np.testing.assert_allclose(
        [inside.max(), inside.min()], [published_values.max(), published_values.min()], rtol=2e-7
    )


def test_the_header_says_what_it_says_and_nothing_else(scan):
    assert scan.weight_g == 99_000
    assert scan.height_mm == 1740
    assert scan.sex == "M"
    assert scan.administered_activity_bq == 433344096
    assert scan.half_life_s == 6588
    # The injection lies after the scan in this file (dates were shifted): it is kept as it stands.
    assert scan.administered_time > scan.acquisition_time
    assert scan.image.decay_reference is None
    assert len(scan.header) == len(scan.sources) == 48
    assert {h["Units"] for h in scan.header} == {"GML"}


def test_nothing_that_identifies_the_patient_is_kept(scan):
    said = repr([scan.header, scan.extra, scan.description, scan.agent, scan.id, scan.problems])
    for secret in ("PatientName", "PatientID", "PatientBirthDate", "3912173256621705", "AccessionNumber"):
        assert secret not in said


def test_grouping_finds_image_and_structure_set_and_joins_them(sarcoma):
    image, structures = sorted(group_series(sarcoma / "dicom_STS_002"), key=lambda s: s.modality)
    assert (image.modality, image.kind, image.n_files) == ("PT", "image", 48)
    assert (structures.modality, structures.kind, structures.n_files) == ("RTSTRUCT", "rtstruct", 1)
    assert structures.references == (image.series_uid,)
    assert structures.frame == image.frame
    assert structures.patient == image.patient != ""
    assert image.units == "GML"
    assert image.problems == structures.problems == ()
