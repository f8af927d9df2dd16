"""Antibodies: the minimal physiological model of Cao, Balthasar and Jusko (2013, doi:10.1007/s10928-013-9332-2).

Plasma, interstitial fluid of tight tissue (muscle, skin, fat, brain) and of leaky tissue (all others), and lymph, are
joined by convection: ``L_i (1 - sigma_i) C_plasma`` goes out, ``L_i (1 - sigma_L) C_i`` returns with the lymph, which
flows back to plasma at ``L``. Antibody is broken down from plasma (their model A). Here the label of what was broken
down stays in the organs that did it (residualising), is released slowly and settles in bone or leaves with faeces; and
the four pools are shared out to organs: plasma by the organ's blood, interstitial antibody by its interstitial fluid.
"""

from __future__ import annotations

from timelens.engines.compartments.linear import Compartments
from timelens.tumor.agents.circulation import BodyModel
from timelens.tumor.agents.parameters import AgentParameters
from timelens.tumor.host.reference import Host

__all__ = ["TIGHT", "antibody_body"]

#: Tight tissues in the model of Cao 2013.
TIGHT = ("muscle", "skin", "adipose", "brain")
#: Behind the blood-brain barrier there is this part of what other tight tissue has.
_BARRIER = 0.02
#: g at which the volumes and flows of the table hold.
_WEIGHT = {"mouse": 20.0, "human": 70e3}
_HOUR, _DAY = 3600.0, 86400.0
_FLOW_POWER = 0.75


def antibody_body(host: Host, agent: AgentParameters) -> BodyModel:
    """The body for an antibody."""
    size = host.weight_g / _WEIGHT[host.species]
    pace = size**_FLOW_POWER
    plasma, lymph = agent.get("plasma") * size, agent.get("lymph") * size
    space = agent.get("interstitial") * agent.get("available_interstitium") * size
    volumes = {"tight": agent.get("tight_share") * space, "leaky": (1 - agent.get("tight_share")) * space}
    flow = agent.get("lymph_flow") / _HOUR * pace
    organs = {organ.name for organ in host.organs}
    names = ["plasma", "tight", "leaky", "lymph", *(f"{organ} kept" for organ in sorted(organs)), "intestine contents"]
    pools = Compartments(names)
    for kind, volume in volumes.items():
        share = agent.get("tight_lymph") if kind == "tight" else 1 - agent.get("tight_lymph")
        pools.flow("plasma", kind, share * flow * (1 - agent.get(f"reflection_{kind}")) / plasma)
        pools.flow(kind, "lymph", share * flow * (1 - agent.get("lymph_reflection")) / volume)
    pools.flow("lymph", "plasma", flow / lymph)
    clearance = agent.get("clearance") / _HOUR * pace / plasma
    for organ, share in _catabolism(host, agent).items():
        pools.flow("plasma", f"{organ} kept", clearance * share)
        leaving = agent.get("label_release") / _DAY
        if organ != "bone":
            pools.flow(f"{organ} kept", "bone kept", leaving * agent.get("bone_share"))
            pools.flow(f"{organ} kept", "intestine contents", leaving * (1 - agent.get("bone_share")))
    return BodyModel(pools, "plasma", _regions(host), {"plasma": plasma}, 1 - host.haematocrit)


def _catabolism(host: Host, agent: AgentParameters) -> dict[str, float]:
    """Share of each organ in the breakdown: four by their own values, the rest by interstitial fluid."""
    known = {"liver": "liver", "spleen": "spleen", "kidney": "kidney", "bone marrow": "marrow"}
    shares = {organ: agent.get(f"catabolism_{name}") for organ, name in known.items()}
    fluid = {o.name: _fluid(o.name, o.interstitial * o.tissue_ml) for o in host.organs if o.name not in known}
    left = 1 - sum(shares.values())
    total = sum(fluid.values())
    return shares | {name: left * each / total for name, each in fluid.items()}


def _fluid(organ: str, volume: float) -> float:
    return volume * _BARRIER if organ == "brain" else volume


def _regions(host: Host) -> dict[str, dict[str, float]]:
    regions: dict[str, dict[str, float]] = {organ.name: {f"{organ.name} kept": 1.0} for organ in host.organs}
    for organ in host.organs:
        regions[organ.name]["plasma"] = organ.blood_ml / host.blood_ml
    regions["blood"] = {"plasma": (host.arterial_ml + host.venous_ml) / host.blood_ml}
    for kind in ("tight", "leaky"):
        fluid = {
            o.name: _fluid(o.name, o.interstitial * o.tissue_ml)
            for o in host.organs
            if (o.name in TIGHT) == (kind == "tight")
        }
        for name, each in fluid.items():
            regions[name][kind] = each / sum(fluid.values())
    regions["rest"]["lymph"] = 1.0
    regions["intestine contents"] = {"intestine contents": 1.0}
    return regions
