"""Shapes on a grid keep their volume and activity wherever they lie between the voxels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timelens.errors import GeometryError
from timelens.study.geometry import Geometry
from timelens.tumor.digital_patient import DigitalPatient, Shape, lesion, standard_organs
from timelens.tumor.expected import overlap_share
from timelens.tumor.paint import AIR_HU, grid_around, grid_over, hounsfield, label_region, suv_image, voxel_shares
from timelens.tumor.scene import Scene, TumourField

GRID = grid_over((96, 96, 96), (4, 4, 4), origin=(-48, -48, -48), frame="f")


def test_rotated_grids_are_refused():
    turned = np.eye(4)
    turned[:2, :2] = [[0.8, 0.6], [-0.6, 0.8]]
    with pytest.raises(GeometryError, match="along the axes of the body"):
        voxel_shares(lesion("a", (0, 0, 0), 10, 1), Geometry((4, 4, 4), turned, "f"))


def test_a_shape_beside_the_grid_leaves_nothing():
    assert voxel_shares(lesion("a", (500, 0, 0), 10, 1), GRID) is None


def test_grid_over_fills_its_box():
    np.testing.assert_allclose(GRID.to_mm([-0.5, -0.5, -0.5]), [-48, -48, -48])
    np.testing.assert_allclose(GRID.to_mm([23.5, 23.5, 23.5]), [48, 48, 48])


shift = st.tuples(*[st.floats(-2, 2)] * 3)


@settings(max_examples=25)
@given(shift, st.floats(8, 40))
def test_sphere_keeps_its_volume_under_sub_voxel_shifts(centre, diameter):
    ball = lesion("a", centre, diameter, 1)
    found = voxel_shares(ball, GRID, samples=12)
    assert found is not None
    assert found[1].min() >= 0
    assert found[1].max() <= 1 + 1e-6
    assert found[1].sum() * 0.064 == pytest.approx(ball.volume_ml, rel=6e-3)


@settings(max_examples=25)
@given(shift)
def test_centre_of_mass_is_the_centre(centre):
    box, shares = voxel_shares(lesion("a", centre, 30, 1), GRID)
    index = np.indices(GRID.shape)[(slice(None), *box)].reshape(3, -1)
    np.testing.assert_allclose(GRID.to_mm((index * shares.ravel()).sum(1) / shares.sum()), centre, atol=0.05)


def test_shares_where_the_grid_runs_backwards():
    affine = GRID.affine.copy()
    affine[:3, :3] *= -1
    affine[:3, 3] *= -1
    ball = lesion("a", (5, -3, 9), 20, 1)
    forward = suv_image(DigitalPatient((ball,)), GRID).numpy()
    backward = suv_image(DigitalPatient((ball,)), Geometry(GRID.shape, affine, "f")).numpy()
    np.testing.assert_allclose(forward, backward[::-1, ::-1, ::-1], atol=1e-6)


def test_shares_agree_with_the_overlap_formula():
    """A sphere seen through another one: product of fine shares against the lens formula."""
    fine = grid_over((40, 40, 40), (0.5, 0.5, 0.5), origin=(-20, -20, -20), frame="f")
    first, second = lesion("a", (0, 0, 0), 20, 1), lesion("b", (7, 3, 1), 16, 1)
    maps = [suv_image(DigitalPatient((s,)), fine).numpy() for s in (first, second)]
    distance = float(np.linalg.norm(second.centre))
    share = (maps[0] * maps[1]).sum() / maps[1].sum()
    assert share == pytest.approx(overlap_share(10, 8, distance), rel=2e-3)


def test_total_activity_of_nested_shapes_in_closed_form():
    outer, inner = Shape("o", (1, 0.3, -2), (30, 34, 40), 2.0), lesion("i", (4, 5, 6), 24, 9)
    total = suv_image(DigitalPatient((outer,), (inner,)), GRID, samples=12).numpy().sum(dtype=float) * 0.064
    assert total == pytest.approx(2.0 * outer.volume_ml + 7.0 * inner.volume_ml, rel=1e-3)


def test_body_holds_less_activity_than_was_injected():
    grid = grid_over((832, 400, 400), (8, 8, 8), origin=(-200, -200, -12), frame="f")
    patient = DigitalPatient(standard_organs())
    held = suv_image(patient, grid).numpy().sum(dtype=float) * 0.512 / patient.weight_g
    assert 0.5 < held < 0.9  # the rest is in arms, legs and urine


def test_attenuation_of_organs_and_field_tumours():
    patient = DigitalPatient(standard_organs())
    grid = grid_over((832, 402, 402), (8, 6, 6), origin=(-201, -201, -12), frame="f")
    share = np.ones((6, 6, 6), np.float32)
    field = TumourField("mass", share, np.zeros(1), share[None], (8.0, 6.0, 6.0), patient.organ("stomach").centre, 70.0)
    hu = hounsfield(Scene(patient, fields=(field,)), grid)
    assert hu[0, 0, 0] == AIR_HU
    names = ("liver", "lung right", "brain", "stomach")
    at = {n: tuple(np.rint(grid.to_index(patient.organ(n).centre)).astype(int)) for n in names}
    assert [float(hu[i]) for i in at.values()] == pytest.approx([55, -800, 35, 70])


def test_a_grid_around_a_scene_holds_all_of_it_and_air():
    grid = grid_around(Scene(DigitalPatient(standard_organs())), (8, 6, 6))
    hu = hounsfield(Scene(DigitalPatient(standard_organs())), grid)
    faces = (hu[0], hu[-1], hu[:, 0], hu[:, -1], hu[:, :, 0], hu[:, :, -1])
    assert all((face == AIR_HU).all() for face in faces)
    assert hu.max() > 200


def test_labels_take_voxels_that_are_half_inside():
    shapes = {"big": lesion("big", (0.7, -1.1, 0.4), 40, 1), "small": lesion("small", (0.7, -1.1, 0.4), 16, 1)}
    region = label_region(shapes, GRID, name="organs", roles={"big": "liver"})
    assert dict(region.names) == {1: "big", 2: "small"}
    assert dict(region.roles) == {1: "liver", 2: "lesion"}
    labels = region.labels.numpy()
    assert (labels > 0).sum() * 0.064 == pytest.approx(shapes["big"].volume_ml, rel=0.03)
    assert (labels == 2).sum() * 0.064 == pytest.approx(shapes["small"].volume_ml, rel=0.1)


def test_a_grid_within_a_shape_is_all_of_it():
    """No voxel is sampled there; one step farther out the surface cuts the corners."""
    ball = Shape("ball", (0, 0, 0), (30, 30, 30), 1.0)
    for edge, whole in ((34, True), (36, False)):
        grid = grid_over((edge, edge, edge), (2, 2, 2), origin=(-edge / 2,) * 3, frame="f")
        _, shares = voxel_shares(ball, grid)
        assert shares.shape == grid.shape
        assert (shares == 1).all() == whole
        assert shares[0, 0, 0] > 0.4
