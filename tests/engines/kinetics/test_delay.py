"""A delay that is fitted: found again, with errors that match the spread, in regions and maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.engines.kinetics.study import DURATIONS, Tissue

from timelens.engines.kinetics import Frames, InputFunction, OneTissue, Reason, TwoTissue, WithDelay
from timelens.errors import DataError, UsageError

LATE = 7.3


@pytest.fixture
def make(frames: Frames, plasma: InputFunction, blood: InputFunction) -> Callable[[float], TwoTissue]:
    """A model whose input was sampled 7.3 s too early."""
    return lambda d: TwoTissue(frames, plasma.shifted(d - LATE), blood.shifted(d - LATE))


def test_round_trip(make: Callable[[float], TwoTissue], tissue: Tissue) -> None:
    rates = (0.1 / 60, 0.15 / 60, 0.08 / 60, 0.04 / 60)
    fit = WithDelay(make).fit(tissue(*rates, v_b=0.05))
    assert fit.parameters["delay"] == pytest.approx(LATE, abs=1e-4)
    for name, value in zip(("k1", "k2", "k3", "k4"), rates, strict=True):
        assert fit.parameters[name] == pytest.approx(value, rel=1e-4)
    assert fit.parameters["v_t"] == pytest.approx(2.0, rel=1e-5)
    assert fit.units["delay"] == "s"
    assert fit.free_parameters == 6


def test_maps_and_errors(
    frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue, rng: np.random.Generator
) -> None:
    clean = tissue(0.002, 0.001, v_b=0.05)
    weights = DURATIONS / np.maximum(clean, 0.05 * clean.max())
    sd = weights**-0.5 * (0.02 * clean[-1] * np.sqrt(weights[-1]))
    curves = clean[:, None] + rng.normal(size=(28, 300)) * sd[:, None]
    model = WithDelay(
        lambda d: OneTissue(frames, plasma.shifted(d - LATE), blood.shifted(d - LATE)), bounds=(-2, 18), step=2.5
    )
    maps = model.map(curves.reshape(28, 10, 30), weights)
    for name, truth in (("delay", LATE), ("k1", 0.002), ("v_t", 2.0)):
        values, errors = maps.parameters[name], maps.standard_errors[name]
        assert np.median(values) == pytest.approx(truth, rel=0.05)
        assert np.median(errors) == pytest.approx(values.std(), rel=0.2)
    # A known delay would leave the blood volume with a much smaller error: the rest is what not knowing it costs.
    fixed = model.model(LATE).map(curves, weights)
    assert np.median(maps.standard_errors["v_b"]) > 1.2 * np.median(fixed.standard_errors["v_b"])
    region = model.fit(curves[:, :3], weights)
    flat = {name: value.ravel()[:3] for name, value in maps.parameters.items()}
    assert np.abs(region.parameters["delay"] - flat["delay"]).max() < 0.5
    np.testing.assert_allclose(region.parameters["k1"], flat["k1"], rtol=0.01)
    np.testing.assert_allclose(region.standard_errors["k1"], maps.standard_errors["k1"].ravel()[:3], rtol=0.1)


def test_bounds_reasons_and_masks(make: Callable[[float], TwoTissue], tissue: Tissue) -> None:
    good = tissue(0.002, 0.003, 0.001, 0.0005, v_b=0.05)
    model = WithDelay(make, bounds=(-6, 4), step=2)
    curves = np.stack([good, 0 * good, np.where(np.arange(28) == 3, np.nan, good), good], axis=1)
    maps = model.map(curves, mask=np.array([True, True, True, False]))
    assert maps.reason[0] & Reason.RATE_AT_BOUND
    assert list(maps.reason[1:]) == [Reason.NO_SIGNAL, Reason.NON_FINITE, Reason.NOT_SELECTED]
    assert np.isnan(maps.parameters["delay"][1:]).all()
    assert np.isnan(maps.standard_errors["delay"]).all()
    fit = model.fit(curves)
    assert fit.parameters["delay"][0] == 4
    assert fit.reason[0] & Reason.RATE_AT_BOUND
    assert np.isnan(fit.standard_errors["delay"]).all()
    assert list(fit.reason[1:3]) == [Reason.NO_SIGNAL, Reason.NON_FINITE]


def test_refusals(make: Callable[[float], TwoTissue]) -> None:
    with pytest.raises(UsageError, match="must ascend"):
        WithDelay(make, bounds=(5, -5))
    with pytest.raises(DataError, match="first axis"):
        WithDelay(make).map(np.ones((3, 4)))
