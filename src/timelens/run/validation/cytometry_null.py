"""Whether p-values of contacts are what they claim where types do not care for each other, on a virtual section.

Types are shuffled over the cells of a section of a virtual tumour, so that nothing seeks or shuns anything, and every
pair of types gets its p-value again. Uniform they are where the normal law is used; mid-p of shuffles are close to it,
since a count that is small has few values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstest

from timelens.engines.cells.graph import Graph
from timelens.engines.cells.interaction import NORMAL_FROM, interaction

__all__ = ["NullPValues", "null_p_values"]

#: Pairs of which fewer contacts are expected hardly ever touch: their counts have two or three values.
_LEAST_EXPECTED = 2.0


@dataclass(frozen=True)
class NullPValues:
    """One p-value a shuffle, of a pair of types picked at random.

    Attributes
    ----------
    normal
        Of pairs with an expected count of 50 or more, by the normal law.
    mid
        Of pairs with an expected count of 2 to 50, by mid-p of shuffles.
    """

    normal: NDArray[np.float64]
    mid: NDArray[np.float64]

    def uniform(self) -> tuple[float, float]:
        """P-values of the Kolmogorov-Smirnov test that each is uniform."""
        return float(kstest(self.normal, "uniform").pvalue), float(kstest(self.mid, "uniform").pvalue)


def null_p_values(
    graph: Graph, types: NDArray[np.int64], number_of_types: int, rng: np.random.Generator, *, draws: int = 400,
    shuffles: int = 199,
) -> NullPValues:  # fmt: skip
    """Shuffle types over the cells of a section and test every pair, so many times.

    Parameters
    ----------
    graph, types, number_of_types
        Of the section, as :func:`~timelens.engines.cells.interaction.interaction` takes them.
    rng
        For shuffles.
    draws
        How many shuffles are tested.
    shuffles
        How many a mid-p rests on.
    """
    normal: list[float] = []
    mid: list[float] = []
    for _ in range(draws):
        found = interaction(graph, rng.permutation(types), number_of_types, shuffles=shuffles, rng=rng)
        # A pair and its reverse are the same contacts.
        upper = np.triu(np.isfinite(found.p_value) & (found.expected >= _LEAST_EXPECTED))
        for store, chosen in ((normal, upper & (found.expected >= NORMAL_FROM)),
                              (mid, upper & (found.expected < NORMAL_FROM))):  # fmt: skip
            pairs = np.argwhere(chosen)
            if len(pairs):
                store.append(float(found.p_value[tuple(pairs[rng.integers(len(pairs))])]))
    return NullPValues(np.array(normal), np.array(mid))
