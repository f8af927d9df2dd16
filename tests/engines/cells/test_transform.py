"""Scales of counts, and slides on one scale."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.cells.transform import COFACTORS, arcsinh, normalise
from timelens.errors import UsageError


@pytest.mark.parametrize("cofactor", [0, -1, np.nan, np.inf])
def test_a_cofactor_is_positive(cofactor):
    with pytest.raises(UsageError, match="positive number"):
        arcsinh([1], cofactor)


def test_linear_below_and_logarithmic_above():
    values = arcsinh([0, 5e-4, 5e5, -5e5], COFACTORS["mass cytometry"])
    assert values == pytest.approx([0, 1e-4, np.log(2e5), -np.log(2e5)], rel=1e-6)


@pytest.mark.parametrize(
    ("values", "slides", "quantile", "said"),
    [
        (np.ones((3, 2)), [1, 2], 0.9, "one slide"),
        (np.ones((3, 2)), [1, 2, 2], 1.5, "between 0 and 1"),
        (-np.ones((3, 2)), [1, 2, 2], 0.9, "zero or more"),
    ],
)
def test_what_does_not_fit_is_refused(values, slides, quantile, said):
    with pytest.raises(UsageError, match=said):
        normalise(values, slides, quantile=quantile)


def test_slides_stained_twice_as_strongly_agree_afterwards(rng):
    base = rng.gamma(2, 3, (4000, 3))
    slides = np.repeat(["a", "b"], 2000)
    table = base * np.where(slides == "b", 2.0, 1.0)[:, None]
    table[:, 2] = 0
    found = normalise(table, slides)
    high = [np.quantile(found.values[slides == s], 0.99, axis=0) for s in "ab"]
    assert np.allclose(*high)
    assert found.factors["a"][0] / found.factors["b"][0] == pytest.approx(2, rel=0.1)
    assert (found.factors["a"][2], found.values[:, 2].max()) == (1, 0)
