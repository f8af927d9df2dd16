"""Rows of a first pass: flow, volume and times of regions, also against a reference tissue, and how sure they are.

Numbers are made again without a group of voxels of the region and without a group of voxels of the artery; both errors
are independent, so that their squares add up (degrees of freedom: Welch BL, Biometrika 1947;34:28). Flow, volume and
transit time vary by factors: their errors are made, and their intervals symmetric, in the logarithm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.fit import Fit, t_quantile
from timelens.engines.kinetics.reasons import explain
from timelens.engines.perfusion import Deconvolution, VascularModel
from timelens.lenses.mri.dsc import Method
from timelens.lenses.mri.regional import jackknife, measured_row
from timelens.study.measurement import Measurement

__all__ = ["Estimated", "deconvolved", "leakage_rows", "modelled", "region_rows", "relative_rows"]

Floats = NDArray[np.float64]
#: Logarithms of flow, volume and transit time, and the delay or Tmax itself (n,), of curves and an artery.
Estimate = Callable[[Floats, Floats], Mapping[str, Floats]]

_FACTORS = ("cbf", "cbv", "mtt")
_UNITS = {"cbf": "mL/min/(100.g)", "cbv": "mL/(100.g)", "mtt": "s", "input_delay": "s", "tmax": "s"}


@dataclass(frozen=True, eq=False)
class Estimated:
    """What mean curves of regions gave: by quantity the value (logarithms as :data:`Estimate` has them), the standard
    error that the method knows (zero where it knows none), that by leaving out voxels with its degrees of freedom, and
    values without each group of the artery (groups, regions). ``said`` are remarks, ``fit`` that of the model.
    """

    values: Mapping[str, Floats]
    own: Mapping[str, Floats]
    tissue: Mapping[str, Floats]
    degrees: Floats
    without: Mapping[str, Floats]
    said: Sequence[str]
    fit: Fit | None = None

    def sureness(self, name: str, at: int, against: int | None = None) -> tuple[float, float]:
        """Standard error and quantile of the 95 % interval of a region's value, or of its difference to another."""
        pieces = []
        for k in (at,) if against is None else (at, against):
            own, voxels = self.own[name][k], self.tissue[name][k]
            # Too few voxels to leave any out of a deconvolution, or a method that fails without some.
            if not np.isfinite(voxels) and (self.degrees[k] > 0 or not own > 0):
                return float("nan"), float("nan")
            # Where the model misses the curve the fit's own error is the larger one.
            pieces.append((own, np.inf) if not voxels > own else (voxels, self.degrees[k]))
        if name in self.without:
            rest = self.without[name][:, at] - (0.0 if against is None else self.without[name][:, against])
            pieces.append((float(jackknife(rest)), rest.size - 1.0))
        squares = np.square([error for error, _ in pieces])
        total = float(squares.sum())
        if not 0 < total < np.inf:
            return float("nan"), float("nan")
        degrees = np.array([d for _, d in pieces])
        share = float(np.sum(squares**2 / degrees))
        return float(np.sqrt(total)), t_quantile(0.95, total**2 / share if share > 0 else np.inf)


def modelled(
    times: Floats, artery: Floats, curves: Floats, parts: Sequence[Floats], arteries: Sequence[Floats], *,
    leakage: bool = False,
) -> Estimated:  # fmt: skip
    """Regions by the vascular model.

    Parameters
    ----------
    times, artery
        (frames,).
    curves
        (frames, regions).
    parts
        For each region curves (frames, groups) without one group of its voxels after the other.
    arteries
        Arterial curves without one group of voxels after the other.
    leakage
        Whether the model has it as a part.
    """
    model = VascularModel(times, artery, free_baseline=True, leakage=leakage)
    fit = model.fit(curves, curves=True)

    def estimate(some: Floats, other: Floats) -> Mapping[str, Floats]:
        if other is not artery:
            # Curves are linear in the artery: a change of it is, to first order, a change of the curves.
            some = some - model.predict(fit.parameters, arterial=other - artery)
        return _numbers(model.fit(some).parameters, "delay")

    with np.errstate(divide="ignore", invalid="ignore"):
        own = {n: fit.standard_errors[n] / fit.parameters[n] for n in _FACTORS}
    own["input_delay"] = fit.standard_errors["delay"]
    said = [explain(int(each)) for each in fit.reason]
    return _again(estimate, curves, artery, parts, arteries, own, said, fit)


def deconvolved(
    times: Floats, artery: Floats, curves: Floats, parts: Sequence[Floats], arteries: Sequence[Floats], method: Method
) -> Estimated:
    """Regions by a deconvolution; parameters as for :func:`modelled`."""
    assert method != "vascular_model"

    def estimate(some: Floats, other: Floats) -> Mapping[str, Floats]:
        found = Deconvolution(times, other, method=method).fit(some)
        return _numbers({n: getattr(found, n) for n in (*_FACTORS, "tmax")}, "tmax")

    none = {n: np.zeros(curves.shape[1]) for n in (*_FACTORS, "tmax")}
    return _again(estimate, curves, artery, parts, arteries, none, [""] * curves.shape[1], None)


def _numbers(found: Mapping[str, Floats], late: str) -> dict[str, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = {n: np.log(np.where(found[n] > 0, found[n], np.nan)) for n in _FACTORS}
    return logs | {"input_delay" if late == "delay" else late: found[late]}


def _again(
    estimate: Estimate, curves: Floats, artery: Floats, parts: Sequence[Floats], arteries: Sequence[Floats],
    own: Mapping[str, Floats], said: Sequence[str], fit: Fit | None,
) -> Estimated:  # fmt: skip
    values = estimate(curves, artery)
    rest = estimate(np.concatenate([curves, *parts], axis=1), artery)
    stops = np.cumsum([curves.shape[1], *(part.shape[1] for part in parts)])
    tissue = {name: np.array([float(jackknife(rest[name][a:b])) for a, b in pairwise(stops)]) for name in values}
    degrees = np.array([part.shape[1] - 1.0 for part in parts])
    others = [estimate(curves, other) for other in arteries]
    without = {name: np.stack([one[name] for one in others]) for name in values} if others else {}
    return Estimated(values, own, tissue, degrees, without, said, fit)


def region_rows(found: Estimated, names: Sequence[str], voxels: Mapping[str, int], *, method: str) -> list[Measurement]:
    """CBF, CBV, MTT and delay or Tmax of each region."""
    rows = []
    for k, region in enumerate(names):
        for quantity, values in found.values.items():
            error, quantile = found.sureness(quantity, k)
            row = measured_row(
                quantity, float(values[k]), _UNITS[quantity], error, region, voxels[region], method, found.said[k],
                found.said[k] or "the curve does not determine it", quantile,
            )  # fmt: skip
            rows.append(_factors(row) if quantity in _FACTORS else row)
    return rows


def relative_rows(
    found: Estimated, names: Sequence[str], reference: int, voxels: Mapping[str, int], *, method: str
) -> list[Measurement]:
    """CBV and CBF of each region over those of the region at ``reference``; what both share of the artery falls out."""
    rows = []
    for k, region in enumerate(names):
        for quantity in ("cbv", "cbf"):
            value = float(found.values[quantity][k] - found.values[quantity][reference])
            error, quantile = found.sureness(quantity, k, reference)
            row = measured_row(
                f"r{quantity}", value, "1", error, region, voxels[region], method, found.said[k],
                "region or reference has no value", quantile,
            )  # fmt: skip
            rows.append(_factors(row))
    return rows


def leakage_rows(
    rates: Floats, errors: Floats, parts: Sequence[Floats], names: Sequence[str], voxels: Mapping[str, int], *,
    method: str,
) -> list[Measurement]:  # fmt: skip
    """K2 of each region: rates and the fit's errors (regions,), and rates without one group of voxels (groups,)."""
    rows = []
    for k, region in enumerate(names):
        other = float(jackknife(parts[k]))
        by_voxels = other > errors[k]
        quantile = t_quantile(0.95, parts[k].size - 1.0) if by_voxels else t_quantile(0.95, np.inf)
        error = other if by_voxels else float(errors[k])
        rows.append(
            measured_row("k2_leakage", float(rates[k]), "1/s", error, region, voxels[region], method, "",
                         "the curve does not determine it", quantile)
        )  # fmt: skip
    return rows


def _factors(row: Measurement) -> Measurement:
    """From the logarithm to the value, with an interval by factors."""
    value = float(np.exp(row.value))
    if not row.upper < 700:
        # An interval of more than 300 powers of ten is none.
        return replace(row, value=value, uncertainty=float("nan"), uncertainty_kind="none", lower=float("nan"),
                       upper=float("nan"), level=float("nan"))  # fmt: skip
    return replace(
        row, value=value, uncertainty=value * row.uncertainty, lower=float(np.exp(row.lower)),
        upper=float(np.exp(row.upper)),
    )  # fmt: skip
