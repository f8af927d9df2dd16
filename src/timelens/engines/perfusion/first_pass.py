"""First pass of contrast agent in T2*-weighted series: dR2*, blood volume, and scaling to a reference tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.mr_signal.checks import LONGEST_FAST_TR_S, check_positive, check_times
from timelens.engines.mr_signal.concentration import Concentration, SignalReason
from timelens.errors import DataError

__all__ = ["HAEMATOCRIT_FACTOR", "TISSUE_DENSITY", "blood_volume", "delta_r2_star", "normalise_to"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: (1 - haematocrit of large vessels) / (1 - that of small ones), 0.45 and 0.25 (Rempp KA et al., Radiology
#: 1994;193:637, doi:10.1148/radiology.193.3.7972800).
HAEMATOCRIT_FACTOR = (1 - 0.45) / (1 - 0.25)
#: Density of brain tissue, g/mL (same source).
TISSUE_DENSITY = 1.04


def delta_r2_star(signal: ArrayLike, *, te: float, baseline: slice | ArrayLike) -> Concentration:
    """Change of R2* (1/s), which is taken as proportional to the concentration: ``-ln(S / S0) / te``.

    S0 is the geometric mean of the baseline: what noise adds to a logarithm then falls out where the signal is as high
    as before. At a deep peak it does not: take the mean signal of an artery, not the mean of its voxels' curves.

    Parameters
    ----------
    signal
        (frames, ...), magnitude.
    te
        Echo time, s.
    baseline
        Frames before contrast: a slice, indices or a mask; leave out frames before the steady state.

    Returns
    -------
    Concentration
        ``values`` in 1/s; NaN where the signal is not positive, with the reason in ``reason``.

    References
    ----------
    Rosen BR et al., Magn Reson Med 1990;14:249, doi:10.1002/mrm.1910140211.
    """
    s = np.asarray(signal, dtype=np.float64)
    echo = float(check_positive(te, "echo time", "seconds"))
    check_times([echo], "echo time", longest=LONGEST_FAST_TR_S)
    if s.ndim == 0:
        raise DataError("A dynamic signal needs frames along its first axis", field="signal", found="one number")
    before = s[baseline] if isinstance(baseline, slice) else s[np.asarray(baseline)]
    if before.ndim != s.ndim or before.shape[0] == 0:
        raise DataError(
            "There is no frame before contrast", field="baseline", found=baseline, expected="at least one frame"
        )
    finite, positive = np.isfinite(s), s > 0
    with np.errstate(all="ignore"):
        mean = np.asarray(np.exp(np.log(before).mean(axis=0)))
        usable = mean > 0
        values = np.where(finite & positive & usable, -np.log(s / mean) / echo, np.nan)
    reason = np.zeros(s.shape[1:], dtype=np.int32)
    reason[~usable] |= int(SignalReason.NO_BASELINE)
    reason[~finite.all(axis=0)] |= int(SignalReason.NON_FINITE)
    reason[(finite & ~positive).any(axis=0)] |= int(SignalReason.BELOW_ZERO)
    return Concentration(values, reason, mean)


def blood_volume(
    times: ArrayLike,
    tissue: ArrayLike,
    arterial: ArrayLike,
    *,
    haematocrit_factor: float = HAEMATOCRIT_FACTOR,
    density: float = TISSUE_DENSITY,
) -> Floats:
    """Blood volume in mL/100 g: ``100 k_H / rho`` times the area under tissue over that under the artery.

    Parameters
    ----------
    times
        (frames,), s.
    tissue, arterial
        (frames, ...) and (frames,), in the same unit; over the first pass, or the whole series if leakage is corrected.
    haematocrit_factor, density
        k_H and rho; both 1 give mL per 100 mL of a phantom.

    Raises
    ------
    DataError
        Shapes do not fit, or the arterial curve has no positive area.
    """
    t, c, a = (np.asarray(each, dtype=np.float64) for each in (times, tissue, arterial))
    if t.ndim != 1 or a.shape != t.shape or c.shape[:1] != t.shape or t.size < 3:
        raise DataError(
            "Tissue and artery need one value per time", field="curves", found=f"{c.shape} and {a.shape}",
            expected=f"({t.size}, ...) and ({t.size},)",
        )  # fmt: skip
    factor = float(check_positive(haematocrit_factor, "haematocrit factor") / check_positive(density, "density"))
    area = float(np.trapezoid(a, t))
    if not area > 0:
        raise DataError("The arterial curve has no positive area", field="arterial", found=f"{area:g}")
    return np.asarray(100 * factor * np.trapezoid(c, t, axis=0) / area)


def normalise_to(values: ArrayLike, reference: ArrayLike, *, to: float = 1.0) -> Floats:
    """A map scaled so that the median of a reference region, such as normal white matter, is ``to``.

    Raises
    ------
    DataError
        The region is empty, of another shape, or its median is not positive.
    """
    array, mask = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.bool_)
    if mask.shape != array.shape or not (mask & np.isfinite(array)).any():
        raise DataError(
            "The reference region must lie on the map and hold values",
            field="reference",
            found=f"shape {mask.shape}, {int(mask.sum())} voxels",
            expected=f"shape {array.shape}",
        )
    middle = float(np.nanmedian(array[mask]))
    if not middle > 0:
        raise DataError("The median of the reference region must be positive", field="reference", found=f"{middle:g}")
    return np.asarray(array * (to / middle))
