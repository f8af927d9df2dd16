"""A study from a folder of DICOM to tables: identity, resume, executors, one broken subject, privacy, provenance."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tests.run.conftest import A, body, scan, write

from timelens.errors import DataError, UsageError
from timelens.formats import dicom, nifti
from timelens.run.api import StudyRun, open_study, run_study
from timelens.run.export import export_results
from timelens.study.export import read_csv
from timelens.study.store import Store

COMPARED = ("measurements.csv", "measurements.parquet", "problems.csv", "study.json", "participants.tsv")


def digests(out: Path) -> dict[str, str]:
    """Hashes of all that must not depend on how a study was run."""
    files = [out / name for name in COMPARED]
    files += [p for p in sorted(out.glob("sub-*/**/*")) if p.is_file()]
    return {p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def value(result: StudyRun, session: tuple[str, str], region: str, quantity: str) -> float:
    return next(
        m.value
        for m in result.measurements
        if (m.subject, m.session, m.region, m.quantity) == (*session, region, quantity)
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, StudyRun]:
    from tests.run import conftest

    base = tmp_path_factory.mktemp("finished")
    root = conftest.study.__wrapped__(base)  # type: ignore[attr-defined]
    return root, base / "out", run_study(root, base / "out")


def test_lesions_and_their_identity_over_time(finished: tuple[Path, Path, StudyRun]) -> None:
    _, out, result = finished
    assert result.complete
    names = {(m.subject, m.session): set() for m in result.measurements}
    for m in result.measurements:
        if m.region.startswith("lesion"):
            names[m.subject, m.session].add(m.region)
    assert names["sub-001", "ses-01"] == {"lesion-01", "lesion-02"}
    assert names["sub-001", "ses-02"] == {"lesion-01", "lesion-02", "lesion-03"}
    # Lesion A is the largest at baseline and shrinks to 6; the order by size changes, the identity does not.
    first = value(result, ("sub-001", "ses-01"), "lesion-01", "suv_max")
    later = value(result, ("sub-001", "ses-02"), "lesion-01", "suv_max")
    assert (first, later) == (pytest.approx(8, rel=1e-3), pytest.approx(6, rel=1e-3))
    assert value(result, ("sub-001", "ses-02"), "lesion-03", "suv_max") == pytest.approx(7, rel=1e-3)
    with open(out / "sub-001" / "lesions.csv", encoding="utf-8") as stream:
        how = {(r["session"], r["identity"]): r["how"] for r in csv.DictReader(stream)}
    assert "registration" in how["ses-02", "lesion-01"]
    assert how["ses-02", "lesion-03"] == "new"


def test_nothing_private_in_the_results(finished: tuple[Path, Path, StudyRun]) -> None:
    _, out, _ = finished
    for path in out.rglob("*"):
        if path.is_file() and "private" not in path.parts:
            data = path.read_bytes()
            assert b"SECRET" not in data, path
            assert b"Doe" not in data, path
    key = out / "private" / "subjects.json"
    assert json.loads(key.read_text()) == {"sub-001": "SECRET-1", "sub-002": "SECRET-2"}
    assert key.stat().st_mode & 0o077 == 0


def test_every_number_leads_back_to_its_files(finished: tuple[Path, Path, StudyRun]) -> None:
    root, out, result = finished
    store = Store(out / "timelens.sqlite")
    try:
        trace = store.trace(result.measurements[0].id)
    finally:
        store.close()
    for source in trace["inputs"]:
        assert hashlib.sha256((root / source["path"]).read_bytes()).hexdigest() == source["sha256"]
    assert trace["run"]["software"]["timelens"]
    assert read_csv(out / "measurements.csv") == result.measurements
    sidecar = json.loads(next(out.glob("sub-001/ses-01/pet/*_map.json")).read_text())
    assert sidecar["RunId"] == trace["run"]["id"]
    assert set(sidecar["SourceHashes"].values()) == {s["sha256"] for s in trace["inputs"]}
    assert len({m.id for m in result.measurements}) == len(result.measurements)


def test_a_second_run_changes_nothing(finished: tuple[Path, Path, StudyRun], tmp_path: Path) -> None:
    root, out, _ = finished
    before = digests(out)
    again = run_study(root, out)
    assert {o.status for o in again.outcomes} == {"kept"}
    assert digests(out) == before


def test_processes_and_dask_give_the_same_bytes(finished: tuple[Path, Path, StudyRun], tmp_path: Path) -> None:
    root, out, _ = finished
    run_study(root, tmp_path / "processes", jobs=2)
    assert digests(tmp_path / "processes") == digests(out)
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        run_study(root, tmp_path / "dask", dask=cluster.scheduler_address)
    assert digests(tmp_path / "dask") == digests(out)


def test_a_killed_run_goes_on(finished: tuple[Path, Path, StudyRun], tmp_path: Path) -> None:
    """Killed without warning after its first session; the next run keeps that one and ends with the same bytes."""
    root, whole, _ = finished
    out = tmp_path / "out"
    paths = f"Path({str(root)!r}), Path({str(out)!r})"
    code = f"from pathlib import Path; from timelens.run.api import run_study; run_study({paths})"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    deadline = time.monotonic() + 120
    while not (out / "sub-001" / "ses-01" / "session.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    result = run_study(root, out)
    assert result.outcomes[0].status == "kept"
    assert digests(out) == digests(whole)
    assert not (out / ".work").exists()


def test_one_broken_subject_leaves_the_others_whole(study: Path, tmp_path: Path) -> None:
    for path in (study / "patient2").rglob("*.dcm"):
        path.write_bytes(path.read_bytes()[:300])
    result = run_study(study, tmp_path / "out")
    assert not result.complete
    assert {m.subject for m in result.measurements} == {"sub-001"}
    with open(tmp_path / "out" / "problems.csv", encoding="utf-8") as stream:
        problems = list(csv.DictReader(stream))
    assert any("patient2" in p["file"] for p in problems)
    assert all(p["message"] and p["severity"] for p in problems)


def test_a_missing_weight_is_asked_for_and_can_be_written(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    write(scan(body(A), patient=1, day=0, weight_g=None), root, 1, 0)
    first = run_study(root, tmp_path / "out")
    assert not first.complete
    assert not [m for m in first.measurements if m.quantity.startswith("suv")]
    text = (tmp_path / "out" / "study.yaml").read_text()
    assert "weight_g: '?'  # needed: body weight in g, for SUV" in text
    mended = tmp_path / "study.yaml"
    document = yaml.safe_load(text.replace("weight_g: '?'", "weight_g: 75000"))
    document["root"] = "scans"
    mended.write_text(yaml.safe_dump(document))
    second = run_study(mended, tmp_path / "out")
    assert second.complete
    assert value(second, ("sub-001", "ses-01"), "lesion-01", "suv_max") == pytest.approx(8, rel=1e-3)
    record = json.loads((tmp_path / "out" / "sub-001" / "ses-01" / "session.json").read_text())
    assert record["acquisitions"][0]["stated"] == {"weight_g": [None, 75000.0]}


def test_an_edited_label_file_recomputes_its_session_alone(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_study(study, out)
    labels = next((out / "sub-001" / "ses-01" / "pet").glob("*_dseg.nii.gz"))
    edited = tmp_path / "scans" / "edited_mask.nii.gz"
    region = nifti.read_labels(labels, geometry=nifti.read(labels, unit="1").image.geometry)  # type: ignore[arg-type]
    nifti.write_labels(region, edited)
    document = yaml.safe_load((out / "study.yaml").read_text())
    document["root"] = str(study)
    session = document["sessions"][0]
    session["regions"] = [{"id": "edited", "format": "labels", "files": ["edited_mask.nii.gz"],
                           "drawn_on": session["acquisitions"][0]["id"], "names": {2: "merged"}}]  # fmt: skip
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    result = run_study(tmp_path / "study.yaml", out)
    assert [o.status for o in result.outcomes] == ["done", "kept", "kept", "kept"]
    assert value(result, ("sub-001", "ses-01"), "merged", "suv_max") == pytest.approx(6, rel=1e-3)


def test_a_person_may_overrule_an_identity(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_study(study, out)
    document = yaml.safe_load((out / "study.yaml").read_text())
    document["root"] = str(study)
    document["sessions"][1]["identity"] = {"lesion-01": "spleen"}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    result = run_study(tmp_path / "study.yaml", out)
    assert {"kept"} == {o.status for o in result.outcomes}  # a name changes, no voxel does
    assert "spleen" in {m.region for m in result.measurements if m.session == "ses-02"}


def test_exports(finished: tuple[Path, Path, StudyRun], tmp_path: Path) -> None:
    _, out, result = finished
    files = export_results(out, "dicom", tmp_path / "dicom")
    segs = [f for f in files if f.name.endswith("_dseg.dcm")]
    assert len(segs) == 4
    region = dicom.read_seg(next(f for f in segs if "sub-001_ses-02" in f.name))
    assert sorted(region.names.values()) == ["lesion-01", "lesion-02", "lesion-03"]
    report = dicom.read_sr(next(f for f in files if f.name.endswith("_sr.dcm")))
    assert len(report) > 20
    bids = export_results(out, "bids", tmp_path / "bids")
    assert (tmp_path / "bids" / "dataset_description.json") in bids
    assert not [p for p in bids if "private" in p.parts or "figures" in p.parts]
    tables = export_results(out, "csv", tmp_path / "csv")
    with open(tables[0], encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 7
    assert float(rows[0]["SUVmax [g/mL]"]) == value(result, ("sub-001", "ses-01"), "lesion-01", "suv_max")
    with pytest.raises(UsageError, match="no such export"):
        export_results(out, "excel")
    with pytest.raises(UsageError, match="no folder of results"):
        export_results(tmp_path, "csv")


def test_an_export_without_its_series_is_refused(study: Path, tmp_path: Path) -> None:
    run_study(study, tmp_path / "out")
    shutil.rmtree(study / "patient1")
    with pytest.raises(DataError, match="not there"):
        export_results(tmp_path / "out", "dicom")


def test_what_is_no_study_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to run"):
        open_study(tmp_path / "absent")
    (tmp_path / "study.yaml").write_text("sessions: [{subject: Jane, session: ses-01}]")
    with pytest.raises(DataError, match="BIDS label"):
        open_study(tmp_path / "study.yaml")
    (tmp_path / "study.yaml").write_text("a: [")
    with pytest.raises(DataError, match="not YAML"):
        open_study(tmp_path / "study.yaml")


def test_a_series_without_attenuation_correction_is_left_out_beside_a_corrected_one(tmp_path: Path) -> None:
    from dataclasses import replace

    root = tmp_path / "scans"
    corrected = scan(body(A), patient=1, day=0)
    write(corrected, root, 1, 0)
    plain = replace(corrected, id="nac", description="PET NAC", extra={"CorrectedImage": ("DECY", "SCAT")})
    dicom.write_series(plain, root / "nac", identity={"PatientID": "SECRET-1"}, study="p1d0", series_number=2)
    result = run_study(root, tmp_path / "out")
    assert result.complete
    measured = {m.acquisition for m in result.measurements}
    entry = next(a for a in open_study(root).sessions[0].acquisitions if a["description"] == "PET AC")
    assert measured == {entry["id"]}
    assert ["(NAC) was left out" in p["message"] for p in result.problems] == [True]


# -- what belongs to the study, and what does not ---------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """One patient, one visit."""
    write(scan(body(A), patient=1, day=0), tmp_path / "scans", 1, 0)
    return tmp_path / "scans"


def test_results_in_the_folder_of_scans_are_no_scans(small: Path) -> None:
    for _ in range(2):
        result = run_study(small, small / "out")
        assert [o.name for o in result.outcomes] == ["sub-001 ses-01"]
    assert result.outcomes[0].status == "kept"
    # Another folder of results beside it, and the same without its description yet, as a killed run leaves it.
    assert [e.subject for e in open_study(small).sessions] == ["sub-001"]
    assert open_study(small).not_used == ["out"]
    (small / "out" / "dataset_description.json").unlink()
    assert [e.subject for e in open_study(small, small / "out").sessions] == ["sub-001"]


def test_the_derivatives_of_a_dataset_are_no_scans(small: Path) -> None:
    shutil.copytree(small / "patient1", small / "derivatives" / "patient9")
    assert any(f.startswith("derivatives/") for f in open_study(small).sessions[0].acquisitions[0]["files"])
    (small / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0", "DatasetType": "raw"}')
    found = open_study(small)
    assert "derivatives" in found.not_used
    assert found.sessions[0].acquisitions[0]["folder"] == "patient1/day00/pet"


def test_results_never_replace_what_is_not_theirs(small: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one folder"):
        run_study(small, small)
    foreign = tmp_path / "out" / "sub-001" / "ses-01" / "pet"
    foreign.mkdir(parents=True)
    (foreign / "raw.dcm").write_text("precious")
    with pytest.raises(UsageError, match="holds something else"):
        run_study(small, tmp_path / "out")
    assert (foreign / "raw.dcm").read_text() == "precious"


def test_a_second_run_into_one_folder_is_refused(small: Path, tmp_path: Path) -> None:
    def second(*_: object) -> None:
        with pytest.raises(UsageError, match="Another run is writing"):
            run_study(small, tmp_path / "out")

    result = run_study(small, tmp_path / "out", progress=second)
    assert [o.status for o in result.outcomes] == ["done"]
    assert not list((tmp_path / "out").glob(".timelens*"))


def test_a_change_that_was_broken_off_is_put_back(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_study(small, out)
    (out / "sub-001" / "ses-01").rename(out / "sub-001" / ".ses-01.before")
    assert [o.status for o in run_study(small, out).outcomes] == ["kept"]
    assert [p.name for p in (out / "sub-001").iterdir() if p.is_dir()] == ["ses-01"]


def test_problems_of_the_scan_come_back_from_the_inventory(small: Path, tmp_path: Path) -> None:
    (small / "stray.dcm").write_bytes(next(small.rglob("*.dcm")).read_bytes()[:300])
    direct = run_study(small, tmp_path / "direct")
    told = [p for p in direct.problems if p["file"] == "stray.dcm"]
    assert len(told) == 1
    again = run_study(tmp_path / "direct" / "study.yaml", tmp_path / "again")
    assert [p for p in again.problems if p["file"] == "stray.dcm"] == told
    assert not again.complete
    text = (tmp_path / "direct" / "study.yaml").read_text()
    (tmp_path / "direct" / "study.yaml").write_text(text.replace("severity: error", "severity: grave"))
    with pytest.raises(DataError, match="is no problem"):
        open_study(tmp_path / "direct" / "study.yaml")


def test_aliases_stay_when_a_new_patient_comes_first(small: Path, tmp_path: Path) -> None:
    out, key = tmp_path / "out", tmp_path / "out" / "private" / "subjects.json"
    first = run_study(small, out)
    write(scan(body(A), patient=0, day=0), small, 0, 0)
    later = run_study(small, out)
    assert [(o.name, o.status) for o in later.outcomes] == [("sub-001 ses-01", "kept"), ("sub-002 ses-01", "done")]
    assert json.loads(key.read_text()) == {"sub-001": "SECRET-1", "sub-002": "SECRET-0"}
    assert [m for m in later.measurements if m.subject == "sub-001"] == first.measurements
    # Who has left keeps the number, so that nobody else gets it.
    shutil.rmtree(small / "patient1")
    write(scan(body(A), patient=3, day=0), small, 3, 0)
    assert [e.subject for e in open_study(small, out).sessions] == ["sub-002", "sub-003"]
    assert [e.subject for e in open_study(small).sessions] == ["sub-001", "sub-002"]
    key.write_text("[")
    with pytest.raises(DataError, match="list of aliases cannot be read"):
        open_study(small, out)


def test_files_without_a_patient_are_known_by_their_place(tmp_path: Path) -> None:
    from timelens.study import Geometry, Image

    image = Image(body(A).astype("float32"), unit="g/mL", geometry=Geometry.from_spacing((24, 30, 32), (4, 4, 4)))
    for mouse in ("b", "c"):
        (tmp_path / "scans" / mouse).mkdir(parents=True)
        nifti.write(image, tmp_path / "scans" / mouse / "pet.nii.gz")
    out = tmp_path / "out"
    run_study(tmp_path / "scans", out)
    shutil.copytree(tmp_path / "scans" / "c", tmp_path / "scans" / "a")
    entries = open_study(tmp_path / "scans", out).sessions
    assert [(e.subject, e.acquisitions[0]["files"][0][0]) for e in entries] == [
        ("sub-001", "b"), ("sub-002", "c"), ("sub-003", "a"),
    ]  # fmt: skip
