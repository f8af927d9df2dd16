"""SRTM maps of a dynamic image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocol import Bar, Contender, Workload

COUNT = 64**3
FEW = 600  # voxels that the slow contender gets; rates are per voxel


def prepare(data: Path) -> None:
    """28 frames of SRTM tissue with noise, the reference curve, and the true BP."""
    import numpy as np

    from timelens.engines.kinetics import Frames, convolve_exponential, feng, frame_values, reference_input

    rng = np.random.default_rng(20240501)
    length = np.array([10] * 6 + [20] * 3 + [60] * 5 + [120] * 4 + [300] * 6 + [600] * 4, dtype=float)
    end = np.cumsum(length)
    frames = Frames(end - length, end, "instant")
    t = np.concatenate([np.arange(0, 300, 1.0), np.arange(300, end[-1] + 1, 10.0)])
    values = feng(t - 10, (14.2, 21.9, 20.8), (0.0689, 0.001985, 0.000174))
    reference = 0.002 * convolve_exponential(t, values, 0.0025, frames)
    whole = reference_input(frames, reference)
    seen = frame_values(whole.times, whole.values, frames)
    bp, r1 = rng.uniform(0.2, 3.0, COUNT), rng.uniform(0.7, 1.3, COUNT)
    k2 = 0.0025 * r1
    image = np.empty((28, COUNT), np.float32)
    for part in np.array_split(np.arange(COUNT), 64):
        k2a = k2[part] / (1 + bp[part])
        basis = convolve_exponential(whole.times, whole.values, k2a, frames)
        image[:, part] = r1[part] * seen[:, None] + (k2[part] - r1[part] * k2a) * basis
    image *= 1 + 0.01 * rng.standard_normal(image.shape, np.float32)
    np.savez(data / "times.npz", start=frames.start, end=frames.end, reference=reference, bp=bp)
    np.save(data / "image.npy", image)


def ours(data: Path) -> Any:
    """R1, k2, k2a, BP with their standard errors, refined between the basis functions."""
    import numpy as np

    from timelens.engines.kinetics import SRTM, Frames, reference_input

    times, image = np.load(data / "times.npz"), np.load(data / "image.npy")
    frames = Frames(times["start"], times["end"], "instant")
    model = SRTM(frames, reference_input(frames, times["reference"]))
    return lambda: model.map(image, threads=2).parameters["bp_nd"]


def niftypad(data: Path) -> Any:
    """R1, k2, BP by the best of 128 basis functions."""
    import numpy as np
    from niftypad import basis, models
    from niftypad.tac import Ref

    times, image = np.load(data / "times.npz"), np.load(data / "image.npy")[:, :FEW].astype(float)
    dt = np.stack([times["start"], times["end"]]).astype(int)
    reference = Ref(times["reference"], dt)
    reference.interp_1()
    made = basis.make_basis(reference.inputf1, dt, beta_lim=[2e-4, 1e-2], n_beta=128)
    return lambda: np.array([models.srtmb_basis(image[:, v].copy(), made)["bp"] for v in range(FEW)])


def judge(result: Any, data: Path) -> dict[str, float | str]:
    """Median absolute error of BP, and how many voxels were fitted."""
    import numpy as np

    truth = np.load(data / "times.npz")["bp"][: len(result)]
    return {"error": float(np.nanmedian(np.abs(result - truth))), "voxels": len(result)}


def _rate(row: Any) -> float:
    return float(row.notes["voxels"]) / float(row.seconds)


WORKLOAD = Workload(
    title="SRTM maps",
    about="64 x 64 x 64 voxels, 28 frames, 1 % noise. NiftyPAD is given the first 600 voxels only, and rates are "
    "compared per voxel. The error is the median absolute error of BP. Ours also gives standard errors.",
    contenders=(
        Contender("timelens", ours),
        Contender("niftypad", niftypad, requirements=("niftypad==2.0.0", "numpy==2.4.6", "scipy==1.17.1")),
    ),
    prepare=prepare,
    judge=judge,
    bars=(
        Bar("1,000 times NiftyPAD's rate", lambda rows: _rate(rows["timelens"]) >= 1000 * _rate(rows["niftypad"])),
        Bar(
            "no larger error than NiftyPAD",
            lambda rows: (rows["timelens"].error or 0) <= 1.05 * (rows["niftypad"].error or 0),
        ),
    ),
    threads=2,
)
