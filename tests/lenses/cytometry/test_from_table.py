"""Cells of another program: what is refused, and that a table gives what its picture gave, areas aside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.lenses.cytometry.sections import section

from timelens.errors import DataError, MissingFieldError, UsageError
from timelens.lenses.cytometry.lens import CytometryLens
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Match
from timelens.study.table import Table

LENS = CytometryLens()


@pytest.fixture(scope="module")
def pictured():
    """What the lens finds on a picture, and the picture's size in micrometres."""
    made = section(20)
    return LENS.quantify({"cytometry": made.acquisitions[0]}, made.regions, {}), made.acquisitions[0].image.shape[2:]


def scan_of(table, **changes):
    return Acquisition(id="cells", modality="cytometry", data=Table(table.data.assign(**changes), table.column_units))


def rows(result, quantity, region="section"):
    return {m.component: m for m in result.measurements if m.quantity == quantity and m.region == region}


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window_um": [0, 0, 10]}, "two corners"),
        ({"window_um": [0, 0, -1, 5]}, "two corners"),
        ({"longest_um": 0}, "no such number"),
        ({"names": {"T": "astrocyte"}}, "no such type"),
        ({"column": 3}, "names a column"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        LENS.recipe(Match(0.0), {"table": options})


def test_tables_that_cannot_be_used_are_refused(pictured):
    table = pictured[0].tables["cells"]
    few = Table(table.data.iloc[:2], table.column_units)
    with pytest.raises(DataError, match="no three cells"):
        LENS.quantify({"cytometry": scan_of(few)}, [], {})
    with pytest.raises(DataError, match="no three cells"):
        LENS.quantify({"cytometry": scan_of(table, x=np.nan)}, [], {})
    with pytest.raises(DataError, match="outside of the window"):
        LENS.quantify({"cytometry": scan_of(table)}, [], {"table": {"window_um": [0, 0, 50, 50]}})
    bare = Table(table.data[["cell", "x", "y"]], {"cell": "1", "x": "um", "y": "um"})
    with pytest.raises(MissingFieldError, match="neither types nor counts"):
        LENS.quantify({"cytometry": scan_of(bare)}, [], {})


# -- good input --------------------------------------------------------------------------------------------------------


def test_a_table_is_accepted_after_pictures(pictured):
    scan = scan_of(pictured[0].tables["cells"])
    match = LENS.accepts([scan])
    assert match.roles["cytometry"] is scan and LENS.accepts([scan, section(6).acquisitions[0]]).score > match.score
    assert {s.name for s in LENS.recipe(match, {}).steps} == {"types", "states", "space", "table", "immune"}
    other = replace(scan, data=Table(pd.DataFrame({"x": [1.0]}), {"x": "um"}))
    assert LENS.accepts([other]).score == 0


def test_without_a_window_there_are_parts_and_no_densities(pictured):
    first, _ = pictured
    result = LENS.quantify({"cytometry": scan_of(first.tables["cells"])}, [], {})
    parts, before = rows(result, "cell_fraction"), rows(first, "cell_fraction")
    for component in ("tumour-cell", "cd8-t-cell", "t-cell", "unknown"):
        assert (parts[component].value, parts[component].n) == (before[component].value, before[component].n)
    for row in rows(result, "cell_density_area").values():
        assert np.isnan(row.value) and row.reason == "the area that was looked at is not stated"
    for name in ("inflamed", "excluded", "desert"):
        (row,) = rows(result, f"{name}_probability").values()
        assert np.isnan(row.value) and row.flags == "" and row.reason == "the area that was looked at is not stated"
    assert rows(result, "tls_count")[""].value == rows(first, "tls_count")[""].value
    assert np.isnan(rows(result, "tls_density_area")[""].value)
    assert any("not stated" in p.message for p in result.problems)
    assert not {"pairs", "infiltration", "phenotype"} & set(result.tables)
    near, then = rows(result, "nearest_cell_distance"), rows(first, "nearest_cell_distance")
    assert near["treg|tumour-cell"].value == pytest.approx(then["treg|tumour-cell"].value)


def test_with_the_window_densities_are_those_of_the_picture(pictured):
    first, (height, width) = pictured
    options = {"table": {"window_um": [0, 0, width, height]}}
    result = LENS.quantify({"cytometry": scan_of(first.tables["cells"])}, [], options)
    for quantity in ("cell_density_area", "cell_fraction"):
        for region in ("section", "nest", "stroma"):
            found, before = rows(result, quantity, region), rows(first, quantity, region)
            for component in ("cell", "tumour-cell", "b-cell"):
                if component in before:
                    assert found[component].value == pytest.approx(before[component].value)
    shift = scan_of(first.tables["cells"], x=first.tables["cells"].data["x"] + 500.0)
    moved = LENS.quantify({"cytometry": shift}, [], {"table": {"window_um": [500, 0, 500 + width, height]}})
    assert rows(moved, "cell_density_area")["cell"].value == rows(result, "cell_density_area")["cell"].value


def test_types_by_markers_where_no_column_has_them(pictured):
    first, _ = pictured
    table = first.tables["cells"]
    scan = scan_of(Table(table.data.drop(columns=["type", "probability"]),
                         {k: v for k, v in table.column_units.items() if k != "probability"}))  # fmt: skip
    result = LENS.quantify({"cytometry": scan}, [], {})
    same = result.tables["cells"].data["type"].to_numpy() == table.data["type"].to_numpy()
    assert same.all()


def test_names_of_others_are_understood_or_named(pictured):
    table = pictured[0].tables["cells"]
    words = {"cd8-t-cell": "CD8 T cells", "treg": "Tregs", "tumour-cell": "cluster 7", "b-cell": "something else"}
    said = [words.get(v, v) for v in table.data["type"]]
    scan = scan_of(table, phenotype=said)
    options = {"table": {"column": "phenotype", "names": {"cluster 7": "tumour-cell"}}}
    result = LENS.quantify({"cytometry": scan}, [], options)
    parts, before = rows(result, "cell_fraction"), rows(pictured[0], "cell_fraction")
    assert parts["tumour-cell"].value == before["tumour-cell"].value
    assert parts["cd8-t-cell"].value == before["cd8-t-cell"].value
    assert parts["unknown"].value == pytest.approx(before["b-cell"].value + before["unknown"].value)
    assert any("something else" in p.found for p in result.problems)


def test_probabilities_in_words_are_none(pictured):
    scan = scan_of(pictured[0].tables["cells"])
    words = Table(scan.data.data.assign(probability="sure"),
                  {k: v for k, v in scan.data.column_units.items() if k != "probability"})  # fmt: skip
    result = LENS.quantify({"cytometry": replace(scan, data=words)}, [], {})
    assert result.tables["cells"].data["probability"].isna().all()


def test_values_that_are_no_counts_tell_nothing(pictured):
    table = pictured[0].tables["cells"]
    units = {k: "1" if k.startswith("mean_") else v for k, v in table.column_units.items()}
    result = LENS.quantify({"cytometry": scan_of(Table(table.data, units))}, [], {})
    assert any("no counts" in p.message for p in result.problems)
    assert not any(c.startswith("mean_") for c in result.tables["cells"].data)


def test_a_few_cells_of_mere_noise_are_measured_in_silence(rng):
    frame = pd.DataFrame(rng.random((50, 2)) * 300, columns=["x", "y"]).assign(
        cell=[f"cell_{k}" for k in range(50)], phenotype=rng.choice(["Tregs", "B cells", "tumour cells"], 50)
    )
    frame[["mean_CD8", "mean_CD3", "mean_panCK"]] = rng.poisson(1, (50, 3)).astype("f4")
    units = {c: "{counts}" if c.startswith("mean_") else "um" for c in frame.columns if c not in ("cell", "phenotype")}
    options = {"table": {"column": "phenotype", "window_um": [0, 0, 300, 300]}}
    result = LENS.quantify({"cytometry": scan_of(Table(frame, units))}, [], options)
    found = rows(result, "cell_density_area")
    assert found["cell"].value == pytest.approx(50 / 0.09) and found["treg"].n == (frame["phenotype"] == "Tregs").sum()
    assert result.tables["cells"].data["cell"].tolist() == list(range(1, 51))
