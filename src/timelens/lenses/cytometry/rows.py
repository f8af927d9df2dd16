"""What all rows of the lens share: of which component, by which method, with which interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import timelens
from timelens.knowledge import components
from timelens.lenses.cytometry.types import SIGNATURES

if TYPE_CHECKING:
    from timelens.lenses.cytometry.cells import Cells
    from timelens.lenses.cytometry.sample import Sample

__all__ = ["LEVEL", "TUMOUR", "binomial", "component_types", "members", "method"]

TUMOUR = "tumour-cell"
LEVEL = 0.95


def members(component: str, names: Sequence[str]) -> list[int]:
    """Places of the told types that are a component or belong to it."""
    family = components.family(component)
    return [k for k, name in enumerate(names) if name in family]


def component_types(cells: Cells | Sample) -> dict[str, list[int]]:
    """Components that have rows, to the places of their types: all cells, told types, their families, the unknown."""
    families = {s.family for k, s in SIGNATURES.items() if s.family and k in cells.names}
    listed: dict[str, list[int]] = {"cell": list(range(len(cells.names)))}
    listed |= {c: members(c, cells.names) for c in dict.fromkeys((*cells.names[1:], *sorted(families)))}
    listed[cells.names[0]] = [0]
    return listed


def method(cells: Cells, what: str) -> dict[str, Any]:
    """Columns of a row that say how it came about."""
    source = f"cells: {cells.name}" if cells.name else "cells"
    return {"modality": "cytometry", "method": f"{what}; {source}", "method_version": timelens.__version__}


def binomial(number: int, total: int) -> tuple[float, float]:
    """Exact interval of a part, at the level of all rows."""
    from timelens.engines.statistics import binomial_interval

    return binomial_interval(number, total, level=LEVEL)
