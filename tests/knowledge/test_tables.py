"""Components, targets, modalities and interventions: found by any name, refused with what is near."""

from __future__ import annotations

import pytest

from timelens.errors import UsageError
from timelens.knowledge import components, interventions, modalities, targets
from timelens.knowledge.load import loose, store


@pytest.mark.parametrize(
    ("text", "same"), [("CXCR4", "cxcr4"), ("TNF-α", "tnf alpha"), ("αvβ6", "alpha-v-beta-6"), ("PD–L1", "pdl1")]
)
def test_loose_names(text, same):
    assert loose(text) == loose(same)


@pytest.mark.parametrize("kind", ["components", "targets", "modalities", "interventions"])
def test_every_record_is_found_by_its_id_and_pointers_hold(kind):
    table = getattr(store(), kind)
    assert table.rows
    for identifier, record in table.rows.items():
        assert table.get(identifier) is record


@pytest.mark.parametrize("module", [components, targets, modalities, interventions])
def test_what_is_not_there_is_refused(module):
    assert module.find("no such record") is None
    with pytest.raises(UsageError, match="There is no record"):
        module.get("no such record")


def test_near_names_are_proposed():
    with pytest.raises(UsageError, match="CXCR44") as caught:
        targets.get("CXCR44")
    assert "cxcr4" in caught.value.problem.mend


def test_targets_by_symbol_and_synonym():
    assert targets.get("CD206") is targets.get("MRC1") is targets.get("mrc1")
    assert targets.get("FAP").symbols == ("FAP",)


def test_plurals_of_components():
    assert components.get("M2 macrophages") is components.get("m2-macrophage")


def test_families():
    family = components.family("tam")
    assert {"tam", "m2-macrophage"} <= family
    assert {each.id for each in components.children("tam")} <= family
    assert "tam" in [each.id for each in components.ancestors("m2-macrophage")]


def test_hybrids_contain_their_parts():
    assert "pet" in modalities.containing("PET")
    for each in modalities.all_modalities():
        for part in each.parts:
            assert each.id in modalities.containing(part)


def test_all_lists_are_sorted_by_id():
    for rows in (components.all_components(), targets.all_targets(), interventions.all_interventions()):
        assert [row.id for row in rows] == sorted(row.id for row in rows)
