"""SUV and its relatives for a PET series: one factor per image, by the QIBA vendor-neutral rules, with an audit.

A factor is what a rescaled pixel value is multiplied with. Which rule applies is decided by Units, Decay Correction and
the times of the series (:mod:`timelens.lenses.pet.suv_times`); what the rules do not cover is refused by name. The
rules are those of the QIBA profile FDG-PET/CT as an imaging biomarker, v1.13, RSNA 2016, appendix G.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from timelens.engines.uptake import TISSUE_DENSITY_G_PER_ML, check_activity, raise_or_warn
from timelens.errors import DataError, MissingFieldError, Problem, UsageError
from timelens.lenses.pet.suv_audit import Alternative, SuvAudit, SuvResult, TagUsed
from timelens.lenses.pet.suv_decay import ImageDecay, image_decay, injected_activity, percent_change
from timelens.lenses.pet.suv_header import PetSeriesHeader
from timelens.lenses.pet.suv_inputs import (
    Case,
    UptakeKind,
    numerator,
    require_corrections,
    stored_kind,
    unit_of,
    unless_given,
)
from timelens.lenses.pet.suv_normalised import from_normalised
from timelens.lenses.pet.suv_overrides import SuvOverrides, apply_overrides

__all__ = ["UptakeKind", "suv_factors", "suv_factors_by_subject"]


def suv_factors(
    header: PetSeriesHeader,
    kind: UptakeKind = "bw",
    *,
    overrides: SuvOverrides | None = None,
    nuclide_half_life_s: float | None = None,
    density_g_per_ml: float = TISSUE_DENSITY_G_PER_ML,
) -> SuvResult:
    """Factors that turn the rescaled values of a PET series into uptake.

    Parameters
    ----------
    header
        The series, from :func:`timelens.lenses.pet.suv_header.header_from_records`.
    kind
        SUV by ``bw`` (body weight), ``lbm_james`` (coefficient 120, as QIBA), ``lbm_james128``, ``lbm_janma``,
        ``ibw``, ``bsa``; percent of injected activity ``pct_id_ml``, ``pct_id_g``; concentration decay-corrected to
        the injection, ``bqml_injection``, or to the start of the scan, ``bqml_scan``.
    overrides
        Values in place of the header's; each is recorded in the audit.
    nuclide_half_life_s
        Half-life of the nuclide that the header names, to hold the header's half-life against; it is used only where
        the header gives none.
    density_g_per_ml
        Tissue density for ``pct_id_g``; ignored otherwise.

    Returns
    -------
    SuvResult
        ``factors`` has one value per image, in the order of ``header.instances``. ``unit`` is g/mL, cm2/mL for ``bsa``,
        %{ID}/mL, %{ID}/g or Bq/mL.

    Raises
    ------
    MissingFieldError
        A tag that the rule needs is absent, or zero.
    DataError
        No rule applies (units, corrections), tags contradict each other, or a value is impossible.

    Warns
    -----
    PlausibilityWarning
        A value is possible but looks like a slip; also listed in the audit.

    References
    ----------
    QIBA Profile: FDG-PET/CT as an Imaging Biomarker Measuring Response to Cancer Therapy, v1.13, RSNA 2016, appendix G.
    """
    return _factors(header, header, kind, overrides or SuvOverrides(), nuclide_half_life_s, density_g_per_ml)


def suv_factors_by_subject(
    header: PetSeriesHeader,
    subjects: Mapping[str, SuvOverrides],
    kind: UptakeKind = "bw",
    *,
    nuclide_half_life_s: float | None = None,
    density_g_per_ml: float = TISSUE_DENSITY_G_PER_ML,
) -> dict[str, SuvResult]:
    """Factors for several animals in one bed, each with its own activity and weight.

    The header knows one dose and one weight, so neither is taken from it: every subject states its own.

    Parameters
    ----------
    header, kind, nuclide_half_life_s, density_g_per_ml
        As for :func:`suv_factors`.
    subjects
        Name of the subject (the region it occupies) to its values.

    Raises
    ------
    MissingFieldError
        A subject lacks its dose (or syringe readings), or its weight where the kind needs one.
    """
    results = {}
    nobody = replace(header, dose_bq=None, weight_kg=None, height_m=None, sex=None)
    for name, own in subjects.items():
        if own.dose_bq is None and own.syringe is None and not kind.startswith("bqml"):
            raise _missing_of(name, "dose_bq", "the net injected activity in Bq")
        if own.weight_kg is None and kind in ("bw", "lbm_james", "lbm_james128", "lbm_janma", "bsa"):
            raise _missing_of(name, "weight_kg", "the weight in kg")
        results[name] = _factors(nobody, header, kind, own, nuclide_half_life_s, density_g_per_ml)
    return results


def _factors(
    header: PetSeriesHeader,
    scanner: PetSeriesHeader,
    kind: UptakeKind,
    given: SuvOverrides,
    nuclide_half_life_s: float | None,
    density_g_per_ml: float,
) -> SuvResult:
    if kind not in get_args(UptakeKind):
        raise UsageError(
            f"There is no uptake of kind {kind!r}", field="kind", found=kind, expected=", ".join(get_args(UptakeKind))
        )
    if not header.instances:
        raise MissingFieldError("A PET series without images has no SUV", file=header.source, field="instances")
    changed, used = apply_overrides(header, given)
    case = Case(changed, scanner, kind, given, density_g_per_ml, nuclide_half_life_s, used)
    try:
        result = _by_units(case)
    except DataError as error:
        raise error.at(file=header.source) from None
    if given.cross_calibration is not None:
        result = replace(result, factors=result.factors * given.cross_calibration)
    return result


def _missing_of(name: str, field: str, expected: str) -> MissingFieldError:
    return MissingFieldError(
        f"Subject {name} shares its scan with others and needs values of its own",
        field=field,
        found="nothing",
        expected=expected,
        mend=f"give {field} of {name} in study.yaml",
    )


def _by_units(case: Case) -> SuvResult:
    """The rule that the units of the series call for."""
    units = case.header.units
    if units is None:
        raise MissingFieldError("What the pixel values mean is not said", field="Units", expected="BQML, CNTS or GML")
    if units not in ("BQML", "CNTS", "GML", "CM2ML"):
        raise DataError(
            f"Values in units {units} are not activity concentrations and cannot become SUV",
            field="Units",
            found=units,
            expected="BQML, GML, CM2ML, or CNTS with the private factors of Philips",
            mend="export the attenuation- and decay-corrected series",
        )
    require_corrections(case.header)
    if units == "BQML":
        return _from_activity(case, np.ones(len(case.header.instances)), "BQML")
    if units == "CNTS":
        return _from_counts(case)
    return from_normalised(case, stored_kind(case.header), np.ones(len(case.header.instances)), units)


def _from_counts(case: Case) -> SuvResult:
    """Philips counts: the private SUV factor, else the private activity factor and then as Bq/mL."""
    suv = _private(case.header, "philips_suv_factor")
    activity = _private(case.header, "philips_activity_factor")
    if suv is None and activity is None:
        raise DataError(
            "Values in counts (CNTS) need the private scale factors of Philips, which are absent",
            field="(7053,xx00), (7053,xx09) Philips PET Private Group",
            found=f"manufacturer {case.header.manufacturer or 'unknown'}",
            expected="a positive SUV or activity concentration scale factor in every image",
            mend="export the series again with private elements kept, or in BQML",
        )
    tag = TagUsed("ActivityConcentrationScaleFactor", "(7053,xx09)", "" if activity is None else f"{activity[0]:g}")
    through_activity = replace(case, tags=(*case.tags, tag))
    if activity is not None and (suv is None or not case.is_suv or case.overrides.concern_scale):
        return _from_activity(through_activity, activity, "CNTS/philips_activity_factor")
    assert suv is not None  # one of the two is there
    tag = TagUsed("SUVScaleFactor", "(7053,xx00)", f"{suv[0]:g}")
    result = from_normalised(replace(case, tags=(*case.tags, tag)), "bw", suv, "CNTS/philips_suv_factor")
    if activity is not None:
        with suppress(DataError):
            factors = _activity_factors(through_activity, activity, "")[0].factors
            other = Alternative("philips_activity_factor", "(7053,xx09)", percent_change(factors[0], result.factors[0]))
            result = replace(result, audit=replace(result.audit, alternatives=(other,)))
    return result


def _private(header: PetSeriesHeader, name: str) -> NDArray[np.float64] | None:
    values = [getattr(instance, name) for instance in header.instances]
    if any(value is None or value <= 0 for value in values):
        return None
    return np.array(values, dtype=np.float64)


def _from_activity(case: Case, scale: NDArray[np.float64], branch: str) -> SuvResult:
    """Values in Bq/mL after multiplication with ``scale``, decay-corrected to the injection or to the scan."""
    result, problems = _activity_factors(case, scale, branch)
    warned = raise_or_warn(problems, file=case.header.source)
    return replace(result, audit=replace(result.audit, warnings=tuple(map(str, warned))))


def _activity_factors(case: Case, scale: NDArray[np.float64], branch: str) -> tuple[SuvResult, tuple[Problem, ...]]:
    header, kind, given = case.header, case.kind, case.overrides
    decay = image_decay(case)
    size, problems, tags = numerator(case)
    defaults, left = decay.defaults, decay.left
    if kind == "bqml_scan":
        # Values that refer to the injection are brought to the scan; values that refer to the scan stay.
        at_injection = decay.branch == "ADMIN"
        factors = scale * (decay.left_at_scan if at_injection else 1.0)
        left = decay.left_at_scan
    elif kind == "bqml_injection":
        factors = scale / left
    else:
        activity, assumed = injected_activity(case, decay)
        defaults = (*defaults, *assumed)
        if kind == "pct_id_g" and case.density_g_per_ml == TISSUE_DENSITY_G_PER_ML:
            defaults = (*defaults, f"tissue density {TISSUE_DENSITY_G_PER_ML:g} g/mL")
        problems = (*check_activity(activity, weight_kg=header.weight_kg, species=header.species), *problems)
        if given.dose_bq is None and given.syringe is None:
            tags.append(TagUsed("RadionuclideTotalDose", "(0018,1074)", f"{activity} Bq"))
        factors = scale * size / (activity * left)
    audit = SuvAudit(
        kind=kind,
        unit=unit_of(kind),
        branch=f"{branch}/{decay.branch}",
        tags=(
            TagUsed("Units", "(0054,1001)", str(header.units)),
            *unless_given(case, "decay_correction", "DecayCorrection", "(0054,1102)", header.decay_correction),
            *case.tags,
            *tags,
            *decay.tags,
        ),
        time_zero=str(decay.injection.instant) if decay.injection else "",
        reference_time=_refers_to(decay),
        decay_s=decay.decay_s,
        decay_factor=float(left[0]),
        half_life_s=float("nan") if decay.half_life_s is None else decay.half_life_s,
        alternatives=() if kind == "bqml_scan" else decay.alternatives,
        notes=(*header.notes, *decay.notes),
        defaults=defaults,
    )
    return SuvResult(kind, unit_of(kind), factors, audit), (*problems, *decay.problems)


def _refers_to(decay: ImageDecay) -> str:
    if decay.branch == "ADMIN":
        return str(decay.injection.instant) if decay.injection else ""
    return str(decay.reference.instants[0]) if decay.reference else ""
