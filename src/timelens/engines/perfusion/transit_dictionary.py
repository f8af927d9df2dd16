"""Tissue curves of unit flow for every transit time, shape and delay of a grid, in few numbers each.

    c(t) = integral C_a(u - delay) R(t - u) du,   R(t) = 1 - P(shape, shape t / MTT)

with P the regularised incomplete gamma function. The grid is even in ln MTT, ln shape and delay. Curves of one artery
span few dimensions: they are kept as coordinates in an orthonormal basis, which is exact for squared distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, interpolate, special

__all__ = ["STRIDE", "TransitDictionary", "transit_curve"]

Floats = NDArray[np.float64]

#: The arterial curve is read at this many points per frame, and delayed by every second of them.
_FINE, _EVERY = 8, 2
#: Distance of two nodes in ln MTT and ln shape.
_NODES = (0.08, 0.25)
#: The search sees every third node first.
STRIDE = 3
#: Singular values under this part of the largest are left out: a ten thousandth of a curve's height.
_KEPT = 3e-5


@dataclass(frozen=True, eq=False)
class TransitDictionary:
    """Curves of unit flow.

    Attributes
    ----------
    nodes
        ln MTT (MTT in s), ln shape, delay in s.
    atoms
        (MTT, shape, delay, coordinates).
    basis
        (coordinates, frames), orthonormal rows.
    coarse
        (curves, coordinates) of every third node, of unit length; ``places`` their nodes.
    """

    nodes: tuple[Floats, Floats, Floats]
    atoms: NDArray[np.float32]
    basis: NDArray[np.float32]
    coarse: NDArray[np.float32]
    places: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        arterial: Floats,
        dt: float,
        *,
        mtt: tuple[float, float],
        shape: tuple[float, float],
        delay: tuple[float, float],
        beside: Floats | None = None,
    ) -> TransitDictionary:
        """For an arterial curve at even times ``dt`` apart; ranges in s.

        What lies along ``beside`` (curves, frames), orthonormal, is taken off all curves.
        """
        fine, frames = dt / _FINE, arterial.size
        step = _EVERY * fine
        early = int(np.floor(delay[0] / step))
        parts = max(-(-(int(np.ceil(delay[1] / step)) - early) // STRIDE), 1) * STRIDE
        late = early + parts
        delays: Floats = step * np.arange(early, late + 1, dtype=np.float64)
        nodes = (_even(mtt, _NODES[0]), _even(shape, _NODES[1]), delays)
        length = _FINE * (frames - 1) + 1 + max(-_EVERY * early, 0)
        residues = _residues(length, fine, tuple(nodes[0]), tuple(nodes[1]))
        size = 2 * length
        fed = np.fft.rfft(_averaged(arterial, length), size).astype(np.complex64)
        # From fine times to frames, delayed: nothing comes before the first frame.
        lead = max(_EVERY * late, 0)
        at = lead + _FINE * np.arange(frames)[None, :] - _EVERY * np.arange(early, late + 1)[:, None]
        curves = np.zeros((nodes[0].size, nodes[1].size, at.shape[0], frames), np.float32)
        padded = np.zeros((nodes[1].size, lead + length), np.float32)
        for i, row in enumerate(residues):
            padded[:, lead:] = fft.irfft(row * fed, size, axis=1)[:, :length]
            np.take(padded, at, axis=1, out=curves[i])
        flat = curves.reshape(-1, frames)
        if beside is not None:
            along = beside.astype(np.float32)
            flat -= (flat @ along.T) @ along
        sample = flat[:: max(flat.shape[0] // 2500, 1)]
        power, left = np.linalg.eigh(sample.T.astype(np.float64) @ sample)
        kept = power > _KEPT**2 * power[-1]
        basis = np.ascontiguousarray(left[:, kept | (np.arange(frames) >= frames - 4)].T, dtype=np.float32)
        atoms = (flat @ basis.T).reshape(*curves.shape[:3], -1)
        grid = np.meshgrid(*(np.arange(0, n.size, STRIDE) for n in nodes), indexing="ij")
        places: NDArray[np.int32] = np.stack(grid, axis=-1).reshape(-1, 3).astype(np.int32)
        coarse = atoms[tuple(places.T)]
        coarse = coarse / np.linalg.norm(coarse, axis=1, keepdims=True)
        return cls(nodes, np.ascontiguousarray(atoms), basis, coarse, places)


def transit_curve(arterial: Floats, dt: float, mtt: float, shape: float, delay: float) -> Floats:
    """The curve of unit flow of one tissue, without a grid."""
    fine, frames = dt / _FINE, arterial.size
    length = _FINE * (frames - 1) + 1 + max(int(np.ceil(-delay / fine)), 0)
    residue = _residue(length, fine, mtt, np.array([shape]))[0]
    size = 2 * length
    whole = np.fft.irfft(np.fft.rfft(_averaged(arterial, length), size) * np.fft.rfft(residue, size), size)[:length]
    return np.interp(dt * np.arange(frames) - delay, fine * np.arange(length), whole, left=0.0)


def _averaged(arterial: Floats, length: int) -> Floats:
    """Mean over each fine step. A straight line between frames would widen a bolus of few, and shorten the transit."""
    frames = np.arange(arterial.size)
    at = np.arange(length) / _FINE
    read = np.where(at <= frames[-1], interpolate.CubicSpline(frames, arterial)(at), arterial[-1])
    return np.asarray(0.5 * (np.concatenate([[0.0], read[:-1]]) + read))


def _residue(length: int, fine: float, mtt: float, shapes: Floats) -> Floats:
    """Integral of R over each fine step: exact however short the transit (shapes, length)."""
    edge = fine * np.arange(length + 1)
    shape = shapes[:, None]
    x = shape * edge / mtt
    whole = edge * special.gammaincc(shape, x) + mtt * special.gammainc(shape + 1, x)
    return np.diff(whole, axis=1)


@lru_cache(maxsize=2)
def _residues(
    length: int, fine: float, log_mtt: tuple[float, ...], log_shape: tuple[float, ...]
) -> NDArray[np.complex64]:
    """Spectra of all residues (MTT, shape, frequencies); the same for every artery of a protocol."""
    size = 2 * length
    shapes = np.exp(np.array(log_shape))
    made = [np.fft.rfft(_residue(length, fine, float(np.exp(each)), shapes), size) for each in log_mtt]
    return np.stack(made).astype(np.complex64)


def _even(limits: tuple[float, float], step: float) -> Floats:
    """Logarithms evenly over the range, about ``step`` apart, one more than a multiple of the stride."""
    low, high = np.log(limits)
    parts = max(int(np.ceil((high - low) / step / STRIDE)), 1) * STRIDE
    return np.linspace(low, high, parts + 1)
