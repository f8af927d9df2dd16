"""How much of each target the cells carry: copies per cell, soluble and matrix-bound parts, enzyme activity.

Copies per cell come from the knowledge base where a measured number stands there; otherwise from the class default in
:data:`CLASS_COPIES`, which says so in its ``source``. Users replace any of them (:meth:`Expression.replaced`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from timelens.errors import MissingFieldError
from timelens.knowledge import targets
from timelens.knowledge.records import Target
from timelens.tumor.cells import LEAVES, leaves_of

__all__ = ["CLASS_COPIES", "NMOL_PER_L", "STATES", "Carrier", "Expression", "expression"]

#: nmol/L of one molecule per mm3: 1e6 mm3/L, 1e9 nmol/mol, over Avogadro's number.
NMOL_PER_L = 1e15 / 6.02214076e23

#: Copies per carrying cell where the knowledge base has no measured number, by kind of target: orders, not data.
CLASS_COPIES = MappingProxyType(
    {
        "receptor": 5e4,
        "chemokine receptor": 2e4,
        "ligand": 5e4,
        "integrin": 1e5,
        "antigen": 1e5,
        "marker": 5e4,
        "transporter": 1e5,
        "enzyme": 1e5,
        "protease": 1e5,
        "protein": 1e5,
        "reporter": 1e5,
        "cytokine": 1e3,
        "chemokine": 1e3,
    }
)

#: Concentration of a matrix target per volume fraction of collagen, nmol/L: an order.
CLASS_MATRIX_NMOL_PER_L = 1e3
#: Concentration of a secreted target in interstitial fluid, nmol/L: an order.
CLASS_SOLUBLE_NMOL_PER_L = 0.1
#: Turnover of an enzyme without a stated one, 1/s: an order.
CLASS_TURNOVER_PER_S = 1.0

#: States and groups of the knowledge base that are no leaf: which leaves are in them, and what part.
STATES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "activated-t-cell": {
            "cd8-t-cell": 0.3,
            "exhausted-cd8-t-cell": 0.5,
            "th1": 0.5,
            "cd4-t-cell": 0.1,
            "car-t-cell": 0.5,
        },
        "apc": {"dendritic-cell": 1.0, "b-cell": 1.0, "m1-macrophage": 1.0, "m2-macrophage": 0.5},
        "cdc2": {"dendritic-cell": 0.5},
        "breg": {"b-cell": 0.05},
        "monocyte": {"mdsc": 0.5},
        "m-mdsc": {"mdsc": 0.5},
        "cancer-stem-cell": {"tumour-cell": 0.01},
    }
)


@dataclass(frozen=True)
class Carrier:
    """A leaf that carries a target.

    Attributes
    ----------
    leaf
        Its id.
    copies
        Copies on a positive cell.
    positive
        Part of the cells that are positive.
    source
        Where the number is from.
    """

    leaf: str
    copies: float
    positive: float
    source: str


@dataclass(frozen=True)
class Expression:
    """Where a target is.

    Attributes
    ----------
    target
        Its id.
    carriers
        Leaves that carry it.
    soluble_nmol_per_l
        Concentration in interstitial fluid.
    matrix_nmol_per_l
        Concentration per volume fraction of collagen.
    turnover_per_s
        Of an enzyme: substrate per molecule and second.
    active_fraction
        Of an enzyme: the part that is active.
    """

    target: str
    carriers: tuple[Carrier, ...] = ()
    soluble_nmol_per_l: float = 0.0
    matrix_nmol_per_l: float = 0.0
    turnover_per_s: float = CLASS_TURNOVER_PER_S
    active_fraction: float = 1.0

    def replaced(self, copies: Mapping[str, float], *, source: str = "stated by the user") -> Expression:
        """With other copies per cell by leaf, all of them positive; other leaves stay as they are."""
        kept = tuple(c for c in self.carriers if c.leaf not in copies)
        new = tuple(Carrier(name, number, 1.0, source) for name, number in copies.items() if name in LEAVES)
        if unknown := set(copies) - set(LEAVES):
            raise MissingFieldError(
                "There are no such leaves", field="copies", found=sorted(unknown), expected=list(LEAVES)
            )
        return replace(self, carriers=kept + new)


def expression(name: str) -> Expression:
    """Where a target of the knowledge base is in the virtual tumour, with a source for each number.

    Parameters
    ----------
    name
        Id, name, synonym or HGNC symbol.

    Raises
    ------
    MissingFieldError
        If the target is a process or property (hypoxia, perfusion), which is a field of its own, or no leaf carries it.
    UsageError
        If the knowledge base has no such target.
    """
    record = targets.get(name)
    if record.kind in ("process", "property"):
        raise MissingFieldError(
            f"{record.name} is a {record.kind}, which has no concentration",
            field="target",
            found=record.id,
            mend="use the field of the tumour: oxygen, ph, perfusion",
        )
    carriers = _carriers(record)
    matrix = 0.0
    if "ecm" in record.components or record.kind == "matrix protein":
        matrix = CLASS_MATRIX_NMOL_PER_L
    soluble = CLASS_SOLUBLE_NMOL_PER_L if "secreted" in record.location else 0.0
    if not carriers and not matrix and not soluble:
        raise MissingFieldError(
            f"No cell of the virtual tumour is known to carry {record.name}",
            field="components",
            found=", ".join(record.components) or "none",
            mend="give copies per cell by leaf: Expression(target).replaced({...})",
        )
    return Expression(record.id, carriers, soluble_nmol_per_l=soluble, matrix_nmol_per_l=matrix)


def _carriers(record: Target) -> tuple[Carrier, ...]:
    measured = next((a for a in record.copies_per_cell if a.typical is not None and a.unit == "{copies}/{cell}"), None)
    if measured is not None and measured.typical is not None:
        copies, source = measured.typical, f"knowledge base: {measured.source}"
    else:
        copies = CLASS_COPIES.get(record.kind, 1e5)
        source = f"class default for a {record.kind}"
    positive: dict[str, float] = {}
    for component in record.components:
        known = STATES.get(component)
        for leaf, part in known.items() if known else ((each, 1.0) for each in leaves_of(component)):
            positive[leaf] = max(part, positive.get(leaf, 0.0))
    return tuple(Carrier(leaf, copies, positive[leaf], source) for leaf in LEAVES if leaf in positive)
