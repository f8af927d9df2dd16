"""Paths: how a component can be seen, in which order, and why."""

from __future__ import annotations

import pytest

from timelens.errors import UsageError
from timelens.knowledge import agents, components, paths
from timelens.knowledge.load import store


def test_m2_macrophages_are_seen_by_several_modalities():
    found = paths.ask("How can I see M2 macrophages?")
    assert found[0].component.id == "m2-macrophage"
    assert len({way for path in found for way in path.modalities}) >= 2
    assert {"direct", "by target"} & {path.way for path in found}


def test_paths_stand_in_order_and_say_why():
    found = paths.to("m2-macrophage")
    assert [path.score for path in found] == sorted((path.score for path in found), reverse=True)
    for path in found:
        assert path.reasons[0].startswith(("Used to see", "Sees"))
        assert path.reasons[1] == f"Stage: {path.agent.stage}."
        assert path.evidence == tuple(agents.evidence(path.agent))


def test_the_way_is_what_it_says():
    family = components.family("m2-macrophage")
    above = {each.id for each in components.ancestors("m2-macrophage")}
    for path in paths.to("m2-macrophage"):
        used = set(path.agent.components)
        if path.way == "direct":
            assert used & family
        elif path.way == "by target":
            assert not used & family
            assert path.targets
        else:
            assert used & above
            assert "does not tell" in path.reasons[0]


def test_a_modality_in_the_question_limits_the_answer():
    found = paths.ask("how can I see M2 macrophages by MRI")
    assert found
    assert all({"mri"} & set(path.modalities) or any("mri" in way for way in path.modalities) for path in found)


def test_a_species_leaves_out_what_does_not_bind():
    ids = {path.agent.id for path in paths.to("cd8-t-cell")}
    mouse = paths.to("cd8-t-cell", species="mouse")
    crefmirlimab = agents.get("89Zr-crefmirlimab").id
    assert crefmirlimab in ids
    assert crefmirlimab not in {path.agent.id for path in mouse}
    assert all("mouse target" in " ".join(path.reasons) for path in mouse)


def test_what_is_not_known_is_refused():
    with pytest.raises(UsageError, match="no record of the component"):
        paths.ask("how can I see the moon?")
    with pytest.raises(UsageError, match="no record of the component"):
        paths.to("")


def test_every_component_can_be_asked_for():
    for component in components.all_components():
        for path in paths.to(component.id):
            assert path.agent.id in store().agents.rows
