"""A tumour's field on another grid: amounts are kept, straight gradients stay straight, beyond it lies nothing."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.study.geometry import Geometry
from timelens.tumor.scene import TumourField


def tumour(values: np.ndarray, spacing=(0.7, 0.6, 0.5), centre=(3.0, 1.0, 2.0)) -> TumourField:
    share = np.clip(values, 0, 1).astype(np.float32)
    return TumourField("mass", share, np.zeros(1), share[None], spacing, centre)


def lps(shape, steps, origin) -> Geometry:
    """A grid as DICOM has it: x and y run against the body's axes."""
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = origin
    return Geometry.from_lps(shape, affine, frame="f")


def test_the_amount_is_kept_on_coarse_grids(rng):
    values = np.zeros((20, 22, 24), np.float32)
    values[2:-2, 2:-2, 2:-2] = rng.random((16, 18, 20))
    field = tumour(values)
    grid = lps((16, 16, 16), (2.0, 1.7, 1.3), (-19.0, -14.0, -8.0))
    found = field.on(values, grid)
    assert found.sum() * grid.voxel_volume == pytest.approx(values.sum() * 0.21, rel=0.01)


def test_a_gradient_stays_one_and_is_not_mirrored():
    z, y, x = np.meshgrid(*[np.arange(40.0)] * 3, indexing="ij")
    values = (0.001 * (x + 2 * y + 3 * z)).astype(np.float32)
    field = tumour(values, spacing=(1.0, 1.0, 1.0), centre=(0.0, 0.0, 0.0))
    grid = lps((5, 5, 5), (2.0, 2.0, 2.0), (-4.0, -4.0, -4.0))
    index = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1)
    mm = grid.to_mm(index) + 19.5
    assert field.on(values, grid) == pytest.approx(0.001 * (mm[..., 0] + 2 * mm[..., 1] + 3 * mm[..., 2]), abs=1e-5)


def test_beyond_the_field_lies_nothing():
    field = tumour(np.ones((8, 8, 8)), spacing=(1.0, 1.0, 1.0), centre=(0.0, 0.0, 0.0))
    far = Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0), origin=(50, 50, 50))
    assert not field.on(field.share, far).any()
    fine = Geometry.from_spacing((6, 6, 6), (0.25, 0.25, 0.25), origin=(-0.6, -0.6, -0.6))
    assert field.on(field.share, fine) == pytest.approx(1.0)
