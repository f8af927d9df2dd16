"""Maps of the two-compartment exchange model from concentrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import contrast_maps
from contrast_maps import rate
from protocol import Bar, Contender, Workload

COUNT = 64**3
FEW = 160  # dcmri takes tens of milliseconds for each voxel
FRAMES, INTERVAL = 100, 2.5
NAMES = ("k_trans", "v_e", "v_p", "f_p")


def prepare(data: Path) -> None:
    """100 frames of 2.5 s with noise of 0.005 mmol/L, the plasma input, and the true parameters."""
    import numpy as np

    from timelens.engines.kinetics import Frames, convolve_exponential
    from timelens.engines.perfusion import population_input

    rng = np.random.default_rng(20240502)
    plasma = population_input("parker", INTERVAL * FRAMES, haematocrit=0.42, delay=15.0)
    frames = Frames.instants(INTERVAL * np.arange(FRAMES))
    f_p, ps = rng.uniform(0.3, 1.0, COUNT) / 60, rng.uniform(0.05, 0.3, COUNT) / 60
    v_p, v_e = rng.uniform(0.03, 0.12, COUNT), rng.uniform(0.15, 0.5, COUNT)
    # The response is a exp(-f t) + b exp(-s t), which starts at F_p and falls by F_p^2 / v_p.
    total = (f_p + ps) / v_p + ps / v_e
    root = np.sqrt(total**2 - 4 * f_p * ps / (v_p * v_e))
    fast, slow = (total + root) / 2, (total - root) / 2
    first = (f_p**2 / v_p - f_p * slow) / root
    image = np.empty((FRAMES, COUNT))
    for part in np.array_split(np.arange(COUNT), 64):
        image[:, part] = first[part] * convolve_exponential(plasma.times, plasma.values, fast[part], frames)
        image[:, part] += (f_p - first)[part] * convolve_exponential(plasma.times, plasma.values, slow[part], frames)
    image += rng.normal(0, 0.005, image.shape)
    np.save(data / "image.npy", image)
    np.savez(data / "truth.npz", k_trans=f_p * ps / (f_p + ps), v_e=v_e, v_p=v_p, f_p=f_p,
             times=plasma.times, plasma=plasma.values)  # fmt: skip


def _no_worse(rows: Any) -> bool:
    ours, theirs = rows["timelens, non-linear"], rows["dcmri"]
    rest = all(ours.notes[f"error of {name}"] <= 1.05 * theirs.notes[f"error of {name}"] for name in NAMES[1:])
    return rest and ours.error <= 1.05 * theirs.error


WORKLOAD = Workload(
    title="Two-compartment exchange maps",
    about="64 x 64 x 64 voxels, 100 frames in float64, with standard errors and reasons. dcmri is given the first 160 "
    "only, in two processes, and rates are compared per voxel. Errors are medians of those 160, relative to the truth; "
    "the column is that of K_trans.",
    contenders=(
        Contender("timelens, linear", contrast_maps.ours("LinearExchange", NAMES, INTERVAL)),
        Contender("timelens, non-linear", contrast_maps.ours("TwoCompartmentExchange", NAMES, INTERVAL)),
        Contender("dcmri", contrast_maps.dcmri("2CX", FEW, INTERVAL), requirements=contrast_maps.REQUIREMENTS),
    ),
    prepare=prepare,
    judge=contrast_maps.errors(NAMES, FEW),
    bars=(
        Bar(
            "5,000 times dcmri's rate (linear)",
            lambda rows: rate(rows["timelens, linear"]) >= 5e3 * rate(rows["dcmri"]),
        ),
        Bar("no larger error than dcmri in all four parameters (non-linear)", _no_worse),
    ),
    threads=2,
)
