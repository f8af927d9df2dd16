"""Maps of the extended Tofts model from concentrations."""

from __future__ import annotations

from pathlib import Path

import contrast_maps
from contrast_maps import rate
from protocol import Bar, Contender, Workload

COUNT = 80**3
NAMES = ("k_trans", "v_e", "v_p")
FEW = 240  # dcmri takes about 10 ms for each voxel


def prepare(data: Path) -> None:
    """60 frames of 5 s with noise of 0.02 mmol/L, the plasma input, and the true parameters."""
    import numpy as np

    from timelens.engines.kinetics import Frames, convolve_exponential, frame_values
    from timelens.engines.perfusion import population_input

    rng = np.random.default_rng(20240501)
    plasma = population_input("parker", 300.0, haematocrit=0.42, delay=15.0)
    frames = Frames.instants(5.0 * np.arange(60))
    k_trans, v_e, v_p = rng.uniform(0.05, 0.5, COUNT) / 60, rng.uniform(0.1, 0.5, COUNT), rng.uniform(0.01, 0.1, COUNT)
    seen = frame_values(plasma.times, plasma.values, frames)
    image = np.empty((60, COUNT))
    for part in np.array_split(np.arange(COUNT), 64):
        leaked = convolve_exponential(plasma.times, plasma.values, k_trans[part] / v_e[part], frames)
        image[:, part] = k_trans[part] * leaked + v_p[part] * seen[:, None]
    image += rng.normal(0, 0.02, image.shape)
    np.save(data / "image.npy", image)
    np.savez(data / "truth.npz", k_trans=k_trans, v_e=v_e, v_p=v_p, times=plasma.times, plasma=plasma.values)


WORKLOAD = Workload(
    title="Extended Tofts maps",
    about="80 x 80 x 80 voxels, 60 frames in float64, with standard errors and reasons. dcmri is given the first 240 "
    "only, in two processes, and rates are compared per voxel. Errors are medians of those 240, relative to the truth; "
    "the column is that of K_trans.",
    contenders=(
        Contender("timelens, linear", contrast_maps.ours("LinearExtendedTofts", NAMES, 5.0)),
        Contender("timelens, non-linear", contrast_maps.ours("ExtendedTofts", NAMES, 5.0)),
        Contender("dcmri", contrast_maps.dcmri("HF", FEW, 5.0), requirements=contrast_maps.REQUIREMENTS),
    ),
    prepare=prepare,
    judge=contrast_maps.errors(NAMES, FEW),
    bars=(
        Bar("500,000 voxels per second (linear)", lambda rows: rate(rows["timelens, linear"]) >= 5e5),
        Bar("10,000 times dcmri's rate", lambda rows: rate(rows["timelens, linear"]) >= 1e4 * rate(rows["dcmri"])),
        Bar(
            "no larger error than dcmri",
            lambda rows: (rows["timelens, linear"].error or 0) <= 1.05 * (rows["dcmri"].error or 0),
        ),
    ),
    threads=2,
)
