"""Which format a file is, and reading and writing by content and name."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from timelens.errors import DataError, FormatError, MissingFieldError, TimelensError, UsageError
from timelens.formats import bids, blood, nifti, registry
from timelens.study import Acquisition, Geometry, Image, Region, Table

GRID = Geometry.from_spacing((2, 3, 4), (4, 3, 2), frame="F")
IMAGE = Image(np.arange(24, dtype="f4").reshape(2, 3, 4), unit="Bq/mL", geometry=GRID)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.nii", "nifti"),
        ("a.nii.gz", "nifti"),
        ("a.nrrd", "nrrd"),
        ("a.nhdr", "nrrd"),
        ("a.hv", "interfile"),
        ("a.hdr", "interfile"),
        ("a.v", "ecat"),
        ("a.v.gz", "ecat"),
        ("a.ome.zarr", "ome-zarr"),
        ("a.ome.tiff", "ome-tiff"),
    ],
)
def test_write_sniff_read(tmp_path, name, kind):
    path = registry.write(Acquisition("x", "pet", IMAGE), tmp_path / name)
    assert registry.sniff(path) == kind
    read = registry.read(path, subject="sub-01", id="chosen")
    np.testing.assert_allclose(read.image.numpy().reshape(IMAGE.shape), IMAGE.numpy(), atol=23 / 32767)
    assert (read.subject, read.id, read.modality) == ("sub-01", "chosen", "pet")
    assert read.image.geometry.frame == "F"


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.hv", "a.v.gz", "a.ome.zarr", "a.ome.tif"])
def test_content_goes_before_the_name(tmp_path, name):
    path = registry.write(IMAGE, tmp_path / name)
    moved = path.rename(tmp_path / "scan.bin")
    assert registry.sniff(moved) is not None
    assert registry.READERS[registry.sniff(moved)]


def test_a_damaged_file_meets_the_reader_that_its_name_calls_for(tmp_path):
    for name, kind in (("a.nii.gz", "nifti"), ("b.nrrd", "nrrd"), ("c.v", "ecat"), ("d.ome.tif", "ome-tiff")):
        (tmp_path / name).write_bytes(b"\x1f\x8b damaged")
        assert registry.sniff(tmp_path / name) == kind
        with pytest.raises(TimelensError) as caught:
            registry.read(tmp_path / name, unit="1")
        assert str(tmp_path / name) in str(caught.value)


def test_what_is_no_format(tmp_path):
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    for name in ("notes.txt", "empty", "folder"):
        assert registry.sniff(tmp_path / name) is None
        with pytest.raises(FormatError, match=r"format is not known.*Field: content"):
            registry.read(tmp_path / name)
    with pytest.raises(DataError, match="no such file or folder"):
        registry.sniff(tmp_path / "absent")
    with pytest.raises(UsageError, match=r"No format has that ending.*\.nii\.gz"):
        registry.write(IMAGE, tmp_path / "a.mgz")


def test_the_unit_is_handed_on(tmp_path):
    path = nifti.write(IMAGE, tmp_path / "a.nii")
    (tmp_path / "a.json").unlink()
    with pytest.raises(MissingFieldError, match="unit of the image is not known"):
        registry.read(path)
    assert registry.read(path, unit="g/mL").image.unit == "g/mL"


def test_a_dataset_of_one_scan(tmp_path):
    bids.write(Acquisition("x", "pet", IMAGE, subject="sub-01"), tmp_path)
    assert registry.sniff(tmp_path) == "bids"
    assert registry.read(tmp_path).subject == "sub-01"
    bids.write(Acquisition("x", "pet", IMAGE, subject="sub-02"), tmp_path)
    with pytest.raises(DataError, match=r"not hold exactly one scan.*2 scans"):
        registry.read(tmp_path)


def test_blood(tmp_path):
    table = Table(pd.DataFrame({"time": [0.0, 1], "plasma_radioactivity": [1.0, 2]}),
                  {"time": "s", "plasma_radioactivity": "Bq/mL"})  # fmt: skip
    path = blood.write(table, tmp_path / "sub-01_recording-manual_blood.tsv")
    assert registry.sniff(path) == "blood"
    assert len(registry.read(path).data) == 2
    (tmp_path / "a.bld").write_text("time[minutes]\tplasma[kBq/cc]\n0\t1\n1\t2\n")
    assert registry.sniff(tmp_path / "a.bld") == "pmod-blood"
    assert registry.read(tmp_path / "a.bld").data.data["time"].tolist() == [0, 60]


def test_published_files(shared_data):
    folder = shared_data / "ecat_pmod_formats"
    assert registry.sniff(folder / "nibabel_tinypet.v") == "ecat"
    assert registry.sniff(folder / "synthetic_ecat_integer_16x16x16x4.v.gz") == "ecat"
    assert registry.sniff(folder / "pmod_bld" / "S001_Plasma_Activity.bld") == "pmod-blood"
    assert registry.sniff(folder / "pmod_bld" / "converted_recording-manual_blood.tsv") == "blood"
    sarcoma = shared_data / "pet_fdg_sarcoma"
    assert registry.sniff(sarcoma / "STS_001_PET_image.nii.gz") == "nifti"
    assert registry.sniff(sarcoma / "dicom_STS_002" / "image") == "dicom"


def test_a_folder_with_one_dicom_series(shared_data):
    read = registry.read(shared_data / "pet_fdg_sarcoma" / "dicom_STS_002" / "image", id="chosen")
    assert (read.id, read.modality, read.image.unit) == ("chosen", "pet", "g/mL")
    assert read.image.shape[-3:] == (48, 27, 30)


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nrrd"])
def test_label_files(tmp_path, name):
    values = (np.arange(24).reshape(GRID.shape) % 3).astype("i2")
    registry.write(Image(values, unit="1", geometry=GRID.with_frame(None)), tmp_path / name)
    region = registry.read_labels(tmp_path / name, geometry=GRID, id="drawn")
    assert isinstance(region, Region)
    assert (region.id, sorted(region.names)) == ("drawn", [1, 2])
    np.testing.assert_array_equal(region.on(GRID), values)


def test_what_is_no_label_file(tmp_path):
    path = registry.write(IMAGE, tmp_path / "a.ome.zarr")
    with pytest.raises(FormatError, match=r"Not a label file.*ome-zarr.*nifti, nrrd"):
        registry.read_labels(path, geometry=GRID)


def test_gzip_of_something_else(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"notes"))
    assert registry.sniff(tmp_path / "a.gz") is None
    (tmp_path / "a.json").write_text(json.dumps({}))
    assert registry.sniff(tmp_path / "a.json") is None
