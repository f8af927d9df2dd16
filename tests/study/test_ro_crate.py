"""The crate is held against the rules of RO-Crate 1.1 and the Process Run Crate profile."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from timelens.errors import UsageError
from timelens.study.provenance import Run, SourceFile
from timelens.study.ro_crate import METADATA_FILE, describe, write_crate

SOFTWARE = {"timelens": "0.1.0", "numpy": "2.2.0"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results with a name that needs quoting, files that are not results, and the images outside."""
    out = tmp_path / "out"
    (out / "sub-001").mkdir(parents=True)
    (out / "measurements.csv").write_text("id\n")
    (out / "sub-001" / "suv map #1.nii.gz").write_bytes(b"\x1f\x8b")
    (out / "timelens.sqlite").write_bytes(b"SQLite")
    (out / "timelens.sqlite-wal").write_bytes(b"")
    (out / ".measurements.csv.1.part").write_text("half")
    (tmp_path / "pet.dcm").write_bytes(b"DICM")
    return out


def a_run(folder: Path, **changes: Any) -> Run:
    facts: dict[str, Any] = {
        "inputs": (SourceFile.of(folder.parent / "pet.dcm", relative_to=folder.parent),),
        "parameters": {"threshold": 4.0, "rules": ["fixed"], "fill": math.nan, "name of rule": "SUV 4"},
        "software": SOFTWARE,
        "seed": 3,
        "started": "2024-05-01T10:00:00+00:00",
        "ended": "2024-05-01T10:01:00+00:00",
    }
    return Run(**{**facts, **changes})


def entities(crate: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {e["@id"]: e for e in crate["@graph"]}
    assert len(found) == len(crate["@graph"]), "an @id stands twice"
    return found


def references(value: Any) -> Iterator[str]:
    """All @id that are pointed to."""
    if isinstance(value, dict):
        if set(value) == {"@id"}:
            yield value["@id"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_graph_is_whole(folder: Path):
    path = write_crate(folder, [a_run(folder)])
    assert path == folder / METADATA_FILE
    crate = json.loads(path.read_text(encoding="utf-8"))
    graph = entities(crate)
    outside = {"https://w3id.org/ro/crate/1.1"}
    assert set(references(crate["@graph"])) - outside <= set(graph)
    assert all("@type" in e for e in graph.values())
    descriptor = graph["ro-crate-metadata.json"]
    assert (descriptor["@type"], descriptor["about"]) == ("CreativeWork", {"@id": "./"})
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = graph["./"]
    assert root["@type"] == "Dataset"
    assert root["conformsTo"] == {"@id": "https://w3id.org/ro/wfrun/process/0.5"}
    assert {"name", "description", "datePublished", "license"} <= set(root)
    assert root["datePublished"] == "2024-05-01T10:01:00+00:00"


def test_listed_files_exist_and_have_their_hash(folder: Path):
    graph = entities(describe(folder, [a_run(folder)]))
    parts = [graph[r["@id"]] for r in graph["./"]["hasPart"]]
    assert [p["name"] for p in parts] == ["measurements.csv", "suv map #1.nii.gz", "timelens.sqlite"]
    for part in parts:
        assert part["@type"] == "File"
        content = (folder / unquote(part["@id"])).read_bytes()
        if part["name"] != "timelens.sqlite":  # it goes on changing
            assert part["sha256"] == hashlib.sha256(content).hexdigest()
            assert part["contentSize"] == str(len(content))
    assert parts[1]["@id"] == "sub-001/suv%20map%20%231.nii.gz"
    assert parts[1]["encodingFormat"] == "application/gzip"


def test_the_action_names_inputs_parameters_and_results(folder: Path):
    run = a_run(folder)
    graph = entities(describe(folder, [run]))
    assert graph["./"]["mentions"] == [{"@id": f"#run-{run.id}"}]
    action = graph[f"#run-{run.id}"]
    assert action["@type"] == "CreateAction"
    assert (action["startTime"], action["endTime"]) == (run.started, run.ended)
    tool = graph[action["instrument"]["@id"]]
    assert (tool["@type"], tool["name"], tool["softwareVersion"]) == ("SoftwareApplication", "timelens", "0.1.0")
    assert [graph[r["@id"]]["name"] for r in tool["softwareRequirements"]] == ["numpy"]
    objects = [graph[r["@id"]] for r in action["object"]]
    image = objects[0]
    digest = hashlib.sha256(b"DICM").digest()
    assert image["sha256"] == digest.hex()
    assert image["@id"] == "ni:///sha-256;" + base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert image["name"] == "pet.dcm"
    values = {o["name"]: o["value"] for o in objects if o["@type"] == "PropertyValue"}
    assert values == {"threshold": 4.0, "rules": '["fixed"]', "fill": "NaN", "name of rule": "SUV 4", "random seed": 3}
    assert [r["@id"] for r in action["result"]] == [r["@id"] for r in graph["./"]["hasPart"]]


def test_each_run_claims_its_own_results(folder: Path):
    first, second = a_run(folder), a_run(folder, parameters={"threshold": 2.5})
    results = {first.id: ["measurements.csv"], second.id: [folder / "sub-001" / "suv map #1.nii.gz"]}
    graph = entities(describe(folder, [first, second], results=results))
    assert graph[f"#run-{first.id}"]["result"] == [{"@id": "measurements.csv"}]
    assert graph[f"#run-{second.id}"]["result"] == [{"@id": "sub-001/suv%20map%20%231.nii.gz"}]
    # The same image went into both.
    assert len([e for e in graph if e.startswith("ni:")]) == 1
    with pytest.raises(UsageError, match=r"not a file of the folder. File: elsewhere.csv"):
        describe(folder, [first], results={first.id: ["elsewhere.csv"]})


def test_two_runs_without_results_claim_nothing(folder: Path):
    runs = [a_run(folder), a_run(folder, seed=4)]
    graph = entities(describe(folder, runs))
    assert [graph[f"#run-{r.id}"]["result"] for r in runs] == [[], []]


def test_the_same_results_give_the_same_bytes(folder: Path):
    runs = [a_run(folder), a_run(folder, seed=4)]
    first = write_crate(folder, runs).read_bytes()
    assert write_crate(folder, reversed(runs)).read_bytes() == first
    assert not list(folder.glob(".ro-crate*"))


def test_an_empty_folder_without_runs_is_still_a_crate(tmp_path: Path):
    graph = entities(describe(tmp_path, [], licence="https://creativecommons.org/publicdomain/zero/1.0/"))
    assert graph["./"]["hasPart"] == graph["./"]["mentions"] == []
    assert graph["./"]["license"] == {"@id": "https://creativecommons.org/publicdomain/zero/1.0/"}
    assert len(graph["./"]["datePublished"]) == 10
