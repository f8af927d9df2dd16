"""MR exams and biopsies of a specification, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from timelens.errors import UsageError
from timelens.knowledge.relaxivity import relaxivity
from timelens.lenses.cytometry.simulate import cytometry_protocol
from timelens.lenses.mri.protocol import mr_protocol
from timelens.run.simulation.entries import located, mapping, number, point, whole, word
from timelens.run.simulation.spec import Biopsy, Exam, MrExam, slug
from timelens.study.contract import Protocol

__all__ = ["exams_of"]

_EXAM = {"name", "tumour", "days", "after_s", "protocol"}
_KNOWN = {
    "mri": _EXAM | {"series", "agent", "field_t", "frame_of", "voxel_mm", "slices"},
    "biopsies": _EXAM | {"size_mm", "deepest_mm", "thickness_um"},
}
#: Settings of the MR protocol that may stand beside it.
_BESIDE = ("series", "agent", "field_t")
#: Voxels (z, y, x) of an MR series, and edge and thickness of a biopsy.
_MR_MM = {"human": (4.0, 2.0, 2.0), "mouse": (0.8, 0.4, 0.4)}
_SIZE_MM, _THICKNESS_UM = 0.4, 4.0


def exams_of(content: Mapping[str, Any], host: str | None, doses: Sequence[str]) -> tuple[Exam, ...]:
    """MR exams, then biopsies.

    Parameters
    ----------
    content
        The specification.
    host
        None for digital patients, in whom nothing but uptake is known.
    doses
        Names of the administrations.

    Raises
    ------
    UsageError
        If an entry cannot be used; the field says which.
    """
    exams: list[Exam] = []
    for kind in ("mri", "biopsies"):
        listed = content.get(kind) or []
        if not isinstance(listed, Sequence) or isinstance(listed, str):
            raise UsageError("MR exams and biopsies are lists", field=kind, found=listed, expected="[{name: ...}]")
        if listed and host is None:
            raise UsageError(
                "MR exams and biopsies look at virtual tumours", field=kind, expected="tumours in the arms"
            )
        for k, item in enumerate(listed):
            where = f"{kind}[{k}]"
            entry = mapping(item, where, _KNOWN[kind])
            assert host is not None
            exams.append(_mri(entry, where, host, doses) if kind == "mri" else _biopsy(entry, where))
    names = [slug(name).lower() for name in (*doses, *(each.name for each in exams))]
    if len(set(names)) < len(names) or not all(names):
        raise UsageError("Each administration, exam and biopsy has a name of its own", field="name", found=names)
    frames = [e.frame_of for e in exams if isinstance(e, MrExam) and e.frame_of is not None]
    if len(set(frames)) < len(frames):
        raise UsageError(
            "Two MR exams in one frame of reference could not be told apart", field="mri: frame_of", found=frames,
            expected="each administration once",
        )  # fmt: skip
    return tuple(exams)


def _common(entry: Mapping[str, Any], where: str, name: str) -> dict[str, Any]:
    days = entry.get("days")
    if days is not None and (not isinstance(days, Sequence) or isinstance(days, str) or not days):
        raise UsageError("Days are a list", field=f"{where}.days", found=days, expected="[0, 21]")
    return {
        "name": str(entry.get("name", name)),
        "tumour": None if entry.get("tumour") is None else str(entry["tumour"]),
        "days": None if days is None else tuple(number(d, f"{where}.days", above=False) for d in days),
        "after_s": number(entry.get("after_s", 0.0), f"{where}.after_s", above=False),
    }


def _mri(entry: Mapping[str, Any], where: str, host: str, doses: Sequence[str]) -> MrExam:
    settings = dict(mapping(entry.get("protocol") or {}, f"{where}.protocol"))
    for key in _BESIDE:
        if entry.get(key) is not None:
            settings[key] = entry[key]
    if isinstance(settings.get("series"), str):
        settings["series"] = [settings["series"]]
    if host == "mouse":
        settings.setdefault("population", "mcgrath_mouse")
    voxel = entry.get("voxel_mm", _MR_MM[host])
    z, y, x = point((voxel,) * 3 if isinstance(voxel, int | float) else voxel, f"{where}.voxel_mm")
    if min(z, y, x) <= 0:
        raise UsageError("Voxels have a size", field=f"{where}.voxel_mm", found=voxel, expected="mm along z, y, x")
    frame = entry.get("frame_of")
    protocol = located(f"{where}.protocol", partial(mr_protocol, Protocol("mri", settings)))
    if {"dce", "dsc"} & set(protocol.series):
        located(f"{where}.agent", partial(relaxivity, protocol.agent, protocol.field_t))
    return MrExam(
        **_common(entry, where, "MRI"),
        frame_of=None if frame is None else word(frame, doses, f"{where}.frame_of"),
        voxel_mm=(z, y, x),
        slices=None if entry.get("slices") is None else whole(entry["slices"], f"{where}.slices", 1),
        protocol=protocol,
    )


def _biopsy(entry: Mapping[str, Any], where: str) -> Biopsy:
    stated = Protocol("cytometry", dict(mapping(entry.get("protocol") or {}, f"{where}.protocol")))
    return Biopsy(
        **_common(entry, where, "biopsy"),
        size_mm=number(entry.get("size_mm", _SIZE_MM), f"{where}.size_mm"),
        deepest_mm=math.inf if entry.get("deepest_mm") is None else number(entry["deepest_mm"], f"{where}.deepest_mm"),
        thickness_um=number(entry.get("thickness_um", _THICKNESS_UM), f"{where}.thickness_um"),
        protocol=located(f"{where}.protocol", partial(cytometry_protocol, stated)),
    )
