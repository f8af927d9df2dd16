"""Spillover between the channels of a mass cytometer: estimated from single stains, and taken back.

Of the ions of one metal, a part is counted in other channels: one mass up or down (abundance sensitivity), sixteen up
(oxide), and at the other isotopes of the same element (impurity). With S, whose row i holds the parts of metal i that
each channel counts (1 on the diagonal), the counts are y = S^T x, and x >= 0 is found by non-negative least squares
(Chevrier 2018, doi:10.1016/j.cels.2018.02.010).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.unmixing.mixture import LinearMixture, MixtureFit
from timelens.errors import UsageError

__all__ = ["Spillover", "compensate", "estimate", "possible"]

FloatArray = NDArray[np.float64]
_METAL = re.compile(r"^([A-Za-z]{1,2})(\d{2,3})$")
_OXIDE = 16
_FEWEST_EVENTS = 20


@dataclass(frozen=True)
class Spillover:
    """A spillover matrix with its standard errors.

    Parameters
    ----------
    channels
        Metals with masses (``Pr141``), in the order of the matrix.
    matrix
        Row i: parts of metal i counted in each channel; 1 on the diagonal.
    standard_errors
        Of the matrix; 0 where nothing was estimated.
    unstained
        Metals without a single stain: their rows say that they spill nothing, which is not known.
    """

    channels: tuple[str, ...]
    matrix: FloatArray
    standard_errors: FloatArray
    unstained: tuple[str, ...] = ()


def possible(channels: Sequence[str]) -> NDArray[np.bool_]:
    """Which channel each metal can spill into at all.

    Parameters
    ----------
    channels
        Metals with masses, ``Pr141``.

    Returns
    -------
    ndarray of bool, shape (channels, channels)
        True at (i, j) if j is one mass from i, sixteen above it, or another isotope of its element.
    """
    found = [_METAL.match(c) for c in channels]
    if None in found:
        raise UsageError("A channel is no metal with its mass", field="channels", found=channels[found.index(None)],
                         expected="Pr141")  # fmt: skip
    element = np.array([m[1] for m in found if m])
    mass = np.array([int(m[2]) for m in found if m])
    step = mass[None, :] - mass[:, None]
    other = ~np.eye(len(channels), dtype=bool)
    return other & ((np.abs(step) == 1) | (step == _OXIDE) | (element[None, :] == element[:, None]))


def estimate(stains: Mapping[str, ArrayLike], channels: Sequence[str]) -> Spillover:
    """A spillover matrix from single stains.

    Of each stain, the part counted in another channel is the sum of its counts, less background, over the sum of the
    stained channel's, which is the most likely slope of Poisson counts; it is formed in groups of events, and the
    median over groups is taken, which a few bright specks do not move. Negative parts are zero. The background of a
    channel is found in the same way from the stains that cannot spill into it.

    Parameters
    ----------
    stains
        Metal to counts (channels, events) of pixels or cells that bear only this metal.
    channels
        Metals in the order of the counts.

    Raises
    ------
    UsageError
        If a stain is not among the channels, has another number of channels, fewer than 20 events, or no signal.
    """
    names = tuple(channels)
    can = possible(names)
    counts: dict[int, FloatArray] = {}
    for metal, values in stains.items():
        data = np.asarray(values, np.float64)
        if metal not in names or data.ndim != 2 or data.shape[0] != len(names):
            raise UsageError("A stain does not fit the channels", field=metal, found=data.shape,
                             expected=f"({len(names)}, events) of {', '.join(names)}")  # fmt: skip
        data = data[:, np.isfinite(data).all(axis=0)]
        if data.shape[1] < _FEWEST_EVENTS:
            raise UsageError("A stain has too few events", field=metal, found=data.shape[1], expected=_FEWEST_EVENTS)
        counts[names.index(metal)] = data
    matrix, errors = np.eye(len(names)), np.zeros((len(names), len(names)))
    background = np.zeros(len(names))
    for j in range(len(names)):
        free = [_groups(data[j]).mean(axis=1) for i, data in counts.items() if i != j and not can[i, j]]
        background[j] = np.median(np.concatenate(free)) if free else 0.0
    for i, data in counts.items():
        stained = _groups(data[i] - background[i]).sum(axis=1)
        if not np.median(stained) > 0:
            raise UsageError("A stain has no signal in its own channel", field=names[i], found="0 above background")
        good = stained > 0
        for j in np.flatnonzero(can[i]).tolist():
            parts = _groups(data[j] - background[j]).sum(axis=1)[good] / stained[good]
            middle = np.median(parts)
            # 1.4826 makes the median deviation a standard deviation, 1.2533 that of a median of normal values.
            spread = 1.4826 * np.median(np.abs(parts - middle)) * 1.2533 / np.sqrt(len(parts))
            matrix[i, j], errors[i, j] = max(middle, 0.0), spread
    return Spillover(names, matrix, errors, tuple(n for k, n in enumerate(names) if k not in counts))


def _groups(values: FloatArray) -> FloatArray:
    """Events in about as many groups as each has members, spread evenly; a few at the end are left out."""
    groups = max(int(np.sqrt(values.size)), 1)
    members = values.size // groups
    return values[: groups * members].reshape(members, groups).T


def compensate(counts: ArrayLike, spillover: ArrayLike) -> MixtureFit:
    """Counts with the spillover taken back, never negative.

    Parameters
    ----------
    counts
        Shape (channels, ...): cells or pixels.
    spillover
        Shape (channels, channels), 1 on the diagonal, rows as in :class:`Spillover`.

    Returns
    -------
    MixtureFit
        ``parameters`` holds the compensated counts.

    Raises
    ------
    UsageError
        If the matrix has no ones on its diagonal, or parts outside of 0 to 1.
    """
    matrix = np.asarray(spillover, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise UsageError("A spillover matrix is square", field="spillover", found=matrix.shape)
    if not (np.allclose(np.diag(matrix), 1) and (matrix >= 0).all() and (matrix <= 1).all()):
        raise UsageError(
            "A spillover matrix has parts from 0 to 1, and 1 on its diagonal", field="spillover",
            found=f"diagonal {np.diag(matrix).min():g} to {np.diag(matrix).max():g}",
            mend="divide each row by its diagonal",
        )  # fmt: skip
    return LinearMixture(matrix.T).fit(counts)
