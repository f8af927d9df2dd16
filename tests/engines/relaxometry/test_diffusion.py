"""ADC and IVIM."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.kinetics import Reason
from timelens.engines.mr_signal import diffusion_decay, ivim_decay
from timelens.engines.relaxometry import ADC, IVIM, SegmentedIVIM
from timelens.errors import DataError, UsageError

B = np.array([0, 10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400, 500, 600, 700, 800, 1000.0])


@pytest.mark.parametrize("method", ["log_linear", "nonlinear"])
def test_adc_round_trip(method: str, rng: np.random.Generator) -> None:
    truth = rng.uniform(0.3e-3, 3e-3, (6, 7))
    data = diffusion_decay(400.0, truth, b=np.array([0, 50, 400, 800.0])[:, None, None])
    fit = ADC([0, 50, 400, 800], method=method).fit(data)
    np.testing.assert_allclose(fit.parameters["adc"], truth, rtol=1e-6)
    assert fit.units["adc"] == "mm2/s"


def test_adc_of_two_b_values_is_the_quotient() -> None:
    fit = ADC([0, 800]).fit(np.array([500.0, 200.0]))
    assert fit.parameters["adc"] == pytest.approx(np.log(2.5) / 800, rel=1e-12)
    assert np.isnan(fit.standard_errors["adc"])


def test_ivim_round_trip(rng: np.random.Generator) -> None:
    f, d, d_star = rng.uniform(0.05, 0.3, 500), rng.uniform(0.5e-3, 2e-3, 500), rng.uniform(0.01, 0.1, 500)
    fit = IVIM(B).map_all(ivim_decay(900.0, f, d, d_star, b=B[:, None]))
    for name, truth in (("f", f), ("d", d), ("d_star", d_star), ("s0", 900.0)):
        np.testing.assert_allclose(fit.parameters[name], truth, rtol=1e-6)


@pytest.mark.parametrize("joint", [True, False])
def test_ivim_in_noise(joint: bool, rng: np.random.Generator) -> None:
    """Both ways are within OSIPI-like tolerances, and their intervals cover."""
    truth = {"f": 0.15, "d": 1.1e-3, "d_star": 0.04}
    data = ivim_decay(1000.0, truth["f"], truth["d"], truth["d_star"], b=B)[:, None] + rng.normal(0, 10, (B.size, 3000))
    fit = IVIM(B).map_all(data) if joint else SegmentedIVIM(B).fit(data)
    assert np.median(fit.parameters["d"]) == pytest.approx(truth["d"], rel=0.03)
    assert np.median(fit.parameters["f"]) == pytest.approx(truth["f"], abs=0.01)
    assert np.median(fit.parameters["d_star"]) == pytest.approx(truth["d_star"], rel=0.1)
    for name in ("d", "f"):
        low, high = fit.interval(0.95, parameter=name, method="wald")
        assert 0.925 <= np.mean((low <= truth[name]) & (truth[name] <= high)) <= 0.985


def test_no_perfusion_has_no_d_star() -> None:
    data = diffusion_decay(500.0, 1e-3, b=B)
    for fit in (IVIM(B).fit(data[:, None]), SegmentedIVIM(B).fit(data[:, None])):
        assert fit.reason[0] & Reason.COMPARTMENT_AT_ZERO
        assert np.isnan(fit.parameters["d_star"][0])
        assert not fit.parameters["f"][0] >= 0.03


def test_refusals() -> None:
    with pytest.raises(DataError, match=r"multiply ms/um2 by 1000"):
        ADC([0, 0.8])
    with pytest.raises(DataError, match=r"Too few different b values"):
        ADC([800, 800])
    with pytest.raises(DataError, match=r"from zero up"):
        ADC([-10, 800])
    with pytest.raises(DataError, match=r"Too few different b values"):
        IVIM([0, 100, 800])
    with pytest.raises(DataError, match=r"two b values on each side"):
        SegmentedIVIM([0, 300, 500, 800])
    with pytest.raises(UsageError, match=r"Unknown method"):
        ADC([0, 800], method="arlo")
