"""Tumour and immune cells over days to weeks, as ordinary differential equations.

The core is the model of Kuznetsov, Makalkin, Taylor & Perelson (Bull Math Biol 1994;56:295, doi:10.1007/BF02460644):
effector cells E arrive, are stimulated by tumour cells T, kill them, and are worn out by them. What is added, each term
off by default so that the published model is left:

- the PD-1/PD-L1 brake ``F = 1 / (1 + Q)`` with ``Q`` in proportion to PD-1 (on E) times PD-L1 (on E and T), and its
  blockade, after Lai & Friedman (PLoS ONE 2017;12:e0178479, doi:10.1371/journal.pone.0178479);
- suppressor cells R (regulatory T cells, myeloid-derived cells) that slow effector cells, and TGF-beta that keeps
  effector cells out, after Wilson & Levy (Bull Math Biol 2012;74:1485, doi:10.1007/s11538-012-9722-4);
- growth of suppressor cells under PD-1 blockade, which makes hyperprogression (Kamada 2019,
  doi:10.1073/pnas.1822001116);
- dying cells D that are cleared with delay, which, with the influx, makes pseudoprogression;
- infused CAR-T and CAR-NK cells, chemotherapy (kill in proportion to its level), radiotherapy (linear-quadratic).

Time is in days, populations in cells of the whole tumour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp

from timelens.errors import DataError, UsageError
from timelens.tumor.treatments import (
    CellInfusion,
    CheckpointInhibitor,
    Chemotherapy,
    Radiotherapy,
    TgfBetaInhibitor,
    Treatment,
)

__all__ = ["POPULATIONS", "Course", "Kinetics", "Start", "simulate"]

Array = NDArray[np.float64]

#: What the state consists of; the last is how far blockade of TGF-beta has opened the tumour, 0 to 1.
POPULATIONS = ("tumour", "dying", "effector", "suppressor", "car_t", "car_nk", "opened")


@dataclass(frozen=True)
class Kinetics:
    """Rates of the model. The defaults of the first eight are Kuznetsov's fit to a B-cell lymphoma of mice (table 1).

    Attributes
    ----------
    growth
        a, 1/d.
    crowding
        b, 1/cell: 1/b tumour cells are the most there can be.
    influx
        s, effector cells per day.
    effector_loss
        d, 1/d.
    stimulation
        p, 1/d: largest rate at which tumour cells make effector cells multiply.
    half_stimulation
        g, tumour cells at half of it.
    exhaustion
        m, 1/(cell d): effector cells lost to contacts with tumour cells.
    killing
        n, 1/(cell d): tumour cells killed by contacts with effector cells.
    pd_l1
        PD-L1 on a tumour cell relative to that on an effector cell.
    brake_cells
        Geometric mean of PD-1 and PD-L1 carriers (in effector cells) at which the brake halves activity.
    access
        Part of the effector cells that reach tumour cells, 1 without exclusion.
    opening_days
        Time constant with which the tumour opens and closes again under blockade of TGF-beta.
    suppressor_influx, suppressor_recruitment
        Suppressor cells per day that arrive anyway, and the most that tumour cells recruit.
    suppressor_loss
        1/d.
    half_suppression
        Suppressor cells that halve killing and stimulation.
    suppressor_growth
        1/d under full PD-1 blockade.
    suppressor_limit
        Suppressor cells at which that growth ends.
    suppressor_support
        How much faster the tumour grows at most with many suppressor cells (1 is twice as fast).
    priming
        Effector cells per dying cell and day, by released antigen.
    clearance
        1/d: dying cells that vanish.
    car_killing, car_expansion, car_loss
        Of CAR-T cells: 1/(cell d), 1/d, 1/d.
    nk_killing, nk_loss
        Of CAR-NK cells, which do not expand.
    chemo_tumour, chemo_immune
        Kill per level of chemotherapy, 1/d.
    alpha, beta, alpha_immune
        Linear-quadratic law, 1/Gy, 1/Gy2; immune cells without the second term.
    stroma_share, immune_share
        Parts of the volume at the start that are stroma (which stays) and immune cells with their fluid (which follows
        the effector cells).
    """

    growth: float = 0.18
    crowding: float = 2.0e-9
    influx: float = 1.3e4
    effector_loss: float = 0.0412
    stimulation: float = 0.1245
    half_stimulation: float = 2.019e7
    exhaustion: float = 3.422e-10
    killing: float = 1.101e-7
    pd_l1: float = 0.0
    brake_cells: float = math.inf
    access: float = 1.0
    opening_days: float = 7.0
    suppressor_influx: float = 0.0
    suppressor_recruitment: float = 0.0
    suppressor_loss: float = 0.05
    half_suppression: float = math.inf
    suppressor_growth: float = 0.0
    suppressor_limit: float = math.inf
    suppressor_support: float = 0.0
    priming: float = 0.0
    clearance: float = 0.2
    car_killing: float = 4.0e-8
    car_expansion: float = 0.25
    car_loss: float = 0.1
    nk_killing: float = 2.0e-8
    nk_loss: float = 0.3
    chemo_tumour: float = 0.3
    chemo_immune: float = 0.1
    alpha: float = 0.3
    beta: float = 0.03
    alpha_immune: float = 0.5
    stroma_share: float = 0.05
    immune_share: float = 0.03

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not value >= 0:
                raise UsageError("A rate is negative or no number", field=each.name, found=value, expected=">= 0")
        if self.access > 1 or self.stroma_share + self.immune_share >= 1:
            raise UsageError("Parts are at most 1", field="access, stroma_share, immune_share", found=self.access)

    def scaled(self, size: float) -> Kinetics:
        """The same course in a tumour with ``size`` times as many cells of every kind."""
        return replace(
            self,
            **{name: getattr(self, name) / size for name in ("crowding", "exhaustion", "killing")},
            **{name: getattr(self, name) / size for name in ("car_killing", "nk_killing")},
            **{name: getattr(self, name) * size for name in ("influx", "half_stimulation", "brake_cells")},
            **{name: getattr(self, name) * size for name in ("suppressor_influx", "suppressor_recruitment")},
            **{name: getattr(self, name) * size for name in ("half_suppression", "suppressor_limit")},
        )


@dataclass(frozen=True)
class Start:
    """Cells at day 0."""

    tumour: float
    effector: float
    suppressor: float = 0.0


@dataclass(frozen=True, eq=False)
class Course:
    """Populations over time.

    Attributes
    ----------
    days
        When, ascending, first and last day of the course included. A day on which something happens stands twice:
        before and after it.
    states
        Shape (days, populations), in the order of :data:`POPULATIONS`.
    kinetics, treatments
        What made it.
    """

    days: Array
    states: Array
    kinetics: Kinetics
    treatments: tuple[Treatment, ...] = ()

    def population(self, name: str, day: ArrayLike | None = None) -> Array:
        """Cells of one population, on all days of the course or on given ones (linear in between; after events).

        Raises
        ------
        UsageError
            If there is no such population, or a day lies outside of the course.
        """
        if name not in POPULATIONS:
            raise UsageError("There is no such population", field="name", found=name, expected=", ".join(POPULATIONS))
        values = self.states[:, POPULATIONS.index(name)]
        if day is None:
            return values
        when = np.asarray(day, float)
        if not ((when >= self.days[0]) & (when <= self.days[-1])).all():
            raise UsageError(
                "The course does not reach that day", field="day", found=day, expected=f"0 to {self.days[-1]:g}"
            )
        return np.asarray(np.interp(when, self.days, values))

    def access(self, day: ArrayLike | None = None) -> Array:
        """Part of the effector cells that reach tumour cells."""
        closed = 1 - self.kinetics.access
        return np.asarray(self.kinetics.access + closed * self.population("opened", day))

    def relative(self, name: str, day: ArrayLike | None = None) -> Array:
        """A population relative to day 0."""
        return self.population(name, day) / self.population(name)[0]

    def volume_ratio(self, day: ArrayLike | None = None) -> Array:
        """Volume of the lesion relative to day 0: tumour cells alive and dying, immune cells with fluid, stroma."""
        k = self.kinetics
        cells = (self.population("tumour", day) + self.population("dying", day)) / self.population("tumour")[0]
        tumour = (1 - k.stroma_share - k.immune_share) * cells
        return np.asarray(tumour + k.immune_share * self.relative("effector", day) + k.stroma_share)

    def diameter_ratio(self, day: ArrayLike | None = None) -> Array:
        """Diameter of a sphere of that volume relative to day 0."""
        return np.cbrt(self.volume_ratio(day))

    def growth_rate(self, start: float, stop: float) -> float:
        """Growth rate of the volume between two days, in percent per 30 days as trials state it.

        Champiat 2017, doi:10.1158/1078-0432.CCR-16-1741: hyperprogression is at least twice the rate before treatment.
        """
        first, last = self.volume_ratio(start), self.volume_ratio(stop)
        return float(100 * np.expm1(np.log(last / first) * 30 / (stop - start)))


def simulate(
    kinetics: Kinetics,
    start: Start,
    days: float,
    treatments: Sequence[Treatment] = (),
    *,
    step_days: float = 0.25,
) -> Course:
    """Follow a tumour over time.

    Parameters
    ----------
    kinetics
        Rates.
    start
        Cells at day 0.
    days
        Length of the course.
    treatments
        What is done, in any order.
    step_days
        Spacing of the days in the result (the solver chooses its own steps).

    Raises
    ------
    UsageError
        If nothing is there at the start, or a treatment lies outside of the course.
    DataError
        If the equations could not be solved.
    """
    if not (start.tumour > 0 and start.effector > 0 and start.suppressor >= 0):
        raise UsageError("A course starts with tumour and effector cells", field="start", found=start, expected="> 0")
    if not (days > 0 and step_days > 0):
        raise UsageError("A course has a length", field="days", found=days, expected="> 0 d")
    for each in treatments:
        if not 0 <= each.day <= days:
            raise UsageError(
                "A treatment lies outside of the course", field="day", found=each.day, expected=f"0 to {days:g}"
            )
    ordered = tuple(sorted(treatments, key=lambda each: each.day))
    grid = np.linspace(0, days, max(2, int(np.ceil(days / step_days)) + 1))
    breaks = sorted({0.0, float(days), *(float(each.day) for each in ordered)})
    state = np.array([start.tumour, 0, start.effector, start.suppressor, 0, 0, 0], float)
    found_days: list[Array] = []
    found_states: list[Array] = []
    for first, last in zip(breaks, [*breaks[1:], breaks[-1]], strict=True):
        for each in ordered:
            if each.day == first:
                state = _at_once(state, each, kinetics)
        if last > first or any(each.day == first for each in ordered):
            found_days.append(np.array([first]))
            found_states.append(state[None])
        if last == first:
            continue
        # The last day of a stretch is kept as it was before what happens on it: nothing is smeared over an event.
        times = np.append(grid[(grid > first) & (grid < last)], last)
        drugs = [each for each in ordered if each.day <= first]
        solved = solve_ivp(
            _rates, (first, last), state, t_eval=times, method="LSODA", rtol=1e-8, atol=1e-3 * _unit(start),
            args=(kinetics, drugs),
        )  # fmt: skip
        if not solved.success or not np.isfinite(solved.y).all():
            raise DataError("The course could not be computed", field="kinetics", found=solved.message)
        states = np.maximum(solved.y.T, 0.0)
        found_days.append(times)
        found_states.append(states)
        state = states[-1]
    return Course(np.concatenate(found_days), np.concatenate(found_states), kinetics, ordered)


def _unit(start: Start) -> Array:
    """A millionth of the tumour, in cells; of the last entry, which is no cell count, a millionth."""
    return (
        np.array(
            [start.tumour, start.tumour, start.effector, max(start.suppressor, start.effector)] + [1e3] * 2 + [1.0]
        )
        * 1e-6
    )


def _at_once(state: Array, event: Treatment, k: Kinetics) -> Array:
    """The state after an event that acts within hours."""
    after = state.copy()
    if isinstance(event, Radiotherapy):
        survive = math.exp(-event.fractions * (k.alpha * event.dose_gy + k.beta * event.dose_gy**2))
        after[1] += state[0] * (1 - survive)
        after[0] *= survive
        after[2:6] *= math.exp(-event.fractions * k.alpha_immune * event.dose_gy)
    elif isinstance(event, CellInfusion):
        after[4 if event.component == "car-t-cell" else 5] += event.cells * event.homing
    return after


def _rates(day: float, state: Array, k: Kinetics, given: Sequence[Treatment]) -> list[float]:
    """Time derivatives of the state."""
    tumour, dying, effector, suppressor, car_t, car_nk, opened = (float(v) for v in np.maximum(state, 0.0))
    blocked = _effect(day, given, CheckpointInhibitor)
    opening = _effect(day, given, TgfBetaInhibitor)
    chemo = sum(each.level_at(day) for each in given if isinstance(each, Chemotherapy))
    brake = 1 / (1 + (1 - blocked) * (effector / k.brake_cells) * ((effector + k.pd_l1 * tumour) / k.brake_cells))
    calm = 1 / (1 + suppressor / k.half_suppression)
    access = k.access + (1 - k.access) * opened
    supported = 1 + k.suppressor_support * (1 - calm)
    kill = (
        k.killing * brake * calm * access * effector + access * (k.car_killing * car_t + k.nk_killing * car_nk)
    ) * tumour + k.chemo_tumour * chemo * tumour
    seen = tumour / (k.half_stimulation + tumour)
    poison = k.chemo_immune * chemo
    return [
        k.growth * supported * tumour * (1 - k.crowding * tumour) - kill,
        kill - k.clearance * dying,
        k.influx
        + k.stimulation * brake * calm * seen * effector
        - k.exhaustion * effector * tumour
        - (k.effector_loss + poison) * effector
        + k.priming * calm * dying,
        k.suppressor_influx
        + k.suppressor_recruitment * seen
        + k.suppressor_growth * blocked * suppressor * (1 - suppressor / k.suppressor_limit)
        - (k.suppressor_loss + poison) * suppressor,
        (k.car_expansion * seen - k.car_loss - poison) * car_t,
        -(k.nk_loss + poison) * car_nk,
        (opening - opened) / k.opening_days,
    ]


def _effect(day: float, given: Sequence[Treatment], kind: type[CheckpointInhibitor] | type[TgfBetaInhibitor]) -> float:
    """Effect of a drug between 0 and 1, by the law of mass action."""
    level = sum(each.level_at(day) for each in given if isinstance(each, kind))
    return level / (1 + level)
