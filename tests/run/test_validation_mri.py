"""Validation of MRI: every case is drawn, parameters are found again, intervals hold the spread, slips are refused."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.run.validation import mri_dce, mri_dsc, mri_relaxometry, validate
from timelens.run.validation.rows import rows_of
from timelens.study.contract import Protocol

MODULES = {"mri-dce": mri_dce, "mri-dsc": mri_dsc, "mri-relaxometry": mri_relaxometry}


@pytest.mark.parametrize("case", [c for c in mri_relaxometry.CASES if c != "IVIM"])
def test_relaxation_without_noise_is_exact_and_with_noise_near(case):
    for each in mri_relaxometry.draw(mri_relaxometry.DEFAULT, case, np.random.default_rng(1)):
        assert each.seen == pytest.approx(each.real, rel=1e-3), (each.region, each.quantity)
        assert each.value == pytest.approx(each.real, rel=0.03)
        assert each.noise and each.lower < each.value < each.upper


def test_exchange_is_found_again():
    found = {(d.region, d.quantity): d for d in mri_dce.draw(mri_dce.DEFAULT, "exchange", np.random.default_rng(2))}
    for region in ("tumour", "node"):
        for quantity in ("f_p", "ps", "v_p", "v_e", "k_trans"):
            each = found[region, quantity]
            assert each.seen == pytest.approx(each.real, rel=0.02), (region, quantity)
            assert each.value == pytest.approx(each.real, rel=0.12), (region, quantity)


def test_a_tofts_model_of_exchanging_tissue_has_the_bias_that_is_told():
    found = {
        (d.region, d.quantity): d for d in mri_dce.draw(mri_dce.DEFAULT, "exchange as Tofts", np.random.default_rng(2))
    }
    each = found["tumour", "k_trans"]
    assert each.seen / each.real == pytest.approx(1.31, abs=0.05)


def test_intervals_hold_the_noise_of_artery_and_t1():
    """The fit's own error alone would hold the truth in one draw of ten."""
    rows = validate("mri-dce", cases=["extended Tofts"], seeds=8).rows
    fitted = [r for r in rows if r["quantity"] in ("k_trans", "v_e", "v_p")]
    assert np.mean([r["coverage_95"] for r in fitted]) > 0.9
    for row in fitted:
        assert abs(row["bias_percent"]) < 3 * row["spread_percent"] / np.sqrt(8) + 0.2, row["quantity"]
        assert abs(row["noise_free_bias_percent"]) < 3
    free = {(r["region"], r["quantity"]): r for r in rows}
    assert free["tumour", "iauc_60"]["noise_free_bias_percent"] == pytest.approx(0, abs=0.1)


def test_first_pass_is_found_again():
    for each in mri_dsc.draw(mri_dsc.DEFAULT, "regions of 128 voxels", np.random.default_rng(1)):
        assert each.seen == pytest.approx(each.real, rel=0.01), (each.region, each.quantity)
        assert each.value == pytest.approx(each.real, rel=0.35 if each.quantity != "cbv" else 0.03)
        assert each.noise and each.lower < each.value < each.upper


def test_leakage_left_in_is_bias_and_fitted_it_is_not():
    found = {}
    for case in ("leakage", "leakage left in"):
        for each in mri_dsc.draw(mri_dsc.DEFAULT, case, np.random.default_rng(1)):
            found[case, each.region, each.quantity] = each.seen / each.real - 1
    assert found["leakage left in", "PS 0.05 /min", "cbv"] < -0.2
    assert abs(found["leakage", "PS 0.05 /min", "cbv"]) < 0.06
    for case in ("leakage", "leakage left in"):
        assert abs(found[case, "PS 0 /min", "cbv"]) < 0.01


@pytest.mark.parametrize("lens", MODULES)
def test_protocols(lens):
    module = MODULES[lens]
    assert module.check(None) == module.DEFAULT
    assert module.check(Protocol(lens, {"snr": 20.0})).parameters["snr"] == 20.0
    with pytest.raises(UsageError, match="cases of a validation have their own series"):
        module.check(Protocol(lens, {"series": ["flip"]}))
    with pytest.raises(UsageError, match="another lens"):
        module.check(Protocol("pet"))


def test_figure_and_rows():
    draws = mri_relaxometry.draw(mri_relaxometry.DEFAULT, "ADC", np.random.default_rng(0))
    rows = rows_of(draws * 2)
    assert {r["quantity"] for r in rows} == {"adc"} and {r["region"] for r in rows} == {"tumour", "muscle", "fat"}
    assert set(mri_relaxometry.figures(rows)) == {"validation"}
