"""What a lens is: the few types that every modality agrees on.

A lens is an object with ``name``, ``accepts``, ``recipe`` and ``quantify``. Third parties add one through the entry
point ``timelens.lenses``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, runtime_checkable
from typing import Protocol as TypingProtocol

from timelens.errors import Problem
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image
from timelens.study.measurement import Measurement
from timelens.study.region import Region
from timelens.study.table import Table

__all__ = ["Lens", "Match", "Recipe", "Result", "Step"]


@dataclass(frozen=True)
class Match:
    """How well a lens fits some acquisitions.

    Attributes
    ----------
    score
        0 does not fit; the highest score wins; a tie is an error that ``study.yaml`` mends.
    roles
        Role (``pet``, ``ct``, ``t1_map`` ...) to acquisition.
    missing
        What quantification will need and does not find, by field.
    set_aside
        Id of an acquisition that need not be measured because another one of the match stands for it, and a warning
        that says so.
    """

    score: float
    roles: Mapping[str, Acquisition] = field(default_factory=dict)
    missing: tuple[Problem, ...] = ()
    set_aside: Mapping[str, Problem] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One named step of a recipe, with its parameters as plain data."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class Recipe:
    """The steps for one match, shown by ``--dry-run`` and overridden in ``study.yaml``."""

    lens: str
    steps: tuple[Step, ...]

    def options(self) -> dict[str, Any]:
        """All parameters, by step."""
        return {step.name: dict(step.parameters) for step in self.steps}


@dataclass
class Result:
    """What a lens gives back.

    Attributes
    ----------
    measurements
        Tidy rows.
    maps
        Name to image, each on its own grid with its own unit.
    tables
        Name to table.
    regions
        Regions the lens made or used, as labels on the grid of a map.
    problems
        What could not be measured, and warnings.
    audit
        How the numbers came about, as plain data for the report (for PET: the SUV audit).
    pictures
        What the report should show: plain arrays and labels by name.
    """

    measurements: list[Measurement] = field(default_factory=list)
    maps: dict[str, Image] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    regions: dict[str, Region] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    audit: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Lens(TypingProtocol):
    """One imaging modality, as the runner sees it."""

    name: str

    def accepts(self, acquisitions: Sequence[Acquisition]) -> Match:
        """Say which of the acquisitions of a session the lens can use, in which roles, and what is missing."""
        ...

    def recipe(self, match: Match, options: Mapping[str, Any]) -> Recipe:
        """The steps for a match, with the user's options laid over the defaults."""
        ...

    def quantify(
        self, inputs: Mapping[str, Acquisition], regions: Sequence[Region], options: Mapping[str, Any]
    ) -> Result:
        """Turn acquisitions into measurements, maps and regions."""
        ...
