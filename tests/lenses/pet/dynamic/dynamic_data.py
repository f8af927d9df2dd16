"""A small dynamic scan with known rate constants: two tissues, blood, a reference region, a vessel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from timelens.engines.kinetics import Frames, InputFunction, convolve_exponential, feng, frame_values
from timelens.study.acquisition import Acquisition
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.region import Region
from timelens.study.table import Table
from timelens.study.timing import FrameTiming

INJECTED = datetime(2024, 3, 1, 9, 0, 0)
HALF_LIFE = 6586.2
LENGTHS = np.array([10.0] * 6 + [20] * 3 + [60] * 5 + [120] * 4 + [300] * 4 + [600] * 2)
FRAMES = Frames(np.cumsum(LENGTHS) - LENGTHS, np.cumsum(LENGTHS))
#: Sampled blood: every 2 s, then every 30 s, to the end.
TIMES = np.concatenate([np.arange(0, 240, 2.0), np.arange(240, FRAMES.end[-1] + 60, 30.0)])
SHAPE = (6, 12, 14)


def plasma(delay: float = 0.0) -> InputFunction:
    """FDG-like plasma in Bq/mL."""
    curve = 200.0 * feng(TIMES - 8.0 - delay, (14.2, 21.9, 20.8), (0.0689, 0.001985, 0.000174))
    return InputFunction(TIMES, curve, "parent", "Bq/mL")


def two_tissue(k1: float, k2: float, k3: float, k4: float, v_b: float, delay: float = 0.0) -> np.ndarray:
    """A tissue curve (frames,) from rates per minute, with whole blood equal to plasma."""
    entering = plasma(delay)
    total, product = k2 + k3 + k4, k2 * k4
    root = np.sqrt(total**2 - 4 * product)
    fast, slow = (total + root) / 2, (total - root) / 2
    shares = k1 / (fast - slow) * np.array([fast - k3 - k4, k3 + k4 - slow]) / 60
    rates = np.array([fast, slow]) / 60
    response = convolve_exponential(entering.times, entering.values, rates, FRAMES) @ shares
    return np.asarray((1 - v_b) * response + v_b * frame_values(entering.times, entering.values, FRAMES))


@dataclass
class DynamicCase:
    """The scan, its blood, its regions."""

    pet: Acquisition
    blood: Acquisition
    regions: list[Region]
    curves: dict[str, np.ndarray]


def blood_table(
    *, delay: float = 0.0, unit: str = "Bq/mL", scale: float = 1.0, times: float = 1.0, **said: object
) -> Acquisition:
    """A blood table with whole blood and plasma."""
    curve = plasma(delay)
    rows = pd.DataFrame(
        {
            "time": curve.times * times,
            "whole_blood_radioactivity": curve.values * scale,
            "plasma_radioactivity": curve.values * scale,
        }
    )
    units = {"time": "s", "whole_blood_radioactivity": unit, "plasma_radioactivity": unit}
    extra = {"DecayCorrected": True, **said}
    return Acquisition("blood", "blood", Table(rows, units), extra=extra)


def dynamic_case(*, noise: float = 0.0, agent: str = "FDG", seed: int = 0, delay: float = 0.0) -> DynamicCase:
    """A box with a lesion, a slow tissue, an aorta and muscle; noise is that of the last frame, relative."""
    curves = {
        "lesion-1": two_tissue(0.25, 0.35, 0.12, 0.0, 0.06, delay),
        "liver": two_tissue(0.6, 0.7, 0.01, 0.02, 0.1, delay),
        "aorta": frame_values(plasma(delay).times, plasma(delay).values, FRAMES),
        "muscle": two_tissue(0.03, 0.15, 0.02, 0.0, 0.03, delay),
    }
    labels = np.zeros(SHAPE, np.int32)
    labels[1:5, 2:6, 2:6] = 1
    labels[1:5, 2:6, 8:12] = 2
    labels[1:5, 8:11, 2:5] = 3
    labels[1:5, 8:11, 8:12] = 4
    series = np.zeros((len(FRAMES), *SHAPE), np.float32)
    for number, curve in enumerate(curves.values(), start=1):
        series[:, labels == number] = curve[:, None]
    if noise:
        rng = np.random.default_rng(seed)
        spread = noise * np.sqrt(LENGTHS[-1] / LENGTHS * np.exp2(FRAMES.middle / HALF_LIFE))
        late = curves["lesion-1"][-1]
        series += (rng.normal(size=series.shape) * (spread * late)[:, None, None, None]).astype(np.float32)
    geometry = Geometry(SHAPE, np.diag([4.0, 4.0, 4.0, 1.0]), "frame")
    timing = FrameTiming(FRAMES.start, FRAMES.duration, "injection")
    image = Image(series, unit="Bq/mL", geometry=geometry, decay_reference=INJECTED, frames=timing)
    pet = Acquisition(
        "pet", "pet", image, agent=agent, radionuclide="18F", half_life_s=HALF_LIFE, administered_activity_bq=3e8,
        administered_time=INJECTED, acquisition_time=INJECTED + timedelta(seconds=0), weight_g=70000.0,
        extra={"AttenuationCorrection": "measured"},
    )  # fmt: skip
    region = Region(
        "drawn", "labels", dict(enumerate(curves, start=1)), Image(labels, unit="1", geometry=geometry),
        roles={1: "lesion", 2: "liver", 3: "blood pool", 4: "organ"},
    )  # fmt: skip
    return DynamicCase(pet, blood_table(delay=delay), [region], curves)


def with_blood(case: DynamicCase, blood: Acquisition) -> DynamicCase:
    """The case with another blood table."""
    return replace(case, blood=blood)
