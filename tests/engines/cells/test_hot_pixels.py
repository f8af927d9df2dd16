"""The hot-pixel filter."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from timelens.engines.cells.hot_pixels import filter_hot_pixels
from timelens.errors import UsageError
from timelens.formats.cytometry import mcd


@pytest.mark.parametrize("threshold", [0, -1, np.nan, np.inf])
def test_a_threshold_must_be_a_positive_number(threshold):
    with pytest.raises(UsageError, match="positive number"):
        filter_hot_pixels(np.zeros((3, 3)), threshold)


def test_a_line_is_no_image():
    with pytest.raises(UsageError, match="rows and columns"):
        filter_hot_pixels(np.zeros(3), 1)


def test_only_what_outshines_every_neighbour_is_replaced():
    image = np.zeros((2, 5, 5), "f4")
    image[0, 2, 2], image[0, 2, 3] = 100, 40
    image[1, 0, 0], image[1, 4, 4], image[1, 4, 3] = 51, 60, 60
    kept = image.copy()
    found = filter_hot_pixels(image, 50)
    assert found[0, 2, 2] == 40 and found[1, 0, 0] == 0
    found[0, 2, 2], found[1, 0, 0] = 100, 51
    assert np.array_equal(found, kept) and np.array_equal(image, kept)


def test_pixels_that_were_not_measured_stay_so():
    image = np.full((1, 3, 3), np.nan, "f4")
    image[0, 1, 1] = 500
    assert np.array_equal(filter_hot_pixels(image, 50), image, equal_nan=True)
    image[0, 0, 0] = 10
    found = filter_hot_pixels(image, 50)
    assert found[0, 1, 1] == 10 and np.isnan(found).sum() == 7


def test_equal_to_published_images(shared_data):
    folder = shared_data / "imc_hyperion"
    for path in sorted((folder / "raw").glob("*/*.mcd")):
        for region in mcd.read_slide(path).regions:
            theirs = tifffile.imread(folder / "steinbock" / "img" / f"{region.id}.tiff")
            assert np.array_equal(filter_hot_pixels(region.image.numpy()[:, 0], 50), theirs)
