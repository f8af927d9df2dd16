"""Objects to scan: a body with six spheres in a ring, as image-quality phantoms have them, or with virtual tumours."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from timelens.study.geometry import Geometry
from timelens.study.region import Region
from timelens.tumor.digital_patient import DigitalPatient, Point, Shape, lesion
from timelens.tumor.paint import label_region
from timelens.tumor.scene import Scene

if TYPE_CHECKING:
    from timelens.tumor.agents import AgentScene

__all__ = [
    "BACKGROUND",
    "DIAMETERS",
    "TUMOURS",
    "UPTAKE",
    "fdg_tumours",
    "reference_region",
    "ring",
    "spheres",
    "tumours",
]

#: Spheres of the NEMA NU 2 image-quality phantom, in mm.
DIAMETERS = (10.0, 13.0, 17.0, 22.0, 28.0, 37.0)
#: Uptake of spheres and body, g/mL.
UPTAKE, BACKGROUND = 8.0, 2.0
#: Virtual tumours of 24 mm.
TUMOURS = ("inflamed", "excluded", "necrotic core")
_RING_MM, _WEIGHT_G = 57.2, 70e3
_TUMOUR_MM, _STEP_MM = 24.0, 0.75


def ring(count: int, rng: np.random.Generator) -> list[Point]:
    """Places on the ring, turned and shifted by chance, so that no place of the grid is special."""
    turn, shift = rng.uniform(0, 2 * np.pi), rng.uniform(-2, 2, 3)
    angles = turn + 2 * np.pi * np.arange(count) / count
    places = np.stack([_RING_MM * np.cos(angles), _RING_MM * np.sin(angles), 0 * angles], axis=1) + shift
    return [(float(x), float(y), float(z)) for x, y, z in places]


def spheres(places: list[Point]) -> Scene:
    """A body of 300 by 230 by 180 mm with the six spheres."""
    made = [
        lesion(f"sphere {diameter:g} mm", place, diameter, UPTAKE, hu=0.0)
        for diameter, place in zip(DIAMETERS, places, strict=True)
    ]
    return Scene(_body(tuple(made)))


def empty() -> Scene:
    """The body alone."""
    return Scene(_body(()))


def tumours(places: list[Point], end_s: float) -> Scene:
    """The body with three virtual tumours under FDG, whose uptake differs from voxel to voxel."""
    known = fdg_tumours(float(end_s)).values()
    fields = tuple(replace(each.scene.fields[0], centre=place) for each, place in zip(known, places, strict=True))
    return Scene(_body(()), fields=fields)


def reference_region(geometry: Geometry) -> Region:
    """A part of the body without lesions that stands for the liver."""
    shape = Shape("liver", (0.0, 0.0, 50.0), (60.0, 60.0, 22.0), BACKGROUND, role="liver")
    return label_region({"liver": shape}, geometry, name="organs")


def _body(lesions: tuple[Shape, ...]) -> DigitalPatient:
    body = Shape("body", (0.0, 0.0, 0.0), (150.0, 115.0, 90.0), BACKGROUND, 0.0, cylinder=True)
    return DigitalPatient((body,), lesions, _WEIGHT_G, 1700.0, "F", 50.0)


@lru_cache(maxsize=4)
def fdg_tumours(end_s: float, dynamic: bool = False) -> dict[str, AgentScene]:
    """FDG in each of the virtual tumours, from their vessels and cells and the blood of a human host.

    Parameters
    ----------
    end_s
        Last time that is needed, s from the injection.
    dynamic
        Whether the uptake is needed from the injection on, every few seconds at first; else only its slow course.
    """
    from timelens.tumor.agents import PlacedTumour, agent_scene
    from timelens.tumor.architecture import EXCLUDED, INFLAMED
    from timelens.tumor.host import body_phantom, reference_host
    from timelens.tumor.microenvironment import build

    grid = Geometry.from_spacing((40, 40, 40), (_STEP_MM,) * 3, frame="tumour")
    kinds = (INFLAMED, EXCLUDED, replace(INFLAMED, necrotic_fraction=0.35))
    host, times = body_phantom(reference_host("human")), np.linspace(0.0, end_s, 25)
    if dynamic:
        times = np.unique(
            np.concatenate([np.arange(0.0, 120.0, 5.0), np.arange(120.0, 600.0, 30.0), times[times > 600]])
        )
    return {
        name: agent_scene(
            host,
            "f18-fdg",
            {name: PlacedTumour(build(replace(kind, diameter_mm=_TUMOUR_MM), grid, 1), (60.0, 40.0, 300.0))},
            times,
        )
        for name, kind in zip(TUMOURS, kinds, strict=True)
    }
