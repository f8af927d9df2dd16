"""One section in four formats: a run gives the same numbers, whatever the file."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import zarr
from tests.lenses.cytometry.sections import section

from timelens.errors import DataError
from timelens.formats import registry
from timelens.formats.anndata_store import read_annotated
from timelens.formats.cytometry import mcd, txt
from timelens.formats.cytometry.tiff import write_mask
from timelens.run.api import run_study
from timelens.run.export import export_results

NAMES = {"mcd": "s.mcd", "txt": "roi.txt", "tiff": "roi.ome.tiff", "zarr": "roi.ome.zarr"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("formats")
    made = section(12)
    scan = made.acquisitions[0]
    for kind, name in NAMES.items():
        folder = root / "scans" / f"sub-{kind}"
        (folder / "masks").mkdir(parents=True)
        (txt if kind == "txt" else mcd if kind == "mcd" else registry).write(scan, folder / name)
        stem = "s_001" if kind == "mcd" else "roi"
        write_mask(made.regions[0].labels.numpy()[0], folder / "masks" / f"{stem}.tiff")
    run_study(root / "scans", root / "out")
    return pd.read_csv(root / "out" / "measurements.csv"), root / "out"


def test_all_files_give_the_same_numbers(finished):
    table, _ = finished
    kept = ["quantity", "component", "region", "value", "lower", "upper", "n", "unit", "reason"]
    parts = [part[kept].reset_index(drop=True) for _, part in table.groupby("subject")]
    assert len(parts) == len(NAMES) and len(parts[0]) > 50 and parts[0]["value"].notna().sum() > 30
    for other in parts[1:]:
        pd.testing.assert_frame_equal(other, parts[0])


def test_each_row_names_its_file(finished):
    table, out = finished
    problems = pd.read_csv(out / "problems.csv")
    assert not (problems["severity"] == "error").any()
    assert set(table["modality"]) == {"cytometry"}
    # Only the text file is silent about the size of a pixel.
    silent = problems[problems["message"].str.contains("size of a pixel is not stated")]
    assert len(silent) == 1 and silent["file"].iloc[0].endswith("roi.txt")


def test_results_go_out_as_spatialdata(finished):
    table, out = finished
    files = export_results(out, "spatialdata")
    assert [p.name for p in files] == sorted(f"{s}_ses-01.zarr" for s in set(table["subject"]))
    for path in files:
        root = zarr.open_group(path, mode="r")
        (image,), (labels,), (cells,) = (list(root[n]) for n in ("images", "labels", "tables"))
        assert labels.endswith("_cells") and cells == f"{labels}_table" and image.endswith("_image")
        data = read_annotated(root["tables"][cells], file=path)
        numbers = np.unique(root["labels"][labels]["s0"][...])
        assert sorted(data.obs["instance_id"]) == numbers[1:].tolist()
        assert data.channels[0] == "CD45" and set(data.obs["region"]) == {labels}
        assert data.uns["timelens"]["units"]["mean_CD8"] == "{counts}"


def test_an_export_without_cells_or_image_is_refused(finished, tmp_path):
    out = shutil.copytree(finished[1], tmp_path / "out")
    text = (out / "study.yaml").read_text()
    (tmp_path / "nothing").mkdir()
    (out / "study.yaml").write_text(re.sub(r"(?m)^root:.*$", f"root: {tmp_path / 'nothing'}", text))
    with pytest.raises(DataError, match="is not there"):
        export_results(out, "spatialdata")
    for mask in out.glob("sub-*/ses-*/cytometry/*_mask.tiff"):
        mask.unlink()
    with pytest.raises(DataError, match="hold no cells"):
        export_results(out, "spatialdata")
