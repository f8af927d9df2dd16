"""A linear mixture with parts that cannot be negative, fitted to many samples at once.

Every sample b is a mixture A x of the same columns with x >= 0, and x minimises the sum of squares of A x - b. Where
plain least squares gives no negative part, that is the answer, and one factor serves all such samples. The others are
solved exactly by block principal pivoting with the backup rule that makes it finite (Portugal 1994,
doi:10.1090/S0025-5718-1994-1250776-4; Kim 2011, doi:10.1137/110821172).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntFlag
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from timelens.errors import UsageError

__all__ = ["CONDITION_LIMIT", "LinearMixture", "MixtureFit", "Reason"]

FloatArray = NDArray[np.float64]

#: Columns whose normal matrix is worse conditioned cannot be told apart.
CONDITION_LIMIT = 1e12
_BLOCK = 1 << 14
_THREADS = 2
_PATIENCE = 3  # exchanges of whole blocks that may fail to improve before single ones take over


class Reason(IntFlag):
    """Why a sample has no parts."""

    NON_FINITE = 1
    NOT_CONVERGED = 2


@dataclass(frozen=True)
class LinearMixture:
    """The columns of a mixture.

    Parameters
    ----------
    matrix
        Shape (channels, parts): what one unit of each part adds to every channel.

    Raises
    ------
    UsageError
        If it is not finite, has more parts than channels, or its columns cannot be told apart.
    """

    matrix: FloatArray

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, np.float64)
        if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
            raise UsageError("A mixture has a matrix of finite numbers", field="matrix", found=matrix.shape)
        if matrix.shape[0] < matrix.shape[1]:
            raise UsageError(
                "A mixture cannot have more parts than channels", field="matrix", found=matrix.shape,
                expected="(channels, parts)",
            )  # fmt: skip
        scaled = matrix / np.maximum(np.linalg.norm(matrix, axis=0), np.finfo(float).tiny)
        condition = float(np.linalg.cond(scaled.T @ scaled))
        if not condition < CONDITION_LIMIT:
            raise UsageError(
                "The parts of the mixture cannot be told apart", field="matrix", found=f"condition {condition:.2g}",
                expected=f"below {CONDITION_LIMIT:.0e}", mend="leave out one of the parts that look alike",
            )  # fmt: skip
        object.__setattr__(self, "matrix", matrix)

    def fit(self, data: ArrayLike) -> MixtureFit:
        """The parts of every sample.

        Parameters
        ----------
        data
            Shape (channels, ...); a sample with a value that is not finite gets NaN.

        Raises
        ------
        UsageError
            If the first axis is not that of the channels.
        """
        values = np.asarray(data)
        if values.ndim < 1 or values.shape[0] != len(self.matrix):
            raise UsageError("Data and mixture differ in channels", field="data", found=values.shape,
                             expected=f"({len(self.matrix)}, ...)")  # fmt: skip
        flat = values.reshape(len(self.matrix), -1)
        normal = self.matrix.T @ self.matrix
        inverse = np.linalg.pinv(self.matrix)
        parts = np.empty((self.matrix.shape[1], flat.shape[1]))
        reason = np.zeros(flat.shape[1], np.uint8)

        def solve(start: int) -> None:
            block = np.asarray(flat[:, start : start + _BLOCK], np.float64)
            bad = ~np.isfinite(block).all(axis=0)
            block = np.where(bad, 0.0, block)
            found = inverse @ block
            negative = np.flatnonzero((found < 0).any(axis=0))
            if len(negative):
                right = np.ascontiguousarray((self.matrix.T @ block[:, negative]).T)
                solved = np.zeros_like(right)
                failed = _pivot(normal, right, np.ascontiguousarray(found[:, negative].T) > 0, solved)
                found[:, negative] = solved.T
                reason[start + negative] |= np.where(failed, Reason.NOT_CONVERGED, 0).astype(np.uint8)
            reason[start : start + _BLOCK] |= np.where(bad, Reason.NON_FINITE, 0).astype(np.uint8)
            parts[:, start : start + _BLOCK] = found

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(solve, range(0, flat.shape[1], _BLOCK)))
        parts[:, reason > 0] = np.nan
        shape = values.shape[1:]
        return MixtureFit(self, parts.reshape(len(parts), *shape), reason.reshape(shape))


@dataclass(frozen=True)
class MixtureFit:
    """The parts that were found.

    Parameters
    ----------
    model
        The mixture.
    parameters
        Shape (parts, ...), zero or more; NaN where ``reason`` says why.
    reason
        :class:`Reason` per sample.
    """

    model: LinearMixture
    parameters: FloatArray
    reason: NDArray[np.uint8]

    def predict(self) -> FloatArray:
        """The mixture of the parts, shape (channels, ...)."""
        return np.tensordot(self.model.matrix, self.parameters, axes=1)

    @cached_property
    def _inverse(self) -> FloatArray:
        return np.asarray(np.linalg.pinv(self.model.matrix), np.float64)

    def standard_errors(self, variance: ArrayLike) -> FloatArray:
        """Standard errors from the variance of every value; for counts, the counts themselves or their mean.

        They are those of plain least squares: right where no part lies at zero, and an upper bound elsewhere.

        Parameters
        ----------
        variance
            Broadcasts against the data, (channels, ...); zero or more.
        """
        shape = (len(self.model.matrix), *self.parameters.shape[1:])
        spread = np.broadcast_to(np.asarray(variance, np.float64), shape)
        return np.asarray(np.sqrt(np.tensordot(self._inverse**2, spread, axes=1)), np.float64)


@njit(cache=True, nogil=True)
def _solve(normal, right, free, out, factor):  # type: ignore[no-untyped-def]
    """Least squares on the free parts by Cholesky; the others are zero."""
    n = 0
    place = np.empty(len(right), np.int64)
    for i in range(len(right)):
        out[i] = 0.0
        if free[i]:
            place[n] = i
            n += 1
    for i in range(n):
        for j in range(i + 1):
            total = normal[place[i], place[j]]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            factor[i, j] = np.sqrt(total) if i == j else total / factor[j, j]
    for i in range(n):
        total = right[place[i]]
        for k in range(i):
            total -= factor[i, k] * out[place[k]]
        out[place[i]] = total / factor[i, i]
    for i in range(n - 1, -1, -1):
        total = out[place[i]]
        for k in range(i + 1, n):
            total -= factor[k, i] * out[place[k]]
        out[place[i]] = total / factor[i, i]


@njit(cache=True, nogil=True)
def _pivot(normal, right, start, found):  # type: ignore[no-untyped-def]
    """Solve samples (rows of right) from first guesses of which parts are free; returns which did not settle."""
    samples, parts = right.shape
    failed = np.zeros(samples, np.bool_)
    factor = np.empty((parts, parts))
    x = np.empty(parts)
    free = np.empty(parts, np.bool_)
    wrong = np.empty(parts, np.bool_)
    for s in range(samples):
        free[:] = start[s]
        fewest, patience, settled = parts + 1, _PATIENCE, False
        size = 0.0
        for i in range(parts):
            size = max(size, abs(right[s, i]))
        for _ in range(100 + 20 * parts):
            _solve(normal, right[s], free, x, factor)
            count, last = 0, -1
            for i in range(parts):
                if free[i]:
                    wrong[i] = x[i] < 0.0
                else:
                    slope = right[s, i]
                    for j in range(parts):
                        slope -= normal[i, j] * x[j]
                    wrong[i] = slope > 1e-12 * size
                if wrong[i]:
                    count += 1
                    last = i
            if count == 0:
                settled = True
                break
            if count < fewest:
                fewest, patience = count, _PATIENCE
            elif patience > 0:
                patience -= 1
            else:
                wrong[:] = False
                wrong[last] = True
            for i in range(parts):
                if wrong[i]:
                    free[i] = not free[i]
        failed[s] = not settled
        found[s] = x
    return failed
