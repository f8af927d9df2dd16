"""The sidecar: PET-BIDS fields of other programs, contradictions and slips."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pytest

from timelens.errors import DataError, FormatError, MissingFieldError, UnitError
from timelens.formats import atomic, sidecar

# As converters write it: every time relative to TimeZero.
PET = {
    "Units": "Bq/ml",
    "TracerName": "PBR28",
    "TracerRadionuclide": "C11",
    "InjectedRadioactivity": 400,
    "InjectedRadioactivityUnits": "MBq",
    "TimeZero": "23:59:00",
    "InjectionStart": 30,
    "ScanStart": 90,
    "FrameTimesStart": [90, 100, 120],
    "FrameDuration": [10, 20, 30],
    "ImageDecayCorrected": True,
    "ImageDecayCorrectionTime": 90,
    "BodyWeight": 70,
    "BodyWeightUnits": "kg",
    "ReconMethodName": "OSEM",
    "PatientName": "Doe^Jane",
    "PatientBirthDate": "1950-01-01",
}


def test_pet_bids():
    said = sidecar.parse(PET)
    assert said.image["unit"] == "Bq/mL"
    assert said.image["decay_reference"] == datetime(1900, 1, 2, 0, 0, 30)  # over midnight
    frames = said.image["frames"]
    assert frames.zero == "injection"
    assert frames.start.tolist() == [60, 70, 90]
    found = said.acquisition
    assert found["administered_time"] == datetime(1900, 1, 1, 23, 59, 30)
    assert found["acquisition_time"] == datetime(1900, 1, 2, 0, 0, 30)
    assert found["administered_activity_bq"] == 4e8
    assert found["weight_g"] == 70_000
    assert found["agent"] == "PBR28"
    assert said.problems == ()


def test_what_identifies_a_person_is_not_kept():
    assert "Doe" not in str(sidecar.parse(PET))
    assert "1950" not in str(sidecar.parse(PET))
    assert sidecar.parse(PET).acquisition["extra"]["ReconMethodName"] == "OSEM"


def test_frames_without_injection_start_at_the_first():
    said = sidecar.parse({k: v for k, v in PET.items() if k != "InjectionStart"})
    assert said.image["frames"].zero == "first frame"
    assert said.image["frames"].start.tolist() == [0, 10, 30]


def test_times_without_a_clock_are_relative_and_named():
    said = sidecar.parse({k: v for k, v in PET.items() if k != "TimeZero"})
    assert (said.image["decay_reference"] - said.acquisition["administered_time"]).total_seconds() == 60
    assert [p.field for p in said.problems] == ["TimeZero"]


def test_decay_corrected_to_no_stated_time_is_named():
    said = sidecar.parse({"ImageDecayCorrected": "True", "TimeZero": "10:00:00"})
    assert "decay_reference" not in said.image
    assert [p.field for p in said.problems] == ["ImageDecayCorrectionTime"]
    said = sidecar.parse({**PET, "ImageDecayCorrected": False})
    assert "decay_reference" not in said.image


def test_milliseconds_are_named():
    said = sidecar.parse({**PET, "FrameTimesStart": [0, 300_000], "FrameDuration": [300_000, 300_000]})
    assert [str(p) for p in said.problems if "milliseconds" in p.message] != []
    assert said.problems[0].field == "FrameDuration"


def test_an_activity_without_unit_is_refused():
    with pytest.raises(MissingFieldError, match=r"no unit\. File: a\.json\. Field: InjectedRadioactivityUnits"):
        sidecar.parse({"InjectedRadioactivity": 400}, file="a.json")
    with pytest.raises(UnitError, match=r"Field: InjectedRadioactivityUnits"):
        sidecar.parse({"InjectedRadioactivity": 400, "InjectedRadioactivityUnits": "MBecq"}, file="a.json")
    with pytest.raises(UnitError, match=r"InjectedRadioactivityUnits"):
        sidecar.parse({"InjectedRadioactivity": 400, "InjectedRadioactivityUnits": "mg"}, file="a.json")
    with pytest.raises(MissingFieldError, match=r"BodyWeightUnits"):
        sidecar.parse({"BodyWeight": 70}, file="a.json")


def test_a_weight_of_zero_is_not_used():
    said = sidecar.parse({"BodyWeight": 0, "BodyWeightUnits": "kg"})
    assert "weight_g" not in said.acquisition
    assert said.problems[0].field == "BodyWeight"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"Units": 3}, "Units is not text"),
        ({"Units": ""}, None),
        ({"InjectedRadioactivity": "400"}, "InjectedRadioactivity is not a finite number"),
        ({"InjectedRadioactivity": True}, "not a finite number"),
        ({"ScanStart": float("nan")}, "ScanStart is not a finite number"),
        ({"ScanStart": 1e200, "TimeZero": "10:00:00"}, "ScanStart is not a time in seconds"),
        ({"ScanStart": 10**400}, "not a finite number"),
        ({"ScanStart": 9e9, "timelens": {"time_zero": "9999-01-01T00:00:00"}}, "within the calendar"),
        ({"TimeZero": "ten"}, "TimeZero is not a clock time"),
        ({"TimeZero": 10}, "TimeZero is not text"),
        ({"ImageDecayCorrected": "perhaps"}, "not true or false"),
        ({"FrameTimesStart": 3, "FrameDuration": [1]}, "FrameTimesStart is not a list of numbers"),
        ({"FrameTimesStart": ["a"], "FrameDuration": [1]}, "not a list of numbers"),
        ({"timelens": []}, "timelens is not an object"),
        ({"timelens": {"affine": "x", "shape": [1, 1, 1]}}, r"timelens\.affine"),
        ({"timelens": {"affine": [[1]], "shape": [1, 1, 1]}}, r"timelens\.affine"),
        ({"timelens": {"affine": np.eye(4).tolist(), "shape": [1, 1, 1], "space": "moon"}}, r"timelens\.space"),
        ({"timelens": {"axes": [{"name": "t"}]}}, r"timelens\.axes"),
        ({"timelens": {"axes": 3}}, r"timelens\.axes"),
        ({"timelens": {"assay_time": "soon"}}, r"timelens\.assay_time is not a date-time"),
        ({"FrameTimesStart": [0], "FrameDuration": [1], "timelens": {"frame_zero": "x"}}, r"timelens\.frame_zero"),
    ],
)
def test_wrong_types_name_file_and_field(data, match):
    if match is None:
        assert sidecar.parse(data).image == {}
        return
    with pytest.raises((FormatError, UnitError), match=match) as caught:
        sidecar.parse(data, file="a.json")
    assert caught.value.problem.file == "a.json"
    assert caught.value.problem.field


@pytest.mark.parametrize(
    ("start", "duration", "match"),
    [
        ([0, 10], [10], "differ in number"),
        ([0, 0], [1, 1], "does not start after"),
        ([0, 1], [10, 10], "ends after frame 1 starts"),
        ([0, 1], [-1, 1], "not negative"),
    ],
)
def test_frames_that_cannot_be(start, duration, match):
    with pytest.raises(DataError, match=match) as caught:
        sidecar.parse({"FrameTimesStart": start, "FrameDuration": duration}, file="a.json")
    assert caught.value.problem.file == "a.json"


def test_contradictions():
    with pytest.raises(DataError, match=r"TimeZero contradicts timelens\.time_zero"):
        sidecar.parse({"TimeZero": "10:00:00", "timelens": {"time_zero": "2024-01-01T11:00:00"}})
    with pytest.raises(DataError, match=r"ScanStart contradicts timelens\.acquisition_time"):
        sidecar.parse({"TimeZero": "10:00:00", "ScanStart": 0, "timelens": {"acquisition_time": "2024-01-01T11:00:00"}})


@pytest.mark.parametrize(
    ("text", "code"),
    [("Bq/cc", "Bq/mL"), ("BQML", "Bq/mL"), ("kBq/cc", "kBq/mL"), ("MBq/ml", "MBq/mL"), ("mBq/ml", "mBq/mL"),
     ("g/ml", "g/mL"), ("unitless", "1"), ("HU", "[hnsf'U]"), ("%{ID}/g", "%{ID}/g")],
)  # fmt: skip
def test_unit_spellings(text, code):
    assert sidecar.unit_code(text) == code


def test_mega_or_milli_is_not_guessed():
    with pytest.raises(UnitError, match="Unknown unit 'mbq/ml'"):
        sidecar.unit_code("mbq/ml")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.nii.gz", "a.json"), ("a.b.nii", "a.b.json"), ("a.ome.tif", "a.json"), ("a.v.gz", "a.json"), ("a", "a.json")],
)
def test_beside(name, expected):
    assert sidecar.beside(name).name == expected


def test_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = atomic.write_file("old", tmp_path / "deep" / "a.json")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        atomic.write_file("new", path)
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_read(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(PET))
    assert sidecar.read(tmp_path / "a.json").acquisition["agent"] == "PBR28"
