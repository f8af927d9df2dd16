"""The lens: what it refuses, what a poor panel tells, and what it finds in virtual sections and on published slides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.lenses.cytometry.sections import cells, section

from timelens.errors import DataError, MissingFieldError, UsageError
from timelens.formats.cytometry import mcd
from timelens.formats.cytometry.region import with_panel
from timelens.formats.cytometry.tiff import read_mask
from timelens.knowledge import components
from timelens.lenses.cytometry.clean import cleaned
from timelens.lenses.cytometry.lens import CytometryLens
from timelens.lenses.cytometry.markers import MARKERS, canonical, nuclear_channels
from timelens.lenses.cytometry.simulate import METALS, spill
from timelens.lenses.cytometry.types import SIGNATURES, told
from timelens.run.lenses import all_lenses
from timelens.study.contract import Lens, Match
from timelens.study.image import Image

LENS = CytometryLens()


@pytest.fixture(scope="module")
def virtual():
    """A section and what the lens finds in it within the true outlines."""
    made = section()
    return made, LENS.quantify({"cytometry": made.acquisitions[0]}, made.regions, {})


def value(result, quantity, component, region="section"):
    (row,) = [m for m in result.measurements if (m.quantity, m.component, m.region) == (quantity, component, region)]
    return row


def changed(image, values):
    return Image(values, unit=image.unit, axes=image.axes, geometry=image.geometry, name=image.name)


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"colour": {}}, "no such step"),
        ({"clean": {"filter": 1}}, "no such parameter"),
        ({"clean": 50}, "no such parameter"),
        ({"clean": {"hot_pixel": -1}}, "no such number"),
        ({"segment": {"cells": "cellpose"}}, "no such source"),
        ({"segment": {"diameter_um": 0}}, "no such number"),
        ({"segment": {"nuclear": "DNA1"}}, "list of channels"),
        ({"types": {"cofactor": float("inf")}}, "no such number"),
        ({"types": {"least": 2}}, "at most 1"),
        ({"types": {"markers": ["CD8"]}}, "maps channels"),
        ({"space": {"nearest": 2.5}}, "no such number"),
        ({"space": {"shuffles": True}}, "no such number"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        LENS.recipe(Match(0.0), options)


@pytest.mark.parametrize(
    ("spillover", "said"),
    [({"Xx999": {"Pr141": 0.1}}, "no channel"), ({"Pr141": {"Nd142": 1.5}}, "between 0 and 1")],
)
def test_spillover_that_makes_no_sense_is_refused(spillover, said):
    made = section(8)
    with pytest.raises(UsageError, match=said):
        LENS.quantify({"cytometry": made.acquisitions[0]}, made.regions, {"clean": {"spillover": spillover}})


def test_cells_are_not_looked_for_without_nuclei():
    scan = section(8).acquisitions[0]
    plain = replace(scan, extra={**scan.extra, "dropped_channels": ("Ir191", "Ir193")})
    with pytest.raises(MissingFieldError, match="No channel is known to show nuclei"):
        LENS.quantify({"cytometry": plain}, [], {})
    with pytest.raises(MissingFieldError, match="no channel H3"):  # what was stated is not there
        LENS.quantify({"cytometry": plain}, [], {"segment": {"nuclear": ["H3"]}})
    with pytest.raises(DataError, match="No mask of cells"):
        LENS.quantify({"cytometry": scan}, [], {"segment": {"cells": "given"}})


def test_a_mask_without_cells_is_a_problem():
    made = section(8)
    region = made.regions[0]
    empty = replace(region, labels=changed(region.labels, 0 * region.labels.numpy()))
    result = LENS.quantify({"cytometry": made.acquisitions[0]}, [empty], {})
    assert not result.measurements and any("no cell" in p.message for p in result.problems)


# -- panels ------------------------------------------------------------------------------------------------------------


def test_every_type_is_of_the_knowledge_base_and_all_markers_have_a_name():
    assert all(components.find(name).id == name for name in SIGNATURES)
    used = {m for s in SIGNATURES.values() for m in (*s.positive, *s.negative, *s.needs)}
    assert used <= set(MARKERS) and len(MARKERS) == 30
    assert all(s.family in {"", *SIGNATURES} for s in SIGNATURES.values())


def test_spellings_of_markers():
    said = {"141Pr_CD8a": "CD8", "CD8a(Pr141Di)": "CD8", "aSMA": "SMA", "Ki67": "Ki-67", "GZMB": "granzyme B",
            "CD45RO": "CD45RO", "CD45": "CD45", "Cytokeratin 5": None, "CD8 T cell score": None}  # fmt: skip
    assert {k: canonical(k) for k in said} == said
    assert nuclear_channels(["Ir191", "Yb172", "In115"], ["DNA1", "H3K27Ac", "Histone H3"]) == [0, 2]
    assert nuclear_channels(["Ir191", "Yb172"], ["DNA1", "H3K27Ac"], ["Yb172"]) == [1]


def test_a_poor_panel_tells_families_and_names_the_rest():
    found = told(["CD45", "CD3", "CD8", "CD68", "panCK"])
    assert list(found.types) == ["tumour-cell", "t-cell", "cd8-t-cell", "tam"]
    assert found.types["t-cell"] == {"CD45": True, "CD3": True, "CD8": False, "CD68": False, "panCK": False}
    assert found.not_told["treg"] == ("CD4", "FOXP3") and found.not_told["m1-macrophage"] == ("HLA-DR", "CD163")
    assert not told([]).types and set(told([]).not_told) == set(SIGNATURES)
    full = told(MARKERS)
    assert not full.not_told and "t-cell" not in full.types and len(full.types) == 22


# -- virtual sections --------------------------------------------------------------------------------------------------


def test_it_is_a_lens():
    assert isinstance(LENS, Lens) and "cytometry" in all_lenses()
    assert LENS.accepts([]).score == 0 and LENS.accepts(section(8).acquisitions).score > 0


def test_types_in_true_outlines(virtual):
    made, result = virtual
    (found,) = result.pictures["cells"]
    truth = cells().data["component"].to_numpy()[found.measures.label - 1]
    assert (np.array(found.names)[found.types] == truth).mean() > 0.97
    assert found.not_told["car-t-cell"] == "no positive group: CAR"
    for t in made.truth:
        row = value(result, t.quantity, t.component, t.region)
        if t.quantity == "nearest_cell_distance":
            assert row.value == pytest.approx(t.seen, abs=0.5)
        else:
            assert row.lower <= t.seen <= row.upper
        if t.quantity == "cell_fraction":
            assert row.value == pytest.approx(t.seen, abs=0.02)


def test_what_cannot_be_told_is_nan_with_a_reason(virtual):
    row = value(virtual[1], "cell_density_area", "car-t-cell")
    assert np.isnan(row.value) and "CAR" in row.reason


def test_nests_hold_the_tumour(virtual):
    result = virtual[1]
    inside, outside = (value(result, "cell_density_area", "tumour-cell", r).value for r in ("nest", "stroma"))
    assert inside > 20 * max(outside, 1)
    areas = [value(result, "cell_density_area", "cell", r) for r in ("section", "nest", "margin", "stroma")]
    whole, *parts = [m.n / m.value for m in areas]
    assert sum(parts) == pytest.approx(whole, rel=1e-9) and areas[0].n == sum(m.n for m in areas[1:])


def test_tables_hang_together(virtual):
    tables = virtual[1].tables
    assert set(tables) == {
        "cells", "distances", "interactions", "pairs", "neighbourhoods", "contexts", "phenotype", "lymphoid",
        "lymphoid_thresholds", "infiltration",
    }  # fmt: skip
    table = tables["cells"].data
    assert len(table) == value(virtual[1], "cell_density_area", "cell").n
    pairs = tables["interactions"].data.set_index(["from", "to"])
    assert pairs.loc[("tumour-cell", "tumour-cell"), "z"] > 10 > -5 > pairs.loc[("tumour-cell", "caf"), "z"]
    near = tables["distances"].data.set_index(["from", "to"])["median"]
    assert near["tumour-cell", "tumour-cell"] == pytest.approx(11, abs=3)
    parts = tables["neighbourhoods"].data
    assert parts["cells"].sum() == len(table)
    types = [c for c in parts.columns if c not in ("neighbourhood", "cells", "stability")]
    assert 0 < parts["stability"].iloc[0] <= 1
    assert parts[types].sum(axis=1).to_numpy() == pytest.approx(1.0)


def test_own_outlines_find_most_cells():
    made = section()
    result = LENS.quantify({"cytometry": made.acquisitions[0]}, [], {})
    true = len(made.regions[0].names)
    assert value(result, "cell_density_area", "cell").n == pytest.approx(true, rel=0.1)
    assert "own: nuclei of DNA1, DNA2" in result.audit["cytometry"]["cells"]


def test_spillover_is_taken_back():
    metals = list(METALS)
    matrix = spill(metals, 0.1)
    stated = {
        a: {b: float(matrix[i, j]) for j, b in enumerate(metals) if i != j and matrix[i, j]}
        for i, a in enumerate(metals)
    }
    spilt, pure = (section(8, spillover=part).noise_free[0] for part in (0.1, 0.0))
    given = spilt.image.numpy()[:, 0]
    found = cleaned(spilt, {"hot_pixel": None, "spillover": stated})[0]
    assert np.abs(given - pure.image.numpy()[:, 0]).max() > 1
    assert found == pytest.approx(pure.image.numpy()[:, 0], rel=1e-3, abs=1e-3)


def test_several_masks_are_kept_apart():
    made = section(12)
    again = replace(made.regions[0], id="again")
    result = LENS.quantify({"cytometry": made.acquisitions[0]}, [made.regions[0], again], {})
    assert {"cells_cells", "again_cells"} <= set(result.tables)
    rows = [value(result, "cell_density_area", "cell", f"{n}_section").value for n in ("cells", "again")]
    assert rows[0] == rows[1]


def test_pixels_that_were_not_measured_are_no_tissue():
    made = section(12)
    scan = made.acquisitions[0]
    values = scan.image.numpy().copy()
    values[:, :, :40] = np.nan
    cut = replace(scan, data=changed(scan.image, values))
    result = LENS.quantify({"cytometry": cut}, made.regions, {})
    whole = LENS.quantify({"cytometry": scan}, made.regions, {})
    areas = [m.n / m.value for m in (value(r, "cell_density_area", "cell") for r in (result, whole))]
    assert areas[0] / areas[1] == pytest.approx(1 - 40 / values.shape[2])
    assert any("outside of what was measured" in p.message for p in result.problems)


# -- published slides --------------------------------------------------------------------------------------------------


def test_a_panel_without_cell_markers_gives_unknown_cells(shared_data):
    folder = shared_data / "imc_hyperion"
    slide = folder / "raw" / "20210305_NE_mockData2" / "20210305_NE_mockData2.mcd"
    scan = with_panel(mcd.read(slide, region=1), folder / "steinbock" / "panel.csv")
    place = scan.image.geometry
    mask = read_mask(folder / "steinbock" / "masks_deepcell" / "20210305_NE_mockData2_001.tiff", geometry=place)
    result = LENS.quantify({"cytometry": scan}, [mask], {})
    assert value(result, "cell_density_area", "cell").value == pytest.approx(55 / (87 * 103) * 1e6)
    assert value(result, "cell_fraction", "unknown").value == 1.0
    assert value(result, "cell_density_area", "cd8-t-cell").reason == "not measured: CD45, CD3, CD8"
    assert all(np.isnan(m.value) for m in result.measurements if m.component in SIGNATURES)
    own = LENS.quantify({"cytometry": scan}, [], {})
    assert "nuclei of H3K27Ac" in own.audit["cytometry"]["cells"]
