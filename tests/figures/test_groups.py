"""Groups of patients as dots: nothing to draw, and that every patient is there."""

from __future__ import annotations

import math

import pytest

from timelens.figures.canvas import png_bytes
from timelens.figures.groups import GroupPanel, groups_figure


def panel(values, note="p 0.03, q 0.2"):
    return GroupPanel("CD8+ T cell", "stroma", "density", "{cells}/mm2", values, note)


def dots(axes):
    return [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "o"]


@pytest.mark.parametrize("values", [{}, {"a": []}, {"a": [math.nan], "b": [1.0]}, {"a": [2.0, 2.0], "b": [2.0]}])
def test_empty_groups_and_equal_values_are_drawn(values):
    assert png_bytes(groups_figure([panel(values)])).startswith(b"\x89PNG")


def test_no_panels():
    assert png_bytes(groups_figure([])).startswith(b"\x89PNG")


def test_every_patient_is_a_dot():
    figure = groups_figure([panel({"control": [3.0, 1.0, math.nan], "$treated$": [5.0]})] * 5)
    assert len(figure.axes) == 5
    axes = figure.axes[0]
    assert dots(axes) == [[1.0, 3.0], [5.0]]
    assert axes.get_ylabel() == "density [cells/mm²]" and axes.get_ylim()[0] == 0
    assert [t.get_text() for t in axes.texts] == ["CD8+ T cell", "stroma", "p 0.03, q 0.2"]


def test_near_values_stand_side_by_side():
    axes = groups_figure([panel({"a": [10.0, 10.0, 10.1, 50.0]})]).axes[0]
    (places,) = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"]
    assert len(set(places[:3])) == 3 and places[3] == 0.0
