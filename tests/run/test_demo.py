"""The demonstration, run once as a newcomer runs it: what comes out of the model, and what the pipeline makes of it."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.run import demo
from timelens.run.demo_spec import AGENTS, demo_spec
from timelens.run.show_demo import demo as show
from timelens.run.simulation.cohort import TRUE_OUTLINE
from timelens.run.simulation.parse import spec_of
from timelens.study.measurement import Measurement

FDG, CD8 = AGENTS.values()


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The demonstration as it is."""
    return demo.run_demo(tmp_path_factory.mktemp("demo"))


def test_other_lenses_are_refused(tmp_path):
    with pytest.raises(UsageError, match="does not show this lens"):
        demo.run_demo(tmp_path, lenses=["pet", "oct"])


def test_lenses_may_be_left_out():
    spec = demo_spec(lenses=["pet", "cytometry"])
    assert spec["mri"] == [] and [b["name"] for b in spec["biopsies"]] == ["biopsy"]
    assert all("DCE" not in arm.get("outlines", []) for arm in spec["arms"])
    assert len(spec_of(demo_spec()).exams) == 2
    assert spec_of(demo_spec(lenses=["pet"])).exams == ()


def test_a_study_of_somebody_is_not_overwritten(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "scan.dcm").write_bytes(b"mine")
    with pytest.raises(UsageError, match="no demonstration wrote"):
        demo.run_demo(tmp_path)
    assert (tmp_path / "study" / "scan.dcm").read_bytes() == b"mine"


def test_the_full_one_has_more_patients_and_finer_voxels():
    small, full = (spec_of(demo_spec(full=each)) for each in (False, True))
    assert sum(arm.subjects for arm in full.arms) > sum(arm.subjects for arm in small.arms)
    assert full.doses[0].protocol.voxel_mm < small.doses[0].protocol.voxel_mm
    assert full.ct.voxel_mm < small.ct.voxel_mm


def test_every_row_stands_in_the_table_beside_its_truth(made):
    with open(made.table, encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert tuple(table[0]) == demo.COLUMNS
    assert len(table) == len(made.rows)
    assert {r["subject"] for r in made.rows} == {"sub-001", "sub-002", "sub-003"}
    assert {r["agent"] for r in made.rows} == {FDG, CD8, "gadobutrol", ""}
    assert {r["lens"] for r in made.rows} == {"pet", "mri", "cytometry"}


def test_measured_agrees_with_what_a_noise_free_scanner_shows(made):
    for row in (r for r in made.rows if r["lens"] == "pet"):
        where = (row["subject"], row["session"], row["agent"], row["lesion"], row["quantity"])
        # Noise lifts the maximum and moves voxels over a threshold; within a given outline only the mean can err.
        ruled = row["outline"] != TRUE_OUTLINE
        bar = {"suv_max": 25, "suv_peak": 12, "suv_mean": 5, "mtv": 12 if ruled else 0.1, "tlg": 12}[row["quantity"]]
        assert math.isfinite(row["measured"]), where
        assert abs(row["error_percent"]) <= bar, (where, row["error_percent"])
    # Blur takes uptake out of every tumour: the object has more than even a noise-free scanner shows.
    assert all(r["truth_object"] > r["truth"] for r in made.rows if r["quantity"] == "suv_mean")


def test_intervals_hold_the_truth_of_the_mean(made):
    rows = [r for r in made.rows if r["quantity"] == "suv_mean" and math.isfinite(r["uncertainty"])]
    assert rows
    assert all(abs(r["measured"] - r["truth"]) <= 3 * r["uncertainty"] for r in rows)


def test_vessels_and_cells_agree_with_their_truth(made):
    k_trans = {(r["subject"], r["session"]): r for r in made.rows if r["quantity"] == "k_trans"}
    assert len(k_trans) == 6
    for row in k_trans.values():
        assert row["unit"] == "1/min"
        assert row["lower"] < row["truth"] < row["upper"]
        assert abs(row["error_percent"]) < 15
        assert row["truth"] == pytest.approx(row["truth_object"], rel=0.12)  # the model's part
    # Vessels go where tumour dies, and stay elsewhere.
    change = {
        s: k_trans[s, "ses-02"]["truth_object"] / k_trans[s, "ses-01"]["truth_object"]
        for s in ("sub-001", "sub-002", "sub-003")
    }
    assert change["sub-001"] < 0.9 < min(change["sub-002"], change["sub-003"])
    seen = {s: k_trans[s, "ses-02"]["measured"] / k_trans[s, "ses-01"]["measured"] for s in change}
    assert seen["sub-001"] < min(seen["sub-002"], seen["sub-003"])
    cells = {r["subject"]: r for r in made.rows if r["component"] == "cd8-t-cell" and r["unit"] == "{cells}/mm2"}
    for row in cells.values():
        assert row["session"] == "ses-02"
        assert row["lower"] <= row["truth"] <= row["upper"]
        assert abs(row["error_percent"]) < 10
    # The biopsy ranks the patients as the minibody does.
    uptake = {c.subject: c.uptake["CD8 minibody"][1] for c in made.changes if c.tumour == "neck node"}
    assert sorted(cells, key=lambda s: cells[s]["measured"]) == sorted(uptake, key=lambda s: uptake[s])


def test_outlines_are_those_of_the_arm(made):
    outlines = {(r["subject"], r["agent"]): r["outline"] for r in made.rows}
    assert outlines["sub-001", FDG] == outlines["sub-002", FDG] == "SUV >= 4, at least 3 mL"
    assert outlines["sub-003", FDG] == TRUE_OUTLINE
    assert {outlines[s, CD8] for s in ("sub-001", "sub-002", "sub-003")} == {TRUE_OUTLINE}


def test_the_minibody_tells_the_responder_before_fdg_does(made):
    neck = {c.subject: c for c in made.changes if c.tumour == "neck node"}
    ratio = {s: {name: last / first for name, (first, last) in c.uptake.items()} for s, c in neck.items()}
    responder, stays, control = (ratio[s] for s in ("sub-001", "sub-002", "sub-003"))
    assert responder["CD8 minibody"] > 1.3
    assert 0.9 < control["CD8 minibody"] < 1.1
    # FDG changes by less than the 30 % that a response needs (PERCIST), in everyone.
    assert all(0.7 < each["FDG"] < 1.3 for each in (responder, stays, control))
    # The tumour that keeps its T cells in the stroma takes up more, too: its level stays below the responder's start.
    assert stays["CD8 minibody"] > 1.2
    assert neck["sub-002"].uptake["CD8 minibody"][1] < neck["sub-001"].uptake["CD8 minibody"][0]
    # Where cells grow threefold, uptake does not.
    first, last = neck["sub-001"].cells
    assert responder["CD8 minibody"] < 0.6 * last / first


def test_the_scan_without_a_weight_gives_a_problem_and_no_number(made):
    assert not any(m.subject == "sub-004" for m in made.run.measurements)
    assert any("weight" in p["message"].lower() for p in made.run.problems if p["subject"] == "sub-004")


def test_a_lesion_bears_one_name_over_agents_and_visits(made):
    regions = {(r["session"], r["agent"]): r["region"] for r in made.rows
               if (r["subject"], r["lesion"]) == ("sub-001", "neck node")}  # fmt: skip
    assert {agent for _, agent in regions} == {FDG, CD8, "gadobutrol", ""}  # T1 has no agent
    assert len(regions) == 8
    assert set(regions.values()) == {"neck node"}


def test_the_report_shows_what_is_true_beside_what_was_seen(made):
    pictures = [p.name for p in (made.results / "sub-001" / "ses-01" / "figures").glob("*_truth.png")]
    assert len(pictures) == 4  # two tumours, two agents


def test_the_last_words(made, capsys, monkeypatch):
    show(made, made.results / "report.html", as_json=False)
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "From the first visit to the last",
        "Truth and measurement",
        "Left out: sub-004",
        "hold at the start only",
        "DCE MRI neck node K^trans",
        "biopsy section CD8",
    ):
        assert words in said
    show(made, made.results / "report.html", as_json=True)
    assert '"truth_table"' in capsys.readouterr().out
    # The outcome of this trial is told of no other.
    show(replace(made, told=False), made.results / "report.html", as_json=False)
    other = " ".join(capsys.readouterr().out.split())
    assert "Truth and measurement" in other and "hold at the start only" not in other and "K^trans falls" not in other


def test_what_was_not_measured_is_nan(tmp_path):
    keys = ("subject", "session", "agent", "region", "quantity", "unit", "truth", "truth_object", "outline")
    truth = [
        dict(zip(keys, ("sub-001", "ses-01", FDG, "node", q, u, 2.0, 3.0, TRUE_OUTLINE), strict=True))
        | {"x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0}
        for q, u in (("suv_mean", "g/mL"), ("suv_peak", "g/mL"))
    ]
    known = {"region": "node", "subject": "sub-001", "session": "ses-01", "modality": "pet", "agent": "FDG",
             "method": "given", "acquisition": "a"}  # fmt: skip
    found = [Measurement("suv_mean", 2.1, "g/mL", **known), Measurement("mtv", 5.0, "mL", **known)]
    rows = demo.compare(truth, found, tmp_path)
    assert rows[0]["error_percent"] == pytest.approx(5.0)
    assert rows[0]["lens"] == "pet"
    assert np.isnan(rows[1]["measured"])
    assert rows[1]["lesion"] == "node"
