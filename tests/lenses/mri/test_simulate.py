"""From tissue to concentration and signal: closed forms, limits, the virtual tumour, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from timelens.engines.kinetics import Frames, InputFunction, TwoCompartmentExchange, convolve_exponential
from timelens.errors import DataError, UsageError
from timelens.lenses.mri.physics import exchange_concentration, k_trans_of
from timelens.lenses.mri.protocol import MrProtocol, mr_protocol
from timelens.lenses.mri.scene import MrScene, MrTissue, block_scene, tumour_scene
from timelens.lenses.mri.simulate import plasma_of, simulate
from timelens.study.contract import Administration, Protocol
from timelens.study.geometry import Geometry
from timelens.study.mr import mr_settings

TIMES = Frames.instants(np.arange(1.0, 299.0, 2.0))
PLASMA = plasma_of(MrProtocol(), 300.0)


def test_the_engine_finds_the_tissue_that_was_put_in():
    given = {"f_p": [0.8 / 60, 0.3 / 60], "ps": [0.2 / 60, 0.1 / 60], "v_p": [0.08, 0.05], "v_e": [0.3, 0.2]}
    curves = exchange_concentration(PLASMA, TIMES, **given)
    found = TwoCompartmentExchange(TIMES, PLASMA).fit(curves).parameters
    for name, values in given.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-3, err_msg=name)


def test_without_exchange_plasma_alone_and_with_much_flow_extended_tofts():
    alone = exchange_concentration(PLASMA, TIMES, f_p=0.01, ps=0.0, v_p=0.05, v_e=0.0)[:, 0]
    np.testing.assert_allclose(
        alone, 0.01 * convolve_exponential(PLASMA.times, PLASMA.values, 0.2, TIMES).reshape(-1), rtol=1e-5, atol=1e-8
    )
    fast = exchange_concentration(PLASMA, TIMES, f_p=50.0, ps=0.004, v_p=0.05, v_e=0.3)[:, 0]
    leaked = 0.004 * convolve_exponential(PLASMA.times, PLASMA.values, 0.004 / 0.3, TIMES).reshape(-1)
    np.testing.assert_allclose(fast, 0.05 * PLASMA.at(TIMES.middle) + leaked, rtol=0.01, atol=2e-3)
    assert not exchange_concentration(PLASMA, TIMES, f_p=0.0, ps=0.1, v_p=0.05, v_e=0.3).any()


def test_area_is_volume_times_area_of_plasma():
    end = 4000.0
    times = np.linspace(0, end, 8001)
    bolus = InputFunction(times, np.exp(-0.5 * ((times - 30) / 5) ** 2), "plasma", "mmol/L")
    at = Frames.instants(times[1:-1:2])
    curve = exchange_concentration(bolus, at, f_p=0.01, ps=0.003, v_p=0.06, v_e=0.25)[:, 0]
    area = np.trapezoid(curve, at.middle) / np.trapezoid(bolus.values, times)
    assert area == pytest.approx(0.31, rel=1e-3)


def test_negative_tissue_is_refused():
    with pytest.raises(DataError, match="not negative"):
        exchange_concentration(PLASMA, TIMES, f_p=-0.01, ps=0.1, v_p=0.05, v_e=0.3)


def test_transfer_constant():
    np.testing.assert_allclose(k_trans_of([1.0, 0.0, 2.0], [1.0, 0.0, 1e9]), [0.5, 0.0, 2.0])


def test_same_seed_same_bytes_and_truth_for_every_region():
    scene = block_scene({"a": MrTissue(), "b": MrTissue(ps=0.0)}, edge=3)
    plan = MrProtocol(series=("flip", "dce", "dsc"))
    first, again = (simulate(scene, [], plan, np.random.default_rng(4)) for _ in range(2))
    other = simulate(scene, [], plan, np.random.default_rng(5))
    for a, b, c, clean in zip(
        first.acquisitions, again.acquisitions, other.acquisitions, first.noise_free, strict=True
    ):
        np.testing.assert_array_equal(a.image.numpy(), b.image.numpy())
        assert not np.array_equal(a.image.numpy(), c.image.numpy())
        assert (a.image.numpy() >= 0).all() and mr_settings(a) == mr_settings(clean)
    known = {(t.region, t.quantity): t.ideal for t in first.truth}
    assert known["a", "k_trans"] == pytest.approx(60 * k_trans_of(0.6 / 60, 0.2 / 60))
    assert known["b", "k_trans"] == 0 and known["a", "mtt"] == pytest.approx(5.0)
    assert {r for r, _ in known} == {"a", "b"}


def test_another_agent_has_another_relaxivity():
    scene, plan = block_scene({"a": MrTissue()}, edge=3), MrProtocol(series=("dce",))
    rng = np.random.default_rng(0)
    one = simulate(scene, [], plan, rng).noise_free[0]
    from datetime import datetime

    other = simulate(scene, [Administration("Dotarem", datetime(2024, 1, 1))], plan, rng).noise_free[0]
    assert other.agent == "Dotarem"
    assert other.image.numpy()[-1, 0, 0, 0] < one.image.numpy()[-1, 0, 0, 0]  # less relaxivity, less enhancement


def test_the_virtual_tumour_gives_its_perfusion_and_volumes():
    from timelens.tumor.architecture import INFLAMED
    from timelens.tumor.microenvironment import build

    grid = Geometry.from_spacing((8, 12, 12), (2.0, 2.0, 2.0))
    tumour = build(replace(INFLAMED, diameter_mm=12.0), grid, 1)
    scene = tumour_scene(tumour)
    inside = scene.labels == 1
    assert scene.mean("v_e", 1) == pytest.approx(float(tumour.interstitial_fraction[inside].mean()), rel=1e-6)
    assert scene.mean("f_p", 1) * 60 == pytest.approx(float(tumour.plasma_flow[inside].mean()), rel=1e-6)
    assert scene.artery.sum() == 8 * 4
    seen = simulate(scene, [], MrProtocol(series=("dce",), dce_frames=30), np.random.default_rng(1))
    truth = {t.quantity: t.ideal for t in seen.truth}
    mean = 60 * k_trans_of(scene.maps["f_p"], scene.maps["ps"])[inside].mean()
    assert truth["k_trans"] == pytest.approx(mean)
    with pytest.raises(DataError, match="artery would lie in the tumour"):
        tumour_scene(tumour, artery_voxels=6)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"flip": 3}, "no such setting"), ({"series": ["bold"]}, "no such series"), ({"snr": 0}, "cannot be used"),
        ({"flips_deg": [5]}, "cannot be used"), ({"dce_tr_s": "fast"}, "cannot be used"),
        ({"haematocrit": 42}, "fraction"),
    ],
)  # fmt: skip
def test_protocols_that_cannot_be_used(parameters, words):
    with pytest.raises(UsageError, match=words):
        mr_protocol(Protocol("mri", parameters))
    with pytest.raises(UsageError, match="another lens"):
        mr_protocol(Protocol("pet"))


def test_a_scene_has_every_map_on_its_grid():
    scene = block_scene({"a": MrTissue()}, edge=3)
    with pytest.raises(UsageError, match="every map"):
        MrScene(scene.geometry, {"t1": scene.maps["t1"]}, scene.labels, scene.names)
    with pytest.raises(DataError, match="another size"):
        MrScene(scene.geometry, dict(scene.maps), scene.labels[:1], scene.names)
