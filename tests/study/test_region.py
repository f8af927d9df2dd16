"""Regions: what they must be, and where their voxels lie."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import GeometryError, UsageError
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.region import Region

GRID = Geometry.from_spacing((4, 8, 8), (3, 1, 1), origin=(10, 20, 30), frame="1.2.3")


def labelled(values: np.ndarray | None = None, grid: Geometry = GRID) -> Region:
    data = np.zeros(grid.shape, np.uint8)
    data[1, 2:5, 2:5] = 1
    data[2, 6, 6] = 2
    image = Image(data if values is None else values, unit="1", geometry=grid)
    return Region("lesions", "labels", {1: "lesion-1", 2: "liver"}, labels=image, roles={2: "liver"})


def square(low: float, high: float, z: float, grid: Geometry = GRID) -> np.ndarray:
    """A square in indices, as millimetres."""
    return grid.to_mm([[z, low, low], [z, low, high], [z, high, high], [z, high, low]])


def drawn(*contours: np.ndarray, frame: str | None = "1.2.3") -> Region:
    return Region("contours", "contours", {1: "lesion-1"}, shapes={1: contours}, frame=frame)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"kind": "labels"}, r"A region of kind 'labels' has labels"),
        ({"kind": "contours", "labels": labelled().labels}, r"and no other kind has"),
        ({"kind": "points", "names": {0: "background"}}, r"numbered from 1; 0 is background. .*Found: \[0\]"),
    ],
)
def test_regions_that_are_none(facts: dict, message: str):
    with pytest.raises(UsageError, match=message):
        Region(**{"id": "r", "names": {1: "a"}, **facts})
    with pytest.raises(UsageError, match=r"Labels are integers. .*Found: float64"):
        labelled(np.zeros(GRID.shape))


def test_names_and_roles_have_a_fallback():
    region = labelled()
    assert (region.name(1), region.name(9)) == ("lesion-1", "9")
    assert (region.role(1), region.role(2)) == ("lesion", "liver")


def test_identity_is_added_and_the_rest_is_kept():
    region = labelled().with_identity({1: "A"}).with_identity({2: "B"})
    assert region.identity == {1: "A", 2: "B"}
    assert region.names == labelled().names


def test_labels_on_their_own_grid_are_taken_as_they_are():
    found = labelled().on(GRID)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, labelled().labels.numpy())
    only = labelled().on(GRID, only=[2])
    assert only.sum() == 2
    assert only[2, 6, 6] == 2


def test_labels_go_to_another_grid_by_the_nearest_voxel():
    finer = GRID.with_spacing((1, 0.5, 0.5))
    found = labelled().on(finer)
    assert (found == 1).sum() == 9 * 12  # each voxel is 3 x 2 x 2 of the finer ones
    assert (found == 2).sum() == 12


@pytest.mark.parametrize("frame", ["9.9", None])
def test_other_frames_are_refused(frame: str | None):
    with pytest.raises(GeometryError, match=r"not known to lie in one frame"):
        labelled().on(GRID.with_frame(frame))
    with pytest.raises(GeometryError, match=r"not known to lie in one frame"):
        drawn(square(1, 3, 1), frame=frame).on(GRID)


def test_a_contour_holds_the_voxels_whose_centres_lie_inside():
    found = drawn(square(1.5, 4.5, 1)).on(GRID)
    expected = np.zeros(GRID.shape, np.int32)
    expected[1, 2:5, 2:5] = 1
    np.testing.assert_array_equal(found, expected)


def test_a_contour_within_a_contour_is_a_hole():
    found = drawn(square(0.5, 6.5, 1), square(2.5, 4.5, 1)).on(GRID)
    assert found.sum() == 36 - 4
    assert found[1, 3, 3] == 0


def test_a_contour_belongs_to_the_nearest_slice():
    assert np.flatnonzero(drawn(square(1.5, 4.5, 1.4)).on(GRID).any(axis=(1, 2))).tolist() == [1]
    assert drawn(square(1.5, 4.5, -3)).on(GRID).sum() == 0  # beyond the image


def test_contours_that_cross_slices_are_refused():
    tilted = square(1.5, 4.5, 1)
    tilted[:2, 2] += 5
    with pytest.raises(
        GeometryError, match=r"A contour of 'lesion-1' is not parallel to the slices.*slice positions 1"
    ):
        drawn(tilted).on(GRID)


def test_the_higher_number_wins():
    shapes = {1: (square(0.5, 4.5, 1),), 2: (square(2.5, 6.5, 1),)}
    region = Region("c", "contours", {1: "a", 2: "b"}, shapes=shapes, frame="1.2.3")
    found = region.on(GRID)
    assert ((found == 1).sum(), (found == 2).sum()) == (16 - 4, 16)
    assert (region.on(GRID, only=[1]) == 1).sum() == 16


def test_points_mark_their_voxels():
    points = GRID.to_mm([[1, 2, 3], [1.2, 2.4, 2.6], [0, 0, 0], [99, 0, 0]])
    found = Region("p", "points", {1: "seed"}, shapes={1: (points,)}, frame="1.2.3").on(GRID)
    assert found.sum() == 2
    assert found[1, 2, 3] == found[0, 0, 0] == 1
