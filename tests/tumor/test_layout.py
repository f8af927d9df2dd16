"""Layout: volumes that were asked for, shapes that stay, structures at the margin, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from timelens.errors import DataError, GeometryError
from timelens.study.geometry import Geometry
from timelens.tumor.architecture import INFLAMED
from timelens.tumor.layout import grid_axes, lay_out

GRID = Geometry.from_spacing((40, 42, 44), (0.3, 0.3, 0.3), frame="tumour")


def test_volume_necrosis_and_stroma_are_what_was_asked_for() -> None:
    a = replace(INFLAMED, necrotic_fraction=0.2, stroma_fraction=0.3, nest_mm=0.5)
    found = lay_out(a, GRID, 1, None)
    volume = found.tumour.sum(dtype=float) * GRID.voxel_volume
    assert volume == pytest.approx(a.volume_mm3, rel=1e-4)
    assert found.inside.sum() * GRID.voxel_volume == pytest.approx(a.volume_mm3, rel=0.02)
    dead = (found.tumour * found.necrosis).sum(dtype=float) / found.tumour.sum(dtype=float)
    assert dead == pytest.approx(0.2, rel=1e-3)
    assert found.stroma[found.inside].mean() == pytest.approx(0.3, abs=0.04)


def test_necrosis_lies_deep_and_a_margin_is_at_depth_zero() -> None:
    found = lay_out(INFLAMED, GRID, 1, None)
    dead = found.inside & (found.necrosis > 0.5)
    assert found.depth[dead].mean() > 2 * found.depth[found.inside & ~dead].mean()
    assert np.array_equal(found.inside, found.depth >= 0)


def test_without_necrosis_stroma_and_lymphoid_structures() -> None:
    found = lay_out(replace(INFLAMED, necrotic_fraction=0, stroma_fraction=0, tls_count=0), GRID, 1, None)
    assert not found.necrosis.any()
    assert not found.stroma.any()
    assert not found.tls.any()


def test_a_round_tumour_is_a_ball_and_an_aspect_stretches_it() -> None:
    ball = lay_out(replace(INFLAMED, roughness=0, diameter_mm=8), GRID, 1, None)
    z, y, x = grid_axes(GRID)
    r = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    assert ball.depth == pytest.approx(4 - r, abs=0.02)
    long = lay_out(replace(INFLAMED, roughness=0, diameter_mm=8, aspect=(1.0, 1.0, 1.5)), GRID, 1, None)
    extent = [np.ptp(found) + 1 for found in np.nonzero(long.inside)]
    assert extent[2] / extent[0] == pytest.approx(1.5, abs=0.12)


def test_structures_are_where_and_as_large_as_they_should_be() -> None:
    a = replace(INFLAMED, tls_count=2, tls_radius_mm=0.8, necrotic_fraction=0)
    found = lay_out(a, GRID, 3, None)
    assert found.tls.sum() * GRID.voxel_volume == pytest.approx(2 * 4 / 3 * np.pi * 0.8**3, rel=0.15)
    assert (found.follicle <= found.tls + 1e-6).all()
    assert found.follicle.sum() / found.tls.sum() == pytest.approx(0.6**3, rel=0.2)
    assert 0 < found.depth[found.tls > 0.9].mean() < 2


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_tumour() -> None:
    one, two, other = (lay_out(INFLAMED, GRID, seed, None) for seed in (1, 1, 2))
    assert all(getattr(one, f).tobytes() == getattr(two, f).tobytes() for f in ("depth", "stroma", "tls", "noise"))
    assert one.inside.tobytes() != other.inside.tobytes()


def test_a_finer_grid_shows_the_same_tumour() -> None:
    coarse = lay_out(INFLAMED, Geometry.from_spacing((41,) * 3, (0.3,) * 3), 1, None)
    fine = lay_out(INFLAMED, Geometry.from_spacing((81,) * 3, (0.15,) * 3), 1, None)
    assert fine.depth[::2, ::2, ::2] == pytest.approx(coarse.depth, abs=0.01)
    assert np.abs(fine.stroma[::2, ::2, ::2] - coarse.stroma).max() < 1e-3


def test_a_growing_tumour_keeps_its_shape() -> None:
    small = lay_out(replace(INFLAMED, diameter_mm=5), Geometry.from_spacing((41,) * 3, (0.15,) * 3), 1, None)
    large = lay_out(replace(INFLAMED, diameter_mm=10), Geometry.from_spacing((41,) * 3, (0.3,) * 3), 1, None)
    assert (small.inside != large.inside).mean() < 0.005


def test_a_centre_moves_it() -> None:
    a = replace(INFLAMED, diameter_mm=6)
    moved = lay_out(a, GRID, 1, tuple(GRID.to_mm((18, 21, 25))))
    still = lay_out(a, Geometry.from_spacing((37, 43, 51), (0.3,) * 3), 1, None)
    assert moved.inside.sum() == pytest.approx(still.inside.sum(), abs=2)
    assert np.mean(np.nonzero(moved.inside), axis=1) == pytest.approx(
        np.mean(np.nonzero(still.inside), axis=1), abs=0.05
    )


@pytest.mark.parametrize(
    ("kind", "match", "change", "grid"),
    [
        (GeometryError, "The grid cuts the tumour", {"diameter_mm": 13.0}, GRID),
        (GeometryError, "The grid cuts the tumour", {"diameter_mm": 60.0}, GRID),
        (GeometryError, "too coarse for the tumour", {"diameter_mm": 0.5}, GRID),
        (DataError, "too small for its lymphoid structures", {"tls_radius_mm": 6.0}, GRID),
    ],
)
def test_what_does_not_fit_is_refused(kind: type[Exception], match: str, change: dict, grid: Geometry) -> None:
    with pytest.raises(kind, match=match):
        lay_out(replace(INFLAMED, **change), grid, 1, None)


def test_slanted_axes_are_refused() -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.3
    with pytest.raises(GeometryError, match="axes at right angles"):
        grid_axes(Geometry((4, 4, 4), affine))
