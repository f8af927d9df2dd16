"""Interfile: round trips, headers of other programs, damaged and hostile ones."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tests.formats.strategies import acquisitions, assert_same_acquisition

from timelens.errors import DataError, FormatError, MissingFieldError, UnitError, UnsafeFileError, UsageError
from timelens.formats import interfile
from timelens.study import Geometry, Image

anywhere = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@anywhere
@given(acquisitions(axes=("zyx", "tzyx"), dtypes=["u1", "i2", "u2", "i4", "f4", "f8"]))
def test_round_trip(tmp_path, made):
    interfile.write(made, tmp_path / "a.hv")
    assert_same_acquisition(interfile.read(tmp_path / "a.hv"), made)


# As reconstruction programs write it: marks of required keys, blanks before brackets, comments.
STIR = """!INTERFILE  :=
!imaging modality := PT
name of data file := a.v
!GENERAL DATA :=
!GENERAL IMAGE DATA :=
!type of data := PET
imagedata byte order := LITTLEENDIAN
!PET STUDY (General) :=
!PET data type := Image
process status := Reconstructed
!number format := float
!number of bytes per pixel := 4
number of dimensions := 3
matrix axis label [1] := x
!matrix size [1] := 4
scaling factor (mm/pixel) [1] := 2 ; transaxial
matrix axis label [2] := y
!matrix size [2] := 3
scaling factor (mm/pixel) [2] := 2.5
matrix axis label [3] := z
!matrix size [3] := 2
scaling factor (mm/pixel) [3] := 3.27
isotope name := ^18^Fluorine
number of time frames := 1
image duration (sec)[1] := 600
image relative start time (sec)[1] := 0
image scaling factor[1] := 0.5
study date (yyyy:mm:dd) := 2024:03:01
study time (hh:mm:ss GMT) := 13:05:00
patient name := Doe
quantification units := kBq/cc
!END OF INTERFILE :=
"""


def hand(path, *, data=None, drop=None, add=(), **changed):
    """The header above with lines changed by the beginning of their key."""
    lines = STIR.splitlines()
    for key, value in {k.replace("_", " "): v for k, v in changed.items()}.items():
        hits = [i for i, line in enumerate(lines) if line.lstrip("!").lower().startswith(key)]
        assert hits, key
        lines[hits[0]] = f"{lines[hits[0]].partition(':=')[0]}:= {value}"
    if drop:
        lines = [line for line in lines if not line.lstrip("!").lower().startswith(drop)]
    path.write_text("\n".join([*lines[:-1], *add, lines[-1], ""]))
    path.with_suffix(".v").write_bytes(np.arange(24, dtype="<f4").tobytes() if data is None else data)
    return path


def test_a_header_of_another_program(tmp_path):
    read = interfile.read(hand(tmp_path / "a.hv"))
    assert not read.image.loaded
    assert read.image.unit == "kBq/mL"
    np.testing.assert_allclose(read.image.numpy(), np.arange(24).reshape(1, 2, 3, 4) * 0.5)
    assert read.image.geometry.spacing == (3.27, 2.5, 2)
    assert read.image.frames.duration.tolist() == [600]
    assert (read.modality, read.radionuclide) == ("pet", "F18")
    assert read.acquisition_time == datetime(2024, 3, 1, 13, 5)
    assert [p.field for p in read.problems] == ["patient orientation"]
    assert "Doe" not in str(read)


def test_big_endian_is_the_default_of_the_standard(tmp_path):
    data = np.arange(24, dtype=">f4").tobytes()
    read = interfile.read(hand(tmp_path / "a.hv", data=data, drop="imagedata byte order"))
    assert read.image.numpy()[0, 0, 0, 2] == 1.0


def test_offsets_and_integers(tmp_path):
    data = bytes(2048 + 6) + np.arange(24, dtype="<i2").tobytes()
    path = hand(
        tmp_path / "a.hv", data=data, number_format="signed integer", number_of_bytes="2",
        add=["data starting block := 1", "data offset in bytes[1] := 6"],
    )  # fmt: skip
    assert interfile.read(path).image.numpy()[0, 0, 0, 2] == 1.0


def test_slices_of_a_tomographic_study(tmp_path):
    path = hand(tmp_path / "a.hv", imaging_modality="nucmed", type_of_data="Tomographic", drop="matrix size [3]",
                add=["!number of slices := 2", "centre-centre slice separation (pixels) := 2"])  # fmt: skip
    read = interfile.read(path)
    assert read.modality == "nm"
    assert read.image.geometry.spacing == (4, 2.5, 2)


def test_frames(tmp_path):
    path = hand(
        tmp_path / "a.hv", data=bytes(192), number_of_time="2",
        add=["image duration (sec)[2] := 60", "image relative start time (sec)[2] := 700"],
    )  # fmt: skip
    assert interfile.read(path).image.frames.start.tolist() == [0, 700]


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"matrix_size": "-4"}, r"Not a whole number that fits.*Field: matrix size\[1\]"),
        ({"matrix_size": "4e9"}, "Not a whole number"),
        ({"matrix_size": "4000000000"}, r"claims more data than the file holds.*Field: matrix size"),
        ({"matrix_size": "2"}, "more data than its header claims"),
        ({"scaling_factor": "wide"}, r"Not a number.*scaling factor"),
        ({"scaling_factor": "0"}, r"voxel size is not known.*scaling factor"),
        ({"scaling_factor": "nan"}, "Not a number"),
        ({"drop": "scaling factor"}, "voxel size is not known"),
        ({"drop": "name of data file"}, r"required key is missing.*name of data file"),
        ({"number_format": "ascii"}, r"data type is not supported.*number format"),
        ({"number_of_bytes": "3"}, "data type is not supported"),
        ({"imagedata_byte": "MIDDLE"}, "byte order is unknown"),
        ({"process_status": "acquired"}, "holds projections"),
        ({"number_of_dim": "4"}, "holds projections"),
        ({"name_of_data": "absent.v"}, "data file is missing"),
        ({"number_of_time": "2", "data": bytes(192)}, "Not every frame has a start"),
        ({"number_of_time": "999999999"}, "Not a number of frames"),
        ({"image_duration": "-5"}, None),
        ({"study_date": "tomorrow"}, r"study date is no date"),
        ({"quantification": "37000"}, "number stands in place of a unit"),
    ],
)
def test_damaged_headers(tmp_path, changed, match):
    with pytest.raises(DataError, match=match or "not negative") as caught:
        interfile.read(hand(tmp_path / "a.hv", **changed))
    assert caught.value.problem.file.startswith(str(tmp_path))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\a.v"])
def test_a_data_file_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(UnsafeFileError, match=r"leads out of its folder.*a\.hv\. Field: name of data file"):
        interfile.read(hand(tmp_path / "a.hv", name_of_data=name))


def test_the_unit_is_not_guessed(tmp_path):
    for changed in ({"drop": "quantification"}, {"quantification": "1"}):
        with pytest.raises(MissingFieldError, match="unit of the image is not known"):
            interfile.read(hand(tmp_path / "a.hv", **changed))
    with pytest.raises(UnitError, match=r"Unknown unit 'furlong'.*quantification units"):
        interfile.read(hand(tmp_path / "a.hv", quantification="furlong"))


def test_other_files(tmp_path):
    (tmp_path / "a.hv").write_bytes(b"nothing")
    with pytest.raises(FormatError, match="Not an Interfile header"):
        interfile.read(tmp_path / "a.hv")
    (tmp_path / "a.hv").write_bytes(b"!INTERFILE :=\n" + b"x" * (5 << 20))
    with pytest.raises(UnsafeFileError, match=r"beyond the limit.*Field: header"):
        interfile.read(tmp_path / "a.hv")


def test_a_write_that_does_not_fit(tmp_path):
    geometry = Geometry.from_spacing((1, 1, 1), (1, 1, 1))
    with pytest.raises(UsageError, match=r"ends in \.hv"):
        interfile.write(Image(np.ones((1, 1, 1)), unit="1", geometry=geometry), tmp_path / "a.nii")
    with pytest.raises(UsageError, match="real images"):
        interfile.write(Image(np.ones((1, 1, 1), "c8"), unit="1", geometry=geometry), tmp_path / "a.hv")
