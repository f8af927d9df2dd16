"""Figures without a screen and without global state, and PNG files that are the same bytes for the same picture."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from timelens.figures.palette import INK, MUTED

__all__ = ["DPI", "new_figure", "plot_axes", "png_bytes", "write_png"]

#: Dots per inch of PNG files: twice what a screen shows, enough for print.
DPI = 160
#: Colours that are kept where others are rounded.
_COMMON = 64


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of that size in inches."""
    figure = Figure(figsize=(width, height), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def plot_axes(figure: Figure, box: tuple[float, float, float, float], *, x: str, y: str, title: str = "") -> Axes:
    """Plain axes with labels in a box (left, bottom, width, height) in inches."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    if title:
        axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.tick_params(labelsize=8, colors=MUTED)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.grid(visible=True, axis="y", color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def png_bytes(figure: Figure, *, dpi: int = DPI) -> bytes:
    """The figure as a PNG file in memory."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def write_png(figure: Figure, path: str | Path, *, dpi: int = DPI, coarse: bool = False) -> Path:
    """Write the figure as a PNG file; folders are made where they are missing.

    Parameters
    ----------
    figure
        What is written.
    path
        The file.
    dpi
        Dots per inch.
    coarse
        Whether rare colours are rounded to eight steps a channel: noisy photographs become a third as large.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    data = png_bytes(figure, dpi=dpi)
    target.write_bytes(_coarse(data) if coarse else data)
    return target


def _coarse(data: bytes) -> bytes:
    """The same picture with its commonest colours (white, black, those of a legend) as they are, the others rounded."""
    import numpy as np
    from PIL import Image as Picture

    with Picture.open(io.BytesIO(data)) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    code = pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    found, count = np.unique(code, return_counts=True)
    common = found[np.argsort(-count, kind="stable")[:_COMMON]]
    rounded = np.where(np.isin(code, common)[..., None], pixels, (pixels & 0xE0) + 16).astype(np.uint8)
    stream = io.BytesIO()
    Picture.fromarray(rounded).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
