"""The visits of a simulated subject: what lies in the scanner on each of them, for each agent that is given.

Everything about a subject is drawn from one source of randomness. Tumours stand still during a visit, agents given at
one visit do not meet, and the subject lies alike for all scans of a visit but not from visit to visit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import TimelensError, UsageError
from timelens.lenses.pet.protocol import PetProtocol
from timelens.run.simulation.spec import Arm, Dose, Spec, TumourPlan
from timelens.study.geometry import Geometry
from timelens.tumor.agents.parameters import agent_parameters
from timelens.tumor.agents.scene import PlacedTumour, agent_scene
from timelens.tumor.architecture import ARCHITECTURES
from timelens.tumor.digital_patient import DigitalPatient, Point, Shape, lesion, standard_organs
from timelens.tumor.dynamics import Course
from timelens.tumor.host.phantom import Phantom, body_phantom
from timelens.tumor.host.reference import reference_host
from timelens.tumor.microenvironment import Microenvironment, build
from timelens.tumor.scenarios import scenario
from timelens.tumor.scene import Scene

__all__ = ["Subject", "Visit", "digital_subject", "dose_nmol", "named", "virtual_subject"]

#: Nobody lies twice in the same place: a person moves by this much, mm; a mouse by a fifth of it.
_LYING_MM = 6.0
#: Voxels over a virtual tumour at its largest, and the room around it relative to its diameter.
_VOXELS, _ROOM = 48, 1.35
#: Spread of body weight between subjects.
_WEIGHT_SPREAD = 0.1


@dataclass(frozen=True, eq=False)
class Visit:
    """One visit.

    Attributes
    ----------
    number, day
        From 1, and its day.
    scenes
        What each agent shows, by the name of its administration.
    tumours
        Virtual tumours of that day, at their places as the subject lies.
    """

    number: int
    day: float
    scenes: Mapping[str, Scene]
    tumours: Mapping[str, PlacedTumour] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Subject:
    """One subject: the courses of its tumours, their start, and the visits, made one by one."""

    visits: Iterator[Visit]
    courses: Mapping[str, Course] = field(default_factory=dict)
    tumours: Mapping[str, Microenvironment] = field(default_factory=dict)


def digital_subject(spec: Spec, arm: Arm, rng: np.random.Generator) -> Subject:
    """A digital patient whose lesions have the stated uptake and size, times the factors of each visit."""
    return Subject(_digital_visits(spec, arm, rng))


def _digital_visits(spec: Spec, arm: Arm, rng: np.random.Generator) -> Iterator[Visit]:
    assert arm.weight_g is not None
    weight = arm.weight_g * float(np.exp(_WEIGHT_SPREAD * rng.standard_normal()))
    factors = np.exp(arm.variation * rng.standard_normal((len(arm.lesions), 2)) - arm.variation**2 / 2)
    height = 1000 * float(np.sqrt(weight / 1e3 / 24.0))
    for visit, day in enumerate(arm.days):
        lesions: list[Shape] = []
        for item, (hot, large) in zip(arm.lesions, factors, strict=True):
            centre = _point(np.array(item["centre"], float) + rng.uniform(-2, 2, 3))
            diameter = item["diameter_mm"] * arm.size[visit] * float(large) ** (1 / 3)
            lesions.append(lesion(item["name"], centre, diameter, item["suv"] * arm.uptake[visit] * float(hot)))
        patient = DigitalPatient(standard_organs(), tuple(lesions), round(weight, -2), round(height), "F", 54.0)
        scene = Scene(patient.moved(_point(rng.uniform(-_LYING_MM, _LYING_MM, 3))), day=day)
        yield Visit(visit + 1, day, dict.fromkeys(arm.scans, scene))


def virtual_subject(spec: Spec, arm: Arm, rng: np.random.Generator) -> Subject:
    """A host with virtual tumours, which follow their course under the arm's treatments.

    Raises
    ------
    UsageError
        If a tumour has no place in the body, does not fit its grid or lacks what an agent needs; the field says which.
    """
    assert spec.host is not None
    drawn = float(np.exp(_WEIGHT_SPREAD * rng.standard_normal()))
    reference = reference_host(spec.host)
    weight = (arm.weight_g or reference.weight_g) * drawn
    host = reference_host(spec.host, weight_g=round(weight, -2 if spec.host == "human" else 1))
    body = body_phantom(host)
    half_voxel = np.array(spec.doses[0].protocol.voxel_mm)[::-1] / 2
    grown, centres, occupied = {}, {}, body
    for plan in arm.tumours:
        seed = int(rng.integers(2**31))
        size = float(np.exp(arm.variation * rng.standard_normal() - arm.variation**2 / 2)) ** (1 / 3)
        offset = rng.uniform(-half_voxel, half_voxel)
        try:
            occupied = occupied.with_tumour(
                plan.name, plan.diameter_mm * size, inside=plan.inside, at=_point(np.array(plan.at) + offset)
            )
            centres[plan.name] = occupied.tumours[-1].centre
            grown[plan.name] = _tumour(plan, plan.diameter_mm * size, arm, seed)
        except TimelensError as error:
            raise named(error, f"arm {arm.name}, tumour {plan.name}") from None
    courses = {name: each.course for name, each in grown.items() if each.course is not None}
    return Subject(_virtual_visits(spec, arm, body, grown, centres, rng), courses, grown)


def _tumour(plan: TumourPlan, diameter_mm: float, arm: Arm, seed: int) -> Microenvironment:
    """A tumour at day 0 with its course, on a grid that holds it on every day."""
    kind = ARCHITECTURES[plan.architecture]
    changes: dict[str, Any] = {**plan.parameters, "densities": {**kind.densities, **plan.densities}}
    try:
        kind = replace(kind, **{**changes, "diameter_mm": diameter_mm})
    except TypeError as error:
        raise UsageError("An architecture has no such parameter", field="parameters", found=str(error)) from None
    last = arm.days[-1]
    largest = diameter_mm
    if plan.scenario is not None and last > 0:
        course = scenario(plan.scenario).run(last, arm.treatments)
        largest *= max(1.0, float(np.max(course.diameter_ratio())))
    edge = plan.grid_mm or round(largest * _ROOM / _VOXELS, 3)
    count = int(np.ceil(largest * _ROOM / edge)) + 2
    tumour = build(kind, Geometry.from_spacing((count,) * 3, (edge,) * 3, frame="tumour"), seed)
    if plan.scenario is None or last == 0:
        return tumour
    return tumour.with_course(scenario(plan.scenario).scaled(tumour.count("tumour-cell")).run(last, arm.treatments))


def _virtual_visits(
    spec: Spec,
    arm: Arm,
    body: Phantom,
    grown: Mapping[str, Microenvironment],
    centres: Mapping[str, Point],
    rng: np.random.Generator,
) -> Iterator[Visit]:
    reach = _LYING_MM if spec.host == "human" else _LYING_MM / 5
    for visit, day in enumerate(arm.days):
        lying = _point(rng.uniform(-reach, reach, 3))
        today = {name: each.at(day) if each.course is not None else each for name, each in grown.items()}
        scenes = {}
        for dose in spec.doses:
            if dose.name not in arm.scans:
                continue
            placed = {name: PlacedTumour(each, centres[name], dose.targets) for name, each in today.items()}
            try:
                seen = agent_scene(
                    body,
                    dose.agent,
                    placed,
                    _knots(dose.protocol),
                    dose_nmol=dose_nmol(dose, body.host.species),
                    day=day,
                )
            except TimelensError as error:
                raise named(error, f"arm {arm.name}, administration {dose.name}") from None
            scenes[dose.name] = _moved(seen.scene, lying)
        lain = {name: PlacedTumour(each, _plus(centres[name], lying)) for name, each in today.items()}
        yield Visit(visit + 1, day, scenes, lain)


def dose_nmol(dose: Dose, species: str) -> float | None:
    """Agent given, in nmol; None where its mass is not stated."""
    if dose.mass_mg is None:
        return None
    return dose.mass_mg * 1e3 / agent_parameters(dose.agent, species).get("mass")


def _knots(protocol: PetProtocol) -> NDArray[np.float64]:
    """Times at which the uptake is known: the edges of a static frame, four to each frame of a series."""
    times: list[NDArray[np.float64]] = []
    for scan in protocol.scans:
        parts = 1 if len(scan.frames_s) == 1 else 4
        for start, length in zip(scan.timing.start, scan.timing.duration, strict=True):
            times.append(start + length * np.arange(parts + 1) / parts)
    return np.unique(np.round(np.concatenate(times), 6))


def _moved(scene: Scene, offset: Point) -> Scene:
    fields = tuple(replace(each, centre=_plus(each.centre, offset)) for each in scene.fields)
    return replace(scene, host=scene.host.moved(offset), fields=fields)


def _plus(point: Point, offset: Point) -> Point:
    return _point(np.add(point, offset))


def _point(values: NDArray[np.float64]) -> Point:
    return float(values[0]), float(values[1]), float(values[2])


def named(error: TimelensError, where: str) -> UsageError:
    """The same refusal, with the place in the specification before its field."""
    known = error.problem
    return UsageError(
        known.message,
        field=f"{where}: {known.field}" if known.field else where,
        found=known.found,
        expected=known.expected,
        mend=known.mend,
    )
