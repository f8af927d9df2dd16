"""A folder of AnnData files: refused without a unit of the positions; densities only where an area is stated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.lenses.cytometry.sections import section

from timelens.formats import h5ad
from timelens.formats.anndata_store import Annotated, write_annotated
from timelens.lenses.cytometry.lens import CytometryLens
from timelens.run.api import run_study
from timelens.run.discover import discover

h5py = pytest.importorskip("h5py", reason="the extra 'tissue' is not installed")


@pytest.fixture(scope="module")
def pictured():
    made = section(14)
    return CytometryLens().quantify({"cytometry": made.acquisitions[0]}, made.regions, {})


def parts(out):
    table = pd.read_csv(out / "measurements.csv")
    whole = table[(table.quantity == "cell_fraction") & (table.region == "section") & table.target.isna()]
    return table, dict(zip(whole.component, whole.value, strict=True))


def test_our_own_file_gives_the_same_parts(tmp_path, pictured):
    (tmp_path / "in").mkdir()
    h5ad.write(pictured.tables["cells"], tmp_path / "in" / "cells.h5ad")
    run_study(tmp_path / "in", tmp_path / "out")
    table, found = parts(tmp_path / "out")
    before = {
        m.component: m.value
        for m in pictured.measurements
        if (m.quantity, m.region, m.target) == ("cell_fraction", "section", "")
    }
    there = {k: v for k, v in before.items() if v > 0}  # a table does not say which types could have been told
    assert {k: v for k, v in found.items() if v > 0} == pytest.approx(there)
    density = table[table.quantity == "cell_density_area"]
    assert density.value.isna().all() and density.reason.str.contains("not stated").any()
    tables = {p.name for p in (tmp_path / "out").glob("sub-*/ses-*/cytometry/*_table.tsv")}
    assert any("interactions" in name for name in tables) and not any("pairs" in name for name in tables)


def test_a_file_of_others_is_mended_in_the_study_file(tmp_path, pictured):
    frame = pictured.tables["cells"].data
    (tmp_path / "in").mkdir()
    data = Annotated(
        frame[["mean_CD8", "mean_panCK"]].to_numpy("f4"), tuple(map(str, frame["cell"])), ("CD8", "panCK"),
        obs={"type": frame["type"].to_numpy(object)}, obsm={"spatial": frame[["x", "y"]].to_numpy() / 0.5},
    )  # fmt: skip
    with h5py.File(tmp_path / "in" / "roi.h5ad", "w") as store:
        write_annotated(store, data)
    found = discover(tmp_path / "in")
    assert any("unit of the positions is not known" in p.message for p in found.problems)
    (item,) = found.sessions[0].acquisitions
    assert "pixel_size_um" in item["needs"]
    run_study(tmp_path / "in", tmp_path / "out")
    study = yaml.safe_load((tmp_path / "out" / "study.yaml").read_text())
    (item,) = study["sessions"][0]["acquisitions"]
    item |= {"pixel_size_um": 0.5, "unit": "{counts}"}
    edge = float(np.ceil(max(frame["x"].max(), frame["y"].max())))
    study["options"] = {"cytometry": {"table": {"window_um": [0, 0, edge, edge]}}}
    (tmp_path / "out" / "study.yaml").write_text(yaml.safe_dump(study))
    run_study(tmp_path / "out" / "study.yaml", tmp_path / "out")
    table, _ = parts(tmp_path / "out")
    row = table[(table.quantity == "cell_density_area") & (table.component == "cell") & (table.region == "section")]
    assert row.value.iloc[0] == pytest.approx(len(frame) / edge**2 * 1e6)
