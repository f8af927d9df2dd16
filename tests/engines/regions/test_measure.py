"""The whole list of values at once: spheres of known volume, uptake and distance; degenerate regions."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.regions.measure import measure_labels
from timelens.engines.regions.reasons import Reason
from timelens.engines.regions.segment import fixed_threshold
from timelens.engines.regions.shape import spread


@pytest.mark.parametrize("diameter", [8, 10, 13, 17, 22, 28, 37, 60])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.645, 1.65, 1.65), (3.27, 4.07, 4.07)])
@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.5, 0.3, 0.1)])
def test_spheres_have_their_volume_and_uptake(ball, diameter, spacing, shift):
    centre = tuple(s * edge for s, edge in zip(shift, spacing, strict=True))
    inside = ball(diameter, spacing=spacing, centre=centre)
    table = measure_labels(1 + 9 * inside, inside, spacing, peak_methods=("partial",))
    volume = np.pi / 6 * diameter**3 / 1000
    # Counting voxels by their centres is off by chance: within (2 voxel edges / diameter)^1.5.
    tolerance = (2 * np.prod(spacing) ** (1 / 3) / diameter) ** 1.5
    np.testing.assert_allclose(table["volume_ml"], volume, rtol=tolerance)
    np.testing.assert_allclose(table["tlg"], 10 * volume, rtol=tolerance)
    assert (table["mean"][0], table["max"][0], table["sd"][0]) == (10, 10, 0)
    middle = (np.array(inside.shape) - 1) / 2 * spacing + centre
    np.testing.assert_allclose(table["centroid_mm"][0], middle, atol=0.25 * max(spacing))
    assert table["reason"][0] == 0 or table["voxel_count"][0] == 1


def test_two_spheres_are_as_far_apart_as_they_are(ball):
    image = np.zeros((60, 60, 200))
    one = ball(20, spacing=(2, 2, 2))
    n = one.shape[0]
    image[:n, :n, :n] += one
    image[20 : 20 + n, 8 : 8 + n, 150 : 150 + n] += one
    labels = fixed_threshold(image, (2, 2, 2), 0.5).labels
    table = measure_labels(image, labels, (2, 2, 2))
    distance, _ = spread(table["centroid_mm"])
    assert distance == pytest.approx(2 * np.sqrt(20**2 + 8**2 + 150**2), rel=1e-12)


def test_scaling_the_image_scales_values_and_nothing_else(rng):
    image = rng.gamma(2, 1, (20, 22, 24))
    labels = rng.integers(0, 3, image.shape)
    plain, scaled = (measure_labels(factor * image, labels, (3, 3, 3)) for factor in (1.0, 4.0))
    for name, column in plain.items():
        values = name.startswith(("peak", "percentile")) or name in {"sum", "mean", "sd", "min", "max", "median", "tlg"}
        np.testing.assert_allclose(scaled[name], (4.0 if values else 1.0) * column, rtol=1e-12, err_msg=name)


def test_shifting_the_volume_moves_positions_and_nothing_else(rng):
    image = np.pad(rng.gamma(2, 1, (9, 9, 9)), 16)
    labels = np.pad(rng.integers(0, 2, (9, 9, 9)), 16)
    plain = measure_labels(image, labels, (3, 3, 3))
    moved = measure_labels(np.roll(image, (2, -1, 1), (0, 1, 2)), np.roll(labels, (2, -1, 1), (0, 1, 2)), (3, 3, 3))
    for name, column in plain.items():
        if name in {"max_index", "centroid_index"}:
            np.testing.assert_allclose(moved[name] - column, [[2, -1, 1]], atol=1e-9)
        elif name != "centroid_mm":
            np.testing.assert_allclose(moved[name], column, rtol=1e-9, err_msg=name)


def test_one_voxel_and_no_voxel():
    labels = np.zeros((30, 30, 30), int)
    labels[15, 15, 15] = 4
    table = measure_labels(np.full(labels.shape, 3.0), labels, (3, 3, 3), wanted=[4, 9])
    assert table["label"].tolist() == [4, 9]
    assert table["reason"].tolist() == [Reason.SINGLE_VOXEL, Reason.EMPTY]
    assert table["peak_local_centre"][0] == pytest.approx(3.0)
    assert table["peak_global_resampled"][0] == pytest.approx(3.0)
    assert table["diameter_max_mm"][0] == 3.0
    for name, column in table.items():
        if name not in {"label", "voxel_count", "max_index", "reason"}:
            assert np.isnan(column[1]).all(), name


def test_no_region_at_all_gives_empty_columns():
    table = measure_labels(np.ones((4, 4, 4)), np.zeros((4, 4, 4), np.uint8), (1, 1, 1))
    assert all(len(column) == 0 for column in table.values())


def test_parts_can_be_left_out(rng):
    image = rng.random((5, 5, 5))
    table = measure_labels(image, np.ones((5, 5, 5), bool), (1, 1, 1), peak_methods=(), shape=False, percentiles=())
    assert not [name for name in table if name.startswith(("peak", "surface", "percentile"))]


def test_lazy_volumes_give_the_same(rng, lazy, monkeypatch):
    monkeypatch.setattr("timelens.engines.regions.grid.SLAB_VOXELS", 500)
    image = rng.random((25, 12, 14)).astype(np.float32)
    labels = rng.integers(0, 4, image.shape, dtype=np.uint16)
    plain = measure_labels(image, labels, (2, 2, 2))
    for name, column in measure_labels(lazy(image), lazy(labels), (2, 2, 2)).items():
        np.testing.assert_array_equal(column, plain[name], err_msg=name)


def test_images_in_other_memory_order_give_the_same(rng):
    image, labels = rng.random((8, 9, 10)), rng.integers(0, 3, (8, 9, 10))
    plain = measure_labels(image, labels, (2, 2, 2))
    for name, column in measure_labels(np.asfortranarray(image), np.asfortranarray(labels), (2, 2, 2)).items():
        np.testing.assert_array_equal(column, plain[name], err_msg=name)
