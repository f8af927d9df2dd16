"""Magnetic resonance in DICOM: what vendors keep in private elements, and the settings of a series.

DICOM writes times in ms. Diffusion weights stand in DiffusionBValue or, in older files, with the vendor. Philips scales
stored values once for display (rescale slope RS and intercept RI) and once more to what was measured (scale slope SS):
measured = (RS stored + RI) / (RS SS) (Chenevert TL et al., Transl Oncol 2014;7:65, doi:10.1593/tlo.13811).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from timelens.errors import DataError, FormatError, Problem
from timelens.formats import mr_checks
from timelens.formats.dicom.safe import number, private
from timelens.study.axes import Axis
from timelens.study.mr import MrSettings

__all__ = ["b_value", "philips_scale", "settings_of"]

_B_VALUES = (
    (0x0019, "SIEMENS MR HEADER", 0x0C),
    (0x0043, "GEMS_PARM_01", 0x39),
    (0x2001, "Philips Imaging DD 001", 0x03),
)
#: GE adds multiples of this to the b value.
_GE_OFFSET = 1e9
#: Scanners round b values; the standard and a private element may differ by this much, s/mm2.
_SAME_B = 10.0
_PARTS = {"P": "phase", "PHASE": "phase", "R": "real", "REAL": "real", "I": "imaginary", "IMAGINARY": "imaginary"}


def b_value(dataset: Dataset, path: str | Path) -> float | None:
    """Diffusion weight in s/mm2, from the standard element or the vendor's; None where there is none.

    Raises
    ------
    DataError
        If both are there and contradict each other.
    """
    said = number(dataset, "DiffusionBValue", path)
    found = None
    for group, creator, element in _B_VALUES:
        if (text := private(dataset, group, creator, element)) is not None:
            found = _first(text)
            if found is not None and group == 0x0043:
                found %= _GE_OFFSET
            if found is not None:
                break
    if said is not None and found is not None and abs(said - found) > _SAME_B:
        raise DataError(
            "The vendor's b value contradicts the standard one", file=path, field="DiffusionBValue",
            found=f"{said:g} and {found:g} s/mm2", expected="one b value", mend="export the series again",
        )  # fmt: skip
    return said if said is not None else found


def _first(text: str) -> float | None:
    words = text.strip("[]").replace(",", "\\").split("\\")
    try:
        value = float(words[0])
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def philips_scale(dataset: Dataset, slope: float, intercept: float, path: str | Path) -> tuple[float, float, bool]:
    """Slope and intercept to what Philips measured, and whether the scale slope was there; else unchanged.

    Raises
    ------
    FormatError
        If the scale slope is not positive.
    """
    text = private(dataset, 0x2005, "Philips MR Imaging DD 001", 0x0E)
    if text is None:
        return slope, intercept, False
    scale = _first(text)
    if scale is None or scale <= 0:
        raise FormatError(
            "The scale slope of the image is not positive", file=path, field="(2005,100E) Scale Slope", found=text,
            expected="> 0", mend="export the series again",
        )  # fmt: skip
    return 1.0 / scale, intercept / (slope * scale), True


def settings_of(
    records: Sequence[Mapping[str, Any]], axis: Axis | None, field_t: float | None, where: str
) -> tuple[MrSettings, list[Problem]]:
    """Settings of a series from the headers of its slices.

    A setting that differs between slices, or that looks like another unit, is not used, and a problem says so.

    Parameters
    ----------
    records
        By DICOM keyword, one per slice.
    axis
        On which the volumes lie; its coordinate is no setting.
    field_t
        Field in tesla.
    where
        A file, for messages.
    """
    problems: list[Problem] = []
    on_axis = axis.name if axis is not None else ""

    def one(keyword: str, name: Any, coordinate: str) -> float | None:
        if coordinate and coordinate == on_axis:
            return None
        found = {float(r[keyword]) for r in records if isinstance(r.get(keyword), int | float) and r[keyword] != 0}
        if not found:
            return None
        if max(found) - min(found) > 1e-3 * max(map(abs, found)):
            problems.append(_unused(
                f"{keyword} differs between slices of the series", where, keyword,
                f"{min(found):g} to {max(found):g}", "one value",
            ))  # fmt: skip
            return None
        try:
            value = next(iter(found))
            if name == "flip":
                return float(mr_checks.flip_angles([value], file=where)[0])
            return mr_checks.check(name, value, file=where, field=keyword, milliseconds=name != "field")
        except DataError as error:
            said = error.problem
            problems.append(_unused(said.message, where, keyword, said.found, said.expected))
            return None

    first = records[0]
    sequence = _words(first.get("ScanningSequence")) | _words(first.get("EchoPulseSequence"))
    spin, gradient = bool(sequence & {"SE", "SPIN"}), bool(sequence & {"GR", "GRADIENT"})
    variant = _words(first.get("SequenceVariant")) | _words(first.get("Spoiling"))
    kinds = _words(first.get("ImageType")) | _words(first.get("ComplexImageComponent"))
    part = next((_PARTS[word] for word in kinds if word in _PARTS), "magnitude")
    field = None
    if field_t is not None:
        try:
            field = mr_checks.check("field", field_t, file=where, field="MagneticFieldStrength")
        except DataError as error:
            problems.append(_unused(error.problem.message, where, "MagneticFieldStrength", error.problem.found, "T"))
    found = MrSettings(
        tr_s=one("RepetitionTime", "tr", ""),
        te_s=one("EchoTime", "te", "echo"),
        ti_s=one("InversionTime", "ti", "inversion"),
        flip_deg=one("FlipAngle", "flip", "flip"),
        field_t=field,
        gradient_echo=None if spin == gradient else gradient,
        spoiled=True if variant & {"SP", "RF", "RF_AND_GRADIENT"} else None,
        echo_planar=True if "EP" in sequence or first.get("EchoPlanarPulseSequence") == "YES" else None,
        part=part,
        agent=str(first["ContrastBolusAgent"]) if first.get("ContrastBolusAgent") else None,
    )
    if "philips" in str(first.get("Manufacturer", "")).lower() and not first.get("PhilipsScaled"):
        problems.append(Problem(
            "Without their scale slope Philips images of different series cannot be compared", where,
            "(2005,100E) Scale Slope", "nothing", "the private element", "export with private elements", "warning",
        ))  # fmt: skip
    return found, problems


def _words(said: Any) -> set[str]:
    listed = said if isinstance(said, list) else str(said or "").split("\\")
    return {str(word).strip().upper() for word in listed}


def _unused(message: str, where: str, field: str, found: str, expected: str) -> Problem:
    return Problem(f"{message}; it is not used", where, field, found, expected, "correct the header", "warning")
