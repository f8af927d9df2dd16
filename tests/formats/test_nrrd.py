"""NRRD: round trips, another program's reading and writing, damaged and hostile headers."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from tests.formats.strategies import acquisitions, assert_same_acquisition, assert_same_geometry

from timelens.errors import DataError, FormatError, GeometryError, MissingFieldError, UnsafeFileError, UsageError
from timelens.formats import nrrd
from timelens.study import Geometry, Image, Region

anywhere = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@anywhere
@given(acquisitions(dtypes=["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"]))
def test_round_trip(tmp_path, made):
    nrrd.write(made, tmp_path / "a.nrrd")
    assert_same_acquisition(nrrd.read(tmp_path / "a.nrrd"), made)
    nrrd.write(made, tmp_path / "b.nhdr")
    assert_same_acquisition(nrrd.read(tmp_path / "b.nhdr"), made)


@anywhere
@given(acquisitions(axes=("zyx",), orthogonal=True))
def test_another_program_reads_the_same(tmp_path, made):
    path = nrrd.write(made, tmp_path / "a.nrrd")
    seen = sitk.ReadImage(path)
    geometry = made.image.geometry
    np.testing.assert_array_equal(sitk.GetArrayFromImage(seen), made.image.numpy())
    corner = [n - 1 for n in geometry.shape]
    np.testing.assert_allclose(
        seen.TransformIndexToPhysicalPoint(corner[::-1]) * np.array([-1, -1, 1]), geometry.to_mm(corner), atol=1e-6
    )


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_of_another_program(tmp_path, compressed, rng):
    data = rng.integers(0, 100, (3, 4, 5)).astype("i2")
    image = sitk.GetImageFromArray(data)
    image.SetSpacing((1.5, 2.5, 3.5))
    image.SetOrigin((-10.0, 20, 30))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    sitk.WriteImage(image, tmp_path / "a.nrrd", compressed)
    with pytest.raises(MissingFieldError, match=r"unit of the image is not known.*a\.nrrd"):
        nrrd.read(tmp_path / "a.nrrd")
    read = nrrd.read(tmp_path / "a.nrrd", unit="[hnsf'U]").image
    assert not read.loaded
    np.testing.assert_array_equal(read.numpy(), data)
    lps = np.array(image.TransformIndexToPhysicalPoint((4, 3, 2)))
    np.testing.assert_allclose(read.geometry.to_mm((2, 3, 4)), lps * [-1, -1, 1])
    assert read.geometry.frame is None


def test_vector_images_of_another_program(tmp_path, rng):
    data = rng.normal(size=(2, 3, 4, 5)).astype("f4")
    sitk.WriteImage(sitk.GetImageFromArray(data, isVector=True), tmp_path / "a.nrrd")
    read = nrrd.read(tmp_path / "a.nrrd", unit="1").image
    assert [a.name for a in read.axes] == ["c", "z", "y", "x"]
    np.testing.assert_array_equal(read.numpy(), np.moveaxis(data, -1, 0))


# -- files by hand ---------------------------------------------------------------------------------------------------

GOOD = {
    "type": "short",
    "dimension": "3",
    "sizes": "4 3 2",
    "endian": "little",
    "encoding": "raw",
    "space": "right-anterior-superior",
    "space directions": "(2,0,0) (0,3,0) (0,0,4)",
    "space origin": "(1,2,3)",
    "sample units": '"Bq/mL"',
}


def hand(path, data=None, *, drop=(), magic="NRRD0004", end="\n", keys="", **changed):
    fields = {
        k: v for k, v in {**GOOD, **{k.replace("_", " "): v for k, v in changed.items()}}.items() if k not in drop
    }
    data = np.arange(24, dtype="<i2").tobytes() if data is None else data
    path.write_bytes((magic + end + "".join(f"{k}: {v}{end}" for k, v in fields.items()) + keys + end).encode() + data)
    return path


def test_by_hand(tmp_path):
    read = nrrd.read(hand(tmp_path / "a.nrrd"))
    assert_same_geometry(read.image.geometry, Geometry.from_spacing((2, 3, 4), (4, 3, 2), origin=(1, 2, 3)))
    assert read.image.numpy().ravel().tolist() == list(range(24))
    assert read.image.unit == "Bq/mL"
    assert read.problems == ()


@pytest.mark.parametrize(
    ("space", "sign"), [("LPS", (-1, -1, 1)), ("left-anterior-superior", (-1, 1, 1)), ("RAS", (1, 1, 1))]
)
def test_spaces(tmp_path, space, sign):
    read = nrrd.read(hand(tmp_path / "a.nrrd", space=space)).image.geometry
    np.testing.assert_allclose(read.to_mm((0, 0, 0)), np.array([1, 2, 3]) * sign)


def test_windows_line_ends_comments_and_bytes_order(tmp_path):
    read = nrrd.read(hand(tmp_path / "a.nrrd", end="\r\n", keys="# note\r\nkey:=value\r\n"))
    assert read.image.numpy().ravel().tolist() == list(range(24))
    read = nrrd.read(hand(tmp_path / "a.nrrd", np.arange(24, dtype=">i2").tobytes(), endian="big"))
    assert read.image.numpy().ravel().tolist() == list(range(24))
    assert read.image.numpy().dtype.isnative


def test_byte_skip(tmp_path):
    data = b"\xff" * 10 + np.arange(24, dtype="<i2").tobytes()
    for skip in ("10", "-1"):
        assert nrrd.read(hand(tmp_path / "a.nrrd", data, byte_skip=skip)).image.numpy()[0, 0, 1] == 1


def test_units_of_the_space(tmp_path):
    read = nrrd.read(hand(tmp_path / "a.nrrd", space_units='"cm" "cm" "cm"'))
    assert read.image.geometry.spacing == (40, 30, 20)
    with pytest.raises(FormatError, match="unit of the space is not known"):
        nrrd.read(hand(tmp_path / "a.nrrd", space_units='"mm" "mm" "cm"'))


def test_no_orientation_is_a_warning(tmp_path):
    path = hand(tmp_path / "a.nrrd", drop=("space", "space directions", "space origin"), spacings="2 3 4")
    read = nrrd.read(path)
    assert read.image.geometry.spacing == (4, 3, 2)
    assert "orientation and position are not" in read.problems[0].message


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"magic": "NRRD9999"}, r"Not an NRRD file.*a\.nrrd\. Field: magic"),
        ({"type": "block"}, r"data type is not supported.*Field: type"),
        ({"drop": ("type",)}, r"required field is missing.*Field: type"),
        ({"drop": ("endian",)}, "Field: endian"),
        ({"endian": "middle"}, r"byte order is unknown"),
        ({"encoding": "bzip2"}, r"encoding is not supported.*Field: encoding"),
        ({"sizes": "4 3"}, r"sizes are not those of a volume.*Field: sizes"),
        ({"sizes": "4 3 x"}, "not whole numbers"),
        ({"sizes": "4 -3 2"}, "not those of a volume"),
        ({"sizes": "40960 40960 40960"}, r"claims more data than the file holds.*Field: sizes"),
        ({"sizes": "4 3 1"}, "more data than its header claims"),
        ({"space": "scanner-xyz"}, "space is not known"),
        ({"space_directions": "(2,0,0) (0,3,0)"}, "three vectors"),
        ({"space_directions": "(2,0) (0,3) (1,1)"}, "three vectors"),
        ({"space_directions": "(2,0,a) (0,3,0) (0,0,4)"}, "not made of numbers"),
        ({"space_origin": "(1,2)"}, "origin is not a point"),
        ({"line_skip": "3"}, "skip is not supported"),
        ({"byte_skip": "x"}, "Not a whole number"),
        ({"keys": "nonsense\n"}, "header line is no field"),
        ({"keys": "timelens:={\n"}, "Not valid JSON"),
        ({"keys": "timelens:=[]\n"}, "Not a JSON object"),
        ({"drop": ("space directions",)}, "voxel sizes are not known"),
        ({"data_file": "LIST"}, "several files"),
        ({"data_file": "absent.raw"}, "data file is missing"),
        ({"encoding": "gzip", "sizes": "40960 40960 40960"}, "claims more data"),
    ],
)
def test_damaged_headers(tmp_path, changed, match):
    with pytest.raises(FormatError, match=match) as caught:
        nrrd.read(hand(tmp_path / "a.nrrd", **changed))
    assert caught.value.problem.file == str(tmp_path / "a.nrrd")


def test_damaged_directions(tmp_path):
    for directions in ("(0,0,0) (0,3,0) (0,0,4)", "(inf,0,0) (0,3,0) (0,0,4)"):
        with pytest.raises(GeometryError, match=r"a\.nrrd\. Field: (affine|space directions)"):
            nrrd.read(hand(tmp_path / "a.nrrd", space_directions=directions))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\x.raw", "C:\\x.raw"])
def test_a_data_file_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(UnsafeFileError, match=r"leads out of its folder.*a\.nhdr\. Field: data file"):
        nrrd.read(hand(tmp_path / "a.nhdr", b"", data_file=name))


def test_a_link_elsewhere_is_refused(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "secret.raw").write_bytes(bytes(48))
    (tmp_path / "d" / "x.raw").symlink_to(tmp_path / "secret.raw")
    with pytest.raises(UnsafeFileError, match="leads out of its folder"):
        nrrd.read(hand(tmp_path / "d" / "a.nhdr", b"", data_file="x.raw"))


def test_damaged_data(tmp_path):
    packed = gzip.compress(np.arange(24, dtype="<i2").tobytes())
    assert nrrd.read(hand(tmp_path / "a.nrrd", packed, encoding="gzip")).image.numpy()[0, 0, 1] == 1
    with pytest.raises(FormatError, match="truncated or damaged"):
        nrrd.read(hand(tmp_path / "a.nrrd", packed[:-12], encoding="gzip")).image.numpy()
    with pytest.raises(FormatError, match="shorter than the header says"):
        nrrd.read(hand(tmp_path / "a.nrrd", gzip.compress(b"12"), encoding="gzip")).image.numpy()
    with pytest.raises(UnsafeFileError, match="beyond the limit"):
        nrrd.read(hand(tmp_path / "a.nrrd", gzip.compress(bytes(10**6)), encoding="gzip")).image.numpy()


def test_empty_and_missing(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        nrrd.read(tmp_path / "a.nrrd")
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\nsizes: " + b"1 " * 100 + b"\xff")
    with pytest.raises(FormatError, match="header is not text"):
        nrrd.read(tmp_path / "a.nrrd")


def test_a_write_that_does_not_fit(tmp_path):
    geometry = Geometry.from_spacing((1, 1, 1), (1, 1, 1))
    with pytest.raises(UsageError, match=r"ends in \.nrrd"):
        nrrd.write(Image(np.ones((1, 1, 1)), unit="1", geometry=geometry), tmp_path / "a.nii")
    with pytest.raises(UsageError, match="real images"):
        nrrd.write(Image(np.ones((1, 1, 1), "c8"), unit="1", geometry=geometry), tmp_path / "a.nrrd")


GRID = Geometry.from_spacing((2, 3, 4), (4, 3, 2), frame="F")


def test_labels_round_trip(tmp_path, rng):
    values = rng.integers(0, 3, GRID.shape).astype(np.int32)
    labels = Image(values, unit="1", geometry=GRID)
    region = Region("a", "labels", {1: "node", 2: "liver"}, labels=labels, method="drawn", roles={2: "liver"})
    read = nrrd.read_labels(nrrd.write_labels(region, tmp_path / "a.nrrd"), geometry=GRID)
    np.testing.assert_array_equal(read.labels.numpy(), values)
    assert (read.names, read.roles, read.method) == ({1: "node", 2: "liver"}, {2: "liver"}, "drawn")


def test_segments_of_3d_slicer(tmp_path):
    keys = "Segment0_LabelValue:=1\nSegment0_Name:=Left node\nSegment1_LabelValue:=23\nSegment1_Name:=Liver\n"
    path = hand(tmp_path / "a.seg.nrrd", drop=("sample units",), keys=keys)
    read = nrrd.read_labels(path, geometry=GRID)
    assert read.names[1] == "Left node"
    assert read.names[23] == "Liver"
    assert read.names[2] == "lesion-2"
    assert read.labels.geometry.frame == "F"
