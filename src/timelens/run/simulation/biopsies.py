"""Biopsies of a visit: a section of a tumour, stained and read by imaging mass cytometry, with its truth."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from timelens.lenses.cytometry.lens import CytometryLens
from timelens.lenses.cytometry.scene import biopsy
from timelens.run.simulation.spec import Biopsy, slug
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Protocol, Truth
from timelens.study.region import Region
from timelens.tumor.agents.scene import PlacedTumour

__all__ = ["Taken", "take"]


@dataclass(frozen=True, eq=False)
class Taken:
    """A biopsy as it was read.

    Attributes
    ----------
    exam, tumour
        What was done, and of which tumour.
    region
        Counts of every channel.
    cells
        The true cells, as labels on its pixels.
    drawn
        Whether the labels come with it.
    truth
        ``ideal`` counts all cells of the section, ``seen`` those that have a pixel.
    """

    exam: Biopsy
    tumour: str
    region: Acquisition
    cells: Region
    drawn: bool
    truth: tuple[Truth, ...]


def take(exam: Biopsy, tumour: str, placed: PlacedTumour, *, drawn: bool, rng: np.random.Generator) -> Taken:
    """Cut, stain and read a section of a tumour.

    Parameters
    ----------
    exam
        What is done.
    tumour, placed
        Name and microenvironment.
    drawn
        Whether the cells' outlines come with the region.
    rng
        Source of the place, the cells, their expression and the counts.
    """
    name = slug(exam.name)
    scene = biopsy(
        placed.tumour, rng, edge_mm=exam.size_mm, thickness_mm=exam.thickness_um / 1e3, deepest_mm=exam.deepest_mm,
        name=name,
    )  # fmt: skip
    made = CytometryLens().simulate(scene, [], Protocol("cytometry", asdict(exam.protocol)), rng)
    ids = f"cytometry-{name}"
    region = replace(made.acquisitions[0], id=ids, description=exam.name)
    truth = tuple(replace(row, acquisition=ids, centre=placed.centre) for row in made.truth)
    return Taken(exam, tumour, region, made.regions[0], drawn, truth)
