"""MR series of a visit: a small field around a tumour, with its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from timelens.errors import TimelensError
from timelens.lenses.mri.lens import MriLens
from timelens.lenses.mri.scene import field_scene
from timelens.lenses.mri.simulate import simulate
from timelens.run.simulation.spec import MrExam, slug
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Simulated, Truth
from timelens.study.image import Image
from timelens.study.region import Region
from timelens.tumor.agents.scene import PlacedTumour

__all__ = ["Examined", "examine", "noise_free_values"]

#: A series without frames lasts so long, s.
_STILL_S = 60.0
_ROLE_OF_BLOOD = "blood pool"


@dataclass(frozen=True, eq=False)
class Examined:
    """The series of an MR exam.

    Attributes
    ----------
    exam, tumour
        What was done, and at which tumour.
    series
        In the order in which they were measured.
    outlines
        Lesion and artery, on the grid of the series.
    drawn
        Whether the outline of the lesion comes with the series; that of the artery always does.
    truth
        ``ideal`` is the mean of the voxels' own values over the outline, ``seen`` what the lens finds without noise.
    """

    exam: MrExam
    tumour: str
    series: tuple[Acquisition, ...]
    outlines: Region
    drawn: bool
    truth: tuple[Truth, ...]

    @property
    def given(self) -> Region:
        """What comes with the series."""
        if self.drawn or self.outlines.labels is None:
            return self.outlines
        labels = self.outlines.labels
        blood = [n for n in self.outlines.names if self.outlines.role(n) == _ROLE_OF_BLOOD]
        kept = np.where(np.isin(labels.numpy(), blood), labels.numpy(), 0)
        names = {n: self.outlines.names[n] for n in blood}
        image = Image(kept, unit="1", geometry=labels.geometry, name=labels.name)
        return replace(self.outlines, names=names, labels=image)


def examine(
    exam: MrExam, tumour: str, placed: PlacedTumour, *, species: str, frame: str, start: datetime, drawn: bool,
    rng: np.random.Generator,
) -> Examined:  # fmt: skip
    """Measure the field around a tumour.

    Parameters
    ----------
    exam
        What is done.
    tumour, placed
        Name and microenvironment, at its place in the body.
    species
        Of the host.
    frame
        Frame of reference.
    start
        When the exam begins.
    drawn
        Whether the outline of the lesion comes with the series.
    rng
        Source of noise.
    """
    scene = field_scene(
        placed.tumour, exam.voxel_mm, centre=placed.centre, frame=frame, slices=exam.slices, name=tumour
    )
    made = simulate(replace(scene, species=species), [], exam.protocol, rng)
    known = noise_free_values(made)
    name, series, clock = slug(exam.name), [], start
    ids = {a.id: f"mr-{name}-{a.id.removeprefix('mr-')}" for a in made.acquisitions}
    for scan in made.acquisitions:
        series.append(
            replace(scan, id=ids[scan.id], description=f"{exam.name} {scan.description}", acquisition_time=clock,
                    series_time=clock)
        )  # fmt: skip
        frames = scan.image.frames
        clock += timedelta(seconds=_STILL_S if frames is None else float(frames.end[-1]))
    truth = tuple(
        replace(row, acquisition=ids[row.acquisition], centre=placed.centre,
                seen=known.get((row.acquisition, row.region, row.quantity), float("nan")))
        for row in made.truth
    )  # fmt: skip
    return Examined(exam, tumour, tuple(series), made.regions[0], drawn, truth)


def noise_free_values(made: Simulated) -> Mapping[tuple[str, str, str], float]:
    """What the lens finds by its defaults in the true outlines on series without noise.

    Parameters
    ----------
    made
        As :func:`timelens.lenses.mri.simulate.simulate` gives it.

    Returns
    -------
    mapping
        Value by id of the series, region and quantity, in the reported unit; what the lens refuses or has no row for
        is not there.
    """
    lens, waiting, found = MriLens(), list(made.noise_free), {}
    unneeded = {step: {"maps": False} for step in ("exchange", "enhancement", "perfusion")}
    options: dict[str, Any] = {**unneeded, "motion": {"mode": "none"}}
    while (match := lens.accepts(waiting)).score > 0:
        first = next(iter(match.roles.values()))
        waiting = [a for a in waiting if a.id not in {first.id, *match.also}]
        try:
            result = lens.quantify(match.roles, made.regions, lens.recipe(match, options).options())
        except TimelensError:
            continue
        found.update({(first.id, m.region, m.quantity): m.value for m in result.measurements})
    return found
