"""Diffusion with loss and sources at rest: ``-div(D grad u) + loss u = source``.

Finite volumes, second order in the voxel edge: values are at voxel centres, the diffusion coefficient of a face is the
harmonic mean of its two voxels', nothing leaves through the faces of the grid. Solved by conjugate gradients with one
multigrid cycle as preconditioner (Tatebe 1993, NASA CP-3224): the number of steps hardly depends on the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.diffusion.multigrid import Level, apply, cycle, dot, levels
from timelens.errors import DataError, UsageError

__all__ = ["Steady", "steady_state"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Steady:
    """A solution and how it was reached.

    Attributes
    ----------
    values
        u of shape (z, y, x).
    steps
        Steps of conjugate gradients.
    residual
        Norm of what is left over, divided by the norm of the sources.
    """

    values: Array
    steps: int
    residual: float


def steady_state(
    diffusivity: ArrayLike,
    loss: ArrayLike,
    source: ArrayLike,
    spacing: Sequence[float],
    *,
    fixed: NDArray[np.bool_] | None = None,
    fixed_values: ArrayLike = 0.0,
    tolerance: float = 1e-8,
    max_steps: int = 200,
) -> Steady:
    """Solve ``-div(D grad u) + loss u = source`` on a grid.

    Parameters
    ----------
    diffusivity
        D, one number or an array (z, y, x), length squared per time; 0 lets nothing pass.
    loss
        First-order loss, one number or an array, per time, not negative.
    source
        Array (z, y, x), amount per volume and time.
    spacing
        Voxel edges along z, y, x, in the length of D.
    fixed
        Voxels whose value is given (walls of vessels, a boundary of known value), as a mask (z, y, x).
    fixed_values
        Their values, one number or an array (z, y, x); ignored elsewhere.
    tolerance
        Where to stop: norm of the residual by norm of the right-hand side.
    max_steps
        Give up after so many steps.

    Returns
    -------
    Steady
        Of the same shape as ``source``.

    Raises
    ------
    UsageError
        If shapes or spacing do not fit.
    DataError
        If a coefficient is negative or not finite, if nothing determines the level of u (no loss and no fixed voxel),
        or if the steps did not suffice.
    """
    rhs = np.array(source, dtype=float)
    if rhs.ndim != 3 or rhs.size == 0:
        raise UsageError("Sources are an array (z, y, x)", field="source", found=rhs.shape)
    edges = np.asarray(spacing, float)
    if edges.shape != (3,) or not (np.isfinite(edges).all() and (edges > 0).all()):
        raise UsageError("A spacing is three positive lengths", field="spacing", found=spacing, expected="z, y, x")
    coefficient = _field(diffusivity, rhs.shape, "diffusivity")
    losses = np.array(_field(loss, rhs.shape, "loss"))
    if not np.isfinite(rhs).all():
        raise DataError("A source is not finite", field="source", expected="finite numbers")
    faces = [_conductance(coefficient, axis, edges[axis]) for axis in range(3)]
    start = np.zeros_like(rhs)
    if fixed is not None:
        mask = np.asarray(fixed, bool)
        if mask.shape != rhs.shape:
            raise UsageError("The mask has another shape", field="fixed", found=mask.shape, expected=rhs.shape)
        given = np.where(mask, fixed_values, 0.0)
        if not np.isfinite(given).all():
            raise DataError("A fixed value is not finite", field="fixed_values", expected="finite numbers")
        _fix(faces, losses, rhs, mask, given)
        start = given
    if not losses.any():
        raise DataError(
            "Nothing determines the level of the solution", field="loss", found="0 everywhere", mend="fix a voxel"
        )
    gz, gy, gx = (_bordered(face) for face in faces)
    grid = levels(gz, gy, gx, _bordered(losses))
    values, steps, residual = _conjugate_gradients(grid, _bordered(rhs), _bordered(start), tolerance, max_steps)
    if not residual <= tolerance:
        raise DataError(
            f"The solver did not converge within {max_steps} steps", found=f"{residual:.1e}", expected=tolerance
        )
    return Steady(np.ascontiguousarray(values[1:-1, 1:-1, 1:-1]), steps, residual)


def _field(values: ArrayLike, shape: tuple[int, ...], name: str) -> Array:
    field = np.asarray(values, float)
    if field.shape not in ((), shape):
        raise UsageError(f"The {name} has another shape", field=name, found=field.shape, expected=shape)
    if not np.isfinite(field).all() or (field < 0).any():
        raise DataError(f"The {name} must be finite and not negative", field=name, found=f"min {field.min():g}")
    return np.broadcast_to(field, shape)


def _conductance(coefficient: Array, axis: int, edge: float) -> Array:
    """Conductance to the next voxel along an axis, per volume; 0 behind the last one."""
    here = np.moveaxis(coefficient, axis, 0)
    result = np.zeros(coefficient.shape)
    out = np.moveaxis(result, axis, 0)
    if not any(coefficient.strides):  # one number for all voxels
        out[:-1] = coefficient.flat[0] / edge**2
        return result
    a, b = here[:-1], here[1:]
    # 2ab/(a+b) is the harmonic mean; 0 where neither voxel conducts.
    np.divide(2 * a * b, (a + b) * edge**2, out=out[:-1], where=(a + b) > 0)
    return result


def _fix(faces: list[Array], losses: Array, rhs: Array, mask: NDArray[np.bool_], given: Array) -> None:
    """Turn faces between free and fixed voxels into losses and sources of the free ones, in place."""
    for axis, face in enumerate(faces):
        g, loss, right, value = (np.moveaxis(a, axis, 0) for a in (face, losses, rhs, given))
        m = np.moveaxis(mask, axis, 0)
        for free, held in ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))):
            wall = np.where(~m[free] & m[held], g[:-1], 0.0)
            loss[free] += wall
            right[free] += wall * value[held]
        g[:-1][m[:-1] | m[1:]] = 0.0
    # Any positive number would do; one near the others keeps the system well scaled.
    scale = float(losses[~mask].mean()) if not mask.all() else 1.0
    losses[mask] = scale or 1.0
    rhs[mask] = losses[mask] * given[mask]


def _bordered(values: Array) -> Array:
    return np.pad(values, 1)


def _conjugate_gradients(
    grids: list[Level], b: Array, u: Array, tolerance: float, max_steps: int
) -> tuple[Array, int, float]:
    """Preconditioned conjugate gradients on bordered arrays, from ``u``."""
    top = grids[0]
    matrix = top.gz, top.gy, top.gx, top.diagonal
    norm = float(np.sqrt(dot(b, b)))
    if norm == 0:
        return np.zeros_like(u), 0, 0.0
    product = np.zeros_like(u)
    apply(u, *matrix, product)
    residual = b - product
    direction = np.zeros_like(u)
    before = 1.0
    for step in range(max_steps + 1):
        left = float(np.sqrt(dot(residual, residual))) / norm
        if left <= tolerance or step == max_steps:
            return u, step, left
        cycle(grids, residual, top.u)
        now = float(dot(residual, top.u))
        direction *= now / before if step else 0.0
        direction += top.u
        apply(direction, *matrix, product)
        length = now / float(dot(direction, product))
        u += length * direction
        residual -= length * product
        before = now
    raise AssertionError("unreachable")
