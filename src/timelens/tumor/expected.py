"""What a scanner of given resolution is bound to show of a spherical lesion, in closed form.

A uniform sphere in uniform surroundings, blurred by a Gaussian, has a known profile. From it follow the volume that a
threshold encloses, the mean in it, the maximum and the 1 mL peak, without any voxel, segmentation or program. Averaging
over voxels counts as a little more blur (an edge of h adds h^2 / 12 to the variance).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from scipy.special import erf

from timelens.engines.regions.partial_volume import FWHM_PER_SIGMA, sphere_recovery_centre
from timelens.errors import DataError
from timelens.knowledge import quantities
from timelens.study.contract import Truth
from timelens.study.geometry import Geometry
from timelens.tumor.digital_patient import DigitalPatient, Shape

__all__ = [
    "PEAK_RADIUS_MM",
    "BlurredSphere",
    "Rule",
    "Truth",
    "blurred_lesion",
    "lesion_truth",
    "overlap_share",
    "patient_truth",
]

#: Radius of a sphere of 1 mL in mm.
PEAK_RADIUS_MM = float((3e3 / (4 * np.pi)) ** (1 / 3))

#: Surroundings must be uniform this many resolutions (FWHM) beyond the edge of a lesion.
_MARGIN = 1.25


@dataclass(frozen=True)
class BlurredSphere:
    """A sphere of radius ``radius_mm`` and uptake ``suv`` in ``background``, blurred with ``fwhm_mm``.

    Hofheinz et al., Phys Med Biol 2010, doi:10.1088/0031-9155/55/4/013.
    """

    radius_mm: float
    suv: float
    background: float
    fwhm_mm: float

    def profile(self, distance_mm: ArrayLike) -> NDArray[np.float64]:
        """Value at a distance from the centre."""
        sigma = self.fwhm_mm / FWHM_PER_SIGMA
        r = np.asarray(distance_mm, float)
        centre = float(sphere_recovery_centre(self.radius_mm, self.fwhm_mm))
        # Near the centre the quotient below loses its digits.
        safe = np.maximum(r, 1e-4 * sigma)
        plus, minus = (self.radius_mm + safe) / sigma, (self.radius_mm - safe) / sigma
        share = (erf(plus / np.sqrt(2)) + erf(minus / np.sqrt(2))) / 2 - sigma / (safe * np.sqrt(2 * np.pi)) * (
            np.exp(-(minus**2) / 2) - np.exp(-(plus**2) / 2)
        )
        share = np.where(r <= 1e-4 * sigma, centre, share)
        return np.asarray(self.background + (self.suv - self.background) * share)

    def radius_at(self, threshold: float) -> float:
        """Radius in mm of the surface on which the value is ``threshold``; NaN where it is never reached.

        Raises
        ------
        DataError
            If the surroundings reach the threshold, so that there is no surface.
        """
        if self.background >= threshold:
            raise DataError(
                "The surroundings reach the threshold",
                field="threshold",
                found=threshold,
                expected=f"> {self.background}",
            )
        if self.profile(0.0) < threshold:
            return float("nan")
        far = self.radius_mm + 10 * self.fwhm_mm
        return float(brentq(lambda r: float(self.profile(r)) - threshold, 0.0, far, xtol=1e-10))

    def mean_within(self, radius_mm: float) -> float:
        """Mean over the concentric sphere of that radius."""
        nodes, weights = np.polynomial.legendre.leggauss(200)
        r = radius_mm * (nodes + 1) / 2
        return float(3 * np.sum(weights / 2 * self.profile(r) * (r / radius_mm) ** 2))


@dataclass(frozen=True)
class Rule:
    """How lesions are outlined.

    Attributes
    ----------
    threshold
        Voxels at or above it; None for the true outline, given as a mask.
    min_volume_ml
        Smaller ones do not count.
    """

    threshold: float | None = 4.0
    min_volume_ml: float = 3.0


def overlap_share(radius: float, other: float, distance: float) -> float:
    """Part of a sphere of radius ``other`` that lies inside a sphere of ``radius`` whose centre is ``distance`` away.

    A 1 mL sphere centred on a lesion of 8 mm (0.27 mL) has 0.27 times its uptake as its mean.
    """
    if distance >= radius + other:
        return 0.0
    if distance <= abs(radius - other):
        return min(1.0, (radius / other) ** 3)
    reach = radius + other - distance
    lens = np.pi * reach**2 * (distance**2 + 2 * distance * (radius + other) - 3 * (radius - other) ** 2)
    return float(lens / (12 * distance) / (4 / 3 * np.pi * other**3))


def blurred_lesion(patient: DigitalPatient, lesion: Shape, *, fwhm_mm: float, geometry: Geometry) -> BlurredSphere:
    """A lesion of a patient as a scanner of that resolution and voxel size shows it.

    Raises
    ------
    DataError
        If the lesion is not a sphere, or its surroundings are not uniform as far as the blur reaches.
    """
    radius = lesion.semi_axes[0]
    if lesion.cylinder or set(lesion.semi_axes) != {radius}:
        raise DataError("Closed forms hold for spheres", field=lesion.name, found=lesion.semi_axes)
    width = float(np.sqrt(fwhm_mm**2 + FWHM_PER_SIGMA**2 * np.mean(np.square(geometry.spacing)) / 12))
    # A golden spiral spreads points evenly over a sphere.
    k = np.arange(500)
    height, turn = 1 - (2 * k + 1) / len(k), np.pi * (1 + np.sqrt(5)) * k
    ring = np.sqrt(1 - height**2)
    ways = np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=-1)
    shells = np.linspace(0.0, radius + _MARGIN * width, 12)
    around = patient.suv_at(np.array(lesion.centre) + shells[:, None, None] * ways, without=lesion.name)
    if np.ptp(around) > 0:
        raise DataError(
            f"The surroundings of {lesion.name} are not uniform",
            field="centre",
            found=f"SUV {around.min():g} to {around.max():g}",
            expected=f"one value within {shells[-1]:.0f} mm",
        )
    return BlurredSphere(radius, lesion.suv, float(around.flat[0]), width)


def lesion_truth(
    patient: DigitalPatient, lesion: Shape, rule: Rule, *, fwhm_mm: float, geometry: Geometry
) -> list[Truth]:
    """What is true of one lesion; nothing where it does not count under the rule.

    Parameters
    ----------
    patient, lesion
        The lesion must lie in uniform surroundings.
    rule
        How it is outlined.
    fwhm_mm
        Resolution of the scanner.
    geometry
        Grid of the image.
    """
    sphere = blurred_lesion(patient, lesion, fwhm_mm=fwhm_mm, geometry=geometry)
    radius = sphere.radius_mm if rule.threshold is None else sphere.radius_at(rule.threshold)
    seen_ml = 4e-3 / 3 * np.pi * radius**3
    if not seen_ml >= rule.min_volume_ml:
        return []
    mean, volume = sphere.mean_within(radius), lesion.volume_ml
    # The profile falls from the centre on: the voxel nearest to it holds the maximum.
    nearest = geometry.to_mm(np.rint(geometry.to_index(lesion.centre)))
    highest = float(sphere.profile(np.linalg.norm(nearest - np.array(lesion.centre))))
    contrast = lesion.suv - sphere.background
    ideal_peak = sphere.background + contrast * overlap_share(sphere.radius_mm, PEAK_RADIUS_MM, 0.0)
    values = {
        "suv_max": (lesion.suv, highest),
        "suv_mean": (lesion.suv, mean),
        "suv_peak": (ideal_peak, sphere.mean_within(PEAK_RADIUS_MM)),
        "mtv": (volume, seen_ml),
        "tlg": (lesion.suv * volume, mean * seen_ml),
        "diameter_max": (2 * sphere.radius_mm, _voxel_diameter(lesion, radius, geometry)),
    }
    return [
        Truth(name, quantities.get(name).unit, lesion.name, float(ideal), float(seen), lesion.centre)
        for name, (ideal, seen) in values.items()
    ]


def _voxel_diameter(lesion: Shape, radius: float, geometry: Geometry) -> float:
    """Greatest distance between face centres of the voxels whose centres lie in a sphere, in mm.

    A diameter is measured on the surface of voxels: it picks the longest of many chords and exceeds the sphere's.
    """
    middle = np.rint(geometry.to_index(lesion.centre))
    reach = np.ceil(radius / np.array(geometry.spacing)).astype(int) + 1
    steps = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    centres = geometry.to_mm(middle + steps)
    inside = centres[np.linalg.norm(centres - np.array(lesion.centre), axis=1) <= radius]
    halves = geometry.affine[:3, :3].T / 2
    faces = np.concatenate([inside + sign * half for half in halves for sign in (-1, 1)])
    return float(pdist(faces[ConvexHull(faces).vertices]).max()) if len(inside) else float("nan")


def patient_truth(patient: DigitalPatient, rule: Rule, *, fwhm_mm: float, geometry: Geometry) -> list[Truth]:
    """What is true of every lesion that counts, and of the patient; the patient's rows come last."""
    found = [lesion_truth(patient, s, rule, fwhm_mm=fwhm_mm, geometry=geometry) for s in patient.lesions]
    found = [rows for rows in found if rows]
    rows = [row for group in found for row in group]
    whole = [Truth("lesion_count", "{lesions}", "all lesions", len(found), len(found))]
    for name, of, together in (
        ("tmtv", "mtv", np.sum),
        ("tlg", "tlg", np.sum),
        ("suv_max", "suv_max", np.max),
        ("suv_peak", "suv_peak", np.max),
    ):
        parts = [row for row in rows if row.quantity == of]
        if parts:
            ideal, seen = together([p.ideal for p in parts]), together([p.seen for p in parts])
            whole.append(
                replace(
                    parts[0], quantity=name, region="all lesions", ideal=float(ideal), seen=float(seen), centre=None
                )
            )
    if len(found) > 1:
        centres = np.array([group[0].centre for group in found])
        farthest = float(np.linalg.norm(centres[:, None] - centres[None], axis=-1).max())
        whole.append(Truth("dmax", "mm", "all lesions", farthest, farthest))
    return rows + whole
