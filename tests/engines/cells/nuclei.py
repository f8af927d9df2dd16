"""Simulated nuclei: touching ellipses of all brightnesses, some small and bright, blurred, with counted photons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def simulate(
    rng: np.random.Generator,
    size: int = 256,
    number: int = 40,
    diameter: float = 24.0,
    *,
    overlap: float = 0.1,
    clumped: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """A picture of nuclei and their labels.

    Later ones overlap no more than that part of themselves with earlier ones. Up to a tenth they lie behind them; with
    more, light adds up, and the pixel belongs to the brighter. A clumped one is placed beside an earlier one.
    """
    y, x = np.mgrid[:size, :size].astype(np.float64)
    labels, light, brightest = np.zeros((size, size), np.int32), np.full((size, size), 15.0), np.zeros((size, size))
    centres: list[tuple[float, float]] = []
    tries = 0
    while len(centres) < number and tries < 2000:
        tries += 1
        cy, cx, turn = rng.random(3) * [size, size, np.pi]
        if clumped and centres and rng.random() < clumped:
            angle, far = rng.uniform(0, 2 * np.pi), diameter * rng.uniform(0.7, 1.3)
            cy, cx = np.add(centres[rng.integers(len(centres))], (far * np.sin(angle), far * np.cos(angle)))
        dividing = rng.random() < 0.08
        ratio = rng.uniform(1.0, 1.9)
        width = diameter * rng.lognormal(0, 0.18) * (0.6 if dividing else 1)
        a, b = width / 2 * np.sqrt(ratio), width / 2 / np.sqrt(ratio)
        u = (y - cy) * np.cos(turn) + (x - cx) * np.sin(turn)
        v = (x - cx) * np.cos(turn) - (y - cy) * np.sin(turn)
        inside = (u / a) ** 2 + (v / b) ** 2 <= 1
        if not inside.any() or (labels[inside] > 0).mean() > overlap:
            continue
        centres.append((cy, cx))
        texture = np.clip(1 + 0.15 * ndimage.gaussian_filter(rng.normal(size=(size, size)), 3) * 10, 0.5, 1.5)
        level = (250 if dividing else 40) * rng.lognormal(0, 0.5)
        mine = inside & (level > brightest) if overlap > 0.1 else inside & (labels == 0)
        lit = inside if overlap > 0.1 else mine
        labels[mine], brightest[mine] = len(centres), level
        light[lit] += level * texture[lit]
    # A wide-field microscope's spot has a skirt, light from above and below spreads far, and the lamp is not even.
    spot, skirt, haze = (ndimage.gaussian_filter(light, width) for width in (1.5, diameter / 4, diameter))
    lamp = 1 + 0.2 * np.cos(np.pi * (x - size * rng.random()) / size)
    seen = rng.poisson((0.6 * spot + 0.4 * skirt + 0.2 * haze) * lamp)
    return seen.astype(np.float32), labels
