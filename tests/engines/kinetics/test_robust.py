"""Huber's loss: nothing lost without outliers, little moved by one, and errors that match the spread."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engines.kinetics.study import DURATIONS, Floats, Tissue

from timelens.engines.kinetics import MA1, Frames, InputFunction, Logan, OneTissue, Patlak, Reason, TwoTissue
from timelens.errors import UsageError


@pytest.fixture
def noisy(tissue: Tissue) -> tuple[Floats, Floats]:
    """Curves with 2 % noise in the last frame, v_t 2, and their weights."""
    clean = tissue(0.1 / 60, 0.15 / 60, 0.08 / 60, 0.04 / 60, v_b=0.05)
    weights = DURATIONS / np.maximum(clean, 0.05 * clean.max())
    sd = weights**-0.5 * (0.02 * clean[-1] * np.sqrt(weights[-1]))
    return clean[:, None] + np.random.default_rng(0).normal(size=(28, 120)) * sd[:, None], weights


def test_one_bad_frame(
    frames: Frames, plasma: InputFunction, blood: InputFunction, noisy: tuple[Floats, Floats]
) -> None:
    curves, weights = noisy
    curves[20] *= 1.2
    model = TwoTissue(frames, plasma, blood)
    plain, robust = model.fit(curves, weights), model.fit(curves, weights, loss="huber")
    off = [abs(np.median(fit.parameters["v_t"]) / 2 - 1) for fit in (plain, robust)]
    assert off[1] < 0.4 * off[0]
    spread = robust.parameters["v_t"].std()
    assert np.median(robust.standard_errors["v_t"]) == pytest.approx(spread, rel=0.2)
    assert robust.weights is not None
    assert np.median(robust.weights[20] / weights[20]) < 0.3
    assert (robust.weights <= weights[:, None] * (1 + 1e-12)).all()


def test_without_outliers(
    frames: Frames, plasma: InputFunction, blood: InputFunction, noisy: tuple[Floats, Floats]
) -> None:
    """Nearly the same values, and errors larger by about what 95 % efficiency costs."""
    curves, weights = noisy
    for model in (
        TwoTissue(frames, plasma, blood),
        Logan(frames, plasma, t_star=1800),
        MA1(frames, plasma, t_star=1200),
    ):
        plain, robust = model.fit(curves, weights), model.fit(curves, weights, loss="huber")
        name = plain.main
        shift = (robust.parameters[name] - plain.parameters[name]) / plain.standard_errors[name]
        assert np.abs(np.median(shift)) < 0.2
        assert np.median(robust.standard_errors[name] / plain.standard_errors[name]) == pytest.approx(1.0, abs=0.1)


def test_an_exact_curve_and_single_curves(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    curve = tissue(0.002, 0.003)
    fit = OneTissue(frames, plasma, blood_volume=0).fit(curve, loss="huber")
    assert fit.parameters["k1"] == pytest.approx(0.002, rel=1e-6)
    assert fit.parameters["k1"].shape == ()
    assert np.isfinite(fit.interval()).all()
    off = curve.copy()
    off[9] *= 1.5
    assert OneTissue(frames, plasma, blood_volume=0).fit(off, loss="huber").parameters["k1"] == pytest.approx(
        0.002, rel=1e-3
    )
    line = Patlak(frames, plasma, t_star=1200).fit(curve, loss="huber")
    assert line.parameters["k_i"].shape == ()


def test_reasons_pass_through(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    good = tissue(0.002, 0.003)
    curves = np.stack([good, 0 * good, np.where(np.arange(28) == 4, np.nan, good)], axis=1)
    fit = OneTissue(frames, plasma, blood_volume=0).fit(curves, loss="huber")
    assert list(fit.reason[1:]) == [Reason.NO_SIGNAL, Reason.NON_FINITE]
    assert np.isnan(fit.parameters["k1"][1:]).all()
    with pytest.raises(UsageError, match="Unknown loss"):
        OneTissue(frames, plasma).fit(good, loss="tukey")  # type: ignore[arg-type]


def test_weights_per_curve_in_linear_models(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    rng = np.random.default_rng(2)
    curves = tissue(0.002, 0.003, 0.001)[:, None] * (1 + 0.02 * rng.normal(size=(28, 3)))
    weights = rng.uniform(0.5, 2, (28, 3))
    for loss in ("squares", "huber"):
        model = Patlak(frames, plasma, t_star=600)
        together = model.fit(curves, weights, loss=loss)  # type: ignore[arg-type]
        for i in range(3):
            alone = model.fit(curves[:, i], weights[:, i], loss=loss)  # type: ignore[arg-type]
            assert together.parameters["k_i"][i] == pytest.approx(float(alone.parameters["k_i"]), rel=1e-9)
            assert together.standard_errors["k_i"][i] == pytest.approx(float(alone.standard_errors["k_i"]), rel=1e-9)
            np.testing.assert_allclose(together.predicted[:, i], alone.predicted, rtol=1e-9)


def test_weights_explain_the_residual_sum(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    """In every model the weighted residual sum is the sum over what the fit keeps."""
    rng = np.random.default_rng(3)
    curve = tissue(0.002, 0.003, 0.001) * (1 + 0.02 * rng.normal(size=28))
    for model in (OneTissue(frames, plasma), Patlak(frames, plasma, t_star=600), Logan(frames, plasma, t_star=600)):
        for weights in (None, frames.duration):
            fit = model.fit(curve, weights)
            assert fit.residuals is not None and fit.weights is not None
            used = fit.weights > 0
            total = float((fit.weights[used] * fit.residuals[used] ** 2).sum())
            assert total == pytest.approx(float(fit.weighted_rss), rel=1e-6)
