"""Series become maps in reported units; what a series does not say is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.mr_signal import diffusion_decay, echo_decay, inversion_recovery, spoiled_gradient_echo
from timelens.errors import DataError, MissingFieldError
from timelens.lenses.mri.relaxometry import map_relaxation
from timelens.study.axes import Axis, default_names
from timelens.study.geometry import Geometry
from timelens.study.image import Image

SHAPE = (2, 4, 5)
SPACE = default_names(3)


def grid(spacing: float = 2.0, shape: tuple[int, int, int] = SHAPE) -> Geometry:
    affine = np.zeros((4, 4))
    affine[[0, 1, 2], [2, 1, 0]] = spacing
    affine[3, 3] = 1
    return Geometry(shape, affine, "body")


def series(values: np.ndarray, axis: Axis) -> Image:
    return Image(values, unit="1", axes=(axis, *SPACE), geometry=grid(), name="series")


@pytest.fixture
def truth(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.4, 2.0, SHAPE)


def test_flip_angles_with_b1_from_another_grid(truth: np.ndarray) -> None:
    flips = np.array([2.0, 5.0, 10.0, 15.0])
    data = spoiled_gradient_echo(800.0, 1 / truth, flip=0.9 * flips[:, None, None, None], tr=0.006)
    b1 = Image(np.full((4, 8, 10), 0.9), unit="1", axes=SPACE, geometry=grid(1.0, (4, 8, 10)))
    images = map_relaxation(series(data, Axis("flip", "flip", "deg", flips)), tr=0.006, b1=b1)
    assert images["t1"].unit == "ms"
    assert images["t1"].quantity == "t1"
    inside = np.isfinite(images["t1"].numpy())
    assert inside.mean() > 0.4  # voxels beyond the B1 map's centres have none
    np.testing.assert_allclose(images["t1"].numpy()[inside], 1000 * truth[inside], rtol=1e-4)
    plain = map_relaxation(series(data, Axis("flip", "flip", "deg", flips)), tr=0.006)
    np.testing.assert_allclose(plain["t1"].numpy(), 1000 * truth * 0.81, rtol=0.02)


def test_inversion_times(truth: np.ndarray) -> None:
    ti = np.array([0.05, 0.2, 0.5, 1.0, 2.0, 5.0])
    data = np.abs(inversion_recovery(500.0, 1 / truth, ti=ti[:, None, None, None]))
    images = map_relaxation(series(data, Axis("inversion", "other", "s", ti)))
    np.testing.assert_allclose(images["t1"].numpy(), 1000 * truth, rtol=1e-4)


@pytest.mark.parametrize(("star", "name"), [(False, "t2"), (True, "t2_star")])
def test_echo_times(truth: np.ndarray, star: bool, name: str) -> None:
    te = 0.01 * np.arange(1, 9)
    data = echo_decay(500.0, 10 / truth, te=te[:, None, None, None])
    one = series(data, Axis("echo", "echo", "s", te))
    images = map_relaxation(one, gradient_echo=star, method="log_linear")
    np.testing.assert_allclose(images[name].numpy(), 100 * truth, rtol=1e-5)
    assert images[name].unit == "ms"
    if star:
        assert images["r2_star"].unit == "1/s"
        np.testing.assert_allclose(images["r2_star"].numpy(), 10 / truth, rtol=1e-5)


def test_b_values_and_a_mask(truth: np.ndarray) -> None:
    b = np.array([0.0, 400.0, 800.0])
    mask = np.zeros(SHAPE, bool)
    mask[0] = True
    data = diffusion_decay(500.0, 1e-3 * truth, b=b[:, None, None, None])
    images = map_relaxation(series(data, Axis("b", "b-value", "s/mm2", b)), mask=mask)
    np.testing.assert_allclose(images["adc"].numpy()[0], 1e-3 * truth[0], rtol=1e-5)
    assert np.isnan(images["adc"].numpy()[1]).all()
    assert (images["reason"].numpy()[1] != 0).all()
    assert images["adc"].unit == "mm2/s"


def test_what_is_not_said_is_asked_for(truth: np.ndarray) -> None:
    data = np.stack([truth] * 4)
    with pytest.raises(MissingFieldError, match=r"needs tr"):
        map_relaxation(series(data, Axis("flip", "flip", "deg", np.array([2.0, 5, 10, 15]))))
    with pytest.raises(MissingFieldError, match=r"needs gradient_echo"):
        map_relaxation(series(data, Axis("echo", "echo", "s", np.array([0.01, 0.02, 0.03, 0.04]))))
    with pytest.raises(DataError, match=r"another unit"):
        map_relaxation(series(data, Axis("echo", "echo", "ms", np.array([10.0, 20, 30, 40]))))
    with pytest.raises(DataError, match=r"differ in nothing"):
        map_relaxation(series(data, Axis("c", "channel", "1", ("a", "b", "c", "d"))))
    with pytest.raises(DataError, match=r"one axis before"):
        map_relaxation(Image(truth, unit="1", axes=SPACE, geometry=grid()))
