"""What all rows of the lens share: of which component, by which method, with which interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import timelens
from timelens.knowledge import components
from timelens.lenses.cytometry.cells import UNKNOWN, Cells
from timelens.lenses.cytometry.types import SIGNATURES
from timelens.study.measurement import Measurement

__all__ = ["LEVEL", "TUMOUR", "component_types", "members", "method", "missing", "why_not_told"]

TUMOUR = "tumour-cell"
LEVEL = 0.95


def members(component: str, names: Sequence[str]) -> list[int]:
    """Places of the told types that are a component or belong to it."""
    family = components.family(component)
    return [k for k, name in enumerate(names) if name in family]


def component_types(cells: Cells) -> dict[str, list[int]]:
    """Components that have rows, to the places of their types: all cells, told types, their families, the unknown."""
    families = {s.family for k, s in SIGNATURES.items() if s.family and k in cells.names}
    listed: dict[str, list[int]] = {"cell": list(range(len(cells.names)))}
    listed |= {c: members(c, cells.names) for c in dict.fromkeys((*cells.names[1:], *sorted(families)))}
    listed[UNKNOWN] = [0]
    return listed


def method(cells: Cells, what: str) -> dict[str, Any]:
    """Columns of a row that say how it came about."""
    source = f"cells: {cells.name}" if cells.name else "cells"
    return {"modality": "cytometry", "method": f"{what}; {source}", "method_version": timelens.__version__}


def missing(cells: Cells, quantity: str, unit: str, why: str, what: str, **row: Any) -> Measurement:
    """A row without a number."""
    return Measurement(quantity, math.nan, unit, reason=why, **row, **method(cells, what))


def why_not_told(cells: Cells, component: str) -> str:
    """Why no cell is of a component; empty where some type of it was told."""
    if members(component, cells.names):
        return ""
    return f"{component} not told: {cells.not_told.get(component, 'not in the panel')}"
