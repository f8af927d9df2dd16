"""Doubtful regions are named with what is doubtful about them."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import DataError
from timelens.lenses.mri.quality import judge_artery, judge_regions, known_parts, require_artery
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.region import Region
from timelens.study.timing import FrameTiming

SHAPE = (8, 20, 20)
GRID = Geometry.from_spacing(SHAPE, (3.0, 2.0, 2.0), frame="body")


def series(change=None, count: int = 10) -> Acquisition:
    values = np.full((count, *SHAPE), 2.0, np.float32)
    values[:, :, 3:17, 3:17] = 100 + np.random.default_rng(1).normal(0, 2, (count, 8, 14, 14))
    if change is not None:
        change(values)
    axes = (Axis("t", "time", "s"), *(Axis(n, "space", "mm") for n in "zyx"))
    timing = FrameTiming(np.arange(count, dtype=float), np.ones(count))
    return Acquisition("a", "mr", Image(values, unit="1", axes=axes, geometry=GRID, frames=timing))


def region(where, name="tumour", role="lesion", geometry=GRID) -> Region:
    labels = np.zeros(geometry.shape, np.uint8)
    labels[where] = 1
    return Region(name, "labels", {1: name}, labels=Image(labels, unit="1", geometry=geometry), roles={1: role})


def test_a_sound_region_has_its_figures_and_no_warning() -> None:
    table, problems = judge_regions(series(), [region(np.s_[2:6, 6:12, 6:12])])
    assert problems == []
    row = table.data.iloc[0]
    assert (row["voxels"], row["outside"], row["unknown"], row["border"], row["air"], row["shared"]) == (
        144,
        0,
        0,
        0,
        0,
        0,
    )
    assert row["variation"] == pytest.approx(0.02 / np.sqrt(10), rel=0.2)
    assert judge_regions(series(), []) == (None, [])


def test_regions_without_any_voxel_are_named() -> None:
    nothing = Region("mask", "labels", {}, labels=Image(np.zeros(SHAPE, np.uint8), unit="1", geometry=GRID))
    table, (problem,) = judge_regions(series(), [nothing])
    assert table is None
    assert "all tissue is measured in their place" in problem.message
    assert (problem.found, problem.severity) == ("mask", "warning")


def nan_in_tumour(values) -> None:
    values[4, 2:6, 6:8, 6:12] = np.nan


@pytest.mark.parametrize(
    ("where", "change", "words", "found"),
    [
        (np.s_[2:6, 0:8, 6:12], None, "as air has", "38 %"),
        (np.s_[0:3, 6:12, 6:12], None, "edge of the field", "33 %"),
        (np.s_[2:6, 6:12, 6:12], nan_in_tumour, "without a number", "33 %"),
        (np.s_[2:3, 6:8, 6:8], None, "few voxels", "4"),
    ],
)  # fmt: skip
def test_doubtful_regions(where, change, words, found) -> None:
    _, problems = judge_regions(series(change), [region(where)])
    (one,) = [p for p in problems if words in p.message]
    assert one.severity == "warning" and one.message.endswith(": tumour") and one.found.startswith(found)


def test_regions_beyond_the_field_and_regions_that_share_voxels() -> None:
    wide = Geometry.from_spacing((8, 20, 40), (3.0, 2.0, 2.0), frame="body")
    affine = GRID.affine
    shifted = Geometry((8, 20, 40), affine, "body")
    assert wide.shape == shifted.shape
    half = region(np.s_[2:6, 6:12, 14:26], geometry=shifted)
    table, problems = judge_regions(series(), [half])
    assert table.data["outside"].iloc[0] == pytest.approx(0.5) and "leaves the field" in problems[0].message
    gone, named = judge_regions(series(), [region(np.s_[2:6, 6:12, 25:30], geometry=shifted)])
    assert gone.data["voxels"].iloc[0] == 0 and "outside of the field" in named[0].message
    pair = [region(np.s_[2:6, 6:12, 6:12]), region(np.s_[2:6, 6:12, 9:15], "node")]
    table, problems = judge_regions(series(), pair)
    np.testing.assert_allclose(table.data["shared"], 0.5)
    assert sum("shares voxels" in p.message for p in problems) == 2


def test_voxels_without_a_number_leave_their_region() -> None:
    whole = [region(np.s_[2:6, 6:12, 6:12])]
    assert known_parts(series(), whole) == whole
    (part,) = known_parts(series(nan_in_tumour), whole)
    ((_, mask),) = part.masks(GRID, [1])
    assert mask.sum() == 96 and part.name(1) == "tumour" and part.role(1) == "lesion"


def test_an_artery_without_a_number_is_not_replaced() -> None:
    def lost(values) -> None:
        values[4, 2:6, 6:12, 6:12] = np.nan

    blood, elsewhere = region(np.s_[2:6, 6:12, 6:12], "artery", "blood pool"), region(np.s_[2:6, 0:3, 0:3])
    scan = series(lost)
    with pytest.raises(DataError, match="No voxel of the drawn artery"):
        require_artery(scan, [blood, elsewhere], known_parts(scan, [blood, elsewhere]))
    require_artery(scan, [elsewhere], known_parts(scan, [elsewhere]))
    require_artery(series(), [blood], [blood])


def test_an_artery_whose_voxels_peak_unevenly_or_are_too_bright() -> None:
    def bolus(values) -> None:
        values[5:, 2:6, 6:12, 6:12] *= 4
        values[5:, 2:6, 6:12, 6:8] /= 3

    blood = [region(np.s_[2:6, 6:12, 6:12], "artery", "blood pool")]
    facts = {"baseline_frames": 5, "input_voxels": 144}
    (uneven,) = judge_artery(series(bolus), blood, facts)
    assert "peak unevenly" in uneven.message
    even = [region(np.s_[2:6, 6:12, 8:12], "artery", "blood pool")]
    assert judge_artery(series(bolus), even, {**facts, "input_voxels": 96}) == []
    (lost,) = judge_artery(series(bolus), even, {**facts, "input_voxels": 90})
    assert "lack a number" in lost.message and lost.found == "6 of 96 voxels left out"
    inflow = {**facts, "input_voxels": 96, "input_voxels_too_bright": 40}
    (bright,) = judge_artery(series(bolus), even, inflow)
    assert "brighter than the signal equation" in bright.message and bright.found.startswith("40 of 96 voxels")
    assert judge_artery(series(bolus), even, {**inflow, "input_voxels_too_bright": 15}) == []
    assert judge_artery(series(bolus), [], facts) == []
