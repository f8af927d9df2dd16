"""Denoising: what it keeps, what it takes away, and that it refuses what it would spoil."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.kinetics import Frames, denoise
from timelens.errors import DataError, UsageError

FRAMES = Frames(np.arange(8) * 60.0, np.arange(1, 9) * 60.0)


def _image(rng: np.random.Generator, noise: float) -> np.ndarray:
    """A bright cube in a dim background, all with one time course."""
    scene = np.full((16, 16, 16), 1.0)
    scene[5:11, 5:11, 5:11] = 4.0
    return scene * np.linspace(1, 2, 8)[:, None, None, None] + noise * rng.normal(size=(8, 16, 16, 16))


def test_hypr_keeps_edges_and_removes_noise(rng: np.random.Generator) -> None:
    clean, noisy = _image(rng, 0.0), _image(rng, 0.3)
    wide = denoise(noisy, FRAMES, (2, 2, 2), method="gaussian", fwhm=8.0)
    sharp = denoise(noisy, FRAMES, (2, 2, 2), method="hypr", fwhm=8.0)
    error = {name: np.abs(image - clean).mean() for name, image in (("no", noisy), ("g", wide), ("h", sharp))}
    # The composite is the mean of eight frames, so its own noise, a root of eight lower, is what stays.
    assert error["h"] < 0.5 * error["no"]
    assert error["h"] < 0.6 * error["g"]
    assert sharp.dtype == np.float32
    inside = clean[0] == 4
    assert sharp[3][inside].mean() == pytest.approx(clean[3][inside].mean(), rel=0.02)
    assert wide[3][inside].mean() < 0.9 * clean[3][inside].mean()


def test_exact_without_noise(rng: np.random.Generator) -> None:
    """Voxels that share a time course are left as they are by HYPR, and a constant by the Gaussian."""
    clean = _image(rng, 0.0)
    np.testing.assert_allclose(denoise(clean, FRAMES, (2, 2, 2), method="hypr", fwhm=6), clean, rtol=1e-5)
    flat = np.full((8, 6, 6, 6), 3.0)
    np.testing.assert_allclose(denoise(flat, FRAMES, (1, 1, 1), method="gaussian", fwhm=3), 3.0, rtol=1e-6)


def test_width_is_in_millimetres() -> None:
    point = np.zeros((8, 41, 41, 41))
    point[:, 20, 20, 20] = 1.0
    made = denoise(point, FRAMES, (1.0, 2.0, 1.0), method="gaussian", fwhm=8.0)[0]
    z, y = made[:, 20, 20], made[20, :, 20]
    assert z[24] / z[20] == pytest.approx(0.5, rel=0.01)
    assert y[22] / y[20] == pytest.approx(0.5, rel=0.01)


def test_refusals() -> None:
    image = np.ones((8, 4, 4, 4))
    with pytest.raises(UsageError, match="Unknown denoising"):
        denoise(image, FRAMES, (1, 1, 1), method="median", fwhm=3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="spacing"):
        denoise(image, FRAMES, (1, 1), method="hypr", fwhm=3)
    with pytest.raises(UsageError, match="width must be positive"):
        denoise(image, FRAMES, (1, 1, 1), method="hypr", fwhm=0)
    with pytest.raises(DataError, match="first axis"):
        denoise(image[:3], FRAMES, (1, 1, 1), method="hypr", fwhm=3)
    image[2, 1, 1, 1] = np.nan
    with pytest.raises(DataError, match="no numbers"):
        denoise(image, FRAMES, (1, 1, 1), method="hypr", fwhm=3)
