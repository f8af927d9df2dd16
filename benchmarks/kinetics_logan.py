"""Logan maps of a dynamic image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocol import Bar, Contender, Workload

COUNT = 2_000_000
LAST = 10


def prepare(data: Path) -> None:
    """28 frames of one-tissue curves with 2 % noise, plasma, and the true VT."""
    import numpy as np

    from timelens.engines.kinetics import Frames, convolve_exponential, feng

    rng = np.random.default_rng(20240501)
    length = np.array([10] * 6 + [20] * 3 + [60] * 5 + [120] * 4 + [300] * 6 + [600] * 4, dtype=float)
    end = np.cumsum(length)
    frames = Frames(end - length, end)
    t = np.concatenate([np.arange(0, 300, 1.0), np.arange(300, end[-1] + 1, 10.0)])
    values = feng(t - 10, (14.2, 21.9, 20.8), (0.0689, 0.001985, 0.000174))
    rates = np.geomspace(5e-4, 5e-3, 64)
    curves = 0.002 * convolve_exponential(t, values, rates, frames)
    which = rng.integers(0, 64, COUNT)
    image = np.empty((28, COUNT), np.float32)
    for f in range(28):
        image[f] = curves[f, which] * (1 + 0.02 * rng.standard_normal(COUNT, np.float32))
    np.savez(data / "times.npz", start=frames.start, end=frames.end, t=t, plasma=values, v_t=(0.002 / rates)[which])
    np.save(data / "image.npy", image)


def ours(data: Path) -> Any:
    """VT, intercept, both standard errors, residuals and reasons."""
    import numpy as np

    from timelens.engines.kinetics import Frames, InputFunction, Logan

    times, image = np.load(data / "times.npz"), np.load(data / "image.npy")
    frames = Frames(times["start"], times["end"])
    model = Logan(frames, InputFunction(times["t"], times["plasma"], "plasma"), t_star=float(frames.start[-LAST]))
    return lambda: model.map(image, threads=2).parameters["v_t"]


def reading(data: Path) -> Any:
    """Only read all frames from memory, in two threads: their largest value."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    image = np.load(data / "image.npy")
    parts = [image[:, : COUNT // 2], image[:, COUNT // 2 :]]

    def work() -> Any:
        with ThreadPoolExecutor(2) as pool:
            return max(pool.map(lambda part: float(part.max()), parts))

    return work


def judge(result: Any, data: Path) -> dict[str, float | str]:
    """Median relative error of VT."""
    import numpy as np

    if np.ndim(result) == 0:
        return {}
    return {"error": float(np.median(np.abs(result / np.load(data / "times.npz")["v_t"] - 1))), "voxels": COUNT}


WORKLOAD = Workload(
    title="Logan maps",
    about="2,000,000 voxels, 28 frames, the last 10 in the plot, with standard errors. The error is "
    "the median relative error of VT at 2 % noise; `reading` only finds the largest value of the image.",
    contenders=(Contender("timelens", ours), Contender("reading", reading)),
    prepare=prepare,
    judge=judge,
    bars=(
        Bar("10 million voxels per second", lambda rows: rows["timelens"].seconds <= COUNT / 10e6),
        Bar(
            "within 10 times of reading the data", lambda rows: rows["timelens"].seconds <= 10 * rows["reading"].seconds
        ),
    ),
    threads=2,
)
