"""The input measured in the image is the one that was put there."""

from __future__ import annotations

import numpy as np
import pytest
from tests.lenses.mri.test_relaxometry import grid

from timelens.engines.perfusion import parker
from timelens.errors import DataError
from timelens.lenses.mri.arterial import measured_input
from timelens.study.axes import default_names
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

START = 2.0 * np.arange(100)
MIDDLE = START + 1.0


@pytest.fixture
def series(rng: np.random.Generator) -> Image:
    """900 voxels of slow tissue, 25 of them an artery."""
    late = np.maximum(MIDDLE - 30, 0)
    tissue = -np.expm1(-late / 60) * np.exp(-late / 900)
    curves = tissue[:, None] * rng.uniform(0.1, 0.5, 900)
    curves[:, :25] = parker(MIDDLE, delay=20.0)[:, None]
    curves += rng.normal(0, 0.02, curves.shape)
    return Image(
        curves.reshape(100, 1, 30, 30), unit="mmol/L", axes=default_names(4), geometry=grid(2.0, (1, 30, 30)),
        frames=FrameTiming(START, np.full(100, 2.0)),
    )  # fmt: skip


def test_searched_and_drawn_agree(series: Image) -> None:
    region = np.zeros((1, 30, 30), bool)
    region[0, 0, :25] = True
    drawn, said = measured_input(series, haematocrit=0.4, region=region)
    found, choice = measured_input(series, haematocrit=0.4)
    assert (choice.mask <= region).all()
    assert said.voxels == 25
    truth = parker(MIDDLE, delay=20.0) / 0.6
    np.testing.assert_allclose(drawn.values[:100], truth, atol=0.04)
    np.testing.assert_allclose(found.values[:100], truth, atol=0.15)
    assert drawn.kind == "plasma"
    assert drawn.times[-1] == pytest.approx(200.0)
    assert said.early > 0 and said.peak_to_baseline > 50


def test_saturated_voxels_are_left_out(series: Image) -> None:
    data = series.numpy().copy()
    data[15, 0, 0, :5] = np.nan
    region = np.zeros((1, 30, 30), bool)
    region[0, 0, :25] = True
    broken = Image(data, unit="mmol/L", axes=series.axes, geometry=series.geometry, frames=series.frames)
    _, choice = measured_input(broken, haematocrit=0.4, region=region)
    assert choice.voxels == 20
    only = np.zeros_like(region)
    only[0, 0, :5] = True
    with pytest.raises(DataError, match=r"5 voxels, 0 of them complete.*not saturated"):
        measured_input(broken, haematocrit=0.4, region=only)


def test_refusals(series: Image) -> None:
    with pytest.raises(DataError, match=r"shape of a frame"):
        measured_input(series, haematocrit=0.4, region=np.ones((2, 2), bool))
    with pytest.raises(DataError, match=r"divide percent by 100"):
        measured_input(series, haematocrit=40)
    with pytest.raises(DataError, match=r"concentration series"):
        measured_input(series.with_info(unit="1/s"), haematocrit=0.4)
