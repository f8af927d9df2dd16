"""Fixed rules: thresholds, minimum volumes, exclusion, seeds, references."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.regions.labels import find_regions
from timelens.engines.regions.segment import (
    drop_components,
    fixed_threshold,
    keep_components,
    percist,
    percist_threshold,
    suv4,
)
from timelens.errors import DataError, GeometryError, UsageError


def three_blocks():
    image = np.ones((10, 10, 40))
    image[2:5, 2:5, 2:5] = 4.0
    image[2:6, 2:6, 12:16] = 6.0
    image[2:8, 2:8, 25:31] = 9.0
    return image


def test_voxels_at_the_threshold_are_inside_and_nan_never():
    image = np.array([[[4.0, np.nextafter(4.0, 0), np.nan, np.inf, -np.inf]]])
    assert fixed_threshold(image, (1, 1, 1), 4.0).labels.tolist() == [[[1, 0, 0, 2, 0]]]


def test_labels_by_volume_and_the_rule_by_name():
    result = fixed_threshold(three_blocks(), (2, 2, 2), 2.5)
    assert [result.labels[3, 3, x] for x in (27, 13, 3)] == [1, 2, 3]
    assert result.method == "fixed_2.5"
    assert result.parameters["threshold"] == 2.5
    assert result.parameters["connectivity"] == 26


def test_suv4_drops_what_is_below_3_ml():
    # 27, 64 and 216 voxels of 0.064 mL: 1.7, 4.1 and 13.8 mL.
    result = suv4(three_blocks(), (4, 4, 4))
    assert find_regions(result.labels).counts.tolist() == [216, 64]
    assert (result.method, result.parameters["min_volume_ml"]) == ("suv4_3ml", 3.0)
    assert find_regions(suv4(three_blocks(), (4, 4, 4), min_volume_ml=0).labels).counts.tolist() == [216, 64, 27]


@pytest.mark.parametrize(("diameter", "kept"), [(8, False), (13, False), (17, False), (19, True), (28, True)])
def test_suv4_drops_spheres_below_17_9_mm(ball, diameter, kept):
    image = 1 + 9 * ball(diameter, spacing=(1, 1, 1))
    assert bool(suv4(image, (1, 1, 1)).labels.any()) is kept


@pytest.mark.parametrize("diameter", [8, 10, 13, 17, 22, 28, 37, 60])
def test_a_threshold_halfway_up_finds_the_volume_of_a_sphere(ball, diameter):
    image = 1 + 9 * ball(diameter, supersample=5)
    found = find_regions(fixed_threshold(image, (2, 2, 2), 5.5).labels)
    np.testing.assert_allclose(found.counts[0] * 0.008, np.pi / 6 * diameter**3 / 1000, rtol=(4 / diameter) ** 1.5)


def test_organs_are_cut_out():
    organs = np.zeros((10, 10, 40), np.uint8)
    organs[:, :, 20:] = 7
    result = fixed_threshold(three_blocks(), (2, 2, 2), 2.5, exclude=organs)
    assert find_regions(result.labels).counts.tolist() == [64, 27]
    assert result.parameters["exclude"] is True


def test_seeds_drop_or_keep_the_component_they_hit():
    image = three_blocks()
    dropped = fixed_threshold(image, (2, 2, 2), 2.5, drop_seeds=[(3, 3, 27)])
    assert find_regions(dropped.labels).counts.tolist() == [64, 27]
    kept = fixed_threshold(image, (2, 2, 2), 2.5, keep_seeds=[(3, 3, 27), (3, 3, 3)])
    assert find_regions(kept.labels).counts.tolist() == [216, 27]
    assert kept.parameters["keep_seeds"] == [(3, 3, 27), (3, 3, 3)]
    labels = fixed_threshold(image, (2, 2, 2), 2.5).labels
    assert np.array_equal(drop_components(labels, [(3, 3, 27)]), dropped.labels)
    assert np.array_equal(keep_components(labels, [(3, 3, 27), (3, 3, 3)]), kept.labels)


@pytest.mark.parametrize("seed", [(0, 0, 0), (9, 9, 39)])
def test_a_seed_that_hits_nothing_is_refused(seed):
    with pytest.raises(DataError, match=r"seed hits no region.*order of its coordinates"):
        fixed_threshold(three_blocks(), (2, 2, 2), 2.5, drop_seeds=[seed])


@pytest.mark.parametrize("seed", [(10, 0, 0), (0, -1, 0), (1, 2)])
def test_a_seed_outside_the_volume_is_refused(seed):
    with pytest.raises(DataError, match="outside the volume"):
        fixed_threshold(three_blocks(), (2, 2, 2), 2.5, keep_seeds=[seed])


def test_percist_thresholds():
    assert percist_threshold(2.0, 0.3) == pytest.approx(1.5 * 2.0 + 0.6)
    assert percist_threshold(1.4, 0.2, reference="blood_pool") == pytest.approx(2.0 * 1.4 + 0.4)
    with pytest.raises(UsageError, match="No such reference"):
        percist_threshold(2.0, 0.3, reference="muscle")
    for mean, sd in ((np.nan, 0.1), (0.0, 0.1), (2.0, np.nan), (2.0, -1.0)):
        with pytest.raises(DataError, match="gives no threshold"):
            percist_threshold(mean, sd)


@pytest.mark.parametrize("reference", ["liver", "blood_pool"])
def test_percist_measures_its_reference(rng, reference):
    image = three_blocks()
    liver = np.zeros(image.shape, bool)
    liver[8:, :, :] = True
    image[liver] = rng.normal(2.0, 0.2, int(liver.sum()))
    result = percist(image, (2, 2, 2), liver, reference=reference)
    threshold = percist_threshold(image[liver].mean(), image[liver].std(), reference=reference)
    assert result.parameters["threshold"] == pytest.approx(threshold)
    assert result.parameters["reference_voxels"] == liver.sum()
    assert result.method == f"percist_{reference}"
    assert np.array_equal(result.labels > 0, image >= result.parameters["threshold"])


def test_an_empty_reference_is_refused():
    with pytest.raises(DataError, match="reference region is empty"):
        percist(three_blocks(), (2, 2, 2), np.zeros((10, 10, 40), bool))


def test_nothing_above_the_threshold():
    assert fixed_threshold(np.zeros((3, 3, 3)), (1, 1, 1), 1.0).labels.max() == 0


def test_wrong_arguments_are_refused():
    with pytest.raises(GeometryError, match="not on one grid"):
        fixed_threshold(three_blocks(), (2, 2, 2), 2.5, exclude=np.zeros((10, 10, 41)))
    with pytest.raises(UsageError, match="threshold is no number"):
        fixed_threshold(three_blocks(), (2, 2, 2), np.nan)


def test_lazy_images_give_the_same(lazy, monkeypatch):
    monkeypatch.setattr("timelens.engines.regions.segment._CHUNK", 900)
    image = three_blocks()
    expected = fixed_threshold(image, (2, 2, 2), 2.5).labels
    assert np.array_equal(fixed_threshold(lazy(image), (2, 2, 2), 2.5).labels, expected)
