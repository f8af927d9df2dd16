"""One multigrid cycle for diffusion with loss on a grid of cells: the preconditioner of the steady solver.

Conventions
-----------
- Arrays have a border of one cell all round, where conductances are 0: a loop needs no tests at the edges.
- ``gz[z, y, x]`` is the conductance between cell (z, y, x) and cell (z + 1, y, x); ``gy`` and ``gx`` likewise.
- A coarse cell unites two cells along each axis (a last odd one stays alone). Its loss is the sum of theirs; the
  conductance between two of them is the sum over the faces that they share, halved because their centres lie twice as
  far apart. Restriction sums, prolongation copies, and the sweeps go forth and back, so that the cycle is symmetric, as
  conjugate gradients need it (Mohr & Wienands, Comput Vis Sci 2004;7:129).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Level", "apply", "coarsened", "cycle", "dot", "levels"]

Array = NDArray[np.float64]
#: Cells along the longest axis of the coarsest grid.
_COARSEST = 4
#: Sweeps on the coarsest grid, forth and back.
_COARSE_SWEEPS = 8


@dataclass(frozen=True, eq=False)
class Level:
    """One grid: conductances and the diagonal of its matrix; two arrays to work in."""

    gz: Array
    gy: Array
    gx: Array
    diagonal: Array
    u: Array
    b: Array

    @classmethod
    def of(cls, gz: Array, gy: Array, gx: Array, loss: Array) -> Level:
        """A level from bordered conductances and losses."""
        diagonal = loss + gz + gy + gx
        diagonal[1:] += gz[:-1]
        diagonal[:, 1:] += gy[:, :-1]
        diagonal[:, :, 1:] += gx[:, :, :-1]
        # The border, and cells without loss or neighbours, must not divide by 0.
        diagonal[diagonal <= 0] = 1.0
        return cls(gz, gy, gx, diagonal, np.zeros_like(loss), np.zeros_like(loss))


def levels(gz: Array, gy: Array, gx: Array, loss: Array) -> list[Level]:
    """All grids, the finest first."""
    found = [Level.of(gz, gy, gx, loss)]
    while max(loss.shape) - 2 > _COARSEST:
        gz, gy, gx, loss = coarsened(gz, gy, gx, loss)
        found.append(Level.of(gz, gy, gx, loss))
    return found


def coarsened(gz: Array, gy: Array, gx: Array, loss: Array) -> tuple[Array, Array, Array, Array]:
    """Conductances and losses of the next coarser grid."""
    fine = [n - 2 for n in loss.shape]
    shape = tuple((n + 1) // 2 + 2 for n in fine)
    result = tuple(np.zeros(shape) for _ in range(4))
    halved = tuple(0.5 if n > 1 else 1.0 for n in fine)
    _gather(gz, gy, gx, loss, *result, *halved)
    return result[0], result[1], result[2], result[3]


@njit(cache=True)
def _gather(gz, gy, gx, loss, cz, cy, cx, coarse, hz, hy, hx):  # type: ignore[no-untyped-def]
    nz, ny, nx = loss.shape
    for z in range(1, nz - 1):
        Z = (z + 1) // 2
        for y in range(1, ny - 1):
            Y = (y + 1) // 2
            for x in range(1, nx - 1):
                X = (x + 1) // 2
                coarse[Z, Y, X] += loss[z, y, x]
                # Odd cells are the first of their pair: only the face behind the second leads to the next pair.
                if z % 2 == 0:
                    cz[Z, Y, X] += hz * gz[z, y, x]
                if y % 2 == 0:
                    cy[Z, Y, X] += hy * gy[z, y, x]
                if x % 2 == 0:
                    cx[Z, Y, X] += hx * gx[z, y, x]


@njit(cache=True)
def _sweep(u, b, gz, gy, gx, diagonal, colour):  # type: ignore[no-untyped-def]
    nz, ny, nx = u.shape
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for x in range(1 + ((z + y + colour) & 1), nx - 1, 2):
                u[z, y, x] = (
                    b[z, y, x]
                    + gz[z, y, x] * u[z + 1, y, x]
                    + gz[z - 1, y, x] * u[z - 1, y, x]
                    + gy[z, y, x] * u[z, y + 1, x]
                    + gy[z, y - 1, x] * u[z, y - 1, x]
                    + gx[z, y, x] * u[z, y, x + 1]
                    + gx[z, y, x - 1] * u[z, y, x - 1]
                ) / diagonal[z, y, x]


@njit(cache=True)
def apply(u, gz, gy, gx, diagonal, out):  # type: ignore[no-untyped-def]
    """``out = A u``; the border of ``out`` is left as it is."""
    nz, ny, nx = u.shape
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for x in range(1, nx - 1):
                out[z, y, x] = (
                    diagonal[z, y, x] * u[z, y, x]
                    - gz[z, y, x] * u[z + 1, y, x]
                    - gz[z - 1, y, x] * u[z - 1, y, x]
                    - gy[z, y, x] * u[z, y + 1, x]
                    - gy[z, y - 1, x] * u[z, y - 1, x]
                    - gx[z, y, x] * u[z, y, x + 1]
                    - gx[z, y, x - 1] * u[z, y, x - 1]
                )


@njit(cache=True)
def _restrict(u, b, gz, gy, gx, diagonal, coarse):  # type: ignore[no-untyped-def]
    coarse[:] = 0.0
    nz, ny, nx = u.shape
    for z in range(1, nz - 1):
        Z = (z + 1) // 2
        for y in range(1, ny - 1):
            Y = (y + 1) // 2
            for x in range(1, nx - 1):
                coarse[Z, Y, (x + 1) // 2] += (
                    b[z, y, x]
                    - diagonal[z, y, x] * u[z, y, x]
                    + gz[z, y, x] * u[z + 1, y, x]
                    + gz[z - 1, y, x] * u[z - 1, y, x]
                    + gy[z, y, x] * u[z, y + 1, x]
                    + gy[z, y - 1, x] * u[z, y - 1, x]
                    + gx[z, y, x] * u[z, y, x + 1]
                    + gx[z, y, x - 1] * u[z, y, x - 1]
                )


@njit(cache=True)
def _prolong(u, coarse):  # type: ignore[no-untyped-def]
    nz, ny, nx = u.shape
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for x in range(1, nx - 1):
                u[z, y, x] += coarse[(z + 1) // 2, (y + 1) // 2, (x + 1) // 2]


@njit(cache=True)
def dot(a, b):  # type: ignore[no-untyped-def]
    """Sum of products, always in the same order."""
    total = 0.0
    for z in range(a.shape[0]):
        plane = 0.0
        for y in range(a.shape[1]):
            row = 0.0
            for x in range(a.shape[2]):
                row += a[z, y, x] * b[z, y, x]
            plane += row
        total += plane
    return total


def cycle(grids: list[Level], b: Array, u: Array, depth: int = 0) -> None:
    """Write into ``u`` what one V-cycle from 0 makes of ``A u = b``."""
    grid = grids[depth]
    matrix = grid.gz, grid.gy, grid.gx, grid.diagonal
    u[:] = 0.0
    last = depth == len(grids) - 1
    for _ in range(_COARSE_SWEEPS if last else 1):
        _sweep(u, b, *matrix, 0)
        _sweep(u, b, *matrix, 1)
    if not last:
        below = grids[depth + 1]
        _restrict(u, b, *matrix, below.b)
        cycle(grids, below.b, below.u, depth + 1)
        _prolong(u, below.u)
    for _ in range(_COARSE_SWEEPS if last else 1):
        _sweep(u, b, *matrix, 1)
        _sweep(u, b, *matrix, 0)
