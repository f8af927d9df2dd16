"""The picture of README.md, from the demonstration.

Run ``make demo``, then ``.venv/bin/python docs/make_images.py demo-out``.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

from timelens.formats import nifti
from timelens.study import Image

TARGET = Path(__file__).parent / "images" / "demo.png"
LESION, HALF_MM = "neck node", 26.0
PATIENTS = {
    "sub-001": "responder,\ninhibitor",
    "sub-002": "non-responder,\ninhibitor",
    "sub-003": "control,\nuntreated",
}
VISITS = {"ses-01": "day 0", "ses-02": "day 21"}
#: Title, agent (None: the truth), colour map, highest value shown.
COLUMNS = (
    ("FDG", "f18-fdg", "gray_r", 8.0),
    ("89Zr minibody against CD8", "zr89-crefmirlimab", "gray_r", 14.0),
    ("CD8 T cells, true", None, "viridis", 200.0),
)


def scan(results: Path, subject: str, session: str, agent: str) -> Image:
    """The SUV map of an agent in a session."""
    rows = (results / "measurements.csv").open(encoding="utf-8", newline="")
    wanted = {"f18-fdg": "FDG", "zr89-crefmirlimab": "crefmirlimab"}[agent]
    with rows:
        name = next(
            r["acquisition"]
            for r in csv.DictReader(rows)
            if (r["subject"], r["session"]) == (subject, session) and wanted in r["agent"]
        )
    record = json.loads((results / subject / session / "session.json").read_text(encoding="utf-8"))
    file = next(f for f in record["outputs"] if f.endswith(f"{name}_desc-suv_map.nii.gz"))
    return nifti.read(results / subject / session / file).image


def cut(image: Image, centre: np.ndarray) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """The axial plane through a point, with its extent in mm around it (right of the patient on the left)."""
    grid = image.geometry
    plane = image.numpy()[round(float(grid.to_index(centre)[0]))]
    edges = np.array([[0, -0.5, -0.5], [0, plane.shape[0] - 0.5, plane.shape[1] - 0.5]])
    (x0, y0), (x1, y1) = (grid.to_mm(edge)[:2] - centre[:2] for edge in edges)
    return plane, (x0, x1, y1, y0)


def main(out: Path) -> None:
    """Draw patients as rows, agents and visits as columns."""
    with open(out / "study" / "truth" / "truth.csv", encoding="utf-8", newline="") as stream:
        truth = [r for r in csv.DictReader(stream) if r["region"] == LESION and r["quantity"] == "suv_mean"]
    centres = {(r["subject"], r["session"]): np.array([float(r[k]) for k in ("x_mm", "y_mm", "z_mm")]) for r in truth}
    figure = plt.figure(figsize=(10.6, 5.2), dpi=120)
    spots = figure.add_gridspec(3, 8, left=0.125, right=0.995, top=0.865, bottom=0.125, wspace=0.06, hspace=0.06,
                                width_ratios=(1, 1, 0.12, 1, 1, 0.12, 1, 1))  # fmt: skip
    for row, (subject, words) in enumerate(PATIENTS.items()):
        for block, (title, agent, colours, top) in enumerate(COLUMNS):
            for visit, (session, day) in enumerate(VISITS.items()):
                axes = figure.add_subplot(spots[row, 3 * block + visit])
                centre = centres[subject, session]
                if agent is None:
                    name = f"{subject}_{session}_tumour-neck-node_field-cd8.nii.gz"
                    image = nifti.read(out / "study" / "truth" / "fields" / name).image
                else:
                    image = scan(out / "results", subject, session, agent)
                plane, extent = cut(image, centre)
                if agent is None:
                    plane = plane / 1e3
                axes.set_facecolor(mpl.colormaps[colours](0.0))
                shown = axes.imshow(plane, cmap=colours, vmin=0, vmax=top, extent=extent, interpolation="nearest")
                axes.set(xlim=(HALF_MM, -HALF_MM), ylim=(-HALF_MM, HALF_MM), xticks=[], yticks=[], aspect="equal")
                if row == 0:
                    axes.set_title(day, fontsize=10)
                if block == visit == 0:
                    axes.set_ylabel(words, rotation=0, ha="right", va="center", fontsize=10)
                if row == 0 and visit == 0:
                    axes.text(1.03, 1.24, title, transform=axes.transAxes, ha="center", fontsize=11, weight="bold")
                if row == 2 and visit == 0:
                    bar = axes.inset_axes((0.35, -0.2, 1.36, 0.06))
                    unit = "SUV, g/mL" if agent else "thousand cells/mm³"
                    figure.colorbar(shown, cax=bar, orientation="horizontal", extend="max")
                    bar.tick_params(labelsize=8, length=2, pad=1)
                    bar.set_title(unit, fontsize=8, pad=1, loc="left")
                if row == 2 and block == 0 and visit == 0:
                    axes.plot([HALF_MM - 4, HALF_MM - 14], [-HALF_MM + 4] * 2, color="black", lw=2)
                    axes.text(HALF_MM - 9, -HALF_MM + 6, "10 mm", ha="center", fontsize=8)
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
