"""Bootstrap errors agree with the spread and with the errors of the fit, and are the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engines.kinetics.study import DURATIONS, Tissue

from timelens.engines.kinetics import (
    MA1,
    SRTM,
    Frames,
    InputFunction,
    Logan,
    Patlak,
    TwoTissue,
    bootstrap,
    reference_input,
)
from timelens.errors import UsageError


@pytest.mark.parametrize(
    ("name", "kind"),
    [("2tcm", "residual"), ("2tcm", "wild"), ("logan", "residual"), ("logan", "wild"), ("patlak", "residual"),
     ("patlak", "wild"), ("ma1", "residual"), ("srtm", "residual")],
)  # fmt: skip
def test_errors_agree(
    name: str, kind: str, frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue
) -> None:
    rng = np.random.default_rng(0)
    clean = tissue(0.1 / 60, 0.15 / 60, 0.08 / 60, 0.04 / 60, v_b=0.05)
    if name == "patlak":
        clean = tissue(0.002, 0.02, 0.002)
    weights = DURATIONS / np.maximum(clean, 0.05 * clean.max())
    sd = weights**-0.5 * (0.01 * clean[-1] * np.sqrt(weights[-1]))
    curves = clean[:, None] + rng.normal(size=(28, 15)) * sd[:, None]
    model = {
        "2tcm": TwoTissue(frames, plasma, blood),
        "logan": Logan(frames, plasma, t_star=900),
        "patlak": Patlak(frames, plasma, t_star=900),
        "ma1": MA1(frames, plasma, t_star=1200),
        "srtm": SRTM(frames, reference_input(frames, tissue(0.0015, 0.0022))),
    }[name]
    made = bootstrap(model, curves, weights, rng=rng, draws=200, kind=kind)  # type: ignore[arg-type]
    main = made.fit.main
    assert made.draws[main].shape == (200, 15)
    ratio = np.median(made.standard_errors[main] / made.fit.standard_errors[main])
    assert 0.75 < ratio < 1.25
    low, high = made.interval(0.9)
    assert (low < high).all()
    assert np.mean((low < made.fit.parameters[main]) & (made.fit.parameters[main] < high)) > 0.85


def test_same_seed_same_draws(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    curve = tissue(0.002, 0.003, 0.001) * (1 + 0.02 * np.random.default_rng(1).normal(size=28))
    model = Patlak(frames, plasma, t_star=900)
    one, two = (bootstrap(model, curve, rng=np.random.default_rng(7), draws=50) for _ in range(2))
    np.testing.assert_array_equal(one.draws["k_i"], two.draws["k_i"])
    assert one.draws["k_i"].shape == (50,)


def test_failures_are_nan(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    good = tissue(0.002, 0.003)
    curves = np.stack([good * (1 + 0.01 * np.random.default_rng(0).normal(size=28)), good * np.nan], axis=1)
    made = bootstrap(TwoTissue(frames, plasma), curves, rng=np.random.default_rng(0), draws=10)
    assert np.isfinite(made.draws["v_t"][:, 0]).all()
    assert np.isnan(made.draws["v_t"][:, 1]).all()
    assert np.isnan(made.interval()[0][1])


def test_refusals(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    model, rng = Patlak(frames, plasma, t_star=900), np.random.default_rng(0)
    curve = tissue(0.002, 0.003)
    with pytest.raises(UsageError, match="Unknown bootstrap"):
        bootstrap(model, curve, rng=rng, kind="block")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least two draws"):
        bootstrap(model, curve, rng=rng, draws=1)
    made = bootstrap(model, curve, rng=rng, draws=5)
    with pytest.raises(UsageError, match="Unknown parameter"):
        made.interval(parameter="k9")
    with pytest.raises(UsageError, match="between 0 and 1"):
        made.interval(95)
