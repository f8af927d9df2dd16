"""Plain TIFF with a panel, and cell masks."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from timelens.errors import FormatError, GeometryError, UsageError
from timelens.formats.cytometry import raster, tiff
from timelens.formats.cytometry.panel import Panel

PANEL = Panel(("Ir191", "Pr141"), ("DNA1", "CD8"))
GRID = raster.place_on_slide((4, 5))


def test_images_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "a.tiff"
    path.write_bytes(b"II*\0 and nothing")
    with pytest.raises(FormatError, match="damaged"):
        tiff.read(path, panel=PANEL, pixel_size_um=1)
    tifffile.imwrite(path, np.zeros((3, 4, 5), "f4"), photometric="minisblack")
    with pytest.raises(FormatError, match="other channels than the panel"):
        tiff.read(path, panel=PANEL, pixel_size_um=1)
    with pytest.raises(UsageError, match="positive size"):
        tiff.read(path, panel=PANEL, pixel_size_um=0)


def test_a_picture_that_claims_too_much_is_refused(tmp_path):
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, np.zeros((64, 64), "u2"))
    data = path.read_bytes()
    path.write_bytes(data[:-4000])
    with pytest.raises(FormatError, match=r"claims more data|damaged"):
        tiff.read_mask(path, geometry=raster.place_on_slide((64, 64)))


def test_channels_bear_the_panel(tmp_path, rng):
    values = rng.random((2, 4, 5), dtype="f4")
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, values, photometric="minisblack")
    found = tiff.read(path, panel=PANEL, pixel_size_um=0.65)
    assert np.array_equal(found.image.numpy()[:, 0], values)
    assert found.extra["channel_labels"] == ("DNA1", "CD8")
    assert found.image.geometry.spacing[1:] == pytest.approx((6.5e-4, 6.5e-4))


@pytest.mark.parametrize(
    ("mask", "error", "said"),
    [
        (np.zeros((4, 6), "u2"), GeometryError, "another size"),
        (np.full((4, 5), 0.5, "f4"), FormatError, "whole numbers"),
        (np.full((4, 5), -1, "i4"), FormatError, "whole numbers"),
        (np.full((4, 5), np.nan, "f4"), FormatError, "whole numbers"),
    ],
)
def test_masks_that_are_none_are_refused(tmp_path, mask, error, said):
    path = tmp_path / "m.tiff"
    tifffile.imwrite(path, mask)
    with pytest.raises(error, match=said):
        tiff.read_mask(path, geometry=GRID)


@pytest.mark.parametrize("highest", [7, 70000])
def test_masks_go_out_and_come_back(tmp_path, rng, highest):
    labels = rng.integers(0, 4, (4, 5))
    labels[2, 2] = highest
    region = tiff.read_mask(tiff.write_mask(labels, tmp_path / "m.tiff"), geometry=GRID)
    assert np.array_equal(region.labels.numpy()[0], labels)
    assert sorted(region.names) == sorted(set(np.unique(labels)) - {0})
    with pytest.raises(UsageError, match="whole numbers"):
        tiff.write_mask(np.full((2, 2), -1), tmp_path / "n.tiff")


def test_whole_numbers_stored_as_floats_are_a_mask(tmp_path):
    path = tmp_path / "m.tiff"
    tifffile.imwrite(path, np.arange(20, dtype="f4").reshape(4, 5))
    assert len(tiff.read_mask(path, geometry=GRID).names) == 19
