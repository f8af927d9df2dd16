"""The equations: Kuznetsov's published steady states, closed forms of single terms, scaling, refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import fsolve

from timelens.errors import UsageError
from timelens.tumor.dynamics import POPULATIONS, Kinetics, Start, _rates, simulate
from timelens.tumor.treatments import CellInfusion, CheckpointInhibitor, Chemotherapy, Radiotherapy, TgfBetaInhibitor

#: Steady states A to D of Kuznetsov 1994 in millions of effector and tumour cells, and whether they are stable.
STEADY = (((0.3155, 0.0), False), ((1.608, 8.186), True), ((0.7585, 268.0), False), ((0.1732, 447.0), True))
#: Only growth: nothing kills.
CALM = Kinetics(killing=0.0, exhaustion=0.0)


def reduced(values: np.ndarray) -> list[float]:
    rates = _rates(0.0, np.array([values[1] * 1e6, 0, values[0] * 1e6, 0, 0, 0, 0]), Kinetics(), [])
    return [rates[2] / 1e6, rates[0] / 1e6]


@pytest.mark.parametrize(("state", "stable"), STEADY)
def test_without_what_was_added_the_published_steady_states_are_left(state: tuple[float, float], stable: bool) -> None:
    found = fsolve(reduced, state)
    assert found == pytest.approx(state, rel=1e-3, abs=1e-3)
    h = 1e-5
    jacobian = np.column_stack(
        [(np.array(reduced(found + h * e)) - reduced(found - h * e)) / (2 * h) for e in np.eye(2)]
    )
    assert (np.linalg.eigvals(jacobian).real < 0).all() == stable


def test_a_dormant_tumour_stays_where_the_paper_says() -> None:
    course = simulate(Kinetics(), Start(tumour=5e6, effector=1.8e6), 1500)
    assert course.population("tumour")[-1] == pytest.approx(8.186e6, rel=0.01)
    assert course.population("effector")[-1] == pytest.approx(1.608e6, rel=0.01)


def test_growth_alone_is_logistic() -> None:
    course = simulate(CALM, Start(1e6, 1e5), 60)
    a, k = CALM.growth, 1 / CALM.crowding
    expected = k / (1 + (k / 1e6 - 1) * np.exp(-a * course.days))
    assert course.population("tumour") == pytest.approx(expected, rel=1e-5)


def test_radiotherapy_leaves_what_the_linear_quadratic_law_says_and_dying_cells_are_cleared() -> None:
    k = replace(CALM, growth=0.0)
    course = simulate(k, Start(1e8, 1e5), 20, [Radiotherapy(5.0, 3.0, 2)])
    survive = math.exp(-2 * (k.alpha * 3 + k.beta * 9))
    assert course.population("tumour", 4.9) == pytest.approx(1e8)
    assert course.population("tumour", 5.0) == pytest.approx(1e8 * survive, rel=1e-6)
    assert course.population("tumour", 20.0) == pytest.approx(1e8 * survive, rel=1e-6)
    assert course.population("dying", 20.0) == pytest.approx(
        1e8 * (1 - survive) * math.exp(-k.clearance * 15), rel=1e-5
    )


def test_chemotherapy_kills_by_the_area_under_its_level() -> None:
    k = replace(CALM, growth=0.0)
    course = simulate(k, Start(1e8, 1e5), 40, [Chemotherapy(3.0, level=2.0, half_life_days=1.5)])
    area = 2.0 * 1.5 / math.log(2)
    assert course.population("tumour")[-1] == pytest.approx(1e8 * math.exp(-k.chemo_tumour * area), rel=1e-5)


def test_infused_cells_arrive_kill_and_die() -> None:
    k = replace(CALM, growth=0.0)
    dose = CellInfusion(2.0, 1e8, "car-nk-cell", homing=0.05)
    course = simulate(k, Start(1e8, 1e5), 60, [dose])
    assert course.population("car_nk", 2.0) == pytest.approx(5e6)
    assert course.population("car_nk", 12.0) == pytest.approx(5e6 * math.exp(-10 * k.nk_loss), rel=1e-3)
    killed = math.exp(-k.nk_killing * 5e6 / k.nk_loss)
    assert course.population("tumour")[-1] == pytest.approx(1e8 * killed, rel=1e-5)
    expanding = simulate(CALM, Start(1e8, 1e5), 10, [CellInfusion(0.0, 1e8)])
    assert expanding.population("car_t")[-1] > 2e6


def test_the_brake_halves_killing_where_it_should_and_a_drug_takes_it_off() -> None:
    k = Kinetics(growth=0, influx=0, exhaustion=0, stimulation=0, effector_loss=0, brake_cells=1e6)
    kills = []
    for treatments in ((), (CheckpointInhibitor(0.0, level=1e6, half_life_days=1e6),)):
        course = simulate(k, Start(1e8, 1e6), 1, treatments)
        kills.append(-math.log(course.relative("tumour", 1.0)))
    assert kills == pytest.approx([0.5 * k.killing * 1e6, k.killing * 1e6], rel=1e-4)


def test_blockade_of_tgf_beta_opens_the_tumour_and_its_end_closes_it() -> None:
    k = replace(Kinetics(), access=0.1, opening_days=5.0)
    course = simulate(k, Start(1e8, 1e6), 120, [TgfBetaInhibitor(10.0, level=50, half_life_days=5)])
    assert course.access(9.0) == pytest.approx(0.1)
    assert course.access(30.0) > 0.7
    assert course.access(120.0) < 0.15


def test_a_scaled_model_runs_the_same_course() -> None:
    k = Kinetics(pd_l1=0.05, brake_cells=1e6, suppressor_influx=2e4, half_suppression=1e6, suppressor_limit=1e7)
    start = Start(1e8, 4e5, 5e5)
    small = simulate(k, start, 60, [CheckpointInhibitor(7.0)])
    large = simulate(k.scaled(40.0), Start(4e9, 1.6e7, 2e7), 60, [CheckpointInhibitor(7.0)])
    for name in ("tumour", "effector", "suppressor"):
        assert large.relative(name) == pytest.approx(small.relative(name), rel=1e-4)
    assert large.volume_ratio() == pytest.approx(small.volume_ratio(), rel=1e-4)


def test_the_course_has_the_days_it_was_asked_for_and_no_negative_cells() -> None:
    course = simulate(Kinetics(), Start(1e8, 1e6), 30, [Radiotherapy(7.3, 8.0), CellInfusion(7.3, 1e9)])
    assert (course.days[0], course.days[-1]) == (0, 30)
    assert (np.diff(course.days) >= 0).all()
    assert (course.days == 7.3).sum() == 2  # before and after
    assert course.population("tumour", 7.2999) > 5 * course.population("tumour", 7.3)
    assert course.states.shape == (len(course.days), len(POPULATIONS))
    assert course.states.min() >= 0
    assert course.volume_ratio(0.0) == pytest.approx(1)
    again = simulate(Kinetics(), Start(1e8, 1e6), 30, [Radiotherapy(7.3, 8.0), CellInfusion(7.3, 1e9)])
    assert again.states.tobytes() == course.states.tobytes()


def test_a_growth_rate_is_in_percent_per_month() -> None:
    course = simulate(CALM, Start(1e4, 1e5), 10)
    assert course.growth_rate(0, 10) == pytest.approx(100 * (course.volume_ratio(10.0) ** 3 - 1))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: simulate(Kinetics(), Start(0, 1), 5), "starts with tumour and effector cells"),
        (lambda: simulate(Kinetics(), Start(1, 1), 0), "A course has a length"),
        (lambda: simulate(Kinetics(), Start(1, 1), 5, [Radiotherapy(6, 2)]), "lies outside of the course"),
        (lambda: Kinetics(growth=-1), r"A rate is negative or no number.*growth"),
        (lambda: Kinetics(access=2), "Parts are at most 1"),
        (lambda: simulate(Kinetics(), Start(1e6, 1e5), 5).population("t cells"), "There is no such population"),
        (lambda: simulate(Kinetics(), Start(1e6, 1e5), 5).population("tumour", 6), "does not reach that day"),
    ],
)
def test_what_makes_no_course_is_refused(call, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        call()
