"""Nearest distances: brute force, the law under chance, and the border."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.cells.distances import nearest_distances
from timelens.engines.cells.window import Window
from timelens.errors import UsageError


@pytest.mark.parametrize(("types", "said"), [([0, 1], "one type"), ([0, 1, 2], "one type"), ([0, -1, 1], "one type")])
def test_types_that_do_not_fit_are_refused(types, said):
    with pytest.raises(UsageError, match=said):
        nearest_distances([1, 2, 3], [1, 2, 3], types, 2)


def test_a_cell_outside_is_refused():
    with pytest.raises(UsageError, match="outside of the window"):
        nearest_distances([11], [1], [0], 1, Window.rectangle(10, 10))


def test_none_to_be_near_to():
    found = nearest_distances([1.0], [1.0], [0], 2)
    assert np.isinf(found.distance).all() and np.isnan(found.median()).all()
    assert nearest_distances([], [], np.zeros(0, int), 2).distance.shape == (0, 2)
    assert np.isnan(nearest_distances([], [], np.zeros(0, int), 2).law(0, 1, [3.0])).all()


def test_brute_force_with_twins(rng):
    y, x = np.floor(rng.random((2, 200)) * 30)
    types = rng.integers(0, 3, 200)
    far = np.hypot(np.subtract.outer(y, y), np.subtract.outer(x, x))
    np.fill_diagonal(far, np.inf)
    expected = np.array([far[:, types == t].min(axis=1) for t in range(3)]).T
    found = nearest_distances(y, x, types, 3)
    assert np.allclose(found.distance, expected) and found.certain.all()
    assert found.median()[0, 1] == np.median(expected[types == 0, 1])


def test_the_law_is_corrected_for_the_border(rng):
    """Under chance it is 1 - exp(-density pi r^2); without correction it comes out too small."""
    window, radii = Window.rectangle(200, 200), np.array([4.0, 8, 12])
    laws, plain = [], []
    for _ in range(120):
        n = rng.poisson(240, 2)
        y, x = rng.random((2, n.sum())) * 200
        found = nearest_distances(y, x, np.repeat([0, 1], n), 2, window)
        laws.append(found.law(0, 1, radii))
        plain.append((found.distance[: n[0], 1, None] <= radii).mean(axis=0))
    truth = 1 - np.exp(-60e-4 * np.pi * radii**2)
    assert np.mean(laws, axis=0) == pytest.approx(truth, abs=0.012)
    assert (np.mean(plain, axis=0)[1:] < truth[1:] - 0.012).all()


def test_the_law_ends_where_no_cell_can_vouch():
    found = nearest_distances([5.0, 5], [4.0, 8], [0, 1], 2, Window.rectangle(10, 10))
    # The only cell of type 0 lies 4 from the border, and so does the cell of type 1 from it.
    assert found.law(0, 1, [3.9, 4.0]).tolist() == [0, 1]
    assert found.law(1, 0, [1.9]).tolist() == [0] and np.isnan(found.law(1, 0, [2.1])).all()
