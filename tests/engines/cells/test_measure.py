"""The table of cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tifffile

from timelens.engines.cells.measure import measure_cells
from timelens.errors import UsageError


@pytest.mark.parametrize(
    ("image", "labels", "pixel", "said"),
    [
        (np.zeros((2, 3, 3)), np.zeros((3, 4), int), (1, 1), "differ in size"),
        (np.zeros((3, 3)), np.zeros((3, 3), int), (1, 1), "differ in size"),
        (np.zeros((2, 3, 3)), np.zeros((3, 3)), (1, 1), "whole numbers"),
        (np.zeros((2, 3, 3)), np.full((3, 3), -1), (1, 1), "whole numbers"),
        (np.zeros((2, 3, 3)), np.zeros((3, 3), int), (1, 0), "positive size"),
    ],
)
def test_what_does_not_fit_is_refused(image, labels, pixel, said):
    with pytest.raises(UsageError, match=said):
        measure_cells(image, labels, pixel)


def test_an_image_without_cells_has_an_empty_table():
    found = measure_cells(np.zeros((2, 3, 3)), np.zeros((3, 3), int), (1, 1))
    assert len(found) == 0 and found.mean.shape == (0, 2)


def test_sizes_are_in_micrometres_and_a_rectangle_has_its_moments():
    labels = np.zeros((20, 30), int)
    labels[5:9, 10:22] = 9  # 4 by 12 pixels
    labels[0, 0] = 3
    found = measure_cells(np.ones((1, 20, 30)), labels, (2.0, 0.5))
    assert found.label.tolist() == [3, 9] and found.at_border.tolist() == [True, False]
    assert found.area_um2.tolist() == [1, 48]
    assert (found.y_um[1], found.x_um[1]) == (13.0, 7.75)
    # Variance of n equal steps of width d: d^2 (n^2 - 1) / 12.
    expected = 4 * np.sqrt([2.0**2 * 15 / 12, 0.5**2 * 143 / 12])
    assert (found.major_um[1], found.minor_um[1]) == pytest.approx(tuple(expected))
    assert found.eccentricity[1] == pytest.approx(np.sqrt(1 - (expected[1] / expected[0]) ** 2))
    assert (found.major_um[0], found.eccentricity[0]) == (0, 0)


def test_pixels_that_were_not_measured_are_left_out():
    labels = np.array([[1, 1, 2], [1, 1, 2]])
    image = np.array([[[1, 2, np.nan], [3, np.nan, np.nan]]])
    found = measure_cells(image, labels, (1, 1))
    assert found.mean[0, 0] == 2 and np.isnan(found.mean[1, 0])
    assert found.measured[:, 0].tolist() == [0.75, 0]


def test_a_cell_far_from_the_corner_keeps_its_shape():
    labels = np.zeros((3000, 3000), np.int32)
    labels[2990:2993, 2980:2989] = 1
    found = measure_cells(np.zeros((1, 3000, 3000), "f4"), labels, (1, 1))
    assert found.major_um[0] == pytest.approx(4 * np.sqrt(80 / 12), rel=1e-12)


@pytest.mark.parametrize("masks", ["deepcell", "ilastik"])
def test_equal_to_published_tables(shared_data, masks):
    folder = shared_data / "imc_hyperion" / "steinbock"
    for path in sorted((folder / "img").glob("*.tiff")):
        found = measure_cells(tifffile.imread(path), tifffile.imread(folder / f"masks_{masks}" / path.name), (1, 1))
        means = pd.read_csv(folder / f"intensities_{masks}" / f"{path.stem}.csv").set_index("Object")
        shape = pd.read_csv(folder / f"regionprops_{masks}" / f"{path.stem}.csv").set_index("Object")
        assert found.label.tolist() == means.index.tolist() == shape.index.tolist()
        assert np.abs(found.mean - means.to_numpy()).max() < 1e-6
        assert found.area_um2.tolist() == shape["area"].tolist()
        for mine, theirs in (
            ("y_um", "centroid-0"),
            ("x_um", "centroid-1"),
            ("major_um", "axis_major_length"),
            ("minor_um", "axis_minor_length"),
            ("eccentricity", "eccentricity"),
        ):
            assert np.abs(getattr(found, mine) - shape[theirs].to_numpy()).max() < 1e-6
