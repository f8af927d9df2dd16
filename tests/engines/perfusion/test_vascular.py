"""Flow by the vascular model: unbiased at the noise of voxels, with intervals that cover, as its prior says."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engines.perfusion.first_pass import SAMPLED, STEP, TIMES, tissue

from timelens.engines.kinetics import Reason
from timelens.engines.perfusion import VascularModel
from timelens.errors import DataError, UsageError

PHANTOM = {"haematocrit_factor": 1.0, "density": 1.0}


@pytest.fixture(scope="module")
def model() -> VascularModel:
    return VascularModel(TIMES, SAMPLED, **PHANTOM)


def noisy(clean: np.ndarray, part: float, count: int, rng: np.random.Generator) -> np.ndarray:
    return clean[:, None] + rng.normal(0, part * clean.max(), (clean.size, count))


def test_voxels_without_a_curve(model: VascularModel) -> None:
    data = tissue(0.04, 6.0)[:, None] * np.array([1.0, 0.0, 1.0, -1.0, 1.0])
    data[7, 2] = np.nan
    mask = np.array([True, True, True, True, False])
    found = model.fit(data, mask=mask)
    expected = [0, Reason.NO_SIGNAL, Reason.NON_FINITE, Reason.NOT_PHYSICAL, Reason.NOT_SELECTED]
    assert found.reason.tolist() == expected
    for values in (*found.parameters.values(), *found.standard_errors.values()):
        assert np.isnan(values).tolist() == [False, True, True, True, True]


def test_refusals(model: VascularModel) -> None:
    with pytest.raises(UsageError, match=r"Ranges must ascend"):
        VascularModel(TIMES, SAMPLED, mtt=(10.0, 2.0))
    with pytest.raises(UsageError, match=r"positive width"):
        VascularModel(TIMES, SAMPLED, prior_mtt=(8.0, 0.0))
    with pytest.raises(DataError, match=r"even distances"):
        VascularModel(TIMES**1.1, SAMPLED)
    with pytest.raises(DataError, match=r"one value per frame"):
        model.fit(np.ones((5, 2)))


@pytest.mark.parametrize("delay", [-1.0, 0.0, 3.0])
def test_without_noise_the_truth_is_found(model: VascularModel, delay: float) -> None:
    for shape, mtt in ((1.0, 5.0), (3.0, 9.0), (8.0, 20.0)):
        found = model.fit(tissue(0.04, mtt, shape=shape, delay=delay), curves=True)
        assert found.parameters["cbf"] == pytest.approx(240 / mtt, rel=0.015)
        assert found.parameters["cbv"] == pytest.approx(4.0, rel=0.005)
        assert found.parameters["delay"] == pytest.approx(delay, abs=0.05)
        assert found.parameters["shape"] == pytest.approx(shape, rel=0.06)
        assert np.abs(found.residuals).max() < 5e-3 * found.predict().max()
        assert found.reason == 0


@pytest.mark.parametrize("noise", [0.01, 0.04])
@pytest.mark.parametrize("shape", [1.0, 3.0])
@pytest.mark.parametrize("mtt", [4.0, 6.0, 24.0])
def test_flow_is_unbiased(model: VascularModel, mtt: float, shape: float, noise: float) -> None:
    """Bias under 10 % over 200 realisations at the noise of regions and of voxels, with the delay unknown."""
    rng = np.random.default_rng(3)
    fit = model.fit(noisy(tissue(0.04, mtt, shape=shape, delay=1.7), noise, 200, rng))
    truth = 240 / mtt
    assert fit.parameters["cbf"].mean() == pytest.approx(truth, rel=0.1)
    assert fit.parameters["mtt"].mean() == pytest.approx(mtt, rel=0.1)
    assert fit.parameters["cbv"].mean() == pytest.approx(4.0, rel=0.01)
    np.testing.assert_allclose(fit.parameters["cbf"] * fit.parameters["mtt"] / 60, fit.parameters["cbv"])
    for name, value in (("cbf", truth), ("cbv", 4.0), ("mtt", mtt), ("delay", 1.7)):
        low, high = fit.interval(0.95, parameter=name)
        assert np.mean((low <= value) & (value <= high)) >= 0.87, name


def test_intervals_cover_what_the_prior_may_draw(model: VascularModel) -> None:
    """1,000 tissues from 3 to 24 s, exponential to narrow, delayed by 0 to 3 s, 1 to 5 % noise: 93 to 97 % are held."""
    rng = np.random.default_rng(8)
    mtt, shape = np.exp(rng.uniform(np.log(3), np.log(24), 1000)), np.exp(rng.uniform(0, np.log(10), 1000))
    delay, noise = rng.uniform(0, 3, 1000), rng.uniform(0.01, 0.05, 1000)
    truth = {"cbf": 240 / mtt, "cbv": np.full(1000, 4.0), "mtt": mtt, "delay": delay, "shape": shape}
    clean = model.predict(truth)
    fit = model.fit(clean + noise * clean.max(axis=0) * rng.standard_normal(clean.shape))
    for name, value in truth.items():
        low, high = fit.interval(0.95, parameter=name)
        assert 0.93 <= np.mean((low <= value) & (value <= high)) <= 0.97, name


def test_a_baseline_of_few_frames_spoils_no_interval(rng: np.random.Generator) -> None:
    """Zero is the mean of ten noisy frames: known to be unknown, it neither biases nor shortens the intervals."""
    clean = tissue(0.04, 8.0, delay=1.0)
    data = noisy(clean, 0.05, 500, rng)
    data -= data[:10].mean(axis=0)
    held = {}
    for free in (False, True):
        fit = VascularModel(TIMES, SAMPLED, free_baseline=free, **PHANTOM).fit(data, curves=True)
        low, high = fit.interval(0.95, parameter="cbv")
        held[free] = np.mean((low <= 4.0) & (high >= 4.0))
        assert fit.parameters["cbv"].mean() == pytest.approx(4.0, rel=0.01)
    assert held[False] < 0.8
    assert held[True] > 0.92
    assert np.abs(fit.residuals.mean()) < 1e-3 * clean.max()


@settings(max_examples=5, deadline=None)
@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_units_of_tissue_and_artery_only_scale(tissue_scale: float, artery_scale: float) -> None:
    data = noisy(tissue(0.04, 6.0, delay=1.0), 0.03, 2, np.random.default_rng(1))
    known = VascularModel(TIMES, SAMPLED).fit(data)
    found = VascularModel(TIMES, artery_scale * SAMPLED).fit(tissue_scale * data)
    factor = tissue_scale / artery_scale
    np.testing.assert_allclose(found.parameters["cbf"], factor * known.parameters["cbf"], rtol=1e-3)
    np.testing.assert_allclose(found.standard_errors["cbf"], factor * known.standard_errors["cbf"], rtol=2e-3)
    np.testing.assert_allclose(found.parameters["mtt"], known.parameters["mtt"], rtol=1e-3)


def test_the_prior_decides_where_the_data_do_not(model: VascularModel) -> None:
    """In noise alone the transit time is the prior's; in a sound curve the prior changes little."""
    rng = np.random.default_rng(2)
    other = VascularModel(TIMES, SAMPLED, prior_mtt=(3.0, 0.8), **PHANTOM)
    loud = noisy(tissue(0.04, 8.0), 2.0, 100, rng)
    here, there = (np.nanmedian(m.fit(loud).parameters["mtt"]) for m in (model, other))
    assert here > 1.5 * there
    sound = noisy(tissue(0.04, 8.0), 0.01, 100, rng)
    here, there = (np.median(m.fit(sound).parameters["mtt"]) for m in (model, other))
    assert here == pytest.approx(there, rel=0.03)
    assert (model.fit(loud).reason & Reason.IMPRECISE).astype(bool).mean() > 0.5


def test_curves_are_linear_in_the_artery(model: VascularModel) -> None:
    known = {"cbf": [30.0, np.nan], "mtt": [8.0, 8.0], "delay": [1.3, np.nan], "shape": [2.0, 2.0]}
    whole, part = model.predict(known), model.predict(known, arterial=0.25 * SAMPLED)
    np.testing.assert_allclose(part[:, 0], 0.25 * whole[:, 0], atol=1e-9)
    assert np.isnan(whole[:, 1]).all()
    assert np.trapezoid(whole[:, 0]) * STEP == pytest.approx(0.04 * np.trapezoid(SAMPLED) * STEP, rel=0.01)


def test_published_rows(shared_data: Path) -> None:
    """All but one of OSIPI's 14 rows lie within its tolerance: the set's curves hold up to 19 % too much area."""
    rows = list(csv.DictReader((shared_data / "osipi_dce_dsc" / "DSCmodels" / "dsc_data.csv").open()))
    inside = 0
    for row in rows:
        curve, artery = (np.array(row[key].split(), float) for key in ("C_tis", "C_aif"))
        found = VascularModel(float(row["tr"]) * np.arange(curve.size), artery, **PHANTOM).fit(curve).parameters
        flow, volume = float(row["cbf"]), float(row["cbv"])
        assert found["cbv"] == pytest.approx(volume, abs=1 + 0.1 * volume), row["label"]
        inside += bool(abs(found["cbf"] - flow) <= 15 + 0.1 * flow)
    assert inside == 13
