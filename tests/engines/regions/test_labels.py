"""Components against scipy, regions against brute force, bodies in one bed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from timelens.engines.regions.labels import components, find_regions, label_components, relabel, separate_bodies
from timelens.errors import DataError, UsageError

masks = arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9))
volumes = arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7), elements=st.integers(0, 3))


@pytest.mark.parametrize(("connectivity", "order"), [(6, 1), (18, 2), (26, 3)])
@given(mask=masks)
def test_components_equal_those_of_scipy(mask, connectivity, order):
    ours = label_components(mask, connectivity=connectivity)
    theirs, number = ndimage.label(mask, ndimage.generate_binary_structure(3, order))
    assert np.array_equal(ours > 0, mask)
    assert ours.max(initial=0) == number
    pairs = np.unique(np.stack([ours[mask], theirs[mask]]), axis=1)
    assert pairs.shape[1] == number


@pytest.mark.parametrize("density", [0.05, 0.3, 0.6, 0.95])
@pytest.mark.parametrize(("connectivity", "order"), [(6, 1), (18, 2), (26, 3)])
def test_components_of_crowded_masks(rng, density, connectivity, order):
    mask = rng.random((31, 37, 41)) < density
    found = components(mask, connectivity=connectivity)
    theirs, number = ndimage.label(mask, ndimage.generate_binary_structure(3, order))
    assert len(found) == number
    assert found.counts.tolist() == sorted(np.bincount(theirs.ravel())[1:].tolist(), reverse=True)


def test_corner_edge_and_face_neighbours_are_told_apart():
    corner = np.zeros((2, 2, 2), bool)
    corner[0, 0, 0] = corner[1, 1, 1] = True
    edge = np.zeros((2, 2, 2), bool)
    edge[0, 0, 0] = edge[1, 1, 0] = True
    assert [len(components(corner, connectivity=c)) for c in (6, 18, 26)] == [2, 2, 1]
    assert [len(components(edge, connectivity=c)) for c in (6, 18, 26)] == [2, 1, 1]


def test_empty_and_full_masks():
    assert len(components(np.zeros((3, 4, 5), bool))) == 0
    assert label_components(np.zeros((3, 4, 5), bool)).dtype == np.uint8
    full = components(np.ones((3, 4, 5), bool))
    assert (len(full), full.counts[0], full.upper[0].tolist()) == (1, 60, [3, 4, 5])


def test_larger_components_come_first_then_earlier_ones():
    mask = np.zeros((5, 5, 9), bool)
    mask[0, 0, 0] = mask[4, 4, 8] = True
    mask[2, 2, 3:6] = True
    labels = label_components(mask)
    assert (labels[2, 2, 4], labels[0, 0, 0], labels[4, 4, 8]) == (1, 2, 3)


def test_minimum_volume_keeps_a_component_of_exactly_that_volume():
    mask = np.zeros((3, 3, 20), bool)
    mask[1, 1, 0:3] = True
    mask[1, 1, 5:7] = True
    assert components(mask, spacing=(10, 10, 10), min_volume_ml=3.0).counts.tolist() == [3]
    assert components(mask, min_voxels=2).counts.tolist() == [3, 2]


def test_minimum_volume_without_spacing_is_refused():
    with pytest.raises(UsageError, match="needs the voxel spacing"):
        components(np.ones((2, 2, 2), bool), min_volume_ml=1.0)


def test_an_unknown_neighbourhood_is_refused():
    with pytest.raises(UsageError, match=r"No such neighbourhood.*8"):
        components(np.ones((2, 2, 2), bool), connectivity=8)


@given(labels=volumes)
def test_regions_hold_the_whole_volume(labels):
    found = find_regions(labels)
    assert found.labels.tolist() == [value for value in np.unique(labels) if value]
    assert np.array_equal(found.paint(np.uint8), labels)
    flat, begins = found.voxels()
    for k, label in enumerate(found.labels):
        where = np.argwhere(labels == label)
        assert found.counts[k] == len(where)
        assert np.array_equal(found.lower[k], where.min(axis=0))
        assert np.array_equal(found.upper[k], where.max(axis=0) + 1)
        np.testing.assert_allclose(found.centroids()[k], where.mean(axis=0), rtol=0, atol=1e-12)
        assert np.array_equal(flat[begins[k] : begins[k + 1]], np.flatnonzero(labels == label))
        assert np.array_equal(found.indices(k), np.flatnonzero(labels == label))
        box = tuple(slice(a, b) for a, b in zip(found.lower[k], found.upper[k], strict=True))
        assert np.array_equal(found.mask(k), labels[box] == label)
        assert np.array_equal(found.mask(k, margin=2)[2:-2, 2:-2, 2:-2], labels[box] == label)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32])
def test_every_kind_of_label_volume_gives_the_same(rng, dtype):
    labels = rng.integers(0, 5, (4, 5, 6))
    found, expected = find_regions(labels.astype(dtype)), find_regions(labels)
    assert np.array_equal(found.counts, expected.counts)
    assert np.array_equal(found.starts, expected.starts)


def test_order_of_the_array_in_memory_does_not_matter(rng):
    labels = rng.integers(0, 3, (4, 5, 6), dtype=np.uint8)
    assert np.array_equal(find_regions(np.asfortranarray(labels)).starts, find_regions(labels).starts)


def test_lazy_volumes_are_read_in_slabs(rng, monkeypatch, lazy):
    monkeypatch.setattr("timelens.engines.regions.grid.SLAB_VOXELS", 70)
    labels = rng.integers(0, 3, (11, 5, 6), dtype=np.uint8)
    assert np.array_equal(find_regions(lazy(labels)).paint(), labels)
    assert np.array_equal(label_components(lazy(labels > 0)), label_components(labels > 0))


def test_large_label_numbers_survive():
    labels = np.zeros((2, 2, 3), np.int64)
    labels[0, 0, 0], labels[1, 1, 1] = 3_000_000_000, 7
    assert find_regions(labels).labels.tolist() == [7, 3_000_000_000]
    with pytest.raises(UsageError, match="does not hold all labels"):
        find_regions(labels).paint()


def test_wanted_labels_that_are_absent_are_empty_regions():
    labels = np.array([[[1, 0, 3]]])
    found = find_regions(labels, wanted=[3, 2, 1])
    assert found.labels.tolist() == [3, 2, 1]
    assert found.counts.tolist() == [1, 0, 1]
    assert np.isnan(found.centroids()[1]).all()


def test_negative_labels_are_refused():
    with pytest.raises(DataError, match=r"counting numbers.*-2"):
        find_regions(np.array([[[0, -2, 1]]]))


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_fractional_labels_are_refused(value):
    with pytest.raises(DataError, match="nearest neighbour"):
        find_regions(np.array([[[0.0, value, 1.0]]]))


def test_a_volume_of_two_dimensions_is_refused():
    with pytest.raises(UsageError, match="three-dimensional"):
        find_regions(np.zeros((4, 4), np.uint8))


def test_relabel_numbers_by_volume():
    labels = np.array([[[9, 0, 4, 4, 0, 7, 7, 7]]])
    assert relabel(labels).tolist() == [[[3, 0, 2, 2, 0, 1, 1, 1]]]


def test_bodies_are_numbered_as_one_reads():
    mask = np.zeros((20, 50, 50), bool)
    # The second row of animals lies slightly shifted along x, which must not change their order.
    for y, x in ((10, 10), (10, 34), (35, 12), (35, 33)):
        mask[2:18, y - 6 : y + 6, x - 6 : x + 6] = True
    labels = separate_bodies(mask, (1, 1, 1), expected=4, min_volume_ml=1.0)
    assert [labels[10, y, x] for y, x in ((10, 10), (10, 34), (35, 12), (35, 33))] == [1, 2, 3, 4]


def test_touching_bodies_are_refused_where_the_number_is_known():
    mask = np.zeros((10, 20, 40), bool)
    mask[2:8, 4:16, 2:38] = True
    with pytest.raises(DataError, match=r"number of bodies.*Found: 1.*Expected: 2"):
        separate_bodies(mask, (1, 1, 1), expected=2)


def test_no_body_at_all():
    assert separate_bodies(np.zeros((3, 3, 3), bool), (1, 1, 1)).max() == 0
