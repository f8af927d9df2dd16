"""Dynamic scenes with known rate constants: a body with three tissues and its blood, or a virtual tumour.

Rate constants are per minute and chosen in the range of what is published for such agents; they are truth here, not
data. Blood volume is part of every tissue with plasma input. Times are s from injection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics import Frames, InputFunction, convolve_exponential, feng
from timelens.lenses.pet.simulate import lesion_regions
from timelens.run.validation.phantom import fdg_tumours, ring
from timelens.study.geometry import Geometry
from timelens.study.region import Region
from timelens.tumor.digital_patient import DigitalPatient, Shape, lesion
from timelens.tumor.scene import Curve, Scene

__all__ = ["CASES", "Case", "DynamicScene", "outlines", "scene_of"]

Floats = NDArray[np.float64]

WEIGHT_G, DOSE_BQ = 70e3, 300e6
#: Lesions, and the part in their middle that is outlined, out of reach of the blur: rates are judged, not resolution.
_LESION_MM, _CORE_MM = 44.0, 26.0
#: Knots of curves: dense while they bend, s.
_KNOTS = np.concatenate([np.arange(0.0, 120.0, 1.0), np.arange(120.0, 600.0, 5.0), np.arange(600.0, 14401.0, 30.0)])
#: Bolus of Feng D, Huang SC, Wang X. Int J Biomed Comput 1993;32:95 (doi:10.1016/0020-7101(93)90049-C), arriving after
#: 8 s; scaled to a peak SUV of some 20.
_FENG = ((14.2, 21.9, 20.8), (0.0689, 0.001985, 0.000174))
_ARRIVAL_S, _PEAK_SUV = 8.0, 20.0


@dataclass(frozen=True)
class Case:
    """One agent, its tissues, and how the lens is asked.

    Attributes
    ----------
    what
        In words.
    agent, nuclide
        As the administration names them.
    tissues
        Name to K1, k2, k3, k4 per minute and blood volume; for a reference region R1, k2' and BP.
    metabolised
        Whether the parent fraction in plasma falls (to a third within an hour), with plasma 1.2 times whole blood.
    options
        For the lens.
    exact_blood
        Whether blood is sampled without error: what the intervals miss then is not the blood's.
    """

    what: str
    agent: str
    nuclide: str
    tissues: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    metabolised: bool = False
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    exact_blood: bool = False


_CASES: dict[str, Case] = {
    "FDG": Case(
        "trapping in two tissues, arterial blood", "FDG", "18F",
        {"tumour": (0.20, 0.35, 0.10, 0.0, 0.08), "node": (0.10, 0.25, 0.05, 0.0, 0.05),
         "muscle": (0.03, 0.15, 0.02, 0.0, 0.03)},
    ),
    "18F-AraG": Case(
        "two reversible tissues, arterial blood", "f18-arag", "18F",
        {"tumour": (0.15, 0.25, 0.08, 0.03, 0.06), "node": (0.10, 0.20, 0.15, 0.03, 0.05),
         "muscle": (0.03, 0.15, 0.03, 0.04, 0.03)},
    ),
    "TSPO": Case(
        "18F-DPA-714: two reversible tissues, arterial blood with metabolites", "f18-dpa-714", "18F",
        {"tumour": (0.25, 0.20, 0.12, 0.05, 0.06), "lesion": (0.15, 0.15, 0.08, 0.05, 0.05),
         "muscle": (0.05, 0.12, 0.05, 0.06, 0.03)},
        metabolised=True,
    ),
    "reference": Case(
        "simplified reference tissue, no blood", "f18-dpa-714", "18F",
        {"tumour": (1.2, 0.12, 1.5), "node": (0.9, 0.12, 0.6), "reference": (1.0, 0.12, 0.0)},
        options={"input": {"source": "reference", "reference": "reference"}, "fit": {"models": ["srtm"]}},
    ),
    "virtual tumour": Case("FDG in an inflamed tumour whose voxels all differ, arterial blood", "FDG", "18F"),
}  # fmt: skip

#: By name; what is sampled with error comes again without.
CASES: Mapping[str, Case] = _CASES | {
    f"{name}, exact blood": replace(_CASES[name], what=f"{_CASES[name].what}, without error", exact_blood=True)
    for name in ("FDG", "TSPO")
}


@dataclass(frozen=True)
class DynamicScene:
    """What is scanned, and its blood on knots in SUV: whole blood, plasma and parent fraction."""

    scene: Scene
    times_s: Floats
    blood: Floats
    plasma: Floats
    fraction: Floats


def scene_of(name: str, rng: np.random.Generator, end_s: float) -> DynamicScene:
    """The scene of a case, its lesions in a place of their own."""
    case = CASES[name]
    if not case.tissues:
        return _virtual(rng, end_s)
    times, blood, plasma, fraction = _blood(case.metabolised)
    parent = InputFunction(times, plasma * fraction, "parent", "Bq/mL")
    curves, truth = {}, {}
    for tissue, constants in case.tissues.items():
        if len(constants) == 3:
            curves[tissue], truth[tissue] = _reference_tissue(parent, *constants)
        else:
            curves[tissue], truth[tissue] = _two_tissue(parent, blood, *constants)
    known = list(case.tissues)
    lesions = tuple(
        lesion(tissue, place, _LESION_MM, 1.0, hu=0.0)
        for tissue, place in zip(known, ring(len(known), rng), strict=True)
    )
    shown = {tissue: Curve(times, values) for tissue, values in curves.items()}
    scene = Scene(_body(lesions), {**shown, "body": shown[known[-1]]}, kinetics=truth)
    return DynamicScene(scene, times, blood, plasma, fraction)


def outlines(scene: Scene, geometry: Geometry) -> Region:
    """What is outlined: the middle of each lesion, and all of a virtual tumour."""
    cores = tuple(replace(shape, semi_axes=(_CORE_MM / 2,) * 3) for shape in scene.host.lesions)
    return lesion_regions(replace(scene, host=replace(scene.host, lesions=cores)), geometry)


def _body(lesions: tuple[Shape, ...]) -> DigitalPatient:
    body = Shape("body", (0.0, 0.0, 0.0), (130.0, 105.0, 50.0), 1.0, 0.0, cylinder=True)
    return DigitalPatient((body,), lesions, WEIGHT_G, 1700.0, "F", 50.0)


@lru_cache(maxsize=2)
def _blood(metabolised: bool) -> tuple[Floats, Floats, Floats, Floats]:
    """Times, whole blood, plasma and parent fraction."""
    shape = feng(_KNOTS - _ARRIVAL_S, *_FENG)
    blood = _PEAK_SUV * shape / shape.max()
    if not metabolised:
        return _KNOTS, blood, blood, np.ones(_KNOTS.size)
    # Hill: a third is left after an hour.
    fraction = 1 - 0.85 * _KNOTS**1.3 / (_KNOTS**1.3 + 1300.0**1.3)
    return _KNOTS, blood, 1.2 * blood, fraction


def _two_tissue(
    parent: InputFunction, blood: Floats, k1: float, k2: float, k3: float, k4: float, v_b: float
) -> tuple[Floats, dict[str, float]]:
    """Curve of a tissue with two compartments and blood, and its truth."""
    total = k2 + k3 + k4
    root = np.sqrt(total**2 - 4 * k2 * k4)
    fast, slow = (total + root) / 2, (total - root) / 2
    shares = k1 / 60 / (fast - slow) * np.array([fast - k3 - k4, k3 + k4 - slow])
    held = _convolved(parent, np.array([fast, slow]) / 60) @ shares
    truth = {"k1": k1, "k2": k2, "k3": k3, "v_b": v_b}
    if k4 > 0:
        truth |= {"k4": k4, "v_t": k1 / k2 * (1 + k3 / k4), "bp_nd": k3 / k4}
    else:
        truth["k_i"] = k1 * k3 / (k2 + k3)
    return np.maximum((1 - v_b) * held + v_b * blood, 0.0), truth


def _reference_tissue(
    parent: InputFunction, r1: float, k2_reference: float, bp_nd: float
) -> tuple[Floats, dict[str, float]]:
    """Curve of one compartment that has R1 times the K1 of the reference region (0.1) and its distribution volume."""
    k2 = r1 * k2_reference
    curve = r1 * 0.1 / 60 * _convolved(parent, np.array([k2 / (1 + bp_nd) / 60]))[:, 0]
    return np.maximum(curve, 0.0), {"r1": r1, "k2": k2, "bp_nd": bp_nd} if bp_nd > 0 else {}


def _convolved(parent: InputFunction, rates: Floats) -> Floats:
    """(knots, rates)."""
    return np.asarray(convolve_exponential(parent.times, parent.values, rates, Frames.instants(parent.times)))


def _virtual(rng: np.random.Generator, end_s: float) -> DynamicScene:
    known = fdg_tumours(float(end_s), dynamic=True)["inflamed"]
    place = ring(1, rng)[0]
    tumour = replace(known.scene.fields[0], centre=place)
    times = np.minimum(_KNOTS[: np.searchsorted(_KNOTS, end_s) + 1], end_s)
    weight = known.curves.host.weight_g
    blood, plasma = (
        np.interp(times, known.curves.time_s, c) * weight for c in (known.curves.blood, known.curves.plasma)
    )
    muscle = Curve(known.curves.time_s, np.maximum(known.curves.suv("muscle"), 0.0))
    scene = Scene(_body(()), {"body": muscle}, (tumour,), kinetics=known.scene.kinetics)
    return DynamicScene(scene, times, blood, plasma, np.ones(times.size))
