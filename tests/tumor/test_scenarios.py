"""Each named course meets the definition of its name, from parameters alone: the treatment is the same for all."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.tumor.dynamics import Course
from timelens.tumor.scenarios import SCENARIOS, checkpoint_cycles, scenario, tgf_beta_cycles
from timelens.tumor.treatments import CellInfusion, Chemotherapy, Radiotherapy

WEEKS_12 = 7.0 + 84.0


def course(name: str, *, treated: bool = True, days: float = 140.0) -> Course:
    return scenario(name).run(days, checkpoint_cycles(cycles=6) if treated else ())


@pytest.mark.parametrize("name", SCENARIOS)
def test_untreated_every_tumour_progresses(name: str) -> None:
    found = course(name, treated=False)
    assert found.diameter_ratio(WEEKS_12) >= 1.2
    assert (np.diff(found.volume_ratio()) > 0).all()


def test_a_responder_shrinks_by_the_definition_of_partial_response() -> None:
    found = course("responder")
    assert found.diameter_ratio(WEEKS_12) <= 0.7
    assert found.diameter_ratio().max() < 1.2
    assert found.relative("effector").max() > 2


def test_a_non_responder_progresses_though_effector_cells_multiply() -> None:
    found = course("non-responder")
    assert found.diameter_ratio(WEEKS_12) >= 1.2
    assert found.relative("effector").max() > 2


def test_an_excluded_tumour_responds_only_when_opened() -> None:
    alone = course("excluded")
    opened = scenario("excluded").run(140, checkpoint_cycles() + tgf_beta_cycles())
    only = scenario("excluded").run(140, tgf_beta_cycles())
    assert alone.diameter_ratio(WEEKS_12) >= 1.2
    assert only.diameter_ratio(WEEKS_12) >= 1.2
    assert opened.diameter_ratio(WEEKS_12) <= 0.7


def test_pseudoprogression_grows_while_its_tumour_cells_fall_and_then_shrinks() -> None:
    found = course("pseudoprogression")
    early = found.days <= 56
    peak = int(np.argmax(found.diameter_ratio()[early]))
    assert found.diameter_ratio()[peak] >= 1.2
    assert found.relative("tumour")[peak] < 0.7
    # Unconfirmed: no growth beyond, and a response in the end.
    assert found.diameter_ratio(140.0) <= 0.7
    assert found.relative("tumour", 140.0) < 0.05


def test_hyperprogression_at_least_doubles_the_growth_rate() -> None:
    treated, untreated = course("hyperprogression"), course("hyperprogression", treated=False)
    before, after = treated.growth_rate(0, 7), treated.growth_rate(7, 49)
    assert after >= 2 * before
    assert untreated.growth_rate(7, 49) < before
    assert treated.relative("suppressor").max() > 10


def test_other_treatments_shrink_a_responder() -> None:
    sound = scenario("responder")
    for treatment in (
        Radiotherapy(7, 2, 5),
        Chemotherapy(7),
        CellInfusion(7, 1e8),
        CellInfusion(7, 1e9, "car-nk-cell"),
    ):
        found = sound.run(60, [treatment])
        assert found.diameter_ratio(28.0) < 0.85
    assert sound.run(60).diameter_ratio(28.0) > 1.05


def test_a_scenario_fits_any_size() -> None:
    small, large = scenario("responder"), scenario("responder").scaled(3e9)
    assert large.start.tumour == pytest.approx(3e9)
    cycles = checkpoint_cycles()
    assert large.run(100, cycles).diameter_ratio() == pytest.approx(small.run(100, cycles).diameter_ratio(), rel=1e-3)
    with pytest.raises(UsageError, match=r"There is no such scenario.*responder"):
        scenario("miracle")
