"""How well found cells agree with given ones: matched pairs, precision, recall, average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array

from timelens.errors import UsageError

__all__ = ["Agreement", "agreement", "overlaps"]


@dataclass(frozen=True)
class Agreement:
    """Matched and unmatched cells at one threshold of overlap."""

    matched: int
    missed: int
    invented: int

    @property
    def average_precision(self) -> float:
        """Matched over all that were given or found, TP / (TP + FP + FN); NaN where there are none."""
        total = self.matched + self.missed + self.invented
        return self.matched / total if total else float("nan")

    @property
    def precision(self) -> float:
        """Matched over found."""
        found = self.matched + self.invented
        return self.matched / found if found else float("nan")

    @property
    def recall(self) -> float:
        """Matched over given."""
        given = self.matched + self.missed
        return self.matched / given if given else float("nan")


def overlaps(found: ArrayLike, given: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of each found cell with each given one, shape (found, given).

    Labels may have gaps; rows and columns stand in the order of the labels.
    """
    mine, theirs = np.asarray(found), np.asarray(given)
    if mine.shape != theirs.shape or mine.dtype.kind not in "iub" or theirs.dtype.kind not in "iub":
        raise UsageError("Two label images of one size are compared", field="found", found=mine.shape,
                         expected=theirs.shape)  # fmt: skip
    rows, a = np.unique(mine, return_inverse=True)
    columns, b = np.unique(theirs, return_inverse=True)
    shape = (len(rows), len(columns))
    common = coo_array((np.ones(a.size), (a.ravel(), b.ravel())), shape).toarray()
    union = common.sum(axis=1, keepdims=True) + common.sum(axis=0, keepdims=True) - common
    ratio = np.divide(common, union, out=np.zeros(shape), where=union > 0)
    return ratio[rows != 0][:, columns != 0]


def agreement(found: ArrayLike, given: ArrayLike, threshold: float = 0.5) -> Agreement:
    """Match found cells to given ones, each at most once, so that most pairs overlap by the threshold or more.

    Parameters
    ----------
    found, given
        Label images of one size, 0 is background.
    threshold
        Least intersection over union, above 0 and up to 1.
    """
    if not 0 < threshold <= 1:
        raise UsageError("An overlap lies between 0 and 1", field="threshold", found=threshold)
    ratio = overlaps(found, given)
    good = ratio >= threshold
    # Many pairs first, then good ones: each pair is worth more than all overlaps together.
    row, column = linear_sum_assignment(good + ratio / (2 * max(min(ratio.shape), 1)), maximize=True)
    matched = int(good[row, column].sum())
    return Agreement(matched, ratio.shape[1] - matched, ratio.shape[0] - matched)
