"""Simulated nuclei: touching ellipses of all brightnesses, some small and bright, blurred, with counted photons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def simulate(
    rng: np.random.Generator, size: int = 256, number: int = 40, diameter: float = 24.0
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """A picture of nuclei and their labels; later ones hide no more than a tenth of earlier ones."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    labels, light = np.zeros((size, size), np.int32), np.full((size, size), 15.0)
    placed = tries = 0
    while placed < number and tries < 2000:
        tries += 1
        cy, cx, turn = rng.random(3) * [size, size, np.pi]
        dividing = rng.random() < 0.08
        ratio = rng.uniform(1.0, 1.9)
        width = diameter * rng.lognormal(0, 0.18) * (0.6 if dividing else 1)
        a, b = width / 2 * np.sqrt(ratio), width / 2 / np.sqrt(ratio)
        u = (y - cy) * np.cos(turn) + (x - cx) * np.sin(turn)
        v = (x - cx) * np.cos(turn) - (y - cy) * np.sin(turn)
        inside = (u / a) ** 2 + (v / b) ** 2 <= 1
        if not inside.any() or (labels[inside] > 0).mean() > 0.1:
            continue
        placed += 1
        inside &= labels == 0
        labels[inside] = placed
        texture = 1 + 0.15 * ndimage.gaussian_filter(rng.normal(size=(size, size)), 3)[inside] * 10
        light[inside] += (250 if dividing else 40) * rng.lognormal(0, 0.5) * np.clip(texture, 0.5, 1.5)
    # A wide-field microscope's spot has a skirt, light from above and below spreads far, and the lamp is not even.
    spot, skirt, haze = (ndimage.gaussian_filter(light, width) for width in (1.5, diameter / 4, diameter))
    lamp = 1 + 0.2 * np.cos(np.pi * (x - size * rng.random()) / size)
    seen = rng.poisson((0.6 * spot + 0.4 * skirt + 0.2 * haze) * lamp)
    return seen.astype(np.float32), labels
