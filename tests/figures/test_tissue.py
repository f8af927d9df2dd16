"""Pictures of the virtual tumour: units on the bars, all cells drawn, nothing to draw refused."""

from __future__ import annotations

import numpy as np
import pytest
from tests.tumor.small import tumour

from timelens.errors import UsageError
from timelens.figures.canvas import png_bytes
from timelens.figures.tissue import CELL_GROUPS, cell_map_figure, course_figure, fields_figure
from timelens.tumor.cells import LEAVES
from timelens.tumor.scenarios import checkpoint_cycles, scenario
from timelens.tumor.section import Section


def test_cuts_have_colour_bars_with_units() -> None:
    figure = fields_figure(tumour(), ("cd8-t-cell", "oxygen", "ph"), plane="Coronal")
    assert [a.get_ylabel() for a in figure.axes if a.get_ylabel()] == ["cells/mm³", "mmHg", "pH"]
    titles = [a.get_title(loc="left") for a in figure.axes if a.get_title(loc="left")]
    assert titles[1:] == ["Oxygen", "pH"]
    assert png_bytes(figure, dpi=30) == png_bytes(
        fields_figure(tumour(), ("cd8-t-cell", "oxygen", "ph"), plane="Coronal"), dpi=30
    )


def test_every_leaf_has_one_group() -> None:
    leaves = [leaf for group, _ in CELL_GROUPS.values() for leaf in group]
    assert sorted(leaves) == sorted(LEAVES)


@pytest.mark.parametrize("axis", ["z", "x"])
def test_all_cells_of_a_section_are_drawn(axis: str) -> None:
    cells = tumour().sample_cells(Section(axis=axis, window_mm=(4, 6, 4, 6)), np.random.default_rng(0))
    figure = cell_map_figure(cells, axis=axis)
    drawn = sum(len(c.get_offsets()) for c in figure.axes[0].collections)
    assert drawn == len(cells)
    text = " ".join(t.get_text() for t in figure.texts)
    assert f"tumour cells {(cells.data.component == 'tumour-cell').sum()}" in text
    png_bytes(figure, dpi=30)


def test_courses_are_drawn_with_their_treatments() -> None:
    found = {"a": scenario("responder").run(100, checkpoint_cycles()), "b": scenario("excluded").run(100)}
    figure = course_figure(found)
    lines = [line for line in figure.axes[0].lines if line.get_label() in found]
    assert lines[0].get_ydata() == pytest.approx(found["a"].diameter_ratio())
    png_bytes(figure, dpi=30)


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(UsageError, match="There is nothing to draw"):
        fields_figure(tumour(), ())
    with pytest.raises(UsageError, match=r"There are no cells to draw"):
        cell_map_figure(tumour().sample_cells(Section(window_mm=(4, 5, 4, 5)), np.random.default_rng(0)), axis="t")
    with pytest.raises(UsageError, match="There is no course to draw"):
        course_figure({})
