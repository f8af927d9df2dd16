"""From tissue and agent to rate constants, and to the truth that an image is held against.

Vessel surface belongs to the tumour, permeability to the agent: ``PS = surface x permeability``. With the flow ``F`` of
what carries the agent (blood times its concentration relative to plasma) the clearance into tissue is
``K1 = F (1 - exp(-PS / F))`` (Renkin 1959, doi:10.1152/ajplegacy.1959.197.6.1205; Crone 1963,
doi:10.1111/j.1748-1716.1963.tb02652.x). What is free fills the part ``v`` of the tissue, so ``k2 = K1 / v`` and, in the
tracer limit, ``k3 = k_on B / v`` with the target ``B`` per volume of tissue, ``k4 = k_off``. All per volume of whole
tissue, vessels included; seconds and mL.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import DataError, UsageError
from timelens.tumor.agents.parameters import AgentParameters

__all__ = ["OCCUPANCY_LIMIT", "Affinity", "TissueRates", "TissueTruth", "tissue_rates", "tissue_truth"]

#: Above this occupancy k3 changes in time, and the tracer limit no longer describes the tissue.
OCCUPANCY_LIMIT = 0.05
#: Water of a cell-permeable agent per volume of tissue.
_TISSUE_WATER = 0.8

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Affinity:
    """How an agent behaves once it is out of the vessels.

    Attributes
    ----------
    k_on
        L/nmol/s.
    k_off, k_int, k_loss
        1/s: dissociation, internalisation, loss of label after it (out of the tissue).
    cell_space
        0: stays between cells; 1: fills the water of cells too.
    """

    k_on: float
    k_off: float
    k_int: float = 0.0
    k_loss: float = 0.0
    cell_space: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not (np.isfinite(value) and value >= 0):
                raise DataError("A rate constant must be zero or more", field=each.name, found=value)

    @classmethod
    def of(cls, agent: AgentParameters) -> Affinity:
        """That of an agent."""
        rates = {name: agent.get(name, 0.0) for name in ("k_on", "k_off", "k_int", "k_loss", "cell_space")}
        return cls(**rates)


@dataclass(frozen=True, eq=False)
class TissueRates:
    """Rate constants per voxel; arrays of one shape.

    Attributes
    ----------
    k1
        mL/s/mL of tissue.
    k2, k3
        1/s; ``k3`` with all target free.
    space
        Part of the tissue that free agent fills.
    vessel
        Volume fraction of vessels.
    target
        nmol/L of tissue.
    affinity
        The rest, the same everywhere.
    """

    k1: Floats
    k2: Floats
    k3: Floats
    space: Floats
    vessel: Floats
    target: Floats
    affinity: Affinity

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the voxels."""
        return self.k1.shape


def tissue_rates(
    affinity: Affinity,
    *,
    perfusion: ArrayLike,
    ps: ArrayLike,
    interstitial: ArrayLike,
    vessel: ArrayLike,
    target: ArrayLike = 0.0,
    trapping: ArrayLike = 0.0,
    blood_per_plasma: ArrayLike = 0.55,
) -> TissueRates:
    """Rate constants from what the tissue is and what the agent does.

    Parameters
    ----------
    affinity
        Of the agent.
    perfusion
        Blood flow, mL/s/mL.
    ps
        Permeability-surface product, mL/s/mL: permeability in mm/s times surface in mm2/mm3.
    interstitial, vessel
        Volume fractions.
    target
        Binding sites, nmol/L of tissue.
    trapping
        ``k3`` of an agent that is trapped without binding (1/s), such as FDG; only with ``k_on`` zero.
    blood_per_plasma
        Concentration in whole blood over that in plasma: one minus the haematocrit where cells take up nothing.

    Raises
    ------
    DataError
        If a field is negative or not finite, vessels and interstitium exceed the tissue, or binding and trapping meet.
    """
    given = {
        "perfusion": perfusion, "ps": ps, "interstitial": interstitial, "vessel": vessel, "target": target,
        "trapping": trapping,
    }  # fmt: skip
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in given.items()}
    for name, value in arrays.items():
        if not (np.isfinite(value).all() and (value >= 0).all()):
            raise DataError("A field must be finite and not negative", field=name, found=float(np.min(value)))
    flow, leak, fluid, blood, sites, trapped = np.broadcast_arrays(*arrays.values())
    if ((fluid + blood) > 1 + 1e-9).any() or ((fluid <= 0) & (leak > 0) & (flow > 0)).any():
        raise DataError(
            "Vessels and interstitium do not fit into the tissue",
            field="interstitial",
            found=f"{fluid.min():g} to {fluid.max():g}, with vessels {(fluid + blood).max():g}",
            expected="above 0, together at most 1",
        )
    if affinity.k_on > 0 and trapped.any():
        raise UsageError("An agent binds or is trapped", field="trapping", expected="k_on = 0 beside trapping")
    carried = flow * np.asarray(blood_per_plasma, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        k1 = np.where(carried > 0, carried * -np.expm1(-leak / carried), 0.0)
        space = fluid + affinity.cell_space * np.maximum(_TISSUE_WATER - fluid, 0.0)
        k2 = np.where(k1 > 0, k1 / space, 0.0)
        k3 = np.where(space > 0, affinity.k_on * sites / space, 0.0) + trapped
    return TissueRates(k1, k2, k3, space, np.array(blood), np.array(sites), affinity)


@dataclass(frozen=True, eq=False)
class TissueTruth:
    """The truth per voxel in the units of the vocabulary; NaN where a quantity does not exist.

    Attributes
    ----------
    k1
        mL/min/mL of tissue without its vessels, as the models of dynamic imaging define it
        (``(1 - v_b) C_T + v_b C_blood``).
    k2, k3, k4
        1/min.
    v_t
        mL/mL; NaN where agent is kept for good.
    bp_nd
        ``k3 / k4``; NaN where agent is internalised or never lets go.
    k_i
        mL/min/mL; zero where nothing is kept for good.
    v_b
        Volume fraction of vessels.
    occupancy
        Highest part of the target that was occupied; NaN where the mass given is not known or there is no target.
    saturated
        Where occupancy exceeds 5 %: k3 changed in time, the rate constants hold for the start only.
    """

    k1: Floats
    k2: Floats
    k3: Floats
    k4: Floats
    v_t: Floats
    bp_nd: Floats
    k_i: Floats
    v_b: Floats
    occupancy: Floats
    saturated: NDArray[np.bool_]


def tissue_truth(rates: TissueRates, occupancy: ArrayLike | None = None) -> TissueTruth:
    """What a perfect kinetic analysis would find, in the tracer limit."""
    a = rates.affinity
    whole = 1 - rates.vessel
    with np.errstate(divide="ignore", invalid="ignore"):
        k1 = np.where(whole > 0, rates.k1 / whole, np.nan)
        leaving = a.k_off + a.k_int
        # Part of what binds that is kept for good.
        kept = 0.0 if a.k_loss > 0 and a.k_off + a.k_int > 0 else (a.k_int / leaving if leaving > 0 else 1.0)
        through = rates.k3 * kept
        k_i = np.where(through > 0, k1 * through / (rates.k2 + through), 0.0)
        lost = rates.k3 * (a.k_int / leaving if leaving > 0 else 1.0) if a.k_loss > 0 else 0.0
        beyond = (1 + (a.k_int / a.k_loss if a.k_loss > 0 else 0.0)) / leaving if leaving > 0 else np.nan
        v_t = np.where(rates.k3 > 0, k1 / (rates.k2 + lost) * (1 + rates.k3 * beyond), k1 / rates.k2)
        v_t = np.where((through > 0) | (rates.k2 <= 0), np.nan, v_t)
        bp_nd = np.where(rates.k3 > 0, rates.k3 / a.k_off if a.k_off > 0 and a.k_int == 0 else np.nan, 0.0)
    peak = np.full(rates.shape, np.nan) if occupancy is None else np.broadcast_to(np.asarray(occupancy), rates.shape)
    return TissueTruth(
        k1=k1 * 60,
        k2=rates.k2 * 60,
        k3=rates.k3 * 60,
        k4=np.full(rates.shape, a.k_off * 60),
        v_t=v_t,
        bp_nd=bp_nd,
        k_i=k_i * 60,
        v_b=rates.vessel,
        occupancy=peak,
        saturated=np.nan_to_num(peak) > OCCUPANCY_LIMIT,
    )
