"""k-means: groups of rows around their means, from seeds that lie apart (Arthur and Vassilvitskii 2007)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from timelens.errors import UsageError

__all__ = ["Clusters", "kmeans"]

FloatArray = NDArray[np.float64]
_SAMPLE = 20_000  # rows on which starts compete
_THREADS = 2


@dataclass(frozen=True)
class Clusters:
    """Groups in the order of their size, largest first.

    Parameters
    ----------
    label
        Group of each row.
    centres
        Shape (groups, columns).
    inertia
        Sum of squared distances from the centres.
    converged
        Whether no row moved in the last round.
    """

    label: NDArray[np.int32]
    centres: FloatArray
    inertia: float
    converged: bool


def kmeans(rows: ArrayLike, groups: int, rng: np.random.Generator, *, starts: int = 8, rounds: int = 200) -> Clusters:
    """Group rows around means.

    Several starts compete on a sample of the rows; the best goes on with all of them until no row moves.

    Parameters
    ----------
    rows
        Shape (rows, columns), finite.
    groups
        How many.
    rng
        Chooses seeds and sample; the same generator gives the same groups.
    starts
        How many starts compete.
    rounds
        Most rounds with all rows.

    Raises
    ------
    UsageError
        If rows are not finite, or fewer different ones than groups.
    """
    table = np.ascontiguousarray(rows, np.float64)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise UsageError("Rows to be grouped are finite", field="rows", found=table.shape, expected="(rows, columns)")
    part = table if len(table) <= _SAMPLE else table[rng.choice(len(table), _SAMPLE, replace=False)]
    different = len(np.unique(part, axis=0))
    if groups < 1 or different < groups:
        raise UsageError("There are fewer different rows than groups", field="groups", found=groups,
                         expected=f"1 to {different}")  # fmt: skip
    tries = [_settle(part, _seeds(part, groups, rng), rounds) for _ in range(starts)]
    best = min(tries, key=lambda t: t[2])
    centres, label, inertia, converged = best if part is table else _settle(table, best[0], rounds)
    order = np.argsort(-np.bincount(label, minlength=groups), kind="stable")
    rank = np.empty(groups, np.int32)
    rank[order] = np.arange(groups)
    return Clusters(rank[label], centres[order], inertia, converged)


def _seeds(rows: FloatArray, groups: int, rng: np.random.Generator) -> FloatArray:
    """Rows that lie apart: each drawn with a chance that grows with the squared distance from those before."""
    chosen = [rows[rng.integers(len(rows))]]
    away = ((rows - chosen[0]) ** 2).sum(axis=1)
    for _ in range(groups - 1):
        chosen.append(rows[rng.choice(len(rows), p=away / away.sum())])
        away = np.minimum(away, ((rows - chosen[-1]) ** 2).sum(axis=1))
    return np.array(chosen)


def _settle(rows: FloatArray, centres: FloatArray, rounds: int) -> tuple[FloatArray, NDArray[np.int32], float, bool]:
    """Rounds of nearest centre and mean until no row moves; returns centres, labels, inertia, whether they settled.

    Each row keeps a bound above the distance from its centre and one below that from all others. Bounds follow the
    centres as these move, and a row is only searched where they meet (Hamerly G, SIAM Data Mining 2010;130,
    doi:10.1137/1.9781611972801.12): the same groups, with a tenth of the distances in late rounds.
    """
    label = np.zeros(len(rows), np.int32)
    above, below = np.full(len(rows), np.inf), np.zeros(len(rows))
    steps = np.zeros(len(centres))
    parts = np.array_split(np.arange(len(rows)), _THREADS)
    cuts = [slice(p[0], p[-1] + 1) for p in parts if len(p)]

    def assign(cut: slice) -> tuple[FloatArray, NDArray[np.int64], int]:
        return _nearest(rows[cut], centres, steps, label[cut], above[cut], below[cut])

    settled = False
    with ThreadPoolExecutor(_THREADS) as pool:
        for number in range(rounds + 1):
            found = list(pool.map(assign, cuts))
            settled = number > 0 and not any(moved for _, _, moved in found)
            if settled or number == rounds:
                break
            sums, members = np.sum([f[0] for f in found], axis=0), np.sum([f[1] for f in found], axis=0)
            moved_to = _means(rows, sums, members, centres, label)
            steps, centres = np.sqrt(((moved_to - centres) ** 2).sum(axis=1)), moved_to
    return centres, label, float(_away(rows, centres, label).sum()), settled


@njit(cache=True, nogil=True)
def _nearest(rows, centres, steps, label, above, below):  # type: ignore[no-untyped-def]
    """Label rows and renew their bounds in place; returns sums and members of each group, and how many rows moved."""
    groups, columns = centres.shape
    sums, members, moved = np.zeros((groups, columns)), np.zeros(groups, np.int64), 0
    farthest = np.argmax(steps)
    second = 0.0
    for g in range(groups):
        if g != farthest:
            second = max(second, steps[g])
    for i in range(len(rows)):
        own = label[i]
        above[i] += steps[own]
        below[i] -= second if own == farthest else steps[farthest]
        if above[i] >= below[i]:
            best, other, place = np.inf, np.inf, 0
            for g in range(groups):
                square = 0.0
                for c in range(columns):
                    step = rows[i, c] - centres[g, c]
                    square += step * step
                if square < best:
                    best, other, place = square, best, g
                elif square < other:
                    other = square
            moved += own != place
            label[i], above[i], below[i] = place, np.sqrt(best), np.sqrt(other)
            own = place
        members[own] += 1
        for c in range(columns):
            sums[own, c] += rows[i, c]
    return sums, members, moved


def _away(rows: FloatArray, centres: FloatArray, label: NDArray[np.int32]) -> FloatArray:
    """Squared distance of each row from the centre of its group."""
    away = np.zeros(len(rows))
    for column, centre in zip(rows.T, centres.T, strict=True):
        away += (column - centre[label]) ** 2
    return away


def _means(
    rows: FloatArray, sums: FloatArray, members: NDArray[np.int64], centres: FloatArray, label: NDArray[np.int32]
) -> FloatArray:
    means = sums / np.maximum(members, 1)[:, None]
    empty = np.flatnonzero(members == 0)
    if empty.size:
        # A group that lost all its rows starts again at the row that is worst placed.
        worst = np.argsort(-_away(rows, centres, label), kind="stable")
        for place, row in zip(empty, worst, strict=False):
            means[place] = rows[row]
    return means
