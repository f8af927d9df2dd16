"""Digital spheres with a known answer, and the sarcoma patients with published values."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


class Lazy:
    """A volume that is read only by slicing its first axis."""

    def __init__(self, array):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, part):
        return self._array[part]


def _ball(
    diameter: float,
    *,
    spacing: tuple[float, float, float] = (2.0, 2.0, 2.0),
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
    margin: float = 14.0,
    supersample: int = 1,
) -> np.ndarray:
    """Share of each voxel inside a sphere; ``centre`` shifts it from the middle of the volume, in mm."""
    sums = 0.0
    half = [int(np.ceil((diameter / 2 + margin) / edge)) for edge in spacing]
    steps = (np.arange(supersample) + 0.5) / supersample - 0.5
    for dz in steps:
        for dy in steps:
            for dx in steps:
                z, y, x = (
                    ((np.arange(-n, n + 1) + d) * edge - c)
                    for n, d, edge, c in zip(half, (dz, dy, dx), spacing, centre, strict=True)
                )
                distance = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2
                sums = sums + (distance <= (diameter / 2) ** 2)
    return np.asarray(sums, dtype=np.float64) / supersample**3


@pytest.fixture(scope="session")
def ball() -> Callable[..., np.ndarray]:
    return _ball


@pytest.fixture(scope="session")
def lazy() -> type[Lazy]:
    return Lazy


PATIENTS = ("STS_001", "STS_002", "STS_006", "STS_009", "STS_020", "STS_030")


@pytest.fixture(params=PATIENTS)
def patient(request: pytest.FixtureRequest, shared_data: Path) -> dict[str, Any]:
    """Image and mask (z, y, x), spacing, and the published values by tag and column."""
    nibabel = pytest.importorskip("nibabel")
    folder = shared_data / "pet_fdg_sarcoma"
    image = nibabel.load(folder / f"{request.param}_PET_image.nii.gz")
    mask = nibabel.load(folder / f"{request.param}_PET_mask.nii.gz")
    with gzip.open(folder / "ibsi1_validation_pet_all_teams.csv.gz", "rt") as file:
        published = {row["tag"]: row for row in csv.DictReader(file) if row["id"] == request.param}
    return {
        "name": request.param,
        "image": np.asarray(image.dataobj, dtype=np.float32).T,
        "mask": np.asarray(mask.dataobj).T > 0,
        "spacing": tuple(float(edge) for edge in image.header.get_zooms()[:3][::-1]),
        "published": published,
    }
