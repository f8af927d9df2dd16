"""Windows: area, border, and what they share with themselves shifted."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.cells.window import Window
from timelens.errors import UsageError


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Window.rectangle(0, 5), "positive sides"),
        (lambda: Window.rectangle(np.nan, 5), "positive sides"),
        (lambda: Window.from_mask(np.zeros((3, 3)), (1, 1)), "at least one pixel"),
        (lambda: Window.from_mask(np.ones(3), (1, 1)), "at least one pixel"),
        (lambda: Window.from_mask(np.ones((3, 3)), (1, -1)), "positive sides"),
        (lambda: Window.rectangle(5, 5).border_distance([6], [1]), "outside of the window"),
        (lambda: Window.from_mask([[1, 0]], (1, 1)).border_distance([0.5], [1.5]), "outside of the window"),
    ],
)
def test_what_makes_no_sense_is_refused(call, said):
    with pytest.raises(UsageError, match=said):
        call()


def test_rectangle():
    window = Window.rectangle(10, 30)
    assert window.area == 300
    assert window.border_distance([1, 5, 9], [15, 2, 29.5]).tolist() == [1, 2, 0.5]
    assert window.contains([0, 10, 10.1, -1], [0, 30, 1, 1]).tolist() == [True, True, False, False]
    assert len(window.border_distance([], [])) == 0


def test_a_full_mask_is_a_rectangle():
    assert Window.from_mask(np.ones((5, 6)), (2, 5)) == Window(10, 30, None, (2.0, 5.0))


def test_mask_with_a_hole():
    mask = np.ones((20, 20), bool)
    mask[9:11, 9:11] = False
    window = Window.from_mask(mask, (0.5, 2.0))
    assert window.area == 396
    assert window.contains([4.9], [19.9]).tolist() == [False]
    # The pixel (9, 7) lies 2 pixels of 2 um from the hole; (0, 0) half a pixel from the edge of the frame.
    assert window.border_distance([4.75, 0.1], [15, 0.1]) == pytest.approx([4, 0.25])


def test_shared_area_by_brute_force(rng):
    mask = rng.random((9, 12)) < 0.7
    table = Window.from_mask(mask, (2.0, 3.0)).set_covariance(8.0)
    assert table.shape == (2 * 5 + 1, 2 * 4 + 1)
    for dy in range(-5, 6):
        for dx in range(-4, 5):
            shifted = np.zeros_like(mask)
            rows, columns = np.nonzero(mask)
            keep = (rows + dy >= 0) & (rows + dy < 9) & (columns + dx >= 0) & (columns + dx < 12)
            shifted[rows[keep] + dy, columns[keep] + dx] = True
            assert table[dy + 5, dx + 4] == 6 * (mask & shifted).sum()
