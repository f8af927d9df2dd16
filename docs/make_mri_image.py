"""The picture of the MRI page, from the in-vivo set of the reference data.

Run ``.venv/bin/python docs/make_mri_image.py FOLDER``, where FOLDER holds ``invivo.mat``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import scipy.io

from timelens.engines.kinetics import Frames, InputFunction, Reason, Tofts
from timelens.engines.mr_signal import gradient_echo_concentration
from timelens.engines.relaxometry import VariableFlipAngle

TARGET = Path(__file__).parent / "images" / "mri_dce.png"


def main(folder: Path) -> None:
    data = scipy.io.loadmat(folder / "invivo.mat")
    tr, flips = float(data["TR"][0, 0]), data["T1flip"].ravel().astype(float)
    tissue = data["T1data"].mean(axis=0) > 0.05 * np.percentile(data["T1data"].mean(axis=0), 99)
    t1 = VariableFlipAngle(flips, tr).fit(data["T1data"], mask=tissue)
    times, plasma = data["t"].ravel(), data["Cp"].ravel()
    before = slice(0, int(np.argmax(plasma > 0.05 * plasma.max())))
    found = gradient_echo_concentration(
        data["DCEdata"], t1.parameters["t1"], tr=tr, flip=20.0, relaxivity=4.5, baseline=before
    )
    usable = tissue & (found.reason == 0)
    print(
        f"{tissue.sum()} voxels of tissue, {(t1.reason[tissue] == 0).sum()} with T1, {usable.sum()} with concentrations"
    )
    late = np.where(usable, found.values[-5:], np.nan)
    enhancing = usable & (np.where(usable, late, 0).mean(axis=0) > 0.05)
    fit = Tofts(Frames.instants(times), InputFunction(times, plasma, "plasma", "mmol/L")).map(
        found.values, mask=enhancing
    )
    sure = (fit.reason & int(Reason.RATE_AT_BOUND | Reason.IMPRECISE | Reason.COMPARTMENT_AT_ZERO)) == 0
    sure &= enhancing & (fit.parameters["v_e"] <= 1)
    k_trans, v_e = 60 * fit.parameters["k_trans"], fit.parameters["v_e"]
    print(f"{enhancing.sum()} enhance, {sure.sum()} of them identified")
    for name, value in (
        ("T1 s", np.where(enhancing, t1.parameters["t1"], np.nan)),
        ("Ktrans /min", np.where(sure, k_trans, np.nan)),
        ("v_e", np.where(sure, v_e, np.nan)),
    ):
        print(name, np.nanpercentile(value, [5, 25, 50, 75, 95]).round(3))
    peak = np.where(usable, found.values, -np.inf).max(axis=0)
    panels = [
        ("T1 before contrast, s", t1.parameters["t1"], tissue, 3.0),
        ("peak concentration, mmol/L", peak, usable, 2.0),
        ("K$^{trans}$, /min", k_trans, sure, 0.4),
        ("v$_e$", v_e, sure, 0.6),
        (
            "standard error of K$^{trans}$, %",
            100 * fit.standard_errors["k_trans"] / fit.parameters["k_trans"],
            sure,
            50.0,
        ),
    ]
    rows, columns = np.flatnonzero(tissue.any(axis=1)), np.flatnonzero(tissue.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    under = data["DCEdata"][:4].mean(axis=0)
    figure, axes = plt.subplots(1, len(panels), figsize=(15, 3.9), layout="constrained")
    for axis, (title, values, where, top) in zip(axes, panels, strict=True):
        axis.imshow(under[box], cmap="gray", vmax=1.3 * np.percentile(under[tissue], 99))
        shown = axis.imshow(
            np.where(where, values, np.nan)[box], cmap="viridis", vmin=0, vmax=top, interpolation="none"
        )
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
        figure.colorbar(shown, ax=axis, orientation="horizontal", fraction=0.05, pad=0.02, extend="max")
    figure.savefig(TARGET, dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
