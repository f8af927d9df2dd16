"""Groups through a run: from participants.tsv to groups.csv, and what is refused."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from tests.lenses.cytometry.sections import section
from typer.testing import CliRunner

from timelens.cli import app
from timelens.errors import UsageError
from timelens.formats.cytometry import txt
from timelens.formats.cytometry.tiff import write_mask
from timelens.run.api import run_study
from timelens.run.discover import discover
from timelens.run.groups import compare_results, group_options

OPTIONS = {"cytometry": {"space": {"neighbourhoods": 0, "shuffles": 100}}}


def people(folder, lines, columns="participant_id\tarm"):
    (folder / "participants.tsv").write_text("\n".join([columns, *lines]) + "\n")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four subjects with a section each, and the results."""
    root = tmp_path_factory.mktemp("cohort")
    for k in range(4):
        made = section(8, seed=k)
        place = root / "scans" / f"sub-{k:02d}"
        (place / "masks").mkdir(parents=True)
        txt.write(made.acquisitions[0], place / "roi.txt")
        write_mask(made.regions[0].labels.numpy()[0], place / "masks" / "roi.tiff")
    people(root / "scans", [f"sub-{k:02d}\t{arm}" for k, arm in enumerate("abab")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("timelens.run.outputs.draw", lambda *_: None)  # pictures of sections take most of the time
        run_study(root / "scans", root / "out", options=OPTIONS)
    return root


@pytest.mark.parametrize("said", [True, "arm", {"of": "arm"}, {"by": 3}, {"by": "arm", "and": 1}])
def test_options_that_make_no_sense_are_refused(said):
    with pytest.raises(UsageError, match="Groups are named by a trait"):
        group_options({"groups": said})


def test_options_of_groups():
    assert group_options({}) is None and group_options({"groups": "none"}) == ""
    assert group_options({"groups": {"by": "arm"}}) == "arm"


def test_a_trait_that_is_none_is_refused_before_the_work(study, tmp_path):
    with pytest.raises(UsageError, match="no such trait"):
        run_study(study / "scans", tmp_path / "out", options=OPTIONS | {"groups": {"by": "response"}})
    assert not list(tmp_path.glob("out/sub-*"))


def test_no_folder_of_results_and_no_groups_are_refused(study, tmp_path):
    with pytest.raises(UsageError, match="no folder of results"):
        compare_results(tmp_path)
    with pytest.raises(UsageError, match="no such trait"):
        compare_results(study / "out", "response")


def test_subjects_in_two_groups_are_in_none(study, tmp_path):
    people(tmp_path, ["sub-00\ta", "sub-00\tb", "sub-01\tb", "sub-01\tb"])
    for name in ("sub-00", "sub-01"):
        shutil.copytree(study / "scans" / name, tmp_path / name)
    found = discover(tmp_path)
    assert found.participants["sub-01"] == {"arm": "b"} and found.participants["sub-00"] == {}
    (problem,) = (p for p in found.problems if "Two lines" in p.message)
    assert problem.found == "sub-00: a, b" and problem.field == "arm"


def test_a_run_compares_groups(study):
    out = study / "out"
    table = pd.read_csv(out / "groups.csv")
    assert set(table["by"]) == {"arm"} and set(table["first"]) == {"a"} and set(table["second"]) == {"b"}
    row = table[(table.quantity == "cell_density_area") & (table.component == "tumour-cell")
                & (table.region == "section")].iloc[0]  # fmt: skip
    assert (row.patients_first, row.patients_second) == (2, 2)
    rows = pd.read_csv(out / "measurements.csv")
    rows = rows[(rows.quantity == row.quantity) & (rows.component == row.component) & (rows.region == row.region)]
    means = rows.set_index("subject")["value"]
    expected = means[["sub-01", "sub-03"]].mean() - means[["sub-00", "sub-02"]].mean()
    assert row.difference == pytest.approx(expected)
    assert {"interaction_z", "positive_fraction", "nearest_cell_distance"} <= set(table["quantity"])
    values = pd.read_csv(out / "groups_values.csv")
    assert set(values["subject"]) == {f"sub-{k:02d}" for k in range(4)}


def test_other_groups_change_no_session(study):
    again = run_study(study / "scans", study / "out", options=OPTIONS | {"groups": "none"})
    assert {o.status for o in again.outcomes} == {"kept"}
    assert not (study / "out" / "groups.csv").exists()
    run_study(study / "scans", study / "out", options=OPTIONS)
    assert (study / "out" / "groups.csv").exists()


def test_the_command(study):
    out = study / "out"
    traits = pd.read_csv(out / "participants.tsv", sep="\t", keep_default_na=False)
    traits["response"] = ["yes", "yes", "no", "no"]
    traits.to_csv(out / "participants.tsv", sep="\t", index=False)
    found = CliRunner().invoke(app, ["compare", str(out), "--by", "response", "--json"])
    said = json.loads(found.stdout)
    assert found.exit_code == 0 and {c["second"] for c in said["comparisons"]} == {"yes"}
    shown = CliRunner().invoke(app, ["compare", str(out), "--by", "response"])
    assert "yes minus no" in shown.stdout and "without a test" in shown.stdout
    assert "Groups of patients" in (out / "report.html").read_text()
