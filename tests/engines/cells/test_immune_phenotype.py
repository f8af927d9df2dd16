"""Inflamed, excluded, desert."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.cells.immune_phenotype import CutOffs, immune_phenotype
from timelens.errors import UsageError

CUTS = CutOffs("for this test", 100.0, 200.0)


@pytest.mark.parametrize("values", [("", 1.0, 1.0), ("a", 0.0, 1.0), ("a", 1.0, np.nan)])
def test_cut_offs_without_name_or_value_are_refused(values):
    with pytest.raises(UsageError, match="have a name"):
        CutOffs(*values)


def test_negative_counts_are_refused_and_unseen_tissue_is_unknown():
    with pytest.raises(UsageError, match="zero or more"):
        immune_phenotype(-1, 1.0, 0, 1.0, CUTS)
    found = immune_phenotype(10, 0.0, 5, 1.0, CUTS)
    assert np.isnan([found.inflamed, found.excluded, found.desert]).all() and found.most_likely is None
    for cells, likely in ((900, "inflamed"), (5, None)):
        found = immune_phenotype(cells, 1.0, 0, 0.0, CUTS)
        assert np.isnan([found.excluded, found.desert]).all() and found.most_likely == likely
        assert found.inflamed == immune_phenotype(cells, 1.0, 5, 1.0, CUTS).inflamed


@pytest.mark.parametrize(
    ("nest", "stroma", "said"),
    [(900, 10, "inflamed"), (5, 1500, "excluded"), (5, 20, "desert"), (900, 9000, "inflamed")],
)
def test_clear_cases(nest, stroma, said):
    found = immune_phenotype(nest, 2.0, stroma, 2.0, CUTS)
    assert found.most_likely == said and getattr(found, said) > 0.99
    assert found.inflamed + found.excluded + found.desert == pytest.approx(1)


def test_at_a_cut_off_it_is_even_and_more_area_makes_it_surer(rng):
    assert immune_phenotype(1000, 10.0, 0, 10.0, CUTS).inflamed == pytest.approx(0.5, abs=0.02)
    assert immune_phenotype(13, 0.1, 0, 1.0, CUTS).inflamed < immune_phenotype(1300, 10.0, 0, 1.0, CUTS).inflamed
    draws = rng.gamma(7.5, 1 / 0.05, 200_000)
    assert immune_phenotype(7, 0.05, 0, 1.0, CUTS).inflamed == pytest.approx((draws >= 100).mean(), abs=0.005)
