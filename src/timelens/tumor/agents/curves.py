"""Blood, plasma and organ curves of an agent in a host: parts of what was given, decay-corrected, with nothing lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import DataError, UsageError
from timelens.knowledge.records import Agent
from timelens.tumor.agents.antibody import antibody_body
from timelens.tumor.agents.circulation import cell_body, circulation_body
from timelens.tumor.agents.parameters import AgentParameters, agent_parameters
from timelens.tumor.host.reference import BLOOD_DENSITY, Host

__all__ = ["HostCurves", "default_times", "simulate_host"]

Floats = NDArray[np.float64]


def default_times(end_s: float, *, count: int = 240) -> Floats:
    """Zero and then times from 1 s to the end, evenly on a scale of ``log(1 + t / 10 s)``."""
    if not end_s > 1:
        raise DataError("The curves need an end", field="end_s", found=end_s, expected="more than 1 s")
    return np.append(0.0, 10 * np.expm1(np.linspace(np.log1p(0.1), np.log1p(end_s / 10), count)))


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
        (times,), part of the activity given per mL.
    amount
        Region to part of the activity given, (times,); the regions sum to what has been given so far.
    given
        (times,), part that has been given: one after a bolus.
    """

    host: Host
    agent: AgentParameters
    time_s: Floats
    plasma: Floats
    blood: Floats
    amount: Mapping[str, Floats]
    given: Floats

    @property
    def defaults(self) -> tuple[str, ...]:
        """Values that are not the agent's own but its class's."""
        return self.agent.notes + self.agent.defaults

    def mass_g(self, region: str) -> float:
        """Mass of a region with its blood; of the bladder its urine."""
        if region == "blood":
            return BLOOD_DENSITY * (self.host.arterial_ml + self.host.venous_ml)
        if region == "bladder":
            return self.host.bladder_ml
        if region in ("intestine contents", "exhaled"):
            return float("nan")
        return self.host.organ(region).mass_g

    def per_gram(self, region: str) -> Floats:
        """Part of the activity given per gram of a region, (times,); NaN for what has no mass of its own."""
        if region not in self.amount:
            raise UsageError("There is no such region", field="region", found=region, expected=", ".join(self.amount))
        if region == "blood":
            return self.blood / BLOOD_DENSITY
        return self.amount[region] / self.mass_g(region)

    def percent_per_gram(self, region: str) -> Floats:
        """%ID/g."""
        return 100 * self.per_gram(region)

    def suv(self, region: str) -> Floats:
        """Standardised uptake value by body weight, g/mL at 1 g/mL."""
        return self.per_gram(region) * self.host.weight_g

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
    volume = sum(body.plasma.values())
    plasma = np.asarray(sum(states[body.pools.index(pool)] for pool in body.plasma)) / volume
    return HostCurves(host, parameters, at, plasma, plasma * body.blood_per_plasma, amount, given)
