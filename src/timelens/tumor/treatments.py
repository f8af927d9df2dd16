"""What is done to a tumour and when: events that the dynamics reads.

Days count from the start of the course. Drug levels are relative to the level of half effect; a level falls with one
half-life, and doses add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from timelens.errors import UsageError

__all__ = ["CellInfusion", "CheckpointInhibitor", "Chemotherapy", "Radiotherapy", "TgfBetaInhibitor", "Treatment"]


def _require(condition: bool, what: str, field: str, found: object, expected: str) -> None:
    if not condition:
        raise UsageError(what, field=field, found=found, expected=expected)


@dataclass(frozen=True)
class _Drug:
    """One dose of a drug.

    Attributes
    ----------
    day
        When it is given.
    level
        Level right after the dose, in multiples of the level of half effect.
    half_life_days
        Of the drug in the tumour.
    """

    day: float
    level: float = 10.0
    half_life_days: float = 20.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        _require(self.level > 0, f"{name} has no effect", "level", self.level, "> 0")
        _require(self.half_life_days > 0, f"{name} would not stay", "half_life_days", self.half_life_days, "> 0")

    def level_at(self, day: float) -> float:
        """Level left of this dose."""
        return self.level * 2.0 ** (-(day - self.day) / self.half_life_days) if day >= self.day else 0.0


@dataclass(frozen=True)
class CheckpointInhibitor(_Drug):
    """An antibody against PD-1 or PD-L1, which takes off the brake of effector cells.

    Antibodies stay for weeks: nivolumab and pembrolizumab have terminal half-lives of about 25 days (labels).
    """

    knowledge: ClassVar[str] = "checkpoint inhibitor"


@dataclass(frozen=True)
class TgfBetaInhibitor(_Drug):
    """Blockade of TGF-beta, which lets effector cells leave the stroma (Mariathasan 2018, doi:10.1038/nature25501)."""

    half_life_days: float = 10.0
    knowledge: ClassVar[str] = "targeted therapy"


@dataclass(frozen=True)
class Chemotherapy(_Drug):
    """A cytotoxic drug, which kills dividing cells of the tumour and of the immune system."""

    level: float = 3.0
    half_life_days: float = 1.0
    knowledge: ClassVar[str] = "chemotherapy"


@dataclass(frozen=True)
class Radiotherapy:
    """Fractions of one dose on one day, which act at once by the linear-quadratic law.

    Attributes
    ----------
    day
        When they are given.
    dose_gy
        Dose of one fraction.
    fractions
        How many; their damage is repaired in between.
    """

    day: float
    dose_gy: float
    fractions: int = 1
    knowledge: ClassVar[str] = "radiotherapy"

    def __post_init__(self) -> None:
        _require(self.dose_gy > 0, "Radiotherapy without dose", "dose_gy", self.dose_gy, "> 0 Gy")
        _require(self.fractions >= 1, "Radiotherapy without fractions", "fractions", self.fractions, ">= 1")


@dataclass(frozen=True)
class CellInfusion:
    """Engineered cells that reach the tumour.

    Attributes
    ----------
    day
        When they are infused.
    cells
        How many are infused.
    component
        What they are, by id in the knowledge base.
    homing
        Part of them that arrives in the tumour.
    """

    day: float
    cells: float
    component: Literal["car-t-cell", "car-nk-cell"] = "car-t-cell"
    homing: float = 0.02
    knowledge: ClassVar[str] = "cell therapy"

    def __post_init__(self) -> None:
        _require(self.cells > 0, "An infusion without cells", "cells", self.cells, "> 0")
        _require(0 < self.homing <= 1, "A part is between 0 and 1", "homing", self.homing, "0 to 1")
        known = ("car-t-cell", "car-nk-cell")
        _require(
            self.component in known, "Cells that the dynamics does not know", "component", self.component, str(known)
        )


Treatment: TypeAlias = CheckpointInhibitor | TgfBetaInhibitor | Chemotherapy | Radiotherapy | CellInfusion
