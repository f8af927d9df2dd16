"""Maps of T1 and B1 on the grid of a dynamic series: exact for a ramp, unknown beyond the map, refused elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.mr_signal import SignalReason, explain_signal, gradient_echo_concentration
from timelens.errors import GeometryError, TimelensError
from timelens.lenses.mri.dce import concentration_series
from timelens.study.axes import Axis
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

SHAPE = (4, 10, 12)
GRID = Geometry.from_spacing(SHAPE, (3.0, 2.0, 2.0), frame="body")
SPACE = tuple(Axis(n, "space", "mm") for n in "zyx")
RNG = np.random.default_rng(1)
SIGNAL = 100 * (1 + 0.3 * RNG.random((8, *SHAPE)))


def series() -> Image:
    timing = FrameTiming(np.arange(8.0), np.ones(8))
    return Image(SIGNAL, unit="1", axes=(Axis("t", "time", "s"), *SPACE), geometry=GRID, frames=timing)


def ramp(geometry: Geometry, unit: str = "s", slope: float = 0.01, base: float = 1.0) -> Image:
    """base + slope times the sum of millimetres."""
    grid = np.indices(geometry.shape).reshape(3, -1)
    place = geometry.affine[:3, :3] @ grid + geometry.affine[:3, 3:]
    values = (base + slope * place.sum(axis=0)).reshape(geometry.shape)
    return Image(values * (1000.0 if unit == "ms" else 1.0), unit=unit, geometry=geometry, name="map")


def coarse(frame: str = "body", shape: tuple[int, int, int] = (6, 8, 9)) -> Geometry:
    """Another spacing, shifted by parts of a voxel, around the whole series."""
    return Geometry.from_spacing(shape, (4.1, 3.7, 3.3), origin=(-1.3, -2.1, -3.7), frame=frame)


SETTINGS = {"tr": 0.005, "flip": 15.0, "relaxivity": 4.5, "baseline": slice(0, 3)}


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_a_ramp_of_t1_and_b1_on_another_grid_is_exact(unit: str) -> None:
    t1, b1 = ramp(coarse(), unit), ramp(coarse(), "1", 0.002, 0.9)
    found = concentration_series(series(), t1, b1=b1, **SETTINGS)
    truth = gradient_echo_concentration(
        SIGNAL, ramp(GRID).numpy(), b1=ramp(GRID, "1", 0.002, 0.9).numpy(), **SETTINGS
    ).values
    np.testing.assert_allclose(found.concentration.numpy(), truth, rtol=2e-5, atol=1e-6)
    assert not found.reason.numpy().any()


@pytest.mark.parametrize("which", ["t1", "b1"])
def test_beyond_the_map_there_is_no_concentration_and_a_code(which: str) -> None:
    half = coarse(shape=(6, 8, 4))
    t1 = ramp(half if which == "t1" else coarse())
    b1 = ramp(half, "1", 0.0, 1.0) if which == "b1" else None
    found = concentration_series(series(), t1, b1=b1, **SETTINGS)
    inside = np.isfinite((t1 if which == "t1" else b1).resample_to(GRID).numpy())
    assert 0.1 < inside.mean() < 0.9
    values, reason = found.concentration.numpy(), found.reason.numpy()
    assert np.isfinite(values[:, inside]).all() and np.isnan(values[:, ~inside]).all()
    assert (reason[~inside] == int(SignalReason.NO_T1)).all() and not reason[inside].any()
    assert "T1 before contrast or B1 is missing" in explain_signal(int(SignalReason.NO_T1))


def test_unknown_voxels_of_a_map_do_not_become_zero() -> None:
    """A hole of a map without a fit: its neighbours on the other grid are unknown, and no T1 is made up there."""
    t1 = ramp(coarse())
    values = t1.numpy().copy()
    values[2, 3, 4] = np.nan
    found = concentration_series(series(), Image(values, unit="s", geometry=coarse(), name="map"), **SETTINGS)
    lost = np.isnan(found.concentration.numpy()).all(axis=0)
    assert 0 < lost.sum() < 40
    whole = concentration_series(series(), t1, **SETTINGS).concentration.numpy()
    np.testing.assert_allclose(found.concentration.numpy()[:, ~lost], whole[:, ~lost], rtol=1e-5)


def test_maps_of_another_space_or_unit_are_refused() -> None:
    with pytest.raises(GeometryError, match="one frame of reference"):
        concentration_series(series(), ramp(coarse("another")), **SETTINGS)
    with pytest.raises(GeometryError, match="one frame of reference"):
        concentration_series(series(), ramp(coarse()), b1=ramp(coarse("another"), "1"), **SETTINGS)
    rate = Image(np.ones(SHAPE), unit="/s", geometry=GRID, name="R1")
    with pytest.raises(TimelensError, match="/s"):
        concentration_series(series(), rate, **SETTINGS)
