"""The commands that ask the knowledge base: what they print, their JSON, and how they end."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from timelens.cli import app
from timelens.errors import UsageError
from timelens.knowledge import agents, components, nuclides, quantities, targets

runner = CliRunner()


def run(*words: str, code: int = 0) -> str:
    done = runner.invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done.stdout


def run_json(*words: str, code: int = 0):
    return json.loads(run(*words, "--json", code=code))


@pytest.mark.parametrize(
    ("command", "count"),
    [
        ("agents", len(agents.all_agents())),
        ("components", len(components.all_components())),
        ("targets", len(targets.all_targets())),
        ("nuclides", len(nuclides.all_nuclides())),
    ],
)
def test_lists_are_records_with_id_name_and_synonyms(command, count):
    rows = run_json(command)
    assert len(rows) == count
    assert all({"id", "name", "synonyms"} <= row.keys() for row in rows)
    assert all(isinstance(row["synonyms"], list) for row in rows)


@pytest.mark.parametrize("command", ["agents", "components", "targets", "nuclides", "modalities", "interventions"])
def test_tables_name_what_they_list(command):
    assert run(command).split("\n")[0].split()[0].isdigit()


def test_conditions():
    rows = run_json("agents", "--target", "FAP", "--modality", "PET", "--stage", "clinical", "--nuclide", "Ga-68")
    assert "ga68-fapi-46" in [row["id"] for row in rows]
    assert all("fap" in row["targets"] and "68Ga" in row["nuclides"] for row in rows)
    assert "ga68-fapi-46" in run("agents", "--target", "FAP")
    assert "zr89-crefmirlimab" not in [row["id"] for row in run_json("agents", "--species", "mouse")]


def test_show_an_agent():
    text = run("agents", "show", "89Zr-crefmirlimab")
    for words in ("does not bind", "mouse", "78.41(12) h", "evidence", "CD8"):
        assert words in text
    row = run_json("agents", "show", "89Zr-crefmirlimab")
    assert row["id"] == "zr89-crefmirlimab"
    assert [each["id"] for each in row["evidence_rows"]]


def test_show_with_a_molecule_alone_shows_every_label():
    text = run("agents", "show", "fapi-46")
    assert "ga68-fapi-46" in text
    assert "lu177-fapi-46" in text
    assert {row["id"] for row in run_json("agents", "show", "fapi-46")["candidates"]} >= {"ga68-fapi-46"}


def test_what_the_article_gets_wrong_is_shown_beside_what_is_right():
    text = run("agents", "show", "Miltuximab-IRDye800CW")
    assert "the article says" in text
    assert "lypican-1" in text


def test_resolve():
    assert run_json("agents", "resolve", "Zr-89 atezolizumab")["id"] == "zr89-atezolizumab"
    found = run_json("agents", "resolve", "atezolizumab")
    assert [row["id"] for row in found["candidates"]] == ["zr89-atezolizumab"]
    assert run_json("agents", "resolve", "atezolizumab", "--nuclide", "Zr-89")["id"] == "zr89-atezolizumab"
    assert run_json("agents", "resolve", "nosuchmab", code=1)["candidates"] == []
    assert "No agent bears this name" in run("agents", "resolve", "nosuchmab", code=1)
    assert "Candidates" in run("agents", "resolve", "atezolizumab")


def test_the_dicom_code_is_part_of_the_record():
    code = run_json("agents", "resolve", "FDG")["dicom_code"]
    assert code == {"value": "35321007", "scheme": "SCT", "meaning": "Fluorodeoxyglucose F^18^"}


def test_see():
    text = run("agents", "see", "how can I see M2 macrophages?", "--limit", "2")
    assert "How to see: M2 macrophage" in text
    assert "more (--limit)" in text
    rows = run_json("agents", "see", "M2 macrophages")
    assert rows[0]["component"] == "m2-macrophage"
    assert rows[0]["reasons"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("targets", "show", "CXCR4"), "pentixafor"),
        (("components", "show", "CAF"), "FAPI"),
        (("nuclides", "show", "Zr-89"), "63360001 SCT"),
        (("explain", "suv_peak"), "g/mL"),
    ],
)
def test_single_records(words, expected):
    assert expected in run(*words)


def test_single_records_as_json():
    assert run_json("targets", "show", "CXCR4")["symbols"] == ["CXCR4"]
    assert run_json("nuclides", "show", "F-18")["half_life_s"] == 6586.2
    assert run_json("explain", "mtv")["unit"] == quantities.get("mtv").unit


@pytest.mark.parametrize(
    "words",
    [
        ("agents", "show", "nosuchmab"),
        ("agents", "--target", "NOSUCH"),
        ("agents", "--stage", "late"),
        ("agents", "see", "the moon"),
        ("targets", "show", "NOSUCH"),
        ("nuclides", "show", "99Mo"),
        ("explain", "no_such_quantity"),
    ],
)
def test_wrong_use_is_refused(words):
    done = runner.invoke(app, list(words))
    assert isinstance(done.exception, UsageError)
    assert done.exception.exit_code == 2
    assert done.stdout == ""
