"""Curves tabulated over a rate constant, so that a fit evaluates them and their slope without convolving again.

Nodes are even in ``u = ln k``; between them a cubic Hermite polynomial through values and slopes is exact to about
1e-9 of the curve, far below any noise and below the tolerance of every fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from timelens.errors import UsageError

__all__ = ["Table", "make_table", "rate_range", "read_row"]

Floats = NDArray[np.float64]

#: Rates of the coarse search, and steps between two of them in the table.
GRID = 48
STRIDE = 14


@dataclass(frozen=True, eq=False)
class Table:
    """Curves ``values`` and their derivative by ``ln k`` ``slopes``, (nodes, frames), at ``ln k = first + i step``."""

    first: float
    step: float
    values: Floats
    slopes: Floats

    @property
    def rates(self) -> Floats:
        """Rate constants of the nodes."""
        return np.asarray(np.exp(self.first + self.step * np.arange(self.values.shape[0])))

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest ``ln k``."""
        return self.first, self.first + self.step * (self.values.shape[0] - 1)

    def scaled(self, factors: Floats, keep: NDArray[np.bool_]) -> Table:
        """The frames that are kept, each multiplied with its factor."""
        return Table(
            self.first,
            self.step,
            np.ascontiguousarray(self.values[:, keep] * factors[keep]),
            np.ascontiguousarray(self.slopes[:, keep] * factors[keep]),
        )


def make_table(
    curve: Callable[[Floats], tuple[Floats, Floats]], bounds: tuple[float, float], *, entries: int = GRID
) -> Table:
    """Tabulate ``curve(rates) -> (values, derivative by rate)``, each (frames, rates), between two rates.

    ``entries`` are the rates of the coarse search.
    """
    low, high = np.log(bounds)
    nodes = (entries - 1) * STRIDE + 1
    grid = np.linspace(low, high, nodes)
    values, slopes = curve(np.exp(grid))
    return Table(
        float(low),
        float((high - low) / (nodes - 1)),
        np.ascontiguousarray(values.T),
        np.ascontiguousarray((slopes * np.exp(grid)).T),
    )


def rate_range(bounds: tuple[float, float] | None, last: float) -> tuple[float, float]:
    """The searched range of rates: as stated, or from 1/100 of one over the scan's length to 0.5 /s."""
    low, high = (0.01 / last, max(0.5, 1.0 / last)) if bounds is None else bounds
    if not (0 < low < high and np.isfinite(high)):
        raise UsageError(
            "The range of rates must ascend and be positive",
            field="rates",
            found=f"{low:g} to {high:g} /s",
            expected="0 < low < high",
        )
    return float(low), float(high)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def read_row(
    values: Floats, slopes: Floats, first: float, step: float, u: float, out: Floats, rise: Floats
) -> None:  # pragma: no cover - compiled
    """The curve at ``u = ln k`` into ``out`` and its derivative by ``u`` into ``rise``."""
    x = (u - first) / step
    i = min(max(int(x), 0), values.shape[0] - 2)
    t = x - i
    a1 = t * t * (3 - 2 * t)
    a0 = 1 - a1
    b0 = step * t * (1 - t) * (1 - t)
    b1 = step * t * t * (t - 1)
    s1 = 6 * t * (1 - t) / step
    c0 = 1 - 4 * t + 3 * t * t
    c1 = t * (3 * t - 2)
    for n in range(values.shape[1]):
        v0, v1, d0, d1 = values[i, n], values[i + 1, n], slopes[i, n], slopes[i + 1, n]
        out[n] = a0 * v0 + a1 * v1 + b0 * d0 + b1 * d1
        rise[n] = s1 * (v1 - v0) + c0 * d0 + c1 * d1
