"""One curve against one of a dictionary of curves: products, likelihood, and matrices of three rows."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["FLOOR", "cholesky", "dot", "inverse", "looseness", "misfit", "products", "read"]

_FAST = {"contract", "reassoc", "nsz", "arcp"}
#: Least part of a curve's power that is taken as noise: the dictionary is no better.
FLOOR = 1e-9


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def products(atoms, i, j, k, seen):  # type: ignore[no-untyped-def]
    """Of a node's curve with itself and with what was seen."""
    own, both = np.float32(0), np.float32(0)
    for c in range(atoms.shape[3]):
        own += atoms[i, j, k, c] * atoms[i, j, k, c]
        both += atoms[i, j, k, c] * seen[c]
    return float(own), float(both)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def read(atoms, place, curve):  # type: ignore[no-untyped-def]
    """The curve at a place between nodes, straight between them."""
    i = min(max(int(place[0]), 0), atoms.shape[0] - 2)
    j = min(max(int(place[1]), 0), atoms.shape[1] - 2)
    k = min(max(int(place[2]), 0), atoms.shape[2] - 2)
    x, y, z = np.float32(place[0] - i), np.float32(place[1] - j), np.float32(place[2] - k)
    one = np.float32(1)
    w00, w01, w10, w11 = (one - x) * (one - y), (one - x) * y, x * (one - y), x * y
    u00, u01, u10, u11 = w00 * (one - z), w01 * (one - z), w10 * (one - z), w11 * (one - z)
    w00, w01, w10, w11 = w00 * z, w01 * z, w10 * z, w11 * z
    for c in range(atoms.shape[3]):
        curve[c] = (
            u00 * atoms[i, j, k, c] + u01 * atoms[i, j + 1, k, c]
            + u10 * atoms[i + 1, j, k, c] + u11 * atoms[i + 1, j + 1, k, c]
            + w00 * atoms[i, j, k + 1, c] + w01 * atoms[i, j + 1, k + 1, c]
            + w10 * atoms[i + 1, j, k + 1, c] + w11 * atoms[i + 1, j + 1, k + 1, c]
        )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def dot(a, b):  # type: ignore[no-untyped-def]
    """Inner product in single precision."""
    total = np.float32(0)
    for c in range(a.size):
        total += a[c] * b[c]
    return float(total)


@njit(cache=True, nogil=True, error_model="numpy")
def misfit(own, both, power, frames):  # type: ignore[no-untyped-def]
    """Minus the logarithm of the likelihood, amplitude and noise integrated."""
    if not both > 0:
        return np.inf
    part = both * both / own
    return 0.5 * (frames - 1) * np.log(max(power - part, FLOOR * power)) + 0.5 * np.log(part)


@njit(cache=True, nogil=True, error_model="numpy")
def looseness(own, both, power, frames):  # type: ignore[no-untyped-def]
    """Variance of the logarithm of the amplitude at one place."""
    part = both * both / own
    return max(power - part, FLOOR * power) / (frames - 3) / part


@njit(cache=True, nogil=True, error_model="numpy")
def cholesky(m, out):  # type: ignore[no-untyped-def]
    """Lower Cholesky root of a symmetric 3 x 3 matrix; False where it has none."""
    for i in range(3):
        for j in range(i + 1):
            s = m[i, j]
            for k in range(j):
                s -= out[i, k] * out[j, k]
            if i > j:
                out[i, j] = s / out[j, j]
            elif s > 0:
                out[i, i] = np.sqrt(s)
            else:
                return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def inverse(m, out):  # type: ignore[no-untyped-def]
    """Inverse of a symmetric positive 3 x 3 matrix; False where it has none."""
    root, y = np.zeros((3, 3)), np.zeros(3)
    if not cholesky(m, root):
        return False
    for c in range(3):
        for i in range(3):
            s = 1.0 if i == c else 0.0
            for k in range(i):
                s -= root[i, k] * y[k]
            y[i] = s / root[i, i]
        for i in range(2, -1, -1):
            s = y[i]
            for k in range(i + 1, 3):
                s -= root[k, i] * out[k, c]
            out[i, c] = s / root[i, i]
    return True
