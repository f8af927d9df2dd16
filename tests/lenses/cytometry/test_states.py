"""Functional states: what is refused, what has no number and why, and how well they are told on virtual sections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.lenses.cytometry.sections import cells, section

from timelens.errors import UsageError
from timelens.knowledge import components, targets
from timelens.lenses.cytometry.lens import CytometryLens
from timelens.lenses.cytometry.markers import MARKERS, STATE_MARKERS, canonical
from timelens.lenses.cytometry.simulate import METALS, cytometry_protocol, express
from timelens.lenses.cytometry.states import EXHAUSTION, STATES, add_states, exhaustion, find_states
from timelens.study.contract import Match, Result

LENS = CytometryLens()
SEED = 3


def measured(drop=(), options=None, **protocol):
    made = section(16, SEED, **protocol)
    scan = made.acquisitions[0]
    metals = [metal for metal, marker in METALS.items() if marker in drop]
    scan = replace(scan, extra={**scan.extra, "dropped_channels": tuple(metals)})
    steps = {"space": {"neighbourhoods": 0, "shuffles": 100}} | (options or {})
    return LENS.quantify({"cytometry": scan}, made.regions, steps)


@pytest.fixture(scope="module")
def whole():
    return measured()


def rows(result, target, component, quantity="positive_fraction"):
    return {
        m.region: m for m in result.measurements
        if (m.quantity, m.target, m.component) == (quantity, target, component)
    }  # fmt: skip


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"states": {"exhaustion": "tired"}}, "no such definition of exhaustion"),
        ({"states": {"pd1": 3}}, "no such parameter"),
        ({"types": {"thresholds": [1.0]}}, "maps markers to counts"),
        ({"types": {"thresholds": {"PD-1": 0}}}, "no such number"),
        ({"types": {"thresholds": {"PD-1": "high"}}}, "no such number"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        LENS.recipe(Match(0.0), options)


def test_a_marker_that_was_not_measured_has_no_number():
    result = measured(drop=("PD-1", "Ki-67"))
    for target, component in (("pdcd1", "cd8-t-cell"), ("mki67", "tumour-cell")):
        (row,) = rows(result, target, component).values()
        assert np.isnan(row.value) and row.reason.startswith("not measured: ")
    (tired,) = rows(result, "pdcd1;tox", "cd8-t-cell").values()
    assert tired.reason == "not measured: PD-1"
    assert "state_PD-1" not in result.tables["cells"].data and "state_PD-L1" in result.tables["cells"].data


def test_a_marker_that_nobody_bears_has_no_number():
    result = measured(open_part=0.0)
    (row,) = rows(result, "mki67", "tumour-cell").values()
    assert np.isnan(row.value) and row.reason == "no positive group: Ki-67"


def test_exhaustion_needs_one_of_the_other_markers():
    result = measured(drop=("TOX",))
    (row,) = rows(result, "pdcd1;havcr2;lag3;tox", "cd8-t-cell").values()
    assert row.reason == "none measured of TIM-3, LAG-3, TOX"


def test_a_type_that_is_not_told_has_no_state():
    result = measured(drop=("CD68",))
    (row,) = rows(result, "cd274", "m2-macrophage").values()
    assert np.isnan(row.value) and "not measured: CD68" in row.reason


# -- definitions -----------------------------------------------------------------------------------------------------


def test_states_are_of_the_knowledge_base():
    for state in (*STATES, *EXHAUSTION.values()):
        assert all(targets.find(m) is not None for m in (*state.positive, *state.any_of))
        assert all(c == "cell" or components.find(c).id == c for c in state.components)
    assert exhaustion("pd1-with-tim3").positive == ("PD-1", "TIM-3")
    assert {"TIM-3", "LAG-3"} == set(STATE_MARKERS) and not set(STATE_MARKERS) & set(MARKERS)
    assert [canonical(n) for n in ("HAVCR2", "Tim3", "162Dy_LAG3", "CD279(Pr141)")] == [
        "TIM-3", "TIM-3", "LAG-3", "PD-1"
    ]  # fmt: skip


# -- numbers -----------------------------------------------------------------------------------------------------------


def truth():
    """Which markers each cell of the section bears."""
    names = [str(n) for n in cells(16, SEED).data["component"]]
    plan = cytometry_protocol(None)
    level = express(names, plan, np.random.default_rng(SEED))
    return np.array(names), {m: level[:, k] > plan.background for k, m in enumerate(MARKERS)}


@pytest.mark.parametrize(
    ("target", "marker", "component", "kinds"),
    [
        ("mki67", "Ki-67", "tumour-cell", ["tumour-cell"]),
        ("pdcd1", "PD-1", "t-cell", ["cd8-t-cell", "cd4-t-cell", "treg"]),
        ("cd274", "PD-L1", "tam", ["m2-macrophage"]),
        ("gzmb", "granzyme B", "cd8-t-cell", ["cd8-t-cell"]),
    ],
)
def test_parts_agree_with_what_cells_bear(whole, target, marker, component, kinds):
    names, borne = truth()
    own = np.isin(names, kinds)
    row = rows(whole, target, component)["section"]
    assert row.lower <= borne[marker][own].mean() <= row.upper
    assert row.value == pytest.approx(borne[marker][own].mean(), abs=0.04)
    assert row.n == pytest.approx(own.sum(), abs=3)


def test_cells_are_judged_one_by_one(whole):
    _, borne = truth()
    (found,) = whole.pictures["cells"]
    table = whole.tables["cells"].data
    for state, marker in (("PD-1", "PD-1"), ("Ki-67", "Ki-67"), ("granzyme-B", "granzyme B")):
        mine = table[f"state_{state}"].to_numpy() == "yes"
        assert (mine == borne[marker][found.measures.label - 1]).mean() > 0.97
    both = (table["state_PD-1"] == "yes") & (np.asarray(found.positive["TOX"]))
    assert ((table["state_exhausted"] == "yes") == both).all()


def test_compartments_add_up(whole):
    per = rows(whole, "mki67", "cell", "positive_cell_density_area")
    assert set(per) == {"section", "nest", "margin", "stroma"}
    assert per["section"].n == sum(m.n for name, m in per.items() if name != "section")
    parts = rows(whole, "mki67", "cell")
    assert parts["section"].value == pytest.approx(per["section"].n / parts["section"].n)


def test_a_stated_threshold_makes_zero_a_number():
    result = measured(open_part=0.0, options={"types": {"thresholds": {"Ki67": 2.0, "TIM-3": 2.0}}})
    row = rows(result, "mki67", "tumour-cell")["section"]
    assert row.value == 0.0 and row.lower == 0.0 < row.upper < 0.2
    assert any("threshold is stated for a marker that was not measured" in p.message for p in result.problems)


def test_a_stated_threshold_tells_a_type_that_is_not_there():
    (row,) = (m for m in measured(options={"types": {"thresholds": {"CAR": 2.0}}}).measurements
              if (m.quantity, m.component, m.region) == ("cell_density_area", "car-t-cell", "section"))  # fmt: skip
    assert row.value == 0.0 and row.upper > 0


def test_stated_thresholds_are_where_cells_are_parted(whole):
    (found,) = whole.pictures["cells"]
    level = float(found.splits["PD-1"])
    again = measured(options={"types": {"thresholds": {"PD-1": level}}})
    assert rows(again, "pdcd1", "t-cell")["section"].value == rows(whole, "pdcd1", "t-cell")["section"].value
    high = measured(options={"types": {"thresholds": {"PD-1": 1e4}}})
    assert rows(high, "pdcd1", "t-cell")["section"].value == 0.0


def test_another_definition_of_exhaustion_is_said(whole):
    (found,) = whole.pictures["cells"]
    tox = find_states(found, "pd1-with-tox")[-1]
    assert tox.target == "pdcd1;tox" and "Khan 2019" in tox.said
    assert find_states(found, "pd1-with-tim3")[-1].reason == "not measured: TIM-3"
    result = Result()
    result.tables["cells"] = whole.tables["cells"]
    with pytest.raises(UsageError, match="no such definition"):
        add_states(found, None, "none", result)
