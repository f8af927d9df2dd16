"""Patlak maps of a dynamic image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocol import Bar, Contender, Workload

SHAPE = (96, 96, 96)
LAST = 10


def prepare(data: Path) -> None:
    """28 frames of trapping tissue with noise that falls with frame duration, plasma, and the true Ki."""
    import numpy as np

    from timelens.engines.kinetics import InputFunction, convolve_exponential, feng, frame_values
    from timelens.engines.kinetics.frames import Frames

    rng = np.random.default_rng(20240501)
    length = np.array([10] * 6 + [20] * 3 + [60] * 5 + [120] * 4 + [300] * 6 + [600] * 4, dtype=float)
    end = np.cumsum(length)
    frames = Frames(end - length, end)
    t = np.concatenate([np.arange(0, 300, 1.0), np.arange(300, end[-1] + 1, 10.0)])
    values = feng(t - 10, (14.2, 21.9, 20.8), (0.0689, 0.001985, 0.000174))
    plasma = InputFunction(t, values, "plasma")
    count = int(np.prod(SHAPE))
    k_i = rng.uniform(1e-4, 8e-4, count)
    volume = rng.uniform(0.2, 0.8, count)
    integral = convolve_exponential(t, values, 0.0, frames)
    seen = frame_values(plasma.times, plasma.values, frames)
    image = np.empty((len(frames), count), np.float32)
    for f in range(len(frames)):
        clean = k_i * integral[f] + volume * seen[f]
        image[f] = clean * (1 + 0.02 * np.sqrt(600 / length[f]) * rng.standard_normal(count, np.float32))
    np.savez(data / "times.npz", start=frames.start, end=frames.end, t=t, plasma=values, seen=seen, k_i=k_i)
    np.save(data / "frames_first.npy", image.reshape(-1, *SHAPE))
    np.save(data / "frames_last.npy", np.ascontiguousarray(np.moveaxis(image.reshape(-1, *SHAPE), 0, -1)))


def ours(data: Path) -> Any:
    """Ki, intercept, both standard errors, residuals and reasons."""
    import numpy as np

    from timelens.engines.kinetics import Frames, InputFunction, Patlak

    times, image = np.load(data / "times.npz"), np.load(data / "frames_first.npy")
    frames = Frames(times["start"], times["end"])
    model = Patlak(frames, InputFunction(times["t"], times["plasma"], "plasma"), t_star=float(frames.start[-LAST]))
    return lambda: model.map(image, threads=2).parameters["k_i"]


def reading(data: Path) -> Any:
    """Only read the frames from memory, in two threads: their largest value."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    image = np.load(data / "frames_first.npy").reshape(28, -1)
    half = image.shape[1] // 2
    parts = [image[-LAST:, :half], image[-LAST:, half:]]

    def work() -> Any:
        with ThreadPoolExecutor(2) as pool:
            return max(pool.map(lambda part: float(part.max()), parts))

    return work


def nifti_dynamic(data: Path) -> Any:
    """Ki and intercept."""
    import nibabel as nib
    import numpy as np
    from nifti_dynamic.patlak import voxel_patlak

    times = np.load(data / "times.npz")
    image = nib.Nifti1Image(np.load(data / "frames_last.npy"), np.eye(4))
    middle = 0.5 * (times["start"] + times["end"])
    # Its slope is per minute for times in seconds.
    return lambda: (
        np.asarray(voxel_patlak(image, times["seen"], middle, n_frames_linear_regression=LAST)[0].dataobj) / 60
    )


def judge(result: Any, data: Path) -> dict[str, float | str]:
    """Median relative error of Ki."""
    import numpy as np

    if np.ndim(result) == 0:
        return {}
    truth = np.load(data / "times.npz")["k_i"]
    return {"error": float(np.median(np.abs(np.asarray(result, float).ravel() / truth - 1))), "voxels": truth.size}


WORKLOAD = Workload(
    title="Patlak maps",
    about="96 x 96 x 96 voxels, 28 frames, the last 10 fitted. Ours gives standard errors, residual sums and reasons "
    "besides; the error is the median relative error of Ki, which the noise in the image dominates. `reading` only "
    "finds the largest value of the frames that are fitted.",
    contenders=(
        Contender("timelens", ours),
        Contender("reading", reading),
        Contender(
            "nifti_dynamic",
            nifti_dynamic,
            requirements=("nifti-dynamic==0.3.1", "numpy==2.4.6", "scipy==1.17.1", "nibabel==5.4.2"),
        ),
    ),
    prepare=prepare,
    judge=judge,
    bars=(
        Bar(
            "ten times nifti_dynamic's rate",
            lambda rows: rows["timelens"].seconds * 10 <= rows["nifti_dynamic"].seconds,
        ),
        Bar(
            "no larger error than nifti_dynamic",
            lambda rows: (rows["timelens"].error or 0) <= 1.01 * (rows["nifti_dynamic"].error or 0),
        ),
        Bar("within 3 times of reading the data", lambda rows: rows["timelens"].seconds <= 3 * rows["reading"].seconds),
    ),
    threads=2,
)
