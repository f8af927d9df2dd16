"""Validation of dynamic PET: tissues in closed form, what is refused, and rate constants found again."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.kinetics import Frames, InputFunction, TwoTissue
from timelens.errors import UsageError
from timelens.run.validation import kinetic_cases, validate
from timelens.run.validation.pet_dynamic import CASES, DEFAULT, check, draw, figures
from timelens.run.validation.rows import Draw, rows_of
from timelens.study.contract import Protocol

#: Less noise and larger voxels than the default: rates can be judged by one draw.
QUIET = Protocol("pet", {**DEFAULT.parameters, "voxel_mm": 5, "calibration": {"cov": 0.02}})


def test_static_protocols_are_refused():
    for scans in ([{"start_s": 3600, "frames_s": [300] * 8}], [{"start_s": 0, "frames_s": [60] * 5}]):
        with pytest.raises(UsageError, match="not dynamic"):
            check(Protocol("pet", {"scans": scans}))
    with pytest.raises(UsageError, match="not dynamic"):
        validate("pet-dynamic", protocol=Protocol("pet", {}), seeds=2)
    assert check(None) == DEFAULT


@pytest.mark.parametrize("name", ["FDG", "TSPO"])
def test_tissues_obey_their_model(name):
    """The engine's own fit of noise-free curves with the true input gives the constants back."""
    made = kinetic_cases.scene_of(name, np.random.default_rng(0), 3600.0)
    times = made.times_s[made.times_s <= 3600]
    parent = InputFunction(times, (made.plasma * made.fraction)[: times.size], "parent", "Bq/mL")
    blood = InputFunction(times, made.blood[: times.size], "whole_blood", "Bq/mL")
    start = np.concatenate([np.arange(0, 300, 15.0), np.arange(300, 3600, 150.0)])
    frames = Frames(start, np.append(start[1:], 3600.0), "instant")
    curve = np.interp(frames.middle, made.times_s, made.scene.curves["tumour"].suv)
    fit = TwoTissue(frames, parent, blood).fit(curve)
    truth = made.scene.kinetics["tumour"]
    assert fit.parameters["k1"] * 60 == pytest.approx(truth["k1"], rel=0.01)
    assert fit.parameters["k3"] * 60 == pytest.approx(truth["k3"], rel=0.02)
    if "v_t" in truth:
        assert fit.parameters["v_t"] == pytest.approx(truth["v_t"], rel=0.01)


def test_rates_are_found_again_through_scan_and_blood():
    found = {(d.case, d.region, d.quantity): d for d in draw(QUIET, "FDG", np.random.default_rng(3))}
    full, plot = (found[f"FDG: {m}", "tumour", "k_i"] for m in ("2tcm_irreversible", "patlak"))
    assert full.real == pytest.approx(0.2 * 0.1 / 0.45)
    # Without noise: the compartment model gives K_i, the plot K_i of all that is no blood.
    assert full.seen == pytest.approx(full.real, rel=0.02)
    assert plot.seen == pytest.approx((1 - 0.08) * plot.real, rel=0.03)
    assert full.value == pytest.approx(full.seen, rel=0.05)
    assert full.noise and full.lower < full.value < full.upper
    assert found["FDG: 2tcm_irreversible", "node", "k1"].seen == pytest.approx(0.1, rel=0.05)


def test_a_reference_region_needs_no_blood():
    found = {(d.region, d.quantity): d for d in draw(QUIET, "reference", np.random.default_rng(3))}
    assert set(found) == {(r, q) for r in ("tumour", "node") for q in ("r1", "k2", "bp_nd")}
    for (region, quantity), each in found.items():
        assert each.seen == pytest.approx(each.real, rel=0.05), (region, quantity)
        assert each.lower <= each.value <= each.upper


def test_every_case_is_told_and_drawn():
    assert list(CASES) == [
        "FDG", "18F-AraG", "TSPO", "reference", "virtual tumour", "FDG, exact blood", "TSPO, exact blood",
    ]  # fmt: skip
    rows = rows_of(
        Draw("reference: srtm", region, quantity, "1", 1.5 + k, 1.0, 2.0, True, 1.4, 1.5)
        for region in ("tumour", "node") for quantity in ("r1", "bp_nd") for k in range(2)
    )  # fmt: skip
    (name, figure), *more = figures(rows).items()
    assert (name, more) == ("validation_reference", [])
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels[0] == "reference: srtm" and "tumour, BP_ND" in labels


@pytest.mark.slow
def test_the_intervals_cover():
    """K_i of FDG and BP of the reference model: 95 % within what blood and weights that are not perfect leave."""
    made = validate("pet-dynamic", seeds=100, cases=["FDG", "reference"])
    rows = [r for r in made.rows if r["quantity"] in ("k_i", "bp_nd") and "patlak" not in r["case"]]
    share = np.average([r["coverage_95"] for r in rows], weights=[r["intervals"] for r in rows])
    print(share, [(r["region"], r["quantity"], r["coverage_95"]) for r in rows])
    assert share >= 0.80
