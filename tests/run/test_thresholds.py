"""Thresholds of all sections together: none, one group, and a section without a type."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from timelens.cli import app
from timelens.errors import UsageError
from timelens.run.thresholds import pooled_thresholds


def section(root, subject, rng, part):
    """A table of cells of which a part is positive for CD8, and none for anything else."""
    place = root / subject / "ses-01" / "cytometry"
    place.mkdir(parents=True)
    level = np.where(rng.random(400) < part, 8.0, 0.3)
    pd.DataFrame(
        {"cell": range(400), "mean_141Pr_CD8a": rng.gamma(9, level / 9), "mean_CD20": rng.gamma(9, 0.03, 400),
         "mean_DNA1": 20.0}
    ).to_csv(place / f"{subject}_desc-cells_table.tsv", sep="\t", index=False)  # fmt: skip


@pytest.fixture
def results(tmp_path, rng):
    section(tmp_path, "sub-01", rng, 0.3)
    section(tmp_path, "sub-02", rng, 0.0)
    return tmp_path


def test_no_cells_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no cells with known markers"):
        pooled_thresholds(tmp_path)
    place = tmp_path / "sub-01" / "ses-01" / "cytometry"
    place.mkdir(parents=True)
    pd.DataFrame({"cell": [1], "mean_YBX1": [2.0]}).to_csv(place / "a_desc-cells_table.tsv", sep="\t", index=False)
    with pytest.raises(UsageError, match="no cells with known markers"):
        pooled_thresholds(tmp_path)


def test_a_section_without_positive_cells_has_the_threshold_of_the_others(results):
    found, reasons = pooled_thresholds(results)
    assert set(found) == {"CD8"} and 0.8 < found["CD8"] < 5
    assert set(reasons) == {"CD20"}


def test_cores_count_where_types_were_told_from_them(results):
    plain, _ = pooled_thresholds(results)
    for file in results.glob("sub-*/ses-*/cytometry/*.tsv"):
        frame = pd.read_csv(file, sep="\t")
        cores = frame.filter(like="mean_").mul(3).rename(columns=lambda c: c.replace("mean_", "core_"))
        frame.join(cores).to_csv(file, sep="\t", index=False)
    assert pooled_thresholds(results)[0]["CD8"] > 2 * plain["CD8"]


def test_a_background_that_was_taken_off_is_refused(results):
    step = {"lens": "cytometry", "name": "types", "parameters": {"background": "ground"}}
    (results / "sub-01" / "ses-01" / "session.json").write_text(json.dumps({"recipe": [step]}))
    with pytest.raises(UsageError, match="background was taken off"):
        pooled_thresholds(results)
    step["parameters"]["background"] = "none"
    (results / "sub-01" / "ses-01" / "session.json").write_text(json.dumps({"recipe": [step]}))
    assert set(pooled_thresholds(results)[0]) == {"CD8"}


def test_the_command_writes_what_study_yaml_takes(results):
    shown = CliRunner().invoke(app, ["thresholds", str(results)])
    said = yaml.safe_load(shown.stdout)
    assert said["options"]["cytometry"]["types"]["thresholds"]["CD8"] == pytest.approx(
        pooled_thresholds(results)[0]["CD8"], rel=1e-3
    )
    told = json.loads(CliRunner().invoke(app, ["thresholds", str(results), "--json"]).stdout)
    assert set(told) == {"thresholds", "reasons"}
