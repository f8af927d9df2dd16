"""Decay between the injection and the moment that the stored values refer to, and what other readings would give."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from timelens.engines.radioactivity import decay_factor, net_injected_activity
from timelens.errors import DataError, MissingFieldError, Problem
from timelens.lenses.pet.dicom_time import Instant
from timelens.lenses.pet.suv_audit import Alternative, TagUsed
from timelens.lenses.pet.suv_header import PetSeriesHeader
from timelens.lenses.pet.suv_inputs import Case, half_life
from timelens.lenses.pet.suv_times import Injection, Reference, candidates, injection_time, reference_time

__all__ = ["ImageDecay", "image_decay", "injected_activity", "percent_change"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ImageDecay:
    """What is left of the injected activity at the moment that the stored values refer to, one value per image.

    Attributes
    ----------
    branch
        ``ADMIN``, or ``START/`` and the rule that found the reference.
    left
        Fraction left; 1 where the values refer to the injection.
    left_at_scan
        Fraction left at the start of the scan; NaN where it is not known.
    """

    branch: str
    left: Floats
    left_at_scan: Floats
    decay_s: float = 0.0
    half_life_s: float | None = None
    injection: Injection | None = None
    reference: Reference | None = None
    alternatives: tuple[Alternative, ...] = ()
    tags: tuple[TagUsed, ...] = ()
    notes: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def image_decay(case: Case) -> ImageDecay:
    """Decay of a series whose values are decay-corrected to its start (START) or to the injection (ADMIN).

    What the question does not need may be missing from the header: an ADMIN series gives SUV without any time, and a
    START series gives the concentration at the scan without an injection.
    """
    header = case.header
    admin = header.decay_correction == "ADMIN" and case.overrides.reference is None
    if admin == (case.kind == "bqml_scan"):
        return _from_scan(case, admin=admin)
    ones = np.ones(len(header.instances))
    plain = ImageDecay("ADMIN" if admin else "START", ones, np.full_like(ones, np.nan))
    if admin:
        plain = replace(plain, notes=("the values refer to the injection: no decay",))
    scan = None
    with suppress(DataError):  # the times only serve the audit here
        scan = _from_scan(case, admin=admin)
    if scan is None:
        return plain
    if admin:
        return replace(plain, injection=scan.injection, alternatives=scan.alternatives, half_life_s=scan.half_life_s)
    return scan


def _from_scan(case: Case, *, admin: bool) -> ImageDecay:
    header, given = case.header, case.overrides
    seconds, seconds_tags, seconds_defaults, problems = half_life(case)
    if given.reference is not None:
        reference = Reference("user_reference", (Instant.of(given.reference),) * len(header.instances), ())
    else:
        reference = reference_time(header, seconds)
    injection = injection_time(header, min(reference.instants), seconds)
    elapsed = np.array([instant - injection.instant for instant in reference.instants])
    at_scan = np.asarray(decay_factor(elapsed, seconds))
    left = np.ones_like(at_scan) if admin else at_scan
    return ImageDecay(
        branch="ADMIN" if admin else f"START/{reference.rule}",
        left=left,
        left_at_scan=at_scan,
        decay_s=float(elapsed[0]),
        half_life_s=seconds,
        injection=injection,
        reference=reference,
        alternatives=_alternatives(header, injection, seconds, "ADMIN" if admin else reference.rule, float(left[0])),
        tags=(*reference.tags, *(() if given.injection else injection.tags), *seconds_tags),
        notes=(*reference.notes, *injection.notes),
        defaults=(*injection.defaults, *seconds_defaults),
        problems=problems,
    )


def _alternatives(
    header: PetSeriesHeader, injection: Injection, half_life_s: float, used: str, left: float
) -> tuple[Alternative, ...]:
    """What each other reading of the times would do to the value of the first image."""
    found = []
    for rule, instants in candidates(header, half_life_s).items():
        if rule != used:
            other = float(decay_factor(instants[0] - injection.instant, half_life_s))
            found.append(Alternative(rule, str(instants[0]), percent_change(left, other)))
    if used != "ADMIN":
        found.append(Alternative("ADMIN", str(injection.instant), percent_change(left, 1.0)))
    return tuple(found)


def percent_change(now: float, other: float) -> float:
    """Change of a value in percent if its divisor were ``other`` in place of ``now``."""
    return 100.0 * (float(now) / float(other) - 1.0)


def injected_activity(case: Case, decay: ImageDecay) -> tuple[float, tuple[str, ...]]:
    """Net activity at injection in Bq, and what was assumed.

    Raises
    ------
    MissingFieldError
        The header says none or zero and the user neither; or syringe readings come without a time of injection.
    """
    syringe = case.overrides.syringe
    if syringe is None:
        dose = case.header.dose_bq
        if dose is None:
            several = case.header.administrations
            raise MissingFieldError(
                "The injected activity is not known (absent or zero)",
                field="RadionuclideTotalDose",
                found=f"{several} administrations" if several > 1 else "nothing",
                expected="Bq at the time of injection",
                mend="write administered_activity_bq in study.yaml",
            )
        assumed = "RadionuclideTotalDose was taken for the net activity: no residue is recorded"
        return dose, () if case.overrides.dose_bq is not None else (assumed,)
    injection = decay.injection.instant if decay.injection else case.header.injection
    if injection is None:
        raise MissingFieldError(
            "Syringe readings need the time of injection",
            field="RadiopharmaceuticalStartDateTime",
            found="nothing",
            expected="a date and time",
            mend="write administered_time in study.yaml",
        )
    net = net_injected_activity(
        syringe.assayed_bq,
        half_life_s=half_life(case)[0],
        assay_s=Instant.of(syringe.assay) - injection,
        residual_bq=syringe.residual_bq,
        residual_s=None if syringe.residual is None else Instant.of(syringe.residual) - injection,
    )
    return net, ()
