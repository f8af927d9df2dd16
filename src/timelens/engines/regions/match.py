"""Which lesion is which: lesions of two scans of one patient, paired one to one.

Both label volumes lie on one grid (after registration). A pair is possible where the lesions overlap or their centroids
are near; among the possible pairings the one with most pairs and least total cost is taken (Kuhn, Nav Res Logist Q
1955, doi:10.1002/nav.3800020109). Names given by hand go before everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from timelens.engines.regions.grid import checked_spacing
from timelens.engines.regions.labels import Regions, find_regions
from timelens.errors import DataError, GeometryError

__all__ = ["Matching", "match_by_name", "match_labels"]


@dataclass(frozen=True)
class Matching:
    """One row per pair, and per lesion without a partner.

    Attributes
    ----------
    before, after
        Labels; 0 where there is none.
    status
        ``matched``; ``resolved`` (gone); ``new``; ``merged`` (this earlier lesion has no partner of its own, but lies
        in a later lesion that is another's partner); ``split`` (this later lesion has no partner of its own, but lies
        in an earlier lesion that is another's partner).
    partner
        For ``merged`` the later, for ``split`` the earlier lesion that it belongs to; for ``matched`` 0.
    overlap
        Shared voxels over those of the smaller lesion, with the partner; 0 where there is none.
    distance_mm
        Between the centroids of the lesion and its partner; NaN where there is none.
    """

    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    status: npt.NDArray[np.str_]
    partner: npt.NDArray[np.int64]
    overlap: npt.NDArray[np.float64]
    distance_mm: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.status)

    def pairs(self) -> dict[int, int]:
        """Earlier label to later label of the matched lesions."""
        known = self.status == "matched"
        return {int(a): int(b) for a, b in zip(self.before[known], self.after[known], strict=True)}


def match_labels(
    before: Any,
    after: Any,
    spacing: Sequence[float],
    *,
    max_distance_mm: float = 20.0,
    min_overlap: float = 0.1,
    fixed: Mapping[int, int] | None = None,
) -> Matching:
    """Pair the lesions of two label volumes.

    Parameters
    ----------
    before, after
        Label volumes (z, y, x) on one grid; 0 is background.
    spacing
        Voxel edges (z, y, x) in mm.
    max_distance_mm
        Lesions that do not overlap are paired only if their centroids are at most this far apart.
    min_overlap
        Share of the smaller lesion from which on two lesions overlap.
    fixed
        Pairs known beforehand, earlier label to later label.
    """
    edges = checked_spacing(spacing)
    if tuple(before.shape) != tuple(after.shape):
        raise GeometryError(
            "Lesions can be matched on one grid only",
            field="after",
            found=tuple(after.shape),
            expected=tuple(before.shape),
            mend="register and resample the later labels by nearest neighbour",
        )
    old, new = find_regions(before), find_regions(after)
    overlap = _overlaps(old, new)
    overlap[overlap < min_overlap] = 0.0
    offsets = old.centroids()[:, None, :] - new.centroids()[None, :, :]
    distance = np.linalg.norm(offsets * edges, axis=2)
    possible = (overlap > 0) | (distance <= max_distance_mm)
    cost = (1.0 - overlap) + np.minimum(distance / max(max_distance_mm, 1e-9), 1.0)
    for a, b in (fixed or {}).items():
        i, j = _place(old, a, "before"), _place(new, b, "after")
        possible[i, :], possible[:, j] = False, False
        possible[i, j], cost[i, j] = True, 0.0
    # A forbidden pair costs more than all allowed ones together.
    forbidden = 2.0 * (min(cost.shape) + 1)
    chosen = [
        (int(i), int(j))
        for i, j in zip(*linear_sum_assignment(np.where(possible, cost, forbidden)), strict=True)
        if possible[i, j]
    ]
    return _table(old, new, chosen, overlap, distance)


def match_by_name(before: Mapping[str, int], after: Mapping[str, int]) -> Matching:
    """Pair lesions that bear the same name; names to labels in both scans. Overlap and distance are unknown (NaN)."""
    rows = [
        (before.get(name, 0), after.get(name, 0)) for name in [*before, *(name for name in after if name not in before)]
    ]
    status = ["matched" if a and b else "resolved" if a else "new" for a, b in rows]
    unknown = np.full(len(rows), np.nan)
    return Matching(
        np.array([a for a, _ in rows], dtype=np.int64),
        np.array([b for _, b in rows], dtype=np.int64),
        np.array(status, dtype=np.str_),
        np.zeros(len(rows), dtype=np.int64),
        unknown,
        unknown.copy(),
    )


def _place(regions: Regions, label: int, field: str) -> int:
    found = np.flatnonzero(regions.labels == label)
    if len(found) == 0:
        raise DataError(
            "A lesion named in a fixed pair does not exist",
            field=field,
            found=label,
            expected=regions.labels.tolist(),
            mend="correct the pair",
        )
    return int(found[0])


def _overlaps(old: Regions, new: Regions) -> npt.NDArray[np.float64]:
    """Shared voxels over those of the smaller region, for all pairs."""
    shared = np.zeros((len(old), len(new)))
    for j in range(len(new)):
        near = np.all((old.lower < new.upper[j]) & (new.lower[j] < old.upper), axis=1)
        if near.any():
            mine = new.indices(j)
            for i in np.flatnonzero(near):
                shared[i, j] = len(np.intersect1d(old.indices(int(i)), mine, assume_unique=True))
    return np.asarray(shared / np.maximum(np.minimum(old.counts[:, None], new.counts[None, :]), 1))


def _table(
    old: Regions,
    new: Regions,
    chosen: list[tuple[int, int]],
    overlap: npt.NDArray[np.float64],
    distance: npt.NDArray[np.float64],
) -> Matching:
    rows: list[tuple[int, int, str, int, float, float]] = []
    partner_of_old, partner_of_new = dict(chosen), {j: i for i, j in chosen}
    for i, label in enumerate(old.labels):
        j = partner_of_old.get(i)
        if j is not None:
            rows.append((int(label), int(new.labels[j]), "matched", 0, overlap[i, j], distance[i, j]))
        elif len(new) and overlap[i].max() > 0:
            j = int(overlap[i].argmax())
            rows.append((int(label), 0, "merged", int(new.labels[j]), overlap[i, j], distance[i, j]))
        else:
            rows.append((int(label), 0, "resolved", 0, 0.0, np.nan))
    for j, label in enumerate(new.labels):
        if j in partner_of_new:
            continue
        if len(old) and overlap[:, j].max() > 0:
            i = int(overlap[:, j].argmax())
            rows.append((0, int(label), "split", int(old.labels[i]), overlap[i, j], distance[i, j]))
        else:
            rows.append((0, int(label), "new", 0, 0.0, np.nan))
    before, after, status, partner, shares, distances = zip(*rows, strict=True) if rows else ((),) * 6
    return Matching(
        np.array(before, dtype=np.int64),
        np.array(after, dtype=np.int64),
        np.array(status, dtype=np.str_),
        np.array(partner, dtype=np.int64),
        np.array(shares, dtype=np.float64),
        np.array(distances, dtype=np.float64),
    )
