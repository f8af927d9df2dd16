"""Inflamed, excluded or desert: from the densities of CD8 T cells in tumour nests and stroma, with probabilities.

Inflamed: many in the nests; excluded: few in the nests but many in the stroma; desert: few in both (Chen and Mellman
2017, doi:10.1038/nature21349). What is many is a matter of convention, and published conventions disagree: cut-offs are
named and given, and the number is never reported without them. The counts are few, so that a tumour near a cut-off
could belong to either class: with a count n in an area A, the density follows a gamma law of shape n + 1/2 (Jeffreys),
and the probabilities of the classes follow from its tails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.special import gammaincc

from timelens.errors import UsageError

__all__ = ["CutOffs", "ImmunePhenotype", "immune_phenotype"]

Class = Literal["inflamed", "excluded", "desert"]


@dataclass(frozen=True)
class CutOffs:
    """A named convention: densities from which on there are many, in cells per square millimetre."""

    name: str
    nest: float
    stroma: float

    def __post_init__(self) -> None:
        if not (self.name and np.isfinite([self.nest, self.stroma]).all() and min(self.nest, self.stroma) > 0):
            raise UsageError("Cut-offs have a name and are positive densities", field="CutOffs",
                             found=(self.name, self.nest, self.stroma), expected="cells per mm2")  # fmt: skip


@dataclass(frozen=True)
class ImmunePhenotype:
    """Probability of each class under one convention.

    All are NaN where no nest was seen; without any stroma in sight only ``inflamed`` is known, since what is few in the
    nests may be excluded or desert.
    """

    inflamed: float
    excluded: float
    desert: float
    cut_offs: CutOffs

    @property
    def most_likely(self) -> Class | None:
        """The class with the highest probability, or None where that is not known."""
        if np.isnan(self.inflamed):
            return None
        if np.isnan(self.excluded):
            return "inflamed" if self.inflamed > 0.5 else None
        return max(get_args(Class), key=lambda name: getattr(self, name))


def immune_phenotype(
    nest_cells: int, nest_mm2: float, stroma_cells: int, stroma_mm2: float, cut_offs: CutOffs
) -> ImmunePhenotype:
    """Classify a tumour.

    Parameters
    ----------
    nest_cells, stroma_cells
        CD8 T cells counted in the nests and in the stroma (with the margin, or without, as the convention says).
    nest_mm2, stroma_mm2
        Areas in square millimetres; what an area of zero leaves open is NaN.
    cut_offs
        The convention.

    Raises
    ------
    UsageError
        If a count or an area is negative.
    """
    if min(nest_cells, stroma_cells, nest_mm2, stroma_mm2) < 0:
        raise UsageError("Counts and areas are zero or more", field="nest_cells, nest_mm2",
                         found=(nest_cells, nest_mm2, stroma_cells, stroma_mm2))  # fmt: skip
    if not nest_mm2 > 0:
        return ImmunePhenotype(np.nan, np.nan, np.nan, cut_offs)
    nest = float(gammaincc(nest_cells + 0.5, cut_offs.nest * nest_mm2))
    if not stroma_mm2 > 0:
        return ImmunePhenotype(nest, np.nan, np.nan, cut_offs)
    stroma = float(gammaincc(stroma_cells + 0.5, cut_offs.stroma * stroma_mm2))
    return ImmunePhenotype(nest, (1 - nest) * stroma, (1 - nest) * (1 - stroma), cut_offs)
