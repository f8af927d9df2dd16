"""Groups on the page: none, and what a table of comparisons becomes."""

from __future__ import annotations

import numpy as np

from timelens.assess.groups import COLUMNS, Value, compare
from timelens.report.groups import group_views
from timelens.run.groups import VALUES_FILE, _means, write_groups
from timelens.study.export import write_table
from timelens.study.measurement import Measurement

ARMS = {f"sub-{k}": {"arm": "ab"[k % 2]} for k in range(8)}


def rows(rng):
    for k, subject in enumerate(ARMS):
        for component, level in (("cd8-t-cell", 100 + 300 * (k % 2)), ("treg", 50)):
            yield Measurement("cell_density_area", level + rng.normal(0, 10), "{cells}/mm2", region="stroma",
                              subject=subject, session="ses-01", component=component, modality="cytometry")  # fmt: skip
        yield Measurement("positive_fraction", 0.2 + 0.1 * rng.random(), "1", region="section", subject=subject,
                          session="ses-01", component="cd8-t-cell", target="pdcd1;tox",
                          modality="cytometry")  # fmt: skip
        yield Measurement("cell_fraction", 0.0, "1", region="section", subject=subject, session="ses-01",
                          component="b-cell", modality="cytometry")  # fmt: skip


def test_results_without_groups_have_no_view(tmp_path):
    assert group_views(tmp_path) == []
    write_table(tmp_path / "groups.csv", ("by", *COLUMNS), [])
    assert group_views(tmp_path) == []


def test_comparisons_become_lines_and_a_picture(tmp_path, rng):
    write_groups(tmp_path, rows(rng), ARMS, {}, None)
    (view,) = group_views(tmp_path)
    assert view.title == "b minus a (arm)" and (view.tested, view.untested, view.found) == (3, 1, 0)
    assert view.reasons == [("all values are equal", 1)]
    first = view.lines[0]
    assert first["of"] == "CD8+ cytotoxic T lymphocyte, stroma" and first["patients"] == "4 / 4"
    assert first["unit"] == "cells/mm²" and first["p"] == "0.029" and float(first["difference"]) > 250
    assert any("with PD-1 and TOX" in line["of"] for line in view.lines)
    assert view.picture is not None and view.picture.source.startswith("data:image/png")


def test_a_study_without_a_test_has_reasons_alone(tmp_path):
    people = {s: ARMS[s] for s in ("sub-0", "sub-1")}
    write_groups(tmp_path, (r for r in rows(np.random.default_rng(0)) if r.subject in people), people, {}, "arm")
    (view,) = group_views(tmp_path)
    assert view.picture is None and not view.lines
    assert view.reasons == [("a number from one patient alone of a and b", 4)]


def test_older_tables_go_where_there_are_no_groups(tmp_path, rng):
    write_groups(tmp_path, rows(rng), ARMS, {}, None)
    assert write_groups(tmp_path, rows(rng), ARMS, {}, "") == ([], [])
    assert not list(tmp_path.iterdir())


def test_what_is_no_number_is_a_dash(tmp_path):
    values = [Value(s, "ses-01", "x", "", "", "", "liver", "interaction_z", "1", float(k)) for k, s in enumerate(ARMS)]
    groups = {s: t["arm"] for s, t in ARMS.items()}
    found = compare(values, groups, np.random.default_rng(0))
    lines = [{"by": "arm", **vars(c), "lower": "far away", "p_mixed": 1e-9} for c in found]
    write_table(tmp_path / "groups.csv", ("by", *COLUMNS), lines)
    write_table(tmp_path / VALUES_FILE, list(next(_means(values, groups))), _means(values, groups))
    (view,) = group_views(tmp_path)
    assert str(view.lines[0]["interval"]).startswith("– to ") and view.lines[0]["p_mixed"] == "< 0.001"
    assert str(view.lines[0]["symbol"]) == "z of contacts"
