"""Linear compartment models: named pools, first-order flows between them, solved by the matrix exponential.

``dx/dt = A x + b``, where every flow leaves one pool and enters another, so that the columns of ``A`` sum to zero and
the total changes only by what is given. The solution ``exp(A t)`` keeps that: what leaves the body needs a pool too.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import expm

from timelens.errors import DataError, UsageError

__all__ = ["Compartments"]

Floats = NDArray[np.float64]


class Compartments:
    """Named pools and the flows between them.

    Parameters
    ----------
    names
        The pools, each once.

    Raises
    ------
    UsageError
        If a name occurs twice, or a flow names a pool that is not there.

    Examples
    --------
    >>> body = Compartments(["plasma", "urine"])
    >>> body.flow("plasma", "urine", 0.01)
    >>> body.solve([0, 100], {"plasma": 1.0}).round(3).tolist()
    [[1.0, 0.368], [0.0, 0.632]]
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._place = {name: i for i, name in enumerate(self.names)}
        if len(self._place) != len(self.names):
            raise UsageError("Two pools bear one name", field="names", found=sorted(self.names))
        self.matrix: Floats = np.zeros((len(self.names), len(self.names)))

    def index(self, name: str) -> int:
        """Row of a pool."""
        if name not in self._place:
            raise UsageError("There is no such pool", field="name", found=name, expected=", ".join(self.names))
        return self._place[name]

    def flow(self, source: str, target: str, rate: float) -> None:
        """Let ``rate`` (1/s, zero or more) of what is in one pool go to another; flows add up."""
        if not (np.isfinite(rate) and rate >= 0):
            raise DataError(
                "A flow needs a rate of zero or more",
                field=f"{source} to {target}",
                found=rate,
                expected="a finite number in 1/s",
            )
        i, j = self.index(source), self.index(target)
        self.matrix[j, i] += rate
        self.matrix[i, i] -= rate

    def exchange(self, one: str, other: str, clearance: float, volumes: tuple[float, float]) -> None:
        """Let two pools exchange by diffusion: ``clearance`` (mL/s) times concentration (amount per volume in mL)."""
        self.flow(one, other, clearance / volumes[0])
        self.flow(other, one, clearance / volumes[1])

    def solve(
        self, times: ArrayLike, initial: dict[str, float], *, infused: dict[str, float] | None = None, over: float = 0.0
    ) -> Floats:
        """Amounts over time.

        Parameters
        ----------
        times
            Seconds from the start, zero or more, not descending.
        initial
            Amount per pool at time zero; pools not named are empty.
        infused
            Amount per pool given at a constant rate from time zero on.
        over
            Duration of the infusion in s.

        Returns
        -------
        ndarray
            (pools, times), unit of the amounts given.

        Raises
        ------
        DataError
            If times are negative or descend, or an infusion has no duration.
        """
        at = np.atleast_1d(np.asarray(times, dtype=np.float64))
        if at.ndim != 1 or not np.isfinite(at).all() or (at < 0).any() or (np.diff(at) < 0).any():
            raise DataError("Times must ascend from zero", field="times", expected="seconds, ascending")
        if infused and not over > 0:
            raise DataError("An infusion needs a duration", field="over", found=over, expected="seconds > 0")
        n = len(self.names)
        # One more row keeps the constant inflow: d(x, 1)/dt = [[A, b], [0, 0]] (x, 1).
        state = np.zeros(n + 1)
        for name, amount in initial.items():
            state[self.index(name)] += amount
        system = np.zeros((n + 1, n + 1))
        system[:n, :n] = self.matrix
        if infused:
            state[n] = 1.0
            for name, amount in infused.items():
                system[self.index(name), n] += amount / over
        result = np.empty((n, at.size))
        now = 0.0
        steps: dict[tuple[float, bool], Floats] = {}
        for column, t in enumerate(at):
            marks = [over, float(t)] if infused and now < over < t else [float(t)]
            for mark in marks:
                if mark > now:
                    giving = bool(infused) and now < over
                    key = (round(mark - now, 12), giving)
                    if key not in steps:
                        steps[key] = expm((system if giving else _without_inflow(system)) * (mark - now))
                    state = steps[key] @ state
                    now = mark
            result[:, column] = state[:n]
        return result


def _without_inflow(system: Floats) -> Floats:
    quiet = system.copy()
    quiet[:, -1] = 0.0
    return quiet
