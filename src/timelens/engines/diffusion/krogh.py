"""Closed forms of diffusion with linear consumption: slab, sphere, and the tissue cylinder around a vessel.

Consumption is ``k u``; with the diffusion coefficient D it sets the consumption length ``L = sqrt(D / k)``. Lengths are
in one unit of the caller's choice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import i0e, i1e, k0e, k1e

from timelens.errors import DataError

__all__ = ["krogh_exchange", "krogh_mean", "krogh_profile", "slab_profile", "sphere_profile"]

Array = NDArray[np.float64]


def slab_profile(position: ArrayLike, half_width: float, length: float) -> Array:
    """Value across a slab from ``-half_width`` to ``half_width`` whose faces have the value 1: a hyperbolic cosine."""
    x, a = np.abs(np.asarray(position, float)) / length, half_width / length
    # exp(x - a) first: cosh of a thick slab overflows.
    return np.asarray(np.exp(x - a) * (1 + np.exp(-2 * x)) / (1 + np.exp(-2 * a)))


def sphere_profile(radius: ArrayLike, outer: float, length: float) -> Array:
    """Value within a sphere whose surface has the value 1 (a spheroid in medium): ``R sinh(r/L) / (r sinh(R/L))``."""
    r, a = np.asarray(radius, float) / length, outer / length
    small = r < 1e-4
    safe = np.where(small, 1.0, r)
    inside = np.exp(safe - a) * -np.expm1(-2 * safe) / safe
    centre = 2 * np.exp(-a) * (1 + r**2 / 6)
    return np.asarray(a / -np.expm1(-2 * a) * np.where(small, centre, inside))


def krogh_profile(radius: ArrayLike, vessel: float, outer: float, length: float) -> Array:
    """Value around a vessel, relative to that at its wall, in a tissue cylinder which nothing leaves.

    Parameters
    ----------
    radius
        Distance from the axis, from ``vessel`` to ``outer``.
    vessel, outer
        Radius of the vessel and of the tissue cylinder.
    length
        Consumption length.

    References
    ----------
    Krogh A. J Physiol 1919;52:409, doi:10.1113/jphysiol.1919.sp001839, here with consumption in proportion to the
    value, so that modified Bessel functions take the place of his logarithm.
    """
    r, a, b = np.asarray(radius, float) / length, vessel / length, outer / length
    return np.asarray(_mixed(r, b, a) / _mixed(np.asarray(a), b, a))


def krogh_mean(vessel: ArrayLike, outer: ArrayLike, length: ArrayLike) -> Array:
    """Mean value over the tissue of a cylinder, relative to that at the vessel's wall.

    What the tissue consumes has come through the wall, so the mean follows from the slope there.
    """
    thickness = np.asarray(length, float)
    a, b = np.asarray(vessel, float) / thickness, np.asarray(outer, float) / thickness
    # Scaled by exp(a - b), as in _mixed; each Bessel function once, since they take nearly all of the time.
    rising, falling = i1e(b), k1e(b) * np.exp(2 * (a - b))
    slope = (k1e(a) * rising - i1e(a) * falling) / (i0e(a) * falling + k0e(a) * rising)
    return np.asarray(2 * a / (b**2 - a**2) * slope)


def krogh_exchange(fraction: ArrayLike, vessel: float, length: ArrayLike) -> Array:
    """Rate of exchange with vessels too fine for the grid, as a multiple of the consumption rate.

    In a voxel where vessels of one radius take up ``fraction`` of the volume, each feeds a cylinder of radius
    ``vessel / sqrt(fraction)``. With this rate ``S`` the balance ``S (wall - mean) = k mean`` gives the mean of that
    cylinder exactly.

    Parameters
    ----------
    fraction
        Volume fraction of vessels, 0 to below 1; without vessels the rate is 0.
    vessel
        Radius of the vessels.
    length
        Consumption length; infinite where nothing is consumed.

    Returns
    -------
    ndarray
        S / k.

    Raises
    ------
    DataError
        If a fraction lies outside of 0 to 1.
    """
    f = np.asarray(fraction, float)
    if not ((f >= 0) & (f < 1)).all():
        raise DataError("A volume fraction lies outside of 0 to 1", field="fraction", found=f"{f.min():g}, {f.max():g}")
    f, thickness = np.broadcast_arrays(f, np.asarray(length, float))
    result = np.zeros(f.shape)
    there = f > 1e-8
    outer = vessel / np.sqrt(f[there])
    # Beyond this length the mean differs from 1 by its leading term only, which rounding would swallow.
    capped = np.minimum(thickness[there], 300 * outer)
    mean = krogh_mean(vessel, outer, capped)
    result[there] = mean / (1 - mean) * (thickness[there] / capped) ** 2
    return result


def _mixed(r: Array, b: Array | float, a: Array | float) -> Array:
    """``I0(r) K1(b) + K0(r) I1(b)`` times ``exp(a - b)``, from scaled Bessel functions."""
    return np.asarray(i0e(r) * k1e(b) * np.exp(r + a - 2 * b) + k0e(r) * i1e(b) * np.exp(a - r))
