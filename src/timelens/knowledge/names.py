"""Which spelling keys belong to which agent: made when the data are compiled, looked up when a name is resolved.

Two indices. *exact*: ``nuclide|core`` (``89Zr|atezolizumab``; the nuclide is empty for a name that says none) to the
agents that are meant. *vectors*: a core alone to the agents that carry that molecule, which makes them candidates only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from timelens.knowledge.spelling import read

__all__ = ["index", "keys"]


def keys(
    names: Iterable[str], vectors: Iterable[str], chelators: Iterable[str], nuclides: Iterable[str]
) -> tuple[set[str], set[str]]:
    """Exact keys and vector cores of one agent.

    Parameters
    ----------
    names
        Name and synonyms: each means exactly this agent, with the nuclide that it says, or with the agent's only one.
    vectors
        Names of the molecule alone: exact with one of the agent's nuclides, otherwise a candidate.
    chelators
        Words that may stand before or behind the molecule, or be left out.
    nuclides
        The agent's nuclides.
    """
    labels = tuple(nuclides)
    exact: set[str] = set()
    molecules: set[str] = set()
    for spelling in map(read, names):
        if spelling.core and spelling.nuclides:
            exact.update(f"{nuclide}|{spelling.core}" for nuclide in spelling.nuclides)
            molecules.add(spelling.core)
        elif spelling.core:
            # With a label said, a class of several nuclides is too wide to be meant.
            exact.update(f"{nuclide}|{spelling.core}" for nuclide in ("", *(labels if len(labels) == 1 else ())))
    bare = {spelling.core for spelling in map(read, vectors) if spelling.core}
    words = [read(chelator).core for chelator in chelators]
    pairs = [f"alf{word}" for word in words if "alf" in words and word != "alf"]
    bare |= {joined for core in bare for word in words for joined in (word + core, core + word)}
    bare |= {pair + core for core in bare for pair in pairs}
    exact.update(f"{nuclide}|{core}" for nuclide in labels for core in bare)
    if not labels:
        exact.update(f"|{core}" for core in bare)
    return exact, molecules | bare


def index(agents: Mapping[str, tuple[set[str], set[str]]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The two indices over all agents, ids sorted."""
    exact: dict[str, list[str]] = {}
    vectors: dict[str, list[str]] = {}
    for agent in sorted(agents):
        for place, found in zip((exact, vectors), agents[agent], strict=True):
            for key in found:
                place.setdefault(key, []).append(agent)
    return dict(sorted(exact.items())), dict(sorted(vectors.items()))
