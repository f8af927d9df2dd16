"""What a cohort is, as plain values.

Two kinds of subjects: digital patients, whose ``lesions`` have a stated uptake, and virtual ones, whose ``tumours`` are
microenvironments in a host and whose uptake follows from what the agent meets there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from timelens.lenses.ct.simulate import CtProtocol
from timelens.lenses.cytometry.simulate import CytometryProtocol
from timelens.lenses.mri.protocol import MrProtocol
from timelens.lenses.pet.protocol import PetProtocol
from timelens.tumor.treatments import Treatment

__all__ = ["Arm", "Biopsy", "Dose", "Exam", "MrExam", "Spec", "TumourPlan", "slug"]


@dataclass(frozen=True)
class Dose:
    """An agent given at each visit, and the scans of it.

    Attributes
    ----------
    name
        Names its scans.
    agent, radionuclide
        As a header would bear them.
    activity_bq, activity_bq_per_g
        Activity given, or per gram of body where the former is None.
    mass_mg
        Mass of the agent; None where it is too little to matter.
    targets
        What it binds in the tumours.
    after_s
        When it is given, s after the visit began.
    threshold, min_volume_ml
        SUV at which lesions will be outlined and the least volume that counts, for a truth by that rule beside that of
        the true outline.
    protocol
        Of its scans.
    """

    name: str
    agent: str
    radionuclide: str | None
    activity_bq: float | None
    activity_bq_per_g: float
    mass_mg: float | None
    targets: tuple[str, ...]
    after_s: float
    threshold: float | None
    min_volume_ml: float
    protocol: PetProtocol


@dataclass(frozen=True)
class Exam:
    """A look at one tumour at some visits, beside the scans of administrations.

    Attributes
    ----------
    name
        Names its scans.
    tumour
        Which one; None for the arm's first.
    days
        Visits at which it is done; None for all.
    after_s
        When it begins, s after the visit did.
    """

    name: str
    tumour: str | None
    days: tuple[float, ...] | None
    after_s: float

    def is_on(self, day: float) -> bool:
        """Whether it is done at the visit of that day."""
        return self.days is None or day in self.days


@dataclass(frozen=True)
class MrExam(Exam):
    """Series of a small field around a tumour.

    Attributes
    ----------
    frame_of
        Administration in whose frame of reference the series lie, as of a scanner for both; None for a frame of their
        own at the same coordinates.
    voxel_mm
        (z, y, x).
    slices
        Number of slices around the middle of the tumour; None for as many as its surroundings hold.
    protocol
        Of its series.
    """

    frame_of: str | None
    voxel_mm: tuple[float, float, float]
    slices: int | None
    protocol: MrProtocol


@dataclass(frozen=True)
class Biopsy(Exam):
    """A section of living tumour for imaging mass cytometry, at a place drawn at random.

    Attributes
    ----------
    size_mm
        Edge of the square region.
    deepest_mm
        How far below the tumour's surface its middle may lie.
    thickness_um
        Of the section.
    protocol
        Of staining and reading.
    """

    size_mm: float
    deepest_mm: float
    thickness_um: float
    protocol: CytometryProtocol


@dataclass(frozen=True)
class TumourPlan:
    """A virtual tumour: where, of which kind, and how it goes on.

    Attributes
    ----------
    name, at, inside
        As for :meth:`timelens.tumor.host.phantom.Phantom.with_tumour`.
    architecture, diameter_mm, parameters, densities
        Name of the architecture, and what differs from it.
    scenario
        Course without treatment; None for a tumour that stays as it is.
    grid_mm
        Voxel edge; by default so that about 48 voxels cover it at its largest.
    """

    name: str
    at: tuple[float, float, float]
    inside: str | None
    architecture: str
    diameter_mm: float
    scenario: str | None
    grid_mm: float | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    densities: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """Subjects who are treated alike.

    Attributes
    ----------
    name, subjects, days
        Name, number of subjects, days of the visits.
    lesions, uptake, size
        Of digital patients: lesions, and factors on SUV and diameter at each visit.
    tumours, treatments
        Of virtual ones.
    variation
        Coefficient of variation of uptake and volume (lesions) or of volume (tumours) between subjects.
    weight_g
        Mean weight; None for that of the reference host.
    scans
        Names of the administrations, MR exams and biopsies.
    outlines
        Names of those that come with outlines drawn by hand; of a biopsy, with the cells' own.
    leave_out
        Fields that the headers lack on purpose.
    """

    name: str
    subjects: int
    days: tuple[float, ...]
    lesions: tuple[Mapping[str, Any], ...]
    uptake: tuple[float, ...]
    size: tuple[float, ...]
    variation: float
    weight_g: float | None
    tumours: tuple[TumourPlan, ...]
    treatments: tuple[Treatment, ...]
    scans: tuple[str, ...]
    outlines: tuple[str, ...]
    leave_out: tuple[str, ...]


@dataclass(frozen=True)
class Spec:
    """A cohort.

    Attributes
    ----------
    seed, format, name
        Seed, ``dicom`` or ``bids``, and name of the dataset.
    host
        ``human`` or ``mouse``; None for digital patients.
    range_mm
        Lowest and highest Z of the scans; None for the whole body.
    doses, ct, exams, arms
        Agents given at each visit, the CT beside them, MR exams and biopsies, the arms.
    """

    seed: int
    format: str
    name: str
    host: Literal["human", "mouse"] | None
    range_mm: tuple[float, float] | None
    doses: tuple[Dose, ...]
    ct: CtProtocol
    exams: tuple[Exam, ...]
    arms: tuple[Arm, ...]


def slug(name: str) -> str:
    """A name as a part of file names: letters, digits and single hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
