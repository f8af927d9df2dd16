"""Conventions by name: what counts as many T cells, and what as a lymphoid structure.

No values are accepted by the field: published cut-offs differ by stain, tumour and way of counting, and tools that use
them agree in two cases of three. Each convention therefore has a name that stands in every row which rests on it, and
``study.yaml`` may state others. Those given here are round numbers, chosen before any tumour was looked at; they are
no statement about patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from timelens.engines.cells.immune_phenotype import CutOffs
from timelens.errors import UsageError

__all__ = ["CUT_OFFS", "LYMPHOID", "LymphoidProfile", "cut_offs", "lymphoid_profile"]


@dataclass(frozen=True)
class LymphoidProfile:
    """What makes a tertiary lymphoid structure.

    Attributes
    ----------
    name
        Stands in every row that rests on it.
    reach_um, fewest_within_reach
        A B cell with so many B cells within reach, itself counted, is the core of a cluster.
    fewest_b, fewest_t
        B cells of a cluster, and T cells in it and around.
    around_um
        How far around its B cells other cells belong to it.
    """

    name: str
    reach_um: float
    fewest_within_reach: int
    fewest_b: int
    fewest_t: int
    around_um: float

    def __post_init__(self) -> None:
        least = min(self.reach_um, self.fewest_within_reach, self.fewest_b, self.fewest_t, self.around_um)
        if not self.name or not least > 0:
            raise UsageError("A lymphoid profile has a name, and its values are positive", field="immune: lymphoid",
                             found=str(self), expected="a name and positive numbers")  # fmt: skip


#: Densities of CD8 T cells, in cells per mm2, from which on there are many in nests and in stroma.
CUT_OFFS: Mapping[str, CutOffs] = {
    one.name: one
    for one in (CutOffs("cd8-100-100", 100.0, 100.0), CutOffs("cd8-50-50", 50.0, 50.0),
                CutOffs("cd8-200-200", 200.0, 200.0), CutOffs("cd8-100-300", 100.0, 300.0))
}  # fmt: skip
#: ``b50-t10`` asks for 50 B and 10 T cells within 50 um, ``b20-t10`` finds smaller ones.
LYMPHOID: Mapping[str, LymphoidProfile] = {
    one.name: one
    for one in (LymphoidProfile("b50-t10", 30.0, 6, 50, 10, 50.0), LymphoidProfile("b20-t10", 30.0, 6, 20, 10, 50.0))
}


def cut_offs(stated: Any) -> CutOffs:
    """The convention of that name, or the one that a mapping of name, nest and stroma states.

    Raises
    ------
    UsageError
        If there is none of that name, or the mapping is not whole.
    """
    if isinstance(stated, str) and stated in CUT_OFFS:
        return CUT_OFFS[stated]
    return CutOffs(**_stated(stated, ("name", "nest", "stroma"), "cut_offs", CUT_OFFS))


def lymphoid_profile(stated: Any) -> LymphoidProfile:
    """The profile of that name, or the one that a mapping of all its fields states.

    Raises
    ------
    UsageError
        If there is none of that name, or the mapping is not whole.
    """
    if isinstance(stated, str) and stated in LYMPHOID:
        return LYMPHOID[stated]
    return LymphoidProfile(**_stated(stated, tuple(LymphoidProfile.__annotations__), "lymphoid", LYMPHOID))


def _stated(stated: Any, fields: tuple[str, ...], parameter: str, known: Mapping[str, Any]) -> dict[str, Any]:
    whole = isinstance(stated, Mapping) and set(stated) == set(fields)
    numbers = [v for k, v in stated.items() if k != "name"] if whole else []
    if not whole or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in numbers):
        raise UsageError(
            "There is no such convention", field=f"immune: {parameter}", found=stated,
            expected=f"{', '.join(known)}, or numbers for {', '.join(fields[1:])} under a name",
        )  # fmt: skip
    return {**stated, "name": str(stated["name"])}
