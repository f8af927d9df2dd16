"""Counts of several regions as one ratio, with an interval that knows that regions differ.

Cells cluster: the counts of two regions of one tumour differ by more than chance in counting, and an interval from the
sum of the counts alone is too narrow. The ratio of sums (cells over area, or part over whole) is therefore given with
the spread that the regions themselves show (Cochran 1977, Sampling Techniques, chapter 6), and Student's t for few
regions; never narrower than the exact interval of counting alone, which is all there is where no region has any cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from timelens.engines.cells.compartments import density
from timelens.engines.statistics import binomial_interval
from timelens.errors import UsageError

__all__ = ["FEWEST_REGIONS", "RegionRatio", "ratio_of_regions"]

#: Of fewer regions the spread is not known well enough to be of use.
FEWEST_REGIONS = 3


@dataclass(frozen=True)
class RegionRatio:
    """Sum over sum, its standard error and interval (NaN where there are too few regions, or nothing to divide by)."""

    value: float
    standard_error: float
    lower: float
    upper: float
    regions: int


def ratio_of_regions(count: ArrayLike, size: ArrayLike, *, level: float = 0.95, part: bool = False) -> RegionRatio:
    """The ratio of the sums of counts and sizes of several regions.

    Parameters
    ----------
    count
        Of each region, whole numbers.
    size
        Area, or count of all cells, of each region; those without any do not count.
    level
        Of the interval.
    part
        Whether the count is a part of the size: then the ratio is at most one, and counting is binomial, not Poisson.

    Raises
    ------
    UsageError
        If counts and sizes differ in number, one is negative, or a part is larger than its whole.
    """
    n, a = np.asarray(count, np.float64), np.asarray(size, np.float64)
    if n.ndim != 1 or n.shape != a.shape or (n < 0).any() or (a < 0).any() or not 0 < level < 1:
        raise UsageError("Each region has a count and a size of zero or more", field="count, size", found=(n, a))
    if part and (n > a).any():
        raise UsageError("A part is no larger than its whole", field="count", found=n.tolist(), expected=a.tolist())
    n, a = n[a > 0], a[a > 0]
    regions = len(n)
    if not regions:
        return RegionRatio(np.nan, np.nan, np.nan, np.nan, 0)
    total = float(a.sum())
    value = float(n.sum()) / total
    if regions < FEWEST_REGIONS:
        return RegionRatio(value, np.nan, np.nan, np.nan, regions)
    between = float(((n - value * a) ** 2).sum()) * regions / (regions - 1) / total**2
    counting = value * (1 - value) / total if part else value / total
    error = float(np.sqrt(max(between, counting)))
    half = float(stdtrit(regions - 1, 0.5 + level / 2)) * error
    lower, upper = _of_counting(n.sum(), total, level, part)
    lower, upper = max(min(value - half, lower), 0.0), max(value + half, upper)
    return RegionRatio(value, error, lower, min(upper, 1.0) if part else upper, regions)


def _of_counting(number: float, total: float, level: float, part: bool) -> tuple[float, float]:
    if part:
        return binomial_interval(round(number), round(total), level=level)
    one = density(round(number), total, level=level)
    return float(one.lower), float(one.upper)
