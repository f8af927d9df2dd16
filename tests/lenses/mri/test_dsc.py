"""A first pass with known flow gives it back on images."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engines.perfusion.first_pass import SAMPLED, TIMES, tissue
from tests.lenses.mri.test_relaxometry import SPACE, grid

from timelens.engines.kinetics import Reason
from timelens.engines.mr_signal import SignalReason, echo_decay
from timelens.errors import DataError, UsageError
from timelens.lenses.mri.dsc import first_pass_series, leakage_corrected, map_perfusion
from timelens.study.axes import default_names
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

SHAPE = (1, 2, 2)
PHANTOM = {"haematocrit_factor": 1.0, "density": 1.0}
VOLUMES = np.array([0.02, 0.03, 0.04, 0.05]).reshape(SHAPE)


@pytest.fixture(scope="module")
def dynamic() -> Image:
    curves = tissue(1.0, 8.0)[:, None, None, None] * VOLUMES
    signal = echo_decay(900.0, curves, te=0.03)
    timing = FrameTiming(TIMES, np.full(TIMES.size, TIMES[1]))
    return Image(signal, unit="1", axes=default_names(4), geometry=grid(2.0, SHAPE), frames=timing, name="dsc")


def test_signal_to_flow(dynamic: Image) -> None:
    series = first_pass_series(dynamic, te=0.03, baseline=slice(0, 10))
    assert series.concentration.unit == "1/s"
    assert not series.reason.numpy().any()
    images = map_perfusion(series.concentration, SAMPLED, method="vascular_model", **PHANTOM)
    np.testing.assert_allclose(images["cbf"].numpy(), 6000 * VOLUMES / 8, rtol=0.02)
    np.testing.assert_allclose(images["cbv"].numpy(), 100 * VOLUMES, rtol=0.01)
    np.testing.assert_allclose(images["mtt"].numpy(), 8.0, rtol=0.02)
    assert images["cbf"].quantity == "cbf"
    assert images["cbf"].unit == "mL/min/(100.g)"
    assert images["cbf_se"].quantity is None
    plain = map_perfusion(series.concentration, SAMPLED, method="osvd", **PHANTOM)
    np.testing.assert_allclose(plain["cbv"].numpy(), 100 * VOLUMES, rtol=0.01)
    np.testing.assert_allclose(plain["cbf"].numpy() / plain["cbf"].numpy()[0, 0, 0], VOLUMES / 0.02, rtol=1e-3)


def test_leakage(dynamic: Image) -> None:
    series = first_pass_series(dynamic, te=0.03, baseline=slice(0, 10)).concentration
    reference = np.array([True, False, False, False]).reshape(SHAPE)
    corrected, maps = leakage_corrected(series, reference)
    np.testing.assert_allclose(corrected.numpy(), series.numpy(), atol=1e-5)
    np.testing.assert_allclose(maps["k2_leakage"].numpy(), 0, atol=1e-6)
    assert maps["k2_leakage"].unit == "1/s"


def test_voxels_outside_and_refusals(dynamic: Image) -> None:
    broken = dynamic.numpy().copy()
    broken[20, 0, 0, 0] = 0.0
    one = Image(broken, unit="1", axes=dynamic.axes, geometry=dynamic.geometry, frames=dynamic.frames)
    series = first_pass_series(one, te=0.03, baseline=slice(0, 10))
    assert series.reason.numpy()[0, 0, 0] == SignalReason.BELOW_ZERO
    images = map_perfusion(series.concentration, SAMPLED, mask=np.array([True, True, True, False]).reshape(SHAPE))
    assert images["reason"].numpy().ravel().tolist() == [Reason.NON_FINITE, 0, 0, Reason.NOT_SELECTED]
    assert np.isnan(images["cbf"].numpy().ravel()).tolist() == [True, False, False, True]
    with pytest.raises(DataError, match=r"computed from dR2\*"):
        map_perfusion(dynamic, SAMPLED)
    with pytest.raises(UsageError, match=r"Unknown method"):
        map_perfusion(series.concentration, SAMPLED, method="bayes")
    with pytest.raises(DataError, match=r"axes t, z, y, x"):
        first_pass_series(Image(np.ones(SHAPE), unit="1", axes=SPACE, geometry=grid(2.0, SHAPE)), te=0.03, baseline=[0])
