"""Modalities: ways of seeing, single and hybrid."""

from __future__ import annotations

from timelens.knowledge.load import store
from timelens.knowledge.records import Modality

__all__ = ["all_modalities", "containing", "find", "get"]


def all_modalities() -> list[Modality]:
    """Every modality, by id."""
    return list(store().modalities.rows.values())


def find(text: str) -> Modality | None:
    """The modality of that id, name or synonym, or None."""
    return store().modalities.find(text)


def get(text: str) -> Modality:
    """The modality of that id, name or synonym.

    Raises
    ------
    UsageError
        If there is none.
    """
    return store().modalities.get(text)


def containing(modality: str) -> set[str]:
    """Ids of a modality, of the hybrids of which it is a part, and of its own parts if it is a hybrid."""
    one = get(modality)
    return {one.id, *one.parts, *(each.id for each in all_modalities() if one.id in each.parts)}
