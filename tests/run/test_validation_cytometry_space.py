"""Validation of where cells lie: true cells against themselves, wrong types, and p-values under chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.lenses.cytometry.sections import cells, section

from timelens.engines.cells import graph
from timelens.errors import UsageError
from timelens.figures.cell_charts import null_figure
from timelens.lenses.cytometry.lens import CytometryLens
from timelens.run.validation.cytometry_null import null_p_values
from timelens.run.validation.cytometry_space import space_draws, true_cells


@pytest.fixture(scope="module")
def measured():
    made = section(20)
    result = CytometryLens().quantify({"cytometry": made.acquisitions[0]}, made.regions, {})
    labels = np.asarray(made.regions[0].labels.numpy()[0], np.int64)
    kinds = np.array([str(v) for v in cells(20).data["component"]])
    (found,) = result.pictures["cells"]
    return found, result, true_cells(found, labels, kinds)


def test_true_cells_are_the_true_ones(measured):
    found, _, true = measured
    assert len(true) == len(found) and np.array_equal(true.measures.label, found.measures.label)
    kinds = cells(20).data["component"].to_numpy()[true.measures.label - 1]
    assert (np.array(true.names)[true.types] == kinds).all()


def test_what_was_measured_agrees_with_the_true_cells(measured):
    found, result, true = measured
    rows = {(d.quantity, d.region): d for d in space_draws("outlines", "excluded", found, result, true)}
    for place in ("margin", "stroma"):
        one = rows["compartment_area", place]
        assert one.value == pytest.approx(one.seen, rel=0.02) and one.seen > 0
    assert rows["interaction_sign", "clear pairs"].value == 1.0
    assert rows["interaction_score", "all pairs"].value > 0.9
    assert rows["neighbourhood_agreement", "all cells"].value > 0.5
    assert rows["excluded_probability", "true cells"].value == pytest.approx(
        rows["excluded_probability", "true cells"].seen, abs=0.05
    )
    near = rows["nearest_cell_distance", "treg|tumour-cell"]
    assert near.value == pytest.approx(near.seen, rel=0.05)


def test_types_at_random_disagree(measured):
    found, result, true = measured
    shuffled = replace(true, types=np.random.default_rng(1).permutation(true.types))
    rows = {(d.quantity, d.region): d for d in space_draws("outlines", "inflamed", found, result, shuffled)}
    assert abs(rows["neighbourhood_agreement", "all cells"].value) < 0.2
    # Among shuffled types no interaction is clear, so that none can have the right sign.
    assert ("interaction_sign", "clear pairs") not in rows


def test_p_values_under_chance(rng):
    y, x = rng.random((2, 500)) * 300
    found = null_p_values(graph.delaunay(y, x, longest=60), np.repeat([0, 1, 2], [300, 180, 20]), 3, rng, draws=150,
                          shuffles=99)  # fmt: skip
    assert len(found.normal) == len(found.mid) == 150
    assert min(found.uniform()) > 0.005
    assert len(null_figure({"a": found.normal, "b": found.mid}).axes) == 2
    with pytest.raises(UsageError, match="One or two groups"):
        null_figure({"a": []})
