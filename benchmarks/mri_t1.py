"""T1 from five flip angles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocol import Bar, Contender, Workload

COUNT = 128**3
FLIPS = [2.0, 4.0, 8.0, 12.0, 18.0]
TR = 0.005


def prepare(data: Path) -> None:
    """Spoiled gradient echoes with 0.05 % of M0 as noise, and the true T1."""
    import numpy as np

    from timelens.engines.mr_signal import spoiled_gradient_echo

    rng = np.random.default_rng(20240501)
    t1 = rng.uniform(0.3, 3.0, COUNT)
    image = spoiled_gradient_echo(1000.0, 1 / t1, flip=np.array(FLIPS)[:, None], tr=TR)
    image += rng.normal(0, 0.5, image.shape)
    np.save(data / "image.npy", image.astype(np.float32))
    np.save(data / "t1.npy", t1)


def _with(method: str) -> Any:
    def start(data: Path) -> Any:
        import numpy as np

        from timelens.engines.relaxometry import VariableFlipAngle

        image, model = np.load(data / "image.npy"), VariableFlipAngle(FLIPS, TR, method=method)
        return lambda: model.fit(image, threads=2, dtype=np.float32).parameters["t1"]

    return start


def judge(result: Any, data: Path) -> dict[str, float | str]:
    """Median relative error of T1."""
    import numpy as np

    truth = np.load(data / "t1.npy")
    return {"error": float(np.nanmedian(np.abs(result / truth - 1))), "voxels": int(result.size)}


def _rate(row: Any) -> float:
    return float(row.notes["voxels"]) / float(row.seconds)


WORKLOAD = Workload(
    title="T1 maps from flip angles",
    about="128 x 128 x 128 voxels, five flip angles, with standard errors and reasons. The error is the median relative"
    " error of T1 at this noise.",
    contenders=(
        Contender("timelens, NOVIFAST", _with("novifast")),
        Contender("timelens, linear", _with("linear")),
        Contender("timelens, non-linear", _with("nonlinear")),
    ),
    prepare=prepare,
    judge=judge,
    bars=(
        Bar("5 million voxels per second (NOVIFAST)", lambda rows: _rate(rows["timelens, NOVIFAST"]) >= 5e6),
        Bar("5 million voxels per second (linear)", lambda rows: _rate(rows["timelens, linear"]) >= 5e6),
    ),
    threads=2,
)
