"""Signal to concentration: published values, the way there and back, and every reason for having none."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from timelens.engines.mr_signal import (
    SignalReason,
    explain_signal,
    gradient_echo_concentration,
    spoiled_gradient_echo,
    with_contrast,
)
from timelens.errors import DataError

SETTINGS = {"tr": 0.005, "flip": 15.0, "relaxivity": 4.5}


def test_published_concentrations(shared_data: Path) -> None:
    """OSIPI's test curves; their baseline leaves out the first point."""
    file = shared_data / "osipi_dce_dsc" / "SI_to_Conc" / "SI2Conc_data.csv"
    rows = list(csv.DictReader(file.open(encoding="utf-8-sig")))
    assert len(rows) == 5
    for row in rows:
        found = gradient_echo_concentration(
            np.array(row["s"].split(), float),
            float(row["T1base"]),
            tr=float(row["TR"]),
            flip=float(row["FA"]),
            relaxivity=float(row["r1"]),
            baseline=slice(1, int(row["numbaselinepts"])),
        )
        expected = np.array(row["conc"].split(), float)
        np.testing.assert_allclose(found.values, expected, rtol=1e-5, atol=1e-5)


def test_there_and_back_with_maps(rng: np.random.Generator) -> None:
    truth = np.concatenate([np.zeros((3, 4, 5)), rng.uniform(-0.05, 8, (20, 4, 5))])
    t1, b1 = rng.uniform(0.4, 2.5, (4, 5)), rng.uniform(0.7, 1.3, (4, 5))
    signal = spoiled_gradient_echo(
        rng.uniform(100, 900, (4, 5)), with_contrast(1 / t1, 4.5, truth), flip=15.0 * b1, tr=0.005
    )
    found = gradient_echo_concentration(signal, t1, baseline=slice(0, 3), b1=b1, **SETTINGS)
    np.testing.assert_allclose(found.values, truth, atol=1e-9)
    assert not found.reason.any()
    np.testing.assert_allclose(found.baseline, signal[0])


def test_noise_below_the_baseline_stays_negative() -> None:
    found = gradient_echo_concentration(np.array([100.0, 100.0, 98.0]), 1.0, baseline=slice(0, 2), **SETTINGS)
    assert found.values[2] < 0
    assert found.reason == 0


def test_brighter_than_full_relaxation_has_no_concentration() -> None:
    limit = spoiled_gradient_echo(1.0, 1e9, flip=15.0, tr=0.005) / spoiled_gradient_echo(1.0, 1.0, flip=15.0, tr=0.005)
    signal = np.array([[1.0, 1.0], [1.0, 1.0], [limit * 0.999, limit * 1.001], [2.0, 2.0]])
    found = gradient_echo_concentration(signal, 1.0, baseline=slice(0, 2), **SETTINGS)
    assert np.isfinite(found.values[:, 0]).all()
    assert np.isnan(found.values[2, 1])
    assert np.isfinite(found.values[3, 1])
    assert found.reason.tolist() == [0, SignalReason.ABOVE_LIMIT]
    assert "brighter than full relaxation" in explain_signal(found.reason[1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"signal": np.nan}, SignalReason.NON_FINITE),
        ({"signal": -1.0}, SignalReason.BELOW_ZERO),
        ({"signal": 0.0}, SignalReason.BELOW_ZERO),
        ({"t1": np.nan}, SignalReason.NO_T1),
        ({"t1": 0.0}, SignalReason.NO_T1),
        ({"b1": -0.5}, SignalReason.NO_T1),
        ({"b1": 12.5}, SignalReason.NO_T1),
        ({"baseline": 0.0}, SignalReason.NO_BASELINE),
    ],
)
def test_reasons(change: dict[str, float], reason: SignalReason) -> None:
    signal = np.full((5, 2), 10.0)
    signal[3, 1] = change.get("signal", 10.0)
    signal[:2, 1] = change.get("baseline", 10.0)
    t1, b1 = np.array([1.0, change.get("t1", 1.0)]), np.array([1.0, change.get("b1", 1.0)])
    found = gradient_echo_concentration(signal, t1, baseline=slice(0, 2), b1=b1, **SETTINGS)
    assert found.reason[0] == 0
    assert found.reason[1] & reason
    assert np.isnan(found.values[3, 1])
    assert np.isfinite(found.values[:, 0]).all()


def test_refusals() -> None:
    signal = np.ones((5, 3))
    with pytest.raises(DataError, match=r"no frame before contrast"):
        gradient_echo_concentration(signal, 1.0, baseline=slice(0, 0), **SETTINGS)
    with pytest.raises(DataError, match=r"T1 must have the shape.*resample"):
        gradient_echo_concentration(signal, np.ones(4), baseline=slice(0, 2), **SETTINGS)
    with pytest.raises(DataError, match=r"T1 must be positive"):
        gradient_echo_concentration(signal, -1.0, baseline=slice(0, 2), **SETTINGS)
    with pytest.raises(DataError, match=r"relaxivity must be positive"):
        gradient_echo_concentration(signal, 1.0, baseline=slice(0, 2), tr=0.005, flip=10.0, relaxivity=0.0)
    with pytest.raises(DataError, match=r"needs frames"):
        gradient_echo_concentration(3.0, 1.0, baseline=slice(0, 2), **SETTINGS)
