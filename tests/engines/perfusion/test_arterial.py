"""Published arterial inputs against the values that others computed from them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from timelens.engines.perfusion import georgiou, mcgrath_mouse, parker, plasma_from_blood, population_input
from timelens.errors import DataError, UsageError


def table(shared_data: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    file = shared_data / "osipi_dce_dsc" / "PopulationAIF_DCE" / f"{name}.csv"
    rows = list(csv.DictReader(file.open()))
    columns = (np.array([float(row.get(key, 0.0)) for row in rows]) for key in ("time", "Cb", "delay"))
    return np.array([row["label"] for row in rows]), *columns


@pytest.mark.parametrize(
    ("name", "curve", "unit"),
    [
        ("ParkerAIF_ref", parker, 60.0),
        ("GeorgiouAIF_ref", georgiou, 60.0),
        ("preclinicalAIF_ref", mcgrath_mouse, 1.0),
    ],
)
def test_published_values(shared_data: Path, name: str, curve: object, unit: float) -> None:
    labels, times, values, _ = table(shared_data, name)
    for label in np.unique(labels):
        here = labels == label
        found = curve(times[here] * unit)
        if name.startswith("Georgiou") and label != "original_AIF":
            # These are the sampled curve read at other times; between its samples it is a straight line.
            np.testing.assert_allclose(found, values[here], atol=2e-3, rtol=1e-3)
        else:
            np.testing.assert_allclose(found, values[here], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "curve", "unit"),
    [("ParkerAIF_ref_with_delay", parker, 60.0), ("preclinicalAIF_ref_delay", mcgrath_mouse, 1.0)],
)
def test_published_delays(shared_data: Path, name: str, curve: object, unit: float) -> None:
    """OSIPI's tolerance for delays is 0.1 mmol/L and 10 %; their curve is shifted by whole samples."""
    labels, times, values, delays = table(shared_data, name)
    for label in np.unique(labels):
        here = labels == label
        found = curve(times[here] * unit, delay=float(delays[here][0]))
        assert (np.abs(found - values[here]) <= 0.1 + 0.1 * values[here]).mean() == 1.0, label


def test_delay_is_a_shift() -> None:
    t = np.arange(0, 200, 0.5)
    for curve in (parker, georgiou, mcgrath_mouse):
        np.testing.assert_allclose(curve(t + 12.5, delay=12.5), curve(t), rtol=1e-9)
        assert (curve(t, delay=30.0)[t < 30] == 0).all()


def test_plasma() -> None:
    np.testing.assert_allclose(plasma_from_blood([0.55, 1.1], 0.45), [1.0, 2.0])
    found = population_input("parker", 300.0, haematocrit=0.42, delay=20.0, dose=2.0)
    assert found.kind == "plasma"
    assert found.at(120.0) == pytest.approx(2 * float(parker(100.0)) / 0.58, rel=1e-3)


def test_refusals() -> None:
    with pytest.raises(DataError, match=r"divide percent by 100"):
        plasma_from_blood([1.0], 45.0)
    with pytest.raises(UsageError, match=r"Unknown input"):
        population_input("fritz", 300.0, haematocrit=0.4)
    with pytest.raises(DataError, match=r"must be numbers"):
        parker([0.0, np.nan])
    with pytest.raises(UsageError, match=r"must be positive"):
        population_input("parker", -1.0, haematocrit=0.4)
