"""Parts of a whole: how many of so many, with an exact interval."""

from __future__ import annotations

from scipy.stats import beta

from timelens.errors import UsageError

__all__ = ["binomial_interval"]


def binomial_interval(number: int, total: int, *, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a part (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404).

    Parameters
    ----------
    number, total
        So many of so many, at least one.
    level
        It covers the true part at least that often.

    Raises
    ------
    UsageError
        If there are more than all, or none to count.

    Examples
    --------
    >>> [round(end, 4) for end in binomial_interval(0, 10)]
    [0.0, 0.3085]
    """
    if not 0 <= number <= total or total < 1:
        raise UsageError("A part is so many of so many", field="number, total", found=f"{number} of {total}")
    if not 0 < level < 1:
        raise UsageError("A level lies between 0 and 1", field="level", found=level)
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, number, total - number + 1)) if number else 0.0
    high = float(beta.ppf(1 - tail, number + 1, total - number)) if number < total else 1.0
    return low, high
