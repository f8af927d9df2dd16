"""A small study on disk: two patients, two visits each, as DICOM series."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from timelens.formats import dicom
from timelens.study import Acquisition, Geometry, Image

SHAPE, SPACING = (24, 30, 32), (4.0, 4.0, 4.0)
DOSE, WEIGHT, HALF_LIFE = 300e6, 75_000.0, 6586.2
FIRST = datetime(2024, 3, 1, 9, 0)


def ball(centre: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    grid = np.meshgrid(*[np.arange(n, dtype=float) for n in SHAPE], indexing="ij")
    return sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, SPACING, strict=True)) <= radius_mm**2


def body(*lesions: tuple[tuple[float, float, float], float, float]) -> np.ndarray:
    """SUV of a body of 1 with a liver of 2 and lesions (centre, radius in mm, SUV) in air."""
    suv = np.where(ball((12, 15, 16), 46), 1.0, 0.0)
    suv[ball((16, 12, 10), 14)] = 2.0
    for centre, radius, value in lesions:
        suv[ball(centre, radius)] = value
    return suv


def scan(suv: np.ndarray, *, patient: int, day: int, weight_g: float | None = WEIGHT) -> Acquisition:
    injected = FIRST + timedelta(days=day)
    start = injected + timedelta(minutes=60)
    per_suv = DOSE * 2 ** (-3600 / HALF_LIFE) / WEIGHT
    geometry = Geometry.from_spacing(
        SHAPE, SPACING, origin=(-60.0, -58.0, 100.0), frame=f"1.2.826.0.1.{patient}.{day + 1}"
    )
    image = Image((suv * per_suv).astype(np.float32), unit="Bq/mL", geometry=geometry, decay_reference=start)
    return Acquisition(
        f"p{patient}d{day}", "pet", image, agent="Fluorodeoxyglucose", radionuclide="18F", half_life_s=HALF_LIFE,
        administered_activity_bq=DOSE, administered_time=injected, series_time=start, acquisition_time=start,
        weight_g=weight_g, height_mm=1750.0, sex="M", description="PET AC",
        extra={"CorrectedImage": ("DECY", "ATTN", "SCAT")},
    )  # fmt: skip


A = ((8.0, 12.0, 20.0), 14.0, 8.0)
B = ((14.0, 20.0, 18.0), 12.0, 6.0)
NEW = ((19.0, 15.0, 18.0), 11.0, 7.0)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two patients x two visits; in the second visit of the first, lesion A has shrunk and a new one is there."""
    root = tmp_path / "scans"
    visits = {
        (1, 0): body(A, B),
        (1, 28): body((A[0], 10.0, 6.0), B, NEW),
        (2, 0): body(B),
        (2, 28): body(B),
    }
    for (patient, day), suv in visits.items():
        write(scan(suv, patient=patient, day=day), root, patient, day)
    return root


def write(acquisition: Acquisition, root: Path, patient: int, day: int) -> list[Path]:
    return dicom.write_series(
        acquisition,
        root / f"patient{patient}" / f"day{day:02d}" / "pet",
        identity={"PatientID": f"SECRET-{patient}", "PatientName": f"Doe^Jane{patient}"},
        study=f"p{patient}d{day}",
    )
