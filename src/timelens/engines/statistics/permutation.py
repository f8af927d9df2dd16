"""Two groups of patients compared by permutation of the labels, exactly where patients are few.

If the group made no difference, any other way to deal the same labels out to the same patients would be as likely as
the one that was seen. The p-value is the part of all deals (or of a random sample of them) whose statistic is at least
as extreme. It holds for any distribution; what belongs to one patient stays together, whatever its number of regions.

The statistic is the difference of means over its standard error with own variances (Welch). Where the true means are
equal but the variances are not, the test with it is still right for many patients, which that of the plain difference
is not (Chung and Romano 2013, doi:10.1214/13-AOS1090).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import UsageError

__all__ = ["MOST_EXACT", "PermutationTest", "permutation_test"]

FloatArray = NDArray[np.float64]

#: With at most this many deals all are gone through (16 patients in halves: 12,870).
MOST_EXACT = 20_000
#: Statistics that differ by less than this part are equal: they are sums of the same numbers in another order.
_TIE = 1e-9
#: Variables that are dealt at once: more would fill memory.
_AT_ONCE = 32


@dataclass(frozen=True)
class PermutationTest:
    """Comparison of two groups.

    Attributes
    ----------
    difference
        Mean of the second group minus mean of the first, one for each variable.
    p_value
        Two-sided; 1 where all values are equal.
    exact
        Whether all deals were gone through.
    deals
        How many.
    least
        The smallest p-value that this number of patients, or of deals, can give.
    """

    difference: FloatArray
    p_value: FloatArray
    exact: bool
    deals: int
    least: float


def permutation_test(
    values: ArrayLike, second: ArrayLike, rng: np.random.Generator, *, deals: int = 9999
) -> PermutationTest:
    """Compare two groups of patients.

    Parameters
    ----------
    values
        Shape (patients,) or (patients, variables), finite: one number a patient.
    second
        Which patients are of the second group, shape (patients,).
    rng
        Deals labels where there are too many ways for all; the same state gives the same p-values.
    deals
        How often then.

    Raises
    ------
    UsageError
        If a value is not finite, or a group has fewer than two patients.
    """
    table = np.asarray(values, np.float64)
    one = table.ndim == 1
    table = table[:, None] if one else table
    mine = np.asarray(second, bool)
    if table.ndim != 2 or mine.shape != table.shape[:1] or not np.isfinite(table).all():
        raise UsageError("Each patient has one finite number and one group", field="values", found=table.shape,
                         expected=f"({len(mine)}, variables)")  # fmt: skip
    if deals < 99:
        raise UsageError("So few deals say nothing", field="deals", found=deals, expected="99 or more")
    number, patients = int(mine.sum()), len(mine)
    if min(number, patients - number) < 2:
        raise UsageError("A group has fewer than two patients", field="second", found=f"{patients - number}, {number}",
                         expected="2 or more in each")  # fmt: skip
    centred = table - table.mean(axis=0)
    ways = comb(patients, number)
    exact = ways <= MOST_EXACT
    dealt = _all_deals(patients, number) if exact else _some_deals(patients, number, deals, rng)
    seen = _welch(centred, mine[None].astype(np.float64))[0]
    as_extreme = np.zeros(table.shape[1], np.int64)
    for start in range(0, table.shape[1], _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        as_extreme[part] = (_welch(centred[:, part], dealt) >= seen[part] * (1 - _TIE)).sum(axis=0)
    p = as_extreme / ways if exact else (1 + as_extreme) / (1 + deals)
    p = np.where(_constant(table), 1.0, p)
    difference = table[mine].mean(axis=0) - table[~mine].mean(axis=0)
    # With equal groups each deal has a mirror that is as extreme.
    least = (2 if 2 * number == patients else 1) / ways if exact else 1 / (1 + deals)
    return PermutationTest(difference, p, exact, ways if exact else deals, float(least))


def _constant(table: FloatArray) -> NDArray[np.bool_]:
    return np.ptp(table, axis=0) <= 1e-12 * np.maximum(np.abs(table).max(axis=0), 1e-300)


def _all_deals(patients: int, number: int) -> FloatArray:
    rows = np.array(list(combinations(range(patients), number)))
    dealt = np.zeros((len(rows), patients))
    np.put_along_axis(dealt, rows, 1.0, axis=1)
    return dealt


def _some_deals(patients: int, number: int, deals: int, rng: np.random.Generator) -> FloatArray:
    label = np.zeros(patients)
    label[:number] = 1
    return rng.permuted(np.tile(label, (deals, 1)), axis=1)


def _welch(centred: FloatArray, dealt: FloatArray) -> FloatArray:
    """Absolute difference over standard error, shape (deals, variables); infinite where the groups do not vary."""
    second = dealt.sum(axis=1)[:, None]
    first = dealt.shape[1] - second
    total, square = centred.sum(axis=0), (centred**2).sum(axis=0)
    sums, squares = dealt @ centred, dealt @ centred**2
    others, other_squares = total - sums, square - squares
    variance = (squares - sums**2 / second) / (second - 1) / second
    variance += (other_squares - others**2 / first) / (first - 1) / first
    # What is left by rounding of a group that does not vary is no variance.
    variance = np.where(variance <= 1e-12 * np.maximum(square, 1e-300), 0.0, variance)
    difference = np.abs(sums / second - others / first)
    difference = np.where(difference <= 1e-9 * np.sqrt(np.maximum(square, 1e-300)), 0.0, difference)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = difference / np.sqrt(variance)
    return np.where(difference == 0, 0.0, t)
