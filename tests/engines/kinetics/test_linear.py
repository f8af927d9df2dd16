"""Graphical, multilinear and reference models: exact where their equation holds, maps equal to regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.engines.kinetics.study import Tissue

from timelens.engines.kinetics import (
    MA1,
    MA2,
    MRTM1,
    MRTM2,
    SRTM,
    SRTM2,
    AntibodyPatlak,
    Frames,
    InputFunction,
    Logan,
    MultilinearLogan,
    OneTissue,
    Patlak,
    Reason,
    ReferenceLogan,
    ReferencePatlak,
    convolve_exponential,
    exponentials,
    fit_exponentials,
    frame_values,
    reference_input,
    subtract_baseline,
)
from timelens.engines.kinetics.linear import running_integral

K1, K2, K3, K4 = 0.002, 0.0025, 0.0012, 0.0006


def _dense(plasma: InputFunction) -> Frames:
    """Samples every second: the trapezoid through them is the integral."""
    return Frames.instants(np.arange(1.0, 5000.0))


def _two_tissue(plasma: InputFunction, frames: Frames) -> np.ndarray:
    total = K2 + K3 + K4
    root = np.sqrt(total**2 - 4 * K2 * K4)
    rates = np.array([(total + root) / 2, (total - root) / 2])
    amplitudes = K1 * np.array([rates[0] - K3 - K4, K3 + K4 - rates[1]]) / root
    return convolve_exponential(plasma.times, plasma.values, rates, frames) @ amplitudes


def test_patlak_is_exact(frames: Frames, plasma: InputFunction) -> None:
    integral = convolve_exponential(plasma.times, plasma.values, 0.0, frames)
    curve = 3e-4 * integral + 0.4 * frame_values(plasma.times, plasma.values, frames)
    for weights in (None, frames.duration):
        fit = Patlak(frames, plasma, t_star=1200).fit(curve, weights)
        assert fit.parameters["k_i"] == pytest.approx(3e-4, rel=1e-9)
        assert fit.parameters["v_0"] == pytest.approx(0.4, rel=1e-9)
        assert fit.frames_used == 9
        assert fit.t_star == 1200
        assert np.isnan(fit.residuals[:19]).all()


def test_patlak_of_a_trapping_tissue(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    """The slope approaches k1 k3 / (k2 + k3) once the free pool follows plasma."""
    fit = Patlak(frames, plasma, t_star=2000).fit(tissue(K1, 0.01, 0.003))
    assert fit.parameters["k_i"] == pytest.approx(K1 * 0.003 / 0.013, rel=0.02)


def test_blood_volume_is_taken_off(frames: Frames, plasma: InputFunction, blood: InputFunction) -> None:
    pure = 3e-4 * convolve_exponential(plasma.times, plasma.values, 0.0, frames)
    seen = 0.95 * pure + 0.05 * frame_values(blood.times, blood.values, frames)
    model = Patlak(frames, plasma, t_star=600, blood=blood, blood_volume=0.05)
    assert model.fit(seen).parameters["k_i"] == pytest.approx(3e-4, rel=1e-9)
    assert float(model.map(seen).parameters["k_i"]) == pytest.approx(3e-4, rel=1e-6)
    assert model.fit(seen).parameters["v_0"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("model", [Logan, MultilinearLogan, MA1])
def test_v_t_of_one_tissue(plasma: InputFunction, model: type) -> None:
    """For one tissue these equations hold at every time."""
    frames = _dense(plasma)
    curve = K1 * convolve_exponential(plasma.times, plasma.values, K2, frames)
    fit = model(frames, plasma, t_star=100).fit(curve, np.ones(len(frames)))
    assert fit.parameters["v_t"] == pytest.approx(K1 / K2, rel=1e-5)
    assert fit.parameters["intercept"] == pytest.approx(-1 / K2, rel=1e-4)


def test_ma2_gives_all_rates(plasma: InputFunction) -> None:
    frames = Frames.instants(np.arange(0.25, 5000, 0.25))
    fit = MA2(frames, plasma).fit(_two_tissue(plasma, frames))
    assert fit.parameters["v_t"] == pytest.approx(K1 / K2 * (1 + K3 / K4), rel=1e-5)
    for name, value in (("k1", K1), ("k2", K2), ("k3", K3), ("k4", K4)):
        assert fit.parameters[name] == pytest.approx(value, rel=1e-4)


def test_reference_models_find_bp(plasma: InputFunction) -> None:
    frames = _dense(plasma)
    reference = 0.002 * convolve_exponential(plasma.times, plasma.values, 0.003, frames)
    bp, r1 = 1.5, 1.2
    k2 = r1 * 0.003
    curve = r1 * 0.002 * convolve_exponential(plasma.times, plasma.values, k2 / (1 + bp), frames)
    first = MRTM1(frames, reference).fit(curve)
    assert first.parameters["bp_nd"] == pytest.approx(bp, rel=1e-5)
    assert first.parameters["r1"] == pytest.approx(r1, rel=1e-4)
    assert first.parameters["k2_reference"] == pytest.approx(0.003, rel=1e-4)
    assert first.parameters["k2"] == pytest.approx(k2, rel=1e-4)
    assert first.parameters["k2a"] == pytest.approx(k2 / (1 + bp), rel=1e-4)
    second = MRTM2(frames, reference, k2_reference=0.003).fit(curve)
    assert second.parameters["bp_nd"] == pytest.approx(bp, rel=1e-5)
    assert second.parameters["r1"] == pytest.approx(r1, rel=1e-4)
    logan = ReferenceLogan(frames, reference, k2_reference=0.003, t_star=1000).fit(curve)
    assert logan.parameters["bp_nd"] == pytest.approx(bp, rel=1e-5)


def test_reference_patlak(frames: Frames, tissue: Tissue) -> None:
    reference = tissue(0.002, 0.003)
    model = ReferencePatlak(frames, reference, t_star=900)
    curve = 2e-4 * model.integral + 0.7 * reference
    fit = model.fit(curve)
    assert fit.parameters["k_i_ref"] == pytest.approx(2e-4, rel=1e-9)
    assert fit.parameters["v_0"] == pytest.approx(0.7, rel=1e-9)


@pytest.mark.parametrize("sampling", ["frame", "instant"])
def test_srtm_round_trip(frames: Frames, tissue: Tissue, sampling: str) -> None:
    frames = Frames(frames.start, frames.end, sampling)  # type: ignore[arg-type]
    reference = reference_input(frames, tissue(0.002, 0.003))
    seen = frame_values(reference.times, reference.values, frames)
    for r1, k2, bp in [(1.1, 0.0018, 1.5), (0.8, 0.003, 0.2), (1.3, 0.001, 4.0), (1.0, 0.002, -0.3)]:
        k2a = k2 / (1 + bp)
        curve = r1 * seen + (k2 - r1 * k2a) * convolve_exponential(reference.times, reference.values, k2a, frames)
        fit = SRTM(frames, reference).fit(curve)
        assert fit.parameters["r1"] == pytest.approx(r1, rel=1e-4)
        assert fit.parameters["k2"] == pytest.approx(k2, rel=1e-4)
        assert fit.parameters["bp_nd"] == pytest.approx(bp, rel=1e-5)
        fixed = SRTM2(frames, reference, k2_reference=k2 / r1).fit(curve)
        assert fixed.parameters["bp_nd"] == pytest.approx(bp, rel=1e-5)
        assert fixed.parameters["r1"] == pytest.approx(r1, rel=1e-5)


def test_srtm_maps_equal_regions(frames: Frames, tissue: Tissue) -> None:
    """A voxel's one pass over the frames ends where a region's exact search does, with and without noise."""
    rng = np.random.default_rng(3)
    reference = reference_input(frames, tissue(0.002, 0.003))
    seen = frame_values(reference.times, reference.values, frames)
    r1, k2, bp = rng.uniform(0.7, 1.3, 300), rng.uniform(0.001, 0.003, 300), rng.uniform(0.1, 4, 300)
    k2a = k2 / (1 + bp)
    clean = r1 * seen[:, None] + (k2 - r1 * k2a) * convolve_exponential(reference.times, reference.values, k2a, frames)
    model = SRTM(frames, reference)
    exact = model.map(clean, frames.duration, dtype=np.float64)
    np.testing.assert_allclose(exact.parameters["bp_nd"], bp, rtol=1e-4)
    noisy = clean * (1 + 0.02 * rng.normal(size=clean.shape))
    fit, maps = model.fit(noisy, frames.duration), model.map(noisy, frames.duration, dtype=np.float64)
    good = fit.identifiable
    assert good.mean() > 0.9
    for name in ("r1", "k2", "bp_nd"):
        error = fit.standard_errors[name][good]
        gap = np.abs(maps.parameters[name] - fit.parameters[name])[good] / error
        assert np.median(gap) < 0.002
        assert np.quantile(gap, 0.99) < 0.02
        np.testing.assert_allclose(maps.standard_errors[name][good], error, rtol=0.02)
    np.testing.assert_allclose(maps.weighted_rss[good], fit.weighted_rss[good], rtol=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_maps_equal_regions(frames: Frames, plasma: InputFunction, tissue: Tissue, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    curves = tissue(K1, K2, K3, K4)[:, None] * np.exp(rng.normal(0, 0.02, (28, 600)))
    reference = tissue(0.002, 0.003)
    weights = frames.duration if weighted else None
    models = [
        Patlak(frames, plasma, t_star=1200),
        Logan(frames, plasma, t_star=1200),
        MA1(frames, plasma, t_star=600),
        MRTM1(frames, reference),
        MRTM2(frames, reference, k2_reference=0.003),
        ReferenceLogan(frames, reference, k2_reference=0.003, t_star=1200),
        ReferencePatlak(frames, reference, t_star=1200),
    ]
    for model in models:
        fit = model.fit(curves, weights)
        maps = model.map(curves.reshape(28, 20, 30), weights, dtype=np.float64)
        for name in fit.parameters:
            np.testing.assert_allclose(maps.parameters[name].ravel(), fit.parameters[name], rtol=1e-7)
            np.testing.assert_allclose(maps.standard_errors[name].ravel(), fit.standard_errors[name], rtol=1e-5)
        np.testing.assert_allclose(maps.weighted_rss.ravel(), fit.weighted_rss, rtol=1e-5)
        np.testing.assert_array_equal(maps.reason.ravel(), fit.reason)


def test_standard_errors_against_lstsq(frames: Frames, plasma: InputFunction) -> None:
    rng = np.random.default_rng(2)
    integral = convolve_exponential(plasma.times, plasma.values, 0.0, frames)
    cp = frame_values(plasma.times, plasma.values, frames)
    curve = (3e-4 * integral + 0.4 * cp) * (1 + 0.02 * rng.normal(size=28))
    fit = Patlak(frames, plasma, t_star=900).fit(curve)
    late = frames.start >= 900
    design = np.stack([integral[late] / cp[late], np.ones(late.sum())], axis=1)
    beta, rest, *_ = np.linalg.lstsq(design, curve[late] / cp[late], rcond=None)
    error = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * rest[0] / (late.sum() - 2))
    assert fit.parameters["k_i"] == pytest.approx(beta[0], rel=1e-9)
    assert fit.standard_errors["k_i"] == pytest.approx(error[0], rel=1e-6)
    low, high = fit.interval(0.9)
    assert (high - low) / 2 == pytest.approx(error[0] * 1.8595, rel=1e-4)  # t of 8 degrees of freedom


def test_weights_propagate_to_the_plot(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    """Given the variance of the tissue, weighted Logan is the regression weighted by C^4 / (integral of C)^2."""
    rng = np.random.default_rng(4)
    curve = tissue(K1, K2, K3, K4) * (1 + 0.03 * rng.normal(size=28))
    model = Logan(frames, plasma, t_star=1200)
    late = model.late
    fit = model.fit(curve, frames.duration)
    single = running_integral(curve[:, None], frames)[0][:, 0]
    c, total = curve[late], single[late]
    w = np.sqrt(frames.duration[late] * c**4 / total**2)
    design = np.stack([model.known[0][late] / c, np.ones(c.size)], axis=1)
    beta = np.linalg.lstsq(design * w[:, None], total / c * w, rcond=None)[0]
    assert fit.parameters["v_t"] == pytest.approx(beta[0], rel=1e-9)


def test_reasons(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    good = tissue(K1, K2, K3, K4)
    curves = np.stack([good, good * 0, np.where(np.arange(28) == 25, np.nan, good)], axis=1)
    for model in (Patlak(frames, plasma, t_star=1200), Logan(frames, plasma, t_star=1200), MA1(frames, plasma)):
        for fit in (model.fit(curves), model.map(curves), model.map(curves.astype(np.float32))):
            assert fit.reason[0] & ~Reason.IMPRECISE == 0
            assert fit.reason[1] == Reason.NO_SIGNAL
            assert fit.reason[2] == Reason.NON_FINITE
            assert np.isnan(fit.parameters[fit.main][1:]).all()
            assert np.isfinite(fit.parameters[fit.main][0])


def test_a_mask_and_a_memory_map(frames: Frames, plasma: InputFunction, tissue: Tissue, tmp_path: Path) -> None:
    data = np.lib.format.open_memmap(tmp_path / "tac.npy", "w+", np.float32, (28, 2, 3))
    data[:] = tissue(K1, K2, K3)[:, None, None]
    mask = np.array([[True, False, True], [False, False, True]])
    fit = Patlak(frames, plasma, t_star=1200).map(data, mask=mask)
    assert (np.isfinite(fit.parameters["k_i"]) == mask).all()
    assert (fit.reason[~mask] == Reason.NOT_SELECTED).all()


def test_antibody_over_days() -> None:
    """K_i and the reversible part of an antibody from three late images, and the baseline taken off."""
    day = 86400.0
    t = np.concatenate([[0.0], np.geomspace(300, 7 * day, 60)])
    plasma = InputFunction(t, exponentials(t, [60.0, 40.0], [1 / (0.6 * day), 1 / (6 * day)]), "plasma")
    frames = Frames(np.array([1, 3, 6]) * day, np.array([1, 3, 6]) * day + 1800)
    k_i = 8e-4 / 3600
    integral = convolve_exponential(plasma.times, plasma.values, 0.0, frames)
    curve = k_i * integral + 0.3 * frame_values(plasma.times, plasma.values, frames)
    fit = AntibodyPatlak(frames, plasma).fit(curve)
    assert fit.parameters["k_i"] == pytest.approx(k_i, rel=1e-9)
    assert fit.parameters["v_0"] == pytest.approx(0.3, rel=1e-9)
    specific, error = subtract_baseline(fit.parameters["k_i"], 3e-8, k_i / 4, 4e-8)
    assert specific == pytest.approx(0.75 * k_i)
    assert error == pytest.approx(5e-8)
    amplitudes, rates = fit_exponentials(plasma, after=300)
    np.testing.assert_allclose(amplitudes, [60, 40], rtol=1e-3)
    np.testing.assert_allclose(1 / rates / day, [0.6, 6], rtol=1e-3)


def test_a_source_is_read_by_slabs(frames: Frames, plasma: InputFunction, tissue: Tissue) -> None:
    class Reader:
        """Counts what is asked for."""

        shape = (28, 30, 40, 40)
        largest = 0

        def slab(self, start: int, stop: int, first: int) -> np.ndarray:
            self.largest = max(self.largest, stop - start)
            return np.repeat(tissue(K1, K2, K3)[first:, None], stop - start, axis=1)

    reader = Reader()
    fit = Patlak(frames, plasma, t_star=1200).map(reader)
    assert fit.parameters["k_i"].shape == (30, 40, 40)
    assert np.ptp(fit.parameters["k_i"]) == 0
    assert reader.largest < 30 * 40 * 40
    reader.shape = (28, 10, 20, 20)
    assert OneTissue(frames, plasma).map(reader, chunk=1000).parameters["v_t"].shape == (10, 20, 20)
    assert reader.largest <= 16_384
