"""dcmri's own pixel fit on concentrations that ours are given too: the peer of two workloads.

dcmri fits signals: it gets those that the noisy concentrations would have caused, with T1, baseline and scale known.
Its input is sampled every second. Its array model loses what its processes find (0.6.20), so two processes are kept
busy with single pixels here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

REQUIREMENTS = ("dcmri==0.6.20", "numpy==2.4.6", "scipy==1.17.1")
_HAEMATOCRIT = 0.42
_fit: Callable[[Any], tuple[float, ...]]


def pixels(kinetics: str, image: Any, time: Any, times: Any, plasma: Any) -> Callable[[], Any]:
    """The work: K_trans, v_e, v_p (and F_p) of each column of ``image`` (frames, voxels; mmol/L)."""
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
