"""Variance and bias of T1 from flip angles against many draws of the noise."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.mr_signal import spoiled_gradient_echo
from timelens.engines.relaxometry import VariableFlipAngle
from timelens.engines.relaxometry.flip_angle_bias import flip_angle_noise
from timelens.errors import DataError


@pytest.mark.parametrize("flips", [[2.0, 5.0, 10.0, 15.0], [5.0, 15.0, 20.0]])
@pytest.mark.parametrize(("t1", "b1"), [(1.5, 1.0), (0.6, 1.1)])
def test_variance_and_bias_are_those_of_draws(flips, t1, b1, rng):
    tr, m0, sigma = 0.005, 1000.0, 0.5
    clean = spoiled_gradient_echo(m0, 1 / t1, flip=np.array(flips) * b1, tr=tr)[:, None]
    seen = clean + rng.normal(0, sigma, (len(flips), 300_000))
    fit = VariableFlipAngle(flips, tr, method="nonlinear").fit(seen, b1=b1)
    found = fit.parameters["t1"]
    known = flip_angle_noise(t1, flips, tr, b1=b1)
    variance = known.variance * (sigma / m0) ** 2
    assert found.var() == pytest.approx(variance, rel=0.06)
    bias = known.bias_per_variance * variance
    spread = found.std() / np.sqrt(found.size)
    assert bias > 4 * spread
    assert abs(found.mean() - t1 - bias) < 4 * spread + 0.1 * bias


def test_one_angle_and_no_t1_are_refused():
    with pytest.raises(DataError, match="T1"):
        flip_angle_noise(0.0, [5.0, 15.0], 0.005)
    with pytest.raises(DataError, match="two different flip angles"):
        flip_angle_noise(1.0, [5.0, 5.0], 0.005)
