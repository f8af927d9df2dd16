"""Slides on one scale: background, landmarks, and robust location and spread by slide.

Slides that were stained on another day differ in gain (antibody, detector) and in background. Groups of one slide are
found by its own thresholds, which neither moves; what needs one scale is everything that compares numbers of slides:
common thresholds, clusters over slides, means of a marker. Each function takes values after the transform
(:func:`~timelens.engines.cells.transform.arcsinh`), on which a gain of bright cells is a shift.

What truly differs between slides is lost with what falsely does, if the method looks at it: landmarks keep the parts of
positive cells, robust location and spread do not keep the levels of what they are taken from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.cells.thresholds import explain, split
from timelens.engines.cells.transform import landmarks
from timelens.errors import UsageError

__all__ = ["Aligned", "align_landmarks", "align_spread", "poisson_floor"]

FloatArray = NDArray[np.float64]
#: Median absolute deviation to standard deviation of a normal law.
_NORMAL = 1.4826
_FEWEST = 30


@dataclass(frozen=True)
class Aligned:
    """Values of all slides on one scale.

    Attributes
    ----------
    values
        Shape (cells, markers).
    offset, gain
        Slide to what was taken off its markers, and what the rest was multiplied by.
    reasons
        (slide, marker) to why it could be moved in part or not at all.
    """

    values: FloatArray
    offset: dict[object, FloatArray]
    gain: dict[object, FloatArray]
    reasons: dict[tuple[object, int], str]


def poisson_floor(counts: ArrayLike) -> float:
    """Ions per pixel where nothing is stained, from the pixels with one and with none.

    For Poisson counts the ratio of the two is the mean; stained pixels, of several ions, seldom are among them, so that
    only weak staining raises it.

    Parameters
    ----------
    counts
        Of one channel, any shape; fractions are cut, what is not finite is left out.

    Returns
    -------
    float
        NaN where fewer than 100 pixels are empty: the channel has no floor that could be seen.
    """
    data = np.asarray(counts, np.float64)
    whole = np.floor(data[np.isfinite(data)])
    none, one = int((whole == 0).sum()), int((whole == 1).sum())
    return one / none if none >= 100 else float("nan")


def align_landmarks(values: ArrayLike, slides: ArrayLike) -> Aligned:
    """Bring the middle of each slide's negative and positive cells to that of all slides.

    Both groups are found on each slide by itself. Where a marker has one group only, that group is taken for negative
    and shifted, and its gain stays.

    Parameters
    ----------
    values
        Shape (cells, markers), after the transform.
    slides
        Slide of each cell.
    """
    table, slide, names = _checked(values, slides)
    low, high = np.full((2, len(names), table.shape[1]), np.nan)
    reasons: dict[tuple[object, int], str] = {}
    for s, name in enumerate(names):
        own = table[slide == s]
        for k in range(table.shape[1]):
            found = split(own[:, k])
            column = own[:, [k]]
            if found.reason:
                reasons[name, k] = f"shifted only: {explain(int(found.reason))}"
                if np.isfinite(column).any():
                    low[s, k] = float(np.nanmedian(column))
                continue
            below, above = landmarks(column, column >= found.threshold)
            low[s, k], high[s, k] = below[0], above[0]
    common_low, common_high = _middle(low), _middle(high)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = np.where(np.isfinite(high), (common_high - common_low) / (high - low), 1.0)
    return _moved(table, slide, names, low, gain, common_low, reasons)


def align_spread(values: ArrayLike, slides: ArrayLike, *, controls: ArrayLike | None = None) -> Aligned:
    """Bring the median and the median absolute deviation of each slide to those of all slides.

    This is the location and scale of ComBat (Johnson 2007, doi:10.1093/biostatistics/kxj037) without its shrinkage,
    by robust estimates. It is right for what is the same on all slides: give the cells of a control tissue where there
    is one; without, slides of other composition are made alike that are not.

    Parameters
    ----------
    values, slides
        As :func:`align_landmarks` takes them.
    controls
        Whether each cell is of a control; all cells if not given.
    """
    table, slide, names = _checked(values, slides)
    control = np.ones(len(table), bool) if controls is None else np.asarray(controls, bool)
    if control.shape != slide.shape:
        raise UsageError("Each cell is a control or not", field="controls", found=control.shape, expected=slide.shape)
    low, wide = np.full((2, len(names), table.shape[1]), np.nan)
    reasons: dict[tuple[object, int], str] = {}
    for s, name in enumerate(names):
        own = table[(slide == s) & control]
        for k in range(table.shape[1]):
            column = own[np.isfinite(own[:, k]), k]
            if len(column) < _FEWEST:
                reasons[name, k] = f"left as it is: fewer than {_FEWEST} control cells"
                continue
            low[s, k] = np.median(column)
            wide[s, k] = _NORMAL * np.median(np.abs(column - low[s, k]))
            if not wide[s, k] > 0:
                wide[s, k] = np.nan
                reasons[name, k] = "shifted only: control cells do not vary"
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = np.where(np.isfinite(wide), _middle(wide) / wide, 1.0)
    return _moved(table, slide, names, low, gain, _middle(low), reasons)


def _checked(values: ArrayLike, slides: ArrayLike) -> tuple[FloatArray, NDArray[np.int64], list[object]]:
    table = np.asarray(values, np.float64)
    names, slide = np.unique(np.asarray(slides), return_inverse=True)
    if table.ndim != 2 or slide.shape != table.shape[:1] or not len(table):
        raise UsageError("Each cell has one slide", field="slides", found=slide.shape, expected=table.shape[:1])
    return table, slide, names.tolist()


def _middle(levels: FloatArray) -> FloatArray:
    """Median over slides, NaN where none has a level."""
    known = np.isfinite(levels).any(axis=0)
    found = np.full(levels.shape[1], np.nan)
    found[known] = np.nanmedian(levels[:, known], axis=0)
    return found


def _moved(
    table: FloatArray,
    slide: NDArray[np.int64],
    names: list[object],
    low: FloatArray,
    gain: FloatArray,
    to: FloatArray,
    reasons: dict[tuple[object, int], str],
) -> Aligned:
    still = ~np.isfinite(low)
    offset, base, gain = np.where(still, 0.0, low), np.where(still, 0.0, to), np.where(still, 1.0, gain)
    moved = (table - offset[slide]) * gain[slide] + base[slide]
    return Aligned(moved, dict(zip(names, offset, strict=True)), dict(zip(names, gain, strict=True)), reasons)
