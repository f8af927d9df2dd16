"""Perfusion fraction and both diffusion coefficients of a diffusion-weighted series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocol import Bar, Contender, Workload

COUNT = 64**3
FEW = 200  # voxels that the slow contender gets; rates are per voxel
B = [0, 10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400, 500, 600, 700, 800, 1000]


def prepare(data: Path) -> None:
    """17 b values with 1 % noise, and the true parameters."""
    import numpy as np

    from timelens.engines.mr_signal import ivim_decay

    rng = np.random.default_rng(20240501)
    f, d, d_star = rng.uniform(0.05, 0.3, COUNT), rng.uniform(0.5e-3, 2e-3, COUNT), rng.uniform(0.01, 0.1, COUNT)
    b = np.array(B, float)
    image = ivim_decay(1000.0, f, d, d_star, b=b[:, None]) + rng.normal(0, 10, (b.size, COUNT))
    np.save(data / "image.npy", image.astype(np.float32))
    np.savez(data / "truth.npz", f=f, d=d, d_star=d_star)


def ours(data: Path) -> Any:
    """f, D, D* and S0 with standard errors and reasons."""
    import numpy as np

    from timelens.engines.relaxometry import IVIM

    image, model = np.load(data / "image.npy"), IVIM(B)

    def work() -> Any:
        found = model.map(image, threads=2).parameters
        return np.stack([found["f"], found["d"], found["d_star"]])

    return work


def dipy(data: Path) -> Any:
    """f, D, D* and S0 by dipy's two-stage trust-region fit."""
    import warnings

    import numpy as np
    from dipy.core.gradients import gradient_table
    from dipy.reconst.ivim import IvimModel

    image = np.load(data / "image.npy")[:, :FEW].astype(float).T
    directions = np.tile([1.0, 0.0, 0.0], (len(B), 1))
    directions[0] = 0
    table = gradient_table(np.array(B, float), bvecs=directions, b0_threshold=0)
    model = IvimModel(table, fit_method="trr")

    def work() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = model.fit(image)
        return np.stack([found.perfusion_fraction, found.D, found.D_star])

    return work


def judge(result: Any, data: Path) -> dict[str, float | str]:
    """Median relative errors; the table's is that of f, for which the method matters most."""
    import numpy as np

    truth = np.load(data / "truth.npz")
    few = {}
    for i, name in enumerate(("f", "d", "d_star")):
        off = np.abs(result[i][:FEW] / truth[name][:FEW] - 1)
        few[name] = float(np.nanmedian(off))
    return {"error": few["f"], "error of D": few["d"], "error of D*": few["d_star"], "voxels": int(result.shape[1])}


def _rate(row: Any) -> float:
    return float(row.notes["voxels"]) / float(row.seconds)


WORKLOAD = Workload(
    title="IVIM maps",
    about="64 x 64 x 64 voxels, 17 b values, 1 % noise. dipy is given the first 200 only, and rates are compared "
    "per voxel. Errors are medians of those 200 voxels, relative to the truth; the column is that of the perfusion "
    "fraction. Ours also gives standard errors and reasons.",
    contenders=(
        Contender("timelens", ours),
        Contender("dipy", dipy, requirements=("dipy==1.12.1", "numpy==2.4.6", "scipy==1.17.1")),
    ),
    prepare=prepare,
    judge=judge,
    bars=(
        Bar("1,000 times dipy's rate", lambda rows: _rate(rows["timelens"]) >= 1000 * _rate(rows["dipy"])),
        Bar("smaller error than dipy", lambda rows: (rows["timelens"].error or 0) < (rows["dipy"].error or 0)),
    ),
    threads=2,
)
