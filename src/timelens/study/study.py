"""Study, subject, session: who was scanned when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from timelens.errors import Problem
from timelens.study.acquisition import Acquisition
from timelens.study.region import Region

__all__ = ["Session", "Study", "Subject"]


@dataclass(eq=False)
class Session:
    """One visit of one subject: its acquisitions and the regions drawn on them.

    ``regions`` maps the id of an acquisition to its region sets.
    """

    id: str
    subject: str
    acquisitions: list[Acquisition] = field(default_factory=list)
    regions: dict[str, list[Region]] = field(default_factory=dict)
    when: datetime | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Subject:
    """One patient or animal, known by an alias. ``traits`` are the columns of ``participants.tsv`` (arm, group ...)."""

    id: str
    sessions: list[Session] = field(default_factory=list)
    traits: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Study:
    """Subjects and what could not be read."""

    name: str
    subjects: list[Subject] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def sessions(self) -> Iterator[Session]:
        """All sessions, subject by subject."""
        for subject in self.subjects:
            yield from subject.sessions
