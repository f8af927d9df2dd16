"""The demonstration: a simulated trial written as DICOM, measured like any other study, and held against its truth."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.regions.labels import find_regions
from timelens.errors import UsageError
from timelens.formats import nifti
from timelens.run.api import Progress, StudyRun, run_study
from timelens.run.demo_spec import AGENTS, LENSES, OPTIONS, demo_spec
from timelens.run.simulation.cohort import TRUE_OUTLINE, simulate_cohort
from timelens.run.simulation.fields import agent_key, write_rows
from timelens.study.measurement import Measurement

__all__ = ["COLUMNS", "Change", "Demo", "changes", "compare", "run_demo"]

#: Columns of ``truth_table.csv``: the stable ones, then the value of the object itself, the name of the lesion, the
#: agent, the outline within which the truth holds, the cells that are meant, and the 95 % interval.
COLUMNS = (
    "quantity", "unit", "truth", "measured", "uncertainty", "error_percent", "subject", "session", "region", "lens",
    "truth_object", "lesion", "agent", "outline", "component", "lower", "upper",
)  # fmt: skip

#: A measured lesion is the true one whose centre lies within this distance of its centroid.
_REACH_MM = 12.0
#: Method of what was measured within given outlines.
_DRAWN = "given"


@dataclass(frozen=True)
class Change:
    """What a tumour did between the first and the last visit: value at first, value at last.

    Attributes
    ----------
    subject, arm, tumour
        Whose.
    cells
        True CD8 T cells per mm3, mean over the tumour.
    volume
        True volume, mL.
    uptake
        Measured SUVmean by administration, g/mL; NaN where it was not measured.
    """

    subject: str
    arm: str
    tumour: str
    cells: tuple[float, float]
    volume: tuple[float, float]
    uptake: Mapping[str, tuple[float, float]]


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
    changes
        What each tumour did between the visits.
    run
        What the runner gave.
    told
        Whether it is the trial whose outcome is told in words: another seed or more patients have another.
    """

    study: Path
    results: Path
    table: Path
    rows: list[dict[str, Any]]
    shown: list[dict[str, Any]]
    changes: list[Change]
    run: StudyRun
    told: bool


def run_demo(
    out: str | Path,
    *,
    lenses: Sequence[str] | None = None,
    seed: int = 0,
    full: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
    simulated: Callable[[int, int, str], None] | None = None,
) -> Demo:
    """Simulate a trial, run it, and hold the results against the truth.

    Parameters
    ----------
    out
        Gets ``study``, ``results`` and ``truth_table.csv``. A study of an earlier demonstration is replaced.
    lenses
        Lenses to show, of :data:`timelens.run.demo_spec.LENSES`; all by default, PET always.
    seed, full
        As for :func:`timelens.run.demo_spec.demo_spec`.
    jobs, progress
        As for :func:`timelens.run.api.run_study`.
    simulated
        Told of every subject that was simulated: done, all, name.

    Raises
    ------
    UsageError
        If a lens is not simulated, or ``out`` holds a study that is not a demonstration's.
    """
    if unknown := set(lenses or ()) - set(LENSES):
        raise UsageError(
            "The demonstration does not show this lens", field="lenses", found=sorted(unknown),
            expected=", ".join(LENSES),
        )  # fmt: skip
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
    # A small study is written sooner than other processes start.
    spec = demo_spec(seed=seed, full=full, lenses=lenses or LENSES)
    truth = simulate_cohort(spec, study, jobs=jobs if full else 1, progress=simulated).truth
    run = run_study(study, results, options=OPTIONS, jobs=jobs, progress=progress)
    rows = compare(truth, run.measurements, results)
    write_rows(table, rows, COLUMNS)
    shown = [r for r in rows if _is_shown(r)]
    return Demo(study, results, table, rows, shown, changes(study, rows), run, told=seed == 0 and not full)


def _is_shown(row: Mapping[str, Any]) -> bool:
    """SUVmean, the volume above a threshold, K^trans, and CD8 T cells of a section."""
    name = row["quantity"]
    return (
        name in ("suv_mean", "k_trans")
        or (name == "mtv" and row["outline"] != TRUE_OUTLINE)
        or (name == "cell_density_area" and row["component"] == "cd8-t-cell")
    )


def compare(
    truth: Sequence[Mapping[str, Any]], measurements: Iterable[Measurement], results: Path
) -> list[dict[str, Any]]:
    """The truth with what was measured of it.

    Parameters
    ----------
    truth
        Rows as :func:`timelens.run.simulation.cohort.simulate_cohort` gives them. Where a lesion was measured within a
        given outline, the truth within the true outline counts, elsewhere that of the stated threshold. A subject of
        whom nothing was measured has no row. Truth of MRI and cytometry is that of the given outlines.
    measurements, results
        Rows and folder of the run; lesions are recognised by name, else by the place of their labels.
    """
    listed = list(measurements)
    uptake = [row for row in truth if row.get("modality", "pet") == "pet"]
    others = [row for row in truth if row.get("modality", "pet") != "pet"]
    return [*_uptake(uptake, listed, results), *_others(others, listed)]


def _uptake(
    truth: Iterable[Mapping[str, Any]], measurements: Iterable[Measurement], results: Path
) -> list[dict[str, Any]]:
    """Rows of PET."""
    measured: dict[tuple[str, ...], Measurement] = {}
    for m in measurements:
        measured.setdefault((m.subject, m.session, agent_key(m.agent), m.region, m.quantity), m)
    scans = {(m.subject, m.session, agent_key(m.agent)): m.acquisition for m in measured.values()}
    places: dict[str, dict[str, NDArray[np.float64]]] = {}
    rows = []
    for row in truth:
        scan = (row["subject"], row["session"], row["agent"])
        if scan not in scans:
            continue
        acquisition, region = scans[scan], row["region"]
        if (*scan, region, "mtv") not in measured:
            if acquisition not in places:
                places[acquisition] = _centroids(results / row["subject"], row["session"], acquisition)
            region = _nearest(np.array([row["x_mm"], row["y_mm"], row["z_mm"]], float), places[acquisition])
        drawn = (volume := measured.get((*scan, region, "mtv"))) is not None and volume.method == _DRAWN
        if drawn != (row["outline"] == TRUE_OUTLINE):
            continue
        rows.append(_compared(row, measured.get((*scan, region, row["quantity"])), region, "pet"))
    return rows


def _others(truth: Iterable[Mapping[str, Any]], measurements: Iterable[Measurement]) -> list[dict[str, Any]]:
    """Rows of what was measured within given outlines: regions by name. What no default tells has no row."""
    measured: dict[tuple[str, ...], Measurement] = {}
    for m in measurements:
        key = (m.subject, m.session, m.modality, agent_key(m.agent), m.region, m.component, m.quantity)
        measured.setdefault(key, m)
    scans = {key[:3] for key in measured}
    rows = []
    for row in truth:
        names = ("subject", "session", "modality", "agent", "region", "component", "quantity")
        found = measured.get(tuple(str(row[n]) for n in names))
        if (row["subject"], row["session"], row["modality"]) in scans and (found or row["truth"] == row["truth"]):
            rows.append(_compared(row, found, row["region"], row["modality"]))
    return rows


def _compared(row: Mapping[str, Any], found: Measurement | None, region: str, modality: str) -> dict[str, Any]:
    value = math.nan if found is None else found.value
    lens = modality if found is None or not found.modality else found.modality
    return {
        "quantity": row["quantity"],
        "unit": row["unit"],
        "truth": row["truth"],
        "measured": value,
        "uncertainty": math.nan if found is None else found.uncertainty,
        "error_percent": 100 * (value - row["truth"]) / row["truth"] if row["truth"] else math.nan,
        "subject": row["subject"],
        "session": row["session"],
        "region": region,
        "lens": {"mr": "mri"}.get(lens, lens),
        "truth_object": row["truth_object"],
        "lesion": row["region"],
        "agent": row["agent"],
        "outline": row["outline"],
        "component": row.get("component", ""),
        "lower": math.nan if found is None else found.lower,
        "upper": math.nan if found is None else found.upper,
    }


def changes(study: Path, rows: Iterable[Mapping[str, Any]]) -> list[Change]:
    """What each tumour of a simulated study did between its first and last visit, where there were two.

    Parameters
    ----------
    study
        With ``participants.tsv`` and ``truth/tumours.csv``.
    rows
        From :func:`compare`.
    """
    arms = {r["participant_id"]: r["arm"] for r in _table(study / "participants.tsv", "\t")}
    true: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for r in _table(study / "truth" / "tumours.csv", ","):
        key = {"volume": "volume", "cell_density": r["component"]}.get(r["quantity"], "")
        true.setdefault((r["subject"], r["tumour"]), {}).setdefault(r["session"], {})[key] = float(r["value"])
    means = {
        (r["subject"], r["session"], r["lesion"], r["agent"]): float(r["measured"])
        for r in rows
        if r["quantity"] == "suv_mean"
    }
    result = []
    for (subject, tumour), visits in true.items():
        if len(visits) < 2:
            continue
        ends = (min(visits), max(visits))

        def pair(key: str, visits: Mapping[str, Any] = visits, ends: tuple[str, str] = ends) -> tuple[float, float]:
            return visits[ends[0]][key], visits[ends[1]][key]

        uptake = {}
        for name, agent in AGENTS.items():
            first, last = (means.get((subject, session, tumour, agent), math.nan) for session in ends)
            uptake[name] = (first, last)
        result.append(Change(subject, arms[subject], tumour, pair("cd8-t-cell"), pair("volume"), uptake))
    return result


def _table(path: Path, separator: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=separator))


def _centroids(subject: Path, session: str, acquisition: str) -> dict[str, NDArray[np.float64]]:
    """Centroids (X, Y, Z) in mm of the lesions of a scan by their identity over time."""
    record_file, lesions = subject / session / "session.json", subject / "lesions.csv"
    if not (record_file.is_file() and lesions.is_file()):
        return {}
    record = json.loads(record_file.read_text(encoding="utf-8"))
    identity = {int(r["number"]): r["identity"] for r in _table(lesions, ",") if r["acquisition"] == acquisition}
    found: dict[str, NDArray[np.float64]] = {}
    for file in {r["file"] for r in record["regions"] if r["acquisition"] == acquisition}:
        image = nifti.read(subject / session / file, unit="1").image
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
