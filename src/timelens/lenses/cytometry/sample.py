"""The cells of one region, or of all regions of a subject, under common names: what statistics are made of.

Regions are windows of one tissue: cells of two are never neighbours, and types are never shuffled between them. Sums
over regions go into one ratio, mean or test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.lenses.cytometry.cells import UNKNOWN, Cells
from timelens.lenses.cytometry.rows import component_types, members, method
from timelens.lenses.cytometry.types import SIGNATURES

__all__ = ["Sample", "sample_of"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Cells that are counted together.

    Attributes
    ----------
    regions
        One or several, each with cells.
    titles
        Their names.
    names
        ``unknown``, then every type that one of them tells.
    types
        Place in ``names`` of each cell's type, by region.
    """

    regions: tuple[Cells, ...]
    titles: tuple[str, ...]
    names: tuple[str, ...]
    types: tuple[NDArray[np.int64], ...]

    def __len__(self) -> int:
        return sum(len(c) for c in self.regions)

    @cached_property
    def kinds(self) -> NDArray[np.int64]:
        """Types of all cells, region after region."""
        return np.concatenate(self.types)

    @cached_property
    def image(self) -> NDArray[np.int64]:
        """Number of the region of each cell."""
        return np.repeat(np.arange(len(self.regions)), [len(c) for c in self.regions])

    @property
    def area_mm2(self) -> NDArray[np.float64]:
        """Of each region."""
        return np.array([c.window.area * 1e-6 for c in self.regions])

    def prefixed(self, text: str) -> str:
        """A name that says which set of cells it is of, where there are several."""
        return self.regions[0].prefixed(text)

    def place(self, part: str = "section") -> str:
        """What the column ``region`` says."""
        if len(self.regions) == 1:
            return self.prefixed(part)
        return self.prefixed("all regions" if part == "section" else f"all regions: {part}")

    def members(self, component: str) -> list[int]:
        """Places of the told types that are a component or belong to it."""
        return members(component, self.names)

    def components(self) -> dict[str, list[int]]:
        """What has rows, to the places of its types: all cells, told types, their families, the unknown."""
        return component_types(self)

    def told_in(self, component: str) -> list[int]:
        """The regions in which a component was told; where it was not, its cells are among the others."""
        if component in ("cell", UNKNOWN):
            return list(range(len(self.regions)))
        return [k for k, c in enumerate(self.regions) if members(component, c.names)]

    def places_told(self) -> NDArray[np.bool_]:
        """Which names each region tells, shape (regions, names)."""
        return np.array([[name in c.names for name in self.names] for c in self.regions])

    def partly_told(self, regions: Sequence[int]) -> str:
        """The remark that only some regions count; empty where all or none do."""
        return (
            "" if len(regions) in (0, len(self.regions)) else f"told in {len(regions)} of {len(self.regions)} regions"
        )

    def why_not_told(self, component: str) -> str:
        """Why no cell is of a component; empty where some type of it was told."""
        if self.members(component):
            return ""
        return f"{component} not told: {self.regions[0].not_told.get(component, 'not in the panel')}"

    def about(self, what: str) -> dict[str, Any]:
        """Columns of a row that say how it came about."""
        row = method(self.regions[0], what)
        if len(self.regions) > 1:
            row["method"] += f"; {len(self.regions)} regions"
        return row


def sample_of(regions: Sequence[Cells], titles: Sequence[str] = ("",)) -> Sample:
    """Put regions together under common names of types.

    Parameters
    ----------
    regions
        One or more.
    titles
        Their names.
    """
    if len(regions) == 1:
        return Sample(tuple(regions), tuple(titles), regions[0].names, (regions[0].types,))
    told = {name for c in regions for name in c.names}
    names = (UNKNOWN, *(n for n in SIGNATURES if n in told), *sorted(told - set(SIGNATURES) - {UNKNOWN}))
    types = tuple(np.array([names.index(n) for n in c.names], np.int64)[c.types] for c in regions)
    return Sample(tuple(regions), tuple(titles), names, types)
