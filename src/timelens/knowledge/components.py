"""Components of the tumour immune microenvironment: cells, structures, molecules, states, and their families."""

from __future__ import annotations

from timelens.knowledge.load import store
from timelens.knowledge.records import Component

__all__ = ["all_components", "ancestors", "children", "family", "find", "get"]


def all_components() -> list[Component]:
    """Every component, by id."""
    return list(store().components.rows.values())


def find(text: str) -> Component | None:
    """The component of that id, name or synonym, or None."""
    return store().components.find(text) or store().components.find(text.removesuffix("s"))


def get(text: str) -> Component:
    """The component of that id, name or synonym, in singular or plural.

    Raises
    ------
    UsageError
        If there is none.
    """
    return find(text) or store().components.get(text)


def children(component: str) -> list[Component]:
    """Subsets, states and parts of a component, one step down."""
    parent = get(component).id
    return [each for each in all_components() if each.parent == parent]


def ancestors(component: str) -> list[Component]:
    """What a component is a subset of, nearest first."""
    found: list[Component] = []
    here = get(component).parent
    while here is not None:
        found.append(store().components.rows[here])
        here = found[-1].parent
    return found


def family(component: str) -> set[str]:
    """Ids of a component and of everything below it."""
    ids = {get(component).id}
    while True:
        more = {each.id for each in all_components() if each.parent in ids} - ids
        if not more:
            return ids
        ids |= more
