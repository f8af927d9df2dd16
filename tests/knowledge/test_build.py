"""Building the knowledge base: what is wrong is named, what is compiled is current and the same as the data."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from timelens.errors import DataError
from timelens.knowledge import build, load, records, schema

BASE = {
    "components": [{"id": "cell", "name": "Cell", "kind": "cell type", "targets": ["fap"]}],
    "targets": [{"id": "fap", "name": "FAP", "kind": "protease", "symbols": ["FAP"]}],
    "modalities": [{"id": "pet", "name": "PET", "family": "nuclear"}],
    "interventions": [{"id": "cut", "name": "Surgery", "kind": "surgery"}],
    "radionuclides": [
        {
            "id": "18F",
            "name": "fluorine-18",
            "element": "fluorine",
            "z": 9,
            "a": 18,
            "half_life_s": 6586.2,
            "half_life_as_published": "109.77(5) min",
            "half_life_source": "ENSDF",
            "branches": [{"mode": "beta+", "fraction": 0.9673, "source": "ENSDF"}],
        }
    ],
    "agents": [
        {
            "id": "f18-x",
            "name": "[18F]X-mab",
            "kind": "agent",
            "labels": ["radionuclide"],
            "nuclides": ["18F"],
            "targets": ["fap"],
            "components": ["cell"],
            "modalities": ["pet"],
            "evidence": ["shown"],
        }
    ],
}
EVIDENCE = (
    "id,basis,citation,section,identifier,level,species,shown\nshown,article,1;2,3.1,,human,human;mouse,It works.\n"
)
CODES = (
    "kind,scheme,value,srt,meaning,cid\nnuclide,SCT,77004003,C-111A1,^18^Fluorine,4020\nagent,DCM,1,,X-mab F^18^,4021\n"
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "agents").mkdir()
    write(tmp_path)
    (tmp_path / "evidence.csv").write_text(EVIDENCE)
    (tmp_path / "dicom_codes.csv").write_text(CODES)
    return tmp_path


def write(folder: Path, **changed: list[dict]) -> None:
    for name, rows in (BASE | changed).items():
        file = folder / ("agents/all.yaml" if name == "agents" else f"{name}.yaml")
        file.write_text(yaml.safe_dump(rows))


def compiled(folder: Path) -> load.Store:
    return load.from_text(build.compile_text(build.read_sources(folder)))


def agent(**changed) -> dict:
    return BASE["agents"][0] | changed


def test_a_small_base_compiles(folder):
    store = compiled(folder)
    assert store.agents.rows["f18-x"].nuclide == "18F"
    assert store.evidence["shown"] == records.Evidence(
        "shown", "article", "It works.", (1, 2), "3.1", "", "human", ("human", "mouse")
    )
    assert store.exact["18F|xmab"] == ["f18-x"]
    assert [code.about for code in store.codes] == ["nuclide:18F", "nuclide:18F", "agent:f18-x"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"agents": [agent(colour="red")]}, "f18-x.colour"),
        ({"agents": [agent(id="F 18")]}, "should match pattern"),
        ({"agents": [agent(stage="late")]}, "f18-x.stage"),
        ({"agents": [agent(name="")]}, "at least 1 character"),
        ({"agents": [agent(nuclides=["F18"])]}, "should match pattern"),
        ({"agents": [agent(nuclides=["18F", "11C"])]}, "one substance has one nuclide"),
        ({"agents": [agent(labels=[])]}, "has the label 'radionuclide'"),
        ({"agents": [agent(binds=["mouse"], does_not_bind=["mouse"])]}, "cannot both bind and not bind"),
        ({"agents": [agent(doses=[{"species": "human", "source": "x", "window_h": [2, 1]}])]}, "smaller to a larger"),
        ({"targets": [{**BASE["targets"][0], "copies_per_cell": [{"unit": "1", "source": "x"}]}]}, "at least one"),
        ({"targets": [{**BASE["targets"][0], "hgnc": ["3590"]}]}, "should match pattern"),
    ],
)
def test_a_wrong_field_is_named(folder, changed, message):
    write(folder, **changed)
    with pytest.raises(DataError, match=message):
        build.read_sources(folder)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"agents": [agent(targets=["fab"])]}, r"No such record among targets.*f18-x\.targets.*fab"),
        ({"agents": [agent(evidence=["shown", "unseen"])]}, "No such record among evidence.*unseen"),
        ({"agents": [agent(evidence=[])]}, "No record points to this evidence.*shown"),
        ({"agents": [agent(nuclides=["11C"], name="X")]}, "No such radionuclide.*11C"),
        ({"agents": [agent(synonyms=["68Ga-X-mab"])]}, "A name says another nuclide.*68Ga-X-mab"),
        ({"agents": [agent(), agent(id="f18-y")]}, "Several agents bear one name.*f18-x, f18-y"),
        ({"agents": [agent(), agent(name="[18F]Y")]}, "Two records have one id"),
        ({"components": [{**BASE["components"][0], "parent": "cell"}]}, "its own ancestor"),
        ({"modalities": [{**BASE["modalities"][0], "quantities": ["suv_maxx"]}]}, "No such quantity.*suv_maxx"),
    ],
)
def test_contradictions_across_records_are_named(folder, changed, message):
    write(folder, **changed)
    sources = build.read_sources(folder)
    with pytest.raises(DataError, match=message):
        build.compile_text(sources)


def test_one_molecule_with_two_labels_is_no_contradiction(folder):
    carbon = BASE["radionuclides"][0] | {"id": "11C", "name": "carbon-11"}
    twin = agent(id="c11-x", name="[11C]X-mab", nuclides=["11C"])
    write(folder, agents=[agent(), twin], radionuclides=[*BASE["radionuclides"], carbon])
    assert compiled(folder).vectors["xmab"] == ["c11-x", "f18-x"]


@pytest.mark.parametrize(("text", "message"), [("a: [", "is not YAML"), ("a: 1", "is a list of records")])
def test_a_broken_file_is_refused(folder, text, message):
    (folder / "targets.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        build.read_sources(folder)


def test_the_order_of_records_and_files_does_not_matter(folder):
    first = build.compile_text(build.read_sources(folder))
    second = agent(id="f18-y", name="[18F]Y-mab")
    write(folder, agents=[second, agent()])
    together = build.compile_text(build.read_sources(folder))
    write(folder)
    (folder / "agents" / "aaa.yaml").write_text(yaml.safe_dump([second]))
    assert build.compile_text(build.read_sources(folder)) == together != first


def test_another_version_is_refused():
    with pytest.raises(DataError, match="another version"):
        load.from_text(json.dumps({"version": 0}))


def test_the_compiled_file_is_current():
    text = build.compile_text(build.read_sources())
    assert (build.DATA / "compiled.json").read_text(encoding="utf-8") == text, "run: python -m timelens.knowledge.build"
    assert build.main(["--check"]) == 0


def test_main_writes_and_checks(folder, monkeypatch, capsys):
    monkeypatch.setattr(build, "DATA", folder)
    monkeypatch.setattr(build, "read_sources", lambda read=build.read_sources: read(folder))
    assert build.main(["--check"]) == 1
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0
    write(folder, agents=[agent(targets=["none-such"])])
    assert build.main([]) == 1
    assert "none-such" in capsys.readouterr().err


def test_every_record_survives_compilation():
    sources = build.read_sources()
    store = load.store()
    for kind in ("components", "targets", "agents", "modalities", "interventions"):
        rows = getattr(store, kind).rows
        for model in getattr(sources, kind):
            assert as_model(model) == records.as_dict(rows[model.id])
    for model in sources.radionuclides:
        assert as_model(model) == records.as_dict(store.nuclides.rows[model.id])
    for model in sources.evidence:
        assert as_model(model) == records.as_dict(store.evidence[model.id])


def as_model(model) -> dict:
    return model.model_dump(mode="json")


@pytest.mark.parametrize("name", schema.__all__)
def test_schema_and_records_have_the_same_fields(name):
    if name == "Code":
        pytest.skip("a DICOM code of the data, not a record")
    model, record = getattr(schema, name), getattr(records, name)
    fields = {each.name: each for each in dataclasses.fields(record)}
    assert set(model.model_fields) == set(fields)
    for key, field in model.model_fields.items():
        default = fields[key].default
        if fields[key].default_factory is not dataclasses.MISSING:
            default = fields[key].default_factory()
        expected = dataclasses.MISSING if field.is_required() else field.get_default(call_default_factory=True)
        assert default == expected, key


def test_loading_needs_neither_pydantic_nor_yaml():
    code = (
        "import sys; from timelens.knowledge import agents; agents.resolve('FDG'); "
        "print(sorted({'pydantic', 'yaml', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_data_can_be_compiled_elsewhere(tmp_path):
    shutil.copytree(build.DATA, tmp_path / "data")
    assert build.compile_text(build.read_sources(tmp_path / "data")) == build.compile_text(build.read_sources())
