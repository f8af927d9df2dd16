"""The cell types of the virtual tumour: exclusive leaves that sum to all cells, by the ids of the knowledge base.

Where the knowledge base has a subset of a leaf as a leaf of its own (Th1 and regulatory T cells of CD4 T cells,
exhausted ones of CD8, plasma cells of B cells), the leaf means *the others*. What people ask for is a sum:
:func:`leaves_of` leads from any component to the leaves that belong to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import numpy as np

from timelens.errors import UsageError
from timelens.knowledge import components

__all__ = ["LEAVES", "PICOLITRE_MM3", "Leaf", "leaf", "leaves_of"]

#: mm3 in a picolitre.
PICOLITRE_MM3 = 1e-6


@dataclass(frozen=True)
class Leaf:
    """One cell type: its size, and where in a tumour it is found.

    Attributes
    ----------
    id
        Component of the knowledge base.
    volume_pl
        Volume of a cell in picolitres (orders of published sizes: lymphocytes 0.2, neutrophils 0.35, tumour cells 2;
        macrophages shrunk against 5 of lavage, Krombach 1997, doi:10.1289/ehp.97105s51261).
    nest
        Density among tumour cells relative to that in stroma; effector cells have it times the access of the tumour.
    margin
        By how much the density rises at the invasive margin (1 is twofold).
    core
        How fast it falls towards the core: exponent over the radius.
    host
        Density outside of the tumour relative to stroma.
    tls
        Cells per mm3 in tertiary lymphoid structures, where the tumour has any (at most nine tenths of all cells of the
        type are there).
    zone
        Which part of them: ``follicle`` in the middle, ``t zone`` around it, or ``all``.
    vessels
        Power of the local vessel density.
    effector
        Whether exclusion keeps it out of the nests.
    """

    id: str
    volume_pl: float
    nest: float = 1.0
    margin: float = 0.0
    core: float = 0.0
    host: float = 0.1
    tls: float = 0.0
    zone: Literal["follicle", "t zone", "all"] = "all"
    vessels: float = 0.0
    effector: bool = False

    @property
    def volume_mm3(self) -> float:
        """Volume of a cell in mm3."""
        return self.volume_pl * PICOLITRE_MM3

    @property
    def diameter_mm(self) -> float:
        """Diameter of a sphere of that volume."""
        return float(np.cbrt(6 * self.volume_mm3 / np.pi))


def _effector(name: str, volume_pl: float, **changes: float) -> Leaf:
    known = {"nest": 1.0, "margin": 1.5, "core": 1.0, "host": 0.05, "vessels": 0.5} | changes
    return Leaf(name, volume_pl, effector=True, zone="t zone", **known)


#: All leaves by id. Tumour cells take the room that the others leave.
LEAVES = MappingProxyType(
    {
        each.id: each
        for each in (
            Leaf("tumour-cell", 2.0, host=0.0),
            _effector("cd8-t-cell", 0.2),
            _effector("exhausted-cd8-t-cell", 0.2, margin=0.3, core=0.3, host=0.0),
            _effector("cd4-t-cell", 0.2, nest=0.5, tls=4e5),
            _effector("th1", 0.2, nest=0.6, tls=5e4),
            Leaf("treg", 0.2, nest=0.5, margin=0.8, core=0.5, tls=4e4, zone="t zone", vessels=0.5),
            _effector("memory-t-cell", 0.2, nest=0.5, tls=1e5),
            _effector("nkt-cell", 0.25),
            _effector("nk-cell", 0.25, nest=0.3),
            _effector("car-t-cell", 0.25, host=0.02, margin=2.0, core=2.0, vessels=1.0),
            _effector("car-nk-cell", 0.3, host=0.02, margin=2.0, core=2.5, vessels=1.0),
            Leaf("b-cell", 0.2, nest=0.05, margin=1.0, core=1.0, tls=1e6, zone="follicle"),
            Leaf("plasma-cell", 0.6, nest=0.05, margin=0.5, core=0.8, tls=5e4),
            Leaf("dendritic-cell", 1.0, nest=0.2, margin=1.0, core=0.8, tls=3e4),
            Leaf("m1-macrophage", 2.0, nest=0.7, margin=1.0, core=1.0),
            Leaf("m2-macrophage", 2.0, nest=0.5, margin=0.3, core=-0.5, host=0.2),
            Leaf("n1-tan", 0.35, nest=0.7, margin=1.0, core=0.8, host=0.02, vessels=0.5),
            Leaf("n2-tan", 0.35, nest=0.7, margin=0.3, core=-0.5, host=0.02),
            Leaf("mdsc", 0.5, nest=0.7, core=-0.5, host=0.02),
            Leaf("msc", 2.0, nest=0.02, margin=0.5, host=0.1, vessels=0.5),
            Leaf("caf", 2.5, nest=0.03, margin=0.5, host=0.0),
            Leaf("endothelial-cell", 0.4),
        )
    }
)


def leaf(name: str) -> Leaf:
    """The leaf of that id, name or synonym of the knowledge base.

    Raises
    ------
    UsageError
        If that is no leaf.
    """
    found = LEAVES.get(name) or LEAVES.get(components.get(name).id)
    if found is None:
        raise UsageError(
            "The virtual tumour has no leaf of that name",
            field="component",
            found=name,
            expected=", ".join(LEAVES),
            mend="ask for its density: sums over leaves are taken there",
        )
    return found


@lru_cache(maxsize=512)
def leaves_of(component: str) -> tuple[str, ...]:
    """Leaves that are the component or belong to it (``t-cell``: all T cells); empty where the tumour has none.

    Raises
    ------
    UsageError
        If the knowledge base has no such component.
    """
    if component == "cell":
        return tuple(LEAVES)
    family = components.family(component)
    return tuple(each for each in LEAVES if each in family)
