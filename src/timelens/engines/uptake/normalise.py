"""Normalised uptake: SUV and percent of the injected activity per volume or mass. Arrays broadcast."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.errors import DataError

__all__ = [
    "TISSUE_DENSITY_G_PER_ML",
    "glucose_factor",
    "percent_injected_per_gram",
    "percent_injected_per_ml",
    "suv_factor",
]

Floats = NDArray[np.float64]

TISSUE_DENSITY_G_PER_ML = 1.0  # soft tissue is within 6 % of water; the value used goes into the provenance


def suv_factor(body_size: ArrayLike, activity_bq: ArrayLike) -> Floats:
    """What a concentration in Bq/mL is multiplied with to give SUV: size over activity.

    Parameters
    ----------
    body_size
        Body weight or lean body mass in g, or surface in cm2 (see :func:`timelens.engines.uptake.body_size`).
    activity_bq
        Net injected activity in Bq, decayed to the time to which the concentration is referenced.

    Returns
    -------
    ndarray
        g/Bq or cm2/Bq: concentrations become g/mL or cm2/mL.

    Raises
    ------
    DataError
        A size or activity is not positive and finite.
    """
    size = _positive(body_size, "body size")
    return np.asarray(size / _positive(activity_bq, "injected activity"))[()]


def percent_injected_per_ml(concentration: ArrayLike, activity_bq: ArrayLike) -> Floats:
    """Percent of the injected activity per mL: 100 C / A.

    Parameters
    ----------
    concentration
        Bq/mL.
    activity_bq
        Net injected activity in Bq, referenced to the same time as the concentration.
    """
    return np.asarray(
        100.0 * np.asarray(concentration, dtype=np.float64) / _positive(activity_bq, "injected activity")
    )[()]


def percent_injected_per_gram(
    concentration: ArrayLike, activity_bq: ArrayLike, *, density_g_per_ml: float = TISSUE_DENSITY_G_PER_ML
) -> Floats:
    """Percent of the injected activity per gram of tissue: 100 C / (A rho); parameters as for per mL."""
    density = float(_positive(density_g_per_ml, "density"))
    return np.asarray(percent_injected_per_ml(concentration, activity_bq) / density)[()]


def glucose_factor(glucose_mmol_per_l: float, *, reference_mmol_per_l: float = 5.0) -> float:
    """What an FDG SUV is multiplied with to correct it for plasma glucose: measured over 5.0 mmol/L.

    Boellaard R et al., EANM procedure guidelines for tumour imaging 2.0, Eur J Nucl Med Mol Imaging 2015;42:328,
    doi:10.1007/s00259-014-2961-x. A glucose above 40 mmol/L is refused: it was measured in mg/dL.
    """
    glucose = float(_positive(glucose_mmol_per_l, "blood glucose"))
    if glucose > 40:
        raise DataError(
            "Blood glucose is too high for mmol/L",
            field="blood glucose",
            found=f"{glucose:g} mmol/L",
            expected="1 to 40 mmol/L",
            mend="divide mg/dL by 18.016",
        )
    return glucose / float(_positive(reference_mmol_per_l, "reference glucose"))


def _positive(value: ArrayLike, name: str) -> Floats:
    array = np.asarray(value, dtype=np.float64)
    if not bool(np.all(np.isfinite(array) & (array > 0))):
        raise DataError(f"The {name} must be positive", field=name, found=value, expected="a positive number")
    return array
