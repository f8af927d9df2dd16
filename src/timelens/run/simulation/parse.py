"""A cohort's specification from plain data that a YAML file can hold: checked, each refusal by field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import yaml

from timelens.errors import TimelensError, UsageError
from timelens.knowledge import targets
from timelens.lenses.ct.simulate import ct_protocol
from timelens.lenses.pet.protocol import pet_protocol
from timelens.run.simulation.spec import Arm, Dose, Spec, TumourPlan, slug
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

_T = TypeVar("_T")

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
    "": {"seed", "format", "name", "host", "range_mm", "administrations", "ct", "arms"} | _DOSE,
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
    content = _mapping(given, "specification", _KNOWN[""])
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
    small = _MOUSE_CT if host == "mouse" else {}
    return Spec(
        seed=_whole(content.get("seed", 0), "seed", 0),
        format=str(kind),
        name=str(content.get("name", "simulated cohort")),
        host=host,
        range_mm=None if reach is None else _range(reach),
        doses=doses,
        ct=ct_protocol(Protocol("ct", {**small, **dict(content.get("ct") or {})})),
        arms=tuple(_arm(arm, f"arms[{k}]", k, host, doses) for k, arm in enumerate(arms)),
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
        doses.append(_dose(_mapping(item, where, _KNOWN["administration"]), where, content, host))
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
        _located(f"{where}.targets", partial(targets.get, target))
    if host is not None:
        _located(f"{where}.agent", lambda: agent_parameters(agent, host))

    def optional(name: str) -> float | None:
        return None if item.get(name) is None else _number(item[name], f"{where}.{name}")

    return Dose(
        name=str(item.get("name", agent)),
        agent=agent,
        radionuclide=None if item.get("radionuclide") is None else str(item["radionuclide"]),
        activity_bq=optional("activity_bq"),
        activity_bq_per_g=_number(item.get("activity_bq_per_g", 3500.0), f"{where}.activity_bq_per_g"),
        mass_mg=optional("mass_mg"),
        targets=bound,
        after_s=_number(item.get("after_s", 0.0), f"{where}.after_s", above=False),
        threshold=optional("threshold"),
        min_volume_ml=_number(item.get("min_volume_ml", 0.0), f"{where}.min_volume_ml", above=False),
        protocol=_located(f"{where}.protocol", lambda: pet_protocol(Protocol("pet", protocol))),
    )


def _arm(given: Any, where: str, k: int, host: str | None, doses: Sequence[Dose]) -> Arm:
    arm = _mapping(given, where, _KNOWN["arm"])
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
    days = tuple(_number(d, f"{where}.days", above=False) for d in arm.get("days", [0]))
    if not days or any(b <= a for a, b in pairwise(days)):
        raise UsageError("Visits follow each other", field=f"{where}.days", found=days, expected="ascending days")
    factors = {}
    for factor in ("uptake", "size"):
        factors[factor] = tuple(_number(v, f"{where}.{factor}") for v in arm.get(factor, [1.0] * len(days)))
        if len(factors[factor]) != len(days):
            raise UsageError(
                "One factor for each visit", field=f"{where}.{factor}", found=factors[factor], expected=len(days)
            )
    names = [dose.name for dose in doses]
    weight = arm.get("weight_g", None if host is not None else 70e3)
    return Arm(
        name=str(arm.get("name", f"arm {k + 1}")),
        subjects=_whole(arm.get("subjects", 1), f"{where}.subjects", 1),
        days=days,
        lesions=tuple(_lesion(item, f"{where}.lesions[{n}]", n) for n, item in enumerate(arm.get("lesions") or [])),
        uptake=factors["uptake"],
        size=factors["size"],
        variation=_number(arm.get("variation", 0.0), f"{where}.variation", above=False),
        weight_g=None if weight is None else _number(weight, f"{where}.weight_g"),
        tumours=_tumours(arm.get("tumours") or [], f"{where}.tumours"),
        treatments=_treatments(arm.get("treatments") or [], f"{where}.treatments", days[-1]),
        scans=_among(arm.get("scans", names), names, f"{where}.scans"),
        outlines=_among(arm.get("outlines", []), names, f"{where}.outlines"),
        leave_out=_among(arm.get("leave_out", []), LEAVABLE, f"{where}.leave_out"),
    )


def _lesion(given: Any, where: str, n: int) -> Mapping[str, Any]:
    one = _mapping(given, where, _KNOWN["lesion"])
    if missing := {"centre", "diameter_mm", "suv"} - set(one):
        raise UsageError("A lesion is not complete", field=where, expected=sorted(missing))
    diameter = _number(one["diameter_mm"], f"{where}.diameter_mm")
    suv = _number(one["suv"], f"{where}.suv", above=False)
    return {
        "name": str(one.get("name", f"lesion {n + 1}")),
        "centre": _point(one["centre"], f"{where}.centre"),
        "diameter_mm": diameter,
        "suv": suv,
    }


def _tumours(given: Sequence[Any], where: str) -> tuple[TumourPlan, ...]:
    plans = []
    for n, item in enumerate(given):
        place = f"{where}[{n}]"
        one = _mapping(item, place, _KNOWN["tumour"])
        if missing := {"diameter_mm"} - set(one):
            raise UsageError("A tumour is not complete", field=place, expected=sorted(missing))
        if not {"at", "inside"} & set(one):
            raise UsageError(
                "A tumour has a place", field=place, expected="at: [X, Y, Z] in mm, inside: ORGAN, or both"
            )
        plans.append(
            TumourPlan(
                name=str(one.get("name", f"tumour {n + 1}")),
                at=_point(one.get("at", (0, 0, 0)), f"{place}.at"),
                inside=None if one.get("inside") is None else str(one["inside"]),
                architecture=_word(one.get("architecture", "inflamed"), ARCHITECTURES, f"{place}.architecture"),
                diameter_mm=_number(one["diameter_mm"], f"{place}.diameter_mm"),
                scenario=None
                if one.get("scenario") is None
                else _word(one["scenario"], SCENARIOS, f"{place}.scenario"),
                grid_mm=None if one.get("grid_mm") is None else _number(one["grid_mm"], f"{place}.grid_mm"),
                parameters=dict(_mapping(one.get("parameters") or {}, f"{place}.parameters")),
                densities=dict(_mapping(one.get("densities") or {}, f"{place}.densities")),
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
        one = dict(_mapping(item, place))
        kind = TREATMENTS[_word(one.pop("kind", None), TREATMENTS, f"{place}.kind")]
        cycles = _whole(one.pop("cycles", 1), f"{place}.cycles", 1)
        every = _number(one.pop("every_days", 21.0), f"{place}.every_days")
        first = _number(one.pop("day", 0.0), f"{place}.day", above=False)
        known = set(kind.__dataclass_fields__) - {"day"}
        if unknown := set(one) - known:
            raise UsageError(
                "There is no such entry",
                field=f"{place}: {', '.join(sorted(unknown))}",
                expected=", ".join(sorted(known | {"kind", "day", "cycles", "every_days"})),
            )
        made = _located(place, partial(_cycles, kind, [first + every * i for i in range(cycles)], one))
        result += [each for each in made if each.day <= last]
    return tuple(result)


def _cycles(kind: type[Any], days: Sequence[float], more: Mapping[str, Any]) -> list[Treatment]:
    return [kind(day=day, **more) for day in days]


def _located(where: str, make: Callable[[], _T]) -> _T:
    """What ``make`` gives; an error says where in the specification it came about."""
    try:
        return make()
    except TimelensError as error:
        known = error.problem
        raise UsageError(
            known.message,
            field=f"{where}: {known.field}" if known.field else where,
            found=known.found,
            expected=known.expected,
            mend=known.mend,
        ) from None
    except TypeError as error:
        raise UsageError("The entry is not complete", field=where, found=str(error)) from None


def _mapping(given: Any, where: str, known: set[str] | None = None) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise UsageError("Names and values are needed", field=where, found=given, expected="a mapping")
    if known is not None and (unknown := {str(k) for k in given} - known):
        raise UsageError(
            "There is no such entry", field=f"{where}: {', '.join(sorted(unknown))}", expected=", ".join(sorted(known))
        )
    return given


def _number(given: Any, where: str, *, above: bool = True) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise UsageError("A number is needed", field=where, found=given)
    if given < 0 or (above and given == 0):
        raise UsageError("The value cannot be used", field=where, found=given, expected="> 0" if above else "0 or more")
    return float(given)


def _whole(given: Any, where: str, least: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise UsageError("A whole number is needed", field=where, found=given, expected=f"{least} or more")
    return given


def _point(given: Any, where: str) -> tuple[float, float, float]:
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if len(values) != 3 or len(numbers) != 3:
        raise UsageError("A place is three numbers", field=where, found=given, expected="[X, Y, Z] in mm")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def _range(given: Any) -> tuple[float, float]:
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    if len(values) != 2 or not all(isinstance(v, int | float) for v in values):
        raise UsageError("A range has two ends", field="range_mm", found=given, expected="lowest and highest Z in mm")
    low, high = float(values[0]), float(values[1])
    if not high > low:
        raise UsageError("The range is empty", field="range_mm", found=(low, high), expected="lowest and highest Z")
    return low, high


def _word(given: Any, known: Any, where: str) -> str:
    if given not in known:
        raise UsageError("There is no such choice", field=where, found=given, expected=", ".join(known))
    return str(given)


def _among(given: Any, known: Sequence[str], where: str) -> tuple[str, ...]:
    names = [given] if isinstance(given, str) else list(given)
    return tuple(_word(name, known, where) for name in names)
