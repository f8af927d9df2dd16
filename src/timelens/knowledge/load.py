"""Reads the compiled knowledge base: once, when first asked, in a few milliseconds.

``compiled.json`` is made from the data files by ``python -m timelens.knowledge.build``. Nothing but the standard
library is needed to read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from timelens.errors import DataError, UsageError
from timelens.knowledge import records
from timelens.knowledge.spelling import plain

__all__ = ["COMPILED", "Code", "Store", "Table", "store"]

COMPILED = "data/compiled.json"
VERSION = 1

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Code:
    """A DICOM code: scheme designator, value, meaning; ``about`` is the nuclide or the agent's id, if known here."""

    scheme: str
    value: str
    meaning: str
    about: str
    cid: int


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """The records of one kind by id, and the ids by name."""

    kind: str
    rows: dict[str, R]
    names: dict[str, list[str]]

    def find(self, text: str) -> R | None:
        """The record of that id, name or synonym in any spelling; None if there is none, or several."""
        found = self.rows.get(text)
        if found is None:
            ids = self.names.get(loose(text), [])
            found = self.rows[ids[0]] if len(ids) == 1 else None
        return found

    def get(self, text: str) -> R:
        """The record of that id, name or synonym.

        Raises
        ------
        UsageError
            If there is none, or several; near ids are proposed.
        """
        found = self.find(text)
        if found is not None:
            return found
        import difflib

        ids = self.names.get(loose(text), [])
        near = ids or difflib.get_close_matches(text.lower(), list(self.rows), n=3)
        raise UsageError(
            f"{'Several records bear' if ids else 'There is no record of'} the {self.kind} {text!r}",
            found=text,
            expected=f"the id or a name of a {self.kind}",
            mend=f"did you mean {', '.join(near)}?" if near else f"see the list of all of this kind ({self.kind})",
        )


@dataclass(frozen=True, slots=True)
class Store:
    """Everything that is known."""

    components: Table[records.Component]
    targets: Table[records.Target]
    agents: Table[records.Agent]
    nuclides: Table[records.Radionuclide]
    modalities: Table[records.Modality]
    interventions: Table[records.Intervention]
    evidence: dict[str, records.Evidence]
    codes: tuple[Code, ...]
    exact: dict[str, list[str]] = field(repr=False)
    vectors: dict[str, list[str]] = field(repr=False)


def loose(text: str) -> str:
    """The letters and digits of a name in lower case, Greek letters spelt out."""
    return "".join(letter for letter in plain(text) if letter.isalnum())


def _table(kind: str, record: type[R], data: dict[str, Any]) -> Table[R]:
    return Table(kind, {row["id"]: records.from_dict(record, row) for row in data["rows"]}, data["names"])


def from_text(text: str) -> Store:
    """The store that a compiled text holds."""
    data = json.loads(text)
    if data.get("version") != VERSION:
        raise DataError(
            "The compiled knowledge base is of another version",
            file=COMPILED,
            field="version",
            found=data.get("version"),
            expected=VERSION,
            mend="python -m timelens.knowledge.build",
        )
    return Store(
        _table("component", records.Component, data["components"]),
        _table("target", records.Target, data["targets"]),
        _table("agent", records.Agent, data["agents"]),
        _table("radionuclide", records.Radionuclide, data["radionuclides"]),
        _table("modality", records.Modality, data["modalities"]),
        _table("intervention", records.Intervention, data["interventions"]),
        {row["id"]: records.from_dict(records.Evidence, row) for row in data["evidence"]},
        tuple(Code(*row) for row in data["codes"]),
        data["exact"],
        data["vectors"],
    )


@lru_cache(maxsize=1)
def store() -> Store:
    """The knowledge base of this installation."""
    # A plain path: importlib.resources would take longer to import than the file takes to read.
    return from_text((Path(__file__).parent / COMPILED).read_text(encoding="utf-8"))
