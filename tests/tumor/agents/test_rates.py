"""Rate constants from tissue and agent, and the truth that follows from them."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import DataError, UsageError
from timelens.tumor.agents import Affinity, tissue_rates, tissue_truth

TISSUE = {"perfusion": 0.01, "ps": 2e-3, "interstitial": 0.25, "vessel": 0.05}


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="zero or more"):
        Affinity(-1.0, 0.0)
    for name in TISSUE:
        with pytest.raises(DataError, match="finite and not negative"):
            tissue_rates(Affinity(0, 0), **{**TISSUE, name: -0.1})
    with pytest.raises(DataError, match="do not fit"):
        tissue_rates(Affinity(0, 0), **{**TISSUE, "interstitial": 0.99})
    with pytest.raises(DataError, match="do not fit"):
        tissue_rates(Affinity(0, 0), **{**TISSUE, "interstitial": 0.0})
    with pytest.raises(UsageError, match="binds or is trapped"):
        tissue_rates(Affinity(1e-3, 0), **TISSUE, target=1.0, trapping=0.1)


def test_k1_is_flow_limited_or_permeability_limited() -> None:
    """Renkin and Crone: K1 -> F for PS >> F, K1 -> PS for PS << F."""
    free = Affinity(0, 0)
    flow = tissue_rates(free, **{**TISSUE, "ps": 10.0}, blood_per_plasma=0.55)
    assert flow.k1 == pytest.approx(0.55 * 0.01)
    slow = tissue_rates(free, **{**TISSUE, "ps": 1e-8})
    assert slow.k1 == pytest.approx(1e-8, rel=1e-5)
    none = tissue_rates(free, **{**TISSUE, "perfusion": 0.0})
    assert none.k1 == 0 and none.k2 == 0
    assert flow.k2 == pytest.approx(0.55 * 0.01 / 0.25)


def test_cells_add_space() -> None:
    inside = tissue_rates(Affinity(0, 0, cell_space=1.0), **TISSUE)
    assert inside.space == pytest.approx(0.8)


def test_reversible_truth() -> None:
    rates = tissue_rates(Affinity(1e-3, 2e-3), **TISSUE, target=[0.0, 5.0])
    truth = tissue_truth(rates)
    bp = 1e-3 * 5 / 0.25 / 2e-3
    np.testing.assert_allclose(truth.bp_nd, [0, bp])
    np.testing.assert_allclose(truth.v_t, 0.25 / 0.95 * np.array([1, 1 + bp]))
    np.testing.assert_allclose(truth.k_i, 0)
    np.testing.assert_allclose(truth.k4, 0.12)
    assert np.isnan(truth.occupancy).all() and not truth.saturated.any()


def test_irreversible_truth() -> None:
    rates = tissue_rates(Affinity(1e-3, 2e-3, k_int=1e-3), **TISSUE, target=5.0)
    truth = tissue_truth(rates, occupancy=0.06)
    k3 = 1e-3 * 5 / 0.25
    through = k3 * 1e-3 / 3e-3
    assert truth.k_i == pytest.approx(60 * float(rates.k1) / 0.95 * through / (float(rates.k2) + through))
    assert np.isnan(truth.v_t) and np.isnan(truth.bp_nd) and truth.saturated
    trapped = tissue_truth(tissue_rates(Affinity(0, 0), **TISSUE, trapping=0.002))
    k1, k2 = float(trapped.k1), float(trapped.k2)
    assert trapped.k_i == pytest.approx(k1 * 0.12 / (k2 + 0.12)) and trapped.k4 == 0


def test_a_leak_behind_internalisation_makes_it_reversible() -> None:
    """The volume of distribution is the integral of the impulse response."""
    from scipy.linalg import solve

    rates = tissue_rates(Affinity(1e-3, 2e-3, k_int=1e-3, k_loss=1e-4), **TISSUE, target=5.0)
    k1, k2, k3 = (float(each) for each in (rates.k1, rates.k2, rates.k3))
    matrix = np.array([[-(k2 + k3), 2e-3, 0], [k3, -3e-3, 0], [0, 1e-3, -1e-4]])
    expected = -solve(matrix, [k1, 0, 0]).sum() / 0.95
    truth = tissue_truth(rates)
    assert truth.v_t == pytest.approx(expected) and truth.k_i == 0
