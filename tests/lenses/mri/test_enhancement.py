"""Curves without a model: numbers of regions, maps, and the error of a time that is known to a frame."""

from __future__ import annotations

import numpy as np
import pytest
from tests.lenses.mri.test_relaxometry import grid

from timelens.lenses.mri.dce_errors import Sureness
from timelens.lenses.mri.enhancement import (
    NAMES,
    enhancement_maps,
    enhancement_numbers,
    enhancement_rows,
    grid_errors,
)
from timelens.study.axes import default_names
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

STEP = 3.0
TIMES = STEP * np.arange(100) + 1.5


def ramp(late: float) -> np.ndarray:
    """Nothing until 31.5 s, up to 1 at 61.5 s, then straight to ``late`` at the end."""
    return np.interp(TIMES, [31.5, 61.5, TIMES[-1]], [0.0, 1.0, late])


@pytest.mark.parametrize(("late", "kind"), [(1.5, 1), (1.05, 2), (0.95, 2), (0.5, 3)])
def test_a_ramp_by_hand(late: float, kind: int) -> None:
    found = {name: float(v[0]) for name, v in enhancement_numbers(TIMES, ramp(late)[:, None]).items()}
    assert found["bolus_arrival"] == pytest.approx(30.0)
    after = (late - 1) / (TIMES[-1] - 61.5)
    areas = {w: 15.0 + (w - 30) + after * (w - 30) ** 2 / 2 for w in (60, 90)}
    assert found["iauc_60"] == pytest.approx(areas[60], rel=1e-6)
    assert found["iauc_90"] == pytest.approx(areas[90], rel=1e-6)
    assert found["curve_type"] == kind
    if late < 1:
        assert found["time_to_peak"] == pytest.approx(30.0)
        assert found["wash_in"] == pytest.approx(1 / 30)
        assert found["wash_out"] == pytest.approx(after)


def test_a_flat_curve_and_a_short_series_have_no_number() -> None:
    flat = enhancement_numbers(TIMES, np.zeros((100, 1)))
    assert all(np.isnan(flat[name][0]) for name in NAMES) and flat["curve_type"][0] == 0
    short = enhancement_numbers(TIMES[:35], ramp(0.5)[:35, None])
    assert np.isfinite(short["iauc_60"][0]) and np.isnan(short["iauc_90"][0])
    sure = Sureness({n: np.full(1, 0.1) for n in NAMES}, {n: np.full(1, 19.0) for n in NAMES}, {})
    rows = {r.quantity: r for r in enhancement_rows(short, sure, ["tumour"], {"tumour": 9}, method="curve")}
    assert rows["iauc_90"].reason == "the series ends before the window"
    assert rows["iauc_60"].unit == "mmol.s/L" and rows["iauc_60"].n == 9
    assert rows["iauc_60"].upper - rows["iauc_60"].value == pytest.approx(0.1 * 2.093, rel=1e-3)
    lost = {r.quantity: r for r in enhancement_rows(flat, sure, ["tumour"], {"tumour": 9}, method="curve")}
    assert lost["time_to_peak"].reason == "the curve does not rise" and np.isnan(lost["curve_type"].value)


def test_times_are_known_to_a_frame() -> None:
    found = enhancement_numbers(TIMES, ramp(0.5)[:, None])
    errors = grid_errors(TIMES, found)
    assert errors["bolus_arrival"][0] == pytest.approx(STEP / np.sqrt(12))
    assert errors["time_to_peak"][0] == pytest.approx(STEP / np.sqrt(6))
    assert errors["iauc_60"][0] == 0


def test_maps_hold_the_numbers_of_voxels() -> None:
    curves = np.stack([ramp(1.5), ramp(0.5), np.zeros(100), ramp(1.0)], axis=1).reshape(100, 1, 2, 2)
    series = Image(
        curves, unit="mmol/L", axes=default_names(4), geometry=grid(2.0, (1, 2, 2)),
        frames=FrameTiming(TIMES - 1.5, np.full(100, STEP)),
    )  # fmt: skip
    mask = np.array([[[True, True], [True, False]]])
    maps = enhancement_maps(series, mask)
    assert maps["curve_type"].numpy().ravel().tolist() == [1, 3, 0, 0]
    assert maps["curve_type"].numpy().dtype == np.int32
    assert maps["bolus_arrival"].numpy()[0, 0].tolist() == [30.0, 30.0]
    assert np.isnan(maps["bolus_arrival"].numpy()[0, 1]).all()
    assert all(maps[name].quantity == name for name in (*NAMES, "curve_type"))
