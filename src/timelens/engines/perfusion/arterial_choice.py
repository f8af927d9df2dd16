"""Finding arterial voxels in a dynamic series: high, early, narrow and smooth curves, by clusters.

Mouridsen K et al., Magn Reson Med 2006;55:524, doi:10.1002/mrm.20759: of the voxels with the largest area the
irregular ones are dropped, the rest is clustered by shape, and the cluster that comes first is clustered once more.
Starts are set by the order of first moments, so that the same data always give the same voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import DataError

__all__ = ["ArterialChoice", "choose_arterial", "describe_arterial"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ArterialChoice:
    """``mask`` of the voxels that were chosen, their mean ``curve`` (frames,), and what tells how good it is.

    ``peak_to_baseline`` is the peak over the standard deviation of the first frames, ``early`` how many seconds the
    curve's first moment lies before that of all enhancing voxels, ``full_width`` its width at half maximum in s,
    ``moment`` its first moment in s on the clock of the series, ``roughness`` its second differences (root mean
    square) over its peak.
    """

    mask: Bools
    curve: Floats
    voxels: int
    peak_to_baseline: float
    early: float
    full_width: float
    moment: float
    roughness: float

    @property
    def peak(self) -> float:
        """Largest value, in the unit of the curves."""
        return float(self.curve.max())

    def doubts(self) -> list[str]:
        """What speaks against an artery, in words; empty where nothing does.

        The limits are wide of what arteries of man and mouse show at a frame every second or two.
        """
        found = []
        if self.voxels < 3:
            found.append(f"only {self.voxels} voxels")
        if self.peak_to_baseline < 10:
            found.append(f"its peak is only {self.peak_to_baseline:.1f} times the noise of the baseline")
        if self.full_width > 20:
            found.append(f"it is {self.full_width:.0f} s wide at half its height, as a vein or a slow bolus")
        if self.early <= 0:
            found.append(f"it comes {-self.early:.1f} s later than the tissue")
        if self.roughness > 0.35:
            found.append(f"it is ragged (second differences {self.roughness:.2f} of its peak)")
        return found


def choose_arterial(
    times: ArrayLike,
    curves: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    largest: float = 0.10,
    regular: float = 0.75,
    clusters: int = 5,
    least: int = 3,
) -> ArterialChoice:
    """Choose arterial voxels of curves (frames, ...) of concentration or dR2*.

    Parameters
    ----------
    times
        (frames,), s.
    mask
        Where to look.
    largest, regular
        Parts of the voxels that are kept: by area, then by regularity.
    clusters, least
        Clusters of each of the two rounds, and the smallest cluster that may be an artery.

    Raises
    ------
    DataError
        Fewer than ``clusters * least`` curves are left to choose from.
    """
    t, y = np.asarray(times, dtype=np.float64), np.asarray(curves, dtype=np.float64)
    if t.ndim != 1 or y.shape[:1] != t.shape or t.size < 4:
        raise DataError("Curves need one value per time", field="curves", found=y.shape, expected=f"({t.size}, ...)")
    shape = y.shape[1:]
    flat = y.reshape(t.size, -1)
    inside = np.isfinite(flat).all(axis=0)
    if mask is not None:
        inside &= np.asarray(mask, dtype=np.bool_).reshape(-1)
    area = np.where(inside, np.trapezoid(np.where(inside, flat, 0.0), t, axis=0), -np.inf)
    inside &= area > 0
    number = np.flatnonzero(inside)
    if number.size:
        number = number[np.argsort(-area[number], kind="stable")][: max(int(np.ceil(largest * number.size)), 1)]
        unit = flat[:, number] / area[number]
        bends = np.square(np.diff(np.diff(unit, axis=0) / np.diff(t)[:, None], axis=0)).sum(axis=0)
        number = number[np.argsort(bends, kind="stable")][: max(int(np.ceil(regular * number.size)), 1)]
    if number.size < clusters * least:
        raise DataError(
            "Too few curves enhance enough to look for an artery",
            field="curves",
            found=f"{number.size} voxels",
            expected=f"at least {clusters * least}",
            mend="enlarge the mask, or draw the arterial region",
        )
    chosen = number
    for _ in range(2):
        if chosen.size < clusters * least:
            break
        chosen = chosen[_earliest(t, flat[:, chosen] / area[chosen], clusters, least)]
    picked = np.zeros(flat.shape[1], dtype=np.bool_)
    picked[chosen] = True
    return _described(t, flat, picked, inside, shape)


def describe_arterial(times: ArrayLike, curves: ArrayLike, region: ArrayLike) -> ArterialChoice:
    """What :func:`choose_arterial` says, of a region that was drawn; curves that are not finite are left out.

    Raises
    ------
    DataError
        The region has another shape than a frame, holds no complete curve, or shows no bolus.
    """
    t, y = np.asarray(times, dtype=np.float64), np.asarray(curves, dtype=np.float64)
    drawn = np.asarray(region, dtype=np.bool_)
    if y.shape[:1] != t.shape or drawn.shape != y.shape[1:]:
        raise DataError(
            "The arterial region must have the shape of a frame",
            field="region",
            found=drawn.shape,
            expected=y.shape[1:],
        )
    flat = y.reshape(t.size, -1)
    finite: Bools = np.asarray(np.isfinite(flat).all(axis=0))
    picked = drawn.reshape(-1) & finite
    if not picked.any() or not flat[:, picked].mean(axis=1).max() > 0:
        raise DataError(
            "The arterial region holds no complete curve that enhances",
            field="region",
            found=f"{int(drawn.sum())} voxels, {int(picked.sum())} of them complete",
            mend="draw it where the signal is not saturated",
        )
    return _described(t, flat, picked, finite, drawn.shape)


def _described(t: Floats, flat: Floats, picked: Bools, inside: Bools, shape: tuple[int, ...]) -> ArterialChoice:
    curve, whole = flat[:, picked].mean(axis=1), flat[:, inside].mean(axis=1)
    top = int(np.argmax(curve))
    noise = float(curve[: max(int(np.argmax(curve > 0.1 * curve[top])), 2)].std())
    above = t[curve >= 0.5 * curve[top]]
    return ArterialChoice(
        picked.reshape(shape),
        curve,
        int(picked.sum()),
        float(curve[top] / noise) if noise > 0 else float("inf"),
        _moment(t, whole) - _moment(t, curve),
        float(above[-1] - above[0]),
        _moment(t, curve),
        float(np.sqrt(np.mean(np.square(np.diff(curve, 2)))) / curve[top]),
    )


def _moment(t: Floats, curve: Floats) -> float:
    """First moment of the rise and the first pass, in which the tail does not count."""
    top = int(np.argmax(curve))
    last = top + int(np.argmax(np.append(curve[top:], -np.inf) < 0.3 * curve[top]))
    part = np.maximum(curve[: last + 1], 0.0)
    return float((t[: last + 1] * part).sum() / part.sum())


def _earliest(t: Floats, unit: Floats, clusters: int, least: int) -> NDArray[np.intp]:
    """Members of the cluster whose mean curve comes first, among those large enough."""
    order = np.argsort([_moment(t, unit[:, i]) for i in range(unit.shape[1])], kind="stable")
    centres = np.stack([unit[:, part].mean(axis=1) for part in np.array_split(order, clusters)])
    label = np.zeros(unit.shape[1], dtype=np.intp)
    for _ in range(50):
        distance = np.square(centres).sum(axis=1)[:, None] - 2 * centres @ unit
        new = np.argmin(distance, axis=0)
        if (new == label).all():
            break
        label = new
        for k in range(clusters):
            if (label == k).any():
                centres[k] = unit[:, label == k].mean(axis=1)
    counts = np.bincount(label, minlength=clusters)
    moments = [_moment(t, centres[k]) if counts[k] >= least else np.inf for k in range(clusters)]
    return np.flatnonzero(label == int(np.argmin(moments)))
