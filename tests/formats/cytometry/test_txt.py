"""Text files of imaging mass cytometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.formats.cytometry import make

from timelens.errors import FormatError, UsageError
from timelens.formats.cytometry import txt
from timelens.study.image import Image


@pytest.fixture
def image(rng):
    return rng.poisson(3, (2, 4, 5)).astype("f4")


def edited(folder, image, old, new, count=1):
    text = make.text_of(image)
    assert old in text
    path = folder / "a.txt"
    path.write_text(text.replace(old, new, count))
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Start_push", "Begin", "Not a text file of imaging mass cytometry"),
        ("Pr141_CD8(Pr141Di)", "CD8", "names no metal"),
        ("Pr141Di", "Ir191Di", "stands in two columns"),
        ("\n5\t6\t1\t0\t1", "\n5\t6\t1\tzero\t1", "not made of numbers. .*line 7"),
        ("\n5\t6\t1\t0\t1", "\n5\t6\t1\t0", "not made of numbers. .*line 7"),
        ("\n5\t6\t1\t0\t1", "\n5\t6\t1\tnan\t1", "not made of numbers. .*line 7"),
        ("\n5\t6\t1\t0\t1", "\n5\t6\t1\t0.5\t1", "not whole numbers"),
        ("\n5\t6\t1\t0\t1", "\n5\t6\t1\t-1\t1", "not whole numbers"),
        ("\n5\t6\t1\t0\t1", "\n5\t6\t1\t0\t900000", "More than the last line"),
        ("\n5\t6\t1\t0\t1", "\n5\t6\t1\t0\t0", "comes twice"),
    ],
)
def test_damaged_files_are_refused_by_line(tmp_path, image, old, new, said):
    with pytest.raises(FormatError, match=said.replace(". .*", r"(?s:.*)")):
        txt.read(edited(tmp_path, image, old, new))


def test_negative_counts_and_no_rows_are_refused(tmp_path, image):
    image[0, 1, 1] = -1
    path = tmp_path / "a.txt"
    path.write_text(make.text_of(image))
    with pytest.raises(FormatError, match="negative"):
        txt.read(path)
    path.write_text(make.text_of(image).splitlines()[0] + "\n")
    with pytest.raises(FormatError, match="holds no pixel"):
        txt.read(path)


def test_a_region_from_text(tmp_path, image):
    path = tmp_path / "a.txt"
    path.write_text(make.text_of(image))
    found = txt.read(path, pixel_size_um=0.5, subject="s")
    assert np.array_equal(found.image.numpy()[:, 0], image)
    assert found.image.geometry.spacing[1:] == pytest.approx((5e-4, 5e-4)) and found.image.geometry.frame is None
    assert found.image.axes[0].coordinates == ("Ir191", "Pr141") and found.subject == "s"
    assert not any("size of a pixel" in p.message for p in found.problems)
    assert any("size of a pixel" in p.message for p in txt.read(path).problems)


def test_a_cut_last_line_is_nan_and_reported(tmp_path, image):
    path = tmp_path / "a.txt"
    path.write_text(make.text_of(image)[:-3])
    found = txt.read(path)
    values = found.image.numpy()[:, 0]
    assert np.isnan(values[:, 3, 4]).all() and np.array_equal(values[:, :3], image[:, :3])
    assert {"The last line was cut and is left out", "Part of the raster is missing and NaN"} <= {
        p.message for p in found.problems
    }


def test_a_region_goes_out_and_comes_back(tmp_path, image):
    first = txt.read(edited(tmp_path, image, "X", "X"), pixel_size_um=1.0)
    again = txt.read(txt.write(first, tmp_path / "again.txt"), pixel_size_um=1.0)
    np.testing.assert_allclose(again.image.numpy(), first.image.numpy(), atol=5.1e-4)
    assert again.image.axes[0].coordinates == first.image.axes[0].coordinates
    assert again.extra["channel_labels"] == first.extra["channel_labels"]


def test_what_no_text_file_can_hold_is_refused(tmp_path, image):
    first = txt.read(edited(tmp_path, image, "X", "X"), pixel_size_um=1.0)
    with pytest.raises(UsageError, match="no metal"):
        txt.write(replace(first, extra={"channel_labels": ("a", "b\tc")}), tmp_path / "a.txt")
    values = first.image.numpy().copy()
    values[:, 0, 0, 0] = np.nan
    old = first.image
    holed = Image(values, unit=old.unit, axes=old.axes, geometry=old.geometry)
    with pytest.raises(UsageError, match="before the end"):
        txt.write(replace(first, data=holed), tmp_path / "a.txt")
