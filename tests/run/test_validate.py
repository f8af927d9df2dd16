"""Validation on a protocol: what is refused, what the rows hold, and that processes make no difference."""

from __future__ import annotations

import math

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.run.validate import COLUMNS, DIAMETERS, _summary, read_protocol, validate, write_validation
from timelens.study.contract import Protocol

#: Coarse voxels, so that a repetition takes half a second.
COARSE = Protocol("pet", {"voxel_mm": 8, "fwhm_mm": 9, "calibration": {"cov": 0.03}})


def test_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="not simulated"):
        validate("mri")
    with pytest.raises(UsageError, match="repetitions"):
        validate(seeds=1)
    with pytest.raises(UsageError, match="no such parameter"):
        validate(protocol=Protocol("pet", {"voxel": 3}))
    with pytest.raises(UsageError, match="cannot be read"):
        read_protocol(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("- 1\n")
    with pytest.raises(UsageError, match="names and values"):
        read_protocol(tmp_path / "a.yaml")


def test_rows_files_and_processes(tmp_path):
    (tmp_path / "p.yaml").write_text("lens: pet\nvoxel_mm: 8\nfwhm_mm: 9\ncalibration: {cov: 0.03}\n")
    assert read_protocol(tmp_path / "p.yaml") == COARSE
    one, two = (validate(protocol=COARSE, seeds=2, jobs=jobs) for jobs in (1, 2))
    assert one.rows == two.rows
    assert all(tuple(row) == COLUMNS for row in one.rows)
    assert {row["diameter_mm"] for row in one.rows} == set(DIAMETERS)
    by_key = {(r["quantity"], r["diameter_mm"]): r for r in one.rows}
    mean = [by_key["suv_mean", d] for d in DIAMETERS]
    # Small spheres lose contrast, which the truth of a noise-free scanner knows and that of the object does not.
    assert mean[-1]["truth"] > 1.3 * mean[1]["truth"]
    assert all(r["truth_object"] == pytest.approx(8.0) and r["bias_object_percent"] < -5 for r in mean)
    # The smallest is a voxel or two of these.
    assert all(abs(r["bias_percent"]) < 20 and r["n"] == 2 for r in mean[2:])
    assert all(2 < r["detection_limit"] < 8 for r in mean[2:])
    assert by_key["mtv", 37.0]["detection_limit"] is None
    table, picture = write_validation(one, tmp_path / "out")
    assert table.read_text().splitlines()[0] == ",".join(COLUMNS)
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_a_summary_by_hand():
    draws = [
        {"value": v, "seen": 5.0, "object": 8.0, "lower": v - 0.6, "upper": v + 0.6, "noise": True, "empty": e,
         "unit": "g/mL"}
        for v, e in ((4.5, 1.9), (5.5, 2.1), (5.0, 2.0), (6.0, 2.0))
    ]  # fmt: skip
    row = _summary("suv_mean", "sphere 10 mm", draws)
    assert row["bias_percent"] == pytest.approx(5.0)
    assert row["spread_percent"] == pytest.approx(100 * np.std([-0.1, 0.1, 0, 0.2], ddof=1))
    assert row["coverage_95"] == 0.75
    assert row["bias_object_percent"] == pytest.approx(100 * (5.25 / 8 - 1))
    # Recovery of half the contrast: 2 + 3.29 s / 0.5.
    assert row["detection_limit"] == pytest.approx(2 + 3.29 * np.std([1.9, 2.1, 2, 2], ddof=1) / 0.5)
    lost = _summary("suv_mean", "sphere 10 mm", [{**d, "value": math.nan} for d in draws])
    assert (lost["n"], lost["truth"], lost["bias_percent"]) == (0, None, None)
