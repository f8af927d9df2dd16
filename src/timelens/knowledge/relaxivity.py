"""How much a contrast agent speeds relaxation, by agent, field and medium, at 37 degrees Celsius.

``data/relaxivities.csv`` holds published values, one row a measurement, with its standard deviation and source. A field
between two measured ones is interpolated; outside them, or for an agent that is not listed, nothing is guessed.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Literal, get_args

import numpy as np

from timelens.errors import MissingFieldError, UsageError
from timelens.knowledge.load import loose, store

__all__ = ["Medium", "Relaxivity", "agents", "relaxivity"]

Medium = Literal["plasma", "blood"]

#: Fields of scanners deviate from their name (1.494 T, 2.89 T); within this part they count as that field.
SAME_FIELD = 0.05
#: Other names of the agents listed, without case, blanks and hyphens.
_NAMES = {
    "gadovist": "gadobutrol",
    "gadavist": "gadobutrol",
    "prohance": "gadoteridol",
    "dotarem": "gadoterate",
    "clariscan": "gadoterate",
    "gadoteratemeglumine": "gadoterate",
    "gadotericacid": "gadoterate",
}


@dataclass(frozen=True, slots=True)
class Relaxivity:
    """``r1`` in L/mmol/s at ``field_t`` tesla with its standard deviation, and whether it was interpolated."""

    agent: str
    field_t: float
    medium: str
    r1: float
    r1_sd: float
    source: str
    interpolated: bool = False


@lru_cache(maxsize=1)
def _rows() -> tuple[Relaxivity, ...]:
    text = resources.files("timelens.knowledge").joinpath("data/relaxivities.csv").read_text(encoding="utf-8")
    return tuple(
        Relaxivity(
            row["agent"], float(row["field_t"]), row["medium"], float(row["r1"]), float(row["r1_sd"]), row["source"]
        )
        for row in csv.DictReader(text.splitlines())
    )


def agents() -> list[str]:
    """Agents with published values."""
    return sorted({row.agent for row in _rows()})


def relaxivity(agent: str, field_t: float, *, medium: Medium = "plasma") -> Relaxivity:
    """Longitudinal relaxivity of an agent at a field.

    Parameters
    ----------
    agent
        Its name or a synonym (``"Gadovist"``).
    field_t
        Field of the scanner, T.
    medium
        ``"plasma"``, which is taken for tissue too, or ``"blood"``.

    Raises
    ------
    MissingFieldError
        No value is published for this agent, medium or field.

    Examples
    --------
    >>> relaxivity("Gadovist", 3.0).r1
    4.97
    """
    if medium not in get_args(Medium):
        raise UsageError("Unknown medium", field="medium", found=medium, expected=", ".join(get_args(Medium)))
    name = _NAMES.get(loose(agent), loose(agent))
    if name not in agents():
        known = store().agents.find(agent)
        name = known.id if known is not None else name
    rows = sorted((row for row in _rows() if row.agent == name and row.medium == medium), key=lambda row: row.field_t)
    near = [row for row in rows if abs(row.field_t - field_t) <= SAME_FIELD * row.field_t]
    if near:
        return near[0]
    if not rows or not rows[0].field_t <= field_t <= rows[-1].field_t:
        fields = ", ".join(f"{row.field_t:g} T" for row in rows)
        raise MissingFieldError(
            "The relaxivity of this agent is not known here",
            field="relaxivity",
            found=f"{agent} in {medium} at {field_t:g} T",
            expected=f"{name} at {fields}" if rows else f"one of {', '.join(agents())}",
            mend="give the relaxivity itself, in L/mmol/s",
        )
    at = [row.field_t for row in rows]
    value, spread = (float(np.interp(field_t, at, [getattr(row, key) for row in rows])) for key in ("r1", "r1_sd"))
    return Relaxivity(name, field_t, medium, value, spread, rows[0].source, interpolated=True)
