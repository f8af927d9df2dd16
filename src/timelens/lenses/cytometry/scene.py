"""What lies under the mass cytometer: a section of a virtual tumour, and where on its slide it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from timelens.errors import DataError, UsageError
from timelens.study.table import Table
from timelens.tumor.microenvironment import Microenvironment
from timelens.tumor.section import Section, sample_cells

__all__ = ["TissueScene", "biopsy"]


@dataclass(frozen=True, eq=False)
class TissueScene:
    """A region of a section.

    Attributes
    ----------
    tumour
        At the day of the biopsy.
    section
        Plane, thickness and window; with a window smaller than the voxels of the tumour, only its cells are kept.
    name
        Of the region, and so of its acquisition.
    corner_um
        Where it begins on its slide, (X, Y).
    """

    tumour: Microenvironment
    section: Section
    name: str = "section"
    corner_um: tuple[float, float] = (0.0, 0.0)

    @property
    def window_mm(self) -> tuple[float, float, float, float]:
        """What is read, as (first u, last u, first v, last v)."""
        if self.section.window_mm is not None:
            return self.section.window_mm
        others = [k for k in range(3) if k != "zyx".index(self.section.axis)]
        v, u = (self.tumour.geometry.shape[k] * self.tumour.geometry.spacing[k] for k in others)
        return (0.0, u, 0.0, v)

    def cells(self, rng: np.random.Generator) -> Table:
        """The cells whose centres lie in the window, with ``z_mm`` along the way one looks.

        Raises
        ------
        DataError
            If there are none.
        """
        found = sample_cells(self.tumour, self.section, rng)
        u0, u1, v0, v1 = self.window_mm
        frame = found.data
        inside = (frame["u_mm"] >= u0) & (frame["u_mm"] < u1) & (frame["v_mm"] >= v0) & (frame["v_mm"] < v1)
        kept = frame[inside].reset_index(drop=True)
        if not len(kept):
            raise DataError("No cell lies in the window", field="window_mm", found=self.window_mm,
                            expected="a window on the tumour")  # fmt: skip
        return Table(kept.assign(z_mm=kept[f"{self.section.axis}_mm"]), found.column_units)


def biopsy(
    tumour: Microenvironment,
    rng: np.random.Generator,
    *,
    edge_mm: float = 0.5,
    thickness_mm: float = 0.004,
    deepest_mm: float = math.inf,
    name: str = "biopsy",
    corner_um: tuple[float, float] = (0.0, 0.0),
) -> TissueScene:
    """A square of living tumour at a place drawn at random.

    Parameters
    ----------
    tumour
        At the day of the biopsy.
    rng
        Source of the place.
    edge_mm
        Edge of the square, up to 3 mm.
    thickness_mm
        Of the section.
    deepest_mm
        How far below the surface of the tumour its middle may lie, to a voxel.
    name, corner_um
        As :class:`TissueScene` has them.

    Raises
    ------
    UsageError
        If there is no such square.
    DataError
        If no voxel of the tumour is alive and that near to its surface.
    """
    if not 0.02 <= edge_mm <= 3.0:
        raise UsageError("A biopsy has an edge", field="edge_mm", found=edge_mm, expected="0.02 to 3 mm")
    living = np.argwhere(tumour.masks["living tumour"] & (tumour["depth"] <= deepest_mm))
    if not len(living):
        raise DataError("The tumour has no living tissue to be cut", field="tumour", found="0 voxels",
                        expected="a living voxel that is no deeper than allowed")  # fmt: skip
    place = living[rng.integers(len(living))]
    half = edge_mm / 2
    window = []
    for k in (2, 1):
        size, count = tumour.geometry.spacing[k], tumour.geometry.shape[k]
        middle = (float(place[k]) + rng.random()) * size
        middle = min(max(middle, half), count * size - half)
        window += [middle - half, middle + half]
    section = Section(index=int(place[0]), thickness_mm=thickness_mm, window_mm=(*window,))  # type: ignore[arg-type]
    return TissueScene(tumour, section, name, corner_um)
