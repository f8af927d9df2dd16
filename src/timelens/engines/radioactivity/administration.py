"""What really entered the subject: assayed activity less the residue, and the scanner against the dose calibrator."""

from __future__ import annotations

import math

from timelens.engines.radioactivity.decay import convert_decay_reference
from timelens.errors import DataError

__all__ = ["cross_calibration_factor", "net_injected_activity"]


def net_injected_activity(
    assayed_bq: float,
    *,
    half_life_s: float,
    assay_s: float = 0.0,
    injection_s: float = 0.0,
    residual_bq: float = 0.0,
    residual_s: float | None = None,
) -> float:
    """Activity in the subject at the time of injection.

    The syringe is measured full at ``assay_s``, emptied at ``injection_s`` and its residue measured at ``residual_s``;
    both measurements are brought to the time of injection before they are subtracted.

    Parameters
    ----------
    assayed_bq
        Activity of the full syringe in Bq.
    half_life_s
        Half-life in seconds.
    assay_s, injection_s, residual_s
        Times in seconds on one clock. ``residual_s`` defaults to the time of injection.
    residual_bq
        Activity left in syringe and line in Bq.

    Returns
    -------
    float
        Net injected activity in Bq at ``injection_s``.

    Raises
    ------
    DataError
        A measurement is negative or not finite, or the residue is as large as what was there.
    """
    for name, value in (("assayed activity", assayed_bq), ("residual activity", residual_bq)):
        if not (math.isfinite(value) and value >= 0):
            raise DataError(f"The {name} cannot be used", field=name, found=f"{value} Bq", expected="Bq >= 0")
    full = float(convert_decay_reference(assayed_bq, assay_s, injection_s, half_life_s))
    left_at = injection_s if residual_s is None else residual_s
    left = float(convert_decay_reference(residual_bq, left_at, injection_s, half_life_s))
    if left >= full:
        raise DataError(
            "The residue is not smaller than the activity that was drawn up",
            field="residual activity",
            found=f"{left:.6g} Bq at injection, of {full:.6g} Bq",
            expected="less than the assayed activity",
            mend="check the units (MBq, Bq, mCi) and times of the two measurements",
        )
    return full - left


def cross_calibration_factor(
    calibrator_bq: float,
    volume_ml: float,
    scanner_bq_per_ml: float,
    *,
    half_life_s: float,
    assay_s: float = 0.0,
    scan_s: float = 0.0,
) -> float:
    """Factor that image values are multiplied with to agree with the dose calibrator.

    A phantom of known volume is filled with an activity measured in the calibrator; the factor is the concentration it
    should show over the concentration it does show, both at the time to which the image is decay-corrected.

    Parameters
    ----------
    calibrator_bq
        Activity filled in, measured in the dose calibrator, in Bq at ``assay_s``.
    volume_ml
        Filled volume in mL.
    scanner_bq_per_ml
        Mean image value in the uniform part, in Bq/mL referenced to ``scan_s``.
    half_life_s
        Half-life in seconds.
    assay_s, scan_s
        Times in seconds on one clock.
    """
    for name, value in (
        ("calibrator activity", calibrator_bq),
        ("phantom volume", volume_ml),
        ("scanner concentration", scanner_bq_per_ml),
    ):
        if not (math.isfinite(value) and value > 0):
            raise DataError(f"The {name} cannot be used", field=name, found=value, expected="a positive number")
    expected = float(convert_decay_reference(calibrator_bq, assay_s, scan_s, half_life_s)) / volume_ml
    return expected / scanner_bq_per_ml
