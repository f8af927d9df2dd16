"""How sure the numbers of a region are: noise of its voxels and of the artery, and the errors that the user states.

The numbers are made again without a group of voxels of the region, again without a group of voxels of the artery, and
again with every stated setting one standard error higher and lower. The parts are independent, so that their squares
add up; degrees of freedom follow Welch BL, Biometrika 1947;34:28, doi:10.1093/biomet/34.1-2.28, and Satterthwaite FE,
Biometrics 1946;2:110, doi:10.2307/3002019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics import InputFunction
from timelens.engines.kinetics.fit import Fit, t_quantile
from timelens.engines.kinetics.reasons import explain
from timelens.lenses.mri.parametric import reported
from timelens.lenses.mri.regional import FEWEST_GROUPS, jackknife, left_out, measured_row
from timelens.study.measurement import Measurement

__all__ = ["FEW", "GROUPS", "Again", "Sureness", "exchange_rows", "region_errors", "resampled", "without_groups"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Makes numbers (curves,) by name of curves (frames, curves), an input, and the region that each curve is of.
Estimate = Callable[[Floats, InputFunction, NDArray[np.intp]], Mapping[str, Floats]]
#: Groups of voxels that are left out in turn.
GROUPS = 20
#: Said of a region whose voxels are too few for that.
FEW = f"fewer than {FEWEST_GROUPS} voxels: the error does not hold the noise of T1 and baseline"


@dataclass(frozen=True, eq=False)
class Again:
    """Curves and input with a setting one standard error higher, and the same lower."""

    name: str
    higher: tuple[Floats, InputFunction]
    lower: tuple[Floats, InputFunction]


@dataclass(frozen=True, eq=False)
class Sureness:
    """Standard errors and degrees of freedom (regions,) by name, and what each stated setting adds to the errors."""

    errors: Mapping[str, Floats]
    degrees: Mapping[str, Floats]
    stated: Mapping[str, Mapping[str, Floats]]


def without_groups(data: Floats, mask: Mask) -> Floats:
    """Mean curves (frames, groups) of a region without one group of voxels after the other; none if it is too small.

    Parameters
    ----------
    data
        (frames, z, y, x).
    mask
        Voxels that are complete.
    """
    rest = left_out([mask], GROUPS)
    if not rest:
        return np.empty((data.shape[0], 0))
    return np.stack([data[:, one].mean(axis=1) for (one,) in rest], axis=1)


def region_errors(
    estimate: Estimate,
    curves: Floats,
    plasma: InputFunction,
    *,
    own: Mapping[str, Floats],
    own_degrees: float,
    parts: Sequence[Floats],
    inputs: Sequence[InputFunction] = (),
    changed: Sequence[Again] = (),
    jumps: bool = False,
) -> Sureness:
    """Standard errors of what ``estimate`` makes of curves and input; NaN where they are not known.

    Parameters
    ----------
    estimate
        See :data:`Estimate`.
    curves, plasma
        (frames, regions), and the input.
    own, own_degrees
        Standard errors that the estimate itself knows, and their degrees of freedom. They hold where they are larger
        than those by leaving out voxels (a model that does not fit), and where a region has too few voxels for that.
    parts
        For each region what :func:`without_groups` gives.
    inputs
        The input without one group of arterial voxels after the other.
    changed
        Stated settings.
    jumps
        Whether the estimate jumps from frame to frame: voxels are then drawn (:func:`resampled`), not left out.
    """
    drawn = [resampled(curves[:, k], part) for k, part in enumerate(parts)] if jumps else parts
    regions = np.arange(curves.shape[1])
    owners = np.concatenate([regions, *(np.full(part.shape[1], k) for k, part in enumerate(drawn))])
    value = estimate(curves, plasma, regions)
    tissue, degrees = {name: own[name].copy() for name in value}, {}
    many = estimate(np.concatenate([curves, *drawn], axis=1), plasma, owners)
    stops = np.cumsum([curves.shape[1], *(part.shape[1] for part in drawn)])
    for name in value:
        degrees[name] = np.full(curves.shape[1], float(own_degrees))
        for k, part in enumerate(parts):
            if part.shape[1] == 0:
                # Where the estimate knows no error either, none is known, not none there.
                tissue[name][k] = tissue[name][k] if tissue[name][k] > 0 else np.nan
                continue
            again = many[name][stops[k] : stops[k + 1]]
            error = _spread(again) if jumps else float(jackknife(again))
            if not error <= tissue[name][k]:
                tissue[name][k], degrees[name][k] = error, part.shape[1] - 1
    pieces = [(tissue, degrees)]
    if inputs:
        others = [estimate(curves, other, regions) for other in inputs]
        arterial = {name: jackknife(np.stack([one[name] for one in others])) for name in value}
        pieces.append((arterial, {name: np.full(curves.shape[1], len(inputs) - 1.0) for name in value}))
    stated = {}
    for each in changed:
        high, low = estimate(*each.higher, regions), estimate(*each.lower, regions)
        stated[each.name] = {name: np.abs(high[name] - low[name]) / 2 for name in value}
        pieces.append((stated[each.name], {name: np.full(curves.shape[1], np.inf) for name in value}))
    errors, freedom = {}, {}
    for name in value:
        squares = np.stack([np.square(error[name]) for error, _ in pieces])
        total = squares.sum(axis=0)
        with np.errstate(all="ignore"):
            freedom[name] = total**2 / np.sum(squares**2 / np.stack([d[name] for _, d in pieces]), axis=0)
        errors[name] = np.sqrt(total)
    return Sureness(errors, freedom, stated)


def _spread(draws: Floats) -> float:
    """Standard deviation of draws; NaN where more than half have no number."""
    there = draws[np.isfinite(draws)]
    return float(np.std(there, ddof=1)) if there.size >= max(2, draws.size / 2) else float("nan")


def resampled(curve: Floats, part: Floats, *, draws: int = 200) -> Floats:
    """Mean curves (frames, draws) of groups of voxels drawn with replacement, the same for the same data.

    For what a jackknife cannot judge because it jumps from frame to frame (Efron B, Ann Stat 1979;7:1,
    doi:10.1214/aos/1176344552).

    Parameters
    ----------
    curve
        (frames,), of the whole region.
    part
        (frames, groups), without one group after the other.
    """
    groups = part.shape[1]
    if groups == 0:
        return np.empty((curve.size, 0))
    # A group's own mean follows from the mean without it; means of few groups vary too little by (n - 1) / n.
    off = (groups - 1) * (curve[:, None] - part) * np.sqrt(groups / (groups - 1))
    weights = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), size=draws) / groups
    return np.asarray(curve[:, None] + off @ weights.T)


def exchange_rows(
    fit: Fit, names: Sequence[str], voxels: Mapping[str, int], sure: Sureness, *, method: str, flags: str = ""
) -> list[Measurement]:
    """Parameters of the mean curve of each region, with standard errors and 95 % intervals."""
    rows = []
    for k, region in enumerate(names):
        said = explain(int(fit.reason[k]))
        for short, unit in fit.units.items():
            known = reported(short, unit)
            if known is None:
                continue
            quantity, code, factor = known
            error = float(sure.errors[short][k]) * factor
            unsure = "" if np.isfinite(error) else "a fit without some voxels failed: no error"
            few = FEW if voxels[region] < FEWEST_GROUPS else ""
            remark = "; ".join(t for t in (flags, few, unsure, said) if t)
            rows.append(
                measured_row(quantity, float(fit.parameters[short][k]) * factor, code, error, region, voxels[region],
                             method, remark, said or "the fit does not determine it",
                             t_quantile(0.95, float(sure.degrees[short][k])))
            )  # fmt: skip
    return rows
