"""ECAT 7: a published synthetic study with its truth, another program's reading, round trips, damaged files."""

from __future__ import annotations

import gzip
import io
from datetime import datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from nibabel.ecat import EcatImage, main_header_dtd, subheader_dtd
from scipy.io import loadmat
from tests.formats.strategies import acquisitions, assert_same_acquisition

from timelens.errors import DataError, FormatError, MissingFieldError, UsageError
from timelens.formats import ecat
from timelens.study import Acquisition, FrameTiming, Geometry, Image

anywhere = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
MAIN = np.dtype(main_header_dtd).newbyteorder(">")
SUB = np.dtype(subheader_dtd).newbyteorder(">")


@pytest.fixture
def synthetic(shared_data):
    """A published study of four frames of 10 s, whose pixels are known."""
    return shared_data / "ecat_pmod_formats" / "synthetic_ecat_integer_16x16x16x4.v.gz"


def seen_by_nibabel(data):
    files = EcatImage.make_file_map({"header": io.BytesIO(data), "image": io.BytesIO(data)})
    return EcatImage.from_file_map(files)


def test_published_study_is_exact(synthetic):
    read = ecat.read(synthetic)
    assert not read.image.loaded
    truth = loadmat(synthetic.with_name("synthetic_ecat_integer_16x16x16x4.mat"))
    for frame in range(4):
        expected = truth[f"frame_{frame + 1}_pixel_data"]  # (z, y, x) there
        np.testing.assert_array_equal(read.image.numpy()[frame], expected)
    assert [read.image.numpy()[i].max() for i in range(4)] == [8190, 16382, 24574, 32766]


def test_published_study_header(synthetic):
    read = ecat.read(synthetic)
    assert read.image.unit == "Bq/mL"
    assert read.image.frames.duration.tolist() == [10, 10, 10, 10]
    assert read.image.frames.start.tolist() == [0, 10, 20, 30]
    assert read.image.frames.zero == "injection"
    # 2019-04-30 11:04:42 UTC; the factors of the frames are those of C-11 to that time.
    assert read.image.decay_reference == read.acquisition_time == datetime(2019, 4, 30, 11, 4, 42)
    assert (read.radionuclide, read.half_life_s, read.agent) == ("C-11", 1224.0, None)
    np.testing.assert_allclose(read.image.geometry.spacing, [1.21875] * 3)
    assert read.administered_activity_bq is None
    assert read.extra["dosage"] == pytest.approx(2.1)
    assert [p.field for p in read.problems] == ["patient_orientation"]


def test_nothing_of_the_patient_is_kept(synthetic):
    assert "Majesty" in str(gzip.decompress(synthetic.read_bytes()))
    assert "Majesty" not in str(ecat.read(synthetic))
    assert "PerfectPatient" not in str(ecat.read(synthetic))


def test_small_file_of_another_program(shared_data):
    path = shared_data / "ecat_pmod_formats" / "nibabel_tinypet.v"
    read = ecat.read(path)
    other = seen_by_nibabel(path.read_bytes())
    np.testing.assert_allclose(read.image.numpy()[0].T, other.get_frame(0), rtol=1e-7)
    np.testing.assert_allclose(read.image.geometry.spacing[::-1], np.diag(other.affine)[:3], rtol=1e-6)
    assert read.image.unit == "Bq/mL"
    assert read.agent == "FDG"
    assert read.image.frames.start.tolist() == [1500.016]
    # The header's dose time lies six days after the scan.
    assert read.administered_time is None
    assert "dose_start_time" in [p.field for p in read.problems]
    assert read.image.decay_reference == read.acquisition_time


@anywhere
@given(acquisitions(axes=("zyx", "tzyx"), dtypes=["i2", "f4", "f8"]))
def test_round_trip(tmp_path, made):
    ecat.write(made, tmp_path / "a.v.gz")
    read = ecat.read(tmp_path / "a.v.gz", modality=None)
    before = np.asarray(made.image.numpy(), float)
    frames = before.reshape(-1, *before.shape[-3:])
    after = read.image.numpy().reshape(frames.shape)
    for one, other in zip(after, frames, strict=True):  # half a step of int16, and the rounding to float32
        assert np.abs(one - other).max() <= np.abs(other).max() * (0.5001 / 32767 + 1e-7)
    same = Image(
        read.image.numpy(), unit=made.image.unit, axes=made.image.axes, geometry=made.image.geometry,
        frames=made.image.frames, decay_reference=made.image.decay_reference, quantity=made.image.quantity,
    )  # fmt: skip
    assert_same_acquisition(read, Acquisition(**{**made.__dict__, "data": same}))


@anywhere
@given(acquisitions(axes=("tzyx",), dtypes=["f4"]))
def test_another_program_reads_what_is_written(tmp_path, made):
    path = ecat.write(made, tmp_path / "a.v")
    other = seen_by_nibabel(path.read_bytes())
    read = ecat.read(path, modality=None).image.numpy()
    for frame in range(len(read)):
        np.testing.assert_allclose(other.get_frame(frame).T, read[frame], rtol=1e-6)


def test_many_frames_need_several_directory_blocks(tmp_path):
    values = np.arange(70, dtype="f4").reshape(70, 1, 1, 1)
    frames = FrameTiming(np.arange(70.0), np.ones(70))
    image = Image(values, unit="Bq/mL", geometry=Geometry.from_spacing((1, 1, 1), (1, 1, 1)), frames=frames)
    np.testing.assert_allclose(ecat.read(ecat.write(image, tmp_path / "a.v")).image.numpy(), values, rtol=1e-4)


# -- damaged and hostile ---------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path):
    """A file of two frames, 2 x 3 x 4 voxels, without sidecar."""
    values = np.arange(48, dtype="f4").reshape(2, 2, 3, 4)
    frames = FrameTiming(np.array([0.0, 10]), np.array([10.0, 10]))
    image = Image(values, unit="Bq/mL", geometry=Geometry.from_spacing((2, 3, 4), (3, 2, 2)), frames=frames)
    path = ecat.write(Acquisition("a", "pet", image, acquisition_time=datetime(2024, 1, 1)), tmp_path / "a.v")
    (tmp_path / "a.json").unlink()
    return path


def force(path, *, main=(), sub=(), directory=None):
    """Overwrite header fields of a file; sub goes to the first frame."""
    raw = bytearray(path.read_bytes())
    for key, value in dict(main).items():
        np.frombuffer(raw, MAIN, 1)[key] = value
    for key, value in dict(sub).items():
        np.frombuffer(raw, SUB, 1, offset=1024)[key] = value
    if directory is not None:
        at, value = directory
        np.frombuffer(raw, ">i4", 128, offset=512)[at] = value
    path.write_bytes(raw)
    return path


def test_made(made):
    read = ecat.read(made)
    assert read.image.unit == "Bq/mL"
    assert read.modality == "pet"
    assert read.image.frames.start.tolist() == [0, 10]
    assert read.image.frames.zero == "first frame"
    assert read.image.decay_reference is None
    assert read.extra["ImageDecayCorrected"] is False


@pytest.mark.parametrize(
    ("main", "sub", "match"),
    [
        ({"magic_number": b"MATRIX6"}, {}, r"Not an ECAT 7 file.*a\.v\. Field: magic_number"),
        ({"file_type": 1}, {}, r"Not an image volume.*file_type"),
        ({"ecat_calibration_factor": 0}, {}, r"calibration factor is not usable.*ecat_calibration_factor"),
        ({"ecat_calibration_factor": np.nan}, {}, "ecat_calibration_factor"),
        ({}, {"scale_factor": np.nan}, "scale_factor"),
        ({}, {"scale_factor": 0}, "scale_factor"),
        ({}, {"data_type": 99}, r"data type is not supported.*data_type of frame 1"),
        ({}, {"x_dimension": 0}, r"dimensions are not positive.*frame 1"),
        ({}, {"x_dimension": 30000, "y_dimension": 30000}, r"claims more data.*dimensions of frame 1"),
        ({}, {"x_dimension": 3}, r"Frames differ.*x_dimension"),
        ({}, {"x_pixel_size": np.nan}, "x_pixel_size"),
        ({}, {"corrections_applied": 512}, r"Some frames are decay-corrected.*corrections_applied"),
    ],
)
def test_damaged_headers(made, main, sub, match):
    with pytest.raises(FormatError, match=match):
        ecat.read(force(made, main=main, sub=sub))


def test_damaged_times(made):
    with pytest.raises(DataError, match=r"Frame 1 does not start after.*a\.v"):
        ecat.read(force(made, sub={"frame_start_time": 20_000}))


@pytest.mark.parametrize(
    ("at", "value", "match"),
    [
        (1, 99999, r"directory block lies outside.*directory"),
        (3, 0, "holds no frames"),
        (5, 10**6, "subheader lies outside"),
        (5, -5, "subheader lies outside"),
        (4, 0x02010001, "Gated"),
        (4, 0x01010002, "stands there twice"),
    ],
)
def test_damaged_directory(made, at, value, match):
    with pytest.raises(FormatError, match=match):
        ecat.read(force(made, directory=(at, value)))


def test_a_directory_that_points_at_itself_ends(made):
    assert ecat.read(force(made, directory=(1, 2))).image.shape[0] == 2


def test_truncated(made):
    whole = made.read_bytes()
    made.write_bytes(whole[:700])
    with pytest.raises(FormatError, match="header is truncated"):
        ecat.read(made)
    made.write_bytes(whole[:1600])
    with pytest.raises(FormatError, match=r"lies outside the file|claims more data"):
        ecat.read(made)
    packed = made.with_name("b.v.gz")
    packed.write_bytes(gzip.compress(whole)[:-30])
    with pytest.raises(FormatError, match=r"truncated or damaged.*b\.v\.gz"):
        ecat.read(packed)


def test_missing_frames_are_named(made):
    read = ecat.read(force(made, main={"num_frames": 3}))
    assert ("num_frames", "2", "3") in [(p.field, p.found, p.expected) for p in read.problems]


def test_an_uncalibrated_file_has_no_unit(made):
    force(made, main={"calibration_unitS": 0})
    with pytest.raises(MissingFieldError, match="unit of the image is not known"):
        ecat.read(made)
    assert ecat.read(made, unit="kBq/mL").image.unit == "kBq/mL"


def test_decay_factors_to_another_time_are_named(synthetic, tmp_path):
    raw = bytearray(gzip.decompress(synthetic.read_bytes()))
    np.frombuffer(raw, SUB, 1, offset=1024)["decay_corr_fctr"] = 2.0
    (tmp_path / "a.v").write_bytes(raw)
    read = ecat.read(tmp_path / "a.v")
    assert read.image.decay_reference is None
    assert read.extra["ImageDecayCorrected"] is True
    assert "decay_corr_fctr" in [p.field for p in read.problems]


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_patient_orientation(made, code):
    """The four ways to lie are turned into each other by half turns, so all are of one handedness."""
    geometry = ecat.read(force(made, main={"patient_orientation": code})).image.geometry
    assert np.linalg.det(geometry.to_nifti()[:3, :3]) < 0
    assert {3: (-1, -1, -1), 2: (1, -1, 1), 1: (1, 1, -1), 0: (-1, 1, 1)}[code] == tuple(
        np.sign(np.diag(geometry.to_nifti())[:3])
    )


def test_a_write_that_does_not_fit(tmp_path):
    geometry = Geometry.from_spacing((1, 1, 1), (1, 1, 1))
    with pytest.raises(UsageError, match=r"ends in \.v"):
        ecat.write(Image(np.ones((1, 1, 1)), unit="1", geometry=geometry), tmp_path / "a.nii")
    with pytest.raises(UsageError, match="real images"):
        ecat.write(Image(np.ones((1, 1, 1), "c8"), unit="1", geometry=geometry), tmp_path / "a.v")
    with pytest.raises(UsageError, match="NaN"):
        ecat.write(Image(np.full((1, 1, 1), np.nan), unit="1", geometry=geometry), tmp_path / "a.v")
