"""A section from its files to the table, the masks, the outlines and the report."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from tests.lenses.cytometry.sections import section

from timelens.formats.cytometry import txt
from timelens.formats.cytometry.tiff import write_mask
from timelens.run.api import run_study


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("section")
    made = section(20)
    (root / "scans" / "masks").mkdir(parents=True)
    txt.write(made.acquisitions[0], root / "scans" / "roi.txt")
    labels = made.regions[0].labels.numpy()[0]
    write_mask(labels, root / "scans" / "masks" / "roi.tiff")
    run_study(root / "scans", root / "out")
    return made, labels, root / "out"


def test_measurements_agree_with_the_truth(finished):
    made, _, out = finished
    table = pd.read_csv(out / "measurements.csv")
    whole = table[table.region == "section"].set_index(["quantity", "component"])
    for t in made.truth:
        row = whole.loc[(t.quantity, t.component)]
        assert row.unit == t.unit
        if t.quantity == "nearest_cell_distance":
            assert row.value == pytest.approx(t.seen, abs=0.5)
        else:
            assert row.lower <= t.seen <= row.upper
    assert (table.modality == "cytometry").all()
    lacking = whole.loc[("cell_density_area", "car-t-cell")]
    assert np.isnan(lacking.value) and "CAR" in lacking.reason


def test_masks_outlines_tables_and_pictures(finished):
    _, labels, out = finished
    folder = out / "sub-001" / "ses-01"
    stem = "sub-001_ses-01_cytometry"
    assert np.array_equal(tifffile.imread(folder / "cytometry" / f"{stem}_desc-cells_mask.tiff"), labels)
    features = json.loads((folder / "cytometry" / f"{stem}_desc-cells.geojson").read_text())["features"]
    cells = pd.read_csv(folder / "cytometry" / f"{stem}_desc-cells_table.tsv", sep="\t")
    assert len(features) == len(cells) == len(np.unique(labels)) - 1
    assert [f["properties"]["classification"]["name"] for f in features] == list(cells["type"])
    units = json.loads((folder / "cytometry" / f"{stem}_desc-cells_table.json").read_text())
    assert units["x"]["Units"] == "um" and units["mean_CD8"]["Units"] == "{counts}"
    record = json.loads((folder / "session.json").read_text())
    assert [p["kind"] for p in record["pictures"]] == [
        "composite", "detail", "composite2", "types", "graph", "neighbourhoods", "densities", "infiltration",
        "composition", "neighbours", "distances", "ripley",
    ]  # fmt: skip
    assert record["audit"]["cytometry"]["cells"].startswith("given: ")
    assert {"clean", "segment", "types", "space", "immune"} <= {s["name"] for s in record["recipe"]}


def test_regions_of_a_session_together_and_left_out_of_comparisons(tmp_path, monkeypatch):
    for subject, seeds in (("sub-a", (3, 4)), ("sub-b", (5, 6)), ("sub-c", (7,)), ("sub-d", (8,))):
        place = tmp_path / "scans" / subject
        (place / "masks").mkdir(parents=True)
        for k, seed in enumerate(seeds):
            made = section(8, seed=seed)
            txt.write(made.acquisitions[0], place / f"roi{k}.txt")
            write_mask(made.regions[0].labels.numpy()[0], place / "masks" / f"roi{k}.tiff")
    lines = ["participant_id\tarm", "sub-a\tx", "sub-b\ty", "sub-c\tx", "sub-d\ty"]
    (tmp_path / "scans" / "participants.tsv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr("timelens.run.outputs.draw", lambda *_: None)
    out = tmp_path / "out"
    run_study(tmp_path / "scans", out, options={"cytometry": {"space": {"neighbourhoods": 0, "shuffles": 100}}})
    table = pd.read_csv(out / "measurements.csv")
    joined = table[table.acquisition == "sub-a_ses-01_cytometry-pooled"]
    cells = table[(table.quantity == "cell_density_area") & (table.component == "cell")]
    both = cells[(cells.subject == "sub-a") & (cells.region == "section")]
    dense = joined[(joined.quantity == "cell_density_area") & (joined.component == "cell")]
    (whole,) = dense[dense.region == "all regions"].itertuples()
    assert whole.n == both.n.sum() and joined.region.str.startswith("all regions").all()
    assert both.value.min() <= whole.value <= both.value.max()
    assert not cells[(cells.subject == "sub-c") & (cells.region == "all regions")].size
    assert (out / "sub-a/ses-01/cytometry/sub-a_ses-01_cytometry-pooled_desc-interactions_table.tsv").is_file()
    groups = pd.read_csv(out / "groups_values.csv")
    assert len(groups) and not groups.region.str.contains("all regions").any()
    z = groups[(groups.quantity == "interaction_z") & (groups.subject == "sub-a")]
    assert (z["values"] <= 2).all()
