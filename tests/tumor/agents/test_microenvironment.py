"""An agent in a virtual tumour: fields become rate constants, curves and truth."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.kinetics.frames import Frames
from timelens.study.geometry import Geometry
from timelens.tumor.agents import agent_parameters, default_times, rates_in, simulate_host, tissue_curves, tissue_truth
from timelens.tumor.host import reference_host


@pytest.fixture(scope="module")
def tumour():
    from timelens.tumor.architecture import INFLAMED
    from timelens.tumor.microenvironment import build

    return build(INFLAMED, Geometry.from_spacing((32, 32, 32), (0.5, 0.5, 0.5), frame="tumour"), 3)


def test_targets_become_k3(tumour) -> None:
    agent = agent_parameters("zr89-crefmirlimab", "human")
    rates = rates_in(tumour, agent, ["cd8a"])
    blank = rates_in(tumour, agent)
    sites = tumour.target_concentration("cd8a")
    np.testing.assert_allclose(rates.k3, agent.get("k_on") * sites / tumour.interstitial_fraction, rtol=1e-5)
    np.testing.assert_array_equal(blank.k3, 0)
    np.testing.assert_array_equal(blank.k1, rates.k1)
    assert (rates.k1 * 60 <= tumour.plasma_flow * 1.0001).all()
    assert (rates.k1 * 60 <= tumour.ps(agent.get("permeability")) * 1.0001).all()


def test_an_agent_that_binds_stays_where_its_target_is(tumour) -> None:
    host = reference_host("human")
    agent = agent_parameters("zr89-crefmirlimab", "human")
    curves = simulate_host(host, agent, default_times(86400.0))
    rates = rates_in(tumour, agent, ["cd8a"])
    frames = Frames([23.5 * 3600], [24 * 3600])
    nmol = 1.5e6 / agent.get("mass")  # 1.5 mg
    got = tissue_curves(rates, curves.time_s, curves.plasma, curves.blood, frames, nmol_per_unit=nmol, bound=True)
    inside = tumour.masks["tumour"] & (tumour.perfusion > 0)
    held = got.bound[0][inside] / got.total[0][inside]
    sites = tumour.target_concentration("cd8a")[inside]
    assert np.corrcoef(held, np.log(sites + 1e-3))[0, 1] > 0.5
    truth = tissue_truth(rates, got.occupancy)
    assert (truth.k_i >= 0).all() and (truth.k_i <= truth.k1 * 1.0001).all()
    assert truth.saturated.shape == tumour.geometry.shape


def test_fdg_is_trapped_by_living_cells(tumour) -> None:
    agent = agent_parameters("f18-fdg", "human")
    rates = rates_in(tumour, agent)
    expected = agent.get("trapping.tumour") / 60 * tumour.cell_volume_fraction
    np.testing.assert_allclose(rates.k3, expected, rtol=1e-5, atol=1e-12)


def test_labelled_cells_enter_with_the_blood_and_stay(tumour) -> None:
    agent = agent_parameters("zr89-car-t", "mouse")
    rates = rates_in(tumour, agent)
    np.testing.assert_allclose(rates.k1, tumour.perfusion / 60 * agent.get("extraction_tumour"), rtol=1e-6)
    curves = simulate_host(reference_host("mouse"), agent, default_times(3 * 86400.0))
    frames = Frames.instants([3600.0, 86400.0])
    got = tissue_curves(rates, curves.time_s, curves.plasma, curves.blood, frames)
    through = tumour.perfusion > np.median(tumour.perfusion)
    assert (got.total[1][through] > got.total[0][through]).all()
