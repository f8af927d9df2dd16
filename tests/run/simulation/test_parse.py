"""What a specification may not say: each refusal names its field."""

from __future__ import annotations

import re

import pytest

from timelens.errors import UsageError
from timelens.run.simulation.cohort import simulate_cohort
from timelens.run.simulation.parse import read_spec, spec_of
from timelens.run.simulation.spec import slug
from timelens.tumor.treatments import CheckpointInhibitor, Radiotherapy


def changed(spec, path, value):
    """The specification with one entry changed: ``arms.0.tumours.0.scenario``."""
    place = spec
    *way, last = path.split(".")
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[int(last) if last.isdigit() else last] = value
    return spec


@pytest.mark.parametrize(
    ("path", "value", "message", "field"),
    [
        ("sead", 1, "no such entry", "sead"),
        ("seed", -1, "whole number", "seed"),
        ("format", "nifti", "No such format", "format"),
        ("range_mm", [5, 5], "range is empty", "range_mm"),
        ("range_mm", 5, "two ends", "range_mm"),
        ("range_mm", [5000, 6000], "beside the body", "range_mm"),
        ("host", "human", "belongs to virtual tumours", "host"),
        ("protocol", {"voxels": 2}, "no such parameter", "protocol"),
        ("ct", {"kvp": 120}, "no such parameter", "ct"),
        ("arms", [], "has arms", "arms"),
        ("arms.0.days", [3, 3], "follow each other", r"arms\[0\].days"),
        ("arms.0.days", ["one", 2], "number is needed", r"arms\[0\].days"),
        ("arms.0.uptake", [1], "One factor for each visit", r"arms\[0\].uptake"),
        ("arms.0.treatments", [{"kind": "chemotherapy"}], "tumours that have a course", r"arms\[0\].treatments"),
        ("arms.0.lesions", [{"name": "a", "suv": 3}], "not complete", r"arms\[0\].lesions\[0\]"),
        ("arms.0.lesions.0.centre", [1, 2], "three numbers", r"lesions\[0\].centre"),
        ("arms.0.lesions.0.diameter_mm", 0, "cannot be used", r"lesions\[0\].diameter_mm"),
        ("arms.0.lesions.0.suv", "high", "number is needed", r"lesions\[0\].suv"),
        ("arms.0.subjects", 0, "whole number", r"arms\[0\].subjects"),
        ("arms.0.weight_g", 0, "cannot be used", r"arms\[0\].weight_g"),
        ("arms.0.leave_out", ["pixels"], "no such choice", r"arms\[0\].leave_out"),
    ],
)
def test_digital_patients_that_cannot_be(digital, tmp_path, path, value, message, field):
    with pytest.raises(UsageError, match=message) as caught:
        simulate_cohort(changed(digital, path, value), tmp_path / "out")
    assert re.search(field, caught.value.problem.field)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("path", "value", "message", "field"),
    [
        ("host", "rat", "no such host", "host"),
        ("administrations", [], "are a list", "administrations"),
        ("administrations.0.dose", 1, "no such entry", "administrations\\[0\\]"),
        ("administrations.0.agent", "no-such-agent", "agent", "administrations\\[0\\].agent"),
        ("administrations.0.name", "CD8 minibody", "name of its own", "administrations"),
        ("administrations.0.activity_bq", 0, "cannot be used", "administrations\\[0\\].activity_bq"),
        ("administrations.0.protocol", {"voxel": 2}, "no such parameter", "administrations\\[0\\].protocol"),
        ("administrations.0.agent", None, "names its agent", "administrations\\[0\\].agent"),
        ("administrations.1.activity_bq_per_g", 3500, "stated in one way", "administrations\\[1\\].activity_bq"),
        ("activity_bq_per_g", 3500, "stand in each of them", "activity_bq_per_g"),
        ("administrations.1.targets", ["CD8B77"], "target", "administrations\\[1\\].targets"),
        ("arms.0.scans", ["FET"], "no such choice", "arms\\[0\\].scans"),
        ("arms.0.lesions", [{}], "do not go together", "arms\\[0\\].lesions"),
        ("arms.0.treatments.0.kind", "prayer", "no such choice", "treatments\\[0\\].kind"),
        ("arms.0.treatments.0.dose_gy", 2, "no such entry", "treatments\\[0\\]"),
        ("arms.0.treatments.0.level", -1, "no effect", "treatments\\[0\\]: level"),
        ("arms.0.treatments.0", {"kind": "radiotherapy"}, "not complete", "treatments\\[0\\]"),
        ("arms.0.tumours.0.scenario", None, "tumours that have a course", "arms\\[0\\].treatments"),
        ("arms.0.tumours.0.scenario", "miracle", "no such choice", "tumours\\[0\\].scenario"),
        ("arms.0.tumours.0.architecture", "cubist", "no such choice", "tumours\\[0\\].architecture"),
        ("arms.0.tumours.0", {"scenario": "responder"}, "not complete", "tumours\\[0\\]"),
        ("arms.0.tumours.0", {"diameter_mm": 9, "scenario": "responder"}, "has a place", "tumours\\[0\\]"),
        ("arms.1.tumours", [{"name": n, "diameter_mm": 9, "inside": "liver"} for n in ("a b", "a-b")],
         "name of its own", "arms\\[1\\].tumours"),
    ],
)  # fmt: skip
def test_virtual_tumours_that_cannot_be(virtual, path, value, message, field):
    with pytest.raises(UsageError, match=message) as caught:
        spec_of(changed(virtual, path, value))
    assert re.search(field, caught.value.problem.field)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("arms.0.tumours.0.at", [0, 0, 3000], "arm treated, tumour neck node: at"),
        ("arms.0.tumours.0.inside", "tail", "arm treated, tumour neck node: name"),
        ("arms.0.tumours.0.parameters", {"colour": 3}, "arm treated, tumour neck node: parameters"),
        ("arms.0.tumours.0.densities", {"tumour-cell": 1.0}, "arm treated, tumour neck node: densities"),
        ("administrations.1.targets", ["hypoxia"], "arm treated, administration CD8 minibody"),
    ],
)
def test_what_only_the_body_can_refuse_names_arm_and_tumour(virtual, tmp_path, path, value, field):
    with pytest.raises(UsageError) as caught:
        simulate_cohort(changed(virtual, path, value), tmp_path / "out")
    assert caught.value.problem.field.startswith(field)


def test_files_that_are_no_specification(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_spec(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("seed: [1")
    with pytest.raises(UsageError, match="cannot be read"):
        read_spec(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("- 1")
    with pytest.raises(UsageError, match="Names and values") as caught:
        read_spec(tmp_path / "b.yaml")
    assert caught.value.problem.file.endswith("b.yaml")


def test_defaults_and_what_is_repeated(virtual):
    virtual["arms"][0]["treatments"].append({"kind": "radiotherapy", "day": 3, "dose_gy": 8, "fractions": 3})
    spec = spec_of(virtual)
    treated, control = spec.arms
    # The third cycle lies beyond the last visit.
    assert treated.treatments == (CheckpointInhibitor(2.0), Radiotherapy(3.0, 8, 3))
    assert treated.scans == ("FDG", "CD8 minibody")
    assert control.scans == ("FDG",)
    assert control.days == (0.0,)
    assert [dose.mass_mg for dose in spec.doses] == [None, 1.5]
    assert spec.doses[1].protocol.voxel_mm == (6, 6, 6)  # what all share, below what each says
    assert slug("lung met. (2)") == "lung-met-2"


def test_mice_have_scanners_of_their_size(virtual):
    virtual["host"] = "mouse"
    del virtual["protocol"]["voxel_mm"]
    del virtual["ct"]
    spec = spec_of(virtual)
    assert spec.doses[0].protocol.voxel_mm == (0.8, 0.8, 0.8)
    assert spec.ct.voxel_mm == 0.4
