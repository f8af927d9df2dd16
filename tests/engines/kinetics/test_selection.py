"""Model comparison, t*, weights and spectra."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engines.kinetics.study import Tissue

from timelens.engines.kinetics import (
    Frames,
    InputFunction,
    Logan,
    OneTissue,
    Patlak,
    Reason,
    SpectralAnalysis,
    TwoTissue,
    compare,
    find_t_star,
    frame_weights,
)


def test_akaike_prefers_what_made_the_curve(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    rng = np.random.default_rng(5)
    one = tissue(0.002, 0.003)[:, None] + 0.02 * rng.normal(size=(28, 40))
    two = tissue(0.002, 0.003, 0.002, 0.0005)[:, None] + 0.02 * rng.normal(size=(28, 40))
    models = [OneTissue(frames, plasma, blood_volume=0), TwoTissue(frames, plasma, blood_volume=0)]
    simple = compare([model.fit(one) for model in models], "v_t")
    assert (simple.best == 0).mean() > 0.85
    assert np.median(np.abs(simple.average * 1.5 - 1)) < 1e-3
    rich = compare([model.fit(two) for model in models], "v_t")
    assert (rich.best == 1).all()
    np.testing.assert_allclose(simple.weights.sum(axis=0), 1)
    assert simple.models == ("1tcm", "2tcm")


def test_t_star(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    """Trapping that equilibrates within minutes: linear early; a slow tissue later or never."""
    fast, slow = tissue(0.002, 0.02, 0.002), tissue(0.001, 0.0006, 0.0002)
    first = find_t_star(lambda t: Patlak(frames, plasma, t_star=t), frames, fast, tolerance=0.05)
    later = find_t_star(lambda t: Patlak(frames, plasma, t_star=t), frames, slow, tolerance=0.005)
    assert first < later or np.isnan(later)
    fit = Patlak(frames, plasma, t_star=first).fit(fast)
    used = np.isfinite(fit.residuals)
    assert np.abs(fit.residuals[used] / fit.predicted[used]).max() <= 0.05
    assert np.isnan(find_t_star(lambda t: Logan(frames, plasma, t_star=t), frames, slow, tolerance=1e-9))


def test_weights_follow_counts() -> None:
    frames = Frames([0, 60, 120], [60, 120, 420])
    weights = frame_weights(frames, [1.0, 2.0, 2.0], half_life=1e12)
    np.testing.assert_allclose(weights / weights[0], [1, 0.5, 2.5])
    decaying = frame_weights(frames, [1.0, 1.0, 1.0], half_life=60.0)
    assert decaying[1] / decaying[0] == pytest.approx(0.5)


def test_spectra(frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue) -> None:
    reversible = tissue(0.002, 0.003, 0.001, 0.0005, v_b=0.05)
    found = SpectralAnalysis(frames, plasma, blood, trapping=False).fit(reversible)
    assert found.parameters["v_t"] == pytest.approx(2.0, rel=0.01)
    assert found.parameters["k1"] == pytest.approx(0.002, rel=0.02)
    assert found.parameters["v_b"] == pytest.approx(0.05, abs=0.003)
    trapped = SpectralAnalysis(frames, plasma, blood).fit(tissue(0.002, 0.003, 0.001, v_b=0.05))
    assert trapped.parameters["k_i"] == pytest.approx(0.0005, rel=0.01)
    assert np.isnan(trapped.parameters["v_t"])
    np.testing.assert_allclose(trapped.residuals, 0, atol=5e-3 * trapped.predicted.max())


def test_spectral_bootstrap_and_reasons(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    rng = np.random.default_rng(0)
    clean = tissue(0.002, 0.003, 0.001, 0.0005)
    model = SpectralAnalysis(frames, plasma, blood_volume=False, trapping=False)
    noisy = clean + 0.02 * clean[-1] * rng.normal(size=28)
    found = model.fit(noisy, bootstrap=60, rng=rng)
    spread = np.std([model.fit(clean + 0.02 * clean[-1] * rng.normal(size=28)).parameters["v_t"] for _ in range(40)])
    assert found.standard_errors["v_t"] == pytest.approx(spread, rel=0.5)
    bad = model.fit(np.stack([clean * 0, clean * np.nan], axis=1))
    assert list(bad.reason) == [Reason.NO_SIGNAL, Reason.NON_FINITE]
    assert np.isnan(bad.parameters["v_t"]).all()
