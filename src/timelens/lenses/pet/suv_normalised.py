"""Series that the scanner has already normalised (GML, CM2ML, Philips counts with an SUV factor).

Such values are SUV of one kind, made with the scanner's weight, height, sex and dose. Another kind, or a corrected
weight or dose, follows by ratio; corrected times cannot.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from timelens.engines.uptake import BodySizeKind, raise_or_warn
from timelens.errors import DataError, MissingFieldError, Problem
from timelens.lenses.pet.suv_audit import SuvAudit, SuvResult, TagUsed
from timelens.lenses.pet.suv_header import PetSeriesHeader
from timelens.lenses.pet.suv_inputs import Case, body_tags, check_body, size_of, unit_of

__all__ = ["from_normalised"]


def from_normalised(case: Case, stored: BodySizeKind, scale: NDArray[np.float64], branch: str) -> SuvResult:
    """Factors for values that are SUV of the kind ``stored`` after multiplication with ``scale``."""
    _refuse_what_is_lost(case)
    kind = cast(BodySizeKind, case.kind)
    body, body_problems, notes = _body_ratio(case, stored, kind)
    dose = 1.0
    if case.overrides.dose_bq is not None:
        if case.scanner.dose_bq is None:
            raise MissingFieldError(
                "The stored SUV cannot be given another dose without the one it was made with",
                field="RadionuclideTotalDose",
                found="nothing",
                expected="the dose the scanner used, in Bq",
                mend="export the series in BQML",
            )
        dose = case.scanner.dose_bq / case.overrides.dose_bq
        notes.append(f"the scanner's dose of {case.scanner.dose_bq:g} Bq was replaced by the user's")
    warned = raise_or_warn(body_problems, file=case.header.source)
    header = case.header
    implied = header.units == "GML" and header.suv_type is None
    stated = () if header.suv_type is None else (TagUsed("SUVType", "(0054,1006)", header.suv_type),)
    audit = SuvAudit(
        kind=kind,
        unit=unit_of(kind),
        branch=f"{branch}/{stored}",
        tags=(
            TagUsed("Units", "(0054,1001)", str(header.units)),
            *stated,
            *case.tags,
            *(body_tags(header, given=case.overrides) if body != 1.0 else ()),
        ),
        notes=(*header.notes, *notes),
        defaults=("SUVType is absent: body weight (BW), as DICOM prescribes",) if implied else (),
        warnings=tuple(map(str, warned)),
    )
    return SuvResult(kind, unit_of(kind), scale * (body * dose), audit)


def _refuse_what_is_lost(case: Case) -> None:
    if not case.is_suv:
        raise DataError(
            f"The scanner stored SUV; {case.kind} needs the concentration it was made from",
            field="Units",
            found=case.header.units,
            expected="BQML, or CNTS with the activity factor of Philips",
            mend="export the series in BQML",
        )
    if case.overrides.concern_times or case.overrides.syringe is not None:
        raise DataError(
            "Times, decay or syringe readings cannot be corrected in values that the scanner has normalised",
            field="injection, reference, half_life_s, decay_correction, syringe",
            found=f"units {case.header.units}",
            expected="a series in BQML",
            mend="export the series in BQML, or remove these values from study.yaml",
        )


def _body_ratio(case: Case, stored: BodySizeKind, kind: BodySizeKind) -> tuple[float, tuple[Problem, ...], list[str]]:
    """Wanted size of the body as it is, over stored size of the body as the scanner knew it."""
    now, then = case.header, _scanner_body(case)
    if kind == stored and (now.weight_kg, now.height_m, now.sex) == (then.weight_kg, then.height_m, then.sex):
        return 1.0, (), []
    problems = check_body(now, kind)
    ratio = size_of(now, kind) / size_of(then, stored)
    return ratio, problems, [f"the stored SUV {stored} became {kind} by the ratio of body sizes, {ratio:.9g}"]


def _scanner_body(case: Case) -> PetSeriesHeader:
    # Where the scanner says nothing of weight, height or sex, it is taken to have known what the user knows.
    known = {name: getattr(case.scanner, name) for name in ("weight_kg", "height_m", "sex")}
    return replace(case.header, **{name: value for name, value in known.items() if value is not None})
