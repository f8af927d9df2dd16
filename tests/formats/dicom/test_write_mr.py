"""Enhanced MR files that we write: what goes in comes back, and whoever reads them finds the settings."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from timelens.errors import DataError, MissingFieldError, UsageError
from timelens.formats.dicom import read_seg, read_series, write_enhanced_mr, write_seg
from timelens.lenses.mri.lens import MriLens
from timelens.lenses.mri.matching import kind_of
from timelens.lenses.mri.scene import MrTissue, block_scene
from timelens.study.axes import Axis
from timelens.study.contract import Protocol
from timelens.study.image import Image
from timelens.study.mr import mr_settings

ALL = ["flip", "inversion", "gradient echoes", "spin echoes", "diffusion", "dce", "dsc"]
START = datetime(2024, 1, 15, 12, 0, 0, 250000)


@pytest.fixture(scope="module")
def made():
    plan = Protocol("mri", {"series": ALL, "dce_frames": 14, "dsc_frames": 26, "dsc_te_s": 0.03})
    seen = MriLens().simulate(block_scene({"tissue": MrTissue()}, edge=4), [], plan, np.random.default_rng(1))
    scans = {a.description: replace(a, subject="sub-01", session="ses-01", acquisition_time=START)
             for a in seen.acquisitions}  # fmt: skip
    return scans, seen.regions[0]


@pytest.mark.parametrize("name", ALL)
def test_what_goes_in_comes_back(made, tmp_path, name):
    scan = made[0][name]
    path = write_enhanced_mr(scan, tmp_path / "a.dcm")
    found = read_series(path)
    assert not [p for p in found.problems if p.severity == "error"]
    np.testing.assert_allclose(found.image.numpy(), scan.image.numpy(), atol=scan.image.numpy().max() / 60000)
    here, there = found.image.geometry, scan.image.geometry
    assert here.frame == there.frame
    np.testing.assert_allclose(here.affine, there.affine, atol=1e-9)
    said, wanted = mr_settings(found), mr_settings(scan)
    for field in ("tr_s", "te_s", "flip_deg", "field_t"):
        value = getattr(wanted, field)
        assert getattr(said, field) == (None if value is None else pytest.approx(value)), field
    assert (said.agent, said.spoiled) == (wanted.agent, wanted.spoiled)
    assert found.image.axes[0].name == scan.image.axes[0].name
    if scan.image.frames is not None:
        np.testing.assert_allclose(found.image.frames.start, scan.image.frames.start)
        np.testing.assert_allclose(found.image.frames.duration, scan.image.frames.duration)
        assert found.acquisition_time == START
    else:
        np.testing.assert_allclose(found.image.axes[0].coordinates, scan.image.axes[0].coordinates, rtol=1e-9)
    assert kind_of(found) == name
    assert path.read_bytes() == write_enhanced_mr(scan, tmp_path / "b.dcm").read_bytes()


def test_outlines_refer_to_the_file_and_keep_their_roles(made, tmp_path):
    scans, region = made
    path = write_enhanced_mr(scans["dce"], tmp_path / "a.dcm")
    found = read_seg(write_seg(region, tmp_path / "seg.dcm", [path]))
    assert list(found.names.values()) == ["tissue", "artery"]
    assert found.role(2) == "blood pool"
    np.testing.assert_array_equal(found.on(scans["dce"].image.geometry), region.labels.numpy())


def test_what_cannot_be_written_is_refused(made, tmp_path):
    scan = made[0]["dce"]
    with pytest.raises(MissingFieldError, match="acquisition time"):
        write_enhanced_mr(replace(scan, acquisition_time=None), tmp_path / "a.dcm")
    with pytest.raises(UsageError, match="holds MR"):
        write_enhanced_mr(replace(scan, modality="ct"), tmp_path / "a.dcm")
    image = scan.image
    negative = Image(-image.numpy(), unit="1", axes=image.axes, geometry=image.geometry, frames=image.frames)
    with pytest.raises(DataError, match="not negative"):
        write_enhanced_mr(replace(scan, data=negative), tmp_path / "a.dcm")
    odd = Image(image.numpy()[:2], unit="1", axes=(Axis("view", "view", "1"), *image.axes[1:]), geometry=image.geometry)
    with pytest.raises(UsageError, match="no place for this axis"):
        write_enhanced_mr(replace(scan, data=odd), tmp_path / "a.dcm")
    assert not list(tmp_path.iterdir())
