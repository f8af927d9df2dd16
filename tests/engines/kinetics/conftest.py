"""A dynamic study with known truth: frames, inputs and the tissue that a compartment model makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import expm
from tests.engines.kinetics.kinfitr import MINUTE, Scan
from tests.engines.kinetics.study import DURATIONS, Floats, Tissue

from timelens.engines.kinetics import Frames, InputFunction, convolve_exponential, frame_values


@pytest.fixture(scope="session")
def frames() -> Frames:
    """28 frames over 85 minutes."""
    end = np.cumsum(DURATIONS)
    return Frames(end - DURATIONS, end)


@pytest.fixture(scope="session")
def plasma(frames: Frames) -> InputFunction:
    """A bolus that arrives at 20 s, sampled every second, then less often."""
    last = float(frames.end[-1])
    t = np.concatenate([np.arange(0, 120, 1.0), np.arange(120, 600, 10.0), np.arange(600, last + 1, 30.0)])
    late = np.maximum(t - 20, 0)
    return InputFunction(
        t, late * 100 * np.exp(-late / 15) + 20 * -np.expm1(-late / 20) * np.exp(-t / 2500) * (late > 0), "parent"
    )


@pytest.fixture(scope="session")
def blood(plasma: InputFunction) -> InputFunction:
    """Whole blood, of another shape than plasma."""
    return InputFunction(plasma.times, plasma.values * (1.3 - 0.4 * np.exp(-plasma.times / 900)), "whole_blood")


@pytest.fixture(scope="session")
def tissue(frames: Frames, plasma: InputFunction, blood: InputFunction) -> Tissue:
    """Tissue of any linear compartment system, made without the engine's own algebra: eigenvalues of its matrix."""

    def make(k1: float, k2: float, k3: float = 0.0, k4: float = 0.0, k_int: float = 0.0, v_b: float = 0.0) -> Floats:
        matrix = np.array([[-(k2 + k3), k4, 0], [k3, -(k4 + k_int), 0], [0, k_int, 0]])
        # The response of a linear system is found from its matrix exponential at three times, by Prony's rates.
        values, vectors = np.linalg.eig(matrix)
        part = np.linalg.solve(vectors, np.array([k1, 0, 0]))
        amplitudes = (vectors * part).sum(axis=0).real
        check = (expm(matrix * 100.0) @ [k1, 0, 0]).sum()
        assert amplitudes @ np.exp(values.real * 100) == pytest.approx(check, rel=1e-9)
        rates = np.maximum(-values.real, 0)
        curve = convolve_exponential(plasma.times, plasma.values, rates, frames) @ amplitudes
        return np.asarray((1 - v_b) * curve + v_b * frame_values(blood.times, blood.values, frames))

    return make


@pytest.fixture(scope="session")
def pbr28(shared_data: Path) -> Path:
    """Folder with twenty scans, their blood and the reference's fits."""
    place = shared_data / "pet_pbr28_kinfitr"
    if not place.is_dir():
        pytest.skip(f"kinfitr's reference data not found at {place}")
    return place


@pytest.fixture(scope="session")
def scans(pbr28: Path) -> dict[str, Scan]:
    """All twenty scans by name, with their blood on the reference's grid."""
    tacs, blood = pd.read_csv(pbr28 / "pbr28_tacs.csv"), pd.read_csv(pbr28 / "pbr28_input_interp.csv.gz")
    delays = pd.read_csv(pbr28 / "kinfitr_pbr28_fits_long.csv").groupby("PET").inpshift_used.first() * MINUTE
    return {
        name: Scan(part, blood[name == blood.PET], float(delays[name]))
        for name, part in tacs.groupby("PET", sort=False)
    }
