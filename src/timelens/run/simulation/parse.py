"""A cohort's specification from plain data that a YAML file can hold: checked, each refusal by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from timelens.errors import TimelensError, UsageError
from timelens.knowledge import targets
from timelens.lenses.ct.simulate import ct_protocol
from timelens.lenses.pet.protocol import pet_protocol
from timelens.run.simulation.entries import among, located, mapping, number, point, span, whole, word
from timelens.run.simulation.exams import exams_of
from timelens.run.simulation.spec import Arm, Dose, Exam, Spec, TumourPlan, slug
from timelens.study.contract import Protocol
from timelens.tumor.agents.parameters import agent_parameters
from timelens.tumor.architecture import ARCHITECTURES
from timelens.tumor.scenarios import SCENARIOS
from timelens.tumor.treatments import (
    CellInfusion,
    CheckpointInhibitor,
    Chemotherapy,
    Radiotherapy,
    TgfBetaInhibitor,
    Treatment,
)

__all__ = ["LEAVABLE", "TREATMENTS", "read_spec", "spec_of"]

#: Kinds of treatment by the word that a specification uses.
TREATMENTS: Mapping[str, type[Any]] = {
    "checkpoint inhibitor": CheckpointInhibitor,
    "chemotherapy": Chemotherapy,
    "radiotherapy": Radiotherapy,
    "cell infusion": CellInfusion,
    "TGF-beta inhibitor": TgfBetaInhibitor,
}
#: What may be left out of the headers on purpose.
LEAVABLE = ("weight_g", "height_mm", "sex", "age_years", "administered_activity_bq")

#: Scanners for mice, where a specification says nothing else.
_MOUSE_PET = {"voxel_mm": 0.8, "fwhm_mm": 1.5}
_MOUSE_CT = {"voxel_mm": 0.4, "fwhm_mm": 0.3, "noise_hu": 30.0}

_DOSE = {"agent", "radionuclide", "activity_bq_per_g", "protocol"}
_KNOWN = {
    "": {"seed", "format", "name", "host", "range_mm", "administrations", "ct", "mri", "biopsies", "arms"} | _DOSE,
    "administration": _DOSE | {"name", "activity_bq", "mass_mg", "targets", "after_s", "threshold", "min_volume_ml"},
    "arm": {
        "name", "subjects", "days", "lesions", "uptake", "size", "variation", "weight_g", "tumours", "treatments",
        "scans", "outlines", "leave_out",
    },
    "lesion": {"name", "centre", "diameter_mm", "suv"},
    "tumour": {
        "name", "at", "inside", "architecture", "diameter_mm", "scenario", "grid_mm", "parameters", "densities",
    },
}  # fmt: skip


def read_spec(path: str | Path) -> dict[str, Any]:
    """A specification from a YAML file, checked.

    Raises
    ------
    UsageError
        If the file cannot be read, names something unknown or lacks something.
    """
    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError("The specification cannot be read", file=path, found=str(error).splitlines()[0]) from None
    try:
        spec_of(given)
    except TimelensError as error:
        raise error.at(file=str(path)) from None
    return dict(given)


def spec_of(given: Any) -> Spec:
    """A specification from plain data.

    Raises
    ------
    UsageError, DataError
        If it names something unknown, lacks something or holds an impossible value; the error names the field.
    """
    content = mapping(given, "specification", _KNOWN[""])
    arms = content.get("arms")
    if not isinstance(arms, Sequence) or isinstance(arms, str) or not arms:
        raise UsageError("A cohort has arms", field="arms", found=arms, expected="a list")
    kind = content.get("format", "dicom")
    if kind not in ("dicom", "bids"):
        raise UsageError("No such format", field="format", found=kind, expected="dicom or bids")
    virtual = any(isinstance(arm, Mapping) and arm.get("tumours") for arm in arms)
    host = content.get("host", "human" if virtual else None)
    if host not in (("human", "mouse") if virtual else (None,)):
        raise UsageError(
            "There is no such host" if virtual else "A host belongs to virtual tumours",
            field="host", found=host, expected="human or mouse" if virtual else "tumours in an arm",
        )  # fmt: skip
    reach = content.get("range_mm")
    doses = _doses(content, host)
    exams = exams_of(content, host, [dose.name for dose in doses])
    small = _MOUSE_CT if host == "mouse" else {}
    return Spec(
        seed=whole(content.get("seed", 0), "seed", 0),
        format=str(kind),
        name=str(content.get("name", "simulated cohort")),
        host=host,
        range_mm=None if reach is None else span(reach),
        doses=doses,
        ct=ct_protocol(Protocol("ct", {**small, **dict(content.get("ct") or {})})),
        exams=exams,
        arms=tuple(_arm(arm, f"arms[{k}]", k, host, doses, exams) for k, arm in enumerate(arms)),
    )


def _doses(content: Mapping[str, Any], host: str | None) -> tuple[Dose, ...]:
    listed = content.get("administrations")
    if listed is None:
        listed = [{"name": "pet", **{k: v for k, v in content.items() if k in _DOSE - {"protocol"}}}]
    elif idle := sorted((_DOSE - {"protocol"}) & set(content)):
        raise UsageError(
            "Where administrations are listed, agent and activity stand in each of them",
            field=f"specification: {', '.join(idle)}", found={name: content[name] for name in idle},
            mend="move it into the entry it belongs to",
        )  # fmt: skip
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        raise UsageError("Administrations are a list", field="administrations", found=listed, expected="[{agent: FDG}]")
    doses = []
    for k, item in enumerate(listed):
        where = f"administrations[{k}]" if "administrations" in content else "specification"
        doses.append(_dose(mapping(item, where, _KNOWN["administration"]), where, content, host))
    names = [slug(dose.name).lower() for dose in doses]
    if len(set(names)) < len(names) or not all(names):
        raise UsageError("Each administration has a name of its own", field="administrations", found=names)
    return tuple(doses)


def _dose(item: Mapping[str, Any], where: str, content: Mapping[str, Any], host: str | None) -> Dose:
    if "administrations" in content and not item.get("agent"):
        raise UsageError("An administration names its agent", field=f"{where}.agent", expected="a name, as FDG")
    if item.get("activity_bq") is not None and item.get("activity_bq_per_g") is not None:
        raise UsageError(
            "An activity is stated in one way", field=f"{where}.activity_bq, activity_bq_per_g",
            found=(item["activity_bq"], item["activity_bq_per_g"]), expected="one of them",
        )  # fmt: skip
    agent = str(item.get("agent", "FDG"))
    small = _MOUSE_PET if host == "mouse" else {}
    protocol = {**small, **dict(content.get("protocol") or {}), **dict(item.get("protocol") or {})}
    bound = item.get("targets", ())
    bound = (bound,) if isinstance(bound, str) else tuple(map(str, bound))
    for target in bound:
        located(f"{where}.targets", partial(targets.get, target))
    if host is not None:
        located(f"{where}.agent", lambda: agent_parameters(agent, host))

    def optional(name: str) -> float | None:
        return None if item.get(name) is None else number(item[name], f"{where}.{name}")

    return Dose(
        name=str(item.get("name", agent)),
        agent=agent,
        radionuclide=None if item.get("radionuclide") is None else str(item["radionuclide"]),
        activity_bq=optional("activity_bq"),
        activity_bq_per_g=number(item.get("activity_bq_per_g", 3500.0), f"{where}.activity_bq_per_g"),
        mass_mg=optional("mass_mg"),
        targets=bound,
        after_s=number(item.get("after_s", 0.0), f"{where}.after_s", above=False),
        threshold=optional("threshold"),
        min_volume_ml=number(item.get("min_volume_ml", 0.0), f"{where}.min_volume_ml", above=False),
        protocol=located(f"{where}.protocol", lambda: pet_protocol(Protocol("pet", protocol))),
    )


def _arm(given: Any, where: str, k: int, host: str | None, doses: Sequence[Dose], exams: Sequence[Exam]) -> Arm:
    arm = mapping(given, where, _KNOWN["arm"])
    if host is not None and (arm.get("lesions") or {"uptake", "size"} & set(arm)):
        raise UsageError(
            "Lesions of stated uptake and virtual tumours do not go together",
            field=f"{where}.lesions", expected="tumours in every arm, or lesions in every arm",
        )  # fmt: skip
    still = [t for t in arm.get("tumours") or [] if isinstance(t, Mapping) and not t.get("scenario")]
    if arm.get("treatments") and (host is None or still):
        raise UsageError(
            "Treatments act on tumours that have a course",
            field=f"{where}.treatments", expected="tumours, each with a scenario",
        )  # fmt: skip
    days = tuple(number(d, f"{where}.days", above=False) for d in arm.get("days", [0]))
    if not days or any(b <= a for a, b in pairwise(days)):
        raise UsageError("Visits follow each other", field=f"{where}.days", found=days, expected="ascending days")
    factors = {}
    for factor in ("uptake", "size"):
        factors[factor] = tuple(number(v, f"{where}.{factor}") for v in arm.get(factor, [1.0] * len(days)))
        if len(factors[factor]) != len(days):
            raise UsageError(
                "One factor for each visit", field=f"{where}.{factor}", found=factors[factor], expected=len(days)
            )
    names = [*(dose.name for dose in doses), *(exam.name for exam in exams)]
    tumours = _tumours(arm.get("tumours") or [], f"{where}.tumours")
    scans = among(arm.get("scans", names), names, f"{where}.scans")
    for exam in exams:
        if exam.name in scans and exam.tumour not in (None, *(each.name for each in tumours)):
            raise UsageError(
                "The arm has no such tumour to look at", field=f"{where}.scans: {exam.name}", found=exam.tumour,
                expected=", ".join(each.name for each in tumours), mend="name the scans of this arm without it",
            )  # fmt: skip
    weight = arm.get("weight_g", None if host is not None else 70e3)
    return Arm(
        name=str(arm.get("name", f"arm {k + 1}")),
        subjects=whole(arm.get("subjects", 1), f"{where}.subjects", 1),
        days=days,
        lesions=tuple(_lesion(item, f"{where}.lesions[{n}]", n) for n, item in enumerate(arm.get("lesions") or [])),
        uptake=factors["uptake"],
        size=factors["size"],
        variation=number(arm.get("variation", 0.0), f"{where}.variation", above=False),
        weight_g=None if weight is None else number(weight, f"{where}.weight_g"),
        tumours=tumours,
        treatments=_treatments(arm.get("treatments") or [], f"{where}.treatments", days[-1]),
        scans=scans,
        outlines=among(arm.get("outlines", []), names, f"{where}.outlines"),
        leave_out=among(arm.get("leave_out", []), LEAVABLE, f"{where}.leave_out"),
    )


def _lesion(given: Any, where: str, n: int) -> Mapping[str, Any]:
    one = mapping(given, where, _KNOWN["lesion"])
    if missing := {"centre", "diameter_mm", "suv"} - set(one):
        raise UsageError("A lesion is not complete", field=where, expected=sorted(missing))
    diameter = number(one["diameter_mm"], f"{where}.diameter_mm")
    suv = number(one["suv"], f"{where}.suv", above=False)
    return {
        "name": str(one.get("name", f"lesion {n + 1}")),
        "centre": point(one["centre"], f"{where}.centre"),
        "diameter_mm": diameter,
        "suv": suv,
    }


def _tumours(given: Sequence[Any], where: str) -> tuple[TumourPlan, ...]:
    plans = []
    for n, item in enumerate(given):
        place = f"{where}[{n}]"
        one = mapping(item, place, _KNOWN["tumour"])
        if missing := {"diameter_mm"} - set(one):
            raise UsageError("A tumour is not complete", field=place, expected=sorted(missing))
        if not {"at", "inside"} & set(one):
            raise UsageError(
                "A tumour has a place", field=place, expected="at: [X, Y, Z] in mm, inside: ORGAN, or both"
            )
        plans.append(
            TumourPlan(
                name=str(one.get("name", f"tumour {n + 1}")),
                at=point(one.get("at", (0, 0, 0)), f"{place}.at"),
                inside=None if one.get("inside") is None else str(one["inside"]),
                architecture=word(one.get("architecture", "inflamed"), ARCHITECTURES, f"{place}.architecture"),
                diameter_mm=number(one["diameter_mm"], f"{place}.diameter_mm"),
                scenario=None if one.get("scenario") is None else word(one["scenario"], SCENARIOS, f"{place}.scenario"),
                grid_mm=None if one.get("grid_mm") is None else number(one["grid_mm"], f"{place}.grid_mm"),
                parameters=dict(mapping(one.get("parameters") or {}, f"{place}.parameters")),
                densities=dict(mapping(one.get("densities") or {}, f"{place}.densities")),
            )
        )
    names = [slug(plan.name).lower() for plan in plans]
    if len(set(names)) < len(names) or not all(names):
        raise UsageError("Each tumour has a name of its own", field=where, found=[plan.name for plan in plans])
    return tuple(plans)


def _treatments(given: Sequence[Any], where: str, last: float) -> tuple[Treatment, ...]:
    """Treatments up to the last visit; ``cycles`` and ``every_days`` repeat one."""
    result: list[Treatment] = []
    for n, item in enumerate(given):
        place = f"{where}[{n}]"
        one = dict(mapping(item, place))
        kind = TREATMENTS[word(one.pop("kind", None), TREATMENTS, f"{place}.kind")]
        cycles = whole(one.pop("cycles", 1), f"{place}.cycles", 1)
        every = number(one.pop("every_days", 21.0), f"{place}.every_days")
        first = number(one.pop("day", 0.0), f"{place}.day", above=False)
        known = set(kind.__dataclass_fields__) - {"day"}
        if unknown := set(one) - known:
            raise UsageError(
                "There is no such entry",
                field=f"{place}: {', '.join(sorted(unknown))}",
                expected=", ".join(sorted(known | {"kind", "day", "cycles", "every_days"})),
            )
        made = located(place, partial(_cycles, kind, [first + every * i for i in range(cycles)], one))
        result += [each for each in made if each.day <= last]
    return tuple(result)


def _cycles(kind: type[Any], days: Sequence[float], more: Mapping[str, Any]) -> list[Treatment]:
    return [kind(day=day, **more) for day in days]
