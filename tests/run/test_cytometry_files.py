"""One section in four formats: a run gives the same numbers, whatever the file."""

from __future__ import annotations

import pandas as pd
import pytest
from tests.lenses.cytometry.sections import section

from timelens.formats import registry
from timelens.formats.cytometry import mcd, txt
from timelens.formats.cytometry.tiff import write_mask
from timelens.run.api import run_study

NAMES = {"mcd": "s.mcd", "txt": "roi.txt", "tiff": "roi.ome.tiff", "zarr": "roi.ome.zarr"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("formats")
    made = section(16)
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
