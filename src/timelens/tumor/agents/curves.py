"""Blood, plasma and organ curves of an agent in a host: parts of what was given, decay-corrected, with nothing lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.compartments.linear import Compartments
from timelens.errors import DataError, UsageError
from timelens.knowledge.records import Agent
from timelens.tumor.agents.antibody import antibody_body
from timelens.tumor.agents.circulation import BodyModel, cell_body, circulation_body
from timelens.tumor.agents.parameters import AgentParameters, agent_parameters
from timelens.tumor.agents.rates import TissueRates
from timelens.tumor.host.reference import BLOOD_DENSITY, Host

__all__ = ["HostCurves", "LumpedTumour", "default_times", "simulate_host"]

Floats = NDArray[np.float64]
#: g/mL.
_TUMOUR_DENSITY = 1.05
_HOLLOW = ("bladder", "intestine contents", "exhaled")


@dataclass(frozen=True)
class LumpedTumour:
    """A tumour that takes its share of the agent from the host: needed where tumours are large, as in mice.

    Attributes
    ----------
    volume_ml
        Its volume.
    k1
        mL/s/mL, from plasma.
    k2, k3, k4, k_int
        1/s: back to blood, binding, release, internalisation.
    """

    volume_ml: float
    k1: float
    k2: float
    k3: float = 0.0
    k4: float = 0.0
    k_int: float = 0.0

    @classmethod
    def of(cls, rates: TissueRates, voxel_ml: float) -> LumpedTumour:
        """The means of a tumour's voxels: exact where it is uniform, close where it is not."""
        k1 = float(rates.k1.mean())
        # What free agent fills per concentration in plasma, weighted as it binds there.
        space = np.divide(rates.k1, rates.k2, out=np.zeros_like(rates.k1), where=rates.k2 > 0)
        filled = float(space.mean())
        k2, k3 = (k1 / filled, float((rates.k3 * space).mean()) / filled) if filled > 0 else (0.0, 0.0)
        a = rates.affinity
        return cls(rates.k1.size * voxel_ml, k1, k2, k3, a.k_off, a.k_int)


def default_times(end_s: float, *, count: int = 240) -> Floats:
    """Zero and then times from 1 s to the end, evenly on a scale of ``log(1 + t / 10 s)``."""
    if not end_s > 1:
        raise DataError("The curves need an end", field="end_s", found=end_s, expected="more than 1 s")
    inner = 10 * np.expm1(np.linspace(np.log1p(0.1), np.log1p(end_s / 10), count))
    return np.concatenate([[0.0], inner[:-1], [end_s]])


@dataclass(frozen=True, eq=False)
class HostCurves:
    """Where the agent is over time, as parts of the activity given, decay-corrected to time zero.

    Attributes
    ----------
    host, agent
        In whom and what.
    time_s
        (times,)
    plasma, blood
        (times,), arterial, part of the activity given per mL: the input of every tissue.
    amount
        Region to part of the activity given, (times,); the regions sum to what has been given so far.
    given
        (times,), part that has been given: one after a bolus.
    tumours
        Tumours that took part, and their volumes in mL.
    """

    host: Host
    agent: AgentParameters
    time_s: Floats
    plasma: Floats
    blood: Floats
    amount: Mapping[str, Floats]
    given: Floats
    tumours: Mapping[str, float] = field(default_factory=dict)

    @property
    def defaults(self) -> tuple[str, ...]:
        """Values that are not the agent's own but its class's."""
        return self.agent.notes + self.agent.defaults

    def mass_g(self, region: str) -> float:
        """Mass of a region with its blood; of the bladder its urine, of ``a+b`` both, NaN for what has none."""
        return sum(self._size(each)[0] for each in _split(region))

    def volume_ml(self, region: str) -> float:
        """Volume of a region as an image shows it: the lung with its air."""
        return sum(self._size(each)[1] for each in _split(region))

    def amount_in(self, region: str) -> Floats:
        """Part of the activity given that is in a region, (times,).

        Regions joined by ``+`` (``bone+bone marrow``) are one mixture. ``blood`` is that of the large vessels and the
        heart, arterial and venous. A region in which the agent's model has no pool holds zero.

        Raises
        ------
        UsageError
            If there is no such region.
        """
        known = {*self.amount, *(organ.name for organ in self.host.organs), *_HOLLOW}
        for each in _split(region):
            if each not in known:
                raise UsageError(
                    "There is no such region", field="region", found=each, expected=", ".join(sorted(known))
                )
        none = np.zeros_like(self.time_s)
        return np.asarray(sum(self.amount.get(each, none) for each in _split(region)))

    def per_gram(self, region: str) -> Floats:
        """Part of the activity given per gram of a region, (times,); regions as for :meth:`amount_in`."""
        return self.amount_in(region) / self.mass_g(region)

    def per_ml(self, region: str) -> Floats:
        """Part of the activity given per mL of a region, (times,), as an image shows it."""
        return self.amount_in(region) / self.volume_ml(region)

    def percent_per_gram(self, region: str) -> Floats:
        """%ID/g."""
        return 100 * self.per_gram(region)

    def suv(self, region: str) -> Floats:
        """Standardised uptake value by body weight, g/mL: activity per mL over activity given per gram of body."""
        return self.per_ml(region) * self.host.weight_g

    def _size(self, region: str) -> tuple[float, float]:
        if region in self.tumours:
            return self.tumours[region] * _TUMOUR_DENSITY, self.tumours[region]
        if region == "blood":
            volume = self.host.arterial_ml + self.host.venous_ml
            return volume * BLOOD_DENSITY, volume
        if region == "bladder":
            return self.host.bladder_ml, self.host.bladder_ml
        if region in _HOLLOW:
            return float("nan"), float("nan")
        organ = self.host.organ(region)
        return organ.mass_g, organ.volume_ml

    def at(self, time_s: float, curve: Floats) -> float:
        """A curve at a time, linearly between its knots."""
        return float(np.interp(time_s, self.time_s, curve))

    @property
    def total(self) -> Floats:
        """Sum over all regions: equal to ``given``, up to rounding."""
        return np.asarray(sum(self.amount.values()))


def simulate_host(
    host: Host,
    agent: Agent | AgentParameters | str,
    times: ArrayLike,
    *,
    infusion_s: float = 0.0,
    overrides: Mapping[str, float] | None = None,
    tumours: Mapping[str, LumpedTumour] | None = None,
) -> HostCurves:
    """Give an agent intravenously to a host and follow it.

    Parameters
    ----------
    host
        Mouse or human.
    agent
        A record of the knowledge base, a name that means one, or parameters.
    times
        Seconds from the start of injection, ascending from zero. The curves are exact at these times; whoever joins
        them by lines (as an input function) wants enough: see :func:`default_times`.
    infusion_s
        Duration of the injection; zero for a bolus that is in the veins (antibody: in plasma) at once.
    overrides
        Values that go before those of the agent and its class.
    tumours
        Tumours by name that take up agent from the host; others are seen as too small to matter.

    Returns
    -------
    HostCurves

    Raises
    ------
    DataError, UsageError
        If the agent has no physiology in blood, or times do not ascend from zero.

    Notes
    -----
    All models are linear: they hold for doses that do not saturate targets or clearance.

    Examples
    --------
    >>> from timelens.tumor.host import reference_host
    >>> curves = simulate_host(reference_host("mouse"), "zr89-atezolizumab", default_times(3 * 86400))
    >>> 10 < curves.at(86400, curves.percent_per_gram("blood")) < 20
    True
    """
    if isinstance(agent, AgentParameters):
        if overrides:
            raise UsageError("Overrides belong into agent_parameters()", field="overrides")
        parameters = agent
    else:
        parameters = agent_parameters(agent, host.species, overrides=overrides)
    if parameters.species != host.species:
        raise DataError("Host and agent differ", field="species", found=parameters.species, expected=host.species)
    build = {"antibody": antibody_body, "cell": cell_body, "circulation": circulation_body}[parameters.model]
    body = build(host, parameters)
    body = _with_tumours(body, tumours or {})
    at = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if infusion_s > 0:
        states = body.pools.solve(at, {}, infused={body.given: 1.0}, over=infusion_s)
        given = np.minimum(at / infusion_s, 1.0)
    else:
        states = body.pools.solve(at, {body.given: 1.0})
        given = np.ones_like(at)
    amount = {
        region: np.asarray(sum(share * states[body.pools.index(pool)] for pool, share in parts.items()))
        for region, parts in body.regions.items()
    }
    ((arterial, volume),) = body.plasma.items()
    plasma = states[body.pools.index(arterial)] / volume
    volumes = {name: each.volume_ml for name, each in (tumours or {}).items()}
    return HostCurves(host, parameters, at, plasma, plasma * body.blood_per_plasma, amount, given, volumes)


def _split(region: str) -> list[str]:
    return [each.strip() for each in region.split("+")]


def _with_tumours(body: BodyModel, tumours: Mapping[str, LumpedTumour]) -> BodyModel:
    """The same body with tumours fed from arterial plasma and drained into the veins."""
    if not tumours:
        return body
    if taken := set(tumours) & set(body.regions):
        raise UsageError("A tumour needs a name of its own", field="tumours", found=sorted(taken))
    parts = {name: tuple(f"{name} {kind}" for kind in ("free", "bound", "kept")) for name in tumours}
    pools = Compartments([*body.pools.names, *(pool for three in parts.values() for pool in three)])
    n = len(body.pools.names)
    pools.matrix[:n, :n] = body.pools.matrix
    ((source, plasma_ml),) = body.plasma.items()
    for name, each in tumours.items():
        free, bound, kept = parts[name]
        pools.flow(source, free, each.k1 * each.volume_ml / plasma_ml)
        pools.flow(free, body.given, each.k2)
        pools.flow(free, bound, each.k3)
        pools.flow(bound, free, each.k4)
        pools.flow(bound, kept, each.k_int)
    return replace(body, pools=pools, regions=body.regions | {k: dict.fromkeys(v, 1.0) for k, v in parts.items()})
