"""PET-BIDS: writing and reading a dataset, inheritance, participants, what is broken stays alone."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from tests.formats.strategies import assert_same_acquisition

from timelens.errors import FormatError, UsageError
from timelens.formats import bids
from timelens.study import Acquisition, FrameTiming, Geometry, Image, Region, Table

GRID = Geometry.from_spacing((2, 3, 4), (4, 2, 2), frame="F")


def scan(subject="sub-01", session="ses-1", **known):
    frames = FrameTiming(np.array([0.0, 60]), np.array([60.0, 120]), "injection")
    image = Image(
        np.arange(48, dtype="f4").reshape(2, 2, 3, 4), unit="Bq/mL", geometry=GRID, frames=frames,
        decay_reference=datetime(2024, 3, 1, 12, 0),
    )  # fmt: skip
    known = {"administered_time": datetime(2024, 3, 1, 12, 0), "administered_activity_bq": 3.7e8} | known
    return Acquisition("a", "pet", image, subject=subject, session=session, agent="FDG", radionuclide="F18", **known)


def samples(subject="sub-01", session="ses-1"):
    frame = pd.DataFrame({"time": [0.0, 60], "plasma_radioactivity": [1.0, 2]})
    table = Table(frame, {"time": "s", "plasma_radioactivity": "kBq/mL"})
    return Acquisition("b", "blood", table, subject=subject, session=session, extra={"recording": "manual"})


def test_round_trip(tmp_path):
    made = scan()
    path = bids.write(made, tmp_path)
    assert path.relative_to(tmp_path).as_posix() == "sub-01/ses-1/pet/sub-01_ses-1_pet.nii.gz"
    table = bids.write(samples(), tmp_path)
    assert table.name == "sub-01_ses-1_recording-manual_blood.tsv"
    ct = Image(np.zeros(GRID.shape, "i2"), unit="[hnsf'U]", geometry=GRID)
    bids.write(Acquisition("c", "ct", ct, subject="sub-02"), tmp_path)
    read = bids.read(tmp_path)
    assert read.problems == ()
    assert read.description["DatasetType"] == "raw"
    assert [(a.subject, a.session, a.modality) for a in read.acquisitions] == [
        ("sub-01", "ses-1", "pet"),
        ("sub-02", "", "ct"),
    ]
    assert not read.acquisitions[0].image.loaded
    assert_same_acquisition(read.acquisitions[0], made)
    assert read.blood[0].data.column_units["plasma_radioactivity"] == "kBq/mL"
    assert read.blood[0].subject == "sub-01"


def test_required_pet_bids_fields_are_written(tmp_path):
    side = json.loads(bids.write(scan(), tmp_path).with_name("sub-01_ses-1_pet.json").read_text())
    assert side["Units"] == "Bq/mL"
    assert (side["TracerName"], side["TracerRadionuclide"]) == ("FDG", "F18")
    assert (side["InjectedRadioactivity"], side["InjectedRadioactivityUnits"]) == (370, "MBq")
    assert (side["TimeZero"], side["InjectionStart"]) == ("12:00:00", 0)
    assert (side["FrameTimesStart"], side["FrameDuration"]) == ([0, 60], [60, 120])
    assert (side["ImageDecayCorrected"], side["ImageDecayCorrectionTime"]) == (True, 0)


@pytest.fixture
def dataset(tmp_path):
    """A dataset of another program: no block of ours, JSON at two levels, a table of participants."""
    path = bids.write(scan(), tmp_path)
    side = path.with_name("sub-01_ses-1_pet.json")
    said = json.loads(side.read_text())
    del said["timelens"]
    side.write_text(json.dumps({"FrameTimesStart": said.pop("FrameTimesStart")}))
    said["TracerName"] = "overridden"
    (tmp_path / "pet.json").write_text(json.dumps(said))
    (tmp_path / "sub-01" / "sub-01_pet.json").write_text('{"TracerName": "FLT"}')
    (tmp_path / "sub-01" / "sub-02_pet.json").write_text('{"TracerName": "of another subject"}')
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tage\tsex\tweight\tspecies\tarm\tname\nsub-01\t64\tfemale\t70\tHomo sapiens\tA\tJane Doe\n"
    )
    (tmp_path / "participants.json").write_text('{"weight": {"Units": "kg"}, "age": {"Units": "years"}}')
    return tmp_path


def test_inheritance(dataset):
    (found,) = bids.read(dataset).acquisitions
    assert found.image.unit == "Bq/mL"
    assert found.agent == "FLT"
    assert found.image.frames.duration.tolist() == [60, 120]
    assert found.administered_activity_bq == 3.7e8
    assert found.administered_time == datetime(1900, 1, 1, 12, 0)
    assert [s.path.rsplit("/", 1)[-1] for s in found.sources] == [
        "sub-01_ses-1_pet.nii.gz", "pet.json", "sub-01_pet.json", "sub-01_ses-1_pet.json",
    ]  # fmt: skip


def test_participants(dataset):
    read = bids.read(dataset)
    (found,) = read.acquisitions
    assert (found.weight_g, found.age_years, found.sex, found.species) == (70_000, 64, "F", "human")
    assert read.participants["sub-01"]["arm"] == "A"
    assert "Jane" not in str(read)
    assert "Jane" not in str(read.participants)


def test_a_weight_without_unit_is_not_used(dataset):
    (dataset / "participants.json").unlink()
    (found,) = bids.read(dataset).acquisitions
    assert found.weight_g is None
    assert found.age_years == 64  # BIDS says years
    assert [p.field for p in found.problems if "no unit" in p.message] == ["weight"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("id\nsub-01\n", "does not begin with participant_id"),
        ("participant_id\ta\nsub-01\n", "repeated or has other columns"),
        ("participant_id\nsub-01\nsub-01\n", "repeated"),
    ],
)
def test_damaged_participants_leave_the_scans(dataset, text, match):
    (dataset / "participants.tsv").write_text(text)
    read = bids.read(dataset)
    assert len(read.acquisitions) == 1
    assert match in read.problems[0].message
    assert read.problems[0].file.endswith("participants.tsv")


def test_one_broken_scan_leaves_the_others(dataset):
    bids.write(scan("sub-02"), dataset)
    (dataset / "sub-01" / "ses-1" / "pet" / "sub-01_ses-1_pet.nii.gz").write_bytes(b"broken")
    bids.write(samples("sub-02"), dataset).write_text("time\n")
    read = bids.read(dataset)
    assert [a.subject for a in read.acquisitions] == ["sub-02"]
    assert sorted(p.file.rsplit("/", 1)[-1] for p in read.problems) == [
        "sub-01_ses-1_pet.nii.gz",
        "sub-02_ses-1_recording-manual_blood.tsv",
    ]


def test_links_that_leave_the_dataset(dataset, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    target = dataset / "sub-01" / "ses-1" / "pet" / "sub-01_ses-1_pet.nii.gz"
    target.rename(outside / "real.nii.gz")
    target.symlink_to(outside / "real.nii.gz")
    read = bids.read(dataset)
    assert read.acquisitions == ()
    assert "link leads out of the dataset" in read.problems[0].message
    target.unlink()
    target.symlink_to(outside / "nothing")
    assert bids.read(dataset).problems != ()


def test_no_dataset(tmp_path):
    with pytest.raises(FormatError, match=r"Not a BIDS dataset.*dataset_description\.json"):
        bids.read(tmp_path)


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "sub_1", "sub-"])
def test_names_that_could_leave_the_folder(tmp_path, name):
    with pytest.raises(UsageError, match="letters and digits"):
        bids.write(scan(name), tmp_path / "d")
    with pytest.raises(UsageError, match="letters and digits"):
        bids.write_derivative(scan().image, tmp_path / "d", subject="01", desc=name or "..")
    assert not (tmp_path / "evil").exists()


def test_further_entities_tell_scans_of_one_session_apart(tmp_path):
    for tracer in ("FDG", "CD8"):
        path = bids.write(scan(), tmp_path, entities={"trc": tracer, "run": "2"})
        assert path.name == f"sub-01_ses-1_trc-{tracer}_run-2_pet.nii.gz"
    assert {(a.subject, a.session) for a in bids.read(tmp_path).acquisitions} == {("sub-01", "ses-1")}
    assert len(bids.read(tmp_path).acquisitions) == 2
    with pytest.raises(UsageError, match="letters and digits"):
        bids.write(scan(), tmp_path, entities={"trc": "../up"})


def test_a_modality_without_a_place(tmp_path):
    with pytest.raises(UsageError, match="No place in PET-BIDS"):
        bids.write(Acquisition("a", "us", scan().image, subject="01"), tmp_path)


def test_derivatives(tmp_path):
    image = Image(np.ones(GRID.shape, "f4"), unit="g/mL", geometry=GRID, quantity="suv")
    path = bids.write_derivative(
        image,
        tmp_path,
        subject="01",
        session="ses-1",
        desc="suv",
        sources=["bids::a.nii.gz"],
        parameters={"Method": "bw"},
    )
    assert path.relative_to(tmp_path).as_posix() == "sub-01/ses-1/pet/sub-01_ses-1_desc-suv_pet.nii.gz"
    side = json.loads(path.with_name("sub-01_ses-1_desc-suv_pet.json").read_text())
    assert (side["Sources"], side["Method"], side["Units"]) == (["bids::a.nii.gz"], "bw", "g/mL")
    description = json.loads((tmp_path / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "timelens"
    region = Region("l", "labels", {1: "node\tneck"}, labels=Image(np.ones(GRID.shape, "i2"), unit="1", geometry=GRID))
    path = bids.write_derivative(region, tmp_path, subject="01", desc="lesions")
    assert path.name == "sub-01_desc-lesions_dseg.nii.gz"
    assert path.with_name("sub-01_desc-lesions_dseg.tsv").read_text() == "index\tname\n1\tnode neck\n"
