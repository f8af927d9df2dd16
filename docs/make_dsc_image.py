"""The picture of bias in the DSC section of the MRI page, and the numbers of its table.

Run ``.venv/bin/python docs/make_dsc_image.py``: known tissues of unit artery, 300 noisy copies each, five methods.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from timelens.engines.perfusion import Deconvolution, VascularModel

TARGET = Path(__file__).parent / "images" / "mri_dsc_bias.png"
STEP, FRAMES, DELAY, COPIES = 1.243, 161, 1.7, 300
TRANSITS, SHAPES, NOISES = (2, 3, 4, 6, 8, 12, 24), (1.0, 3.0), (0.01, 0.02, 0.04, 0.05)
METHODS = {"ssvd": "sSVD", "csvd": "cSVD", "osvd": "oSVD", "tikhonov": "Tikhonov", "model": "vascular model"}
COLOURS = {"ssvd": "#b8b8b8", "csvd": "#8c8c8c", "osvd": "#d08b2c", "tikhonov": "#7a6fb0", "model": "#1b6f8f"}
PLAIN = {"haematocrit_factor": 1.0, "density": 1.0}


def main() -> None:
    times = STEP * np.arange(FRAMES)
    fine = np.arange(0, FRAMES * STEP, 0.01)
    late = np.maximum(fine - 15, 0) / 4.5
    bolus = 6 * late**3 * np.exp(3 * (1 - late))
    artery = np.interp(times, fine, bolus)
    model = VascularModel(times, artery, **PLAIN)
    # Curves of the model's own equation, of an artery sampled a hundred times a second.
    exact = VascularModel(fine[::4], bolus[::4], mtt=(1.0, 1.1), shape=(1.0, 1.1), delay=(0.0, 0.1), **PLAIN)
    known = {name: Deconvolution(times, artery, method=name, **PLAIN) for name in ("ssvd", "csvd", "osvd", "tikhonov")}
    bias = np.zeros((len(METHODS), len(NOISES), len(SHAPES), len(TRANSITS)))
    held, spread = np.zeros(bias.shape[1:]), np.zeros(bias.shape[1:])
    rng = np.random.default_rng(1)
    for s, shape in enumerate(SHAPES):
        for m, mtt in enumerate(TRANSITS):
            truth = 240 / mtt
            whole = exact.predict({"cbf": truth, "mtt": mtt, "delay": DELAY, "shape": shape})[:, 0]
            clean = np.interp(times, fine[::4], whole)
            for n, noise in enumerate(NOISES):
                data = clean[:, None] + noise * clean.max() * rng.standard_normal((FRAMES, COPIES))
                for k, name in enumerate(METHODS):
                    if name != "model":
                        flow = known[name].fit(data).cbf
                    else:
                        fit = model.fit(data)
                        flow = fit.parameters["cbf"]
                        low, high = fit.interval(0.95)
                        held[n, s, m], spread[n, s, m] = np.mean((low <= truth) & (truth <= high)), flow.std() / truth
                    bias[k, n, s, m] = 100 * (flow.mean() / truth - 1)
    for n, noise in enumerate(NOISES):
        for s, shape in enumerate(SHAPES):
            for m, mtt in enumerate(TRANSITS):
                row = " | ".join(f"{bias[k, n, s, m]:+.1f}" for k in range(len(METHODS)))
                sure = f"spread {spread[n, s, m]:.0%} held {held[n, s, m]:.0%}"
                print(f"{noise:.0%} shape {shape:g} MTT {mtt}: {row} | {sure}")
    draw(bias)


def draw(bias: np.ndarray) -> None:
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.6), sharex=True, sharey=True, layout="constrained")
    for row, shape in enumerate(SHAPES):
        for column, n in enumerate((0, 1, 2)):
            axis = axes[row, column]
            axis.axhspan(-10, 10, color="#e6f0ea", zorder=0)
            axis.axhline(0, color="#444444", linewidth=0.8)
            for k, (name, label) in enumerate(METHODS.items()):
                axis.plot(
                    TRANSITS, bias[k, n, row], color=COLOURS[name], marker="o", markersize=3.5,
                    linewidth=2.4 if name == "model" else 1.3, label=label, zorder=3 if name == "model" else 2,
                )  # fmt: skip
            axis.set_xscale("log")
            axis.set_xticks(TRANSITS, [str(t) for t in TRANSITS])
            axis.minorticks_off()
            axis.set_ylim(-75, 35)
            for side in ("top", "right"):
                axis.spines[side].set_visible(False)
            kind = "exponential" if shape == 1 else "narrower (shape 3)"
            axis.set_title(f"{kind}, noise {NOISES[n]:.0%} of peak", fontsize=10)
            if row == 1:
                axis.set_xlabel("mean transit time, s")
            if column == 0:
                axis.set_ylabel("bias of blood flow, %")
    axes[1, 2].legend(loc="lower right", fontsize=8, frameon=False)
    figure.savefig(TARGET, dpi=130)


if __name__ == "__main__":
    main()
