"""Validation of sections: protocols that are refused, the score of phenotypes, and one section of each kind."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.run.validation import cytometry
from timelens.run.validation.cytometry import check, draw, macro_f1
from timelens.study.contract import Protocol


def test_wrong_protocols():
    with pytest.raises(UsageError, match="another lens"):
        check(Protocol("pet", {}))
    with pytest.raises(UsageError, match="no such parameter"):
        check(Protocol("cytometry", {"dose": 1}))
    assert check(None).lens == "cytometry"


def test_the_score_of_phenotypes():
    truth = np.array(["a"] * 10 + ["b"] * 10 + ["c"])
    assert macro_f1(truth, truth) == 1.0
    found = truth.copy()
    found[10:15] = "unknown"
    assert macro_f1(truth, found) == pytest.approx((1 + 2 * 5 / 15) / 2)
    # A cell that was missed, and one that was invented.
    assert macro_f1(np.append(truth[:10], ""), np.append(found[:9], ["", "a"])) == pytest.approx(2 * 9 / 20)
    assert np.isnan(macro_f1(truth[20:], truth[20:]))


@pytest.fixture(scope="module")
def small():
    """Sections of 0.3 mm, so that one takes a second."""
    before, cytometry._WINDOW_MM = cytometry._WINDOW_MM, 0.3
    yield lambda case: {
        (d.quantity, d.region): d for d in draw(Protocol("cytometry", {}), case, np.random.default_rng(11))
    }
    cytometry._WINDOW_MM = before


def test_in_true_outlines_composition_and_types_are_right(small):
    found = small("outlines")
    assert found["phenotype_f1", "all types"].value > 0.9
    fractions = [d for (q, _), d in found.items() if q == "cell_fraction" and np.isfinite(d.value)]
    assert len(fractions) >= 4 and all(abs(d.value - d.seen) < 0.03 for d in fractions)
    cells = found["cell_density_area", "cell"]
    assert cells.value == pytest.approx(cells.seen) and cells.seen <= cells.real
    near = found["nearest_cell_distance", "cd8-t-cell|tumour-cell"]
    assert near.value == pytest.approx(near.seen, rel=0.1)


def test_own_outlines_find_most_cells_and_tell_them(small):
    found = small("own")
    cells = found["cell_density_area", "cell"]
    assert 0.9 < cells.value / cells.seen < 1.1
    scores = {q: d.value for (q, region), d in found.items() if region == "all types"}
    assert scores["cells_found"] > 0.85 and scores["cells_true"] > 0.88
    assert scores["phenotype_f1_matched"] > 0.85 and scores["phenotype_f1"] > 0.75
    fractions = [d for (q, _), d in found.items() if q == "cell_fraction" and np.isfinite(d.value)]
    assert len(fractions) >= 4 and all(abs(d.value - d.seen) < 0.03 for d in fractions)


def test_spillover_that_is_taken_back_does_no_harm(small):
    spilt, taken = small("spilt"), small("compensated")
    scores = [f["phenotype_f1", "all types"].value for f in (spilt, taken)]
    assert scores[1] > 0.9 and scores[1] > scores[0] + 0.02
    fractions = [d for (q, _), d in taken.items() if q == "cell_fraction" and np.isfinite(d.value)]
    assert len(fractions) >= 4 and all(abs(d.value - d.seen) < 0.03 for d in fractions)
