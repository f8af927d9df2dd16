"""Agents: names resolve in every spelling, look-alikes never, and conditions are met."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from timelens.errors import DataError, UsageError
from timelens.knowledge import agents, components, nuclides
from timelens.knowledge.load import store
from timelens.knowledge.spelling import read

HERE = Path(__file__).parent


def table(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


SPELLINGS, LOOK_ALIKES = table("spellings.csv"), table("look_alikes.csv")
BY_NAME = {agent.name: agent for agent in agents.all_agents()}


def test_the_lists_are_long_enough():
    assert len({row["text"] for row in SPELLINGS}) >= 300
    assert len({row["text"] for row in LOOK_ALIKES}) >= 100
    assert {row["agent"] for row in SPELLINGS} | {row["is_not"] for row in LOOK_ALIKES} <= set(BY_NAME)


def test_every_spelling_resolves():
    wrong = {row["text"]: row["agent"] for row in SPELLINGS if agents.find(row["text"]) is not BY_NAME[row["agent"]]}
    assert wrong == {}


def test_no_look_alike_resolves():
    wrong = {}
    for row in LOOK_ALIKES:
        found = agents.find(row["text"])
        expected = BY_NAME[row["means"]] if row["means"] else None
        assert expected is not BY_NAME[row["is_not"]]
        if found is not expected:
            wrong[row["text"]] = found.name if found else None
    assert wrong == {}


def test_every_name_of_every_agent_resolves_to_it():
    for agent in agents.all_agents():
        for name in (agent.id, agent.name, *agent.synonyms):
            assert agents.find(name) is agent, name


def test_another_nuclide_is_never_the_same_agent():
    other = {"18F": "67Cu", "67Cu": "18F"}
    for agent in agents.all_agents():
        if agent.nuclide is None:
            continue
        for name in (*agent.vectors, *(core for each in (agent.name, *agent.synonyms) for core in read(each).cores)):
            strange = other.get(agent.nuclide, "67Cu")
            assert agents.find(f"{strange}-{name}") is not agent, name


def test_a_missing_letter_is_never_the_same_agent():
    for agent in agents.all_agents():
        for spelling in map(read, (agent.name, *agent.synonyms)):
            cut = spelling.core[:-1]
            label = spelling.nuclides[0] if spelling.nuclides else ""
            if cut and f"{label}|{cut}" not in store().exact:
                assert agents.find(f"{label} {cut}") is not agent, spelling


def test_a_molecule_alone_gives_candidates():
    found = agents.resolve("FAPI-46")
    assert found.record is None
    assert {agent.nuclide for agent in found.candidates} >= {"68Ga"}
    assert "does not say its label" in found.reason


def test_a_molecule_with_its_nuclide_from_elsewhere_is_found():
    assert agents.resolve("FAPI-46", nuclide="Ga-68").record is BY_NAME["[68Ga]Ga-FAPI-46"]


def test_a_nuclide_that_contradicts_the_name_gives_no_record():
    found = agents.resolve("[89Zr]Zr-atezolizumab", nuclide="18F")
    assert found.record is None
    assert found.candidates == (BY_NAME["[89Zr]Zr-atezolizumab"],)
    assert found.reason == "The name says 89Zr, the nuclide given is 18F."
    assert agents.resolve("zr89-atezolizumab", nuclide="18F").record is None


def test_a_strange_hint_is_refused():
    with pytest.raises(UsageError, match="This is no nuclide"):
        agents.resolve("FDG", nuclide="F-19000")


def test_nothing_known():
    found = agents.resolve("Zr-89 nosuchmab")
    assert (found.found, found.nuclide) == (False, "89Zr")
    with pytest.raises(UsageError, match="is not known"):
        agents.get("nosuchmab")
    with pytest.raises(UsageError, match="not told apart"):
        agents.get("FAPI-46")


def test_all_names_of_a_text_must_mean_the_same():
    assert agents.find("FDG -- fluorodeoxyglucose") is BY_NAME["[18F]FDG"]
    assert agents.find("FDG -- pentixafor") is None
    assert agents.find("FDG -- something") is None


SRT_FDG = ("C-B1031", "SRT", "Fluorodeoxyglucose F^18^")
SCT_F18 = ("77004003", "SCT", "^18^Fluorine")


def test_dicom_codes_name_the_agent():
    assert agents.from_dicom(agent_codes=[SRT_FDG]).record is BY_NAME["[18F]FDG"]
    assert (
        agents.from_dicom(agent_codes=[("35321007", "SCT", "")], nuclide_codes=[SCT_F18]).record is BY_NAME["[18F]FDG"]
    )
    assert agents.from_dicom("whatever", agent_codes=[("126516", "DCM", "")]).record is BY_NAME["[89Zr]Zr-bevacizumab"]


def test_the_nuclide_of_the_header_completes_the_name():
    found = agents.from_dicom("FAPI-46", nuclide_codes=[("C-131A3", "SNM3", "^68^Gallium")])
    assert found.record is BY_NAME["[68Ga]Ga-FAPI-46"]
    assert (
        agents.from_dicom("DFO-atezolizumab", nuclide_codes=[("", "", "89Zr")]).record
        is BY_NAME["[89Zr]Zr-atezolizumab"]
    )


def test_a_header_that_contradicts_itself_is_refused():
    with pytest.raises(DataError, match="contradicts its radiopharmaceutical") as caught:
        agents.from_dicom("[89Zr]Zr-atezolizumab", nuclide_codes=[SCT_F18])
    assert caught.value.problem.found == "18F with [89Zr]Zr-atezolizumab"
    with pytest.raises(DataError, match="contradicts"):
        agents.from_dicom("FDG", nuclide_codes=[("63360001", "SCT", "^89^Zirconium")])


def test_an_empty_header_names_no_agent():
    assert agents.from_dicom().reason == "The header names no agent."
    assert not agents.from_dicom("Solution").found


def test_search_meets_every_condition():
    found = agents.search(target="FAP", modality="PET", stage="clinical", nuclide="Ga-68")
    assert BY_NAME["[68Ga]Ga-FAPI-46"] in found
    for agent in found:
        assert "fap" in agent.targets
        assert agent.stage == "clinical"
        assert "68Ga" in agent.nuclides
    assert agents.search() != []
    assert agents.search("no such words") == []


def test_search_by_component_takes_subsets():
    assert set(agents.search(component="t-cell")) >= set(agents.search(component="cd8-t-cell"))
    family = components.family("t-cell")
    assert all(family & set(agent.components) for agent in agents.search(component="t-cell"))


def test_search_by_species_leaves_out_what_does_not_bind():
    crefmirlimab = BY_NAME["[89Zr]Zr-crefmirlimab berdoxam"]
    assert crefmirlimab in agents.search(species="human")
    assert crefmirlimab not in agents.search(species="mouse")


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"target": "NOSUCH"}, "no record of the target"),
        ({"component": "NOSUCH"}, "no record of the component"),
        ({"modality": "NOSUCH"}, "no record of the modality"),
        ({"stage": "late"}, "no such stage"),
        ({"nuclide": "Zr"}, "no nuclide"),
    ],
)
def test_unknown_conditions_are_refused(condition, message):
    with pytest.raises(UsageError, match=message):
        agents.search(**condition)


def test_the_best_evidence_stands_first():
    found = agents.search(modality="PET")
    points = [agents.strength(agent) for agent in found]
    assert points == sorted(points, reverse=True)
    assert found[0].stage == "clinical"


def test_evidence_is_found_for_every_agent_that_names_some():
    for agent in agents.all_agents():
        assert len(agents.evidence(agent)) == len(agent.evidence)


def test_nuclides_of_agents_have_data_or_are_stable():
    for agent in agents.all_agents():
        for label in agent.nuclides:
            assert nuclides.find(label) is not None or label in ("1H", "19F")
