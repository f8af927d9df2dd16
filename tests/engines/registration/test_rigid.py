"""Rigid registration: a digital body moved by a known amount is brought back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from timelens.engines.registration.rigid import register_rigid
from timelens.errors import DataError, GeometryError

SHAPE, EDGE = (60, 50, 50), 8.0
#: Index (z, y, x) to millimetres, with two axes turned round as in DICOM.
AFFINE = np.array([[0, 0, -EDGE, 196], [0, -EDGE, 0, 196], [EDGE, 0, 0, -240], [0, 0, 0, 1.0]])


def body() -> np.ndarray:
    z, y, x = np.meshgrid(*[np.arange(n) * EDGE for n in SHAPE], indexing="ij")
    volume = np.zeros(SHAPE, np.float32)
    for centre, radii, value in (
        ((240, 200, 200), (230, 100, 150), 0.5),
        ((300, 180, 140), (50, 60, 60), 2.0),
        ((420, 200, 210), (40, 50, 60), 2.4),
        ((80, 200, 200), (30, 40, 40), 9.0),
        ((200, 150, 220), (30, 40, 40), 1.5),
    ):
        inside = sum(((g - c) / r) ** 2 for g, c, r in zip((z, y, x), centre, radii, strict=True)) < 1
        volume[inside] = value
    return volume


def moved(volume: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """The volume as seen when the body is moved by a transform in millimetres."""
    back = np.linalg.inv(AFFINE) @ np.linalg.inv(transform) @ AFFINE
    return affine_transform(volume, back[:3, :3], back[:3, 3], order=1)


def rigid(angles_deg: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> np.ndarray:
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    transform[:3, 3] = shift_mm
    return transform


@pytest.mark.parametrize(
    ("angles", "shift"), [((0, 0, 0), (0, 0, 0)), ((4, -3, 6), (8, -5, 12)), ((-8, 5, 2), (-30, 10, 25))]
)
def test_a_known_motion_is_undone(angles: tuple[float, float, float], shift: tuple[float, float, float]) -> None:
    """Within 1 mm, an eighth of the voxel edge, at points 200 mm apart, with noise and a lesion that has gone."""
    fixed = body()
    changed = fixed.copy()
    changed[changed == 9.0] = 0.5
    transform = rigid(angles, shift)
    noise = np.random.default_rng(1).normal(0, 0.05, SHAPE).astype(np.float32)
    found = register_rigid(fixed, AFFINE, moved(changed, transform) + noise, AFFINE, upper=2.5)
    points = np.array([[0, 0, 0, 1], [100, 0, 150, 1], [-100, 50, -100, 1.0]]).T
    assert np.abs((found.matrix @ transform @ points - points)[:3]).max() < 1.0
    assert found.correlation > 0.85


def test_the_same_twice() -> None:
    fixed, other = body(), moved(body(), rigid((3, 0, 0), (5, 5, 5)))
    one, two = (register_rigid(fixed, AFFINE, other, AFFINE) for _ in range(2))
    assert np.array_equal(one.matrix, two.matrix)


def test_what_cannot_be_registered() -> None:
    with pytest.raises(DataError, match="constant volume"):
        register_rigid(body(), AFFINE, np.ones(SHAPE), AFFINE)
    sheared = AFFINE.copy()
    sheared[0, 1] = 4.0
    with pytest.raises(GeometryError, match="sheared"):
        register_rigid(body(), sheared, body(), AFFINE)
