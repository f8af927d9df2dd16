"""A biopsy of a virtual tumour: what is refused, what lies in its window, and that the lens reads it back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from timelens.errors import DataError, UsageError
from timelens.lenses.cytometry.lens import CytometryLens
from timelens.lenses.cytometry.scene import TissueScene, biopsy
from timelens.study.contract import Protocol, Simulates
from timelens.study.geometry import Geometry
from timelens.tumor.architecture import ARCHITECTURES
from timelens.tumor.microenvironment import build
from timelens.tumor.section import Section

PLAN = Protocol("cytometry", {})


@pytest.fixture(scope="module")
def tumour():
    kind = replace(ARCHITECTURES["inflamed"], diameter_mm=8.0)
    return build(kind, Geometry.from_spacing((22, 23, 24), (0.5, 0.5, 0.5), frame="tumour"), 3)


def test_scenes_that_are_none_are_refused(tumour, rng):
    with pytest.raises(UsageError, match="no section of tissue"):
        CytometryLens().simulate(tumour, (), PLAN, rng)
    with pytest.raises(UsageError, match="has an edge"):
        biopsy(tumour, rng, edge_mm=0.0)
    empty = replace(tumour, cells={name: 0 * values for name, values in tumour.cells.items()})
    with pytest.raises(DataError, match="No cell lies"):
        TissueScene(empty, Section(window_mm=(5.0, 5.2, 5.0, 5.2))).cells(rng)
    dead = replace(tumour, fields={**tumour.fields, "tumour_fraction": 0 * tumour["tumour_fraction"]})
    with pytest.raises(DataError, match="no living tissue"):
        biopsy(dead, rng)


def test_a_biopsy_lies_in_living_tumour_and_is_read_as_stated(tumour, rng):
    scene = biopsy(tumour, rng, edge_mm=0.3, name="day 3", corner_um=(1000.0, 2000.0))
    u0, u1, v0, v1 = scene.window_mm
    row, column = (int(np.mean(pair) / 0.5) for pair in ((v0, v1), (u0, u1)))
    assert tumour.masks["living tumour"][scene.section.index, row, column]
    made = CytometryLens().simulate(scene, (), PLAN, rng)
    scan = made.acquisitions[0]
    assert (scan.id, scan.description, scan.image.shape) == ("day 3", "day 3", (32, 1, 300, 300))
    corner = scan.image.geometry.to_mm([0, -0.5, -0.5])[:2]
    assert corner == pytest.approx((1.0, 2.0))
    whole = next(t for t in made.truth if (t.quantity, t.component) == ("cell_density_area", "cell"))
    # A window of part of a voxel holds that part of its cells.
    assert whole.ideal == pytest.approx(len(scene.cells(np.random.default_rng(0))) / 0.09, rel=0.2)
    assert whole.seen <= whole.ideal


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_cells_lie_in_the_window_whatever_the_plane(tumour, rng, axis):
    scene = TissueScene(tumour, Section(axis=axis, window_mm=(5.0, 5.7, 5.0, 5.4)))
    frame = scene.cells(rng).data
    assert frame["u_mm"].between(5.0, 5.7).all() and frame["v_mm"].between(5.0, 5.4).all()
    # Whole cells that a section of 4 um meets: their centres lie within a cell's width of it.
    assert np.ptp(frame["z_mm"]) < 0.025
    assert TissueScene(tumour, Section(axis=axis)).window_mm[1] == {"z": 12.0, "y": 12.0, "x": 11.5}[axis]


def test_the_lens_finds_in_a_biopsy_what_was_cut(tumour):
    lens = CytometryLens()
    assert isinstance(lens, Simulates)
    draws = [np.random.default_rng(4) for _ in range(2)]
    made, again = (lens.simulate(biopsy(tumour, rng, edge_mm=0.5, deepest_mm=0.5), (), PLAN, rng) for rng in draws)
    assert np.array_equal(made.acquisitions[0].image.numpy(), again.acquisitions[0].image.numpy())
    result = lens.quantify({"cytometry": made.acquisitions[0]}, made.regions, {"space": {"neighbourhoods": 0}})
    rows = {(m.quantity, m.component): m for m in result.measurements if m.region == "section"}
    for t in made.truth:
        if t.quantity == "cell_density_area" and t.component in ("cell", "tumour-cell", "t-cell"):
            row = rows[t.quantity, t.component]
            assert t.region == row.region and row.lower <= t.seen <= row.upper
