"""Which lenses can be validated, and the loop that all of them share: repetitions on one or several processes.

A lens's module has ``CASES`` (name to what it is), ``check(protocol)``, which refuses what it cannot use, and
``draw(protocol, case, rng)``, which gives the :class:`~timelens.run.validation.rows.Draw` of one repetition; figures
come from ``figures(rows)``. A new lens adds its module to :data:`LENSES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any
from typing import Protocol as TypingProtocol

import numpy as np

from timelens.errors import UsageError
from timelens.run.validation.rows import Draw, rows_of
from timelens.study.contract import Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LENSES", "Judge", "Validation", "judge_of", "validate"]

#: Name of the lens to its module here.
LENSES: Mapping[str, str] = {
    "cytometry": "timelens.run.validation.cytometry",
    "pet": "timelens.run.validation.pet",
    "pet-dynamic": "timelens.run.validation.pet_dynamic",
    "mri-dce": "timelens.run.validation.mri_dce",
    "mri-dsc": "timelens.run.validation.mri_dsc",
    "mri-relaxometry": "timelens.run.validation.mri_relaxometry",
}


class Judge(TypingProtocol):
    """What a lens's module holds."""

    CASES: Mapping[str, str]

    def check(self, protocol: Protocol | None) -> Protocol:
        """The protocol to use."""
        ...

    def draw(self, protocol: Protocol, case: str, rng: np.random.Generator) -> list[Draw]:
        """One repetition of a case."""
        ...

    def figures(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
        """Name to figure."""
        ...


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes
    ----------
    lens
        Name.
    protocol
        As it was used.
    cases
        What was simulated.
    seeds
        Repetitions.
    rows
        With the keys :data:`~timelens.run.validation.rows.COLUMNS`; None where something does not apply.
    """

    lens: str
    protocol: Protocol
    cases: tuple[str, ...]
    seeds: int
    rows: list[dict[str, Any]]


def judge_of(lens: str) -> Judge:
    """The module of a lens.

    Raises
    ------
    UsageError
        If the lens is not simulated.
    """
    if lens not in LENSES:
        raise UsageError("This lens is not simulated", field="lens", found=lens, expected=", ".join(LENSES))
    module: Any = import_module(LENSES[lens])
    judge: Judge = module
    return judge


def validate(
    lens: str = "pet",
    *,
    protocol: Protocol | None = None,
    seeds: int = 20,
    cases: Sequence[str] = (),
    jobs: int = 1,
    seed: int = 0,
) -> Validation:
    """Bias, spread, coverage and detection limit of what a lens measures.

    Parameters
    ----------
    lens
        One of :data:`LENSES`.
    protocol
        The lens's default where none is given.
    seeds
        Repetitions, each with its own noise and its own place of the lesions; at least 2.
    cases
        Of the lens's module; all where none is named.
    jobs
        Processes; the result does not depend on them.
    seed
        Of the whole validation.

    Returns
    -------
    Validation
        A row for each case, quantity and lesion. ``truth`` is what the lens finds on the noise-free image (its mean
        over the repetitions) and ``bias_percent`` the mean deviation from it; ``truth_object`` and
        ``bias_object_percent`` belong to the object itself; ``noise_free_bias_percent`` and
        ``noise_free_worst_percent`` are mean and largest deviation of the noise-free value from the object.
        ``spread_percent`` is the standard deviation of the deviations. ``coverage_95`` is the part of the 95 %
        intervals from image noise, ``intervals`` of them, that hold the noise-free value, ``coverage_95_object`` the
        part that hold the object's own. ``detection_limit`` is the least uptake of such a lesion that is told from its
        background with 5 % error of either kind (Currie LA. Anal Chem 1968;40:586, doi:10.1021/ac60259a007): background
        + 3.29 spread of the background in that mask / recovery.

    Raises
    ------
    UsageError
        If lens, protocol or a case cannot be used, or there are fewer than two repetitions.
    """
    judge = judge_of(lens)
    if seeds < 2:
        raise UsageError("A spread needs repetitions", field="seeds", found=seeds, expected="2 or more")
    if unknown := set(cases) - set(judge.CASES):
        raise UsageError(
            "There is no such case", field="cases", found=", ".join(sorted(unknown)), expected=", ".join(judge.CASES)
        )
    chosen = judge.check(protocol)
    wanted = tuple(name for name in judge.CASES if name in cases) if cases else tuple(judge.CASES)
    tasks = [(lens, chosen, name, seed, number) for name in wanted for number in range(seeds)]
    if jobs > 1:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            draws = list(pool.map(_draw, tasks, chunksize=max(1, len(tasks) // (8 * jobs))))
    else:
        draws = [_draw(task) for task in tasks]
    return Validation(lens, chosen, wanted, seeds, rows_of(draw for each in draws for draw in each))


def _draw(task: tuple[str, Protocol, str, int, int]) -> list[Draw]:
    """One repetition of one case, with randomness of its own."""
    lens, protocol, case, seed, number = task
    judge = judge_of(lens)
    return judge.draw(protocol, case, np.random.default_rng([seed, number, list(judge.CASES).index(case)]))
