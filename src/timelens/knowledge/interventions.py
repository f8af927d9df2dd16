"""Interventions: therapies, and what imaging does for them."""

from __future__ import annotations

from timelens.knowledge.load import store
from timelens.knowledge.records import Intervention

__all__ = ["all_interventions", "find", "get"]


def all_interventions() -> list[Intervention]:
    """Every intervention, by id."""
    return list(store().interventions.rows.values())


def find(text: str) -> Intervention | None:
    """The intervention of that id, name or synonym, or None."""
    return store().interventions.find(text)


def get(text: str) -> Intervention:
    """The intervention of that id, name or synonym.

    Raises
    ------
    UsageError
        If there is none.
    """
    return store().interventions.get(text)
