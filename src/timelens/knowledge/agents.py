"""Agents: find one by any spelling of its name, or many by what they see.

``resolve`` is strict: the nuclide must agree and the name must agree letter by letter once hyphens, brackets, case and
Greek letters are set aside. Where only the molecule agrees (its label is not said, or is another one) the agents that
carry it are candidates, never the answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from timelens.errors import DataError, UsageError
from timelens.knowledge import components, dicom_codes, modalities, nuclides, targets
from timelens.knowledge.load import store
from timelens.knowledge.records import Agent, Evidence
from timelens.knowledge.spelling import Spelling, parts, read

__all__ = ["Resolution", "all_agents", "evidence", "find", "from_dicom", "get", "resolve", "search", "strength"]

STAGES = ("clinical", "preclinical", "in vitro", "in silico", "not stated")
_LEVELS = {"human": 5, "animal": 3, "tissue": 2, "in vitro": 2, "in silico": 1, "not stated": 1}
_STAGE_POINTS = {"clinical": 5, "preclinical": 3, "in vitro": 2, "in silico": 1, "not stated": 0}


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a text was found to mean.

    Attributes
    ----------
    text
        The text.
    record
        The one agent that it means, or None.
    candidates
        Agents with the same molecule where the text does not say which label, or says another.
    nuclide
        The nuclide that the text (or its codes) names.
    reason
        One sentence: why this record, or why only candidates, or why nothing.
    """

    text: str
    record: Agent | None
    candidates: tuple[Agent, ...]
    nuclide: str | None
    reason: str

    @property
    def found(self) -> bool:
        """Whether there is a record or at least a candidate."""
        return self.record is not None or bool(self.candidates)


def all_agents() -> list[Agent]:
    """Every agent, by id."""
    return list(store().agents.rows.values())


def resolve(text: str, *, nuclide: str | None = None) -> Resolution:
    """Find the agent that a text means.

    Parameters
    ----------
    text
        A name in any spelling, an id, or a DICOM radiopharmaceutical string.
    nuclide
        The nuclide if it is known from elsewhere (a DICOM code, the half-life), in any spelling.

    Returns
    -------
    Resolution
        With ``record``, or ``candidates``, or neither.

    Raises
    ------
    UsageError
        If ``nuclide`` is not the name of a nuclide.

    Examples
    --------
    >>> resolve("Zr-89 atezolizumab").record.name
    '[89Zr]Zr-atezolizumab'
    >>> resolve("no such thing").found
    False
    """
    hint = nuclides.canonical(nuclide) if nuclide else None
    if text in store().agents.rows:
        record = store().agents.rows[text]
        if hint and record.nuclides and hint not in record.nuclides:
            return _contradiction(text, (record,), hint, record.nuclides)
        return Resolution(text, record, (), hint or record.nuclide, "The text is the id of the record.")
    spelling = read(text)
    if len(spelling.nuclides) > 1:
        # Two nuclides in one text (a class, a pair of scans): only a name written just so can mean one record.
        hits = {owner for label in spelling.nuclides for owner in _exact(label, spelling)}
        both = [store().agents.rows[owner] for owner in sorted(hits)]
        fits = [agent for agent in both if set(spelling.nuclides) <= set(agent.nuclides)]
        if len(fits) == 1 and (hint is None or hint in fits[0].nuclides):
            return Resolution(text, fits[0], (), hint, "Name and nuclides agree.")
        return _candidates(text, spelling, None, "The text names several nuclides.")
    said = spelling.nuclides[0] if spelling.nuclides else None
    if said and hint and said != hint:
        return _contradiction(text, _molecule(spelling), hint, (said,))
    label = said or hint
    hits = _exact(label or "", spelling) or _pieces(text, label)
    if len(hits) == 1:
        record = store().agents.rows[next(iter(hits))]
        words = "Name and nuclide agree." if label else "The name means this agent."
        return Resolution(text, record, (), label or record.nuclide, words)
    if hits:
        found = tuple(store().agents.rows[each] for each in sorted(hits))
        return Resolution(text, None, found, label, "Several agents bear this name.")
    return _candidates(text, spelling, label, "")


def _exact(label: str, spelling: Spelling) -> set[str]:
    return {owner for core in spelling.cores for owner in store().exact.get(f"{label}|{core}", ())}


def _pieces(text: str, label: str | None) -> set[str]:
    """One agent under several names ('FDG -- fluorodeoxyglucose'): every piece must mean the same."""
    owners: set[str] | None = None
    for piece in parts(text):
        spelling = read(piece)
        if not spelling.cores:
            continue
        hits = _exact((spelling.nuclides[0] if spelling.nuclides else label) or "", spelling)
        owners = hits if owners is None else owners & hits
        if not owners:
            return set()
    return owners or set()


def _molecule(spelling: Spelling) -> tuple[Agent, ...]:
    ids = {owner for core in spelling.cores for owner in store().vectors.get(core, ())}
    ids |= _exact("", spelling)
    return tuple(store().agents.rows[each] for each in sorted(ids))


def _candidates(text: str, spelling: Spelling, label: str | None, reason: str) -> Resolution:
    found = _molecule(spelling)
    if found and not reason:
        reason = (
            f"The molecule is known, with {label} it is not."
            if label
            else "The molecule is known; the text does not say its label."
        )
    return Resolution(text, None, found, label, reason or "No agent bears this name.")


def _contradiction(text: str, found: tuple[Agent, ...], hint: str, said: Iterable[str]) -> Resolution:
    reason = f"The name says {', '.join(said)}, the nuclide given is {hint}."
    return Resolution(text, None, found, hint, reason)


def find(text: str) -> Agent | None:
    """The agent that a text means, or None."""
    return resolve(text).record


def get(text: str, *, nuclide: str | None = None) -> Agent:
    """The agent that a text means.

    Raises
    ------
    UsageError
        If no agent, or more than one, may be meant; candidates are named.
    """
    found = resolve(text, nuclide=nuclide)
    if found.record is not None:
        return found.record
    near = ", ".join(agent.name for agent in found.candidates)
    raise UsageError(
        f"The agent {text!r} is not known" if not near else f"The agent {text!r} is not told apart from others",
        found=found.reason,
        expected="an id or a name of an agent, with its nuclide",
        mend=f"did you mean {near}?" if near else "see timelens.knowledge.agents.search()",
    )


def from_dicom(
    text: str = "",
    *,
    agent_codes: Iterable[tuple[str, str, str]] = (),
    nuclide_codes: Iterable[tuple[str, str, str]] = (),
) -> Resolution:
    """The agent of a DICOM series.

    Parameters
    ----------
    text
        Radiopharmaceutical (0018,0031).
    agent_codes, nuclide_codes
        Items of RadiopharmaceuticalCodeSequence and RadionuclideCodeSequence as (value, scheme, meaning).

    Raises
    ------
    DataError
        If the nuclide of the codes contradicts the agent: an 89Zr agent in a series that says 18F.
    """
    label: str | None = None
    for value, scheme, meaning in nuclide_codes:
        label = label or dicom_codes.nuclide(value, scheme) or nuclides.canonical_or_none(meaning)
    last = Resolution(text, None, (), label, "The header names no agent.")
    coded = [(value, scheme, meaning) for value, scheme, meaning in agent_codes]
    for value, scheme, meaning in coded:
        known = dicom_codes.agent(value, scheme)
        for each in filter(None, (known, dicom_codes.meaning(value, scheme), meaning)):
            found = _agreeing(each, label)
            if found.record is not None:
                return found
            last = found if found.found or not last.found else last
    if text:
        found = _agreeing(text, label)
        last = found if found.found or not last.found else last
    return last


def _agreeing(text: str, label: str | None) -> Resolution:
    found = resolve(text, nuclide=label)
    alone = resolve(text)
    if label and found.record is None and alone.record is not None and alone.record.nuclides:
        raise DataError(
            "The header's radionuclide contradicts its radiopharmaceutical",
            field="RadionuclideCodeSequence",
            found=f"{label} with {alone.record.name}",
            expected=" or ".join(alone.record.nuclides),
            mend="say in study.yaml which of the two is right",
        )
    return found


def search(
    text: str = "",
    *,
    target: str | None = None,
    component: str | None = None,
    modality: str | None = None,
    stage: str | None = None,
    species: str | None = None,
    nuclide: str | None = None,
) -> list[Agent]:
    """Agents that meet every condition, those with the strongest evidence first.

    Parameters
    ----------
    text
        Words that all occur in name, synonyms, signal or setting.
    target, component, modality
        Id, name or synonym. A component includes its subsets, a modality the hybrids that contain it.
    stage
        ``clinical``, ``preclinical``, ``in vitro``, ``in silico``, ``not stated``.
    species
        A species in which the agent binds its target, or has been imaged; never one that it does not bind.
    nuclide
        In any spelling.

    Raises
    ------
    UsageError
        If a condition names something unknown.
    """
    if stage is not None and stage not in STAGES:
        raise UsageError("There is no such stage", field="stage", found=stage, expected=", ".join(STAGES))
    label = nuclides.canonical(nuclide) if nuclide else None
    aim = targets.get(target).id if target else None
    parts_of = components.family(component) if component else None
    ways = modalities.containing(modality) if modality else None
    words = text.lower().split()
    found = [
        agent
        for agent in all_agents()
        if (aim is None or aim in agent.targets)
        and (parts_of is None or parts_of & set(agent.components))
        and (ways is None or ways & set(agent.modalities))
        and (stage is None or agent.stage == stage)
        and (label is None or label in agent.nuclides)
        and (species is None or _fits(agent, species))
        and (not words or _says(agent, words))
    ]
    return sorted(found, key=lambda agent: (-strength(agent), agent.name.lower()))


def _fits(agent: Agent, species: str) -> bool:
    return species not in agent.does_not_bind and species in (
        *agent.binds,
        *agent.imaged_in,
        *(dose.species for dose in agent.doses),
    )


def _says(agent: Agent, words: list[str]) -> bool:
    text = " ".join((agent.id, agent.name, *agent.synonyms, *agent.vectors, agent.signal, agent.setting)).lower()
    return all(word in text for word in words)


def evidence(agent: Agent) -> list[Evidence]:
    """The rows of evidence of an agent, patients first."""
    rows = [store().evidence[each] for each in agent.evidence]
    return sorted(rows, key=lambda row: (-_LEVELS[row.level], row.id))


def strength(agent: Agent) -> float:
    """How much speaks for an agent, for ordering only: its stage, its best evidence, and a little for each further row.

    A clinical stage and evidence in humans count 5 each, animals 3, cells and tissue 2, calculation 1; each further row
    adds 0.1. An agent that is named counts before a class.
    """
    rows = evidence(agent)
    best = max((_LEVELS[row.level] for row in rows), default=0)
    named = 0.5 if agent.kind not in ("class", "implied") else 0.0
    return _STAGE_POINTS[agent.stage] + best + 0.1 * len(rows) + named
