"""Segmentations, structure sets, reports and parametric maps: what is written is read again."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.formats.dicom.make import patient
from tests.formats.strategies import assert_same_geometry

from timelens.engines.regions.outline import pixel_outlines
from timelens.engines.regions.rasterize import rasterize_slice
from timelens.errors import FormatError, GeometryError, UsageError
from timelens.formats.dicom import (
    group_series,
    read_parametric_map,
    read_rtstruct,
    read_seg,
    read_series,
    read_sr,
    write_parametric_map,
    write_rtstruct,
    write_seg,
    write_series,
    write_sr,
)
from timelens.study import Geometry, Image, Measurement, Region


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """A PET series on disk with its acquisition."""
    scan = patient(shape=(6, 8, 9))
    return scan, write_series(scan, tmp_path_factory.mktemp("series"))


def labelled(geometry, rng, numbers=(1, 2), density=0.4):
    labels = np.where(rng.random(geometry.shape) < density, rng.choice(numbers, geometry.shape), 0).astype(np.int16)
    labels.flat[: len(numbers)] = numbers
    names = {n: f"lesion {n}" for n in numbers}
    return Region("lesions", "labels", names, labels=Image(labels, unit="1", geometry=geometry), method="fixed SUV 4.0")


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.floats(0.05, 0.95), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_outlines_give_back_exactly_the_mask(seed, density, shape):
    mask = np.random.default_rng(seed).random(shape) < density
    outlines = pixel_outlines(mask)
    np.testing.assert_array_equal(rasterize_slice(outlines, shape), mask)
    assert all((o * 2 % 2 == 1).all() for o in outlines)  # corners between pixels, half a pixel from any centre
    area = sum(abs(np.sum(o[:, 0] * np.roll(o[:, 1], -1) - o[:, 1] * np.roll(o[:, 0], -1))) / 2 for o in outlines)
    assert area >= mask.sum()  # holes count again


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_structure_set_round_trip_on_an_oblique_grid(seed):
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * 10 ** rng.uniform(-1, 1, 3)
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    geometry = Geometry((3, 6, 7), affine, "a frame of our own")
    region = labelled(geometry, rng, numbers=(2, 5))
    with tempfile.TemporaryDirectory() as folder:
        back = read_rtstruct(write_rtstruct(region, Path(folder) / "rs.dcm"))
    np.testing.assert_array_equal(back.on(geometry), region.labels.numpy())
    assert back.names == region.names
    assert back.frame == geometry.frame


def test_structure_set_refers_to_its_images_and_writes_the_same_bytes_again(series, tmp_path, rng):
    scan, files = series
    region = labelled(scan.image.geometry, rng)
    first = write_rtstruct(region, tmp_path / "a.dcm", files)
    again = write_rtstruct(region, tmp_path / "b.dcm", files)
    assert first.read_bytes() == again.read_bytes()
    back = read_rtstruct(first)
    assert back.extra["referenced_series"] == (str(pydicom.dcmread(files[0]).SeriesInstanceUID),)
    np.testing.assert_array_equal(back.on(read_series(files).image.geometry), region.labels.numpy())
    # Contours are written as they are.
    copy = read_rtstruct(write_rtstruct(back, tmp_path / "c.dcm", files))
    for number, contours in back.shapes.items():
        for a, b in zip(copy.shapes[number], contours, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-9)


def test_long_names_missing_images_and_other_shapes_are_tolerated(series, tmp_path, rng):
    scan, files = series
    file = write_rtstruct(labelled(scan.image.geometry, rng), tmp_path / "a.dcm", files[:2])
    dataset = pydicom.dcmread(file)
    dataset.StructureSetROISequence[0].ROIName = "GTV " * 40
    dataset.ROIContourSequence[1].ContourSequence[0].ContourGeometricType = "OPEN_PLANAR"
    dataset.save_as(file)
    region = read_rtstruct(file)
    assert len(region.name(1)) > 64
    assert [p.found for p in region.extra["problems"]] == ["OPEN_PLANAR"]


@pytest.mark.parametrize("numbers", [(1,), (3, 7), tuple(range(1, 6))])
def test_segmentation_round_trip(series, tmp_path, rng, numbers):
    scan, files = series
    region = labelled(scan.image.geometry, rng, numbers)
    region = Region(**{**vars(region), "roles": {numbers[0]: "liver"}, "identity": {numbers[-1]: "L9"}})
    back = read_seg(write_seg(region, tmp_path / "s.dcm", files), onto=scan.image.geometry)
    np.testing.assert_array_equal(back.labels.numpy(), region.labels.numpy())
    assert_same_geometry(back.labels.geometry, scan.image.geometry)
    assert (back.names, back.method) == (region.names, "fixed SUV 4.0")
    assert [back.role(n) for n in numbers] == [region.role(n) for n in numbers]
    assert back.identity == region.identity
    assert write_seg(region, tmp_path / "again.dcm", files).read_bytes() == (tmp_path / "s.dcm").read_bytes()


def test_sparse_frames_are_put_on_their_slices(series, tmp_path):
    scan, files = series
    labels = np.zeros((6, 8, 9), np.uint8)
    labels[1, 2:4, 2:4] = 1
    labels[4, 5:7, 5:9] = 1
    region = Region("r", "labels", {1: "a"}, labels=Image(labels, unit="1", geometry=scan.image.geometry))
    file = write_seg(region, tmp_path / "s.dcm", files)
    assert pydicom.dcmread(file).NumberOfFrames == 2
    own = read_seg(file)
    np.testing.assert_array_equal(own.labels.numpy(), labels[1:5])
    assert_same_geometry(own.labels.geometry, scan.image.geometry.crop([slice(1, 5), slice(None), slice(None)]))
    np.testing.assert_array_equal(read_seg(file, onto=scan.image.geometry).labels.numpy(), labels)


def test_fractional_segmentations_count_from_one_half(series, tmp_path):
    scan, files = series
    labels = np.ones((6, 8, 9), np.uint8)
    region = Region("r", "labels", {1: "a"}, labels=Image(labels, unit="1", geometry=scan.image.geometry))
    file = write_seg(region, tmp_path / "s.dcm", files)
    dataset = pydicom.dcmread(file)
    dataset.SegmentationType, dataset.MaximumFractionalValue = "FRACTIONAL", 200
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = np.tile(np.array([0, 99, 100, 200], np.uint8), 108).tobytes()
    dataset["PixelData"].VR = "OB"
    dataset.save_as(file)
    np.testing.assert_array_equal(read_seg(file).labels.numpy().ravel(), np.tile([0, 0, 1, 1], 108))


def test_report_round_trip(series, tmp_path):
    _, files = series
    rows = [
        Measurement("suv_max", 12.345678901234567, "g/mL", region="l1", subject="sub-001", n=5, method="given",
                    uncertainty=1.2, uncertainty_kind="repeatability", flags="a;b"),
        Measurement("suv_peak", 9.5, "g/mL", region="l1", subject="sub-001"),
        Measurement("tlg", math.nan, "g", region="l1", subject="sub-001", reason="no voxels"),
        Measurement("mtv", 3.25, "mL", region="l2", subject="sub-001"),
        Measurement("sphericity", 0.75, "1", region="l2", subject="sub-001"),
        Measurement("tmtv", 7.5, "mL", subject="sub-001"),
    ]  # fmt: skip
    file = write_sr(rows, tmp_path / "sr.dcm", files)
    records = read_sr(file)
    assert [repr(r["measurement"]) for r in records] == [repr(m) for m in rows]
    np.testing.assert_array_equal([r["value"] for r in records], [m.value for m in rows])
    assert [(r["code"], r["derivation"]) for r in records[:2]] == [
        ("126401", "Maximum"),
        ("126401", "Peak Value Within ROI"),
    ]
    assert [r["region"] for r in records] == ["l1", "l1", "l1", "l2", "l2", ""]
    assert write_sr(rows, tmp_path / "again.dcm", files).read_bytes() == file.read_bytes()
    (found,) = group_series(file)
    assert found.kind == "sr"
    assert found.references == (str(pydicom.dcmread(files[0]).SeriesInstanceUID),)


def test_a_report_of_another_program_is_read_by_its_codes(series, tmp_path):
    _, files = series
    rows = [Measurement("suv_mean", 4.25, "g/mL", region="l1")]
    dataset = pydicom.dcmread(write_sr(rows, tmp_path / "sr.dcm", files))
    for item in dataset.iterall():
        if item.keyword == "TextValue" and str(item.value).startswith("timelens measurement"):
            item.value = "none"
        if item.keyword == "CodeValue" and item.value == "g/mL":
            item.value = "{SUVbw}g/ml"
    dataset.save_as(tmp_path / "sr.dcm")
    (record,) = read_sr(tmp_path / "sr.dcm")
    assert record["measurement"] is None
    assert (record["region"], record["code"], record["value"], record["derivation"]) == ("l1", "126401", 4.25, "Mean")
    assert record["unit"] == "g/mL"


def test_a_number_edited_behind_our_back_is_refused(series, tmp_path):
    _, files = series
    file = write_sr([Measurement("suv_max", 4.25, "g/mL", region="l1")], tmp_path / "sr.dcm", files)
    dataset = pydicom.dcmread(file)
    for item in dataset.iterall():
        if item.keyword in ("NumericValue", "FloatingPointValue"):
            item.value = 5
    dataset.save_as(file)
    with pytest.raises(FormatError, match="disagree"):
        read_sr(file)


@pytest.mark.parametrize("unit", ["mL/min/mL", "1/min", "Bq/mL", "g/mL", "ms", "1"])
def test_parametric_map_round_trip(series, tmp_path, unit):
    scan, files = series
    values = (scan.image.numpy() - 3000.0).astype(np.float32)
    values[0, 0, :2] = np.nan, np.inf
    image = Image(values, unit=unit, geometry=scan.image.geometry, quantity="k_i" if unit == "mL/min/mL" else None)
    back = read_parametric_map(write_parametric_map(image, tmp_path / "m.dcm", files), subject="sub-001").image
    np.testing.assert_array_equal(back.numpy(), values)
    assert (back.unit, back.quantity, back.dtype) == (unit, image.quantity, np.float32)
    assert_same_geometry(back.geometry, image.geometry)
    again = write_parametric_map(image, tmp_path / "again.dcm", files)
    assert again.read_bytes() == (tmp_path / "m.dcm").read_bytes()


def test_what_cannot_be_written_is_refused(series, tmp_path, rng):
    scan, files = series
    geometry = scan.image.geometry
    elsewhere = labelled(geometry.with_frame("1.2.3"), rng)
    out = tmp_path / "x.dcm"
    for write in (write_seg, write_rtstruct):
        with pytest.raises(GeometryError, match="frame of"):
            write(elsewhere, out, files)
    with pytest.raises(GeometryError, match="known frame of reference"):
        write_rtstruct(labelled(geometry.with_frame(None), rng), out)
    with pytest.raises(UsageError, match="names the images it was made from"):
        write_seg(labelled(geometry, rng), out, [])
    nothing = Region("r", "labels", {}, labels=Image(np.zeros(geometry.shape, np.uint8), unit="1", geometry=geometry))
    for write in (write_seg, write_rtstruct):
        with pytest.raises(UsageError, match="nothing to write"):
            write(nothing, out, files)
    points = Region("p", "points", {1: "a"}, shapes={1: (np.zeros((1, 3)),)}, frame=geometry.frame)
    with pytest.raises(UsageError, match="from labels"):
        write_seg(points, out, files)
    with pytest.raises(UsageError, match="Only labels and contours"):
        write_rtstruct(points, out, files)
    with pytest.raises(UsageError, match="no measurements to report"):
        write_sr([], out, files)
    with pytest.raises(GeometryError, match="one volume"):
        write_parametric_map(Image(np.zeros((2, 2)), unit="1"), out, files)
    assert not out.exists()
