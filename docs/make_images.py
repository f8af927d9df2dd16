"""The picture of README.md, from the results of the demonstration.

Run ``make demo``, then ``.venv/bin/python docs/make_images.py demo-out/results``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SUBJECT, VISITS = "sub-001", (("ses-01", "baseline"), ("ses-02", "8 weeks later"))
TARGET = Path(__file__).parent / "images" / "demo.png"
HEIGHT, GAP, HEAD = 480, 20, 26
INK = (30, 41, 59)


def scaled(picture: Image.Image) -> Image.Image:
    return picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.Resampling.LANCZOS)


def coronal(path: Path) -> Image.Image:
    """The left panel of a picture of projections, without its title."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    white = (pixels == 255).all(axis=(0, 2))
    left = int(np.argmin(white))
    right = left + int(np.argmax(white[left:]))  # the gap between the panels
    frame = np.flatnonzero((pixels[:, left:right] < 250).any(axis=2).all(axis=1))
    return scaled(Image.fromarray(pixels[frame[0] : frame[-1] + 1, left:right]))


def main(results: Path) -> None:
    figures = {visit: results / SUBJECT / visit / "figures" / f"{SUBJECT}_{visit}_pet_suv" for visit, _ in VISITS}
    panels = [(words, coronal(Path(f"{figures[visit]}_mip.png"))) for visit, words in VISITS]
    cuts = Image.open(f"{figures['ses-01']}_slices.png").convert("RGB")
    panels.append(("lesions at baseline, PET and PET on CT", scaled(cuts)))
    page = Image.new("RGB", (sum(p.width for _, p in panels) + GAP * (len(panels) - 1), HEIGHT + HEAD), "white")
    draw, left = ImageDraw.Draw(page), 0
    for words, panel in panels:
        page.paste(panel, (left, HEAD))
        draw.text((left, 1), words, INK, ImageFont.load_default(size=15))
        left += panel.width + GAP
    TARGET.parent.mkdir(exist_ok=True)
    # Steps of 4 in 256 are not seen, and the file has half the size.
    page.point(lambda value: min(255, (value + 2) // 4 * 4)).save(TARGET, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
