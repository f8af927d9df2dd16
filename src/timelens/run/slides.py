"""Whether the slides of a study may be compared in counts: how far apart their markers lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from timelens.errors import Problem

__all__ = ["check_slides"]

#: Brightest over dimmest slide from which a marker differs strongly; staining on another day makes less than that.
_FACTOR = 2.0
#: Part of the markers that must: single ones may differ for a reason of biology.
_PART = 0.5
_FEWEST_MARKERS = 3


def check_slides(records: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[Problem]:
    """A warning where at least half of the markers are twice as bright on one slide as on another.

    Parameters
    ----------
    records
        ``session.json`` of each subject and session; their audit says where the positive cells of a marker lie.
    """
    bright: dict[str, dict[str, list[float]]] = {}
    for (subject, session), record in records.items():
        for markers in _levels(record.get("audit", {})):
            for marker, sides in markers.items():
                if sides.get("positive") and sides["positive"] > 0:
                    bright.setdefault(marker, {}).setdefault(f"{subject} {session}", []).append(sides["positive"])
    shared = {m: {s: float(np.median(v)) for s, v in own.items()} for m, own in bright.items() if len(own) > 1}
    far = {m: max(own.values()) / min(own.values()) for m, own in shared.items()}
    strong = {m: f for m, f in far.items() if f >= _FACTOR}
    if len(shared) < _FEWEST_MARKERS or len(strong) < _PART * len(shared):
        return []
    worst = max(strong, key=lambda m: strong[m])
    low, high = (pick(shared[worst], key=lambda s: shared[worst][s]) for pick in (min, max))
    return [
        Problem(
            "Slides differ strongly in brightness: counts of markers are not to be compared between them",
            field="types: normalise", found=f"{len(strong)} of {len(shared)} markers {_FACTOR:g} times or more; "
            f"{worst} {strong[worst]:.1f} times between {low} and {high}", expected="slides that were stained together",
            mend="compare parts and densities of cells, which each slide's own thresholds give, or "
            "types: {normalise: landmark}", severity="warning",
        )
    ]  # fmt: skip


def _levels(audit: Any) -> list[Mapping[str, Mapping[str, float]]]:
    """Where groups lie, of every set of cells: ``levels`` of the lens's audit, or of one with a name before it."""
    if not isinstance(audit, Mapping):
        return []
    found = []
    for key, said in audit.items():
        if str(key).split(":")[-1] == "cytometry" and isinstance(said, Mapping):
            found += [v for k, v in said.items() if k == "levels" or str(k).endswith("_levels")]
    return found
