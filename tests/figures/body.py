"""A digital whole-body patient: organs and spherical lesions of known uptake, blurred like a scan, with noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from timelens.study import Geometry, Image

FRAME = "1.2.826.0.1.3680043.8.498.1"
#: Lesions as (X, Y, Z) of the centre in mm (RAS), radius in mm, SUV.
LESIONS = {
    1: ("cervical left", (-60.0, 0.0, 640.0), 13.0, 9.0),
    2: ("mediastinal", (10.0, 20.0, 480.0), 20.0, 12.0),
    3: ("axillary right", (140.0, 0.0, 520.0), 11.0, 7.0),
    4: ("para-aortic", (15.0, -20.0, 180.0), 16.0, 15.0),
    5: ("inguinal left", (-90.0, 40.0, 20.0), 9.0, 5.0),
}
NAMES = {n: name for n, (name, *_) in LESIONS.items()} | {20: "liver"}
ROLES = {20: "liver"}


@dataclass
class Body:
    """PET in SUV, CT in HU, labels on the PET grid."""

    pet: Image
    ct: Image
    labels: NDArray[np.int32]


def body(step: float = 5.0, *, seed: int = 1, change: float = 1.0, missing: tuple[int, ...] = ()) -> Body:
    """The patient on a grid of that voxel edge; lesion uptake times ``change``."""
    rng = np.random.default_rng(seed)
    geometry = _grid(step)
    x, y, z = _mm(geometry)
    torso = ((x / 165) ** 2 + (y / 105) ** 2 < 1) & (z > -60) & (z < 610)
    head = (x / 75) ** 2 + (y / 95) ** 2 + ((z - 740) / 110) ** 2 < 1
    neck = ((x / 60) ** 2 + (y / 60) ** 2 < 1) & (z >= 600) & (z < 690)
    arms = ((np.abs(x) - 205) ** 2 / 40**2 + y**2 / 42**2 < 1) & (z > 60) & (z < 560)
    inside = torso | head | neck | arms
    uptake = np.where(inside, 0.6, 0.0).astype(np.float32)
    organs = {
        "brain": (((x / 62) ** 2 + (y / 80) ** 2 + ((z - 755) / 60) ** 2 < 1), 7.0),
        "lung right": (((x - 80) / 55) ** 2 + (y / 75) ** 2 + ((z - 460) / 110) ** 2 < 1, 0.35),
        "lung left": (((x + 80) / 50) ** 2 + (y / 75) ** 2 + ((z - 460) / 110) ** 2 < 1, 0.35),
        "heart": (((x + 30) / 38) ** 2 + ((y - 30) / 38) ** 2 + ((z - 400) / 42) ** 2 < 1, 2.6),
        "liver": (((x - 70) / 80) ** 2 + ((y - 10) / 70) ** 2 + ((z - 290) / 65) ** 2 < 1, 2.1),
        "spleen": (((x + 105) / 32) ** 2 + ((y + 40) / 35) ** 2 + ((z - 290) / 45) ** 2 < 1, 1.8),
        "kidney right": (((x - 65) / 28) ** 2 + ((y + 55) / 25) ** 2 + ((z - 190) / 52) ** 2 < 1, 4.5),
        "kidney left": (((x + 65) / 28) ** 2 + ((y + 55) / 25) ** 2 + ((z - 195) / 52) ** 2 < 1, 4.5),
        "bladder": ((x / 38) ** 2 + ((y - 30) / 32) ** 2 + ((z + 10) / 30) ** 2 < 1, 25.0),
    }
    for mask, value in organs.values():
        uptake[mask & inside] = value
    labels = np.zeros(geometry.shape, np.int32)
    inner = ((x - 70) / 55) ** 2 + ((y - 10) / 45) ** 2 + ((z - 290) / 40) ** 2 < 1
    labels[inner] = 20
    for number, (_, (cx, cy, cz), radius, value) in LESIONS.items():
        if number in missing:
            continue
        sphere = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 < radius**2
        uptake[sphere] = value * change
        labels[sphere] = number
    blurred = ndimage.gaussian_filter(uptake, 6.0 / 2.355 / step)
    noise = ndimage.gaussian_filter(rng.standard_normal(geometry.shape).astype(np.float32), 5.0 / 2.355 / step)
    noise *= 0.12 / noise.std()
    suv = np.maximum(blurred + noise * np.sqrt(np.maximum(blurred, 0.02)), 0).astype(np.float32)
    ct = np.where(inside, 40, -1000).astype(np.float32)
    ct[organs["lung right"][0] | organs["lung left"][0]] = -800
    ct[(x**2 + (y + 75) ** 2 < 16**2) & inside] = 350
    ct[head & ~((x / 65) ** 2 + (y / 85) ** 2 + ((z - 740) / 100) ** 2 < 1)] = 700
    ct += rng.normal(0, 15, geometry.shape).astype(np.float32)
    return Body(
        Image(suv, unit="g/mL", geometry=geometry, quantity="suv", name="pet"),
        Image(ct.astype(np.int16), unit="[hnsf'U]", geometry=geometry, name="ct"),
        labels,
    )


def _grid(step: float) -> Geometry:
    """Feet to head, front to back, right to left: what a DICOM series of a supine patient gives."""
    shape = (round(950 / step), round(320 / step), round(560 / step))
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = step, -step, -step, 1
    affine[:3, 3] = (280 - step / 2, 160 - step / 2, -80)
    return Geometry(shape, affine, FRAME)


def _mm(geometry: Geometry) -> list[NDArray[np.float32]]:
    a, (nz, ny, nx) = geometry.affine, geometry.shape
    x = (a[0, 3] + a[0, 2] * np.arange(nx))[None, None, :].astype(np.float32)
    y = (a[1, 3] + a[1, 1] * np.arange(ny))[None, :, None].astype(np.float32)
    z = (a[2, 3] + a[2, 0] * np.arange(nz))[:, None, None].astype(np.float32)
    return [x, y, z]
