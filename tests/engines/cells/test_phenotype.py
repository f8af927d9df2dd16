"""Thresholds, gates and the probabilistic model of cell types."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.cells.gates import UNKNOWN, apply_gates, read_gates
from timelens.engines.cells.posterior import CellTypeModel
from timelens.engines.cells.thresholds import Reason, explain, split
from timelens.engines.cells.transform import arcsinh
from timelens.errors import UsageError

# -- thresholds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], Reason.TOO_FEW_CELLS),
        (np.arange(20.0), Reason.TOO_FEW_CELLS),
        (np.full(50, np.nan), Reason.TOO_FEW_CELLS),
        (np.ones(50), Reason.CONSTANT),
        (np.random.default_rng(1).normal(size=500), Reason.ONE_GROUP),
        (np.random.default_rng(1).random(500), Reason.ONE_GROUP),
        (np.arcsinh(np.random.default_rng(1).exponential(5, 4000)), Reason.ONE_GROUP),
        (np.arcsinh(np.random.default_rng(1).poisson(0.4, 4000) / 20), Reason.ONE_GROUP),
    ],
)
def test_what_has_no_two_groups_has_no_threshold(values, reason):
    found = split(values)
    assert found.reason == reason and np.isnan(found.threshold) and explain(found.reason)
    assert np.isnan(found.positive([0.0, 1.0])).all()


@pytest.mark.parametrize("part", [0.5, 0.1, 0.02])
def test_groups_are_recovered(rng, part):
    n = 8000
    up = rng.random(n) < part
    values = np.where(up, rng.normal(3, 0.5, n), rng.normal(0.5, 0.4, n))
    found = split(values)
    assert not found.reason and explain(found.reason) == ""
    assert found.mean == pytest.approx([0.5, 3], abs=0.15) and found.weight[1] == pytest.approx(part, abs=0.01)
    assert found.deviation == pytest.approx([0.4, 0.5], abs=0.08)
    assert ((found.positive(values) > 0.5) == up).mean() > 0.995
    assert ((values > found.threshold) == up).mean() > 0.995


def test_the_bright_are_positive_and_the_dim_negative_whatever_the_widths(rng):
    narrow_above = np.concatenate([rng.normal(0, 1.0, 3000), rng.normal(5, 0.2, 1000)])
    found = split(narrow_above)
    assert found.positive([20.0])[0] > 0.5 and found.positive([-20.0])[0] < 0.5
    assert (np.diff(found.positive(np.linspace(-10, 20, 300))) >= -1e-12).all()


# -- gates -------------------------------------------------------------------------------------------------------------

TABLE = """type,parent,positive,negative,any
immune,,CD45,,
T,immune,CD3,CD20,
CD8 T,T,CD8,CD4,
CD4 T,T,CD4,CD8,
Treg,CD4 T,FOXP3,,
B,immune,CD20,CD3,
myeloid,immune,,CD3;CD20,CD68;CD11b
tumour,,panCK,CD45,
"""
MARKERS = ("CD45", "CD3", "CD8", "CD4", "FOXP3", "CD20", "CD68", "CD11b", "panCK")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type,positive\nT,CD3\n", "lacks columns"),
        ("type,parent,positive\nT,,CD3\nT,,CD8\n", "one that is taken"),
        ("type,parent,positive\n,,CD3\n", "no name"),
        ("type,parent,positive\nunknown,,CD3\n", "one that is taken"),
        ("type,parent,positive\nCD8 T,T,CD8\nT,,CD3\n", "parent of a type stands above"),
        ("type,parent,positive\nT,,\n", "asks for markers"),
        ("type,parent,positive,negative\nT,,CD3,CD3\n", "each once"),
        (f"type,parent,positive\nT,,{'x' * 140_000}\n", "no table"),
    ],
)
def test_tables_that_make_no_sense_are_refused(text, said):
    with pytest.raises(UsageError, match=said):
        read_gates(text)


def cell(**marks: float) -> list[float]:
    return [marks.get(m, 0.02) for m in MARKERS]


def test_cells_go_down_the_tree_as_far_as_they_fit():
    rows = [
        cell(CD45=0.9, CD3=0.9, CD8=0.95),
        cell(CD45=0.9, CD3=0.9, CD4=0.95, FOXP3=0.8),
        cell(CD45=0.9, CD3=0.9, CD4=0.9, CD8=0.9),
        cell(CD45=0.9),
        cell(CD45=0.9, CD11b=0.7),
        cell(panCK=0.99),
        cell(panCK=0.99, CD45=0.99),
        cell(),
        cell(CD45=0.9, CD3=0.6, CD20=0.55),
    ]
    found = apply_gates(rows, MARKERS, read_gates(TABLE))
    names = [found.names[k] for k in found.label]
    assert names == ["CD8 T", "Treg", "T", "immune", "myeloid", "tumour", "immune", UNKNOWN, "immune"]
    assert found.chance[:2] == pytest.approx([0.9, 0.8]) and np.isnan(found.chance[7]) and not found.closed


def test_gates_without_a_threshold_are_closed_and_say_so():
    rows = np.array([cell(CD45=0.9, CD3=0.9, CD8=0.95), cell(CD45=0.9, CD3=0.9, CD4=0.95)])
    rows[:, MARKERS.index("CD8")] = np.nan
    found = apply_gates(rows, MARKERS, read_gates(TABLE))
    assert [found.names[k] for k in found.label] == ["T", "T"]
    assert dict(found.closed) == {"CD8 T": ("CD8",), "CD4 T": ("CD8",)}


@pytest.mark.parametrize(
    ("rows", "markers", "said"),
    [
        (np.zeros((2, 3)), MARKERS, "one column"),
        (np.zeros((2, 2)), ("CD45", "CD45"), "one column"),
        (np.zeros((2, 2)), ("CD45", "CD3"), "not measured"),
        (np.full((2, 9), 2.0), MARKERS, "between 0 and 1"),
    ],
)
def test_chances_that_do_not_fit_are_refused(rows, markers, said):
    with pytest.raises(UsageError, match=said):
        apply_gates(rows, markers, read_gates(TABLE))


# -- the model ---------------------------------------------------------------------------------------------------------

TYPES = {
    "CD8 T": {"CD45": True, "CD3": True, "CD8": True, "CD4": False, "CD20": False, "panCK": False},
    "CD4 T": {"CD45": True, "CD3": True, "CD4": True, "CD8": False, "FOXP3": False, "CD20": False, "panCK": False},
    "Treg": {"CD45": True, "CD3": True, "CD4": True, "CD8": False, "FOXP3": True, "CD20": False, "panCK": False},
    "B": {"CD45": True, "CD20": True, "CD3": False, "panCK": False, "CD68": False},
    "macrophage": {"CD45": True, "CD68": True, "CD11b": True, "CD3": False, "CD20": False, "panCK": False},
    "tumour": {"panCK": True, "CD45": False, "CD3": False, "CD20": False, "CD68": False},
}
SHARES = (0.12, 0.1, 0.04, 0.08, 0.15, 0.46, 0.05)


def simulated(rng, n=4000, dim=1.0):
    """Counts: 1 where a marker is negative, 12 where positive, either where nothing is stated; 5 % stray cells."""
    truth = rng.choice(len(SHARES), n, p=SHARES)
    up = np.zeros((n, len(MARKERS)), bool)
    for k, marks in enumerate(TYPES.values()):
        for j, marker in enumerate(MARKERS):
            here = truth == k
            up[here, j] = marks.get(marker, False)
    stray = truth == 6
    up[stray] = np.array([m in ("CD3", "CD20", "panCK") for m in MARKERS])
    counts = rng.gamma(6, np.where(up, 12 * dim, 1.0) / 6)
    return arcsinh(rng.poisson(counts * 20) / 20, 1.0), (truth + 1) % 7


def f1(found, truth, number):
    scores = []
    for k in range(number):
        hit = ((found == k) & (truth == k)).sum()
        scores.append(2 * hit / max((found == k).sum() + (truth == k).sum(), 1))
    return np.mean(scores)


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ({}, "has types"),
        ({"a": {}}, "at least one marker"),
        ({UNKNOWN: {"CD3": True}}, "at least one marker"),
        ({"a": {"CD3": True}, "b": {"CD3": True}}, "state the same"),
    ],
)
def test_models_that_make_no_sense_are_refused(types, said):
    with pytest.raises(UsageError, match=said):
        CellTypeModel(types)


def test_markers_and_options_that_do_not_fit_are_refused():
    model = CellTypeModel({"a": {"CD3": True}})
    with pytest.raises(UsageError, match="not measured"):
        model.fit(np.zeros((50, 1)), ["CD8"])
    with pytest.raises(UsageError, match="between 0 and 1"):
        model.fit(np.zeros((50, 1)), ["CD3"], unknown=0)


def test_types_shares_and_unknown_cells_are_recovered(rng):
    values, truth = simulated(rng)
    found = CellTypeModel(TYPES).fit(values, MARKERS)
    assert found.converged and np.allclose(found.probability.sum(axis=1), 1)
    assert f1(found.label(), truth, 7) > 0.95
    assert np.abs(found.share - np.bincount(truth, minlength=7) / len(truth)).max() < 0.015
    wrong = found.label() != truth
    assert found.probability[wrong].max(axis=1).mean() < found.probability[~wrong].max(axis=1).mean()


def test_probabilities_are_calibrated_where_groups_overlap(rng):
    values, truth = simulated(rng, dim=0.35)
    found = CellTypeModel(TYPES).fit(values, MARKERS)
    best = found.probability.max(axis=1)
    right = found.probability.argmax(axis=1) == truth
    assert right.mean() > 0.8
    assert right.mean() == pytest.approx(best.mean(), abs=0.05)


def test_markers_without_two_groups_tell_nothing(rng):
    """Channels that hold no cell marker must leave cells unknown, not guess."""
    values = rng.normal(size=(300, len(MARKERS)))
    found = CellTypeModel(TYPES).fit(values, MARKERS, unknown=0.9)
    assert (found.label() == 0).all() and found.names[0] == UNKNOWN
    assert all(s.reason == Reason.ONE_GROUP for s in found.splits.values())


def test_missing_values_tell_nothing(rng):
    values, truth = simulated(rng)
    values[0] = np.nan
    values[1:400, MARKERS.index("CD11b")] = np.nan
    found = CellTypeModel(TYPES).fit(values, MARKERS)
    assert found.probability[0] == pytest.approx(found.share, abs=0.01)
    assert f1(found.label(), truth, 7) > 0.94
