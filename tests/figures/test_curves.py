"""Curves in panels."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.figures import CurvePanel, curves_figure, png_bytes
from timelens.figures.curves import _spread


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to draw"):
        curves_figure([])
    with pytest.raises(UsageError, match="one value per time"):
        curves_figure([CurvePanel("a", "C", "1", {"x": ([0, 1], [1])})])


def test_time_is_shown_in_a_unit_that_fits() -> None:
    for end, unit in ((100, "s"), (3000, "min"), (80000, "h"), (6e5, "d")):
        figure = curves_figure([CurvePanel("a", "C", "g/mL", {"x": ([0, end], [1, 2])})])
        assert figure.axes[0].get_xlabel() == f"Time [{unit}]"
        assert figure.axes[0].get_ylabel() == "C [g/mL]"


def test_a_name_has_one_colour_and_stands_at_the_end() -> None:
    t = np.linspace(0, 100, 50)
    panels = [
        CurvePanel("one", "C", "1", {"blood": (t, np.exp(-t)), "liver": (t, t)}, points={"liver": ([50], [50])}),
        CurvePanel("two", "C", "1", {"liver": (t, t + 1)}, logarithmic=True),
    ]
    figure = curves_figure(panels)
    first, second = figure.axes
    assert first.lines[1].get_color() == second.lines[0].get_color() != first.lines[0].get_color()
    assert {text.get_text() for text in first.texts} == {"blood", "liver"}
    assert len(first.lines) == 3 and second.get_yscale() == "log"
    assert png_bytes(figure)[:4] == b"\x89PNG" and png_bytes(figure) == png_bytes(curves_figure(panels))


def test_empty_and_zero_curves_are_drawn() -> None:
    figure = curves_figure([CurvePanel("a", "C", "1", {"x": ([0, 9], [0, 0]), "y": ([0, 9], [np.nan, 1])}, True)])
    assert png_bytes(figure)


def test_names_do_not_overlap() -> None:
    spread = _spread([(1.0, "a"), (1.0, "b"), (0.99, "c"), (0.0, "d")], 0.1)
    heights = [h for h, _ in spread]
    assert (np.diff(heights) >= 0.1 - 1e-9).all() and heights[-1] <= 1.0
