"""The R package kinfitr 0.9.1 as far as its fits of the PBR28 scans depend on it: its grid, its sums, its integrals.

It shifts blood by the delay, resamples it to 6000 even points from the earliest time on, samples every frame at its
middle and reads every curve off that grid by straight lines.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.integrate import cumulative_trapezoid
from tests.engines.kinetics.study import Floats

from timelens.engines.kinetics import Frames, InputFunction, TwoTissue, convolve_with_slope

REGIONS = ["FC", "TC", "STR", "THA", "WB", "CBL"]
MINUTE = 60.0


class Scan:
    """One scan with its input on the reference's grid."""

    def __init__(self, tacs: pd.DataFrame, blood: pd.DataFrame, delay: float) -> None:
        self.instants = Frames.instants(tacs.Times.to_numpy())
        self.frames = Frames(tacs.StartTime.to_numpy()[1:], (tacs.StartTime + tacs.Duration).to_numpy()[1:])
        self.curves, self.weights = tacs[REGIONS].to_numpy(), tacs.Weights.to_numpy()
        self.t_star = float(self.instants.start[-10])
        last = float(self.instants.middle[-1])
        grid = np.linspace(min(0.0, delay), last, 6000)

        def take(column: str, kind: str) -> InputFunction:
            times = blood.Time.to_numpy() * MINUTE + delay
            return InputFunction(grid, np.interp(grid, times, blood[column].to_numpy(), left=0.0), kind)  # type: ignore[arg-type]

        self.step = float(grid[1] - grid[0])
        self.plasma, self.blood = take("AIF", "parent"), take("Blood", "whole_blood")


def with_their_sum(model: TwoTissue, scan: Scan) -> TwoTissue:
    """The model with kinfitr's convolution: a plain sum, half a step of the input too much, read off its grid."""
    grid, middle = scan.plasma.times, scan.instants.middle
    at = np.clip(np.searchsorted(grid, middle, side="right") - 1, 0, grid.size - 2)
    part = (middle - grid[at]) / (grid[at + 1] - grid[at])
    nodes = Frames.instants(np.union1d(grid[at], grid[at + 1]))
    rates = model.table.rates
    values, slopes = convolve_with_slope(grid, scan.plasma.values, rates, nodes)
    values = values + 0.5 * scan.step * scan.plasma.at(nodes.middle)[:, None]
    left, right = np.searchsorted(nodes.middle, grid[at]), np.searchsorted(nodes.middle, grid[at + 1])

    def read(curves: Floats) -> Floats:
        return np.ascontiguousarray((curves[left] * (1 - part)[:, None] + curves[right] * part[:, None]).T)

    model.table = replace(model.table, values=read(values), slopes=read(slopes * rates))
    return model


def their_ma2(scan: Scan) -> Floats:
    """V_T of MA2 with kinfitr's integrals: plasma by trapezoids, tissue by sums of frames and sums of those sums."""
    grid, middle = scan.plasma.times, scan.instants.middle.copy()
    middle[0] = grid[0]
    duration = np.concatenate([[0.0], scan.frames.duration])[:, None]

    def integral(values: Floats) -> Floats:
        return np.asarray(cumulative_trapezoid(values, grid, initial=0))

    def frame_sum(values: Floats) -> Floats:
        return np.asarray(np.cumsum(duration * values, axis=0) - 0.5 * duration * values)

    tissue = np.stack([np.interp(middle, grid, np.interp(grid, middle, curve)) for curve in scan.curves.T], axis=1)
    once, twice = (
        np.interp(middle, grid, c) for c in (integral(scan.plasma.values), integral(integral(scan.plasma.values)))
    )
    single = frame_sum(tissue)
    double, root, out = frame_sum(single), np.sqrt(scan.weights), []
    for i in range(tissue.shape[1]):
        design = np.stack([twice, double[:, i], single[:, i], once], axis=1) * root[:, None]
        scale = np.linalg.norm(design, axis=0)
        g = np.linalg.lstsq(design / scale, tissue[:, i] * root, rcond=None)[0] / scale
        out.append(-g[0] / g[1])
    return np.array(out)
