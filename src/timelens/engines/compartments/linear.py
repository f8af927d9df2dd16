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
#: 1 / 19! is below the rounding of float64.
_ORDERS = 20


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
        quiet = _Stepper(_without_inflow(system))
        giving = _Stepper(system) if infused else quiet
        for column, t in enumerate(at):
            marks = [over, float(t)] if infused and now < over < t else [float(t)]
            for mark in marks:
                stepper = giving if infused and now < over else quiet
                state = stepper.advance(state, mark - now)
                now = mark
            result[:, column] = state[:n]
        return result


class _Stepper:
    """Applies ``exp(S t)`` for any ``t``: exponentials of doubling steps, made when needed, and a short series.

    Doubling squares the matrix; after each squaring what leaves a pool is made to be exactly what arrives.
    """

    def __init__(self, system: Floats) -> None:
        self.system = system
        self.unit = 1.0 / max(float(np.abs(system).sum(axis=0).max()), 1e-12)
        self.inflow = float(system[:-1, -1].sum())
        self.ladder = [_balanced(expm(system * self.unit), self.inflow * self.unit)]

    def advance(self, state: Floats, time: float) -> Floats:
        units = int(time / self.unit)
        state = self._series(state, time - units * self.unit)
        rung = 0
        while units:
            if rung == len(self.ladder):
                last = self.ladder[-1]
                self.ladder.append(_balanced(last @ last, self.inflow * self.unit * 2**rung))
            if units & 1:
                state = self.ladder[rung] @ state
            units >>= 1
            rung += 1
        return state

    def _series(self, state: Floats, time: float) -> Floats:
        """Taylor series for a time below the unit: the term of order n is below 1 / n!."""
        term, total = state, state.copy()
        for order in range(1, _ORDERS):
            term = self.system @ term * (time / order)
            total += term
        return np.maximum(total, 0.0)


def _balanced(step: Floats, given: float) -> Floats:
    """No amount is negative; each pool's content goes somewhere as a whole, and the inflow is all there."""
    result = np.maximum(step, 0.0)
    result[:-1, :-1] /= result[:-1, :-1].sum(axis=0)
    if given > 0:
        result[:-1, -1] *= given / result[:-1, -1].sum()
    return result


def _without_inflow(system: Floats) -> Floats:
    quiet = system.copy()
    quiet[:, -1] = 0.0
    return quiet
