"""Permeability of tumour vessels: one table, for classes of physiology and agents that exist, falling with size."""

from __future__ import annotations

import pytest

from timelens.errors import UsageError
from timelens.knowledge import agents, permeability
from timelens.tumor.agents import agent_parameters


def test_what_is_not_in_the_table_is_refused() -> None:
    assert permeability.find("virus") is None
    with pytest.raises(UsageError, match="No permeability is known"):
        permeability.get("virus")


def test_larger_agents_cross_more_slowly() -> None:
    order = ("small molecule", "peptide", "nanobody", "fragment", "minibody", "antibody", "nanoparticle", "cell")
    values = [permeability.get(kind).mm_per_s for kind in order]
    assert values == sorted(values, reverse=True)
    # Antibodies: 3e-7 cm/s (Thurber 2008, doi:10.1016/j.addr.2008.04.012).
    assert permeability.get("antibody").mm_per_s == 3e-6


def test_every_row_has_a_source_and_an_owner() -> None:
    for name in permeability.names():
        row = permeability.get(name)
        assert row.source
        if "-" in name:
            assert agents.get(name).id == name
        else:
            assert agent_parameters("x", "mouse", kind=name).get("permeability") == row.mm_per_s


def test_an_agent_takes_its_own_then_that_of_its_class_then_of_the_wider_class() -> None:
    own = agent_parameters("f18-fdg", "human").values["permeability"]
    assert (own.value, own.origin) == (5e-4, "own")
    wide = agent_parameters("x", "human", kind="affibody").values["permeability"]
    assert (wide.value, wide.origin) == (permeability.get("fragment").mm_per_s, "class default")
    assert agent_parameters("x", "human", kind="ion").get("permeability") == permeability.get("small molecule").mm_per_s
    said = agent_parameters("f18-fdg", "human", overrides={"permeability": 1e-3}).values["permeability"]
    assert (said.value, said.origin) == (1e-3, "given")
