"""NIfTI: round trips, published patients, damaged and hostile headers."""

from __future__ import annotations

import csv
import gzip
import json

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tests.formats.strategies import acquisitions, assert_same_acquisition, assert_same_geometry

from timelens.errors import DataError, FormatError, GeometryError, MissingFieldError, UnitError, UsageError
from timelens.formats import nifti
from timelens.study import FrameTiming, Geometry, Image, Region

anywhere = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@anywhere
@given(acquisitions(dtypes=["u1", "i2", "u2", "i4", "i8", "f4", "f8", "c8"]))
def test_round_trip(tmp_path, made):
    nifti.write(made, tmp_path / "a.nii")
    assert_same_acquisition(nifti.read(tmp_path / "a.nii"), made)
    nifti.write(made, tmp_path / "b.nii.gz")
    assert_same_acquisition(nifti.read(tmp_path / "b.nii.gz"), made)


@anywhere
@given(acquisitions(axes=("zyx",)))
def test_another_program_reads_the_same(tmp_path, made):
    path = nifti.write(made, tmp_path / "a.nii")
    seen = nib.load(path)
    np.testing.assert_array_equal(np.asanyarray(seen.dataobj).T, made.image.numpy())
    geometry = made.image.geometry
    # The header holds the affine in single precision.
    np.testing.assert_allclose(seen.affine, geometry.to_nifti(), rtol=1e-6, atol=1e-4)


def test_same_bytes_from_same_data(tmp_path):
    image = Image(
        np.arange(8, dtype="f4").reshape(2, 2, 2), unit="1", geometry=Geometry.from_spacing((2, 2, 2), (1, 1, 1))
    )
    first = nifti.write(image, tmp_path / "a.nii.gz").read_bytes()
    assert nifti.write(image, tmp_path / "b.nii.gz").read_bytes() == first
    assert not list(tmp_path.glob(".*"))


def test_bool_and_half_are_written_as_what_nifti_has(tmp_path):
    geometry = Geometry.from_spacing((1, 1, 2), (1, 1, 1))
    for array, dtype in ((np.array([[[True, False]]]), "u1"), (np.array([[[1.5, 2]]], "f2"), "f4")):
        path = nifti.write(Image(array, unit="1", geometry=geometry), tmp_path / "a.nii")
        read = nifti.read(path).image
        assert read.dtype == dtype
        assert read.numpy().tolist() == array.astype(dtype).tolist()


def test_a_write_that_does_not_fit(tmp_path):
    image = Image(np.zeros((2, 2)), unit="1")
    with pytest.raises(UsageError, match="axes z, y, x"):
        nifti.write(image, tmp_path / "a.nii")
    with pytest.raises(UsageError, match=r"ends in \.nii"):
        nifti.write(image, tmp_path / "a.mgz")


# -- files of other programs -----------------------------------------------------------------------------------------


def plain(path, data=None, *, affine=None, **header):
    """A NIfTI file as another program would write it, with header fields forced."""
    data = np.arange(24, dtype="i2").reshape(4, 3, 2) if data is None else data
    image = nib.Nifti1Image(data, np.diag([2.0, 3, 4, 1]) if affine is None else affine)
    image.header.set_xyzt_units("mm", "sec")
    raw = bytearray(image.to_bytes())
    view = np.frombuffer(raw, image.header.template_dtype, 1)
    for key, value in header.items():
        view[key] = value
    (gzip.open if str(path).endswith(".gz") else open)(path, "wb").write(raw)
    return path


@pytest.mark.parametrize("number", ["001", "002", "006", "009", "020", "030"])
def test_published_patients(shared_data, number):
    folder = shared_data / "pet_fdg_sarcoma"
    path = folder / f"STS_{number}_PET_image.nii.gz"
    with pytest.raises(
        MissingFieldError, match=r"unit of the image is not known\. File: .*nii\.gz\. Field: Units.*--unit g/mL"
    ):
        nifti.read(path)
    image = nifti.read(path, unit="g/mL").image
    assert not image.loaded
    mask = nifti.read_labels(folder / f"STS_{number}_PET_mask.nii.gz", geometry=image.geometry)
    inside = image.numpy()[mask.labels.numpy() == 1].astype(float)
    with gzip.open(folder / "ibsi1_validation_pet_all_teams.csv.gz", "rt") as stream:
        rows = {r["tag"]: r["oncoray"] for r in csv.DictReader(stream) if r["id"].endswith(number)}
    for name, value in (("max", inside.max()), ("mean", inside.mean()), ("min", inside.min())):
        assert value == pytest.approx(float(rows[f"int_mask_{name}_int_init_roi"]), rel=1e-6)
    assert inside.size == float(rows["morph_mask_vox_count_init_roi"])


def test_scaling(tmp_path):
    path = plain(tmp_path / "a.nii", scl_slope=0.5, scl_inter=-3)
    image = nifti.read(path, unit="1").image
    assert image.dtype == np.float32
    np.testing.assert_allclose(image.numpy(), np.arange(24).reshape(4, 3, 2).T * 0.5 - 3)
    for none in (0, np.nan):
        assert nifti.read(plain(tmp_path / "b.nii", scl_slope=none), unit="1").image.dtype == np.int16
    with pytest.raises(FormatError, match=r"scaling is not finite.*scl_slope"):
        nifti.read(plain(tmp_path / "c.nii", scl_slope=np.inf), unit="1")


def test_other_byte_order(tmp_path):
    data = np.arange(24, dtype=">f4").reshape(4, 3, 2)
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">f4")
    nib.save(nib.Nifti1Image(data, np.eye(4), header), tmp_path / "a.nii")
    image = nifti.read(tmp_path / "a.nii", unit="1").image
    assert image.numpy().dtype == np.dtype("f4")
    np.testing.assert_array_equal(image.numpy(), data.T)


def test_pair_of_header_and_image(tmp_path):
    data = np.arange(24, dtype="f4").reshape(4, 3, 2)
    nib.save(nib.Nifti1Pair(data, np.eye(4)), tmp_path / "a.hdr")
    np.testing.assert_array_equal(nifti.read(tmp_path / "a.hdr", unit="1").image.numpy(), data.T)
    (tmp_path / "a.img").unlink()
    with pytest.raises(DataError, match="image file of the pair is missing"):
        nifti.read(tmp_path / "a.hdr", unit="1")


@pytest.mark.parametrize(("code", "factor"), [(1, 1000.0), (2, 1.0), (3, 1e-3)])
def test_length_units(tmp_path, code, factor):
    read = nifti.read(plain(tmp_path / "a.nii", xyzt_units=code), unit="1").image.geometry
    np.testing.assert_allclose(read.spacing, np.array([4, 3, 2]) * factor)


def test_unknown_length_unit_is_a_warning(tmp_path):
    found = nifti.read(plain(tmp_path / "a.nii", xyzt_units=0), unit="1").problems
    assert [(p.field, p.severity) for p in found] == [("xyzt_units", "warning")]
    with pytest.raises(FormatError, match="unit of the voxel sizes is unknown"):
        nifti.read(plain(tmp_path / "a.nii", xyzt_units=7), unit="1")


@pytest.mark.parametrize(("code", "seconds"), [(8, 5.0), (16, 5e-3), (24, 5e-6)])
def test_time_units_of_equal_frames(tmp_path, code, seconds):
    path = plain(tmp_path / "a.nii", np.zeros((2, 2, 2, 3), "f4"), xyzt_units=2 | code, pixdim=[1, 2, 2, 2, 5, 1, 1, 1])
    read = nifti.read(path, unit="1")
    np.testing.assert_allclose(read.image.frames.start, np.arange(3) * seconds)
    assert [p.field for p in read.problems] == ["pixdim[4]"]


def test_frames_of_pet_come_from_the_sidecar_alone(tmp_path):
    path = plain(tmp_path / "a_pet.nii", np.zeros((2, 2, 2, 3), "f4"), xyzt_units=10)
    assert nifti.read(path, unit="Bq/mL").image.frames is None


def test_the_header_is_silent_about_unequal_frames(tmp_path):
    geometry = Geometry.from_spacing((1, 1, 1), (1, 1, 1))
    for duration, found in (
        ([60.0, 240.0, 60.0], None),
        ([60.0, 60.0, 240.0], None),
        ([60.0, 60.0, 60.0], [0, 60, 120]),
    ):
        start = np.concatenate([[0.0], np.cumsum(duration)[:-1]])
        frames = FrameTiming(start, np.array(duration))
        path = nifti.write(
            Image(np.zeros((3, 1, 1, 1)), unit="1", geometry=geometry, frames=frames), tmp_path / "a.nii"
        )
        (tmp_path / "a.json").unlink()
        read = nifti.read(path, unit="1").image.frames
        assert (read is None) if found is None else read.start.tolist() == found


def test_frames_without_a_unit_are_not_guessed(tmp_path):
    path = plain(tmp_path / "a.nii", np.zeros((2, 2, 2, 3), "f4"), xyzt_units=2)
    assert nifti.read(path, unit="1").image.frames is None


def test_qform_and_sform_that_disagree_are_named(tmp_path):
    image = nib.Nifti1Image(np.zeros((3, 3, 3), "f4"), np.eye(4))
    image.set_sform(np.diag([2.0, 2, 2, 1]), 1)
    image.set_qform(np.eye(4), 1)
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "a.nii")
    read = nifti.read(tmp_path / "a.nii", unit="1")
    assert read.image.geometry.spacing == (2, 2, 2)
    assert "qform and sform disagree" in read.problems[0].message
    assert read.problems[0].found == "up to 3.464 mm apart"


def test_qform_alone(tmp_path):
    image = nib.Nifti1Image(np.zeros((3, 3, 3), "f4"), None)
    image.set_qform(np.diag([2.0, 3, 4, 1]), 1)
    image.set_sform(None, 0)
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "a.nii")
    assert_same_geometry(
        nifti.read(tmp_path / "a.nii", unit="1").image.geometry, Geometry.from_spacing((3, 3, 3), (4, 3, 2))
    )


def test_no_orientation_is_a_warning(tmp_path):
    read = nifti.read(plain(tmp_path / "a.nii", sform_code=0, qform_code=0), unit="1")
    assert read.image.geometry.spacing == (4, 3, 2)
    assert "orientation and position are not" in read.problems[0].message


# -- damaged and hostile ---------------------------------------------------------------------------------------------


def test_claim_of_64_gigabytes(tmp_path):
    path = plain(tmp_path / "a.nii", dim=[3, 4096, 4096, 2048, 1, 1, 1, 1])
    path.write_bytes(path.read_bytes()[:352])
    with pytest.raises(
        FormatError, match=r"claims more data than the file holds.*a\.nii\. Field: dim\. Found: 68,719,477,088"
    ):
        nifti.read(path, unit="1")
    packed = plain(tmp_path / "a.nii.gz", dim=[3, 4096, 4096, 2048, 1, 1, 1, 1])
    with pytest.raises(DataError, match="Field: dim"):
        nifti.read(packed, unit="1")


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ({"vox_offset": 0}, r"begin inside the header.*vox_offset"),
        ({"vox_offset": -352}, "vox_offset"),
        ({"vox_offset": np.nan}, "vox_offset"),
        ({"vox_offset": 1e9}, "claims more data"),
        ({"dim": [3, -4, 3, 2, 1, 1, 1, 1]}, r"dimensions are not those of an image.*Field: dim"),
        ({"dim": [3, 0, 3, 2, 1, 1, 1, 1]}, "Field: dim"),
        ({"dim": [9, 4, 3, 2, 1, 1, 1, 1]}, "Field: dim"),
        ({"dim": [7, 4, 3, 2, 1, 1, 2, 1]}, "Field: dim"),
        ({"dim": [3, 4, 3, 1, 1, 1, 1, 1]}, "12? ?bytes too many|more data than its header"),
        ({"datatype": 128}, r"data type is not supported.*datatype"),
        ({"datatype": 9999}, "datatype"),
        ({"bitpix": 8}, r"contradict each other.*bitpix"),
        ({"magic": b"xx"}, r"Not a NIfTI file.*magic"),
    ],
)
def test_damaged_headers(tmp_path, header, match):
    with pytest.raises(FormatError, match=match):
        nifti.read(plain(tmp_path / "a.nii", **header), unit="1")


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ({"srow_x": [np.nan, 0, 0, 0]}, "sform"),
        ({"srow_x": [0, 0, 0, 0]}, "sform"),
        ({"srow_x": [np.inf, 0, 0, 0]}, "sform"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 5.0}, "qform"),
        ({"sform_code": 0, "qform_code": 0, "pixdim": [1, np.nan, 1, 1, 1, 1, 1, 1]}, "pixdim"),
        ({"sform_code": 0, "qform_code": 0, "pixdim": [1, 0, 1, 1, 1, 1, 1, 1]}, "pixdim"),
    ],
)
def test_damaged_geometry(tmp_path, header, field):
    with pytest.raises(GeometryError, match=rf"geometry cannot be used.*a\.nii\. Field: {field}"):
        nifti.read(plain(tmp_path / "a.nii", **header), unit="1")


def test_damaged_gzip(tmp_path, rng):
    path = plain(tmp_path / "a.nii.gz", rng.normal(size=(20, 20, 20)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match=r"truncated or damaged.*a\.nii\.gz"):
        nifti.read(path, unit="1").image.numpy()
    path.write_bytes(whole[:100])
    with pytest.raises(FormatError, match=r"truncated"):
        nifti.read(path, unit="1")
    path.write_bytes(whole + b"garbage")
    with pytest.raises(FormatError, match=r"truncated or damaged.*a\.nii\.gz"):
        nifti.read(path, unit="1").image.numpy()
    path.write_bytes(gzip.compress(gzip.decompress(whole) + b"garbage"))
    with pytest.raises(FormatError, match=r"limit|holds more"):
        nifti.read(path, unit="1").image.numpy()


def test_empty_and_other_files(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"")
    with pytest.raises(FormatError, match="empty"):
        nifti.read(tmp_path / "a.nii")
    (tmp_path / "a.nii").write_bytes(b"not an image")
    with pytest.raises(FormatError, match="Not a NIfTI file"):
        nifti.read(tmp_path / "a.nii")
    with pytest.raises(DataError, match="no such file"):
        nifti.read(tmp_path / "b.nii")


# -- sidecar ---------------------------------------------------------------------------------------------------------


def test_a_sidecar_of_another_grid_is_refused(tmp_path):
    geometry = Geometry.from_spacing((2, 2, 2), (1, 1, 1))
    path = nifti.write(Image(np.zeros((2, 2, 2)), unit="1", geometry=geometry), tmp_path / "a.nii")
    side = json.loads((tmp_path / "a.json").read_text())
    side["timelens"]["affine"][0][3] = 5.0
    (tmp_path / "a.json").write_text(json.dumps(side))
    with pytest.raises(GeometryError, match=r"describes another grid.*timelens\.affine.*5 mm apart"):
        nifti.read(path)
    side["timelens"].pop("affine")
    side["timelens"]["axes"] = [{"name": "t", "kind": "time", "unit": "s"}]
    (tmp_path / "a.json").write_text(json.dumps(side))
    with pytest.raises(FormatError, match=r"axes of the sidecar do not fit.*a\.json"):
        nifti.read(path)


def test_the_unit_stated_must_agree(tmp_path):
    path = plain(tmp_path / "a.nii")
    (tmp_path / "a.json").write_text('{"Units": "Bq/cc"}')
    assert nifti.read(path).image.unit == "Bq/mL"
    assert nifti.read(path, unit="Bq/mL").image.unit == "Bq/mL"
    for other in ("g/mL", "kBq/mL"):
        with pytest.raises(UnitError, match=r"not the unit that the file gives.*a\.nii"):
            nifti.read(path, unit=other)
    with pytest.raises(UnitError, match=r"Unknown unit 'SUV'"):
        nifti.read(path, unit="SUV")


def test_names_of_the_acquisition(tmp_path):
    read = nifti.read(plain(tmp_path / "sub-01_pet.nii.gz"), unit="Bq/mL", subject="sub-01")
    assert (read.id, read.modality, read.subject) == ("sub-01_pet", "pet", "sub-01")
    assert nifti.read(plain(tmp_path / "scan.nii"), unit="1").modality == ""
    assert nifti.read(plain(tmp_path / "scan.nii"), unit="1", modality="ct").modality == "ct"


# -- labels ----------------------------------------------------------------------------------------------------------

GRID = Geometry.from_spacing((2, 3, 4), (4, 3, 2), frame="F")


def test_labels_round_trip(tmp_path, rng):
    values = rng.integers(0, 4, GRID.shape).astype(np.int32)
    region = Region(
        "lesions",
        "labels",
        {1: "node", 2: "liver", 3: "bone"},
        labels=Image(values, unit="1", geometry=GRID),
        method="fixed SUV 4.0",
        roles={2: "liver"},
        identity={1: "L7"},
    )
    read = nifti.read_labels(nifti.write_labels(region, tmp_path / "lesions.nii.gz"), geometry=GRID)
    np.testing.assert_array_equal(read.labels.numpy(), values)
    assert (read.id, read.names, read.method) == ("lesions", region.names, "fixed SUV 4.0")
    assert read.roles == {2: "liver"}
    assert read.identity == {1: "L7"}
    assert_same_geometry(read.labels.geometry, GRID)


def test_labels_take_the_frame_of_the_image(tmp_path):
    path = plain(tmp_path / "mask.nii", np.array([[[0, 1, 0, 3]]], "f8"), affine=np.eye(4))
    read = nifti.read_labels(path, geometry=GRID)
    assert read.labels.geometry.frame == "F"
    assert read.names == {1: "lesion-1", 3: "lesion-3"}
    (tmp_path / "mask.tsv").write_text("index\tname\n1\tspleen\n")
    assert nifti.read_labels(path, geometry=GRID).names == {1: "spleen", 3: "lesion-3"}
    (tmp_path / "mask.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(FormatError, match=r"no columns index and name.*mask\.tsv"):
        nifti.read_labels(path, geometry=GRID)


def test_labels_of_another_frame_are_refused(tmp_path):
    region = Region("a", "labels", {1: "a"}, labels=Image(np.ones(GRID.shape, int), unit="1", geometry=GRID))
    path = nifti.write_labels(region, tmp_path / "a.nii")
    with pytest.raises(GeometryError, match="another frame of reference"):
        nifti.read_labels(path, geometry=GRID.with_frame("G"))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (np.full((2, 2, 2), 0.5), r"holds whole numbers.*float64 between 0\.5 and 0\.5"),
        (np.full((2, 2, 2), np.nan), "holds whole numbers"),
        (np.full((2, 2, 2), -1, "i2"), "out of range"),
        (np.zeros((2, 2, 2), "c8"), "holds whole numbers"),
        (np.zeros((2, 2, 2, 2), "u1"), "three dimensions"),
    ],
)
@pytest.mark.filterwarnings("ignore:All-NaN")
def test_what_is_no_label_file(tmp_path, data, match):
    with pytest.raises(FormatError, match=match):
        nifti.read_labels(plain(tmp_path / "a.nii", data), geometry=GRID)


def test_contours_need_a_grid(tmp_path):
    with pytest.raises(UsageError, match="grid they are laid onto"):
        nifti.write_labels(
            Region("a", "points", {1: "p"}, shapes={1: (np.zeros((1, 3)),)}, frame="F"), tmp_path / "a.nii"
        )
    region = Region("a", "points", {1: "p"}, shapes={1: (np.array([[2.0, 3, 4]]),)}, frame="F")
    read = nifti.read_labels(nifti.write_labels(region, tmp_path / "a.nii", GRID), geometry=GRID)
    assert np.argwhere(read.labels.numpy()).tolist() == [[1, 1, 1]]
