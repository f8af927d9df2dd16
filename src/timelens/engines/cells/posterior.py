"""Cell types with probabilities: a mixture of types whose markers are positive, negative or not stated.

Each marker has a negative and a positive normal law, which all types share; a type states which of the two its cells
follow, and where it says nothing its cells follow either. Shares of types and the laws of the markers are found
together by expectation and maximisation, which starts from the marker's own split (:mod:`thresholds`); the idea is that
of Astir (Geuenich 2021, doi:10.1016/j.cels.2021.08.012), without a network. One type more, the unknown, states nothing:
its cells may have any combination of markers, so a cell that fits no stated type falls to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.cells.gates import UNKNOWN
from timelens.engines.cells.thresholds import Split, check_table, split
from timelens.errors import UsageError

__all__ = ["CellTypeModel", "CellTypes"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CellTypes:
    """Probabilities of types.

    Parameters
    ----------
    names
        ``unknown``, then the types of the model.
    probability
        Shape (cells, names); a cell without any value has the shares of the types.
    share
        Part of each type among all cells.
    splits
        Marker to its laws; a marker that has no two groups tells nothing.
    converged
        Whether the iteration settled.
    """

    names: tuple[str, ...]
    probability: FloatArray
    share: FloatArray
    splits: Mapping[str, Split]
    converged: bool

    def label(self, least: float = 0.5) -> NDArray[np.int64]:
        """The most likely type of each cell, as a place in ``names``; unknown where none reaches a probability."""
        best = self.probability.argmax(axis=1)
        return np.where(self.probability.max(axis=1) >= least, best, 0)


@dataclass(frozen=True)
class CellTypeModel:
    """What each type states about its markers.

    Parameters
    ----------
    types
        Type to markers that are positive (True) or negative (False) on it; markers that are left out are not stated.

    Raises
    ------
    UsageError
        If two types state the same, or one states nothing.
    """

    types: Mapping[str, Mapping[str, bool]]

    def __post_init__(self) -> None:
        seen: dict[frozenset[tuple[str, bool]], str] = {}
        for name, marks in self.types.items():
            said = frozenset(marks.items())
            if not said or name == UNKNOWN:
                raise UsageError("A type states at least one marker", field=name, found="nothing")
            if said in seen:
                raise UsageError("Two types state the same markers", field=name, found=seen[said])
            seen[said] = name
        if not seen:
            raise UsageError("A model has types", field="types", found="none")

    def fit(
        self,
        values: ArrayLike,
        markers: Sequence[str],
        *,
        splits: Mapping[str, Split] | None = None,
        unknown: float = 0.02,
        rounds: int = 200,
    ) -> CellTypes:
        """Find types of cells.

        Parameters
        ----------
        values
            Shape (cells, markers), on a logarithmic scale; NaN tells nothing.
        markers
            Names of the columns. Markers that no type states are not used.
        splits
            Groups of markers that are stated; they stay as they are. Those of the others are found.
        unknown
            Share of unknown cells from which the iteration starts.
        rounds
            Most rounds.

        Raises
        ------
        UsageError
            If a stated marker has no column.
        """
        names = tuple(markers)
        table = check_table(values, names)
        stated = sorted({m for marks in self.types.values() for m in marks})
        lacking = [m for m in stated if m not in names]
        if lacking:
            raise UsageError("Types state markers that were not measured", field="markers", found=", ".join(names),
                             expected=", ".join(lacking))  # fmt: skip
        if not 0 < unknown < 1:
            raise UsageError("The share of unknown cells lies between 0 and 1", field="unknown", found=unknown)
        fixed = dict(splits or {})
        laws = {m: fixed.get(m) or split(table[:, names.index(m)]) for m in stated}
        useful = [m for m in stated if not laws[m].reason]
        data = table[:, [names.index(m) for m in useful]]
        kinds = list(self.types.values())
        # 1: positive, 0: negative, one half: either, in the proportion of the marker's own groups.
        sign = np.array([[{True: 1, False: 0, None: -1}[marks.get(m)] for m in useful] for marks in kinds])
        share = np.concatenate([[unknown], np.full(len(kinds), (1 - unknown) / len(kinds))])
        before, converged = -np.inf, not useful
        probability = np.tile(share, (len(data), 1))
        for _ in range(rounds if useful and len(data) else 0):
            logs, positive = _logs(data, [laws[m] for m in useful], sign)
            logs = logs + np.log(share)
            top = logs.max(axis=1, keepdims=True)
            likelihood = float((np.log(np.exp(logs - top).sum(axis=1)) + top[:, 0]).sum())
            probability = np.exp(logs - top)
            probability /= probability.sum(axis=1, keepdims=True)
            if likelihood - before < 1e-6 * len(data):
                converged = True
                break
            before = likelihood
            share = np.maximum(probability.mean(axis=0), 1e-6)
            share /= share.sum()
            laws = {**laws, **_update(data, useful, laws, sign, probability, positive), **_only(fixed, laws)}
        return CellTypes((UNKNOWN, *self.types), probability, share, laws, converged)


def _only(fixed: Mapping[str, Split], laws: Mapping[str, Split]) -> dict[str, Split]:
    return {m: one for m, one in fixed.items() if m in laws}


def _logs(data: FloatArray, splits: list[Split], sign: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Log-likelihood of each cell under unknown and each type; the chance to be positive where nothing is stated."""
    total = np.zeros((len(data), len(sign) + 1))
    positive = np.empty(data.shape)
    for k, one in enumerate(splits):
        low, high = one.log_densities(data[:, k])
        low, high = np.nan_to_num(low), np.nan_to_num(high)
        either = np.logaddexp(low + np.log(one.weight[0]), high + np.log(one.weight[1]))
        positive[:, k] = np.exp(high + np.log(one.weight[1]) - either)
        total[:, 0] += either
        said = sign[:, k]
        total[:, 1:] += np.where(said == 1, high[:, None], np.where(said == 0, low[:, None], either[:, None]))
    return total, positive


def _update(
    data: FloatArray,
    useful: list[str],
    splits: Mapping[str, Split],
    sign: NDArray[np.int64],
    probability: FloatArray,
    positive: FloatArray,
) -> dict[str, Split]:
    """The laws of the markers from the cells that follow them; a law that would cross the other is kept."""
    new = {}
    for k, marker in enumerate(useful):
        known = np.isfinite(data[:, k])
        said = sign[:, k]
        open_types = probability[:, 0] + probability[:, 1:][:, said == -1].sum(axis=1)
        up = (probability[:, 1:][:, said == 1].sum(axis=1) + open_types * positive[:, k])[known]
        x = data[known, k]
        parts = np.clip(np.stack([1 - up, up]), 0.0, 1.0)  # rounding may step over the edge
        total = np.maximum(parts.sum(axis=1), 1e-9)
        mean = parts @ x / total
        deviation = np.sqrt((parts * (x - mean[:, None]) ** 2).sum(axis=1) / total)
        old = splits[marker]
        # Few cells tell little about a law: it moves no further than they can carry it.
        if mean[0] < mean[1] and total.min() >= 10:
            new[marker] = replace(old, mean=mean, deviation=np.maximum(deviation, 0.1 * old.deviation),
                                  weight=total / total.sum())  # fmt: skip
    return new
