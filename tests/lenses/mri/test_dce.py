"""A dynamic series with known exchange gives it back, in reported units."""

from __future__ import annotations

import numpy as np
import pytest
from tests.lenses.mri.test_relaxometry import SHAPE, SPACE, grid

from timelens.engines.kinetics import Frames, InputFunction, Reason, convolve_exponential, frame_values
from timelens.engines.mr_signal import SignalReason, spoiled_gradient_echo, with_contrast
from timelens.engines.perfusion import population_input
from timelens.errors import DataError, UnitError, UsageError
from timelens.lenses.mri.dce import choose_model, concentration_series, map_exchange
from timelens.lenses.mri.physics import exchange_concentration
from timelens.study.axes import default_names
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

SETTINGS = {"tr": 0.005, "flip": 15.0, "relaxivity": 4.5, "baseline": slice(0, 4)}
START = 4.0 * np.arange(60)


@pytest.fixture(scope="module")
def plasma() -> InputFunction:
    return population_input("parker", 260.0, haematocrit=0.42, delay=25.0)


@pytest.fixture
def tissue(plasma: InputFunction, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    k_trans, v_e, v_p = rng.uniform(0.05, 0.4, SHAPE), rng.uniform(0.1, 0.5, SHAPE), rng.uniform(0.01, 0.1, SHAPE)
    frames = Frames.instants(START + 2.0)
    curve = k_trans / 60 * convolve_exponential(plasma.times, plasma.values, k_trans / 60 / v_e, frames)
    curve += v_p * frame_values(plasma.times, plasma.values, frames)[:, None, None, None]
    return {"k_trans": k_trans, "v_e": v_e, "v_p": v_p, "k_ep": k_trans / v_e}, curve


def dynamic(curve: np.ndarray, t1: np.ndarray) -> Image:
    signal = spoiled_gradient_echo(700.0, with_contrast(1 / t1, 4.5, curve), flip=15.0, tr=0.005)
    timing = FrameTiming(START, np.full(60, 4.0))
    return Image(signal, unit="1", axes=default_names(4), geometry=grid(), frames=timing, name="dce")


def as_t1(values: np.ndarray, unit: str = "ms", scale: float = 1000.0) -> Image:
    return Image(values * scale, unit=unit, axes=SPACE, geometry=grid(), name="T1map")


@pytest.mark.parametrize("unit", ["ms", "s"])
def test_signal_to_maps(
    tissue: tuple[dict[str, np.ndarray], np.ndarray], plasma: InputFunction, unit: str, rng: np.random.Generator
) -> None:
    truth, curve = tissue
    t1 = rng.uniform(0.6, 1.8, SHAPE)
    series = dynamic(curve, t1)
    found = concentration_series(series, as_t1(t1, unit, 1000.0 if unit == "ms" else 1.0), **SETTINGS)
    assert found.concentration.unit == "mmol/L"
    assert not found.reason.numpy().any()
    np.testing.assert_allclose(found.concentration.numpy(), curve, atol=1e-5)
    images = map_exchange(found.concentration, plasma)
    for name, value in truth.items():
        np.testing.assert_allclose(images[name].numpy(), value, rtol=2e-3)
    assert images["k_trans"].unit == "1/min"
    assert images["k_trans"].quantity == "k_trans"
    assert images["k_trans_se"].quantity is None


def test_a_free_delay(tissue: tuple[dict[str, np.ndarray], np.ndarray], plasma: InputFunction) -> None:
    truth, curve = tissue
    series = dynamic(curve, np.ones(SHAPE))
    found = concentration_series(series, as_t1(np.ones(SHAPE)), **SETTINGS).concentration
    early = plasma.shifted(-6.0).held_until(260.0)
    images = map_exchange(found, early, delay=(0.0, 12.0))
    np.testing.assert_allclose(images["input_delay"].numpy(), 6.0, atol=1.0)  # a quarter of a frame
    np.testing.assert_allclose(images["k_trans"].numpy(), truth["k_trans"], rtol=0.15)


def test_the_model_that_made_a_voxel_is_chosen(plasma: InputFunction, rng: np.random.Generator) -> None:
    frames = Frames.instants(START + 2.0)
    kept = convolve_exponential(plasma.times, plasma.values, 0.0, frames)
    left = convolve_exponential(plasma.times, plasma.values, 0.01, frames)
    seen = frame_values(plasma.times, plasma.values, frames)
    kinds = np.stack([0.001 * kept + 0.05 * seen, 0.004 * left, 0.004 * left + 0.06 * seen], axis=1)
    curves = np.zeros((60, 1, 100, 4))
    curves[..., :3] = kinds[:, None, None, :]
    curves += rng.normal(0, 0.005, curves.shape)
    curves[:, 0, 0, 3] = 0.0
    timing = FrameTiming(START, np.full(60, 4.0))
    place = grid(2.0, (1, 100, 4))
    image = Image(curves, unit="mmol/L", axes=default_names(4), geometry=place, frames=timing)
    models = ("patlak", "tofts", "extended_tofts")
    found = choose_model(image, plasma, models=models)
    for k in range(3):
        assert (found["model"].numpy()[..., k] == k + 1).mean() > 0.8, models[k]
        assert found["weight"].numpy()[..., k].min() >= 1 / 3 - 1e-6
    assert found["model"].numpy()[0, 0, 3] == 0
    assert np.isnan(found["weight"].numpy()[0, 0, 3])
    with pytest.raises(UsageError, match=r"two or more different models"):
        choose_model(image, plasma, models=("tofts",))


@pytest.mark.parametrize(("noise", "least"), [(0.05, 0.85), (0.2, 0.8)])
def test_four_models_are_told_apart(
    plasma: InputFunction, rng: np.random.Generator, noise: float, least: float
) -> None:
    """Of 400 voxels of each, with noise as a part of the peak."""
    times = 2.0 * np.arange(120) + 1.0
    frames = Frames.instants(times)
    seen = frame_values(plasma.times, plasma.values, frames)
    left = 0.2 / 60 * convolve_exponential(plasma.times, plasma.values, 0.2 / 60 / 0.3, frames)
    kinds = np.stack(
        [
            0.03 / 60 * convolve_exponential(plasma.times, plasma.values, 0.0, frames) + 0.05 * seen,
            left,
            left + 0.06 * seen,
            exchange_concentration(plasma, frames, f_p=0.5 / 60, ps=0.2 / 60, v_p=0.08, v_e=0.3)[:, 0],
        ],
        axis=1,
    )
    curves = kinds[:, None, None, :] + noise * kinds.max(axis=0) * rng.normal(0, 1, (120, 1, 400, 4))
    image = Image(
        curves, unit="mmol/L", axes=default_names(4), geometry=grid(2.0, (1, 400, 4)),
        frames=FrameTiming(times - 1, np.full(120, 2.0)),
    )  # fmt: skip
    code = choose_model(image, plasma)["model"].numpy()[0]
    for k in range(4):
        assert (code[:, k] == k + 1).mean() > least, k


@pytest.mark.parametrize("solver", ["nonlinear", "dictionary", "linear"])
@pytest.mark.parametrize("model", ["extended_tofts", "two_compartment_exchange"])
def test_solvers_agree(tissue: tuple[dict[str, np.ndarray], np.ndarray], plasma: InputFunction, model, solver) -> None:
    truth, curve = tissue
    image = Image(
        curve, unit="mmol/L", axes=default_names(4), geometry=grid(), frames=FrameTiming(START, np.full(60, 4.0))
    )
    found = map_exchange(image, plasma, model=model, solver=solver)
    if model == "extended_tofts":
        within = {"nonlinear": 2e-3, "dictionary": 0.01, "linear": 0.12}[solver]  # trapezoids over frames of 4 s
        np.testing.assert_allclose(found["k_trans"].numpy(), truth["k_trans"], rtol=within)
        np.testing.assert_allclose(found["v_e"].numpy(), truth["v_e"], rtol=within)
    else:
        total = truth["v_e"] + truth["v_p"]
        values = found["v_e"].numpy() + found["v_p"].numpy()
        assert np.nanmedian(np.abs(values / total - 1)) < 0.03


def test_voxels_without_t1(tissue: tuple[dict[str, np.ndarray], np.ndarray], plasma: InputFunction) -> None:
    _, curve = tissue
    t1 = np.ones(SHAPE)
    known = t1.copy()
    known[0, 0, 0] = np.nan
    found = concentration_series(dynamic(curve, t1), as_t1(known), **SETTINGS)
    assert found.reason.numpy()[0, 0, 0] == SignalReason.NO_T1
    images = map_exchange(found.concentration, plasma, model="patlak")
    assert images["reason"].numpy()[0, 0, 0] == Reason.NON_FINITE
    assert np.isnan(images["ps"].numpy()[0, 0, 0])
    assert np.isfinite(images["ps"].numpy()[1]).all()
    assert images["ps"].unit == "mL/min/mL"


def test_refusals(tissue: tuple[dict[str, np.ndarray], np.ndarray], plasma: InputFunction) -> None:
    _, curve = tissue
    series = dynamic(curve, np.ones(SHAPE))
    with pytest.raises(UnitError):
        concentration_series(series, as_t1(np.ones(SHAPE), "mm"), **SETTINGS)
    still = Image(np.ones(SHAPE), unit="1", axes=SPACE, geometry=grid())
    with pytest.raises(DataError, match=r"axes t, z, y, x"):
        concentration_series(still, as_t1(np.ones(SHAPE)), **SETTINGS)
    with pytest.raises(DataError, match=r"share the unit mmol/L"):
        map_exchange(series, plasma)
    found = concentration_series(series, as_t1(np.ones(SHAPE)), **SETTINGS).concentration
    with pytest.raises(UsageError, match=r"Unknown model"):
        map_exchange(found, plasma, model="brix")
    with pytest.raises(UsageError, match=r"no free delay"):
        map_exchange(found, plasma, model="patlak", delay=(0.0, 5.0))
    with pytest.raises(UsageError, match=r"no free delay"):
        map_exchange(found, plasma, model="tofts", solver="linear", delay=(0.0, 5.0))
    with pytest.raises(UsageError, match=r"Unknown solver"):
        map_exchange(found, plasma, solver="simplex")
    with pytest.raises(UsageError, match=r"patlak is linear"):
        map_exchange(found, plasma, model="patlak", solver="dictionary")
    with pytest.raises(UsageError, match=r"no linear form"):
        map_exchange(found, plasma, model="two_compartment_uptake", solver="linear")
    with pytest.raises(UsageError, match=r"neither a dictionary nor a delay"):
        map_exchange(found, plasma, model="reference_region", solver="dictionary")
