"""Agents in hosts: nothing is lost, and the orders are those that were published."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import timelens.tumor.agents.parameters as module
from timelens.engines.kinetics.frames import Frames
from timelens.errors import DataError, UsageError
from timelens.knowledge import agents
from timelens.tumor.agents import (
    Affinity,
    LumpedTumour,
    agent_parameters,
    default_times,
    simulate_host,
    tissue_curves,
    tissue_rates,
)
from timelens.tumor.agents.parameters import _CLASSES
from timelens.tumor.host import reference_host

HOUR, DAY = 3600.0, 86400.0
HOSTS = {species: reference_host(species) for species in ("mouse", "human")}
KNOWN = [a for a in agents.all_agents() if a.vector_class in _CLASSES and a.plasma_kinetics != "none"]
PHYSIOLOGY = list(csv.DictReader((Path(module.__file__).parent / "data/physiology.csv").read_text().splitlines()))
TIMES = default_times(8 * DAY, count=120)


@pytest.fixture(scope="module")
def cached():
    store = {}

    def get(agent: str, species: str):
        if (agent, species) not in store:
            store[agent, species] = simulate_host(HOSTS[species], agent, TIMES)
        return store[agent, species]

    return get


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="Times must ascend"):
        simulate_host(HOSTS["mouse"], "f18-fdg", [10.0, 0.0])
    with pytest.raises(DataError, match="Host and agent differ"):
        simulate_host(HOSTS["mouse"], agent_parameters("f18-fdg", "human"), [0.0])
    with pytest.raises(UsageError, match="belong into agent_parameters"):
        simulate_host(HOSTS["mouse"], agent_parameters("f18-fdg", "mouse"), [0.0], overrides={"bile": 1.0})
    with pytest.raises(DataError, match="need an end"):
        default_times(0.0)
    curves = simulate_host(HOSTS["mouse"], "f18-fdg", [0.0, 1.0])
    with pytest.raises(UsageError, match="no such region"):
        curves.suv("tail")
    with pytest.raises(UsageError, match="name of its own"):
        simulate_host(HOSTS["mouse"], "f18-fdg", [0.0], tumours={"liver": LumpedTumour(1.0, 1e-3, 1e-3)})


def test_there_is_a_physiology_for_every_agent_with_a_class_of_kinetics() -> None:
    given_in_blood = [a for a in agents.all_agents() if a.plasma_kinetics not in (None, "none")]
    assert len(given_in_blood) > 100
    assert {a.id for a in given_in_blood} <= {a.id for a in KNOWN}


@pytest.mark.parametrize("species", ["mouse", "human"])
def test_every_agent_is_kept_to_the_last_bit(species: str) -> None:
    for agent in KNOWN:
        curves = simulate_host(HOSTS[species], agent, [0.0, 7.0, 600.0, 2e4, 6e5])
        np.testing.assert_allclose(curves.total, 1.0, rtol=1e-9, err_msg=agent.id)
        assert all(values.min() >= 0 for values in curves.amount.values()), agent.id
        assert curves.defaults and all(np.isfinite(curves.plasma)), agent.id


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([a.id for a in KNOWN]),
    st.sampled_from(["mouse", "human"]),
    st.lists(st.floats(0, 7), min_size=1, max_size=4),
    st.floats(0, 4),
    st.floats(0.7, 1.6),
)
def test_nothing_is_lost_at_any_time(agent: str, species: str, powers: list[float], over: float, size: float) -> None:
    host = reference_host(species, weight_g=size * HOSTS[species].weight_g)
    times = np.sort(10.0 ** np.array(powers))
    tumour = LumpedTumour(0.02 * host.weight_g, 1e-3, 2e-3, 1e-3, 1e-4, 1e-5)
    curves = simulate_host(host, agent, times, infusion_s=10**over - 1, tumours={"tumour": tumour})
    np.testing.assert_allclose(curves.total, curves.given, rtol=1e-6)
    assert all(values.min() >= 0 for values in curves.amount.values())


@pytest.mark.parametrize("row", PHYSIOLOGY, ids=lambda r: f"{r['agent']}-{r['species']}-{r['region']}-{r['time_h']}h")
def test_published_orders(row: dict[str, str], cached) -> None:
    curves = cached(row["agent"], row["species"])
    time, region = float(row["time_h"]) * HOUR, row["region"]
    if row["quantity"] == "half_life_h":
        now, later = (curves.at(t, curves.blood) for t in (time, 1.2 * time))
        value = 0.2 * time / HOUR * np.log(2) / np.log(now / later)
    elif row["quantity"] == "percent_given":
        value = 100 * curves.at(time, curves.amount_in(region))
    else:
        value = curves.at(time, getattr(curves, row["quantity"])(region))
    assert float(row["low"]) <= value <= float(row["high"])


def test_labelled_cells_go_from_the_lung_to_liver_and_spleen(cached) -> None:
    curves = cached("zr89-car-t", "human")
    lung, liver, spleen = (curves.amount[each] for each in ("lung", "liver", "spleen"))
    early, late = np.searchsorted(TIMES, [HOUR, 2 * DAY])
    assert lung[early] > 3 * liver[early] and liver[late] > 3 * lung[late]
    assert spleen[late] > 2 * spleen[early]


def test_the_antibody_model_is_that_of_cao() -> None:
    """Equations 1 to 4 of Cao 2013 (7E3 in a 20 g mouse, table 1), integrated by another solver."""
    from scipy.integrate import solve_ivp

    own = {"reflection_tight": 0.95, "reflection_leaky": 0.421, "clearance": 0.00499}
    host = reference_host("mouse", weight_g=20)
    times = np.array([0.0, 0.1, 1.0, 3.0, 12.0]) * DAY
    curves = simulate_host(host, "zr89-trastuzumab", times, overrides=own)
    vp, isf, flow, kp = 0.85, 4.35, 2.88, 0.8
    tight, leaky = 0.65 * isf * kp, 0.35 * isf * kp
    l1, l2 = 0.33 * flow, 0.67 * flow

    def slope(_: float, c: np.ndarray) -> list[float]:
        plasma, one, two, lymph = c
        out1, out2 = plasma * l1 * (1 - 0.95), plasma * l2 * (1 - 0.421)
        back1, back2 = l1 * 0.8 * one, l2 * 0.8 * two
        return [
            (lymph * flow - out1 - out2 - plasma * 0.00499 * 24) / vp,
            (out1 - back1) / tight, (out2 - back2) / leaky, (back1 + back2 - lymph * flow) / vp,
        ]  # fmt: skip

    solution = solve_ivp(slope, (0, 12), [1 / vp, 0, 0, 0], t_eval=times / DAY, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(curves.plasma, solution.y[0], rtol=1e-6)


def test_a_bolus_reaches_the_arteries_through_the_lung() -> None:
    curves = simulate_host(HOSTS["human"], "f18-fdg", np.arange(0.0, 120.0, 1.0))
    assert curves.plasma[0] == 0.0 and 3 < np.argmax(curves.plasma) < 40


def test_a_large_tumour_takes_from_the_host_what_its_voxels_hold() -> None:
    """A uniform tumour as one pool and as voxels fed by the plasma that is left: the same amount."""
    host = HOSTS["mouse"]
    agent = agent_parameters("zr89-trastuzumab", "mouse")
    rates = tissue_rates(
        Affinity.of(agent), perfusion=5e-3, ps=6e-5, interstitial=0.3, vessel=0.0, target=np.full(4, 30.0)
    )
    times = default_times(5 * DAY, count=400)
    lumped = LumpedTumour.of(rates, 0.1)
    curves = simulate_host(host, agent, times, tumours={"tumour": lumped})
    alone = simulate_host(host, agent, times)
    assert curves.plasma[-1] < 0.8 * alone.plasma[-1]
    frames = Frames.instants(times[[100, 250, 399]])
    voxels = tissue_curves(rates, times, curves.plasma, curves.blood, frames)
    np.testing.assert_allclose(voxels.total.sum(axis=1) * 0.1, curves.amount["tumour"][[100, 250, 399]], rtol=2e-4)
