"""Which series of a session are measured, as what, and which others they need.

Nothing is guessed from descriptions: the file's own kind (BIDS), else the axis of the image, else the settings of a
dynamic series (short-echo spoiled gradient echoes are contrast-enhanced T1, long gradient echoes first-pass T2*).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis
from timelens.study.contract import Match
from timelens.study.image import Image
from timelens.study.mr import mr_settings

__all__ = ["gathered", "kind_of", "match_series"]

#: Kind to score: the series that needs others comes first, so that a session's order is always the same.
_SCORES = {
    "dce": 0.74, "dsc": 0.73, "flip": 0.72, "inversion": 0.71, "saturation": 0.71, "look locker": 0.71,
    "gradient echoes": 0.70, "spin echoes": 0.69, "echoes": 0.68, "diffusion": 0.67, "dynamic": 0.66,
}  # fmt: skip
_AXIS_KINDS = {"flip": "flip", "inversion": "inversion", "b-value": "diffusion"}
#: Echo times in s that tell contrast-enhanced T1 from first-pass T2* where nobody says it.
_SHORT_TE, _LONG_TE = 0.010, 0.015
_FEWEST_FRAMES, _FEWEST_ECHOES = 6, 3


def kind_of(acquisition: Acquisition) -> str | None:
    """Kind of a series; ``echoes`` and ``dynamic`` where the files leave open which; None where it is not measured."""
    image, settings = acquisition.data, mr_settings(acquisition)
    if acquisition.modality != "mr" or not isinstance(image, Image) or image.geometry is None:
        return None
    if settings.part != "magnitude":
        return None
    if settings.kind is not None:
        return settings.kind
    if len(image.shape) != 4:
        return None
    axis = image.axes[0]
    kind = axis.kind if axis.kind in _AXIS_KINDS else axis.name
    if kind in _AXIS_KINDS:
        return _AXIS_KINDS[kind]
    if axis.kind == "echo" and image.shape[0] < _FEWEST_ECHOES:
        return None  # two echoes are mostly there to tell fat from water
    if axis.kind == "echo":
        return {True: "gradient echoes", False: "spin echoes", None: "echoes"}[settings.gradient_echo]
    if axis.name != "t" or image.shape[0] < _FEWEST_FRAMES:
        return None
    if settings.te_s is not None:
        if settings.te_s <= _SHORT_TE and settings.gradient_echo and not settings.echo_planar:
            return "dce"
        if settings.te_s >= _LONG_TE and (settings.gradient_echo or settings.echo_planar):
            return "dsc"
    return "dynamic"


@dataclass(frozen=True)
class _Angles:
    """Volumes of one flip angle each that are one series together."""

    members: tuple[Acquisition, ...]

    @property
    def joined(self) -> Acquisition:
        """One acquisition with the axis of flip angles, ascending."""
        order = sorted(self.members, key=lambda a: mr_settings(a).flip_deg or 0.0)
        images = [a.image for a in order]
        flips = np.array([mr_settings(a).flip_deg for a in order], float)
        first = images[0]
        image = Image(
            lambda: np.stack([np.asarray(i.numpy(), np.float32) for i in images]),
            shape=(len(images), *first.shape), dtype=np.float32, unit=first.unit,
            axes=(Axis("flip", "flip", "deg", flips), *first.axes), geometry=first.geometry, name=first.name,
        )  # fmt: skip
        settings = replace(mr_settings(order[0]), kind="flip", flip_deg=None)
        sources = tuple(s for a in order for s in a.sources)
        return replace(self.members[0], data=image, sources=sources, extra={**order[0].extra, "mr": settings})


def gathered(acquisitions: Sequence[Acquisition]) -> list[_Angles]:
    """Single volumes that differ in nothing but the flip angle: series that scanners keep apart."""
    groups: dict[tuple[object, ...], list[Acquisition]] = {}
    for each in acquisitions:
        image, s = each.data, mr_settings(each)
        if each.modality != "mr" or not isinstance(image, Image) or image.geometry is None or len(image.shape) != 3:
            continue
        if s.kind is not None or s.part != "magnitude" or not s.gradient_echo or not s.spoiled:
            continue
        if s.flip_deg is None or s.tr_s is None or s.te_s is None:
            continue
        place = (image.geometry.frame, image.shape, tuple(np.round(image.geometry.affine.reshape(-1), 3)))
        groups.setdefault((*place, round(s.tr_s, 6), round(s.te_s, 6)), []).append(each)
    found = []
    for members in groups.values():
        angles = {mr_settings(a).flip_deg for a in members}
        if len(members) >= 2 and len(angles) == len(members):
            found.append(_Angles(tuple(members)))
    return found


def match_series(acquisitions: Sequence[Acquisition]) -> Match:
    """The first series to measure, with what it needs from the others."""
    apart = gathered(acquisitions)
    kinds = {a.id: kind_of(a) for a in acquisitions}
    ranked = [(_SCORES[k], a) for a in acquisitions if (k := kinds[a.id]) in _SCORES]
    ranked += [(_SCORES["flip"], group.members[0]) for group in apart]
    if not ranked:
        return Match(0.0)
    score, chosen = min(ranked, key=lambda item: (-item[0], item[1].id))
    group = next((g for g in apart if g.members[0].id == chosen.id), None)
    kind = "flip" if group is not None else str(kinds[chosen.id])
    roles = {kind.replace(" ", "_"): chosen}
    if group is not None:
        roles |= {f"flip_{n}": a for n, a in enumerate(group.members[1:], start=2)}
    if kind in ("dce", "dynamic", "flip"):
        roles |= _support(chosen, acquisitions, kinds, apart if kind != "flip" else [], kind)
    return Match(score, roles, also=tuple(a.id for a in group.members[1:]) if group is not None else ())


def _support(
    chosen: Acquisition, acquisitions: Sequence[Acquisition], kinds: dict[str, str | None],
    apart: Sequence[_Angles], kind: str,
) -> dict[str, Acquisition]:  # fmt: skip
    """Maps of T1 and B1 and flip angles in the frame of a series."""
    place = chosen.image.geometry
    assert place is not None
    roles: dict[str, Acquisition] = {}
    for wanted, role in (("b1_map", "b1_map"), ("t1_map", "t1_map"), ("flip", "flip")):
        if kind == "flip" and role != "b1_map":
            continue
        for other in acquisitions:
            geometry = other.image.geometry if isinstance(other.data, Image) else None
            if kinds[other.id] == wanted and other.id != chosen.id and geometry and geometry.same_frame(place):
                roles.setdefault(role, other)
    if "flip" not in roles and apart:
        near = [g for g in apart if (p := g.members[0].image.geometry) is not None and p.same_frame(place)]
        for group in near[:1]:
            roles |= {f"flip{'' if n == 1 else f'_{n}'}": a for n, a in enumerate(group.members, start=1)}
    return roles
