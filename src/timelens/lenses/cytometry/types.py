"""Cell types by their markers, and what of them a panel can tell.

The table is general knowledge of the field, for the components of the knowledge base that the virtual tumour has as
leaves, and for the families that they fall back to. A type is told only if all the markers that define it were
measured and part into two groups; where a member of a family cannot be told, the family is told in its place if its
own markers are there, and means the others of the family. Everything else is named with the marker that it lacks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

__all__ = ["SIGNATURES", "Signature", "Told", "told"]


@dataclass(frozen=True)
class Signature:
    """What a type bears.

    Attributes
    ----------
    positive
        Markers that define it.
    negative
        Markers that it lacks; used where they were measured.
    needs
        Markers of ``negative`` without which the type cannot be told from its relatives.
    family
        The type that stands in where this one cannot be told.
    is_family
        Whether it is told only where one of its members cannot be.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    family: str = ""
    is_family: bool = False


def _t(text: str, without: str = "", needs: str = "", family: str = "", is_family: bool = False) -> Signature:
    return Signature(tuple(text.split()), tuple(without.split()), tuple(needs.split()), family, is_family)


_T = "CD20 CD68 CD66b CD31 SMA panCK"
_MYELOID = "CD3 CD20 CD56 CD31 SMA panCK"
_STROMA = "CD45 CD3 CD20 CD68 CD66b panCK"

#: By component of the knowledge base.
SIGNATURES: Mapping[str, Signature] = {
    "tumour-cell": _t("panCK", "CD45 CD3 CD20 CD68 CD66b CD31 SMA"),
    "t-cell": _t("CD45 CD3", f"CD4 CD8 FOXP3 CD45RO CD56 CAR {_T}", is_family=True),
    "cd8-t-cell": _t("CD45 CD3 CD8", f"CD4 TOX CD45RO CD56 CAR {_T}", family="t-cell"),
    "exhausted-cd8-t-cell": _t("CD45 CD3 CD8 TOX PD-1", f"CD4 CD56 CAR {_T}", family="cd8-t-cell"),
    "cd4-t-cell": _t("CD45 CD3 CD4", f"CD8 FOXP3 T-bet CD45RO CD56 CAR {_T}", family="t-cell"),
    "th1": _t("CD45 CD3 CD4 T-bet", f"CD8 FOXP3 CD45RO CD56 CAR {_T}", family="cd4-t-cell"),
    "treg": _t("CD45 CD3 CD4 FOXP3", f"CD8 T-bet CD56 CAR {_T}", family="cd4-t-cell"),
    "memory-t-cell": _t("CD45 CD3 CD45RO", f"FOXP3 T-bet TOX CD56 CAR {_T}", "FOXP3", family="t-cell"),
    "nkt-cell": _t("CD45 CD3 CD56", f"CAR FOXP3 {_T}", family="t-cell"),
    "car-t-cell": _t("CD45 CD3 CAR", f"CD56 {_T}", family="t-cell"),
    "nk-cell": _t("CD45 CD56", f"CD3 CAR {_T}", "CD3"),
    "car-nk-cell": _t("CD45 CD56 CAR", f"CD3 {_T}", "CD3", family="nk-cell"),
    "b-cell": _t("CD45 CD20", "CD3 CD138 CD68 CD66b CD56 CD31 SMA panCK"),
    "plasma-cell": _t("CD45 CD138", "CD3 CD20 CD68 CD66b CD56 CD31 SMA panCK"),
    "dendritic-cell": _t("CD45 CD11c HLA-DR", f"CD68 CD163 CD66b {_MYELOID}", "CD68"),
    "tam": _t("CD45 CD68", f"CD163 CD206 CD66b {_MYELOID}", is_family=True),
    "m1-macrophage": _t("CD45 CD68 HLA-DR", f"CD163 CD206 CD66b {_MYELOID}", "CD163", family="tam"),
    "m2-macrophage": _t("CD45 CD68 CD163 CD206", f"CD66b {_MYELOID}", family="tam"),
    "tan": _t("CD45 CD66b", f"CD68 CD163 {_MYELOID}", is_family=True),
    "n1-tan": _t("CD45 CD66b", f"arginase-1 CD68 CD163 {_MYELOID}", "arginase-1", family="tan"),
    "n2-tan": _t("CD45 CD66b arginase-1", f"CD68 CD163 {_MYELOID}", family="tan"),
    "mdsc": _t("CD45 CD33 CD11b", f"HLA-DR CD66b CD68 CD11c {_MYELOID}", "HLA-DR CD66b"),
    "msc": _t("CD105", f"SMA FAP CD31 {_STROMA}", "CD31 SMA"),
    "caf": _t("SMA FAP", f"CD31 {_STROMA}"),
    "endothelial-cell": _t("CD31", f"SMA FAP {_STROMA}"),
}


@dataclass(frozen=True)
class Told:
    """What a panel tells.

    Attributes
    ----------
    types
        Type to its markers, positive (True) or negative (False), as far as they were measured.
    not_told
        Type to the markers that it lacks.
    """

    types: Mapping[str, Mapping[str, bool]]
    not_told: Mapping[str, tuple[str, ...]]


def told(measured: Collection[str], signatures: Mapping[str, Signature] = SIGNATURES) -> Told:
    """Reduce a table of types to the markers that were measured.

    Parameters
    ----------
    measured
        Markers by the names of the table.
    signatures
        The table.
    """
    there = set(measured)
    lacking = {
        name: tuple(m for m in (*one.positive, *one.needs) if m not in there) for name, one in signatures.items()
    }
    chosen = {}
    for name, one in signatures.items():
        members = [k for k, s in signatures.items() if s.family == name]
        if lacking[name] or (one.is_family and all(not lacking[k] for k in members)):
            continue
        chosen[name] = dict.fromkeys(one.positive, True) | {m: False for m in one.negative if m in there}
    seen: dict[frozenset[tuple[str, bool]], str] = {}
    for name in list(chosen):
        said = frozenset(chosen[name].items())
        if said in seen:
            lacking[name] = (f"a marker that tells it from {seen.pop(said)}",)
            del chosen[name]
        else:
            seen[said] = name
    return Told(chosen, {k: v for k, v in lacking.items() if v and k not in chosen})
