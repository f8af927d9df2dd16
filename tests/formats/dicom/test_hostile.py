"""Damaged, contradictory and hostile DICOM: each gets an error that names file and field, and no number."""

from __future__ import annotations

import pickle
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from tests.formats.dicom.make import ROOT, one_slice, patient, save, stack

from timelens.errors import (
    DataError,
    FormatError,
    GeometryError,
    MissingFieldError,
    TimelensError,
    UnsafeFileError,
    UsageError,
)
from timelens.formats.dicom import (
    group_series,
    read_parametric_map,
    read_rtstruct,
    read_seg,
    read_series,
    read_sr,
    write_rtstruct,
    write_seg,
    write_series,
)
from timelens.formats.dicom.safe import MAX_RATIO, directory_files, read_dataset
from timelens.study import Image, Region


def changed(modality="CT", at=None, **attributes):
    """A stack whose slices (one of them, or all) have other attributes; None deletes."""

    def make(folder):
        def change(dataset, z):
            if at is not None and z != at:
                return
            for keyword, value in attributes.items():
                if value is None:
                    del dataset[keyword]
                else:
                    setattr(dataset, keyword, value(z) if callable(value) else value)

        stack(folder, 5, modality, change)
        return folder

    return make


def missing_slice(folder):
    stack(folder, 7, change=lambda _, z: z != 3)
    return folder


def twice_differing(folder):
    stack(folder, 5)
    dataset = one_slice(2, seed=0)
    dataset.RescaleIntercept = "-1000"
    save(dataset, folder / "copy.dcm")
    return folder


def cut_short(folder, size=-20):
    file = stack(folder, 5, size=(64, 64))[2]
    file.write_bytes(file.read_bytes()[:size])
    return folder


def cut_in_header(folder):
    return cut_short(folder, 400)


def not_dicom(folder):
    folder.mkdir(parents=True)
    (folder / "a.dcm").write_bytes(b"\0" * 600)
    return folder


def empty(folder):
    folder.mkdir(parents=True)
    (folder / "a.dcm").write_bytes(b"")
    return folder


def bomb(folder):
    """A few hundred kilobytes that would inflate to 150 megabytes, though pixels are skipped."""
    folder.mkdir(parents=True)
    dataset = one_slice(0)
    dataset.add_new((0x0011, 0x0010), "LO", "PADDING")
    dataset.add_new((0x0011, 0x1001), "OB", b"\0" * 150_000_000)
    save(dataset, folder / "bomb.dcm", DeflatedExplicitVRLittleEndian)
    return folder


def deflated_cut(folder):
    folder.mkdir(parents=True)
    file = save(one_slice(0, size=(64, 64)), folder / "a.dcm", DeflatedExplicitVRLittleEndian)
    file.write_bytes(file.read_bytes()[:-900])
    return folder


def two_series(folder):
    stack(folder / "a", 3)
    stack(folder / "b", 3, seed=1)
    return folder


def gated(folder):
    for phase in range(2):
        stack(
            folder / str(phase),
            4,
            "PT",
            lambda d, z, p=phase: _set(
                d, SeriesType=["GATED", "IMAGE"], TriggerTime=str(100 * p), SOPInstanceUID=f"{ROOT}9.{p}.{z}"
            ),
        )
    return folder


def _set(dataset, **attributes):
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)


def frame_lacks_slice(folder):
    for frame in range(3):
        stack(
            folder / str(frame),
            4,
            "PT",
            lambda d, z, f=frame: (
                False
                if (f, z) == (1, 2)
                else _set(
                    d, AcquisitionTime=f"1100{f}0", ActualFrameDuration="10000", SOPInstanceUID=f"{ROOT}9.{f}.{z}"
                )
            ),
        )
    return folder


def magnitude_and_phase(folder):
    for kind in ("M", "P"):
        stack(
            folder / kind, 3, "MR",
            lambda d, z, k=kind: _set(d, ImageType=["ORIGINAL", "PRIMARY", k], SOPInstanceUID=f"{ROOT}9.{ord(k)}.{z}"),
        )  # fmt: skip
    return folder


def huge_claim(folder):
    folder.mkdir(parents=True)
    dataset = one_slice(0)
    dataset.Rows = dataset.Columns = 65535
    dataset.NumberOfFrames = 20_000
    save(dataset, folder / "a.dcm")
    return folder


def compressed_claim(folder):
    folder.mkdir(parents=True)
    dataset = one_slice(0)
    dataset.Rows = dataset.Columns = 20_000
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f" + b"\0" * 100])
    dataset["PixelData"].VR = "OB"
    save(dataset, folder / "a.dcm", JPEG2000Lossless)
    return folder


def projections(folder):
    folder.mkdir(parents=True)
    dataset = one_slice(0, "NM")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]
    dataset.NumberOfFrames = 1
    save(dataset, folder / "a.dcm")
    return folder


def frames_undescribed(folder):
    folder.mkdir(parents=True)
    dataset = one_slice(0)
    dataset.SOPClassUID, dataset.NumberOfFrames = "1.2.840.10008.5.1.4.1.1.2.1", 2
    dataset.PixelData = dataset.PixelData * 2
    dataset.PerFrameFunctionalGroupsSequence = Sequence([Dataset()])
    save(dataset, folder / "a.dcm")
    return folder


SERIES = [
    ("an empty file", empty, FormatError, "Not a DICOM file.*0 bytes"),
    ("a file that only bears the name .dcm", not_dicom, FormatError, "Not a DICOM file"),
    ("a file cut off within its header", cut_in_header, FormatError, "belongs to no series|damaged or truncated"),
    (
        "a file cut off within its pixels",
        cut_short,
        FormatError,
        "smaller than the pixels its header claims.*Field: PixelData",
    ),
    ("a header that claims 172 TB", huge_claim, UnsafeFileError, "more pixels than one file may hold"),
    (
        "a compressed image that claims 800 MB in 1 kB",
        compressed_claim,
        UnsafeFileError,
        "far more pixels than the compressed",
    ),
    (
        "a deflated file that inflates 1000-fold",
        bomb,
        UnsafeFileError,
        "inflates beyond what is allowed.*TransferSyntaxUID",
    ),
    ("a deflated file cut short", deflated_cut, FormatError, "truncated.*deflated data set"),
    ("a folder with two series", two_series, UsageError, "several image series"),
    ("a missing slice", missing_slice, GeometryError, "1 slice is missing.*ImagePositionPatient.*gap of 6 mm"),
    (
        "unevenly spaced slices",
        changed(at=3, ImagePositionPatient=["-10", "-20", "10"]),
        GeometryError,
        "unevenly spaced.*2 to 4 mm",
    ),
    (
        "slices that lie beside the line of the others",
        changed(at=2, ImagePositionPatient=["-9", "-20", "6"]),
        GeometryError,
        "not lie on one straight line.*1 mm off",
    ),
    (
        "two slices at one place",
        changed(at=3, ImagePositionPatient=["-10", "-20", "6"]),
        GeometryError,
        "Duplicate slices",
    ),
    ("one instance in two files that differ", twice_differing, DataError, "same SOP instance UID and differ"),
    (
        "a localiser in the series",
        changed(at=4, ImageOrientationPatient=["0", "1", "0", "0", "0", "-1"]),
        GeometryError,
        "mixed orientations.*in 1 of 5 slices",
    ),
    (
        "an orientation that is not two unit vectors",
        changed(ImageOrientationPatient=["1", "0", "0", "0.5", "1", "0"]),
        GeometryError,
        "two unit vectors at right angles",
    ),
    (
        "slices of two frames of reference",
        changed(at=1, FrameOfReferenceUID="1.2.3"),
        GeometryError,
        "several frames of ref",
    ),
    ("slices of two sizes", changed(at=1, Rows=2), GeometryError, "different sizes"),
    ("slices of two pixel spacings", changed(at=1, PixelSpacing=["2", "3"]), GeometryError, "different pixel spacings"),
    ("a pixel spacing of 0", changed(PixelSpacing=["0", "2"]), GeometryError, "Pixels have no size"),
    ("no position", changed(ImagePositionPatient=None), MissingFieldError, "Field: ImagePositionPatient"),
    (
        "a position of two numbers",
        changed(at=1, ImagePositionPatient=["1", "2"]),
        FormatError,
        "expected: 3 finite|Expected: 3 finite",
    ),
    ("a rescale slope of 0", changed(RescaleSlope="0"), FormatError, "slope of 0"),
    ("a CT without rescale", changed(RescaleSlope=None), MissingFieldError, "mean nothing.*Field: RescaleSlope"),
    (
        "a PET without units",
        changed("PT", Units=None),
        MissingFieldError,
        "unit of the image is not stated.*Field: Units",
    ),
    ("a PET in units that DICOM does not know", changed("PT", Units="SUV"), FormatError, "Unknown units.*Found: SUV"),
    ("slices with different units", changed("PT", at=1, Units="CNTS"), DataError, "different units"),
    (
        "slices with different decay correction",
        changed("PT", at=1, DecayCorrection="NONE"),
        DataError,
        "differ in their decay",
    ),
    ("a gated PET", gated, DataError, "gated series"),
    (
        "a dynamic series whose second frame lacks a slice",
        frame_lacks_slice,
        GeometryError,
        "frame lacks slices.*3 of 4",
    ),
    ("magnitude and phase in one series", magnitude_and_phase, DataError, "mixes kinds of image"),
    (
        "a colour picture",
        changed(SamplesPerPixel=3, PhotometricInterpretation="RGB", BitsAllocated=8, Rows=1, Columns=1),
        FormatError,
        "colour picture",
    ),
    (
        "an acquisition time that is no time",
        changed(AcquisitionTime="259999"),
        FormatError,
        "cannot be read.*AcquisitionTime",
    ),
    ("projections instead of a volume", projections, FormatError, "not a volume.*RECON TOMO"),
    (
        "a multi-frame file that describes half of its frames",
        frames_undescribed,
        FormatError,
        "describe each of its frames",
    ),
]


@pytest.mark.parametrize(("name", "make", "error", "match"), SERIES, ids=[c[0] for c in SERIES])
def test_series_is_refused_by_name(tmp_path, name, make, error, match):
    place = make(tmp_path / "x")
    with pytest.raises(error, match=f"(?s){match}") as caught:
        read_series(place)
    problem = caught.value.problem
    assert str(tmp_path) in problem.file
    assert problem.field
    for secret in ("Doe", "4711", "1940"):
        assert secret not in str(caught.value)
    # Looking at headers for grouping survives all of them.
    assert [s for s in group_series(place) if s.files]


def test_pixels_that_are_missing_or_changed_are_refused_when_they_are_read(tmp_path):
    stack(tmp_path / "a", 5, change=lambda d, z: d.__delitem__("PixelData") if z == 2 else None)
    with pytest.raises(FormatError, match=r"smaller than the pixels its header claims.*PixelData. Found: 0 bytes"):
        read_series(tmp_path / "a")
    files = stack(tmp_path / "b", 5)
    scan = read_series(tmp_path / "b")
    save(one_slice(2, seed=9), files[2])
    with pytest.raises(FormatError, match="changed since its header was read"):
        scan.image.numpy()


def test_pixels_shorter_than_claimed_are_refused(tmp_path):
    def shorten(dataset, z):
        dataset.PixelData = dataset.PixelData[:-4]
        dataset.DataSetTrailingPadding = b"\0" * 16

    stack(tmp_path, 3, change=shorten)
    scan = read_series(tmp_path)
    with pytest.raises(FormatError, match="cannot be decoded"):
        scan.image.numpy()


def test_an_exact_copy_of_a_file_is_used_once_and_named(tmp_path):
    files = stack(tmp_path, 5)
    (tmp_path / "copy.dcm").write_bytes(files[2].read_bytes())
    scan = read_series(tmp_path)
    assert scan.image.shape == (5, 4, 5)
    assert [p.message for p in scan.problems] == ["A file is there twice; it was used once"]


def test_other_files_in_the_folder_are_passed_over_and_named(tmp_path):
    stack(tmp_path, 3)
    (tmp_path / "notes.txt").write_text("seen by J. D.")
    scan = read_series(tmp_path)
    assert scan.image.shape[0] == 3
    assert [(p.message, p.severity) for p in scan.problems] == [("Not a DICOM file", "warning")]


def test_a_deflated_file_within_bounds_is_read(tmp_path):
    dataset = one_slice(0, size=(512, 512))
    dataset.PixelData = np.zeros((512, 512), "<u2").tobytes()
    save(dataset, tmp_path / "a.dcm", DeflatedExplicitVRLittleEndian)
    assert (tmp_path / "a.dcm").stat().st_size * MAX_RATIO < 512 * 512 * 2
    assert (read_series(tmp_path).image.numpy() == -1024).all()


def test_the_bomb_is_stopped_before_it_is_inflated(tmp_path, monkeypatch):
    place = bomb(tmp_path / "x") / "bomb.dcm"
    assert place.stat().st_size < 400_000

    def never(*_, **__):
        raise AssertionError("the data set was inflated")

    monkeypatch.setattr(pydicom, "dcmread", never)
    monkeypatch.setattr(zlib, "decompress", never)
    with pytest.raises(UnsafeFileError, match="inflates beyond"):
        read_dataset(place)


@pytest.mark.parametrize(
    "parts",
    [["..", "secret.dcm"], ["/etc/passwd"], ["A", "..", "..", "secret.dcm"], ["..\\secret.dcm"], ["C:", "x"], ["LINK"]],
)
def test_dicomdir_cannot_leave_its_folder(tmp_path, parts):
    (tmp_path / "secret.dcm").write_bytes(b"x")
    disc = tmp_path / "disc"
    disc.mkdir()
    (disc / "LINK").symlink_to(tmp_path / "secret.dcm")
    dicomdir(disc / "DICOMDIR", parts)
    with pytest.raises(UnsafeFileError, match=r"leads out of its folder.*ReferencedFileID"):
        directory_files(disc / "DICOMDIR")
    with pytest.raises(UnsafeFileError, match="leads out of its folder"):
        read_series(disc / "DICOMDIR")


def test_dicomdir_with_plain_names_is_read_and_absent_files_are_named(tmp_path):
    stack(tmp_path / "IM", 3)
    dicomdir(tmp_path / "DICOMDIR", *[["IM", f"{z:03d}.dcm"] for z in range(3)])
    assert read_series(tmp_path / "DICOMDIR").image.shape == (3, 4, 5)
    dicomdir(tmp_path / "DICOMDIR", ["IM", "NONE"])
    with pytest.raises(FormatError, match="lists a file that is not there"):
        directory_files(tmp_path / "DICOMDIR")


def dicomdir(path: Path, *entries):
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.1.3.10", ROOT + "5"
    records = []
    for parts in entries:
        record = Dataset()
        record.add_new("ReferencedFileID", "CS", parts if len(parts) > 1 else parts[0])
        records.append(record)
    dataset.DirectoryRecordSequence = Sequence(records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config.settings, "_writing_validation_mode", pydicom.config.IGNORE)
        path.unlink(missing_ok=True)
        save(dataset, path)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    outside = stack(tmp_path / "outside", 1)[0]
    stack(tmp_path / "in", 3)
    (tmp_path / "in" / "link.dcm").symlink_to(outside)
    assert read_series(tmp_path / "in").image.shape[0] == 3


def test_uids_are_never_used_as_paths(tmp_path):
    def spoil(dataset, z):
        dataset.SOPInstanceUID = f"../../../escape{z}"
        dataset.SeriesInstanceUID = "/tmp/escape"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config.settings, "_writing_validation_mode", pydicom.config.IGNORE)
        stack(tmp_path / "in", 3, change=spoil)
    scan = read_series(tmp_path / "in", subject="sub-001")
    assert scan.image.numpy().shape == (3, 4, 5)
    assert "/" not in scan.id
    before = set(tmp_path.rglob("*"))
    files = write_series(patient(), tmp_path / "out")
    assert {f.name for f in files} == {f"{n:06d}.dcm" for n in range(1, 6)}
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "out", *files}


def test_overlays_in_the_upper_bits_do_not_become_values(tmp_path):
    def overlay(dataset, z):
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.PixelData = (np.arange(20, dtype=np.uint16) | 0xF000).tobytes()

    stack(tmp_path, 3, change=overlay)
    np.testing.assert_array_equal(read_series(tmp_path).image.numpy()[0].ravel(), np.arange(20) - 1024)


def test_run_length_encoding_gives_the_same_values(tmp_path):
    plain = read_series(stack(tmp_path / "a", 3)).image.numpy()
    for file in stack(tmp_path / "b", 3):
        dataset = pydicom.dcmread(file)
        dataset.compress(RLELossless)
        dataset.save_as(file)
    np.testing.assert_array_equal(read_series(tmp_path / "b").image.numpy(), plain)


def test_a_series_can_be_sent_to_another_process(tmp_path):
    scan = read_series(stack(tmp_path, 3))
    loader = pickle.loads(pickle.dumps(scan.image._loader))
    np.testing.assert_array_equal(loader(), scan.image.numpy())


def test_random_damage_gives_an_error_of_ours_or_a_volume(tmp_path, rng):
    """Bytes changed and cut anywhere: nothing but a TimelensError may come out."""
    good = stack(tmp_path / "a", 1, "PT")[0].read_bytes()
    place = tmp_path / "b.dcm"
    refused = 0
    for _ in range(400):
        data = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(132, len(data))] = rng.integers(0, 256)
        place.write_bytes(bytes(data[: rng.integers(100, len(data))] if rng.random() < 0.3 else data))
        try:
            assert read_series(place).image.numpy().shape[0] == 1
        except TimelensError:
            refused += 1
    assert 100 < refused < 400


# -- derived objects -------------------------------------------------------------------------------------------------


@pytest.fixture
def objects(tmp_path):
    scan = patient(shape=(6, 8, 9))
    files = write_series(scan, tmp_path / "s")
    labels = np.zeros((6, 8, 9), np.int16)
    labels[1:4, 2:6, 2:7] = 1
    labels[3:5, 6:8, 2:7] = 2
    region = Region("r", "labels", {1: "a", 2: "b"}, labels=Image(labels, unit="1", geometry=scan.image.geometry))
    return {
        "scan": files[0],
        "seg": write_seg(region, tmp_path / "seg.dcm", files),
        "rtstruct": write_rtstruct(region, tmp_path / "rs.dcm", files),
    }


def spoiled(file: Path, change) -> Path:
    dataset = pydicom.dcmread(file)
    change(dataset)
    dataset.save_as(file)
    return file


def _contour(dataset):
    return dataset.ROIContourSequence[0].ContourSequence[0]


STRUCTURES = [
    (
        "a contour with a coordinate missing",
        lambda d: setattr(_contour(d), "ContourData", list(_contour(d).ContourData)[:-1]),
        FormatError,
        "does not hold the coordinates",
    ),
    (
        "a contour with fewer points than it says",
        lambda d: setattr(_contour(d), "NumberOfContourPoints", 99),
        FormatError,
        "does not hold the coordinates.*99 points",
    ),
    ("a structure set without contours", lambda d: delattr(d, "ROIContourSequence"), FormatError, "no closed contour"),
    (
        "a structure set with points only",
        lambda d: [
            setattr(c, "ContourGeometricType", "POINT") for r in d.ROIContourSequence for c in r.ContourSequence
        ],
        FormatError,
        "no closed contour",
    ),
    (
        "structures in two frames of reference",
        lambda d: d.StructureSetROISequence.append(_other_frame()),
        GeometryError,
        "different frames of reference",
    ),
]


def _other_frame():
    item = Dataset()
    item.ROINumber, item.ROIName, item.ReferencedFrameOfReferenceUID = 2, "b", "1.2.3"
    return item


@pytest.mark.parametrize(("name", "change", "error", "match"), STRUCTURES, ids=[c[0] for c in STRUCTURES])
def test_structure_sets_are_refused_by_name(objects, name, change, error, match):
    with pytest.raises(error, match=match):
        read_rtstruct(spoiled(objects["rtstruct"], change))


SEGMENTATIONS = [
    (
        "a segmentation without segments",
        lambda d: setattr(d, "SegmentSequence", Sequence([])),
        FormatError,
        "describes no segment",
    ),
    (
        "a segmentation that claims more frames",
        lambda d: setattr(d, "NumberOfFrames", 50),
        FormatError,
        "cannot be decoded|describe each of its frames|smaller than the pixels",
    ),
    (
        "a frame of a segment that is not described",
        lambda d: setattr(
            d.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0], "ReferencedSegmentNumber", 9
        ),
        FormatError,
        "segment that is not described",
    ),
    (
        "frames between the slices of the grid",
        lambda d: setattr(
            d.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0], "ImagePositionPatient", [11.0, -5.0, 34.3]
        ),
        GeometryError,
        "do not lie on one grid",
    ),
]


@pytest.mark.parametrize(("name", "change", "error", "match"), SEGMENTATIONS, ids=[c[0] for c in SEGMENTATIONS])
def test_segmentations_are_refused_by_name(objects, name, change, error, match):
    with pytest.raises(error, match=match):
        read_seg(spoiled(objects["seg"], change))


@pytest.mark.parametrize("read", [read_seg, read_rtstruct, read_sr, read_parametric_map])
def test_another_kind_of_object_is_refused(objects, read):
    with pytest.raises(FormatError, match=r"Not a .*SOPClassUID"):
        read(objects["scan"])


def test_unknown_transfer_syntax_is_named(tmp_path):
    file = stack(tmp_path, 1)[0]
    data = file.read_bytes().replace(ExplicitVRLittleEndian.encode() + b"\0", b"1.2.840.10008.99999\0")
    file.write_bytes(data)
    with pytest.raises(FormatError, match=r"transfer syntax|damaged"):
        read_series(tmp_path)
