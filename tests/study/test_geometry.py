"""Geometry against nibabel and SimpleITK, which compute the same positions by their own ways."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from timelens.errors import GeometryError
from timelens.study.geometry import GRID_TOLERANCE, Geometry, Registration

INDICES = np.array([[0, 0, 0], [4, 5, 6], [1.5, 0.25, 3.75]])


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    """A rotation matrix from three angles in radians."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [(1, 2), (0, 2), (0, 1)][axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Any oblique grid of a size that scanners make."""
    shape = draw(st.tuples(*[st.integers(1, 40)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.01, 20)] * 3))
    origin = draw(st.tuples(*[st.floats(-2000, 2000)] * 3))
    angles = draw(st.tuples(*[st.floats(-3, 3)] * 3))
    affine = np.eye(4)
    affine[:3, :3] = rotation(angles) @ np.diag(spacing)[::-1]
    affine[:3, 3] = origin
    return Geometry(shape, affine, "1.2.3")


@pytest.fixture
def oblique() -> Geometry:
    affine = np.eye(4)
    affine[:3, :3] = rotation((0.3, -0.2, 1.1)) @ np.diag([3.0, 2.0, 1.0])[::-1]
    affine[:3, 3] = [-100.0, 50.0, 20.0]
    return Geometry((5, 6, 7), affine, "1.2.3")


def test_positions_agree_with_nibabel(oblique: Geometry):
    image = nib.Nifti1Image(np.zeros((7, 6, 5)), oblique.to_nifti())
    expected = nib.affines.apply_affine(image.affine, INDICES[:, ::-1])
    np.testing.assert_allclose(oblique.to_mm(INDICES), expected, atol=1e-10)
    np.testing.assert_allclose(image.header.get_zooms(), oblique.spacing[::-1], rtol=1e-6)


def test_positions_agree_with_simpleitk(oblique: Geometry):
    lps = oblique.to_lps()
    image = sitk.Image(7, 6, 5, sitk.sitkUInt8)
    image.SetOrigin(lps[:3, 3])
    image.SetSpacing(oblique.spacing[::-1])
    image.SetDirection((lps[:3, :3] / oblique.spacing[::-1]).ravel())
    for index, mm in zip(INDICES, oblique.to_mm(INDICES), strict=True):
        point = image.TransformContinuousIndexToPhysicalPoint(index[::-1].tolist())
        np.testing.assert_allclose(mm, np.array(point) * [-1, -1, 1], atol=1e-9)


def test_a_plain_grid_lies_where_it_is_said_to():
    grid = Geometry.from_spacing((4, 5, 6), (3, 2, 1), origin=(10, 20, 30))
    assert (grid.shape, grid.spacing, grid.voxel_volume) == ((4, 5, 6), (3.0, 2.0, 1.0), pytest.approx(6.0))
    np.testing.assert_array_equal(grid.to_mm([1, 2, 3]), [13, 24, 33])
    assert grid.is_orthogonal


@given(geometries())
def test_conventions_round_trip(grid: Geometry):
    nifti = Geometry.from_nifti(grid.shape[::-1], grid.to_nifti(), frame=grid.frame)
    lps = Geometry.from_lps(grid.shape, grid.to_lps(), frame=grid.frame)
    for other in (nifti, lps):
        np.testing.assert_allclose(other.affine, grid.affine, atol=1e-12)
        assert other.shape == grid.shape
        other.require_same_grid(grid)


@given(geometries(), st.tuples(*[st.floats(-50, 50)] * 3))
def test_index_and_millimetres_are_inverse(grid: Geometry, index: tuple[float, float, float]):
    np.testing.assert_allclose(grid.to_index(grid.to_mm(index)), index, atol=1e-6)
    assert grid.voxel_volume == pytest.approx(np.prod(grid.spacing), rel=1e-9)


def test_a_sheared_grid_is_known_as_such(oblique: Geometry):
    affine = oblique.affine.copy()
    affine[:3, 0] += 0.2 * affine[:3, 1]  # gantry tilt
    tilted = Geometry(oblique.shape, affine)
    assert oblique.is_orthogonal
    assert not tilted.is_orthogonal
    assert tilted.voxel_volume == pytest.approx(oblique.voxel_volume)


# -- grids that are none -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.eye(3), r"not a finite 4 x 4 matrix"),
        (np.full((4, 4), np.nan), r"not a finite 4 x 4 matrix"),
        (np.diag([1.0, 1, 1, 2]), r"last row 0 0 0 1"),
        (np.diag([1.0, 0, 1, 1]), r"singular: voxels have no volume"),
        (np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), r"singular"),
    ],
)
def test_broken_affines_are_refused(affine: np.ndarray, message: str):
    with pytest.raises(GeometryError, match=message):
        Geometry((2, 2, 2), affine)


@pytest.mark.parametrize("shape", [(0, 2, 2), (2, -1, 2), (2, 2)])
def test_empty_shapes_are_refused(shape: tuple[int, ...]):
    with pytest.raises(GeometryError, match=r"three (positive sizes|space axes)"):
        Geometry.from_spacing(shape, (1, 1, 1))


def test_a_microscope_may_have_voxels_of_a_tenth_of_a_micrometre():
    assert Geometry.from_spacing((2, 2, 2), (1e-4, 1e-4, 1e-4)).voxel_volume == pytest.approx(1e-12)


def test_the_affine_cannot_be_changed_from_outside():
    given_affine = np.eye(4)
    grid = Geometry((2, 2, 2), given_affine)
    given_affine[0, 0] = 99
    assert grid.affine[0, 0] == 1
    with pytest.raises(ValueError, match=r"read-only"):
        grid.affine[0, 0] = 2


# -- parts and other grids ---------------------------------------------------------------------------------------------

CUTS = st.tuples(
    st.integers(-8, 8) | st.none(), st.integers(-8, 8) | st.none(), st.sampled_from([None, 1, 2, 3, -1, -2])
)


@given(geometries(), st.tuples(CUTS, CUTS, CUTS))
def test_a_cut_keeps_every_voxel_in_its_place(grid: Geometry, cuts: tuple):
    index = [slice(*cut) for cut in cuts]
    positions = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)[tuple(index)]
    if positions.size == 0:
        with pytest.raises(GeometryError, match=r"The cut leaves no voxels"):
            grid.crop(index)
        return
    part = grid.crop(index)
    assert part.shape == positions.shape[:3]
    inside = np.stack(np.meshgrid(*[np.arange(n) for n in part.shape], indexing="ij"), axis=-1)
    np.testing.assert_allclose(part.to_mm(inside), grid.to_mm(positions), atol=1e-6)
    assert part.frame == grid.frame


def test_other_spacing_covers_the_same_box(oblique: Geometry):
    finer = oblique.with_spacing((1.5, 1.0, 0.5))
    assert finer.shape == (10, 12, 14)
    np.testing.assert_allclose(finer.spacing, (1.5, 1.0, 0.5))
    np.testing.assert_allclose(finer.to_mm([-0.5, -0.5, -0.5]), oblique.to_mm([-0.5, -0.5, -0.5]), atol=1e-9)
    np.testing.assert_allclose(finer.to_mm([9.5, 11.5, 13.5]), oblique.to_mm([4.5, 5.5, 6.5]), atol=1e-9)


@given(geometries(), st.tuples(*[st.floats(0.5, 5)] * 3))
def test_other_spacing_keeps_the_centre(grid: Geometry, spacing: tuple[float, float, float]):
    other = grid.with_spacing(spacing)
    centres = [g.to_mm((np.array(g.shape) - 1) / 2) for g in (grid, other)]
    np.testing.assert_allclose(*centres, atol=1e-6)
    assert (np.array(other.shape) * spacing >= np.array(grid.shape) * grid.spacing - 1e-4).all()


def test_lengths_that_fit_are_not_rounded_up():
    assert Geometry.from_spacing((60, 60, 60), (1.1, 1.1, 1.1)).with_spacing((3.3, 3.3, 3.3)).shape == (20, 20, 20)


@pytest.mark.parametrize("spacing", [(0, 1, 1), (1, 1), (np.nan, 1, 1), (-1, 1, 1)])
def test_impossible_spacings_are_refused(spacing: tuple[float, ...]):
    with pytest.raises(GeometryError, match=r"A spacing is three positive lengths"):
        Geometry.from_spacing((2, 2, 2), (1, 1, 1)).with_spacing(spacing)


# -- frames of reference -----------------------------------------------------------------------------------------------


def grid(frame: str | None, **changes: object) -> Geometry:
    return Geometry.from_spacing((2, 2, 2), (1, 1, 1), frame=frame, **changes)


@pytest.mark.parametrize(("mine", "theirs"), [("1.2", "1.3"), ("1.2", None), (None, None)])
def test_frames_that_are_not_known_to_be_one_do_not_meet(mine: str | None, theirs: str | None):
    with pytest.raises(GeometryError, match=r"not known to lie in one frame") as caught:
        grid(mine).require_same_frame(grid(theirs))
    assert caught.value.problem.field == "FrameOfReferenceUID"
    assert caught.value.problem.found == f"{mine or 'unknown'} and {theirs or 'unknown'}"
    assert "registration" in caught.value.problem.mend
    with pytest.raises(GeometryError, match=r"not known to lie in one frame"):
        grid(mine).require_same_grid(grid(theirs))


def test_a_frame_may_be_stated():
    grid(None).with_frame("1.2").require_same_grid(grid("1.2"))


def test_a_slide_is_not_a_body():
    with pytest.raises(GeometryError, match=r"one frame"):
        grid("1.2").require_same_frame(grid("1.2", space="slide"))


def test_a_named_registration_joins_two_frames_in_its_direction_only():
    joined = Registration("rigid, by hand", source="pet", target="ct")
    grid("ct").require_same_frame(grid("pet"), registration=joined)
    for fixed, moving in (("pet", "ct"), ("ct", "mr"), ("ct", None)):
        with pytest.raises(GeometryError, match=r"not known to lie in one frame"):
            grid(fixed).require_same_frame(grid(moving), registration=joined)


def test_a_registration_needs_a_name_and_a_transform():
    with pytest.raises(GeometryError, match=r"A registration needs a name"):
        Registration(" ", "pet", "ct")
    with pytest.raises(GeometryError, match=r"The matrix is singular"):
        Registration("flat", "pet", "ct", np.diag([1.0, 1, 0, 1]))
    with pytest.raises(GeometryError, match=r"The matrix is not a finite"):
        Registration("unknown", "pet", "ct", np.full((4, 4), np.inf))


@pytest.mark.parametrize(("part", "same"), [(0.5, True), (2.0, False)])
def test_grids_are_one_within_the_tolerance(part: float, same: bool):
    moved = Geometry.from_spacing((2, 2, 2), (1, 1, 1), origin=(part * GRID_TOLERANCE, 0, 0), frame="f")
    assert grid("f").same_grid(moved) is same


def test_other_grids_are_named():
    other = Geometry.from_spacing((2, 2, 3), (1, 1, 2), origin=(1, 2, 3), frame="f")
    with pytest.raises(GeometryError, match=r"The two grids differ") as caught:
        grid("f").require_same_grid(other)
    assert caught.value.problem.found == "(2, 2, 3) voxels of (1, 1, 2) mm at (1, 2, 3) mm"
    assert caught.value.problem.mend == "resample one onto the other with Image.resample_to"


def test_a_record_holds_all_of_it(oblique: Geometry):
    record = oblique.as_dict()
    again = Geometry(record["shape"], record["affine"], record["frame"], record["space"])
    again.require_same_grid(oblique)
