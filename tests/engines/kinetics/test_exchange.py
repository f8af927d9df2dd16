"""Models of contrast agent against their differential equations, OSIPI's curves and their own intervals."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.linalg import expm

from timelens.engines.kinetics import Frames, InputFunction, Reason, WithDelay, convolve_exponential, frame_values
from timelens.engines.kinetics.exchange import (
    ExtendedTofts,
    ReferenceRegion,
    Tofts,
    TwoCompartmentExchange,
    TwoCompartmentUptake,
)
from timelens.engines.kinetics.exchange_linear import (
    LinearExchange,
    LinearExtendedTofts,
    LinearReferenceRegion,
    LinearTofts,
    PatlakUptake,
)
from timelens.errors import DataError, UsageError

MINUTE = 60.0
#: OSIPI's column, our name, the factor to its unit, and its tolerance (absolute, relative).
COLUMNS = {
    "ve": ("v_e", 1.0, 0.05, 0.0),
    "vp": ("v_p", 1.0, 0.025, 0.0),
    "Ktrans": ("k_trans", MINUTE, 0.005, 0.1),
    "ps": ("ps", MINUTE, 0.005, 0.1),
    "fp": ("f_p", 100 * MINUTE, 5.0, 0.1),
}
Case = tuple[dict[str, str], Frames, np.ndarray, InputFunction, float]


@pytest.fixture(scope="session")
def fast() -> tuple[Frames, InputFunction]:
    """Samples every 1.5 s for 5 minutes, and a bolus in plasma at 20 s."""
    t = np.arange(0, 300, 1.5)
    dense = np.arange(0, 300, 0.5)
    late = np.maximum(dense - 20, 0)
    return Frames.instants(t), InputFunction(
        dense, 0.8 * late * np.exp(-late / 6) + 1.1 * -np.expm1(-late / 8) * np.exp(-late / 600), "plasma", "mmol/L"
    )


def exchanged(fast: tuple[Frames, InputFunction], f_p: float, ps: float, v_p: float, v_e: float) -> np.ndarray:
    """Tissue from the eigenvalues of the two compartments' matrix, checked against its exponential."""
    frames, plasma = fast
    matrix = np.array([[-(f_p + ps) / v_p, ps / v_e], [ps / v_p, -ps / v_e]])
    values, vectors = np.linalg.eig(matrix)
    parts = vectors.sum(axis=0) * np.linalg.solve(vectors, np.array([f_p, 0.0]))
    assert parts @ np.exp(7.0 * values) == pytest.approx((expm(7.0 * matrix) @ [f_p, 0.0]).sum(), rel=1e-9)
    return convolve_exponential(plasma.times, plasma.values, -values, frames) @ parts


def test_tofts_and_extended_tofts(fast: tuple[Frames, InputFunction]) -> None:
    frames, plasma = fast
    for k_trans, v_e, v_p in [(0.25, 0.3, 0.0), (0.05, 0.1, 0.03), (1.0, 0.5, 0.1)]:
        k_ep = k_trans / MINUTE / v_e
        tissue = k_trans / MINUTE * convolve_exponential(plasma.times, plasma.values, k_ep, frames)
        plain = Tofts(frames, plasma).fit(tissue)
        assert plain.parameters["k_trans"] == pytest.approx(k_trans / MINUTE, rel=1e-5)
        assert plain.parameters["v_e"] == pytest.approx(v_e, rel=1e-5)
        tissue += v_p * frame_values(plasma.times, plasma.values, frames)
        fit = ExtendedTofts(frames, plasma).fit(tissue)
        assert fit.parameters["k_trans"] == pytest.approx(k_trans / MINUTE, rel=1e-5)
        assert fit.parameters["k_ep"] == pytest.approx(k_ep, rel=1e-5)
        assert fit.parameters["v_p"] == pytest.approx(v_p, abs=1e-7)
        assert fit.parameters["v_e"] == pytest.approx(v_e, rel=1e-5)


def test_exchange_and_uptake(fast: tuple[Frames, InputFunction]) -> None:
    frames, plasma = fast
    for f_p, ps, v_p, v_e in [(0.3, 0.1, 0.05, 0.2), (0.8, 0.03, 0.1, 0.1), (0.15, 0.2, 0.03, 0.4)]:
        fit = TwoCompartmentExchange(frames, plasma).fit(exchanged(fast, f_p / MINUTE, ps / MINUTE, v_p, v_e))
        expected = {"f_p": f_p / MINUTE, "ps": ps / MINUTE, "v_p": v_p, "v_e": v_e}
        expected["k_trans"] = f_p * ps / (f_p + ps) / MINUTE
        for name, value in expected.items():
            assert fit.parameters[name] == pytest.approx(value, rel=2e-4), name
        tissue = exchanged(fast, f_p / MINUTE, ps / MINUTE, v_p, 1e6)
        fit = TwoCompartmentUptake(frames, plasma).fit(tissue)
        for name in ("f_p", "ps", "v_p", "k_trans"):
            assert fit.parameters[name] == pytest.approx((expected | {"v_e": 1e6})[name], rel=2e-4), name


def test_linear_forms_agree(fast: tuple[Frames, InputFunction]) -> None:
    """Noise-free, they differ from the truth by the trapezoids of the tissue only."""
    frames, plasma = fast
    tissue = exchanged(fast, 0.3 / MINUTE, 0.1 / MINUTE, 0.05, 0.2)
    fit = LinearExchange(frames, plasma).fit(tissue)
    for name, value in {"f_p": 0.3 / MINUTE, "ps": 0.1 / MINUTE, "v_p": 0.05, "v_e": 0.2}.items():
        assert fit.parameters[name] == pytest.approx(value, rel=0.03), name
    seen = frame_values(plasma.times, plasma.values, frames)
    kept = 0.2 / MINUTE * convolve_exponential(plasma.times, plasma.values, 0.01, frames)
    assert LinearTofts(frames, plasma).fit(kept).parameters["k_trans"] == pytest.approx(0.2 / MINUTE, rel=2e-3)
    fit = LinearExtendedTofts(frames, plasma).fit(kept + 0.05 * seen)
    assert fit.parameters["k_trans"] == pytest.approx(0.2 / MINUTE, rel=5e-3)
    assert fit.parameters["v_p"] == pytest.approx(0.05, rel=5e-3)
    trapped = 0.02 / MINUTE * convolve_exponential(plasma.times, plasma.values, 0.0, frames) + 0.04 * seen
    fit = PatlakUptake(frames, plasma).fit(trapped)
    assert fit.parameters["ps"] == pytest.approx(0.02 / MINUTE, rel=1e-9)
    assert fit.parameters["v_p"] == pytest.approx(0.04, rel=1e-9)


def test_reference_region(fast: tuple[Frames, InputFunction]) -> None:
    frames, plasma = fast
    muscle = InputFunction(
        plasma.times,
        0.1
        / MINUTE
        * convolve_exponential(plasma.times, plasma.values, 0.1 / MINUTE / 0.08, Frames.instants(plasma.times)),
        "reference",
    )
    tumour = 0.3 / MINUTE * convolve_exponential(plasma.times, plasma.values, 0.3 / MINUTE / 0.4, frames)
    expected = {"k_trans_ratio": 3.0, "v_e_ratio": 5.0, "k_ep": 0.75 / MINUTE, "k_ep_reference": 1.25 / MINUTE}
    fit = ReferenceRegion(frames, muscle).fit(tumour)
    line = LinearReferenceRegion(frames, frame_values(muscle.times, muscle.values, frames)).fit(tumour)
    for name, value in expected.items():
        assert fit.parameters[name] == pytest.approx(value, rel=2e-3), name
        assert line.parameters[name] == pytest.approx(value, rel=0.01), name


@pytest.mark.parametrize("model", [ExtendedTofts, TwoCompartmentExchange])
def test_intervals_cover_the_truth(
    model: Callable[..., Any], fast: tuple[Frames, InputFunction], rng: np.random.Generator
) -> None:
    frames, plasma = fast
    if model is ExtendedTofts:
        truth = {"k_trans": 0.2 / MINUTE, "v_p": 0.05, "v_e": 0.25}
        clean = truth["k_trans"] * convolve_exponential(plasma.times, plasma.values, 0.8 / MINUTE, frames)
        clean += 0.05 * frame_values(plasma.times, plasma.values, frames)
    else:
        truth = {"f_p": 0.3 / MINUTE, "v_p": 0.06, "v_e": 0.2, "ps": 0.08 / MINUTE}
        clean = exchanged(fast, truth["f_p"], truth["ps"], truth["v_p"], truth["v_e"])
    fit = model(frames, plasma).map(clean[:, None] + rng.normal(0, 0.01, (len(frames), 2000)), dtype=np.float64)
    for name, value in truth.items():
        low, high = fit.interval(0.95, parameter=name, method="wald")
        assert 0.93 <= np.mean((low <= value) & (value <= high)) <= 0.97, name


def test_voxels_without_a_curve(fast: tuple[Frames, InputFunction]) -> None:
    frames, plasma = fast
    data = exchanged(fast, 0.3 / MINUTE, 0.1 / MINUTE, 0.05, 0.2)[:, None] * np.ones(3)
    data[:, 1] = 0.0
    data[30, 2] = np.nan
    for model in (
        Tofts,
        ExtendedTofts,
        TwoCompartmentExchange,
        TwoCompartmentUptake,
        LinearExtendedTofts,
        PatlakUptake,
    ):
        fit = model(frames, plasma).map(data)
        assert fit.reason[1:].tolist() == [Reason.NO_SIGNAL, Reason.NON_FINITE], model.__name__
        assert np.isnan(fit.parameters[fit.main][1:]).all()
        assert np.isfinite(fit.parameters[fit.main][0])


def test_refusals(fast: tuple[Frames, InputFunction]) -> None:
    frames, plasma = fast
    with pytest.raises(DataError, match=r"reference region is no plasma input"):
        Tofts(frames, InputFunction(plasma.times, plasma.values, "reference"))
    with pytest.raises(DataError, match=r"ends before the frames do"):
        ExtendedTofts(Frames.instants(np.arange(0, 400, 2.0)), plasma)
    with pytest.raises(DataError, match=r"one value per frame"):
        ExtendedTofts(frames, plasma).fit(np.ones(7))
    with pytest.raises(UsageError, match=r"Unknown solver"):
        Tofts(frames, plasma, solver="guess")


def cases(folder: Path, name: str) -> list[Case]:
    """OSIPI's rows: truth, times, tissue, plasma and delay."""
    found = []
    for row in csv.DictReader((folder / "osipi_dce_dsc" / "DCEmodels" / name).open()):
        new = "ca" in row
        t, tissue = (np.array(row[key].split(), float) for key in ("t", "C" if new else "C_t"))
        at = np.array(row["ta"].split(), float) if new else t
        plasma = InputFunction(at, np.array(row["ca" if new else "cp_aif"].split(), float), "plasma", "mmol/L")
        delay = float(row["arterialdelay" if new else "arterial_delay"])
        found.append((row, Frames.instants(t), tissue, plasma, delay))
    return found


def excess(row: dict[str, str], fit: Any) -> float:
    """Largest error of a row in its tolerances."""
    worst = 0.0
    for column, (name, scale, absolute, relative) in COLUMNS.items():
        if column in row and name in fit.parameters:
            truth = float(row[column])
            error = abs(float(fit.parameters[name]) * scale - truth)
            worst = max(worst, error / (absolute + relative * truth))
    return worst


@pytest.mark.parametrize(
    ("file", "count", "models"),
    [
        ("dce_DRO_data_tofts.csv", 25, [Tofts, LinearTofts]),
        ("dce_DRO_data_extended_tofts.csv", 15, [ExtendedTofts, LinearExtendedTofts]),
        ("patlak_sd_0.02_delay_0.csv", 9, [PatlakUptake]),
        ("2cxm_sd_0.001_delay_0.csv", 24, [TwoCompartmentExchange, LinearExchange]),
        ("2cxm_sd_0.001_delay_5.csv", 24, [TwoCompartmentExchange, LinearExchange]),
    ],
)
def test_every_published_row_with_its_delay(
    shared_data: Path, file: str, count: int, models: list[Callable[..., Any]]
) -> None:
    found = cases(shared_data, file)
    assert len(found) == count
    for model in models:
        for row, frames, tissue, plasma, delay in found:
            fit = model(frames, plasma.shifted(delay)).fit(tissue)
            assert excess(row, fit) <= 1, row["label"]
            if "highSNR" in row["label"]:
                assert fit.parameters["k_trans"] * MINUTE == pytest.approx(float(row["Ktrans"]), rel=0.01)
                assert fit.parameters["v_e"] == pytest.approx(float(row["ve"]), rel=0.01)


@pytest.mark.parametrize(
    ("file", "model", "outside"),
    [
        ("dce_DRO_data_tofts.csv", Tofts, set()),
        ("dce_DRO_data_extended_tofts.csv", ExtendedTofts, set()),
        ("2cxm_sd_0.001_delay_5.csv", TwoCompartmentExchange, {"case_14_delayed"}),
    ],
)
def test_published_rows_by_the_dictionary(
    shared_data: Path, file: str, model: Callable[..., Any], outside: set[str]
) -> None:
    """All but the one row whose volumes the data do not tell apart."""
    found = set()
    for row, frames, tissue, plasma, delay in cases(shared_data, file):
        fit = model(frames, plasma.shifted(delay), solver="dictionary").fit(tissue)
        exact = model(frames, plasma.shifted(delay)).fit(tissue)
        assert fit.weighted_rss >= exact.weighted_rss * (1 - 1e-9)
        assert not int(fit.reason) & int(Reason.NOT_CONVERGED)
        if excess(row, fit) > 1:
            found.add(row["label"])
    assert found == outside


def freely(case: Case) -> tuple[dict[str, str], Any, float]:
    """A row fitted with its delay unknown, and the largest error in its own standard errors."""
    row, frames, tissue, plasma, _ = case
    fit = WithDelay(lambda d: TwoCompartmentExchange(frames, plasma.shifted(d)), bounds=(-3.0, 9.0), step=1.5).fit(
        tissue
    )
    off = [
        abs(float(fit.parameters[name]) * scale - float(row[column])) / (float(fit.standard_errors[name]) * scale)
        for column, (name, scale, *_) in COLUMNS.items()
        if column in row
    ]
    return row, fit, max(off)


def test_published_rows_with_a_free_delay(shared_data: Path) -> None:
    for case in cases(shared_data, "2cxm_sd_0.001_delay_5.csv")[:4]:
        row, fit, _ = freely(case)
        assert excess(row, fit) <= 1, row["label"]
        assert fit.parameters["delay"] == pytest.approx(5.0, abs=1.0)


@pytest.mark.slow
def test_all_exchange_rows_with_a_free_delay(shared_data: Path) -> None:
    """46 of 48 within the tolerance, the rest within 3.5 of their own standard errors."""
    outside = 0
    for file in ("2cxm_sd_0.001_delay_0.csv", "2cxm_sd_0.001_delay_5.csv"):
        for case in cases(shared_data, file):
            row, fit, off = freely(case)
            if excess(row, fit) > 1 or abs(float(fit.parameters["delay"]) - case[4]) > 1:
                outside += 1
                assert off < 3.5, row["label"]
    assert outside <= 2
