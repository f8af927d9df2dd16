"""Paths through the knowledge: the ways in which a component can be seen.

A path leads from the component over a target to an agent and the modalities that see it. It is *direct* if the agent is
used for that component (or one of its subsets), *by target* if the agent sees a target that the component carries, and
*wider* if the agent is used for what the component is a subset of, so that it is seen among others.
"""

from __future__ import annotations

from dataclasses import dataclass

from timelens.knowledge import agents, components
from timelens.knowledge.load import loose, store
from timelens.knowledge.records import Agent, Component, Evidence

__all__ = ["Path", "ask", "to"]

#: Points by which the way to the agent orders the paths, before the strength of its evidence.
_WAYS = {"direct": 6.0, "by target": 3.0, "wider": 0.0}


@dataclass(frozen=True, slots=True)
class Path:
    """One way of seeing a component.

    Attributes
    ----------
    component
        The component asked for.
    agent
        What is given.
    targets, modalities
        Ids of the targets on the way, and of the modalities that see the agent.
    way
        ``direct``, ``by target`` or ``wider``.
    score
        For ordering only: points of the way plus :func:`timelens.knowledge.agents.strength`.
    reasons
        Why it stands where it stands, sentences.
    evidence
        Rows that support it.
    """

    component: Component
    agent: Agent
    targets: tuple[str, ...]
    modalities: tuple[str, ...]
    way: str
    score: float
    reasons: tuple[str, ...]
    evidence: tuple[Evidence, ...]


def to(component: str, *, modality: str | None = None, species: str | None = None) -> list[Path]:
    """All ways of seeing a component, best first.

    Parameters
    ----------
    component
        Id, name or synonym, in singular or plural: ``"M2 macrophages"``.
    modality
        Only agents that this modality sees.
    species
        Leave out agents that are known not to bind in this species, and say where binding is known.

    Raises
    ------
    UsageError
        If component or modality are unknown.
    """
    aim = components.get(component)
    family = components.family(aim.id)
    above = {each.id: each for each in components.ancestors(aim.id)}
    carried = {target for each in family for target in store().components.rows[each].targets}
    carried |= {each.id for each in store().targets.rows.values() if family & set(each.components)}
    paths = []
    for agent in agents.search(modality=modality):
        if species in agent.does_not_bind:
            continue
        on_way = tuple(target for target in agent.targets if target in carried)
        wider = [above[each] for each in agent.components if each in above]
        if family & set(agent.components):
            way, used = "direct", on_way or agent.targets
        elif on_way:
            way, used = "by target", on_way
        elif wider:
            way, used = "wider", agent.targets
        else:
            continue
        reasons = _reasons(aim, agent, way, used, wider, species)
        score = _WAYS[way] + agents.strength(agent)
        paths.append(Path(aim, agent, used, agent.modalities, way, score, reasons, tuple(agents.evidence(agent))))
    return sorted(paths, key=lambda path: (-path.score, path.agent.name.lower()))


def _reasons(
    aim: Component, agent: Agent, way: str, used: tuple[str, ...], wider: list[Component], species: str | None
) -> tuple[str, ...]:
    names = ", ".join(store().targets.rows[target].name for target in used)
    by = f" through {names}" if names else ""
    if way == "direct":
        said = [f"Used to see {aim.name}{by}."]
    elif way == "by target":
        said = [f"Sees {names}, which {aim.name} carries; other cells that carry it are seen too."]
    else:
        said = [
            f"Used to see {wider[0].name}{by}, of which {aim.name} is a part; it does not tell the part from the rest."
        ]
    said.append(f"Stage: {agent.stage}.")
    rows = agents.evidence(agent)
    if rows:
        best = rows[0]
        where = f"article citation {', '.join(map(str, best.citation))}" if best.citation else best.identifier
        level = f" in {best.level}" if best.level not in ("not stated",) else ""
        said.append(f"Best evidence{level}: {best.shown}" + (f" ({where})" if where else ""))
    else:
        said.append("No evidence is on record.")
    if species is not None:
        known = species in agent.binds
        said.append(
            f"Binds the {species} target." if known else f"Whether it binds the {species} target is not on record."
        )
    said += [f"Caution: {caution}" for caution in agent.cautions]
    return tuple(said)


def ask(question: str, *, species: str | None = None) -> list[Path]:
    """Answer 'how can I see M2 macrophages?' in a person's words.

    The longest name of a component that occurs in the question counts; a modality named in it limits the answer.

    Raises
    ------
    UsageError
        If no component is named.
    """
    words = question.replace("?", " ").replace(",", " ").split()
    spans = sorted(
        ((end - start, start, end) for start in range(len(words)) for end in range(start + 1, len(words) + 1)),
        reverse=True,
    )
    found = None
    for _, start, end in spans:
        phrase = " ".join(words[start:end])
        if loose(phrase) and (found := components.find(phrase)) is not None:
            words[start:end] = ["|"]
            break
    if found is None:
        return to(question, species=species)
    named = [each for each in (store().modalities.find(word) for word in words) if each is not None]
    return to(found.id, modality=named[0].id if named else None, species=species)
