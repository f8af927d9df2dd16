"""What the workloads of contrast agent share: our maps, dcmri's own pixel fit of the same concentrations, and errors.

dcmri fits signals: it gets those that the noisy concentrations would have caused, with T1, baseline and scale known.
Its input is sampled every second. Its array model loses what its processes find (0.6.20), so two processes are kept
busy with single pixels here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REQUIREMENTS = ("dcmri==0.6.20", "numpy==2.4.6", "scipy==1.17.1")
_HAEMATOCRIT = 0.42
_fit: Callable[[Any], tuple[float, ...]]


def ours(model: str, names: Sequence[str], interval: float) -> Callable[[Path], Any]:
    """Maps of one of our models of ``image.npy`` (frames, voxels), a frame each ``interval`` s."""

    def start(data: Path) -> Any:
        import numpy as np

        from timelens.engines import kinetics

        image, given = np.load(data / "image.npy"), np.load(data / "truth.npz")
        plasma = kinetics.InputFunction(given["times"], given["plasma"], "plasma", "mmol/L")
        fit = getattr(kinetics, model)(kinetics.Frames.instants(interval * np.arange(len(image))), plasma)

        def work() -> Any:
            found = fit.map(image, threads=2).parameters
            return np.stack([found[name] for name in names])

        return work

    return start


def dcmri(kinetics: str, few: int, interval: float) -> Callable[[Path], Any]:
    """The first voxels by dcmri: K_trans, v_e, v_p (and F_p)."""

    def start(data: Path) -> Any:
        import numpy as np

        image, given = np.load(data / "image.npy", mmap_mode="r")[:, :few], np.load(data / "truth.npz")
        return _pixels(kinetics, image, interval * np.arange(len(image)), given["times"], given["plasma"])

    return start


def errors(names: Sequence[str], few: int) -> Callable[[Any, Path], dict[str, float | str]]:
    """Median relative errors of the voxels that dcmri is given; the table's is that of the first parameter."""

    def judge(result: Any, data: Path) -> dict[str, float | str]:
        import numpy as np

        truth = np.load(data / "truth.npz")
        off = [float(np.nanmedian(np.abs(result[i][:few] / truth[n][:few] - 1))) for i, n in enumerate(names)]
        rest = {f"error of {name}": one for name, one in zip(names[1:], off[1:], strict=True)}
        return {"error": off[0], **rest, "voxels": int(result.shape[1])}

    return judge


def rate(row: Any) -> float:
    """Voxels per second."""
    return float(row.notes["voxels"]) / float(row.seconds)


def _pixels(kinetics: str, image: Any, time: Any, times: Any, plasma: Any) -> Callable[[], Any]:
    import dcmri
    import numpy as np

    how = {"TR": 0.005, "FA": 20.0, "R10": 0.7, "r1": 5000.0, "S0": 1.0, "H": _HAEMATOCRIT}
    signals = [dcmri.signal_ss(1.0, 0.7 + 5.0 * voxel, 0.005, 20.0) for voxel in image.T]
    seconds = np.arange(0.0, times[-1] + 0.5)
    blood = 1e-3 * (1 - _HAEMATOCRIT) * np.interp(seconds, times, plasma)

    def fit(curve: Any) -> tuple[float, ...]:
        tissue = dcmri.Tissue(kinetics, "FF", "SS", ca=blood, t=seconds, **how)
        tissue.train(time, curve, init_s0=False)
        vessels = tissue.vb * (1 - _HAEMATOCRIT)
        if kinetics == "HF":
            return tissue.PS, tissue.vi, vessels
        flow = tissue.Fb * (1 - _HAEMATOCRIT)
        return flow * tissue.PS / (flow + tissue.PS), tissue.vi, vessels, flow

    def work() -> Any:
        global _fit
        import multiprocessing

        _fit = fit  # the processes inherit it
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return np.array(pool.map(_one, signals, chunksize=10)).T

    return work


def _one(curve: Any) -> tuple[float, ...]:
    return _fit(curve)
