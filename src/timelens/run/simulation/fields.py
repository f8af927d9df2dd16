"""The truth of virtual tumours as files: fields on their own grids, populations over time, true values.

``truth/fields/sub-001_ses-01_tumour-NAME_field-FIELD.nii.gz`` holds one field with its unit in the sidecar, placed as
the subject lies in the scans of that session. Fields: ``tumour_cells`` and ``cd8`` (cells per mm3), ``vessels`` (blood
volume fraction), ``oxygen``, ``tumour_fraction`` (part of the voxel that is tumour), ``target_<id>`` (nmol/L) and
``suv_<agent>``: what is there while the scan of that agent runs.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.formats import atomic, nifti, safety, sidecar
from timelens.knowledge import agents, quantities, targets
from timelens.run.simulation.spec import Dose, slug
from timelens.run.simulation.visits import Visit
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.tumor.agents.scene import PlacedTumour
from timelens.tumor.dynamics import POPULATIONS, Course
from timelens.tumor.scene import TumourField
from timelens.tumor.truth import truth_table

__all__ = ["TUMOUR_COLUMNS", "agent_key", "population_rows", "tumour_rows", "write_fields", "write_rows"]

#: Columns of ``truth/tumours.csv``.
TUMOUR_COLUMNS = (
    "subject", "session", "tumour", "day", "region", "quantity", "component", "target", "value", "unit", "sd", "n",
)  # fmt: skip

#: File name of a field: name in the microenvironment.
_FIELDS = {
    "tumour_fraction": "tumour_fraction",
    "tumour_cells": "tumour-cell",
    "cd8": "cd8-t-cell",
    "vessels": "vessel_volume_fraction",
    "oxygen": "oxygen",
}


def write_fields(
    folder: Path, subject: str, session: str, visit: Visit, doses: Sequence[Dose], frame: str | None
) -> list[Path]:
    """Every field of every tumour of a visit.

    Parameters
    ----------
    folder
        ``truth/fields``.
    subject, session
        For the names.
    visit
        With its tumours and scenes.
    doses
        The administrations of the specification.
    frame
        Frame of reference of the session's first scan.
    """
    written = []
    for name, placed in visit.tumours.items():
        tumour, grid = placed.tumour, _placed(placed, frame)
        about = {"Tumour": name, "Day": visit.day}
        stem = f"{subject}_{session}_tumour-{slug(name)}_field-"
        for key, source in _FIELDS.items():
            image = tumour.image(source)
            more = {"Component": source} if source not in tumour.fields else {}
            written.append(_write(folder / f"{stem}{key}.nii.gz", _on(image, grid), {**about, "Field": key, **more}))
        bound = dict.fromkeys(targets.get(t).id for d in doses if d.name in visit.scenes for t in d.targets)
        for target in bound:
            image = Image(
                tumour.target_concentration(target), unit="nmol/L", geometry=grid, quantity="target_concentration"
            )
            key = f"target_{target}"
            written.append(_write(folder / f"{stem}{key}.nii.gz", image, {**about, "Field": key, "Target": target}))
        for dose in doses:
            if dose.name in visit.scenes:
                field = next(each for each in visit.scenes[dose.name].fields if each.name == name)
                for key, values, time in _uptake(dose, field):
                    image = Image(values, unit=quantities.get("suv").unit, geometry=grid, quantity="suv")
                    said: dict[str, Any] = {
                        "Field": key,
                        "Agent": dose.agent,
                        "Administration": dose.name,
                        "TimeFromInjection": time,
                    }
                    written.append(_write(folder / f"{stem}{key}.nii.gz", image, {**about, **said}))
    return written


def agent_key(name: str) -> str:
    """Id of an agent in the knowledge base; a name that it does not know, fit for a file."""
    record = agents.find(name)
    return record.id if record is not None else slug(name)


def _uptake(dose: Dose, field: TumourField) -> list[tuple[str, NDArray[np.float32], float]]:
    """Uptake in the middle of each scan: key of the field, values, s from the injection."""
    result = []
    scans = dose.protocol.scans
    for number, scan in enumerate(scans, start=1):
        middle = scan.start_s + sum(scan.frames_s) / 2
        after = int(np.clip(np.searchsorted(field.times_s, middle), 1, max(1, field.times_s.size - 1)))
        if field.times_s.size == 1:
            values = field.suv[0]
        else:
            first, last = field.times_s[after - 1], field.times_s[after]
            share = np.float32((middle - first) / (last - first))
            values = (1 - share) * field.suv[after - 1] + share * field.suv[after]
        key = f"suv_{agent_key(dose.agent)}" + (f"-{number}" if len(scans) > 1 else "")
        result.append((key, np.asarray(values, np.float32), middle))
    return result


def _placed(placed: PlacedTumour, frame: str | None) -> Geometry:
    """The tumour's own grid where it lies in the subject."""
    own = placed.tumour.geometry
    half = (np.array(own.shape) - 1) / 2 * np.array(own.spacing)
    origin = np.array(placed.centre) - half[::-1]
    return Geometry.from_spacing(own.shape, own.spacing, origin=origin.tolist(), frame=frame)


def _on(image: Image, grid: Geometry) -> Image:
    return Image(image.numpy(), unit=image.unit, geometry=grid, quantity=image.quantity)


def _write(path: Path, image: Image, about: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nifti.write(image, path)
    side = sidecar.beside(path)
    atomic.write_file(json.dumps({**safety.read_json(side), **about}, indent=2, ensure_ascii=False) + "\n", side)
    return path


def tumour_rows(subject: str, session: str, visit: Visit, doses: Sequence[Dose]) -> list[dict[str, Any]]:
    """True values of every tumour of a visit, over the whole tumour, with the keys :data:`TUMOUR_COLUMNS`."""
    bound = tuple(dict.fromkeys(targets.get(t).id for d in doses if d.name in visit.scenes for t in d.targets))
    rows = []
    for name, placed in visit.tumours.items():
        table = truth_table(placed.tumour, targets=bound, regions=("tumour",)).data
        rows += [
            {"subject": subject, "session": session, "tumour": name, **{str(k): v for k, v in row.items()}}
            for row in table.to_dict("records")
        ]
    return rows


def population_rows(subject: str, arm: str, courses: Mapping[str, Course]) -> list[dict[str, Any]]:
    """Cells of every population on every whole day: subject, arm, tumour, day, population, cells."""
    rows = []
    for name, course in courses.items():
        days = np.unique(np.append(np.arange(0.0, course.days[-1]), course.days[-1]))
        for population in POPULATIONS[:-1]:
            for day, cells in zip(days, course.population(population, days), strict=True):
                values = (subject, arm, name, float(day), population, float(cells))
                rows.append(dict(zip(POPULATION_COLUMNS, values, strict=True)))
    return rows


#: Columns of ``truth/populations.csv``.
POPULATION_COLUMNS = ("subject", "arm", "tumour", "day", "population", "cells")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, separator: str = ",") -> None:
    """Rows as a table; what is NaN stays empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, delimiter=separator, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "" if v != v else v for k, v in row.items()} for row in rows)
