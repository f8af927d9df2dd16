"""The vocabulary of quantities: what each name means, its one reported unit, and its code in other vocabularies.

The vocabulary is ``data/quantities.csv``, one row a quantity, which anybody may read and extend.
"""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from timelens.errors import UsageError

__all__ = ["Quantity", "by_symbol", "categories", "find", "get", "names"]


@dataclass(frozen=True)
class Quantity:
    """One row of the vocabulary.

    Attributes
    ----------
    name, symbol
        The stable name (``suv_max``) and how people write it (``SUVmax``).
    unit
        The UCUM code in which the quantity is always reported.
    kind
        Quantities of one kind may be added; ``k1`` (a clearance) and ``k2`` (a rate constant) may not.
    definition, source
        One sentence, and where it comes from.
    ibsi, dicom, qiba
        Code in the IBSI reference manual, ``value:scheme`` in DICOM, and the QIBA profile; empty where none exists.
    """

    name: str
    symbol: str
    unit: str
    kind: str
    definition: str
    source: str
    ibsi: str = ""
    dicom: str = ""
    qiba: str = ""


@lru_cache(maxsize=1)
def _table() -> dict[str, Quantity]:
    text = resources.files("timelens.knowledge").joinpath("data/quantities.csv").read_text(encoding="utf-8")
    return {row["name"]: Quantity(**row) for row in csv.DictReader(text.splitlines())}


def categories(quantity: Quantity) -> dict[int, str]:
    """Names by code of a quantity of the kind ``category``, as its definition lists them; empty for any other.

    >>> categories(get("curve_type"))
    {1: 'persistent', 2: 'plateau', 3: 'wash-out'}
    """
    if quantity.kind != "category":
        return {}
    listed = quantity.definition.split(": ", 1)[-1].split(", ")
    return {int(code): name for code, name in (entry.split(" ", 1) for entry in listed)}


def names() -> list[str]:
    """All names, in the order of the vocabulary."""
    return list(_table())


def find(name: str) -> Quantity | None:
    """The quantity of that name, or None."""
    return _table().get(name)


def by_symbol(symbol: str) -> Quantity | None:
    """The quantity that people write so (``SUVpeak``), in capitals or not; None if there is none.

    >>> by_symbol("SUVpeak").name
    'suv_peak'
    """
    return next((q for q in _table().values() if q.symbol.lower() == symbol.lower()), None)


def get(name: str) -> Quantity:
    """The quantity of that name.

    Raises
    ------
    UsageError
        If the vocabulary has no such name; the nearest names are proposed.

    Examples
    --------
    >>> get("suv_max").unit
    'g/mL'
    """
    found = _table().get(name)
    if found is None:
        near = difflib.get_close_matches(name, names(), n=3)
        raise UsageError(
            f"Unknown quantity {name!r}",
            found=name,
            expected="a name of the quantity vocabulary",
            mend=f"did you mean {', '.join(near)}?" if near else "see timelens.knowledge.quantities.names()",
        )
    return found
