"""The judge of functional states: that it knows what cells bear, and says what the lens could not tell."""

from __future__ import annotations

import numpy as np
import pytest
from tests.lenses.cytometry.sections import cells, section

from timelens.lenses.cytometry.lens import CytometryLens
from timelens.lenses.cytometry.markers import MARKERS
from timelens.run.validation.cytometry_states import borne_markers, state_draws
from timelens.study.contract import Protocol

PLAIN = {"space": {"neighbourhoods": 0, "shuffles": 100}}


def judged(side=16, seed=3, options=None, **protocol):
    made = section(side, seed, **protocol)
    result = CytometryLens().quantify({"cytometry": made.acquisitions[0]}, made.regions, PLAIN | (options or {}))
    kinds = np.array([str(v) for v in cells(side, seed).data["component"]])
    borne = borne_markers(kinds.tolist(), Protocol("cytometry", protocol), np.random.default_rng(seed))
    (found,) = result.pictures["cells"]
    return made, kinds, borne, {(d.region, d.quantity): d for d in state_draws("x", found, result, made, kinds, borne)}


def test_what_cells_bear_is_what_was_painted():
    made, _, borne, _ = judged()
    labels = made.regions[0].labels.numpy()[0]
    clean = made.noise_free[0].image.numpy()[:, 0]
    for marker in ("CD3", "Ki-67"):
        channel = clean[list(MARKERS).index(marker)]
        mean = np.array([channel[labels == n].mean() for n in range(1, 40) if (labels == n).any()])
        mine = np.array([borne[marker][n - 1] for n in range(1, 40) if (labels == n).any()])
        assert mean[mine].min() > 1.0 > mean[~mine].max()


def test_states_in_true_outlines():
    *_, rows = judged()
    right = rows["all cells", "states_right"]
    assert right.value > 0.98
    row = rows["tumour-cell with Ki-67", "positive_fraction"]
    assert row.value == pytest.approx(row.seen, abs=0.04) and row.seen == pytest.approx(0.2, abs=0.12)


def test_states_that_could_not_be_told_have_no_number():
    *_, rows = judged(open_part=0.0)
    row = rows["tumour-cell with Ki-67", "positive_fraction"]
    assert np.isnan(row.value) and row.seen == 0.0
    assert rows["all cells", "states_right"].value == 0.0


def test_own_outlines_are_not_judged_cell_by_cell():
    *_, rows = judged(12, options={"segment": {"cells": "own"}})
    assert ("all cells", "states_right") not in rows
