"""Who an acquisition's agent is: from the words and codes of its header to the record of the knowledge base.

The half-life in a header stays what that series is quantified with; the knowledge base only adds what the header leaves
open, and refuses a contradiction.
"""

from __future__ import annotations

from dataclasses import dataclass

from timelens.errors import DataError, Problem
from timelens.knowledge import agents, nuclides, targets
from timelens.knowledge.records import Agent
from timelens.study.acquisition import Acquisition

__all__ = ["KnownAgent", "identify"]


@dataclass(frozen=True)
class KnownAgent:
    """What is known of an acquisition's agent.

    Attributes
    ----------
    record
        The agent in the knowledge base, or None.
    name
        Its name there, else the words of the header.
    target, component
        For measurements: symbols of its targets and ids of its components, joined by ``;``.
    nuclide, half_life_s
        The nuclide (``89Zr``) and its evaluated half-life, or None.
    problems
        That the agent is not known, or which ones it might be.
    """

    record: Agent | None
    name: str
    target: str
    component: str
    nuclide: str | None
    half_life_s: float | None
    problems: tuple[Problem, ...] = ()


def identify(acquisition: Acquisition) -> KnownAgent:
    """Look up the agent and nuclide of an acquisition.

    Raises
    ------
    DataError
        If the header's nuclide is not that of the agent that it names.
    """
    words = acquisition.agent or ""
    said = nuclides.canonical_or_none(acquisition.radionuclide) if acquisition.radionuclide else None
    codes = _codes(acquisition)
    found = agents.from_dicom(words, agent_codes=codes) if words or codes else None
    if found is not None and found.record is None and said is not None:
        found = agents.resolve(words, nuclide=said)
    record = found.record if found is not None else None
    labelled = (record.nuclides if record is not None else ()) or ((found.nuclide,) if found and found.nuclide else ())
    if said is not None and labelled and said not in labelled:
        raise DataError(
            "The header's nuclide is not that of the agent it names",
            file=acquisition.where,
            field="Radionuclide",
            found=f"{said} with {words}",
            expected=" or ".join(labelled),
            mend="correct agent or radionuclide in study.yaml",
        )
    nuclide = said or (labelled[0] if len(labelled) == 1 else None)
    data = nuclides.find(nuclide) if nuclide else None
    return KnownAgent(
        record,
        record.name if record is not None else words,
        ";".join(_symbol(t) for t in record.targets) if record is not None else "",
        ";".join(record.components) if record is not None else "",
        nuclide,
        data.half_life_s if data is not None else None,
        () if record is not None or not words or found is None else (_unknown(acquisition, words, found),),
    )


def _codes(acquisition: Acquisition) -> list[tuple[str, str, str]]:
    """The code of the radiopharmaceutical in a DICOM header, unless the user named the agent."""
    if not acquisition.header or "agent" in acquisition.overrides:
        return []
    first = acquisition.header[0]
    value, scheme = first.get("RadiopharmaceuticalCodeCodeValue"), first.get("RadiopharmaceuticalCodeCodingScheme")
    return [(str(value), str(scheme or ""), str(first.get("RadiopharmaceuticalCode") or ""))] if value else []


def _symbol(target: str) -> str:
    record = targets.get(target)
    return record.symbols[0] if record.symbols else record.name


def _unknown(acquisition: Acquisition, words: str, found: agents.Resolution) -> Problem:
    near = ", ".join(a.name for a in found.candidates[:5])
    return Problem(
        "The agent is not in the knowledge base" if not near else "The agent's name fits several records",
        file=acquisition.where,
        field="agent",
        found=words,
        expected=near or "a name that 'timelens agents' lists",
        mend="write its full name as 'agent' in study.yaml; measurements are made all the same, without target",
        severity="warning",
    )
