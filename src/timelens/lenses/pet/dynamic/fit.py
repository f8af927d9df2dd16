"""Regions fitted: models chosen, parameters with standard errors and intervals as rows, curves and plots as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import timelens
from timelens.engines.kinetics.fit import Fit
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.linear import LinearModel
from timelens.engines.kinetics.linear_kernels import TISSUE
from timelens.engines.kinetics.reasons import explain
from timelens.engines.kinetics.selection import compare, find_t_star
from timelens.errors import DataError, Problem, TimelensError
from timelens.lenses.pet.dynamic.curves import Curves
from timelens.lenses.pet.dynamic.models import AgentInput, Build, ModelKind, build, find_model, reported
from timelens.study.measurement import Measurement
from timelens.study.table import Table

__all__ = ["COMPARED", "RegionFits", "fit_regions", "resolve_t_star"]

Floats = NDArray[np.float64]

#: What ``auto`` compares by Akaike's criterion.
COMPARED = {"plasma": ("1tcm", "2tcm_irreversible", "2tcm"), "reference": ("srtm", "mrtm1")}
LEVEL = 0.95
#: Most regions whose intervals are found by profile likelihood; beyond it they follow from standard errors.
MOST_PROFILED = 60


@dataclass(eq=False)
class RegionFits:
    """Rows, tables and problems of the fits of regions.

    Attributes
    ----------
    rows
        One measurement per region, model and parameter.
    fits
        Records of region, model, frame_start_s, frame_duration_s, measured, fitted, weight.
    graphs
        Records of region, model, t_star_s, frame_start_s, x, y, fitted, used for graphical models.
    t_star_s
        By model.
    """

    rows: list[Measurement] = field(default_factory=list)
    fits: list[dict[str, Any]] = field(default_factory=list)
    graphs: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    t_star_s: dict[str, float] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)

    def tables(self, unit: str) -> dict[str, Table]:
        """The records as tables, those that have rows."""
        import pandas as pd

        kept: dict[str, Table] = {}
        seconds = {"frame_start_s": "s", "frame_duration_s": "s", "t_star_s": "s"}
        if self.fits:
            columns = {"measured": unit, "fitted": unit, "weight": "1"}
            kept["fits"] = Table(pd.DataFrame(self.fits), {**seconds, **columns})
        if self.graphs:
            kept["graphs"] = Table(pd.DataFrame(self.graphs), {**seconds, "x": "s", "y": "1", "fitted": "1"})
        return kept


def fit_regions(
    curves: Curves,
    frames: Frames,
    given: AgentInput,
    weights: Floats,
    models: Sequence[str] | Literal["auto"],
    *,
    choices: Build | None = None,
    t_star_s: float | None = None,
    profile: bool = True,
) -> RegionFits:
    """Fit each model to each region.

    Parameters
    ----------
    models
        Names, or ``auto``: those that the input allows are compared by Akaike's criterion; each region gets its
        best.
    t_star_s
        For graphical models; found from the mean of the regions if None.
    profile
        Whether intervals of compartment models follow the profile likelihood (some 10 ms per parameter and region).

    Notes
    -----
    A model that cannot be fitted at all is a problem by name; the others go on.
    """
    done = RegionFits()
    how = choices or Build()
    names = COMPARED["reference" if given.plasma is None else "plasma"] if models == "auto" else tuple(models)
    fitted: list[tuple[ModelKind, Any, Fit]] = []
    for name in names:
        kind = find_model(name)
        try:
            here = how
            if kind.graphical:
                start = resolve_t_star(kind, frames, given, curves, weights, how, t_star_s)
                here = replace(how, t_star=start)
                done.t_star_s[kind.name] = start
            model = build(kind, frames, given, here)
            fitted.append((kind, model, model.fit(curves.mean, weights)))
        except TimelensError as error:
            done.problems.append(replace(error.problem, message=f"{kind.name}: {error.problem.message}"))
    if not fitted:
        return done
    best = _best(fitted, curves.names, done) if models == "auto" else None
    profiled = profile and len(curves.names) <= MOST_PROFILED
    for number, (kind, model, fit) in enumerate(fitted):
        for r, region in enumerate(curves.names):
            if best is not None and best[region][0] != number:
                continue
            flag = "" if best is None else best[region][1]
            done.rows += _rows(kind, fit, r, region, int(curves.voxels[r]), given, flag, profiled)
            _keep_curves(done, kind, model, fit, r, region, curves, frames, weights)
    return done


def resolve_t_star(
    kind: ModelKind,
    frames: Frames,
    given: AgentInput,
    curves: Curves,
    weights: Floats,
    how: Build,
    stated_s: float | None,
) -> float:
    """The stated t*, else the first from which the regions' mean lies on a line; 24 h for antibodies."""
    if stated_s is not None:
        return stated_s
    if kind.name == "antibody_patlak":
        return 86400.0
    mean = np.nanmean(curves.mean, axis=1)
    found = find_t_star(lambda t: build(kind, frames, given, replace(how, t_star=t)), frames, mean, weights)
    if math.isnan(found):
        raise DataError(
            "No time was found from which on the plot is straight",
            field="t_star_min",
            expected="at least five late frames within 10 % of a line",
            mend="state t_star_min, or use a compartment model",
        )
    return found


def _best(
    fitted: Sequence[tuple[ModelKind, Any, Fit]], regions: Sequence[str], done: RegionFits
) -> dict[str, tuple[int, str]]:
    """By region: index of the model with the largest Akaike weight, and a remark that says so."""
    fits = [fit for _, _, fit in fitted]
    shared = set(fits[0].parameters).intersection(*[set(f.parameters) for f in fits])
    held = compare(fits, sorted(shared)[0])
    names = ", ".join(kind.name for kind, _, _ in fitted)
    result = {}
    for r, region in enumerate(regions):
        index = int(held.best[r])
        done.chosen[region] = fitted[index][0].name
        result[region] = index, f"chosen of {names} by AIC, weight {float(held.weights[index, r]):.2f}"
    return result


def _rows(
    kind: ModelKind, fit: Fit, r: int, region: str, voxels: int, given: AgentInput, flag: str, profiled: bool
) -> list[Measurement]:
    reason = int(fit.reason[r])
    said = explain(reason)
    how = "profile" if profiled and fit.profile is not None else "wald"
    method = f"{kind.name}; {given.source} input"
    if kind.graphical:
        method += f"; t* {fit.t_star / 60:g} min"
    rows = []
    for name, unit in fit.units.items():
        known = reported(name, unit)
        if known is None:
            continue
        quantity, code, factor = known
        value = float(fit.parameters[name][r]) * factor
        error = float(fit.standard_errors[name][r]) * factor
        lower, upper, remark = _interval(fit, name, r, how, factor)
        finite = math.isfinite(value)
        remarks = [f"interval: {how}"] if math.isfinite(lower) or math.isfinite(upper) else []
        remarks += [text for text in (remark, flag, said) if text]
        sure = finite and math.isfinite(error)
        rows.append(
            Measurement(
                quantity,
                value if finite else math.nan,
                code,
                region=region,
                uncertainty=error if sure else math.nan,
                uncertainty_kind="standard_error" if sure else "interval" if math.isfinite(lower + upper) else "none",
                lower=lower,
                upper=upper,
                level=LEVEL if math.isfinite(lower) or math.isfinite(upper) else math.nan,
                n=voxels or None,
                method=method,
                method_version=timelens.__version__,
                flags="; ".join(remarks),
                reason="" if finite else said or "the fit does not determine it",
            )
        )
    return rows


def _interval(fit: Fit, name: str, r: int, how: str, factor: float) -> tuple[float, float, str]:
    """Ends of the 95 % interval; an end that the data leave open is NaN, and is said."""
    value = float(fit.parameters[name][r])
    if not math.isfinite(value):
        return math.nan, math.nan, ""
    if how == "profile":
        assert fit.profile is not None
        low, high = fit.profile(name, LEVEL, r)
    else:
        ends = fit.interval(LEVEL, parameter=name, method="wald")
        low, high = float(ends[0][r]), float(ends[1][r])
    remark = ""
    if math.isinf(low) or math.isinf(high):
        remark = "interval open " + (
            "at both ends" if math.isinf(low) and math.isinf(high) else "above" if math.isinf(high) else "below"
        )
    low, high = (end * factor if math.isfinite(end) else math.nan for end in (low, high))
    return min(low, value * factor) if low == low else low, max(high, value * factor) if high == high else high, remark


def _keep_curves(
    done: RegionFits,
    kind: ModelKind,
    model: Any,
    fit: Fit,
    r: int,
    region: str,
    curves: Curves,
    frames: Frames,
    weights: Floats,
) -> None:
    """The fitted curve in the unit of the tissue, and the plot of a graphical model."""
    assert fit.predicted is not None and fit.residuals is not None
    predicted, rest = fit.predicted[:, r], fit.residuals[:, r]
    linear = isinstance(model, LinearModel)
    facts = {"region": region, "model": kind.name}
    if not linear or model.target == TISSUE:
        scale = model.ordinate / model.share if linear else np.ones(len(frames))
        with np.errstate(all="ignore"):
            fitted = curves.mean[:, r] - rest / scale
        done.fits += [
            {**facts, "frame_start_s": float(frames.start[f]), "frame_duration_s": float(frames.duration[f]),
             "measured": float(curves.mean[f, r]), "fitted": float(fitted[f]), "weight": float(weights[f])}
            for f in range(len(frames))
        ]  # fmt: skip
    if linear and kind.graphical and kind.name not in ("ma1", "multilinear_logan"):
        terms, ordinate, _ = model.plot(curves.mean[:, r, None], np.ones(len(frames)), weighted=False)
        below = curves.mean[:, r] - model.offset if model.divided else model.ordinate
        for f, (x, y) in enumerate(zip(terms[0, :, 0], ordinate[:, 0], strict=True)):
            if below[f] > 0 and math.isfinite(x):
                used = bool(math.isfinite(predicted[f]) and math.isfinite(rest[f]))
                done.graphs.append(
                    {**facts, "t_star_s": fit.t_star, "frame_start_s": float(frames.start[f]), "x": float(x),
                     "y": float(y), "fitted": float(predicted[f]), "used": used}
                )  # fmt: skip
