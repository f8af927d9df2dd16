"""Fields follow the populations: a tumour at another day of its course.

The course gives numbers; the fields at day 0 give places. On another day the tumour has the course's volume; each leaf
has as many cells as at day 0 times its population's ratio; dying cells are necrosis; infused cells come in along
vessels and margin; nests open as far as the course says. What the course does not speak of thins out in a growing
tumour and leaves a shrinking one. Shape and texture stay those of the seed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from timelens.errors import MissingFieldError
from timelens.tumor.cells import LEAVES
from timelens.tumor.dynamics import Course

if TYPE_CHECKING:
    from timelens.tumor.architecture import Architecture
    from timelens.tumor.microenvironment import Microenvironment

__all__ = ["FOLLOWS", "architecture_at", "evolve"]

#: Which population a leaf follows. What is not named here keeps its number in a growing tumour, its density in a
#: shrinking one.
FOLLOWS = {
    "cd8-t-cell": "effector",
    "exhausted-cd8-t-cell": "effector",
    "th1": "effector",
    "nk-cell": "effector",
    "treg": "suppressor",
    "mdsc": "suppressor",
}
_INFUSED = {"car-t-cell": "car_t", "car-nk-cell": "car_nk"}
#: Leaves that belong to the tissue, not to a count: their density stays.
_TISSUE = ("caf", "msc")
#: Largest part of a tumour that is drawn as necrosis.
_MOST_NECROSIS = 0.9


def evolve(tumour: Microenvironment, day: float) -> Microenvironment:
    """The tumour at a day of its course, on the same grid with the same seed.

    Raises
    ------
    MissingFieldError
        If the tumour has no course.
    UsageError
        If the course does not reach that day.
    GeometryError
        If the tumour has outgrown its grid, or is too small for it.
    """
    from timelens.tumor.microenvironment import build

    course = tumour.course
    if course is None:
        raise MissingFieldError(
            "The tumour has no course", field="course", mend="tumour.with_course(scenario('responder').run(90, ...))"
        )
    origin = tumour.origin or tumour
    if day == 0:
        return origin
    cells = origin.count("tumour-cell")
    architecture = architecture_at(origin.architecture, course, day, tumour_cells=cells)
    wanted = cells * float(course.relative("tumour", day))
    found = build(architecture, origin.geometry, origin.seed, centre=origin.centre, tumour_cells=wanted)
    return replace(found, expressions=origin.expressions, day=float(day), course=course, origin=origin)


def architecture_at(start: Architecture, course: Course, day: float, *, tumour_cells: float) -> Architecture:
    """Parameters of the tumour at a day, from those and the number of tumour cells at day 0, and the course."""
    volume = float(course.volume_ratio(day))
    ratio = {
        name: float(course.relative(name, day)) if course.population(name)[0] > 0 else 1.0
        for name in ("effector", "suppressor")
    }
    densities = {}
    for name in LEAVES:
        before = start.densities.get(name, 0.0)
        if name in _INFUSED:
            # The course may be of a tumour of another size: only the ratio to tumour cells carries over.
            infused = float(course.population(_INFUSED[name], day)) / float(course.population("tumour")[0])
            before = before + infused * tumour_cells / start.volume_mm3
            densities[name] = before / volume
        elif before:
            follows = FOLLOWS.get(name)
            if name in _TISSUE:
                densities[name] = before
            else:
                densities[name] = before * ratio[follows] / volume if follows else before / max(1.0, volume)
    # Dying cells lie among the living before they are debris; all of their volume is drawn as necrosis.
    share = 1 - course.kinetics.stroma_share - course.kinetics.immune_share
    dying = float(course.population("dying", day) / course.population("tumour")[0]) * share / volume
    necrosis = min(_MOST_NECROSIS, start.necrotic_fraction * min(1.0, float(course.relative("tumour", day))) + dying)
    access = start.access + (1 - start.access) * float(course.population("opened", day))
    radius = start.tls_radius_mm * min(1.0, volume ** (1 / 3))
    return replace(
        start,
        diameter_mm=start.diameter_mm * volume ** (1 / 3),
        necrotic_fraction=necrosis,
        densities=densities,
        access=access,
        tls_radius_mm=radius,
    )
