"""How a PET scan is made: frames, scanner, and the noise it is known to have.

The noise is said in one of two ways. ``calibration.cov`` is what a cylinder really showed, and goes first;
``sensitivity_cps_per_kbq`` of NEMA NU 2 gives the counts, and from them the coefficient of variation of the same
cylinder. Where both are said they must agree within a factor of two, which is what reconstruction and time of flight
can make of the same counts; else the protocol is refused. Where neither is said the cylinder shows 10 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np

from timelens.errors import UsageError
from timelens.lenses.pet.counts import cov_from_sensitivity, prompts_per_true
from timelens.study.contract import Protocol
from timelens.study.timing import FrameTiming

__all__ = ["Calibration", "PetProtocol", "Scan", "pet_protocol"]


@dataclass(frozen=True)
class Calibration:
    """A uniform water cylinder, scanned for a stated time, shows a stated coefficient of variation.

    Attributes
    ----------
    cov
        Standard deviation over mean in the middle 60 % of the diameter; 0 for a scanner without noise; None where it
        was not measured (see :attr:`PetProtocol.cov`).
    duration_s
        Length of the scan.
    concentration_bq_per_ml
        Mean during the scan, of fluorine-18.
    diameter_mm, length_mm
        Of the cylinder; the length matters for randoms alone.
    """

    cov: float | None = None
    duration_s: float = 300.0
    concentration_bq_per_ml: float = 5000.0
    diameter_mm: float = 200.0
    length_mm: float = 200.0


@dataclass(frozen=True)
class Scan:
    """One time in the scanner: when it starts after the injection, and its frames one after the other.

    Attributes
    ----------
    start_s
        s from the injection.
    frames_s
        Durations; one for a static scan.
    """

    start_s: float
    frames_s: tuple[float, ...]

    @property
    def timing(self) -> FrameTiming:
        """Frames in seconds from the injection."""
        lengths = np.array(self.frames_s, float)
        return FrameTiming(self.start_s + np.cumsum(lengths) - lengths, lengths, "injection")


@dataclass(frozen=True)
class PetProtocol:
    """A PET protocol.

    Attributes
    ----------
    scans
        One for a static or dynamic scan, several for a serial one.
    voxel_mm
        Voxel edges (z, y, x).
    fwhm_mm
        Resolution of the reconstructed image without positron range (z, y, x).
    correlation_fwhm_mm
        Width of the noise's correlation (z, y, x); the resolution where nothing is said.
    positron_range
        Whether positrons travel.
    scatter_fraction, randoms_fraction
        S / (T + S), and R / (T + S + R) at the calibration.
    calibration
        The noise.
    sensitivity_cps_per_kbq
        System sensitivity of NEMA NU 2: trues per second and kBq of fluorine-18 in a line of 700 mm.
    axial_fov_mm
        Length of the scanner; needed beside the sensitivity.
    """

    scans: tuple[Scan, ...] = (Scan(3600.0, (300.0,)),)
    voxel_mm: tuple[float, float, float] = (4.0, 4.0, 4.0)
    fwhm_mm: tuple[float, float, float] = (6.0, 6.0, 6.0)
    correlation_fwhm_mm: tuple[float, float, float] | None = None
    positron_range: bool = True
    scatter_fraction: float = 0.35
    randoms_fraction: float = 0.25
    calibration: Calibration = Calibration()
    sensitivity_cps_per_kbq: float | None = None
    axial_fov_mm: float | None = None

    @property
    def cov(self) -> float:
        """What the cylinder of the calibration shows: as stated, else from the sensitivity, else 10 %.

        Raises
        ------
        UsageError
            If the stated one and the sensitivity contradict each other, or the scanner's length is lacking.
        """
        stated, counted = self.calibration.cov, self._cov_of_counts()
        if counted is None:
            return _DEFAULT_COV if stated is None else stated
        if stated is None:
            return counted
        if not 1 / _AGREE <= stated / counted <= _AGREE:
            raise UsageError(
                "The noise and the sensitivity of the scanner contradict each other",
                field="calibration.cov, sensitivity_cps_per_kbq",
                found=f"{100 * stated:.3g} %; {self.sensitivity_cps_per_kbq:g} cps/kBq mean {100 * counted:.3g} %",
                expected=f"within a factor of {_AGREE:g}",
                mend="give only one of them, or look at the cylinder's activity, time and size and the noise's width",
            )
        return stated

    def _cov_of_counts(self) -> float | None:
        if self.sensitivity_cps_per_kbq is None:
            return None
        if self.axial_fov_mm is None:
            raise UsageError(
                "Sensitivity says nothing without the length of the scanner",
                field="axial_fov_mm",
                found="nothing",
                expected="mm > 0",
            )
        said = self.calibration
        return cov_from_sensitivity(
            self.sensitivity_cps_per_kbq,
            axial_fov_mm=self.axial_fov_mm,
            concentration_bq_per_ml=said.concentration_bq_per_ml,
            duration_s=said.duration_s,
            diameter_mm=said.diameter_mm,
            fwhm_mm=self.noise_fwhm_mm,
            prompts=float(prompts_per_true(self.scatter_fraction, self.randoms_fraction, 1.0)),
        )

    @property
    def noise_fwhm_mm(self) -> tuple[float, float, float]:
        """Width of the noise's correlation."""
        return self.fwhm_mm if self.correlation_fwhm_mm is None else self.correlation_fwhm_mm


#: Coefficient of variation of the cylinder where a protocol says nothing of noise.
_DEFAULT_COV = 0.10
#: Stated noise and that of the counts may differ by this factor.
_AGREE = 2.0


def pet_protocol(protocol: Protocol) -> PetProtocol:
    """A protocol from plain data.

    Parameters
    ----------
    protocol
        Its parameters bear the names of :class:`PetProtocol`; ``fwhm_mm``, ``voxel_mm`` and ``correlation_fwhm_mm`` may
        be one number; ``scans`` is a list of ``{start_s, frames_s}``, ``calibration`` a mapping.

    Raises
    ------
    UsageError
        If it is for another lens, names an unknown parameter or has an impossible value.
    """
    if protocol.lens != "pet":
        raise UsageError("The protocol is for another lens", field="lens", found=protocol.lens, expected="pet")
    given = dict(protocol.parameters)
    _known(given, PetProtocol, "protocol")
    values: dict[str, Any] = {}
    for name in ("voxel_mm", "fwhm_mm", "correlation_fwhm_mm"):
        if given.get(name) is not None:
            values[name] = _three(given[name], name)
    for name in ("scatter_fraction", "randoms_fraction"):
        if name in given:
            values[name] = _number(given[name], name, low=0.0, high=0.99)
    for name in ("sensitivity_cps_per_kbq", "axial_fov_mm"):
        if given.get(name) is not None:
            values[name] = _number(given[name], name, low=1e-6)
    if "positron_range" in given:
        if not isinstance(given["positron_range"], bool):
            raise UsageError("Yes or no", field="positron_range", found=given["positron_range"], expected="true, false")
        values["positron_range"] = given["positron_range"]
    if "scans" in given:
        values["scans"] = _scans(given["scans"])
    if "calibration" in given:
        said = dict(_mapping(given["calibration"], "calibration"))
        _known(said, Calibration, "calibration")
        least = {"cov": 0.0}
        values["calibration"] = Calibration(
            **{k: _number(v, f"calibration.{k}", low=least.get(k, 1e-9)) for k, v in said.items() if v is not None}
        )
    plan = PetProtocol(**values)
    _ = plan.cov  # refuses what contradicts itself
    return plan


def _scans(given: Any) -> tuple[Scan, ...]:
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise UsageError("Scans are a list", field="scans", found=given, expected="[{start_s: 3600, frames_s: [300]}]")
    result = []
    for k, item in enumerate(given):
        entry = _mapping(item, f"scans[{k}]")
        _known(entry, Scan, f"scans[{k}]")
        if missing := {"start_s", "frames_s"} - set(entry):
            raise UsageError("A scan is not complete", field=f"scans[{k}]", found=sorted(entry), expected=missing)
        frames = entry["frames_s"] if isinstance(entry["frames_s"], Sequence) else [entry["frames_s"]]
        lengths = tuple(_number(f, f"scans[{k}].frames_s", low=1e-3) for f in frames)
        if not lengths:
            raise UsageError("A scan has frames", field=f"scans[{k}].frames_s", found=frames, expected="seconds > 0")
        result.append(Scan(_number(entry["start_s"], f"scans[{k}].start_s", low=0.0), lengths))
    if any(b.start_s < a.start_s + sum(a.frames_s) for a, b in pairwise(result)):
        raise UsageError("A scan starts before the one before it ends", field="scans", found=given)
    return tuple(result)


def _known(given: Mapping[str, Any], kind: type, where: str) -> None:
    names = [f.name for f in fields(kind)]
    if unknown := set(given) - set(names):
        raise UsageError(
            "There is no such parameter", field=f"{where}: {', '.join(sorted(unknown))}", expected=", ".join(names)
        )


def _mapping(given: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise UsageError("Names and values are needed", field=where, found=given, expected="a mapping")
    return given


def _number(given: Any, where: str, *, low: float, high: float = math.inf) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not low <= given < high:
        raise UsageError("The value cannot be used", field=where, found=given, expected=f"{low:g} or more, < {high:g}")
    return float(given)


def _three(given: Any, where: str) -> tuple[float, float, float]:
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given] * 3
    if len(values) != 3:
        raise UsageError("One width, or three (z, y, x)", field=where, found=given, expected="mm > 0")
    z, y, x = (_number(v, where, low=1e-3) for v in values)
    return z, y, x
