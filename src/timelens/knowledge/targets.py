"""Targets: what agents bind, enter through, are cut by or are trapped by."""

from __future__ import annotations

from timelens.knowledge.load import store
from timelens.knowledge.records import Target

__all__ = ["all_targets", "find", "get"]


def all_targets() -> list[Target]:
    """Every target, by id."""
    return list(store().targets.rows.values())


def find(text: str) -> Target | None:
    """The target of that id, name, synonym or HGNC symbol, or None."""
    return store().targets.find(text)


def get(text: str) -> Target:
    """The target of that id, name, synonym or HGNC symbol.

    Raises
    ------
    UsageError
        If there is none, or several.
    """
    return store().targets.get(text)
