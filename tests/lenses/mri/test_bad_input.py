"""Series and regions that are spoilt: what a run of the lens says to each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from timelens.errors import Problem, TimelensError
from timelens.lenses.mri.lens import MriLens
from timelens.lenses.mri.scene import MrTissue, block_scene
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Protocol
from timelens.study.image import Image
from timelens.study.mr import mr_settings
from timelens.study.region import Region

LENS = MriLens()
TISSUE = {"tumour": MrTissue(f_p=0.5, ps=0.2 / 60, v_p=0.05, v_e=0.3)}
QUICK = {"exchange": {"maps": False}, "perfusion": {"maps": False}, "enhancement": {"maps": False}}


def seen(series: list[str]):
    protocol = Protocol("mri", {"series": series, "snr": 80.0, "dce_interval_s": 3.0, "dce_frames": 50})
    return LENS.simulate(block_scene(TISSUE, edge=6, slices=6), [], protocol, np.random.default_rng(3))


def spoilt(scan: Acquisition, kind: str, where, value: float) -> Acquisition:
    if mr_settings(scan).kind != kind:
        return scan
    values = scan.image.numpy().copy()
    values[where] = value
    image = scan.image
    return replace(scan, data=Image(
        values, unit="1", axes=image.axes, geometry=image.geometry, frames=image.frames, name=image.name
    ))  # fmt: skip


def redrawn(regions: tuple[Region, ...], change) -> list[Region]:
    (one,) = regions
    labels = one.labels.numpy().copy()
    change(labels)
    return [replace(one, labels=Image(labels, unit="1", geometry=one.labels.geometry))]


def run(series: list[str], *, change=None, draw=None, options=None):
    truth = seen(series)
    scans = [change(a) if change else a for a in truth.acquisitions]
    regions = redrawn(truth.regions, draw) if draw else list(truth.regions)
    match = LENS.accepts(scans)
    return LENS.quantify(match.roles, regions, {**QUICK, **(options or {})})


def problem(result, words: str) -> Problem:
    (one,) = [p for p in result.problems if words in p.message]
    return one


def value(result, quantity: str, region: str = "tumour"):
    return next(r for r in result.measurements if (r.quantity, r.region) == (quantity, region))


@pytest.mark.parametrize("kind", ["dce", "dsc"])
def test_a_volume_of_nan(kind):
    """No curve is complete: nothing is measured, by name."""
    series = ["flip", "dce"] if kind == "dce" else ["dsc"]
    with pytest.raises(TimelensError, match="no voxel has a number") as error:
        run(series, change=lambda a: spoilt(a, kind, np.s_[20], np.nan))
    assert "image 21" in error.value.problem.found


@pytest.mark.parametrize(
    ("kind", "quantity"), [("dce", "k_trans"), ("dsc", "cbv"), ("inversion", "t1"), ("flip", "t1")]
)
def test_voxels_of_nan_are_left_out(kind, quantity):
    series = ["flip", "dce"] if kind == "dce" else [kind]
    result = run(series, change=lambda a: spoilt(a, kind, np.s_[-1, 2, :2, :6], np.nan))
    said = problem(result, "without a number in some image: tumour")
    assert said.severity == "warning" and said.found == "6 %"
    row = value(result, quantity)
    assert np.isfinite(row.value) and row.n == 204
    whole = value(run(series), quantity)
    assert row.value == pytest.approx(whole.value, rel=0.05)


def test_a_region_of_one_voxel():
    def draw(labels):
        labels[labels == 1] = 0
        labels[3, 3, 3] = 1

    result = run(["spin echoes"], draw=draw)
    row = value(result, "t2")
    assert row.n == 1 and row.uncertainty > 0 and problem(result, "few voxels").found == "1"


def test_a_region_without_a_voxel():
    def draw(labels):
        labels[labels == 1] = 0

    result = run(["spin echoes"], draw=draw)
    said = problem(result, "A region holds no voxel: tumour")
    assert said.severity == "warning" and not [r for r in result.measurements if r.region == "tumour"]


def test_a_region_in_air():
    result = run(["spin echoes"], change=lambda a: spoilt(a, "spin echoes", np.s_[:, 1:5, 1:3, 1:6], 0.5))
    assert problem(result, "as air has").found == "19 %"


def test_regions_that_share_voxels_and_touch_the_edge():
    truth = seen(["spin echoes"])
    (one,) = truth.regions
    double = Image((one.labels.numpy() == 1).astype(np.uint8), unit="1", geometry=one.labels.geometry)
    regions = [one, Region("other", "labels", {1: "node"}, labels=double)]
    result = LENS.quantify({"spin_echoes": truth.acquisitions[0]}, regions, QUICK)
    assert problem(result, "shares voxels with another: node").found == "100 %"
    assert problem(result, "edge of the field, where profiles of slices and inflow harm: node").severity == "warning"


def test_nothing_but_air():
    with pytest.raises(TimelensError, match="shows nothing but air") as error:
        run(["spin echoes"], change=lambda a: spoilt(a, "spin echoes", np.s_[:], 0.0))
    assert error.value.problem.field and error.value.problem.expected


def test_two_images_of_a_recovery_are_too_few():
    truth = seen(["inversion"])
    (scan,) = truth.acquisitions
    axis = replace(scan.image.axes[0], coordinates=np.asarray(scan.image.axes[0].coordinates)[:2])
    image = Image(scan.image.numpy()[:2], unit="1", axes=(axis, *scan.image.axes[1:]), geometry=scan.image.geometry)
    with pytest.raises(TimelensError, match=r"at least 3 numbers in s|Too few different images"):
        LENS.quantify({"inversion": replace(scan, data=image)}, [], {})


def test_motion_of_an_unknown_kind_is_refused():
    with pytest.raises(TimelensError, match="mode of the step 'motion' cannot be used") as error:
        run(["spin echoes"], options={"motion": {"mode": "elastic"}})
    assert "rigid" in error.value.problem.expected
