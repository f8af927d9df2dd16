"""The full reference tissue model: a target of two tissues against a reference of one.

Lammertsma AA et al., J Cereb Blood Flow Metab 1996;16:42, doi:10.1097/00004647-199601000-00005. With a reference
without specific binding, dCr/dt = K1' Cp - k2' Cr, and the same non-displaceable volume in both (K1 / k2 = K1' / k2'),
the target's curve is

    C = r1 Cr + c1 Cr * exp(-p t) + c2 Cr * exp(-q t),   c1 + c2 = k2 (1 - r1),   c1 q + c2 p = k2 (k3 + k4) - r1 k2 k4

with ``p, q`` the roots of x^2 - (k2 + k3 + k4) x + k2 k4 and r1 = K1 / K1'. Four parameters decide it: r1, k2, k3, k4.
Rates come out far less precisely than bp_nd; where SRTM fits as well it is to be preferred (see :func:`compare`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.convolve import convolve_with_slope, frame_values
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.full_reference_kernels import curve_rows, solve_full
from timelens.engines.kinetics.inputs import InputFunction
from timelens.engines.kinetics.model import MAP_STEPS, STEPS, TOLERANCE, SeparableModel, check_span
from timelens.engines.kinetics.reasons import Reason
from timelens.engines.kinetics.tables import Table, make_table, rate_range

__all__ = ["FRTM"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: Rates per axis of the grid from which the search starts.
SIDE = 10


@dataclass(frozen=True, eq=False)
class _Grid:
    table: Table
    seen: Floats
    points: Floats
    level: Floats
    slope: Floats
    sums: Floats


class FRTM(SeparableModel):
    """Full reference tissue model: r1, k2, k3, k4 and bp_nd = k3 / k4.

    Parameters
    ----------
    frames
        When the tissue was measured.
    reference
        Curve of the reference region, with samples up to the last frame (see :func:`reference_input`).
    rates
        Searched range of k2, k3 and k4, 1/s; by default from 0.01 over the scan's length to 0.02.
    """

    name = "frtm"
    main = "bp_nd"
    units: ClassVar[dict[str, str]] = {"r1": "1", "k2": "/s", "k3": "/s", "k4": "/s", "bp_nd": "1"}
    exponentials = 2
    positive = False

    def __init__(self, frames: Frames, reference: InputFunction, *, rates: tuple[float, float] | None = None) -> None:
        check_span(float(reference.times[-1]), frames)
        self.frames, self.reference = frames, reference
        self.offset = np.zeros(len(frames))
        self.seen = frame_values(reference.times, reference.values, frames)
        self.known = self.seen[None, :]
        last = float(frames.end[-1])
        self.bounds = rate_range(rates or (0.01 / last, max(0.02, 1.0 / last)), last)

        def curve(rates: Floats) -> tuple[Floats, Floats]:
            return convolve_with_slope(reference.times, reference.values, rates, frames)

        # The eigenvalues may lie below and above the rates; slower than this a convolution is a plain integral.
        self.table = make_table(curve, (min(self.bounds[0], 1e-3 / last), 3.0 * self.bounds[1]))

    @property
    def free_parameters(self) -> int:
        """r1 and three rates."""
        return 4

    @property
    def sizes(self) -> tuple[int, int]:
        """One coefficient (r1), three rates (ln k2, ln k3, ln k4)."""
        return 1, 3

    def limits(self) -> tuple[Floats, Floats]:
        """r1 is free, rates are searched between bounds."""
        low, high = np.log(self.bounds)
        return np.array([-np.inf, low, low, low]), np.array([np.inf, high, high, high])

    def shape(self, point: Floats) -> tuple[Floats, Floats]:
        """Curve at (r1, ln k2, ln k3, ln k4) and its derivatives (4, frames)."""
        size = len(self.frames)
        curve, rows = np.full(size, np.nan), np.full((4, size), np.nan)
        if np.isfinite(point).all():
            table = self.table
            curve_rows(
                np.ascontiguousarray(point), self.seen, table.values, table.slopes, table.first, table.step,
                np.empty((4, size)), curve, rows,
            )  # fmt: skip
        return curve, rows

    def _prepare(self, root: Floats, keep: NDArray[np.bool_]) -> _Grid:
        table, seen = self.table.scaled(root, keep), self.seen[keep] * root[keep]
        low, high = np.log(self.bounds)
        axis = np.linspace(low, high, SIDE + 2)[1:-1]
        points = np.stack([part.ravel() for part in np.meshgrid(axis, axis, axis, indexing="ij")], axis=1)
        level, slope = np.empty((len(points), seen.size)), np.empty((len(points), seen.size))
        work, rows = np.empty((4, seen.size)), np.empty((4, seen.size))
        for i, point in enumerate(points):
            # The curve is linear in r1: its value at r1 = 0 and its slope.
            at = np.concatenate([[0.0], point])
            curve_rows(at, seen, table.values, table.slopes, table.first, table.step, work, level[i], rows)
            slope[i] = rows[0]
        sums = np.stack([np.einsum("ij,ij->i", *pair) for pair in ((level, level), (level, slope), (slope, slope))])
        return _Grid(table, seen, points, level, slope, sums)

    def _search_all(
        self, grid: _Grid, y: Floats, *, quick: bool
    ) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.int32]]:
        low, high = self.limits()
        tolerance, limit = (1e-6, MAP_STEPS) if quick else (TOLERANCE, STEPS)
        count = y.shape[0]
        points, rss, normal = np.empty((count, 4)), np.empty(count), np.empty((count, 4, 4))
        reason = np.zeros(count, dtype=np.int32)
        table = grid.table
        solve_full(
            y, grid.seen, table.values, table.slopes, table.first, table.step, grid.points, grid.level, grid.slope,
            grid.sums, SIDE, low, high, tolerance, limit, points, rss, normal, reason,
        )  # fmt: skip
        inverse, singular = _inverses(normal, points, low, high)
        reason[singular] |= int(Reason.SINGULAR)
        return points[:, :1], points[:, 1:], rss, inverse, reason

    def _transform(self, coefficients: Array, u: Array) -> dict[str, Array]:
        k2, k3, k4 = np.exp(u).T
        return {"r1": coefficients[:, 0], "k2": k2, "k3": k3, "k4": k4, "bp_nd": k3 / k4}


def _inverses(normal: Floats, points: Floats, low: Floats, high: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Inverse normal matrices of the parameters that are not on a bound (zero for those), and which are singular."""
    held = (points <= low) | (points >= high)
    free = ~held
    scale = np.sqrt(np.einsum("vii->vi", normal)) + 1e-300
    matrix = normal / (scale[:, :, None] * scale[:, None, :]) * (free[:, :, None] & free[:, None, :])
    matrix += np.eye(4) * held[:, :, None]
    singular = np.linalg.eigvalsh(matrix)[:, 0] < 1e-13
    matrix[singular] = np.eye(4)
    inverse = np.linalg.inv(matrix) * (free[:, :, None] & free[:, None, :]) / (scale[:, :, None] * scale[:, None, :])
    inverse[singular] = np.nan
    return inverse, singular
