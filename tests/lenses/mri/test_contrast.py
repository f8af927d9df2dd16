"""Concentrations of regions: noise does not bias their mean, and stated settings change them as they must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from timelens.engines.mr_signal import gradient_echo_concentration
from timelens.lenses.mri.contrast import ContrastSignal, contrast_signal
from timelens.lenses.mri.protocol import mr_protocol
from timelens.lenses.mri.scene import MrTissue, block_scene
from timelens.lenses.mri.settings import t1_before
from timelens.lenses.mri.simulate import simulate
from timelens.study.contract import Protocol

SCENE = block_scene({"tumour": MrTissue(f_p=0.5, ps=0.25 / 60, v_p=0.06, v_e=0.35, t1=1.5)}, edge=24, slices=6)
PLAN = mr_protocol(Protocol("mri", {"series": ["flip", "dce"], "dce_frames": 60, "snr": 20.0}))
STEPS = {"t1": {"source": "auto", "t1_ms": None}}
BASELINE = 8


@pytest.fixture(scope="module")
def signals() -> tuple[ContrastSignal, ContrastSignal]:
    """Without and with noise: before contrast the signal is four times as large."""
    seen = simulate(SCENE, [], PLAN, np.random.default_rng(3))
    made = []
    for scans in (seen.noise_free, seen.acquisitions):
        before = t1_before(scans[1], {"flip": scans[0]}, STEPS)
        made.append(
            contrast_signal(
                scans[1].image, before, tr=PLAN.dce_tr_s, flip=PLAN.dce_flip_deg, relaxivity=4.97, baseline=BASELINE
            )
        )
    return made[0], made[1]


def test_the_mean_of_a_region_is_not_biased_by_noise(signals: tuple[ContrastSignal, ContrastSignal]) -> None:
    clean, noisy = signals
    tumour = SCENE.labels == 1
    truth = clean.tissue(tumour).mean(axis=1)
    late = slice(30, None)
    found = noisy.tissue(tumour).mean(axis=1)[late].mean() / truth[late].mean()
    plain = gradient_echo_concentration(
        noisy.signal[:, tumour], noisy.t1[tumour], tr=noisy.tr, flip=noisy.flip, relaxivity=4.97,
        baseline=slice(0, BASELINE),
    ).values.mean(axis=1)[late].mean() / truth[late].mean()  # fmt: skip
    assert abs(plain - 1) > 0.007
    assert abs(found - 1) < 0.005


def test_the_peak_of_an_artery_is_not_biased_by_noise(signals: tuple[ContrastSignal, ContrastSignal]) -> None:
    clean, noisy = signals
    truth, found = clean.blood(SCENE.artery), noisy.blood(SCENE.artery)
    peak = int(np.argmax(truth))
    assert found[peak] == pytest.approx(truth[peak], rel=0.015)
    # A mean T1 of noisy voxels and magnitudes with their floor would lower it.
    assert replace(noisy, flips=None).blood(SCENE.artery)[peak] < found[peak]


def test_settings_that_are_scaled(signals: tuple[ContrastSignal, ContrastSignal]) -> None:
    clean, _ = signals
    tumour = SCENE.labels == 1
    curve = clean.tissue(tumour).mean(axis=1)
    np.testing.assert_allclose(clean.scaled(relaxivity=2.0).tissue(tumour).mean(axis=1), curve / 2, rtol=1e-9)
    # Concentration goes nearly with 1 / T1, and T1 of flip angles with B1 to the power of minus two.
    longer = clean.scaled(t1=1.1).tissue(tumour).mean(axis=1)
    assert longer[-1] == pytest.approx(curve[-1] / 1.1, rel=0.05)
    assert clean.scaled(b1=1.1).t1_factor == pytest.approx(1.1**-2)
    assert replace(clean, flips=None).scaled(b1=1.1).t1_factor == 1.0
    np.testing.assert_allclose(clean.scaled(b1=1.1).b1, 1.1)
    assert clean.scaled(t1=1.1).blood(SCENE.artery)[20] < clean.blood(SCENE.artery)[20]


def test_voxels_without_t1_have_no_concentration_and_do_not_harm_others(
    signals: tuple[ContrastSignal, ContrastSignal],
) -> None:
    _, noisy = signals
    broken = noisy.t1.copy()
    broken[np.unravel_index(np.flatnonzero(SCENE.labels == 1)[0], broken.shape)] = np.nan
    found = replace(noisy, t1=broken).tissue(SCENE.labels == 1)
    assert np.isnan(found[:, 0]).all() and np.isfinite(found[:, 1:]).all()
