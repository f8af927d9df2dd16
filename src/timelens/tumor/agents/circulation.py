"""The body as organs in a closed circulation: small molecules, peptides, fragments, particles and cells.

Venous blood goes through the lung to the arteries and through the organs back; stomach, intestine, pancreas and spleen
drain into the liver. Each organ has three pools: its blood; what the agent exchanges with (interstitial fluid, cells it
enters, or for labelled cells the places where they stay alive); and what is kept (trapped agent, macrophages, label of
dead cells). Filtered agent passes the tubules into the bladder or stays in the kidney; bile goes to the intestine's
contents; released label settles in bone or is excreted. Exchange is permeability-limited,
``PS (C_plasma - C_tissue)``, in series with the organ's blood flow.
"""

from __future__ import annotations

from dataclasses import dataclass

from timelens.engines.compartments.linear import Compartments
from timelens.tumor.agents.parameters import AgentParameters
from timelens.tumor.host.reference import PORTAL, Host, Organ

__all__ = ["BodyModel", "cell_body", "circulation_body"]

_MIN, _HOUR, _DAY = 60.0, 3600.0, 86400.0
#: 1/s: filtrate reaches the bladder after about three minutes.
_TUBULE = 1 / 180.0
#: Water of a cell-permeable agent per volume of tissue.
_TISSUE_WATER = 0.8


@dataclass(frozen=True)
class BodyModel:
    """Pools with their flows, and how they make up what is seen.

    Attributes
    ----------
    pools
        The compartments.
    given
        Pool that an intravenous agent enters.
    regions
        Region to pools and the share of each that lies in it; every pool is shared out exactly once.
    plasma
        The pool whose amount over its volume (mL) is the concentration in arterial plasma.
    blood_per_plasma
        Concentration in whole blood relative to plasma.
    """

    pools: Compartments
    given: str
    regions: dict[str, dict[str, float]]
    plasma: dict[str, float]
    blood_per_plasma: float


def circulation_body(host: Host, agent: AgentParameters) -> BodyModel:
    """The body for an agent that is dissolved or stays in blood."""
    ratio = (1 - host.haematocrit) + host.haematocrit * agent.get("blood_cells")
    pools = _pools(host)
    _blood_flow(pools, host)
    for organ in host.organs:
        plasma = organ.blood_ml * ratio  # volume that, times the concentration in plasma, gives the amount
        blood, tissue, kept = _names(organ.name)
        ps = agent.get(f"ps.{organ.name}", agent.get(f"ps_{organ.capillary}")) * organ.tissue_g / _MIN
        space = organ.interstitial + agent.get("cell_space") * (_TISSUE_WATER - organ.interstitial)
        if ps > 0:
            pools.exchange(blood, tissue, ps, (plasma, space * organ.tissue_ml))
            pools.flow(tissue, kept, _trapping(agent, organ) / _MIN)
        taken = {"liver": "res_liver", "spleen": "res_spleen", "bone marrow": "res_marrow"}.get(organ.name)
        uptake = agent.get(taken, 0.0) if taken else 0.0
        uptake += agent.get("liver_uptake") if organ.name == "liver" else 0.0
        pools.flow(blood, kept, uptake * organ.mass_g / _MIN / plasma)
        _release(pools, agent, kept)
    kidney, lung = host.organ("kidney"), host.organ("lung")
    if agent.get("liver_uptake") > 0:
        pools.flow(_names("liver")[2], "intestine contents", agent.get("bile") / _HOUR)
    filtered = agent.get("filtration") * host.filtration_ml_s / (kidney.blood_ml * ratio)
    retained = agent.get("kidney_retention")
    pools.flow(_names("kidney")[0], "tubules", filtered * (1 - retained))
    pools.flow(_names("kidney")[0], _names("kidney")[2], filtered * retained)
    exhaled = agent.get("exhalation", 0.0) * lung.mass_g / _MIN
    pools.flow(_names("lung")[0], "exhaled", exhaled / (lung.blood_ml * ratio))
    return BodyModel(pools, "veins", _regions(host), {"arteries": host.arterial_ml * ratio}, ratio)


def cell_body(host: Host, agent: AgentParameters) -> BodyModel:
    """The body for labelled cells: each organ holds back part of the cells that its blood brings, and lets them go.

    Compare the model of T cells by Khot 2019, doi:10.1124/jpet.118.252858. ``extraction`` is the part of cells that one
    passage removes; cells die at ``death``, their label stays where they lie.
    """
    pools = _pools(host)
    _blood_flow(pools, host)
    special = {"lung": "lung", "liver": "liver", "spleen": "spleen", "bone marrow": "marrow"}
    for organ in host.organs:
        blood, tissue, kept = _names(organ.name)
        place = special.get(organ.name, "other")
        extraction = agent.get(f"extraction_{place}")
        through = organ.flow_ml_s + _portal_flow(host, organ)
        pools.flow(blood, tissue, through * extraction / (1 - extraction) / organ.blood_ml)
        release = {"lung": "release_lung", "other": "release_other"}.get(place, "release_organ")
        pools.flow(tissue, blood, agent.get(release) / _HOUR)
        pools.flow(tissue, kept, agent.get("death") / _DAY)
        pools.flow(blood, _names("liver")[2], agent.get("death") / _DAY)
        _release(pools, agent, kept)
        _release(pools, agent, tissue, agent.get("label_loss") / _DAY)
    for vessel in ("arteries", "veins"):
        pools.flow(vessel, _names("liver")[2], agent.get("death") / _DAY)
    # Cells fill whole blood; "plasma" is blood here.
    return BodyModel(pools, "veins", _regions(host), {"arteries": host.arterial_ml}, 1.0)


def _names(organ: str) -> tuple[str, str, str]:
    return f"{organ} blood", f"{organ} tissue", f"{organ} kept"


def _pools(host: Host) -> Compartments:
    organs = [name for organ in host.organs for name in _names(organ.name)]
    return Compartments(["arteries", "veins", *organs, "tubules", "bladder", "intestine contents", "exhaled"])


def _portal_flow(host: Host, organ: Organ) -> float:
    return sum(host.organ(each).flow_ml_s for each in PORTAL) if organ.name == "liver" else 0.0


def _blood_flow(pools: Compartments, host: Host) -> None:
    output = host.cardiac_output_ml_s
    pools.flow("veins", "lung blood", output / host.venous_ml)
    pools.flow("lung blood", "arteries", output / host.organ("lung").blood_ml)
    for organ in host.organs:
        if organ.name == "lung":
            continue
        pools.flow("arteries", f"{organ.name} blood", organ.flow_ml_s / host.arterial_ml)
        away = organ.flow_ml_s + _portal_flow(host, organ)
        drains = "liver blood" if organ.name in PORTAL else "veins"
        pools.flow(f"{organ.name} blood", drains, away / organ.blood_ml)
    pools.flow("tubules", "bladder", _TUBULE)


def _trapping(agent: AgentParameters, organ: Organ) -> float:
    """Specific uptake in 1/min: the agent's own, or its class's in organs that the record names."""
    own = f"trapping.{organ.name}"
    if own in agent.values:
        return agent.get(own)
    has_own = any(name.startswith("trapping.") for name in agent.values)
    excreting = {"kidney", "intestine"} | ({"liver"} if agent.get("liver_uptake") > 0 else set())
    named = organ.name in agent.normal_uptake and organ.name not in excreting
    return agent.get("normal_uptake") if named and not has_own else 0.0


def _release(pools: Compartments, agent: AgentParameters, source: str, rate: float | None = None) -> None:
    """Label that leaves: part settles in bone, the rest is excreted."""
    leaving = agent.get("label_release") / _DAY if rate is None else rate
    bone = agent.get("bone_share")
    if source != "bone kept":
        pools.flow(source, "bone kept", leaving * bone)
        pools.flow(source, "bladder", leaving * (1 - bone))


def _regions(host: Host) -> dict[str, dict[str, float]]:
    regions = {organ.name: dict.fromkeys(_names(organ.name), 1.0) for organ in host.organs}
    regions["kidney"]["tubules"] = 1.0
    regions["blood"] = {"arteries": 1.0, "veins": 1.0}
    regions["bladder"] = {"bladder": 1.0}
    regions["intestine contents"] = {"intestine contents": 1.0}
    regions["exhaled"] = {"exhaled": 1.0}
    return regions
