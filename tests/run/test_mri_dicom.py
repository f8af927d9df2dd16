"""MR sessions as scanners send them, classic and enhanced, from DICOM files to rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from timelens.formats.dicom import write_enhanced_mr, write_seg, write_series
from timelens.lenses.mri.lens import MriLens
from timelens.lenses.mri.scene import MrTissue, block_scene
from timelens.run.api import run_study
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Protocol
from timelens.study.image import Image
from timelens.study.mr import mr_settings

WHO = {"subject": "sub-001", "session": "ses-01"}
START = datetime(2024, 1, 2, 10)
TISSUES = {"tumour": MrTissue(f_p=0.5, ps=0.2 / 60, v_p=0.05, v_e=0.3)}


def simulated(series: list[str], **plan):
    scene = block_scene(TISSUES, edge=6)
    scene = replace(scene, geometry=scene.geometry.with_frame("1.2.826.0.1.3680043.8.498.77"))
    protocol = Protocol("mri", {"series": series, "snr": 80.0, **plan})
    return MriLens().simulate(scene, [], protocol, np.random.default_rng(4))


def classic(scan: Acquisition, folder: Path, *, at: datetime, number: int, **header) -> list[Path]:
    """A series of single slices with the header of a gradient echo."""
    known = replace(scan, id=f"{scan.id}-{number}", **WHO, acquisition_time=at, series_time=at)
    files = write_series(known, folder, dtype="uint16", series_number=number, study_time=START)
    settings = mr_settings(scan)
    said = {
        "RepetitionTime": 1e3 * (settings.tr_s or 0.005), "EchoTime": 1e3 * (settings.te_s or 0.0015),
        "FlipAngle": settings.flip_deg, "MagneticFieldStrength": settings.field_t, "ScanningSequence": "GR",
        "SequenceVariant": "SP", "ContrastBolusAgent": scan.agent, **header,
    }  # fmt: skip
    for path in files:
        dataset = pydicom.dcmread(path)
        for key, value in said.items():
            if value is not None:
                setattr(dataset, key, str(value) if isinstance(value, float) else value)
        dataset.save_as(path)
    return files


@pytest.fixture(scope="module")
def classic_results(tmp_path_factory):
    """Flip angles in series of their own, a contrast-enhanced series, and one that is nothing known."""
    truth = simulated(["flip", "dce"], dce_interval_s=3.0, dce_frames=50)
    root, out = tmp_path_factory.mktemp("classic"), tmp_path_factory.mktemp("out")
    flips, dynamic = truth.acquisitions
    for k, angle in enumerate(np.asarray(flips.image.axes[0].coordinates)):
        one = replace(flips, data=flips.image.isel({"flip": k}))
        classic(one, root / f"flip{k}", at=START, number=k + 1, FlipAngle=float(angle))
    late = START.replace(minute=20)
    files = classic(dynamic, root / "dce", at=late, number=20)
    write_seg(truth.regions[0], root / "seg.dcm", files[:2])
    some = dynamic.image
    frames = type(some.frames)(some.frames.start[:8], some.frames.duration[:8])
    short = Image(some.numpy()[:8], unit="1", axes=some.axes, geometry=some.geometry, frames=frames)
    odd = replace(dynamic, data=short, agent=None)
    classic(odd, root / "odd", at=START.replace(minute=40), number=30, EchoTime=12.0)
    run_study(root, out)
    return truth, out


def test_a_classic_session_gives_t1_and_exchange(classic_results):
    truth, out = classic_results
    rows = pd.read_csv(out / "measurements.csv").set_index(["region", "quantity"])
    known = {(t.region, t.quantity): t.ideal for t in truth.truth}
    for quantity, within in {"t1": 0.03, "k_trans": 0.12, "v_e": 0.1}.items():
        assert rows.loc[("tumour", quantity), "value"] == pytest.approx(known["tumour", quantity], rel=within)
    assert rows.loc[("tumour", "k_trans"), "method"].startswith("extended_tofts")
    assert "T1 from flip angles" in rows.loc[("tumour", "k_trans"), "method"]


def test_a_dynamic_series_that_nobody_names_is_left_out_and_the_rest_is_measured(classic_results):
    _, out = classic_results
    problems = pd.read_csv(out / "problems.csv")
    (row,) = problems[problems["message"].str.contains("nothing says whether it is")].to_dict("records")
    assert row["severity"] == "warning" and "echo time 12 ms" in row["found"] and "kind: dce" in row["mend"]
    assert set(problems["severity"]) == {"warning"}


def test_the_table_of_regions_is_written_and_a_small_field_has_none_of_motion(classic_results):
    _, out = classic_results
    names = [p.name for p in out.rglob("*.tsv")] + [p.name for p in out.rglob("*.csv")]
    assert any("desc-regions_" in n for n in names) and not any("desc-motion_" in n for n in names), names
    path = next(p for p in out.rglob("*.tsv") if "desc-regions_" in p.name.lower())
    table = pd.read_csv(path, sep="\t")
    assert set(table["region"]) == {"tumour", "artery"} and (table["voxels"] == 72).all()


def test_an_enhanced_first_pass(tmp_path):
    truth = simulated(["dsc"], snr=150.0)
    (scan,) = truth.acquisitions
    known = replace(scan, **WHO, acquisition_time=START, series_time=START)
    path = write_enhanced_mr(known, tmp_path / "in" / "dsc.dcm", study_time=START)
    write_seg(truth.regions[0], tmp_path / "in" / "seg.dcm", [path])
    run_study(tmp_path / "in", tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "measurements.csv").set_index(["region", "quantity"])
    ideal = {t.quantity: t.ideal for t in truth.truth if t.region == "tumour"}
    assert rows.loc[("tumour", "cbv"), "value"] == pytest.approx(ideal["cbv"], rel=0.05)
    assert {"cbf", "mtt"} <= set(rows.loc["tumour"].index)
    problems = pd.read_csv(tmp_path / "out" / "problems.csv")
    assert "error" not in set(problems["severity"])
