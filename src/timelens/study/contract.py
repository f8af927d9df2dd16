"""What a lens is: the few types that every modality agrees on.

A lens is an object with ``name``, ``accepts``, ``recipe`` and ``quantify``; one that also knows the way from truth to
image has ``simulate``. Third parties add one through the entry point ``timelens.lenses``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, runtime_checkable
from typing import Protocol as TypingProtocol

import numpy as np

from timelens.errors import Problem
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image
from timelens.study.measurement import Measurement
from timelens.study.region import Region
from timelens.study.table import Table

__all__ = [
    "Administration",
    "Lens",
    "Match",
    "Protocol",
    "Recipe",
    "Result",
    "Simulated",
    "Simulates",
    "Step",
    "Truth",
]


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
    lost_regions
        Region sets that the study names and that could not be read: what they would have held is not to be replaced by
        a rule.
    also
        Ids of acquisitions that are measured together with the first one of ``roles`` (further bed positions).
    """

    score: float
    roles: Mapping[str, Acquisition] = field(default_factory=dict)
    missing: tuple[Problem, ...] = ()
    set_aside: Mapping[str, Problem] = field(default_factory=dict)
    lost_regions: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


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


@dataclass(frozen=True)
class Administration:
    """What was given to the subject.

    Attributes
    ----------
    agent
        Name as a header would bear it.
    time
        When.
    activity_bq
        Activity at that time; None for agents that bear none.
    radionuclide
        ``18F``, ``89Zr`` ...; None where the agent says it or has none.
    mass_mg
        Mass of the agent, where it matters.
    """

    agent: str
    time: datetime
    activity_bq: float | None = None
    radionuclide: str | None = None
    mass_mg: float | None = None


@dataclass(frozen=True)
class Protocol:
    """How a scan is made, as plain data that a file can hold; each lens says which parameters it knows."""

    lens: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Truth:
    """One true value.

    Attributes
    ----------
    quantity, unit
        As in the vocabulary.
    region
        Name of the lesion, or ``all lesions``.
    ideal
        Of the object itself.
    seen
        As an ideal scanner of the stated resolution, voxels and rule shows it, without noise.
    centre
        (X, Y, Z) of the lesion in mm.
    time_s
        Seconds from time zero at which it holds; NaN where the scan has one frame.
    acquisition
        Id of the simulated scan.
    component
        Of the knowledge base, where the value is of one; a pair is ``a|b``.
    """

    quantity: str
    unit: str
    region: str
    ideal: float
    seen: float
    centre: tuple[float, float, float] | None = None
    time_s: float = math.nan
    acquisition: str = ""
    component: str = ""


@dataclass(frozen=True)
class Simulated:
    """What a simulated scan gives.

    Attributes
    ----------
    acquisitions
        The scans, as a reader would have read them.
    regions
        True outlines on the grid of the scans.
    truth
        The expected value of every quantity, ideal and as a noise-free scanner shows it.
    noise_free
        The same acquisitions without noise, in the same order.
    """

    acquisitions: tuple[Acquisition, ...]
    regions: tuple[Region, ...]
    truth: tuple[Truth, ...]
    noise_free: tuple[Acquisition, ...] = ()


@runtime_checkable
class Simulates(TypingProtocol):
    """A lens that also shows what a scanner would make of a scene."""

    def simulate(
        self, scene: Any, administrations: Sequence[Administration], protocol: Protocol, rng: np.random.Generator
    ) -> Simulated:
        """Acquisitions of a scene (host, tumours and day), with their truth."""
        ...


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
