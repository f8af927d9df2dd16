"""Named courses: the same equations and treatment, other parameters.

Rates are illustrative, chosen so that each course meets the definition in its row; they are of no particular tumour.
All start from 1e8 tumour cells (a lesion of about 1 cm); :meth:`Scenario.scaled` fits them to another size.

=================  =====================================================================================================
name               what it shows under a checkpoint inhibitor from day 7
=================  =====================================================================================================
responder          diameter at least 30 % smaller (RECIST 1.1 partial response) within 12 weeks
non-responder      diameter at least 20 % larger (progression): tumour cells are hardly killed
excluded           the same, because effector cells stay in the stroma; with a TGF-beta inhibitor it responds
pseudoprogression  first at least 20 % larger by influx and uncleared cells while tumour cells fall, then 30 % smaller
hyperprogression   the volume grows at least twice as fast as before (Champiat 2017, doi:10.1158/1078-0432.CCR-16-1741)
=================  =====================================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from timelens.errors import UsageError
from timelens.tumor.dynamics import Course, Kinetics, Start, simulate
from timelens.tumor.treatments import CheckpointInhibitor, TgfBetaInhibitor, Treatment

__all__ = ["SCENARIOS", "Scenario", "checkpoint_cycles", "scenario", "tgf_beta_cycles"]


@dataclass(frozen=True)
class Scenario:
    """Rates and start of a course."""

    kinetics: Kinetics
    start: Start

    def scaled(self, tumour_cells: float) -> Scenario:
        """The same course from another number of tumour cells."""
        size = tumour_cells / self.start.tumour
        start = Start(self.start.tumour * size, self.start.effector * size, self.start.suppressor * size)
        return Scenario(self.kinetics.scaled(size), start)

    def run(self, days: float, treatments: Sequence[Treatment] = ()) -> Course:
        """The course over so many days."""
        return simulate(self.kinetics, self.start, days, treatments)


_START = Start(tumour=1e8, effector=4e5, suppressor=5e5)
_INFLAMED = Kinetics(
    growth=0.02,
    crowding=1e-9,
    influx=2e4,
    effector_loss=0.06,
    stimulation=0.25,
    half_stimulation=2e7,
    exhaustion=2e-10,
    killing=8e-8,
    pd_l1=0.05,
    brake_cells=1e6,
    suppressor_influx=2.5e4,
    suppressor_loss=0.05,
    half_suppression=1e6,
)

#: Scenario by name.
SCENARIOS = MappingProxyType(
    {
        "responder": Scenario(replace(_INFLAMED, killing=1.2e-7, stimulation=0.3), _START),
        "non-responder": Scenario(replace(_INFLAMED, killing=5e-9, pd_l1=0.0), _START),
        "excluded": Scenario(replace(_INFLAMED, killing=1.2e-7, stimulation=0.3, access=0.02), _START),
        "pseudoprogression": Scenario(
            replace(
                _INFLAMED,
                killing=7e-8,
                stimulation=0.5,
                effector_loss=0.1,
                brake_cells=1.5e6,
                clearance=0.04,
                immune_share=0.15,
            ),
            _START,
        ),
        "hyperprogression": Scenario(
            replace(
                _INFLAMED,
                growth=0.012,
                killing=5e-9,
                suppressor_influx=5e3,
                suppressor_growth=0.25,
                suppressor_limit=1e7,
                suppressor_support=4.0,
            ),
            replace(_START, suppressor=1e5),
        ),
    }
)


def scenario(name: str) -> Scenario:
    """The scenario of that name.

    Raises
    ------
    UsageError
        If there is none.
    """
    if name not in SCENARIOS:
        raise UsageError("There is no such scenario", field="name", found=name, expected=", ".join(SCENARIOS))
    return SCENARIOS[name]


def checkpoint_cycles(start: float = 7.0, *, cycles: int = 5, every_days: float = 21.0) -> tuple[Treatment, ...]:
    """A checkpoint inhibitor every three weeks."""
    return tuple(CheckpointInhibitor(start + every_days * i) for i in range(cycles))


def tgf_beta_cycles(start: float = 7.0, *, cycles: int = 5, every_days: float = 21.0) -> tuple[Treatment, ...]:
    """A TGF-beta inhibitor every three weeks."""
    return tuple(TgfBetaInhibitor(start + every_days * i) for i in range(cycles))
