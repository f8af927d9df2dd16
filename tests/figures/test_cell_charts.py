"""Charts of cells: what they refuse, and that they show the numbers they are given."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.figures.canvas import png_bytes
from timelens.figures.cell_charts import (
    Band,
    composition_figure,
    density_figure,
    distance_figure,
    infiltration_figure,
    pairs_figure,
)

X = np.array([-50.0, 0.0, 50.0])
BAND = Band(X, np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.5, 2.0]), np.array([2.0, 3.0, 90.0]))


def test_nothing_too_much_and_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="nothing to draw"):
        density_figure({})
    with pytest.raises(UsageError, match="nothing to draw"):
        density_figure({str(k): {"section": (1.0, 0.5, 2.0)} for k in range(31)})
    with pytest.raises(UsageError, match="One to six"):
        infiltration_figure({})
    with pytest.raises(UsageError, match="One to six"):
        pairs_figure({str(k): (BAND, X) for k in range(7)})
    with pytest.raises(UsageError, match="has a row"):
        composition_figure(["0"], ["a", "b"], [[1.0]], [3])
    with pytest.raises(UsageError, match="row and a column"):
        distance_figure(["a"], np.zeros((1, 2)))


def test_densities_with_intervals_and_a_zero_at_the_edge():
    values = {"cd8-t-cell": {"section": (100.0, 80.0, 120.0), "nest": (0.0, 0.0, 9.0)}, "treg": {"nest": (np.nan,) * 3}}
    figure = density_figure(values)
    (axes,) = figure.axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [tuple(d.get_xdata()) for d in dots] == [(100.0,)]
    assert sum(line.get_marker() == "<" for line in axes.lines) == 1
    assert axes.get_xscale() == "log" and axes.get_xlim()[1] == pytest.approx(192)
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cd8-t-cell", "treg"]
    assert png_bytes(figure).startswith(b"\x89PNG")


def test_infiltration_scales_to_the_curve_not_to_its_widest_interval():
    figure = infiltration_figure({"cd8-t-cell": BAND, "treg": BAND})
    assert len(figure.axes) == 2 and figure.axes[0].get_ylim() == (0, pytest.approx(6.3))
    assert figure.axes[0].get_title(loc="left") == "cd8-t-cell"


def test_pairs_are_shown_less_chance():
    (axes,) = pairs_figure({"a – b": (Band(X + 60, X + 5, X, X + 1), X)}).axes
    curve = next(line for line in axes.lines if line.get_marker() == "o")
    assert list(curve.get_ydata()) == [5.0, 5.0, 5.0]


def test_heat_maps_bear_their_numbers():
    figure = composition_figure(["0", "1"], ["a", "b"], [[0.97, 0.03], [0.5, 0.5]], [3, 4000])
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.texts] == ["97", "", "50", "50"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["0 (3 cells)", "1 (4,000 cells)"]
    near = distance_figure(["a", "b"], [[10.2, np.nan], [4.0, 90.0]]).axes[0]
    assert [t.get_text() for t in near.texts] == ["10", "", "4", "90"]
