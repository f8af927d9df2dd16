"""Pictures of sections: what they refuse, colours of types, and that every cell is counted in the legend."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from timelens.errors import UsageError
from timelens.figures.canvas import png_bytes, write_png
from timelens.figures.cells import (
    composite_figure,
    graph_figure,
    interaction_figure,
    neighbourhood_map_figure,
    type_colours,
    type_map_figure,
)
from timelens.lenses.cytometry.types import SIGNATURES

LABELS = np.kron(np.array([[1, 1, 0], [2, 0, 3]], np.int32), np.ones((10, 10), np.int32))


def texts(figure):
    return [t.get_text() for t in figure.texts]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UsageError, match="one to four"):
        composite_figure({}, LABELS, (1.0, 1.0))
    with pytest.raises(UsageError, match="no cells"):
        type_map_figure(LABELS, {}, (1.0, 1.0))
    with pytest.raises(UsageError, match="row and a column"):
        interaction_figure(["a"], np.zeros((2, 2)))
    with pytest.raises(UsageError, match="no cells"):
        neighbourhood_map_figure(LABELS, {}, (1.0, 1.0))
    with pytest.raises(UsageError, match="no cells"):
        graph_figure(np.ones(1), np.ones(1), np.zeros((0, 2), int), ["treg"], (50.0, 50.0, 10.0, 10.0))


def test_every_type_has_a_colour_and_families_differ_from_each_other():
    colours = type_colours(["unknown", *SIGNATURES])
    assert set(colours) == {"unknown", *SIGNATURES}
    assert colours["t-cell"][1] not in {colours[n][1] for n in ("cd8-t-cell", "cd4-t-cell", "treg", "b-cell")}
    assert colours["tam"] == colours["m1-macrophage"] and colours["unknown"][0] == "unknown"


def test_a_composite_scales_each_channel_and_outlines_cells():
    image = np.linspace(0, 7, LABELS.size, dtype="f4").reshape(LABELS.shape)
    image[0, 0] = np.nan
    figure = composite_figure({"DNA": image, "CD8": 0 * image}, LABELS, (1.0, 1.0))
    shown = figure.axes[0].images[0].get_array()
    assert shown.max() == 1 and (shown[0, 0] == 0).all()
    (lines,) = figure.axes[0].collections
    # Around a pair of blocks, 20 by 10 pixels, and two blocks of 10 by 10, less the edges of the picture.
    sides = 20 + 10 + 10 + 10 + 10
    assert len(lines.get_segments()) == sides
    assert "3 cells" in texts(figure) and any(t.startswith("DNA to 6.9") for t in texts(figure))
    assert png_bytes(figure).startswith(b"\x89PNG")


def test_a_map_counts_types():
    figure = type_map_figure(LABELS, {1: "tumour-cell", 2: "treg", 3: "tumour-cell"}, (1.0, 2.0))
    assert {"tumour cells 2", "regulatory T cells 1"} <= set(texts(figure))
    box = figure.axes[0].get_position()
    width, height = figure.get_size_inches()
    assert (box.width * width) / (box.height * height) == pytest.approx(60 / 20)


def test_scores_are_even_about_zero():
    z = np.array([[5.0, -1.0], [np.nan, 2.0]])
    figure = interaction_figure(["tumour-cell", "treg"], z)
    shown = figure.axes[0].images[0]
    assert shown.norm.vmin == -shown.norm.vmax and shown.get_array().mask.sum() == 1


def test_a_rare_marker_is_not_scaled_to_its_background():
    image = np.full((200, 200), 1.0, "f4")
    image[:8, :8] = 20.0
    figure = composite_figure({"DNA": image, "CD20": image}, np.zeros((200, 200), np.int32), (1.0, 1.0))
    assert any(t.startswith("CD20 to 10") for t in texts(figure))


def test_a_map_of_neighbourhoods_counts_cells():
    figure = neighbourhood_map_figure(LABELS, {1: "0", 2: "1", 3: "0"}, (1.0, 1.0))
    assert {"neighbourhood 0: 2", "neighbourhood 1: 1"} <= set(texts(figure))


def test_a_graph_shows_the_edges_within_its_window():
    y, x = np.array([5.0, 5.0, 40.0]), np.array([5.0, 15.0, 40.0])
    figure = graph_figure(y, x, np.array([[0, 1], [1, 2]]), ["treg", "b-cell", "treg"], (0.0, 0.0, 30.0, 30.0))
    lines, dots = figure.axes[0].collections
    assert len(lines.get_segments()) == 1 and len(dots.get_offsets()) == 2
    assert {"regulatory T cells 1", "B, plasma cells 1"} <= set(texts(figure))


def test_coarse_colours_stay_near_and_white_stays_white(tmp_path, rng):
    image = rng.poisson(60, (300, 300)).astype("f4")
    figure = composite_figure({"DNA": image, "CD8": image[::-1]}, np.zeros((300, 300), np.int32), (1.0, 1.0))
    full, few = (write_png(figure, tmp_path / f"{c}.png", coarse=c) for c in (False, True))
    assert few.stat().st_size < 0.6 * full.stat().st_size
    one, two = (np.asarray(Image.open(p).convert("RGB")).astype(int) for p in (full, few))
    assert np.abs(one - two).max() <= 16
    white = (one == 255).all(axis=2)
    assert white.mean() > 0.3 and (two[white] == 255).all()
