"""Saturation recovery and Look-Locker from files to rows and maps: their times stand where inversion times do."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from timelens.formats import bids_mr, nifti
from timelens.formats.dicom import write_enhanced_mr, write_seg
from timelens.lenses.mri.lens import MriLens
from timelens.lenses.mri.scene import MrTissue, block_scene
from timelens.run.api import run_study
from timelens.study.contract import Protocol
from timelens.study.mr import mr_settings

START = datetime(2024, 1, 2, 10)


@pytest.mark.parametrize(("series", "form"), [("saturation", "dicom"), ("look locker", "bids")])
def test_from_files_to_rows_and_maps(series: str, form: str, tmp_path) -> None:
    scene = block_scene({"tumour": MrTissue(t1=1.4)}, edge=6)
    scene = replace(scene, geometry=scene.geometry.with_frame("1.2.826.0.1.3680043.8.498.77"))
    protocol = Protocol("mri", {"series": [series], "look_locker_pulses": 20, "look_locker_interval_s": 0.2})
    seen = MriLens().simulate(scene, [], protocol, np.random.default_rng(1))
    (scan,) = seen.acquisitions
    # What a file can say: times after some pulse.
    settings = replace(mr_settings(scan), kind="inversion")
    scan = replace(scan, subject="sub-001", session="ses-01", acquisition_time=START, series_time=START,
                   extra={**scan.extra, "mr": settings})  # fmt: skip
    root = tmp_path / "in"
    if form == "bids":
        files = bids_mr.write_series(scan, root)
        nifti.write_labels(seen.regions[0], files[0].with_name("sub-001_ses-01_IRT1_dseg.nii.gz"))
    else:
        path = write_enhanced_mr(scan, root / "t1.dcm", study_time=START)
        write_seg(seen.regions[0], root / "seg.dcm", [path])
    run_study(root, tmp_path / "out", options={"mri": {"series": {"recovery": series.replace(" ", "_")}}})
    rows = pd.read_csv(tmp_path / "out" / "measurements.csv").set_index(["region", "quantity"])
    row = rows.loc[("tumour", "t1")]
    assert row["value"] == pytest.approx(1400, rel=0.01) and row["unit"] == "ms"
    assert 0 < row["uncertainty"] < 20 and "likelihood of magnitudes" in row["method"]
    assert row["method"].lower().startswith(series.split()[0])
    (path,) = [p for p in (tmp_path / "out").rglob("*map.nii.gz") if "desc-t1_" in p.name.lower()]
    assert np.nanmedian(nib.load(path).get_fdata()) == pytest.approx(1450, rel=0.15)
