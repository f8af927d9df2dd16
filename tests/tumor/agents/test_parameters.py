"""Where the values of an agent come from, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import timelens.tumor.agents.parameters as module
from timelens.errors import DataError, MissingFieldError, UsageError
from timelens.knowledge import agents
from timelens.tumor.agents import agent_parameters, sieving

DATA = Path(module.__file__).parent / "data"


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="no such host"):
        agent_parameters("f18-fdg", "rat")
    with pytest.raises(UsageError, match="not known"):
        agent_parameters("no such agent", "mouse")
    with pytest.raises(UsageError, match="no such class"):
        agent_parameters("mine", "mouse", kind="potion")
    with pytest.raises(UsageError, match="no such value"):
        agent_parameters("f18-fdg", "mouse", overrides={"charm": 1.0})
    with pytest.raises(DataError, match="zero or more"):
        agent_parameters("f18-fdg", "mouse", overrides={"filtration": -1.0})
    with pytest.raises(MissingFieldError, match="lacks a value"):
        agent_parameters("f18-fdg", "mouse").get("lymph")
    never = next(a for a in agents.all_agents() if a.plasma_kinetics == "none")
    with pytest.raises(DataError, match="no physiology in blood"):
        agent_parameters(never, "mouse")


def test_own_values_go_before_the_record_and_that_before_the_class() -> None:
    fdg = agent_parameters("f18-fdg", "human", overrides={"ps.brain": 0.2})
    assert fdg.values["trapping.brain"].origin == "own"
    assert fdg.values["ps.brain"].origin == "given"
    assert fdg.values["bile"].origin == "class default"
    assert not any(line.startswith("trapping.brain") for line in fdg.defaults)
    assert any(line.startswith("bile = 1 1/h (chosen") for line in fdg.defaults)
    minibody = agent_parameters("zr89-crefmirlimab", "mouse")
    assert minibody.kind == "minibody" and minibody.values["mass"].origin == "record"
    assert minibody.values["filtration"].value == 0.0  # the record names only the liver
    peptide = agent_parameters("ga68-cbp8", "mouse")
    assert peptide.values["liver_uptake"].value == 0.0 and peptide.values["filtration"].value == 1.0


def test_an_agent_of_ones_own_needs_only_a_class() -> None:
    mine = agent_parameters("my fragment", "human", kind="fragment", overrides={"mass": 27.0})
    assert mine.agent == "my fragment"
    assert mine.get("filtration") == pytest.approx(sieving(27.0))


def test_sieving_falls_with_mass_through_the_published_points() -> None:
    masses = [1, 5, 15, 27, 45, 66, 80, 150]
    values = [sieving(m) for m in masses]
    assert values == sorted(values, reverse=True)
    assert sieving(15) == pytest.approx(0.8) and sieving(66) < 0.01 and sieving(300) == sieving(150)


@pytest.mark.parametrize("name", ["classes.csv", "own.csv", "physiology.csv"])
def test_every_value_has_a_unit_and_a_source(name: str) -> None:
    rows = list(csv.DictReader((DATA / name).read_text().splitlines()))
    assert len(rows) > 10
    for row in rows:
        assert None not in row and len(row["source"]) > 5, row
        assert float(row.get("value") or row["low"]) >= 0
    keys = [tuple(row.values())[:3] for row in rows]
    if name != "physiology.csv":
        assert len(set(keys)) == len(keys)


def test_own_values_belong_to_agents_on_record() -> None:
    rows = csv.DictReader((DATA / "own.csv").read_text().splitlines())
    assert {row["agent"] for row in rows} <= {a.id for a in agents.all_agents()}
