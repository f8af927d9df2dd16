"""The knowledge base against the tables drawn from the review article: every row is there, or is listed with a reason.

The tables lie beside the published reference data (``seed`` beside ``data``). Without them the first half is skipped;
the facts of the second half need only the knowledge base.
"""

from __future__ import annotations

import csv
import re
from importlib import resources
from pathlib import Path

import pytest

from timelens.knowledge import agents, components, interventions, modalities, nuclides, targets
from timelens.knowledge.spelling import read

Row = dict[str, str]

NOT_INCLUDED = {
    row["row"]: row["reason"]
    for row in csv.DictReader(
        resources.files("timelens.knowledge").joinpath("data/not_included.csv").read_text(encoding="utf-8").splitlines()
    )
}

#: Words of the modality column, and the modality that must then stand in the record.
MODALITY_WORDS = {
    "PET": "pet", "PET/CT": "pet", "PET-CT": "pet", "PET reporter": "pet", "SPECT": "spect", "SPECT/CT": "spect",
    "scintigraphy": "scintigraphy", "FLI": "fluorescence", "NIRF": "nirf", "BLI": "bioluminescence", "BLT": "blt",
    "FMT": "fmt", "FLT": "fmt", "CT": "ct", "MRI": "mri", "DCE": "dce-mri", "DSC": "dsc-mri", "PAI": "photoacoustic",
    "PTI": "photothermal", "photothermal": "photothermal", "XFI": "xfi", "MPI": "mpi", "SERS": "raman",
    "IMC": "imaging-mass-cytometry", "19F MRI": "fluorine-19-mri", "Cerenkov": "cerenkov", "DTI": "diffusion-mri",
    "fMRI": "fmri", "ultrasound": "ultrasound", "focused ultrasound": "focused-ultrasound",
    "spatial molecular imaging": "spatial-transcriptomics",
}  # fmt: skip


@pytest.fixture(scope="module")
def seed(shared_data: Path) -> Path:
    folder = shared_data.parent / "seed"
    if not folder.is_dir():
        pytest.skip(f"the tables drawn from the article were not found at {folder}")
    return folder


def rows(folder: Path, name: str) -> list[Row]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def owners(records: list) -> dict[str, list]:
    found: dict[str, list] = {}
    for record in records:
        for row in record.article_rows:
            found.setdefault(row, []).append(record)
    return found


AGENTS, COMPONENTS = owners(agents.all_agents()), owners(components.all_components())
INTERVENTIONS = owners(interventions.all_interventions())


def missing(names: list[str], found: dict[str, list]) -> list[str]:
    return [name for name in names if name not in found and name not in NOT_INCLUDED]


def test_every_agent_component_and_intervention_of_the_tables_is_there(seed: Path):
    table = [row["id"] for row in rows(seed, "agents")]
    assert len(table) >= 117
    assert missing(table, AGENTS) == []
    table = [row["id"] for row in rows(seed, "components")]
    assert len(table) >= 128
    assert missing(table, COMPONENTS) == []
    table = [row["intervention"] for row in rows(seed, "interventions")]
    assert len(table) >= 39
    assert missing(table, INTERVENTIONS) == []


def test_a_row_belongs_to_one_record_and_exists_in_the_tables(seed: Path):
    for name, column, found in (
        ("agents", "id", AGENTS),
        ("components", "id", COMPONENTS),
        ("interventions", "intervention", INTERVENTIONS),
    ):
        assert {row: len(records) for row, records in found.items() if len(records) > 1} == {}
        assert set(found) <= {row[column] for row in rows(seed, name)}


def test_citations_and_sections_of_the_tables_stand_in_the_evidence(seed: Path):
    wrong = {}
    for name, column, found in (
        ("agents", "id", AGENTS),
        ("components", "id", COMPONENTS),
        ("interventions", "intervention", INTERVENTIONS),
    ):
        for row in rows(seed, name):
            evidence = agents.evidence(found[row[column]][0])
            cited = {number for one in evidence for number in one.citation}
            expected = {int(number) for number in re.findall(r"\d+", row["ref_number"])}
            sections = {each.strip() for one in evidence for each in one.section.split(";")}
            if not expected <= cited or not {each.strip() for each in row["section"].split(";")} <= sections:
                wrong[row[column]] = (expected - cited, row["section"], sections)
    assert wrong == {}


def test_nuclides_of_the_table_are_those_of_the_records(seed: Path):
    wrong = {}
    for row in rows(seed, "agents"):
        label = row["radionuclide_or_reporter_or_contrast"]
        if label.startswith("not stated"):
            continue
        expected = set(re.findall(r"\b\d{1,3}m?(?:F|I|Zr|Ga|Cu|Lu|Tc|In|H)\b", label))
        if expected != set(AGENTS[row["id"]][0].nuclides):
            wrong[row["id"]] = (label, AGENTS[row["id"]][0].nuclides)
    assert wrong == {}


def test_modalities_of_the_table_are_those_of_the_records(seed: Path):
    wrong = {}
    for row in rows(seed, "agents"):
        if "not stated" in row["modality"] or "proposed" in row["modality"]:
            continue
        words = {word.strip() for word in re.split(r"[;,]", re.sub(r"\(.*?\)", "", row["modality"]))}
        expected = {MODALITY_WORDS[word] for word in words if word in MODALITY_WORDS}
        have = set(AGENTS[row["id"]][0].modalities)
        # A special MRI or contrast ultrasound is the finer word for the same thing.
        have |= {"mri"} if any(each.endswith("-mri") for each in have) else set()
        have |= {"ultrasound"} if have & {"ceus", "focused-ultrasound"} else set()
        if not expected <= have:
            wrong[row["id"]] = (row["modality"], sorted(have))
    assert wrong == {}


def test_patients_and_mice_of_the_table_are_in_the_records(seed: Path):
    for row in rows(seed, "agents"):
        record, said = AGENTS[row["id"]][0], row["species_stage"]
        if said.startswith("clinical (") or said == "clinical":
            assert record.stage == "clinical", row["id"]
        if "mouse stated" in said or "mice stated" in said:
            assert "mouse" in record.imaged_in, row["id"]
            assert record.stage in ("preclinical", "clinical"), row["id"]
        if said == "in silico":
            assert record.stage == "in silico", row["id"]


def sees(agent: agents.Agent, component: components.Component) -> bool:
    """Whether an agent leads to a component: by itself, its family, what it is part of, or a target that it carries."""
    family = components.family(component.id)
    around = family | {each.id for each in components.ancestors(component.id)}
    carried = {target for each in family for target in components.get(each).targets}
    carried |= {each.id for each in targets.all_targets() if family & set(each.components)}
    return bool(around & set(agent.components) or carried & set(agent.targets))


def test_agents_of_the_component_table_lead_to_their_component(seed: Path):
    unseen, needless = [], []
    for row in rows(seed, "components"):
        for agent in filter(None, row["imaging_agent_ids"].split(";")):
            pair = f"{row['id']}/{agent}"
            if sees(AGENTS[agent][0], COMPONENTS[row["id"]][0]):
                needless += [pair] if pair in NOT_INCLUDED else []
            elif pair not in NOT_INCLUDED:
                unseen.append(pair)
    assert unseen == []
    assert needless == []


def test_what_is_not_included_exists_and_has_a_reason(seed: Path):
    known = {row["id"] for name in ("agents", "components") for row in rows(seed, name)}
    known |= {row["intervention"] for row in rows(seed, "interventions")}
    for entry, reason in NOT_INCLUDED.items():
        assert entry in known or set(entry.split("/")) <= known, entry
        assert len(reason.split()) >= 5, entry


def test_names_of_the_article_lead_to_their_record(seed: Path):
    lost, wrong = [], {}
    for row in rows(seed, "agents"):
        found = [agents.find(name) for name in (*row["name_as_written"].split("; "), row["normalized_name"])]
        for record in filter(None, found):
            if row["id"] not in record.article_rows:
                wrong[row["id"]] = record.id
        if not any(found) and row["kind"] not in ("class", "implied"):
            lost.append(row["name_as_written"])
    assert wrong == {}
    assert lost == []


def test_half_lives_of_the_table_are_those_of_the_evaluations(seed: Path):
    seconds = {"min": 60.0, "h": 3600.0, "d": 86400.0}
    for row in rows(seed, "radionuclides"):
        value, unit = row["half_life"].split()
        found = nuclides.get(row["nuclide"]).half_life_s
        assert found == pytest.approx(float(value) * seconds[unit], rel=0.005), row["nuclide"]


# Facts that need no table.

#: Where the article is not to be followed: the record, words of what it says, words of what is known.
DOUBTS = [
    ("miltuximab-irdye800cw", "B cells", "glypican-1"),
    ("zr89-oxine-msctrail", "indium", "89Zr-oxine"),
    ("zr89-atezolizumab", "cytokine", "membrane ligand"),
    ("anti-pd-l1-antibody-class", "cytokine", "membrane ligand"),
    ("sdio", "not expanded", "MSR1"),
    ("ct-mri-flt-hybrid", "FLT", "fluorescence tomography"),
    ("in111-oxine", "without mass number", "Indium-111"),
    ("in111-oxine-dc", "without mass number", "Indium-111"),
    ("car-nk-her2-nis", "patients", "NK-92"),
    ("xfi-t-cell", "T cells within tumours", "Monte-Carlo"),
    ("cd69-pet-tracer", "B cells", "T, NK and B"),
    ("lu177-psma-617", "fibroblasts", "prostate cancer cells"),
    ("cd8-minibody-brain", "are not given", "crefmirlimab"),
    ("ga68-cxcr4-ligand", "not given", "pentixafor"),
    ("cu64-dapta-comb", "tumour", "atherosclerosis"),
]


@pytest.mark.parametrize(("record", "article", "known"), DOUBTS)
def test_doubtful_statements_keep_both_sides_and_a_source(record: str, article: str, known: str):
    doubts = agents.get(record).doubts
    assert any(article in doubt.article_says and known in doubt.correct for doubt in doubts)
    assert all(doubt.source for doubt in doubts)


@pytest.mark.parametrize("record", ["f18-cxcr3", "cu64-dapta-comb", "cmklr1-pet-tracer", "gnr-sn-gel"])
def test_examples_outside_tumour_say_so(record: str):
    assert any("utside tumour" in caution for caution in agents.get(record).cautions)


def test_pd_l1_is_a_membrane_ligand():
    record = targets.get("PD-L1")
    assert (record.kind, record.location, record.symbols) == ("ligand", ("cell membrane",), ("CD274",))
    assert "cytokine" in record.doubts[0].article_says


def test_the_nuclide_in_a_name_is_the_nuclide_of_the_record():
    wrong = {}
    for agent in agents.all_agents():
        if agent.kind in ("class", "implied"):
            continue
        for name in (agent.name, *agent.synonyms):
            said = set(read(name).nuclides)
            if said and not said <= set(agent.nuclides):
                wrong[name] = agent.nuclides
    assert wrong == {}


def test_general_knowledge_is_marked_and_public_rows_are_sourced():
    for agent in agents.all_agents():
        if not agent.article_rows:
            assert agent.basis in ("general", "public"), agent.id
        if agent.basis == "public":
            assert any(one.identifier for one in agents.evidence(agent)), agent.id


COMMON = [
    ("89Zr-crefmirlimab berdoxam", "cd8a", "89Zr"),
    ("89Zr-Df-IAB22M2C", "cd8a", "89Zr"),
    ("68Ga-NOTA-hGZP", "gzmb", "68Ga"),
    ("18F-DPA-714", "tspo", "18F"),
    ("11C-PBR28", "tspo", "11C"),
    ("68Ga-FAPI-04", "fap", "68Ga"),
    ("68Ga-FAPI-46", "fap", "68Ga"),
    ("18F-FAPI-74", "fap", "18F"),
    ("177Lu-FAPI-46", "fap", "177Lu"),
    ("68Ga-pentixafor", "cxcr4", "68Ga"),
    ("18F-AraG", "dguok", "18F"),
    ("89Zr-atezolizumab", "cd274", "89Zr"),
    ("18F-BMS-986192", "cd274", "18F"),
    ("89Zr-nivolumab", "pdcd1", "89Zr"),
    ("89Zr-pembrolizumab", "pdcd1", "89Zr"),
    ("64Cu-DOTATATE", "sstr2", "64Cu"),
    ("68Ga-DOTATATE", "sstr2", "68Ga"),
    ("18F-FDG", "slc2a1", "18F"),
    ("18F-FMISO", "hypoxia", "18F"),
    ("18F-FAZA", "hypoxia", "18F"),
    ("64Cu-ATSM", "hypoxia", "64Cu"),
    ("99mTc-tilmanocept", "mrc1", "99mTc"),
    ("99mTc-IL2", "il2ra", "99mTc"),
    ("18F-FB-IL2", "il2ra", "18F"),
    ("68Ga-RGD", "itgav-itgb3", "68Ga"),
    ("18F-galacto-RGD", "itgav-itgb3", "18F"),
    ("89Zr-bevacizumab", "vegfa", "89Zr"),
]


@pytest.mark.parametrize(("name", "target", "nuclide"), COMMON)
def test_widely_used_agents_are_there(name: str, target: str, nuclide: str):
    record = agents.get(name)
    assert target in record.targets
    assert record.nuclides == (nuclide,)


def test_species_of_the_target_are_kept_apart():
    assert "mouse" in agents.get("89Zr-crefmirlimab").does_not_bind
    assert agents.get("zr89-169-cdb").binds == ("mouse",)
    assert "mouse" in agents.get("89Zr-atezolizumab").binds
    assert {"mouse"} <= set(agents.get("89Zr-nivolumab").does_not_bind)
    assert "mouse" in agents.get("68Ga-pentixafor").does_not_bind


def test_usual_activities_and_windows():
    fdg = next(dose for dose in agents.get("FDG").doses if dose.species == "human")
    assert tuple(fdg.activity_mbq) == (185, 370)
    assert fdg.window_h[0] <= 1 <= fdg.window_h[1]
    atezolizumab = agents.get("89Zr-atezolizumab").doses[0]
    assert tuple(atezolizumab.activity_mbq) == (37, 37)
    assert 96 <= atezolizumab.window_h[0] <= atezolizumab.window_h[1] <= 168


def test_a_dose_and_a_count_name_their_source():
    for agent in agents.all_agents():
        assert all(dose.source for dose in agent.doses), agent.id
    for target in targets.all_targets():
        assert all(amount.source for amount in (*target.copies_per_cell, *target.concentration)), target.id


def test_every_modality_is_seen_by_an_agent_or_is_a_whole_of_parts():
    used = {modality for agent in agents.all_agents() for modality in agent.modalities}
    unused = [one.id for one in modalities.all_modalities() if one.id not in used and not one.parts]
    # They see tissue itself and need no agent.
    assert sorted(unused) == ["elastography", "oct", "rcm"]
