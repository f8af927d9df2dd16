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
