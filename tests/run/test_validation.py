"""Validation on a protocol: what is refused, what the rows hold, and that processes make no difference."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from timelens.errors import UsageError
from timelens.run import show
from timelens.run.validation import COLUMNS, LENSES, read_protocol, validate, write_validation
from timelens.run.validation.pet import RULES, draw
from timelens.run.validation.phantom import DIAMETERS, TUMOURS
from timelens.run.validation.registry import judge_of
from timelens.run.validation.rows import Draw, Empty, rows_of, summary
from timelens.study.contract import Protocol

#: Coarse voxels, so that a repetition takes half a second.
COARSE = Protocol("pet", {"voxel_mm": 8, "fwhm_mm": 9, "calibration": {"cov": 0.03}})
SHARP = Protocol("pet", {"voxel_mm": 4, "fwhm_mm": 6, "calibration": {"cov": 0.03}})


def test_wrong_use(tmp_path):
    with pytest.raises(UsageError, match=r"not simulated.*pet"):
        validate("x-ray vision")
    with pytest.raises(UsageError, match="repetitions"):
        validate(seeds=1)
    with pytest.raises(UsageError, match=r"no such case.*cubes"):
        validate(cases=["spheres", "cubes"])
    with pytest.raises(UsageError, match="no such parameter"):
        validate(protocol=Protocol("pet", {"voxel": 3}))
    with pytest.raises(UsageError, match="cannot be read"):
        read_protocol(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("- 1\n")
    with pytest.raises(UsageError, match="names and values"):
        read_protocol(tmp_path / "a.yaml")


@pytest.mark.parametrize("lens", LENSES)
def test_every_lens_keeps_the_contract(lens):
    judge = judge_of(lens)
    assert judge.CASES and all(judge.CASES.values())
    assert callable(judge.draw) and callable(judge.figures)
    assert judge.check(None).lens


def test_rows_files_and_processes(tmp_path):
    (tmp_path / "p.yaml").write_text("lens: pet\nvoxel_mm: 8\nfwhm_mm: 9\ncalibration: {cov: 0.03}\n")
    assert read_protocol(tmp_path / "p.yaml") == COARSE
    alone, together = (validate(protocol=COARSE, seeds=2, jobs=jobs, cases=["resolution"]) for jobs in (1, 2))
    assert alone.rows == together.rows
    one = validate(protocol=COARSE, seeds=2, cases=["spheres"])
    assert all(tuple(row) == COLUMNS for row in one.rows)
    assert {row["diameter_mm"] for row in one.rows} == set(DIAMETERS)
    by_key = {(r["quantity"], r["diameter_mm"]): r for r in one.rows}
    mean = [by_key["suv_mean", d] for d in DIAMETERS]
    # Small spheres lose contrast, which the truth of a noise-free scanner knows and that of the object does not.
    assert mean[-1]["truth"] > 1.3 * mean[1]["truth"]
    assert all(r["truth_object"] == pytest.approx(8.0) and r["bias_object_percent"] < -5 for r in mean)
    # The smallest is a voxel or two of these.
    assert all(abs(r["bias_percent"]) < 20 and r["n"] == r["intervals"] == 2 for r in mean[2:])
    assert all(2 < r["detection_limit"] < 8 for r in mean[2:])
    assert by_key["mtv", 37.0]["detection_limit"] is None
    assert by_key["suv_mean_pvc", 37.0]["intervals"] == 2
    table, facts, picture = write_validation(one, tmp_path / "out")
    assert next(csv.reader(table.open())) == list(COLUMNS)
    assert json.loads(facts.read_text())["rows"] == one.rows
    assert (picture.name, picture.read_bytes()[:4]) == ("validation.png", b"\x89PNG")


def test_positrons_that_go_farther_blur_what_is_corrected_for_18f():
    seen = [{d.region: d.seen for d in _draws(COARSE, case, 0) if d.quantity == "suv_mean_pvc"}
            for case in ("64Cu", "68Ga")]  # fmt: skip
    assert seen[1]["sphere 17 mm"] < 0.98 * seen[0]["sphere 17 mm"]


def test_rules_find_what_they_can():
    found = _draws(SHARP, "rules", 0)
    volumes = {(d.case, d.region): d for d in found if d.quantity == "mtv"}
    # A rule of 3 mL keeps no sphere of 0.5 or 1.2 mL; all find the largest, and the tumours.
    assert ("rule: SUV 4, 3 mL", "sphere 10 mm") not in volumes
    assert all((f"rule: {rule}", "sphere 37 mm") in volumes for rule in RULES)
    assert {name for case, name in volumes if case == "rule: SUV 4"} >= set(TUMOURS)
    large = [volumes[f"rule: {rule}", "sphere 37 mm"] for rule in RULES]
    assert all(d.real == pytest.approx(26.52, rel=0.001) for d in large)
    assert all(abs(d.seen / d.real - 1) < 0.4 for d in large)
    assert volumes["rule: 41 % of maximum", "sphere 37 mm"].seen > volumes["rule: 50 % of maximum", "sphere 37 mm"].seen


def test_a_wrong_resolution_costs_what_the_closed_form_says():
    found = {(d.case, d.region): d for d in _draws(SHARP, "resolution", 1)}
    wide, narrow = (found[f"resolution {o:+g} mm", "sphere 37 mm"] for o in (0.2, -0.2))
    assert 100 * (wide.value / wide.seen - 1) == pytest.approx(0.6, abs=0.3)
    assert narrow.value < narrow.seen < wide.value


def test_tumours_are_what_their_cells_make_them():
    found = {(d.region, d.quantity): d for d in _draws(SHARP, "tumours", 0)}
    assert {region for region, _ in found} == set(TUMOURS)
    assert found["necrotic core", "suv_mean"].real < 0.85 * found["inflamed", "suv_mean"].real
    assert all(math.isnan(d.diameter_mm) for d in found.values())
    # Uptake that is not uniform: the correction for a uniform lesion is no truth, but the mean is near.
    assert all(abs(d.seen / d.real - 1) < 0.3 for (_, q), d in found.items() if q == "suv_mean_pvc")


def test_all_cases_have_pictures():
    draws = [
        Draw(case, region, quantity, "g/mL", 5.0 + k, 4.0, 6.0, True, 5.0, 8.0, size)
        for case in ("89Zr", "tumours", "resolution +0.2 mm", *(f"rule: {rule}" for rule in RULES))
        for region, size in (("sphere 10 mm", 10.0), ("sphere 37 mm", 37.0), ("inflamed", math.nan))
        for quantity in ("suv_mean_pvc", "mtv")
        for k in range(2)
        if (case == "tumours") <= (region == "inflamed")
    ]
    made = judge_of("pet").figures(rows_of(draws))
    assert list(made) == ["cases"]
    titles = [axes.get_title(loc="left") for axes in made["cases"].axes]
    assert len(titles) == 5 and "volume of tumours, by rule" in titles


def _draws(protocol, case, seed):
    return draw(protocol, case, np.random.default_rng(seed))


def test_a_summary_by_hand():
    draws = [
        Draw("spheres", "sphere 10 mm", "suv_mean", "g/mL", v, v - 0.6, v + 0.6, True, 5.0, 8.0, 10.0, Empty(2, 8, e))
        for v, e in ((4.5, 1.9), (5.5, 2.1), (5.0, 2.0), (6.0, 2.0))
    ]
    row = summary(draws)
    assert tuple(row) == COLUMNS
    assert row["bias_percent"] == pytest.approx(5.0)
    assert row["spread_percent"] == pytest.approx(100 * np.std([-0.1, 0.1, 0, 0.2], ddof=1))
    assert (row["coverage_95"], row["intervals"], row["n"]) == (0.75, 4, 4)
    assert row["coverage_95_object"] == 0  # none reaches 8
    near = summary([replace(d, real=5.95) for d in draws])
    assert (near["coverage_95"], near["coverage_95_object"]) == (0.75, 0.5)
    assert row["bias_object_percent"] == pytest.approx(100 * (5.25 / 8 - 1))
    assert row["noise_free_bias_percent"] == row["noise_free_worst_percent"] == pytest.approx(-37.5)
    # Recovery of half the contrast: 2 + 3.29 s / 0.5.
    assert row["detection_limit"] == pytest.approx(2 + 3.29 * np.std([1.9, 2.1, 2, 2], ddof=1) / 0.5)
    lost = summary([Draw("a", "b", "c", "1", math.nan, 0.0, 0.0, False, 5.0, 8.0) for _ in draws])
    assert (lost["n"], lost["truth"], lost["bias_percent"], lost["coverage_95"]) == (0, None, None, None)
    assert (lost["detection_limit"], lost["diameter_mm"]) == (None, None)


def test_the_table_on_the_screen_keeps_names_and_numbers_whole_on_eighty_columns(capsys, monkeypatch):
    monkeypatch.setattr(show, "_out", Console(width=80))
    row = {"case": "spheres", "quantity": "suv_mean_pvc", "region": "sphere 10 mm", "truth": 7.05, "unit": "g/mL"}
    row |= {"bias_percent": -1.04, "spread_percent": 118.1, "coverage_95": 1.0, "bias_object_percent": 4715.2}
    show.validation([row | {"detection_limit": 3.3, "n": 30}], [], as_json=False)
    text = capsys.readouterr().out
    for whole in ("(corrected)", "sphere 10 mm", "118.1", "100.0", "+4715.2"):
        assert whole in text
    assert "…" not in text
