"""An agent given to a host with tumours: the scene that a lens sees, and the truth per voxel to hold it against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from timelens.engines.kinetics.frames import Frames
from timelens.errors import DataError, UsageError
from timelens.knowledge.records import Agent
from timelens.tumor.agents.curves import HostCurves, LumpedTumour, default_times, simulate_host
from timelens.tumor.agents.microenvironment import rates_in
from timelens.tumor.agents.parameters import AgentParameters, agent_parameters
from timelens.tumor.agents.rates import TissueRates, TissueTruth, tissue_truth
from timelens.tumor.agents.tissue import tissue_curves
from timelens.tumor.digital_patient import Point
from timelens.tumor.host.phantom import Phantom
from timelens.tumor.microenvironment import Microenvironment
from timelens.tumor.scene import Scene, TumourField, curves_of

__all__ = ["AgentScene", "PlacedTumour", "agent_scene"]

#: Host and voxels are brought together in at most this many passes, until they agree within this part.
_PASSES, _AGREE = 6, 0.02
#: The pool's binding moves with this power of the disagreement: more would overshoot where uptake depletes plasma.
_HASTE = 1.5
#: Voxels that stand for a tumour in these passes.
_SAMPLE = 2048
#: Rate constants that a scene tells of, and the part of a tumour that may saturate.
_KINETIC = ("k1", "k2", "k3", "k4", "v_t", "bp_nd", "k_i", "v_b")
_MOST_SATURATED = 0.05
#: Voxels with less tumour than this count as host.
_LEAST_SHARE = 1e-3


@dataclass(frozen=True, eq=False)
class PlacedTumour:
    """A virtual tumour in a body.

    Attributes
    ----------
    tumour
        Its microenvironment, on a grid along the body's axes.
    centre
        (X, Y, Z) of the middle of its grid in the body, mm.
    targets
        What the agent binds in it (ids, names or symbols of targets).
    """

    tumour: Microenvironment
    centre: Point
    targets: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class AgentScene:
    """A scene and what is true in it.

    Attributes
    ----------
    scene
        For :mod:`timelens.lenses`.
    curves
        Blood, plasma and organs.
    rates, truth
        Per tumour and voxel; occupancy is NaN where no part of the voxel is tumour.
    agreement
        What the voxels of each tumour hold over what the host lost to it, at the last time; 1 within 2 %, else the
        passes ended before both agreed.
    """

    scene: Scene
    curves: HostCurves
    rates: Mapping[str, TissueRates]
    truth: Mapping[str, TissueTruth]
    agreement: Mapping[str, float]


def agent_scene(
    body: Phantom,
    agent: Agent | AgentParameters | str,
    tumours: Mapping[str, PlacedTumour],
    times: ArrayLike,
    *,
    dose_nmol: float | None = None,
    infusion_s: float = 0.0,
    day: float = 0.0,
) -> AgentScene:
    """Give an agent and follow it into organs and tumours.

    The tumours take their share from the host's blood, each as one pool with its mean rates; their voxels then follow
    the plasma that is left. Where the voxels hold another amount in the end (they differ, or their target saturates),
    the binding of the pool is adapted until both agree within 2 %.

    Parameters
    ----------
    body
        The host in shapes.
    agent
        A record of the knowledge base, a name that means one, or parameters.
    tumours
        By name.
    times
        Knots of the uptake in tumours, s from the start of injection, ascending; linear in between, so give enough of
        them for the frames of the protocol.
    dose_nmol
        Agent given, in nmol. Without it no target saturates, and occupancy is not known.
    infusion_s
        Duration of the injection.
    day
        Day of the study.

    Raises
    ------
    DataError
        If a tumour's centre lies outside the body, or times do not ascend.
    UsageError
        If a tumour bears the name of an organ.
    """
    at = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if at.size == 0 or not np.isfinite(at).all() or at[0] < 0 or (np.diff(at) <= 0).any():
        raise DataError("The times of a scene must ascend from zero", field="times", found=at.tolist())
    parameters = agent if isinstance(agent, AgentParameters) else agent_parameters(agent, body.host.species)
    names = {part.shape.name for part in body.parts} | {each.name for each in body.tumours}
    rates, lumped = {}, {}
    for name, placed in tumours.items():
        if name in names:
            raise UsageError("This name is taken", field="tumours", found=name)
        if not any(part.shape.contains(np.asarray(placed.centre, float)) for part in body.parts):
            raise DataError(f"{name} lies outside the body", field="centre", found=placed.centre)
        rates[name] = rates_in(placed.tumour, parameters, placed.targets)
        inside = placed.tumour.masks["tumour"]
        lumped[name] = LumpedTumour.of(_within(rates[name], inside), placed.tumour.geometry.voxel_volume / 1e3)
    end = max(float(at[-1]), 2.0)
    knots = np.union1d(default_times(end), [infusion_s] if 0 < infusion_s < end else [])
    frames = Frames.instants(at)
    sample = {name: _thinned(_within(rates[name], placed.tumour.masks["tumour"])) for name, placed in tumours.items()}
    ratio: dict[str, float] = {}
    for _ in range(_PASSES):
        curves = simulate_host(body.host, parameters, knots, infusion_s=infusion_s, tumours=lumped)
        ratio = {name: _held(each, curves, name, float(at[-1]), dose_nmol) for name, each in sample.items()}
        for name, each in ratio.items():
            if lumped[name].k3 > 0:
                lumped[name] = replace(lumped[name], k3=lumped[name].k3 * float(np.clip(each, 0.1, 10)) ** _HASTE)
        if all(abs(each - 1) < _AGREE or lumped[name].k3 == 0 for name, each in ratio.items()):
            break
    fields, truth = [], {}
    for name, placed in tumours.items():
        share = np.clip(placed.tumour["tumour_fraction"], 0, 1)
        seen = share > _LEAST_SHARE
        share = np.where(seen, share, 0).astype(np.float32)
        tissue = tissue_curves(
            _within(rates[name], seen), curves.time_s, curves.plasma, curves.blood, frames, nmol_per_unit=dose_nmol
        )
        suv = np.zeros((at.size, *share.shape), np.float32)
        suv[:, seen] = tissue.total * np.float32(body.host.weight_g)
        occupancy = np.full(share.shape, np.nan)
        occupancy[seen] = tissue.occupancy
        truth[name] = tissue_truth(rates[name], occupancy)
        fields.append(TumourField(name, share, at, suv, placed.tumour.geometry.spacing, placed.centre))
    kinetics = {f.name: _mean_truth(truth[f.name], f.share) for f in fields}
    scene = Scene(body.patient, curves_of(curves, body.regions), tuple(fields), day, body.host.species, kinetics)
    return AgentScene(scene, curves, rates, truth, ratio)


def _mean_truth(truth: TissueTruth, share: np.ndarray) -> dict[str, float]:
    """Means over a tumour of what exists in all of it; nothing where its target saturates, as rates then change."""
    if float(share[truth.saturated].sum()) > _MOST_SATURATED * float(share.sum()):
        return {}
    inside = share > 0
    values = {name: getattr(truth, name)[inside] for name in _KINETIC}
    return {
        name: float(np.average(each, weights=share[inside])) for name, each in values.items() if np.isfinite(each).all()
    }


def _held(sample: TissueRates, curves: HostCurves, name: str, time: float, dose_nmol: float | None) -> float:
    """What the voxels of a tumour hold outside vessels at a time, relative to what the host lost."""
    tissue = tissue_curves(
        sample, curves.time_s, curves.plasma, curves.blood, Frames.instants([time]), nmol_per_unit=dose_nmol
    )
    held = float((tissue.total[0] - curves.at(time, curves.blood) * sample.vessel).mean()) * curves.tumours[name]
    return held / max(curves.at(time, curves.amount[name]), 1e-300)


def _thinned(rates: TissueRates) -> TissueRates:
    """Every so many voxels, a few thousand in all: enough for a mean."""
    keep = np.zeros(rates.shape, bool)
    keep[:: max(1, keep.size // _SAMPLE)] = True
    return _within(rates, keep)


def _within(rates: TissueRates, mask: np.ndarray) -> TissueRates:
    k1, k2, k3, space, vessel, target = (
        getattr(rates, name)[mask] for name in ("k1", "k2", "k3", "space", "vessel", "target")
    )
    return TissueRates(k1, k2, k3, space, vessel, target, rates.affinity)
