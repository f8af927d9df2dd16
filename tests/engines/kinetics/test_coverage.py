"""Intervals cover as they say: profile intervals of V_T and K_i over 2,000 noisy curves for several tissues."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engines.kinetics.study import DURATIONS, Tissue

from timelens.engines.kinetics import Frames, InputFunction, IrreversibleTwoTissue, TwoTissue

#: Model and K1, k2, k3, k4 per minute.
TRUTHS = {
    "high binding": (TwoTissue, (0.1, 0.15, 0.08, 0.04)),
    "low binding": (TwoTissue, (0.1, 0.2, 0.02, 0.04)),
    "slow binding": (TwoTissue, (0.1, 0.1, 0.06, 0.02)),
    "FDG in tumour": (IrreversibleTwoTissue, (0.1, 0.12, 0.06, 0.0)),
    "FDG in muscle": (IrreversibleTwoTissue, (0.05, 0.2, 0.015, 0.0)),
}


def coverage(
    name: str, noise: float, count: int, frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue
) -> tuple[float, float, float]:
    """Part of curves flagged identifiable, and among them how often the profile and the Wald interval hold the truth.

    ``noise`` is the relative standard deviation of the last frame; other frames follow counts.
    """
    model_of, (k1, k2, k3, k4) = TRUTHS[name]
    clean = tissue(k1 / 60, k2 / 60, k3 / 60, k4 / 60, v_b=0.05)
    truth = k1 * k3 / (k2 + k3) / 60 if k4 == 0 else k1 / k2 * (1 + k3 / k4)
    weights = DURATIONS / np.maximum(clean, 0.05 * clean.max())
    sd = weights**-0.5 * (noise * clean[-1] * np.sqrt(weights[-1]))
    curves = clean[:, None] + np.random.default_rng(1).normal(size=(28, count)) * sd[:, None]
    fit = model_of(frames, plasma, blood).fit(curves, weights)
    good = fit.identifiable
    held = []
    for method in ("profile", "wald"):
        low, high = fit.interval(method=method)  # type: ignore[arg-type]
        held.append(float(((low <= truth) & (truth <= high))[good].mean()))
    return float(good.mean()), held[0], held[1]


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("name", TRUTHS)
def test_profile_intervals_cover(
    name: str, noise: float, frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue
) -> None:
    good, profile, _ = coverage(name, noise, 2000, frames, plasma, blood, tissue)
    assert good > 0.5
    assert 0.93 <= profile <= 0.97
