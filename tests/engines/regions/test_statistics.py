"""Statistics against numpy and against the values of the published programs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelens.engines.regions.labels import find_regions
from timelens.engines.regions.reasons import Reason, explain
from timelens.engines.regions.statistics import describe, gather_values
from timelens.errors import DataError, GeometryError, UsageError


@given(seed=st.integers(0, 10_000), offset=st.floats(-50, 50))
def test_every_statistic_equals_numpy(seed, offset):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (5, 6, 7))
    image = rng.normal(offset, 2, labels.shape)
    table = describe(image, find_regions(labels), (2, 3, 4), percentiles=(5, 50, 97.5))
    for k, label in enumerate(table["label"]):
        values = image[labels == label]
        assert table["voxel_count"][k] == values.size
        np.testing.assert_allclose(table["volume_ml"][k], values.size * 0.024, rtol=1e-12)
        np.testing.assert_allclose(table["sum"][k], values.sum(), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(table["mean"][k], values.mean(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(table["tlg"][k], values.mean() * values.size * 0.024, rtol=1e-9, atol=1e-12)
        assert (table["min"][k], table["max"][k]) == (values.min(), values.max())
        if values.size > 1:
            np.testing.assert_allclose(table["sd"][k], values.std(), rtol=1e-9)
        for rank in (5, 50, 97.5):
            np.testing.assert_allclose(table[f"percentile_{rank:g}"][k], np.percentile(values, rank), rtol=1e-12)
        assert image[tuple(table["max_index"][k])] == values.max()
        assert labels[tuple(table["max_index"][k])] == label


def test_values_of_the_published_programs(patient):
    table = describe(patient["image"], find_regions(patient["mask"]), patient["spacing"])
    column = {tag: float(row["oncoray"]) for tag, row in patient["published"].items() if row["oncoray"]}
    assert table["voxel_count"][0] == column["morph_mask_vox_count_init_roi"]
    for name, tag in (
        ("max", "int_mask_max_int_init_roi"),
        ("mean", "int_mask_mean_int_init_roi"),
        ("min", "int_mask_min_int_init_roi"),
    ):
        np.testing.assert_allclose(table[name][0], column[tag], rtol=1e-6)


def test_area_under_the_cumulative_histogram_is_that_of_a_fine_histogram(rng):
    values = rng.gamma(3, 1, (10, 10, 10))
    table = describe(values, find_regions(np.ones(values.shape, bool)), (1, 1, 1))
    thresholds = np.linspace(0, values.max(), 20_001)
    above = 1 - np.searchsorted(np.sort(values.ravel()), thresholds, side="left") / values.size
    area = np.trapezoid(above, thresholds / values.max())
    np.testing.assert_allclose(table["auc_csh"][0], area, atol=1e-4)


def test_a_uniform_region_has_area_one_and_no_variation():
    table = describe(np.full((3, 3, 3), 4.0), find_regions(np.ones((3, 3, 3), bool)), (1, 1, 1))
    assert (table["auc_csh"][0], table["sd"][0], table["cv"][0]) == (1.0, 0.0, 0.0)
    assert table["max_index"][0].tolist() == [0, 0, 0]


def test_an_empty_region_has_no_value_at_all():
    table = describe(np.ones((2, 2, 2)), find_regions(np.ones((2, 2, 2), int), wanted=[1, 5]), (1, 1, 1))
    assert table["reason"][1] == Reason.EMPTY
    assert table["voxel_count"][1] == 0
    for name in ("volume_ml", "sum", "mean", "sd", "cv", "min", "max", "median", "tlg", "auc_csh"):
        assert np.isnan(table[name][1]), name
        assert np.isfinite(table[name][0]), name
    assert table["max_index"][1].tolist() == [-1, -1, -1]


def test_one_voxel_has_no_spread():
    labels = np.zeros((3, 3, 3), int)
    labels[1, 2, 0] = 1
    table = describe(np.full((3, 3, 3), 2.5), find_regions(labels), (2, 2, 2))
    assert table["reason"][0] == Reason.SINGLE_VOXEL
    assert np.isnan(table["sd"][0]) and np.isnan(table["cv"][0])
    assert (table["mean"][0], table["median"][0], table["max"][0], table["min"][0]) == (2.5, 2.5, 2.5, 2.5)
    assert table["centroid_mm"][0].tolist() == [2.0, 4.0, 0.0]
    np.testing.assert_allclose(table["tlg"][0], 2.5 * 0.008)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_or_left_out(bad):
    image = np.arange(1.0, 9.0).reshape(2, 2, 2)
    image[1, 1, 1] = bad
    regions = find_regions(np.ones((2, 2, 2), bool))
    refused = describe(image, regions, (10, 10, 10))
    assert refused["reason"][0] == Reason.NON_FINITE
    assert np.isnan([refused[name][0] for name in ("mean", "max", "min", "sd", "median", "tlg")]).all()
    assert refused["volume_ml"][0] == 8.0
    omitted = describe(image, regions, (10, 10, 10), non_finite="omit")
    assert omitted["reason"][0] == Reason.NON_FINITE
    assert (omitted["mean"][0], omitted["max"][0], omitted["median"][0]) == (4.0, 7.0, 4.0)
    assert omitted["max_index"][0].tolist() == [1, 1, 0]


def test_ratios_to_values_that_are_not_positive_are_missing():
    table = describe(np.array([[[-3.0, 1.0, -2.0]]]), find_regions(np.ones((1, 1, 3), bool)), (1, 1, 1))
    assert table["reason"][0] == Reason.NOT_POSITIVE
    assert np.isnan(table["cv"][0])
    assert table["mean"][0] < 0


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float16, np.float32, np.int32, np.float64])
def test_image_types_and_lazy_images_give_the_same(rng, dtype, monkeypatch, lazy):
    image = rng.integers(0, 100, (9, 5, 6)).astype(dtype)
    regions = find_regions(rng.integers(0, 3, image.shape))
    whole = describe(image, regions, (1, 1, 1))
    monkeypatch.setattr("timelens.engines.regions.grid.SLAB_VOXELS", 64)
    for name, column in describe(lazy(image), regions, (1, 1, 1)).items():
        np.testing.assert_array_equal(column, whole[name])
    np.testing.assert_allclose(whole["mean"][0], image.reshape(-1)[regions.indices(0)].astype(float).mean(), rtol=1e-12)


def test_slabs_without_regions_are_not_read(lazy):
    class Watched(lazy):
        read: ClassVar[list[int]] = []

        def __getitem__(self, part):
            self.read.extend(range(part.start, part.stop))
            return super().__getitem__(part)

    labels = np.zeros((100, 300, 300), np.uint8)
    labels[95, 5, 5] = 1
    image = Watched(np.ones(labels.shape, np.float32))
    gather_values(image, find_regions(labels))
    assert 95 in image.read and 0 not in image.read


def test_other_shapes_and_kinds_are_refused():
    regions = find_regions(np.ones((2, 2, 2), bool))
    with pytest.raises(GeometryError, match="different shapes"):
        describe(np.ones((2, 2, 3)), regions, (1, 1, 1))
    with pytest.raises(DataError, match="real numbers"):
        describe(np.ones((2, 2, 2), complex), regions, (1, 1, 1))
    with pytest.raises(DataError, match="voxel spacing is not usable"):
        describe(np.ones((2, 2, 2)), regions, (1, 0, 1))
    with pytest.raises(UsageError, match="Percentiles run from 0 to 100"):
        describe(np.ones((2, 2, 2)), regions, (1, 1, 1), percentiles=(101,))
    with pytest.raises(UsageError, match="No such rule"):
        describe(np.ones((2, 2, 2)), regions, (1, 1, 1), non_finite="ignore")


def test_reasons_are_explained():
    assert explain(0) == ""
    text = explain(int(Reason.EMPTY | Reason.SINGLE_VOXEL))
    assert "no voxel" in text and "one voxel" in text
    assert all(explain(int(flag)) for flag in Reason)
