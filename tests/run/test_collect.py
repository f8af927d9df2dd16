"""From the sessions' folders to tables and ledger: what enters, and what a second look changes."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from tests.run.conftest import DOSE, SHAPE, SPACING, WEIGHT, A, B, ball, body, scan, write

from timelens.formats import nifti
from timelens.run.api import StudyRun, run_study
from timelens.run.export import export_results
from timelens.study import FrameTiming, Geometry, Image
from timelens.study.export import read_csv
from timelens.study.store import Store


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, StudyRun]:
    base = tmp_path_factory.mktemp("one")
    write(scan(body(A, B), patient=1, day=0), base / "scans", 1, 0)
    return base / "scans", base / "out", run_study(base / "scans", base / "out")


def test_the_ledger_holds_regions_files_and_seed(one: tuple[Path, Path, StudyRun]) -> None:
    _, out, result = one
    row = next(m for m in result.measurements if (m.region, m.quantity) == ("lesion-01", "suv_max"))
    with Store(out / "timelens.sqlite") as store:
        trace = store.trace(row.id)
        outputs = store.outputs(row.run)
    assert [(r["name"], r["identity"], r["role"]) for r in trace["regions"]] == [("lesion-01", "lesion-01", "lesion")]
    assert trace["regions"][0]["frame"] == "1.2.826.0.1.1.1"
    assert isinstance(trace["run"]["seed"], int)
    assert {Path(f.path).suffix for f in outputs} == {".gz", ".json", ".png"}
    for file in outputs:
        assert hashlib.sha256((out / file.path).read_bytes()).hexdigest() == file.sha256
        assert (out / file.path).stat().st_size == file.size


def test_another_last_digit_is_a_correction_and_no_crash(one: tuple[Path, Path, StudyRun]) -> None:
    """As if the session had been computed anew with another numpy."""
    root, out, result = one
    path = out / "sub-001" / "ses-01" / "measurements.json"
    before = path.read_text()
    rows = json.loads(before)
    rows[0]["value"] = math.nextafter(rows[0]["value"], math.inf)
    path.write_text(json.dumps(rows))
    again = run_study(root, out)
    assert again.measurements[0].value == rows[0]["value"]
    assert again.measurements[0].supersedes == result.measurements[0].id
    assert again.measurements[1:] == result.measurements[1:]
    assert read_csv(out / "measurements.csv") == again.measurements
    path.write_text(before)
    back = run_study(root, out)
    assert back.measurements[0].value == result.measurements[0].value


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyRun]:
    """Three frames of one body: B fades while A appears, so that the numbers in the frames change their owner."""
    base = tmp_path_factory.mktemp("dynamic")
    suv = np.stack([np.where(ball((12, 15, 16), 46), 1.0, 0.0)] * 3).astype(np.float32)
    for frame, (value_a, value_b) in enumerate([(1.0, 9.0), (6.0, 9.0), (9.0, 6.0)]):
        suv[frame][ball(A[0], 14)] = value_a
        suv[frame][ball(B[0], 14)] = value_b
    frames = FrameTiming(np.array([0.0, 60.0, 120.0]), np.array([60.0, 60.0, 60.0]))
    geometry = Geometry.from_spacing(SHAPE, SPACING, frame="1.2")
    (base / "scans").mkdir()
    nifti.write(Image(suv, unit="g/mL", geometry=geometry, frames=frames), base / "scans" / "x_pet.nii.gz")
    options = {"pet": {"segment": {"rule": "fixed", "threshold": 4.0}}}
    return base / "out", run_study(base / "scans", base / "out", options=options)


def test_a_lesion_of_a_series_is_one_curve_over_time(dynamic: tuple[Path, StudyRun]) -> None:
    _, result = dynamic
    curves: dict[str, list[tuple[float, float]]] = {}
    for m in result.measurements:
        if m.quantity == "suv_max" and m.region != "all lesions":
            curves.setdefault(m.region, []).append((m.time_s, m.value))
    assert sorted(curves.values()) == [[(30.0, 9.0), (90.0, 9.0), (150.0, 6.0)], [(90.0, 6.0), (150.0, 9.0)]]


def test_exports_of_a_series_bear_the_lasting_names(dynamic: tuple[Path, StudyRun], tmp_path: Path) -> None:
    out, result = dynamic
    table = export_results(out, "csv", tmp_path)[0]
    with open(table, encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    found = {(r["region"], float(r["time [s]"])): float(r["SUVmax [g/mL]"]) for r in rows}
    assert found == {
        (m.region, m.time_s): m.value
        for m in result.measurements
        if m.quantity == "suv_max" and m.region != "all lesions"
    }


def test_animals_of_one_scan_are_followed_each_by_itself(tmp_path: Path) -> None:
    """Two mice in one bed, two days. Each has a lesion-01; on the second day that of m1 has gone and another grown."""
    west, east = (12.0, 15.0, 7.0), (12.0, 15.0, 24.0)
    spots = {0: [(10.0, 12.0, 7.0), (10.0, 12.0, 24.0)], 7: [(15.0, 19.0, 7.0), (10.0, 12.0, 24.0)]}
    mouse = {"weight_g": 25.0, "administered_activity_bq": 20e6}
    per_suv = (20e6 / 25.0) / (DOSE / WEIGHT)  # the header's dose and weight are those of a patient
    for day, places in spots.items():
        suv = np.where(ball(west, 30) | ball(east, 30), 1.0, 0.0)
        for place in places:
            suv[ball(place, 7)] = 8.0
        write(scan(suv * per_suv, patient=1, day=day), tmp_path / "scans", 1, day)
    options = {"pet": {"segment": {"rule": "percent", "fraction": 0.5}, "animals": {"m1": mouse, "m2": mouse}}}
    result = run_study(tmp_path / "scans", tmp_path / "out", options=options)
    lesions = {
        (m.subject, m.session, m.region)
        for m in result.measurements
        if m.quantity == "suv_max" and m.region.startswith("lesion")
    }
    assert lesions == {
        ("m1", "ses-01", "lesion-01"), ("m1", "ses-02", "lesion-02"),
        ("m2", "ses-01", "lesion-01"), ("m2", "ses-02", "lesion-01"),
    }, result.problems  # fmt: skip
    files = {f.name for f in export_results(tmp_path / "out", "dicom", tmp_path / "dicom")}
    assert {f"sub-001_ses-01_pet_{m}_sr.dcm" for m in ("m1", "m2")} < files
