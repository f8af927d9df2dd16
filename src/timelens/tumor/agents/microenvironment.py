"""Rate constants of an agent in a virtual tumour: its fields, and the agent's permeability, affinity and target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from timelens.tumor.agents.parameters import AgentParameters
from timelens.tumor.agents.rates import Affinity, TissueRates, tissue_rates
from timelens.tumor.microenvironment import Microenvironment

__all__ = ["rates_in"]


def rates_in(
    tumour: Microenvironment,
    agent: AgentParameters,
    targets: Sequence[str] = (),
    *,
    trapping: ArrayLike | None = None,
) -> TissueRates:
    """Rate constants in every voxel of a tumour.

    Parameters
    ----------
    tumour
        Its perfusion, vessels (surface, haematocrit), interstitial fluid, cells and targets.
    agent
        Its permeability and affinity. Labelled cells enter by extraction from the blood that flows through and stay,
        whatever the targets.
    targets
        What it binds; concentrations add up.
    trapping
        ``k3`` in 1/s of an agent that is trapped without binding; by default the agent's own rate
        (``trapping.tumour``) times the volume fraction of living cells.
    """
    flow, vessel = tumour.perfusion / 60.0, tumour.vessel_volume_fraction
    if agent.model == "cell":
        k1 = np.asarray(flow * agent.get("extraction_tumour"), np.float64)
        leaving = agent.get("release_tumour") / 3600.0 + agent.get("label_loss") / 86400.0
        none, ones = np.zeros(k1.shape), np.ones(k1.shape)
        return TissueRates(k1, leaving * ones, none, ones, vessel.astype(np.float64), none, Affinity.of(agent))
    sites = np.zeros(tumour.geometry.shape, np.float32)
    for each in targets:
        sites = sites + tumour.target_concentration(each)
    if trapping is None:
        trapping = tumour.cell_volume_fraction * (agent.get("trapping.tumour", 0.0) / 60.0)
    return tissue_rates(
        Affinity.of(agent),
        perfusion=flow,
        ps=tumour.ps(agent.get("permeability")) / 60.0,
        interstitial=tumour.interstitial_fraction,
        vessel=vessel,
        target=sites,
        trapping=trapping,
        blood_per_plasma=1 - tumour["haematocrit"] * (1 - agent.get("blood_cells", 0.0)),
    )
