"""The command line as a person or a script meets it: exit codes, stdout for results, stderr for the rest."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.run.conftest import A, B, body, scan, write

from timelens import __version__, cli
from timelens.formats import bids, nifti
from timelens.study import Geometry, Image, Region
from timelens.study.measurement import COLUMNS

COMMANDS = ("scan", "run", "quantify", "report", "export", "demo")


@dataclass
class Ended:
    returncode: int
    stdout: str
    stderr: str


def timelens(*arguments: object, cwd: Path | None = None) -> Ended:
    """The command in this process (a new one would import everything again)."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv, Path.cwd()
    sys.argv = ["timelens", *map(str, arguments)]
    os.chdir(cwd or before[1])
    try:
        with redirect_stdout(out), redirect_stderr(err):
            cli.main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = before[0]
        os.chdir(before[1])
    return Ended(code, out.getvalue(), err.getvalue())


def test_the_installed_command() -> None:
    command = str(Path(sys.executable).with_name("timelens"))
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, __version__)


@pytest.fixture(scope="module")
def one_patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scans")
    write(scan(body(A, B), patient=1, day=0), root, 1, 0)
    return root


@pytest.fixture(scope="module")
def results(one_patient: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    done = timelens("run", one_patient, "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["measurements"] > 50
    return out


def test_help_of_every_command() -> None:
    whole = timelens("--help")
    assert whole.returncode == 0
    for command in COMMANDS:
        assert command in whole.stdout
        assert timelens(command, "--help").returncode == 0


def test_scan_then_run_from_the_inventory(one_patient: Path, tmp_path: Path) -> None:
    scanned = timelens("scan", one_patient, "-o", tmp_path / "study.yaml")
    assert scanned.returncode == 0, scanned.stderr
    assert "sub-001" in scanned.stdout
    assert "SECRET" not in scanned.stdout + scanned.stderr + (tmp_path / "study.yaml").read_text()
    done = timelens("run", tmp_path / "study.yaml", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out" / "measurements.csv", encoding="utf-8") as stream:
        burden = next(float(r["value"]) for r in csv.DictReader(stream) if r["quantity"] == "tmtv")
    whole = next(line for line in done.stdout.splitlines() if "all lesions" in line)
    assert f"{burden:.4g}" in whole.split()
    assert "[1/1] sub-001 ses-01: done" in done.stderr
    for name in ("measurements.csv", "measurements.parquet", "timelens.sqlite", "problems.csv", "report.html",
                 "ro-crate-metadata.json", "dataset_description.json", "log.jsonl", "study.yaml"):  # fmt: skip
        assert (tmp_path / "out" / name).is_file(), name


def test_the_table_has_its_stable_columns(results: Path) -> None:
    with open(results / "measurements.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    assert all(row["unit"] and row["method"] and row["run"] for row in rows)
    assert {row["modality"] for row in rows} == {"pet"}


def test_a_dry_run_shows_the_steps_and_writes_nothing(one_patient: Path, tmp_path: Path) -> None:
    done = timelens(
        "run", one_patient, "-o", tmp_path / "out", "--dry-run", "--rule", "fixed", "--threshold", "2.5", "--json"
    )
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)[0]["recipes"][0]["steps"]
    assert next(s for s in steps if s["name"] == "segment")["parameters"] == {"rule": "fixed", "threshold": 2.5}
    assert not (tmp_path / "out").exists()


def test_missing_data_ends_with_1_and_names_it(tmp_path: Path) -> None:
    write(scan(body(A), patient=1, day=0, weight_g=None), tmp_path / "scans", 1, 0)
    done = timelens("run", tmp_path / "scans", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "weight" in done.stderr.lower()
    assert "study.yaml" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "no-such-folder", "-o", "out"), "nothing to run"),
        (("scan", "no-such-folder"), "no such folder"),
        (("report", "."), "no folder of results"),
        (("export", ".", "--to", "excel"), "no such export"),
        (("quantify", "a.nii", "--mask", "b.nii"), "no such file"),
        (("demo", "--lenses", "sonar"), "lens"),
        (("run", ".", "-o", "out", "--seed", "1,2"), "three numbers"),
        (("run", ".", "-o", "out", "--jobs", "0"), "Invalid value for '--jobs'"),
        (("fly",), "No such command 'fly'"),
    ],
)
def test_wrong_use_ends_with_2(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = timelens(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_report_and_export(results: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(results, tmp_path / "out"))
    (copy / "report.html").unlink()
    assert timelens("report", copy).returncode == 0
    assert "<html" in (copy / "report.html").read_text(encoding="utf-8")
    done = timelens("export", copy, "--to", "csv", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["files"]) == 2


def test_quantify_one_image(tmp_path: Path) -> None:
    geometry = Geometry.from_spacing((10, 12, 14), (3.0, 2.0, 2.0), frame="1.2")
    suv, labels = np.ones((10, 12, 14), np.float32), np.zeros((10, 12, 14), np.uint8)
    suv[3:6, 4:7, 5:9], labels[3:6, 4:7, 5:9] = 5.0, 1
    nifti.write(Image(suv, unit="g/mL", geometry=geometry), tmp_path / "image.nii.gz")
    mask = Region("m", "labels", {1: "tumour"}, Image(labels, unit="1", geometry=geometry))
    nifti.write_labels(mask, tmp_path / "mask.nii.gz")
    done = timelens("quantify", tmp_path / "image.nii.gz", "--mask", tmp_path / "mask.nii.gz", "--json")
    assert done.returncode == 0, done.stderr
    rows = {(r["region"], r["quantity"]): r for r in json.loads(done.stdout)}
    assert rows["tumour", "suv_mean"]["value"] == pytest.approx(5)
    assert rows["tumour", "mtv"]["value"] == pytest.approx(36 * 12 / 1000)
    shifted = geometry.crop((slice(0, 10), slice(0, 11), slice(0, 14)))
    small = Region("m", "labels", {1: "t"}, Image(labels[:, :11], unit="1", geometry=shifted))
    nifti.write_labels(small, tmp_path / "small.nii.gz")
    refused = timelens("quantify", tmp_path / "image.nii.gz", "--mask", tmp_path / "small.nii.gz", "--json")
    assert refused.returncode == 1
    assert "different grids" in refused.stderr


def test_a_bids_dataset_keeps_its_labels(tmp_path: Path) -> None:
    from dataclasses import replace

    root = tmp_path / "dataset"
    for subject, session in (("sub-A1", "ses-base"), ("sub-A1", "ses-w4"), ("sub-B2", "ses-base")):
        acquisition = replace(scan(body(A), patient=1, day=0), subject=subject, session=session)
        bids.write(acquisition, root)
    (root / "participants.tsv").write_text("participant_id\tarm\nsub-A1\ttreated\nsub-B2\tcontrol\n")
    done = timelens("run", root, "-o", tmp_path / "out", "--json")
    assert json.loads(done.stdout)["sessions"].keys() == {"sub-A1 ses-base", "sub-A1 ses-w4", "sub-B2 ses-base"}, (
        done.stderr
    )
    with open(tmp_path / "out" / "measurements.csv", encoding="utf-8") as stream:
        maxima = [
            float(r["value"])
            for r in csv.DictReader(stream)
            if (r["quantity"], r["region"]) == ("suv_max", "all lesions")
        ]
    assert maxima == pytest.approx([8.0] * 3, rel=1e-3)
    assert yaml.safe_load((tmp_path / "out" / "study.yaml").read_text())["participants"]["sub-A1"] == {"arm": "treated"}
