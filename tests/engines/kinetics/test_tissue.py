"""Compartment models find again what made the curve, for regions and voxels, and say what they cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from tests.engines.kinetics.study import DURATIONS, Tissue

from timelens.engines.kinetics import (
    Frames,
    InputFunction,
    InternalisingTwoTissue,
    IrreversibleTwoTissue,
    OneTissue,
    Reason,
    TwoTissue,
    convolve_exponential,
    explain,
    feng,
    frame_values,
)
from timelens.engines.kinetics.tables import read_row

MINUTE = 60.0
RATES, MACRO = 1e-4, 1e-5


def test_one_tissue_round_trip(frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue) -> None:
    for k1, k2, v_b in [(0.1, 0.05, 0.05), (0.5, 1.5, 0.0), (0.02, 0.004, 0.1)]:
        fit = OneTissue(frames, plasma, blood).fit(tissue(k1 / MINUTE, k2 / MINUTE, v_b=v_b))
        assert fit.parameters["k1"] == pytest.approx(k1 / MINUTE, rel=RATES)
        assert fit.parameters["k2"] == pytest.approx(k2 / MINUTE, rel=RATES)
        assert fit.parameters["v_t"] == pytest.approx(k1 / k2, rel=MACRO)
        assert fit.parameters["v_b"] == pytest.approx(v_b, abs=1e-7)


def test_two_tissue_round_trip(
    frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue, rng: np.random.Generator
) -> None:
    truth = np.exp(rng.normal(0, 0.4, (40, 4))) * np.array([0.1, 0.15, 0.08, 0.04]) / MINUTE
    curves = np.stack([tissue(*row, v_b=0.05) for row in truth], axis=1)
    fit = TwoTissue(frames, plasma, blood).fit(curves)
    for i, name in enumerate(("k1", "k2", "k3", "k4")):
        np.testing.assert_allclose(fit.parameters[name], truth[:, i], rtol=RATES)
    k1, k2, k3, k4 = truth.T
    np.testing.assert_allclose(fit.parameters["v_t"], k1 / k2 * (1 + k3 / k4), rtol=MACRO)
    np.testing.assert_allclose(fit.parameters["bp_nd"], k3 / k4, rtol=RATES)
    np.testing.assert_allclose(fit.parameters["bp_p"], k1 / k2 * k3 / k4, rtol=RATES)
    np.testing.assert_allclose(fit.residuals, 0, atol=1e-6)
    assert fit.identifiable.all()


@pytest.mark.parametrize("v_b", [0.0, 0.04])
def test_a_known_blood_volume(
    frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue, v_b: float
) -> None:
    curve = tissue(0.1 / MINUTE, 0.2 / MINUTE, 0.05 / MINUTE, 0.02 / MINUTE, v_b=v_b)
    fit = TwoTissue(frames, plasma, blood, blood_volume=v_b).fit(curve)
    assert fit.parameters["v_t"] == pytest.approx(0.5 * 3.5, rel=MACRO)
    assert fit.parameters["k3"] == pytest.approx(0.05 / MINUTE, rel=RATES)
    assert "v_b" not in fit.parameters
    assert fit.free_parameters == 4


def test_irreversible_round_trip(frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue) -> None:
    k1, k2, k3 = 0.1 / MINUTE, 0.12 / MINUTE, 0.06 / MINUTE
    fit = IrreversibleTwoTissue(frames, plasma, blood).fit(tissue(k1, k2, k3, v_b=0.03))
    assert fit.parameters["k_i"] == pytest.approx(k1 * k3 / (k2 + k3), rel=MACRO)
    for name, value in (("k1", k1), ("k2", k2), ("k3", k3)):
        assert fit.parameters[name] == pytest.approx(value, rel=RATES)


def test_internalising_round_trip(frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue) -> None:
    k1, k2, k3, k4, k_int = (x / MINUTE for x in (0.1, 0.2, 0.15, 0.06, 0.02))
    fit = InternalisingTwoTissue(frames, plasma, blood).fit(tissue(k1, k2, k3, k4, k_int, v_b=0.05))
    for name, value in (("k1", k1), ("k2", k2), ("k3", k3), ("k4", k4), ("k_int", k_int)):
        assert fit.parameters[name] == pytest.approx(value, rel=RATES)
    assert fit.parameters["k_i"] == pytest.approx(k1 * k3 * k_int / (k2 * (k4 + k_int) + k3 * k_int), rel=MACRO)


def test_instants_differ_from_frames(plasma: InputFunction) -> None:
    """Means over frames fitted as if they were instants are biased; fitted as what they are, they are not."""
    end = np.cumsum(DURATIONS)
    curve = convolve_exponential(plasma.times, plasma.values, 0.01, Frames(end - DURATIONS, end)) * 0.002
    right = OneTissue(Frames(end - DURATIONS, end), plasma, blood_volume=0).fit(curve)
    wrong = OneTissue(Frames(end - DURATIONS, end, "instant"), plasma, blood_volume=0).fit(curve)
    assert right.parameters["k1"] == pytest.approx(0.002, rel=1e-7)
    assert abs(wrong.parameters["k1"] / 0.002 - 1) > 1e-3


def test_scaling_and_units(frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue) -> None:
    """Rates and ratios do not depend on the unit of the concentrations."""
    curve = tissue(0.002, 0.003, 0.001, 0.0005, v_b=0.05)
    one = TwoTissue(frames, plasma, blood).fit(curve)
    kilo = TwoTissue(frames, plasma.scaled(1e3), blood.scaled(1e3)).fit(1e3 * curve)
    for name, value in one.parameters.items():
        assert kilo.parameters[name] == pytest.approx(value, rel=1e-6)
    assert one.units["k1"] == "mL/mL/s"
    assert one.units["v_t"] == "mL/mL"


def _noisy(tissue: Tissue, rng: np.random.Generator, count: int, level: float) -> tuple[np.ndarray, np.ndarray, float]:
    clean = tissue(0.1 / MINUTE, 0.15 / MINUTE, 0.08 / MINUTE, 0.04 / MINUTE, v_b=0.05)
    weights = DURATIONS / np.maximum(clean, 0.05 * clean.max())
    sd = weights**-0.5
    sd *= level * clean[-1] / sd[-1]
    return clean[:, None] + rng.normal(size=(28, count)) * sd[:, None], weights, 0.1 / 0.15 * 3


@pytest.mark.parametrize(
    ("count", "starts"), [(4, 12), pytest.param(24, 200, marks=pytest.mark.slow)], ids=["few", "200 starts"]
)
def test_global_over_random_starts(
    frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue, count: int, starts: int
) -> None:
    """No local fit from random starts beats the search, neither that of regions nor that of maps."""
    rng = np.random.default_rng(11)
    curves, weights, _ = _noisy(tissue, rng, count, 0.05)
    model = TwoTissue(frames, plasma, blood)
    fit, maps = model.fit(curves, weights), model.map(curves, weights, dtype=np.float64)
    root, table = np.sqrt(weights), model.table
    rows, rises = np.empty((2, 28)), np.empty((2, 28))

    def basis(u: np.ndarray) -> None:
        for j in range(2):
            read_row(table.values, table.slopes, table.first, table.step, float(u[j]), rows[j], rises[j])

    def rest(p: np.ndarray, y: np.ndarray) -> np.ndarray:
        basis(p[3:])
        return np.asarray((y - p[:2] @ rows - p[2] * model.known[0]) * root)

    def jacobian(p: np.ndarray, y: np.ndarray) -> np.ndarray:
        basis(p[3:])
        columns = [rows[0], rows[1], model.known[0], p[0] * rises[0], p[1] * rises[1]]
        return np.asarray(-np.stack(columns, axis=1) * root[:, None])

    low = [0, 0, 0, *[table.span[0]] * 2]
    high = [np.inf, np.inf, np.inf, *[table.span[1]] * 2]
    for i in range(count):
        best = np.inf
        for _ in range(starts):
            start = [*rng.uniform(0, 0.005, 2), 0.05, *rng.uniform(-9, -3, 2)]
            found = optimize.least_squares(
                rest, start, jacobian, bounds=(low, high), args=(curves[:, i],), x_scale="jac", max_nfev=200
            )
            best = min(best, 2 * found.cost)
        assert fit.weighted_rss[i] <= best * (1 + 1e-6)
        assert maps.weighted_rss[i] <= best * (1 + 1e-4)


def test_a_narrow_valley_is_found() -> None:
    """An input a second early is mended by a spike at the fastest rate, in a valley between the nodes of the grid."""
    length = np.repeat([10.0, 20.0, 60.0, 120.0, 300.0, 600.0], [6, 3, 5, 4, 6, 4])
    end = np.cumsum(length)
    frames = Frames(end - length, end)
    times = np.concatenate([np.arange(0, 300, 1.0), np.arange(300, end[-1] + 1, 30.0)])

    def plasma(shift: float) -> np.ndarray:
        return np.asarray(feng(times - 10 - shift, (14.2, 21.9, 20.8), (0.0689, 0.001985, 0.000174)))

    tissue = convolve_exponential(times, plasma(0), 0.12 / MINUTE, frames)
    curve = 0.95 * 0.1 / MINUTE * tissue + 0.05 * frame_values(times, plasma(0), frames)
    weights = length / np.maximum(curve, 0.05 * curve.max())
    left = [
        float(TwoTissue(frames, InputFunction(times, plasma(shift), "plasma")).fit(curve, weights).weighted_rss)
        for shift in (-1.25, -1.0, -0.75)
    ]
    # Between two good fits there is no bad one.
    assert left[0] > left[1] > left[2]


def test_maps_equal_regions(
    frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue, rng: np.random.Generator
) -> None:
    curves, weights, _ = _noisy(tissue, rng, 60, 0.03)
    for model in (TwoTissue(frames, plasma, blood), OneTissue(frames, plasma, blood)):
        fit = model.fit(curves, weights)
        maps = model.map(curves.reshape(28, 3, 4, 5), weights, chunk=16, dtype=np.float64)
        assert maps.parameters[fit.main].shape == (3, 4, 5)
        good = fit.identifiable
        for name in fit.parameters:
            mine, theirs = maps.parameters[name].ravel()[good], fit.parameters[name][good]
            assert (np.abs(mine - theirs) < 0.02 * fit.standard_errors[name][good]).all()
            np.testing.assert_allclose(
                maps.standard_errors[name].ravel()[good], fit.standard_errors[name][good], rtol=0.05
            )


def test_standard_errors_match_the_spread(
    frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue, rng: np.random.Generator
) -> None:
    curves, weights, v_t = _noisy(tissue, rng, 1500, 0.01)
    fit = TwoTissue(frames, plasma, blood).map(curves, weights)
    values = fit.parameters["v_t"][fit.identifiable]
    assert values.std() == pytest.approx(np.median(fit.standard_errors["v_t"]), rel=0.1)
    assert values.mean() == pytest.approx(v_t, rel=0.005)
    covered = np.abs(values - v_t) < 1.96 * fit.standard_errors["v_t"][fit.identifiable]
    assert 0.9 < covered.mean() < 0.97


def test_profile_interval_covers(
    frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue, rng: np.random.Generator
) -> None:
    """At 5 % noise the profile interval of V_T keeps its level; 200 curves show it to within 5 points."""
    curves, weights, v_t = _noisy(tissue, rng, 200, 0.05)
    fit = TwoTissue(frames, plasma, blood).fit(curves, weights)
    lower, upper = fit.interval(0.95)
    good = fit.identifiable
    assert good.mean() > 0.8
    assert 0.90 <= np.mean((lower <= v_t) & (v_t <= upper), where=good) <= 0.99
    assert (lower[good] < fit.parameters["v_t"][good]).all()
    assert (upper[good] > fit.parameters["v_t"][good]).all()


def test_profile_equals_wald_for_a_linear_problem(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    """With little noise the profile is a parabola, and both intervals are the same."""
    rng = np.random.default_rng(3)
    curve = tissue(0.002, 0.003) * (1 + 1e-4 * rng.normal(size=28))
    fit = OneTissue(frames, plasma, blood_volume=0).fit(curve)
    for name in ("k1", "v_t"):
        np.testing.assert_allclose(fit.interval(parameter=name), fit.interval(parameter=name, method="wald"), rtol=2e-6)


def test_reasons(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    good = tissue(0.002, 0.003)
    curves = np.stack([good, good * 0, np.where(np.arange(28) == 5, np.nan, good), -good], axis=1)
    model = OneTissue(frames, plasma, blood_volume=0)
    for fit in (model.fit(curves), model.map(curves)):
        assert fit.reason[0] == 0
        assert fit.reason[1] == Reason.NO_SIGNAL
        assert fit.reason[2] == Reason.NON_FINITE
        assert fit.reason[3] & Reason.COMPARTMENT_AT_ZERO
        assert np.isnan(fit.parameters["k1"][1:3]).all()
        assert np.isnan(fit.standard_errors["k1"][3])
        assert not fit.identifiable[1:].any()
    assert "NaN" in explain(Reason.NON_FINITE)


def test_a_missing_frame_without_weight(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    curve, weights = tissue(0.002, 0.003), np.ones(28)
    curve[5], weights[5] = np.nan, 0
    fit = OneTissue(frames, plasma, blood_volume=0).fit(curve, weights)
    assert fit.parameters["k1"] == pytest.approx(0.002, rel=1e-6)
    assert fit.frames_used == 27


def test_two_tissue_on_a_one_tissue_curve(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    """The second compartment comes out empty, and V_T is not harmed."""
    fit = TwoTissue(frames, plasma, blood_volume=0).fit(tissue(0.002, 0.003))
    assert fit.parameters["k3"] == pytest.approx(0, abs=1e-9)
    assert fit.parameters["v_t"] == pytest.approx(2 / 3, rel=1e-5)


def test_weights_per_curve(frames: Frames, plasma: InputFunction, blood: InputFunction, tissue: Tissue) -> None:
    curves, weights, _ = _noisy(tissue, np.random.default_rng(1), 3, 0.03)
    model = TwoTissue(frames, plasma, blood)
    together = model.fit(curves, np.repeat(weights[:, None], 3, axis=1) * [1, 2, 3])
    alone = model.fit(curves[:, 1], weights)
    assert together.parameters["v_t"][1] == pytest.approx(alone.parameters["v_t"], rel=1e-9)
    assert together.standard_errors["v_t"][1] == pytest.approx(alone.standard_errors["v_t"], rel=1e-6)


def test_a_mask(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    data = np.repeat(tissue(0.002, 0.003)[:, None], 6, axis=1).reshape(28, 2, 3)
    mask = np.array([[True, False, True], [False, False, True]])
    fit = OneTissue(frames, plasma, blood_volume=0).map(data, mask=mask)
    assert (np.isfinite(fit.parameters["k1"]) == mask).all()
    assert (fit.reason[~mask] == Reason.NOT_SELECTED).all()
