"""How fast agents cross the walls of tumour vessels: permeability by class of agent, or an agent's own.

``data/permeability.csv`` is the one table of it; a value times the vessel surface of a tumour is its
permeability-surface product.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from timelens.errors import UsageError

__all__ = ["Permeability", "find", "get", "names"]


@dataclass(frozen=True)
class Permeability:
    """One row of the table.

    Attributes
    ----------
    of
        Class of physiology (``peptide``, ``antibody`` ...), or the id of an agent with a value of its own.
    mm_per_s
        Permeability of tumour vessels in mm/s; 0 for what does not cross them by diffusion.
    source
        Where the value comes from, or that it was chosen and why.
    """

    of: str
    mm_per_s: float
    source: str


@lru_cache(maxsize=1)
def _table() -> dict[str, Permeability]:
    text = resources.files("timelens.knowledge").joinpath("data/permeability.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["of"]: Permeability(row["of"], float(row["permeability_mm_per_s"]), row["source"]) for row in rows}


def names() -> list[str]:
    """Classes and agents of the table, in its order."""
    return list(_table())


def find(of: str) -> Permeability | None:
    """The row of a class or agent, or None."""
    return _table().get(of)


def get(of: str) -> Permeability:
    """The row of a class or agent.

    Raises
    ------
    UsageError
        If the table has none.

    Examples
    --------
    >>> get("antibody").mm_per_s
    3e-06
    """
    found = find(of)
    if found is None:
        raise UsageError(
            "No permeability is known for this class", field="permeability", found=of, expected=", ".join(names())
        )
    return found
