"""Numbers of slides beside each other: background taken off, each marker from its negative to its positive cells.

Types are told by thresholds of their own region, which gain and background do not move. What does compare numbers of
slides needs one scale: ``types: {normalise: landmark}`` adds, for each marker with two groups, a column in which 0 is
the middle of the region's negative cells and 1 that of its positive ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells.harmonise import poisson_floor
from timelens.engines.cells.transform import arcsinh, landmarks
from timelens.errors import Problem
from timelens.study.contract import Result
from timelens.study.table import Table

if TYPE_CHECKING:
    from timelens.lenses.cytometry.cells import Cells

__all__ = ["add_scale", "background", "on_landmarks"]

#: Fewest pixels between cells from which a background is taken.
_FEWEST_PIXELS = 500


def background(
    values: NDArray[np.float32], labels: NDArray[np.int32], channels: list[str], how: str
) -> tuple[NDArray[np.float64], list[Problem]]:
    """Counts per pixel of each channel where nothing is stained.

    Parameters
    ----------
    values
        Channels (c, y, x); NaN where nothing was measured.
    labels
        Cells (y, x).
    channels
        Their names.
    how
        ``none``, ``ground`` (mean of what is no cell, so that stroma between cells counts as well) or ``floor``
        (:func:`~timelens.engines.cells.harmonise.poisson_floor`).

    Returns
    -------
    level
        Zero where it is not known, which is then said.
    problems
    """
    if how == "none":
        return np.zeros(len(values)), []
    if how == "ground":
        outside = (labels == 0) & np.isfinite(values).all(axis=0)
        enough = int(outside.sum()) >= _FEWEST_PIXELS
        level = values[:, outside].mean(axis=1, dtype=np.float64) if enough else np.full(len(values), np.nan)
    else:
        level = np.array([poisson_floor(v) for v in values])
    unknown = [name for name, one in zip(channels, level, strict=True) if not np.isfinite(one)]
    problems = [
        Problem("The background of channels is not known, and none is taken off", field=f"types: background: {how}",
                found=", ".join(unknown[:12]) + (" ..." if len(unknown) > 12 else ""),
                expected=f"{_FEWEST_PIXELS} pixels between cells" if how == "ground" else "empty pixels",
                severity="warning")
    ]  # fmt: skip
    return np.nan_to_num(level), problems if unknown else []


def on_landmarks(cells: Cells, cofactor: float) -> dict[str, NDArray[np.float64]]:
    """Marker with two groups to its values: 0 in the middle of the negative cells, 1 in that of the positive ones."""
    found = {}
    for marker, borne in cells.positive.items():
        column = arcsinh(_signal(cells, marker), cofactor)[:, None]
        low, high = landmarks(column, borne[:, None])
        if high[0] > low[0]:
            found[marker] = (column[:, 0] - low[0]) / (high[0] - low[0])
    return found


def add_scale(cells: Cells, types: Mapping[str, object], result: Result) -> None:
    """Say where the groups of each marker lie, and add their columns to the table of cells where that is asked for."""
    middles = {}
    for marker, borne in cells.positive.items():
        signal = _signal(cells, marker)
        sides = [float(np.median(signal[own])) if own.any() else None for own in (~borne, borne)]
        middles[marker] = {"negative": sides[0], "positive": sides[1]}
    said = result.audit.setdefault("cytometry", {})
    said[cells.prefixed("levels")] = middles
    if cells.background:
        said[cells.prefixed("background")] = dict(cells.background)
    if types["normalise"] == "none":
        return
    table = result.tables[cells.prefixed("cells")]
    frame, units = table.data.copy(), dict(table.column_units)
    for marker, values in on_landmarks(cells, float(str(types["cofactor"]))).items():
        frame[f"norm_{marker}"] = values
        units[f"norm_{marker}"] = "1"
    result.tables[cells.prefixed("cells")] = Table(frame, units)


def _signal(cells: Cells, marker: str) -> NDArray[np.float64]:
    """Mean counts of a marker's channel on each cell, above the background that was taken off."""
    channel = cells.places[marker]
    level = cells.background.get(cells.channels[channel], 0.0)
    return np.asarray(cells.telling[:, channel] - level, np.float64)
