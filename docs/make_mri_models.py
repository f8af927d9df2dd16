"""The picture and the table of model selection: four tissues of known models at two levels of noise.

Run ``.venv/bin/python docs/make_mri_models.py``.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from numpy.typing import NDArray

from timelens.engines.kinetics import Frames, convolve_exponential, frame_values
from timelens.engines.perfusion import population_input
from timelens.figures import region_colour
from timelens.lenses.mri.dce import choose_model
from timelens.lenses.mri.physics import exchange_concentration
from timelens.study.axes import default_names
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

TARGET = Path(__file__).parent / "images" / "mri_models.png"
NAMES = ("Patlak", "Tofts", "extended Tofts", "exchange")
SIDE, FRAMES, STEP = 32, 150, 2.0


def curves() -> tuple[NDArray[np.float64], FrameTiming, object]:
    """Each model's tissue (frames, 4), frame times and plasma."""
    timing = FrameTiming(STEP * np.arange(FRAMES), np.full(FRAMES, STEP))
    frames = Frames.instants(timing.mid)
    plasma = population_input("parker", STEP * FRAMES, haematocrit=0.42, delay=20.0)
    seen = frame_values(plasma.times, plasma.values, frames)
    left = 0.2 / 60 * convolve_exponential(plasma.times, plasma.values, 0.2 / 60 / 0.3, frames)
    kept = 0.03 / 60 * convolve_exponential(plasma.times, plasma.values, 0.0, frames)
    both = exchange_concentration(plasma, frames, f_p=0.5 / 60, ps=0.2 / 60, v_p=0.08, v_e=0.3)[:, 0]
    return np.stack([kept + 0.05 * seen, left, left + 0.06 * seen, both], axis=1), timing, plasma


def main() -> None:
    clean, timing, plasma = curves()
    rng = np.random.default_rng(1)
    figure, axes = plt.subplots(2, 2, figsize=(8.6, 3.9), layout="constrained")
    for row, noise in zip(axes, (0.05, 0.20), strict=True):
        tissue = np.repeat(clean, SIDE, axis=1)[:, None, None, :] * np.ones((1, 1, 2 * SIDE, 1))
        tissue = tissue + noise * np.repeat(clean.max(axis=0), SIDE) * rng.normal(0, 1, tissue.shape)
        place = Geometry.from_spacing(tissue.shape[1:], (2.0, 2.0, 2.0))
        image = Image(tissue, unit="mmol/L", axes=default_names(4), geometry=place, frames=timing)
        found = choose_model(image, plasma)  # type: ignore[arg-type]
        code, weight = (found[name].numpy()[0] for name in ("model", "weight"))
        print(f"noise {noise:.0%}")
        for k, name in enumerate(NAMES):
            block = code[:, k * SIDE : (k + 1) * SIDE]
            print(f"  {name}:", [f"{(block == n + 1).mean():.1%}" for n in range(4)])
        shown = row[0].imshow(code, cmap=ListedColormap([region_colour(n + 1) for n in range(4)]), vmin=0.5, vmax=4.5)
        bar = figure.colorbar(shown, ax=row[0], ticks=range(1, 5))
        bar.ax.tick_params(labelsize=8)
        bar.ax.set_yticklabels(NAMES)
        row[0].set_title(f"model preferred, noise {noise:.0%} of the peak", fontsize=10)
        figure.colorbar(row[1].imshow(weight, cmap="viridis", vmin=0.25, vmax=1.0), ax=row[1], label="Akaike weight")
        row[1].set_title("weight of the preferred model", fontsize=10)
        for panel in row:
            panel.set_xticks(SIDE * (np.arange(4) + 0.5) - 0.5, [n.replace(" ", "\n") for n in NAMES], fontsize=8)
            panel.set_yticks([])
            for edge in SIDE * np.arange(1, 4) - 0.5:
                panel.axvline(edge, color="white", linewidth=1.2)
    figure.savefig(TARGET, dpi=130)


if __name__ == "__main__":
    main()
