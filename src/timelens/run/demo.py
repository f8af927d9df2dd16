"""The demonstration: digital patients written as DICOM, measured like any other study, and held against their truth."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.regions.labels import find_regions
from timelens.errors import UsageError
from timelens.formats import nifti
from timelens.run.api import Progress, StudyRun, run_study
from timelens.run.demo_study import write_demo_study
from timelens.study.measurement import Measurement

__all__ = ["COLUMNS", "Demo", "compare", "run_demo", "write_demo_study"]

#: Columns of ``truth_table.csv``: the stable ones, then the value of the object itself and the name of the lesion.
COLUMNS = (
    "quantity", "unit", "truth", "measured", "uncertainty", "error_percent", "subject", "session", "region", "lens",
    "truth_object", "lesion",
)  # fmt: skip

#: A measured lesion is the true one whose centre lies within this distance of its centroid.
_REACH_MM = 12.0
#: What is shown of the table: subject, session, lesion or region, quantities.
_SHOWN = (
    ("sub-001", "ses-01", "neck node", ("suv_max", "suv_mean", "suv_peak", "mtv", "tlg")),
    ("sub-001", "ses-01", "liver", ("suv_mean",)),
    ("sub-001", "ses-01", "all lesions", ("dmax", "tmtv")),
    ("sub-001", "ses-02", "all lesions", ("tmtv",)),
    ("sub-002", "ses-01", "all lesions", ("tmtv",)),
    ("sub-002", "ses-02", "all lesions", ("tmtv",)),
    ("sub-003", "ses-01", "all lesions", ("tmtv",)),
    ("sub-003", "ses-02", "all lesions", ("lesion_count", "tmtv")),
)


@dataclass(frozen=True)
class Demo:
    """What the demonstration left.

    Attributes
    ----------
    study, results, table
        The simulated study, the results of the run, and ``truth_table.csv``.
    rows
        The whole table, with the keys :data:`COLUMNS`; NaN where something was not measured.
    shown
        Some of its rows, for a first look.
    run
        What the runner gave.
    """

    study: Path
    results: Path
    table: Path
    rows: list[dict[str, Any]]
    shown: list[dict[str, Any]]
    run: StudyRun


def run_demo(
    out: str | Path,
    *,
    lenses: Sequence[str] | None = None,
    seed: int = 0,
    full: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Demo:
    """Write a study of digital patients, run it, and hold the results against the truth.

    Parameters
    ----------
    out
        Gets ``study``, ``results`` and ``truth_table.csv``. A study of an earlier demonstration is replaced.
    lenses
        Lenses to show; only ``pet`` is simulated so far.
    seed, full
        As for :func:`timelens.run.demo_study.write_demo_study`.
    jobs, progress
        As for :func:`timelens.run.api.run_study`.

    Raises
    ------
    UsageError
        If a lens is not simulated, or ``out`` holds a study that is not a demonstration's.
    """
    if unknown := set(lenses or ()) - {"pet"}:
        raise UsageError(
            "The demonstration does not show this lens", field="lenses", found=sorted(unknown), expected="pet"
        )
    place = Path(out)
    study, results, table = place / "study", place / "results", place / "truth_table.csv"
    if study.exists():
        if not (study / "truth" / "truth.csv").is_file():
            raise UsageError(
                "The folder holds a study that no demonstration wrote",
                file=study,
                found="a folder without truth/truth.csv",
                expected="an empty or new folder",
                mend="choose another folder with -o",
            )
        shutil.rmtree(study)
    truth = write_demo_study(study, seed=seed, full=full)
    run = run_study(study, results, jobs=jobs, progress=progress)
    rows = compare(truth, run.measurements, results)
    with open(table, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "" if v != v else v for k, v in row.items()} for row in rows)
    return Demo(study, results, table, rows, _selection(rows), run)


def compare(
    truth: Iterable[Mapping[str, Any]], measurements: Iterable[Measurement], results: Path
) -> list[dict[str, Any]]:
    """The truth with what was measured of it.

    Parameters
    ----------
    truth
        Rows as :func:`timelens.run.demo_study.write_demo_study` gives them.
    measurements, results
        Rows and folder of the run; lesions are recognised by the place of their labels.
    """
    measured: dict[tuple[str, str, str, str], Measurement] = {}
    for m in measurements:
        measured.setdefault((m.subject, m.session, m.region, m.quantity), m)
    places: dict[tuple[str, str], dict[str, NDArray[np.float64]]] = {}
    rows = []
    for row in truth:
        subject, session, region = row["subject"], row["session"], row["region"]
        lesion = row["x_mm"] != ""
        if lesion:
            if (subject, session) not in places:
                places[subject, session] = _centroids(results / subject, session)
            centre = np.array([row["x_mm"], row["y_mm"], row["z_mm"]], float)
            region = _nearest(centre, places[subject, session])
        found = measured.get((subject, session, region, row["quantity"]))
        value = math.nan if found is None else found.value
        rows.append(
            {
                "quantity": row["quantity"],
                "unit": row["unit"],
                "truth": row["truth"],
                "measured": value,
                "uncertainty": math.nan if found is None else found.uncertainty,
                "error_percent": 100 * (value - row["truth"]) / row["truth"] if row["truth"] else math.nan,
                "subject": subject,
                "session": session,
                "region": region,
                "lens": "pet" if found is None else found.modality or "pet",
                "truth_object": row["truth_object"],
                "lesion": row["region"] if lesion else "",
            }
        )
    return rows


def _centroids(subject: Path, session: str) -> dict[str, NDArray[np.float64]]:
    """Centroids (X, Y, Z) in mm of a session's lesions by their identity over time."""
    record_file, lesions = subject / session / "session.json", subject / "lesions.csv"
    if not (record_file.is_file() and lesions.is_file()):
        return {}
    record = json.loads(record_file.read_text(encoding="utf-8"))
    with open(lesions, encoding="utf-8", newline="") as stream:
        identity = {int(r["number"]): r["identity"] for r in csv.DictReader(stream) if r["session"] == session}
    found: dict[str, NDArray[np.float64]] = {}
    for output in record["outputs"]:
        if not output.endswith("_desc-lesions_dseg.nii.gz"):
            continue
        image = nifti.read(subject / session / output, unit="1").image
        assert image.geometry is not None
        labels = image.numpy()
        for number in find_regions(labels).labels:
            index = np.argwhere(labels == number).mean(axis=0)
            found[identity[int(number)]] = image.geometry.to_mm(index)
    return found


def _nearest(centre: NDArray[np.float64], places: Mapping[str, NDArray[np.float64]]) -> str:
    """Identity of the lesion at a place; empty where there is none."""
    distance = {name: float(np.linalg.norm(place - centre)) for name, place in places.items()}
    best = min(distance, key=lambda name: distance[name], default="")
    return best if best and distance[best] <= _REACH_MM else ""


def _selection(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    by_key = {(r["subject"], r["session"], r["lesion"] or r["region"], r["quantity"]): r for r in rows}
    keys = [(subject, session, name, q) for subject, session, name, quantities in _SHOWN for q in quantities]
    return [by_key[key] for key in keys if key in by_key]
