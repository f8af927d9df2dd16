"""A simulated cohort as files: scans in native formats, as a hospital or a BIDS archive has them, and truth.

The specification is plain data (YAML). Everything about a subject is drawn from the seed and the subject's number, so
that the files do not depend on how many processes write them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from timelens.errors import UsageError
from timelens.formats import bids
from timelens.formats.dicom import uid, write_seg, write_series
from timelens.lenses.pet.protocol import PetProtocol, pet_protocol
from timelens.lenses.pet.simulate import simulate
from timelens.run.demo_study import organ_region
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Administration, Protocol, Simulated
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.tumor.digital_patient import DigitalPatient, Shape, lesion, standard_organs
from timelens.tumor.paint import hounsfield
from timelens.tumor.scene import Scene

__all__ = ["COLUMNS", "Cohort", "read_spec", "simulate_cohort"]

#: Columns of ``truth/truth.csv``.
COLUMNS = (
    "subject", "session", "acquisition", "region", "quantity", "unit", "truth", "truth_object", "time_s", "x_mm",
    "y_mm", "z_mm",
)  # fmt: skip

_KNOWN = {
    "": {"seed", "format", "agent", "radionuclide", "activity_bq_per_g", "range_mm", "protocol", "arms", "name"},
    "arm": {"name", "subjects", "days", "lesions", "uptake", "size", "variation", "weight_g"},
    "lesion": {"name", "centre", "diameter_mm", "suv"},
}
_FIRST = datetime(2024, 1, 15, 9, 30)
_LYING_MM = 6.0


@dataclass(frozen=True)
class Cohort:
    """What was written: the folder, its scans and the rows of its truth."""

    folder: Path
    scans: int
    truth: list[dict[str, Any]]


def read_spec(path: str | Path) -> dict[str, Any]:
    """A specification from a YAML file, checked.

    Raises
    ------
    UsageError
        If the file cannot be read, names something unknown or lacks something.
    """
    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError("The specification cannot be read", file=path, found=str(error).splitlines()[0]) from None
    try:
        return _checked(given)
    except UsageError as error:
        raise error.at(file=str(path)) from None


def simulate_cohort(spec: Mapping[str, Any] | str | Path, out: str | Path, *, jobs: int = 1) -> Cohort:
    """Write a cohort and its truth.

    Parameters
    ----------
    spec
        A YAML file or its content:

        - ``seed`` (0), ``format`` (``dicom`` or ``bids``), ``agent`` (``FDG``), ``radionuclide``,
          ``activity_bq_per_g`` (3500), ``range_mm`` (lowest and highest Z of the scan);
        - ``protocol``: parameters of :class:`timelens.lenses.pet.protocol.PetProtocol`;
        - ``arms``, a list of ``name``, ``subjects``, ``days`` (of the visits), ``lesions`` (``name``, ``centre`` (X, Y,
          Z) in mm, ``diameter_mm``, ``suv``), ``uptake`` and ``size`` (factors on SUV and diameter at each visit),
          ``variation`` (coefficient of variation of both between subjects), ``weight_g``.
    out
        Gets ``DICOM/...`` or ``sub-*/...``, ``participants.tsv`` and ``truth/truth.csv``. Must not exist or be empty.
    jobs
        Processes.

    Raises
    ------
    UsageError
        If the specification cannot be used or the folder is not empty.
    """
    content = read_spec(spec) if isinstance(spec, str | Path) else _checked(spec)
    root = Path(out)
    if root.exists() and any(root.iterdir()):
        raise UsageError("The folder is not empty", file=root, expected="a new folder", mend="choose another with -o")
    root.mkdir(parents=True, exist_ok=True)
    tasks, people, number = [], [], 0
    for arm in content["arms"]:
        for _ in range(arm["subjects"]):
            number += 1
            tasks.append((content, arm, number, str(root)))
            people.append({"participant_id": f"sub-{number:03d}", "arm": arm["name"]})
    if content["format"] == "bids":  # made once, before several processes would
        bids._describe(root, content["name"], derivative=False)
        bids._describe(root / "truth", f"{content['name']} truth", derivative=True)
    if jobs > 1:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            parts = list(pool.map(_subject, tasks))
    else:
        parts = [_subject(task) for task in tasks]
    rows = [row for part in parts for row in part]
    _table(root / "participants.tsv", people, ("participant_id", "arm"), "\t")
    _table(root / "truth" / "truth.csv", rows, COLUMNS, ",")
    scans = len({(r["subject"], r["session"], r["acquisition"]) for r in rows})
    return Cohort(root, scans, rows)


def _subject(task: tuple[dict[str, Any], dict[str, Any], int, str]) -> list[dict[str, Any]]:
    content, arm, number, root = task
    rng = np.random.default_rng([content["seed"], number])
    subject = f"sub-{number:03d}"
    plan = pet_protocol(Protocol("pet", content["protocol"]))
    spread = float(arm["variation"])
    weight = float(arm["weight_g"]) * float(np.exp(0.1 * rng.standard_normal()))
    factors = np.exp(spread * rng.standard_normal((len(arm["lesions"]), 2)) - spread**2 / 2)
    rows: list[dict[str, Any]] = []
    for visit, day in enumerate(arm["days"]):
        session = f"ses-{visit + 1:02d}"
        lesions = []
        for item, (hot, large) in zip(arm["lesions"], factors, strict=True):
            x, y, z = (float(v) for v in np.array(item["centre"], float) + rng.uniform(-2, 2, 3))
            diameter = item["diameter_mm"] * arm["size"][visit] * float(large) ** (1 / 3)
            lesions.append(lesion(item["name"], (x, y, z), diameter, item["suv"] * arm["uptake"][visit] * float(hot)))
        height = 1000 * float(np.sqrt(weight / 1e3 / 24.0))
        dx, dy, dz = (float(v) for v in rng.uniform(-_LYING_MM, _LYING_MM, 3))
        patient = DigitalPatient(standard_organs(), tuple(lesions), round(weight, -2), round(height), "F", 54.0)
        scene = Scene(patient.moved((dx, dy, dz)), day=float(day))
        start = _FIRST + timedelta(days=float(day))
        given = Administration(
            content["agent"], start, round(content["activity_bq_per_g"] * patient.weight_g, -5), content["radionuclide"]
        )
        grid = _grid(plan, content["range_mm"], uid("simulated frame", content["seed"], subject, session))
        made = simulate(scene, [given], plan, rng, geometry=grid)
        _write(Path(root), content, subject, session, scene, made)
        for truth in made.truth:
            x_mm, y_mm, z_mm = truth.centre if truth.centre is not None else ("", "", "")
            time = "" if truth.time_s != truth.time_s else truth.time_s
            values = (subject, session, truth.acquisition, truth.region, truth.quantity, truth.unit, truth.seen,
                      truth.ideal, time, x_mm, y_mm, z_mm)  # fmt: skip
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _write(root: Path, content: Mapping[str, Any], subject: str, session: str, scene: Scene, made: Simulated) -> None:
    """Scans, a CT in the same frame of reference, masks of the organs; true outlines under ``truth``."""
    first = made.acquisitions[0]
    geometry = first.image.geometry
    assert geometry is not None
    who: dict[str, Any] = {"subject": subject, "session": session}
    organs = organ_region(scene.host, geometry)
    hu = Image(
        np.rint(hounsfield(scene, geometry)).astype(np.int16), unit="[hnsf'U]", geometry=geometry, quantity="hounsfield"
    )
    ct = Acquisition(
        id="ct", modality="ct", data=hu, description="CT low dose", series_time=first.series_time,
        acquisition_time=first.acquisition_time, weight_g=first.weight_g, sex=first.sex, **who,
    )  # fmt: skip
    if content["format"] == "bids":
        several = len(made.acquisitions) > 1
        for number, scan in enumerate(made.acquisitions, start=1):
            own = {**who, "session": f"{session}s{number}"} if several else who
            bids.write(replace(scan, **own), root, name=content["name"])
        bids.write_derivative(made.regions[0], root / "truth", subject=subject, session=session, desc="truth")
        return
    place = root / "DICOM" / subject.replace("sub-", "SIM-") / session
    files: list[Path] = []
    for number, scan in enumerate(made.acquisitions, start=1):
        files = write_series(replace(scan, **who), place / scan.id.upper(), series_number=number)
    write_series(ct, place / "CT", series_number=100)
    if organs.on(geometry).any():
        write_seg(organs, place / "SEG" / "organs.dcm", files)
    if made.regions[0].on(geometry).any():
        write_seg(made.regions[0], root / "truth" / f"{subject}_{session}_lesions.dcm", files)


def _grid(plan: PetProtocol, range_mm: tuple[float, float], frame: str) -> Geometry:
    """A DICOM grid: columns run to the left, rows to the back, slices upwards."""
    low, high = range_mm
    slices, rows, columns = plan.voxel_mm
    shape = (max(1, round((high - low) / slices)), int(np.ceil(280 / rows)), int(np.ceil(400 / columns)))
    affine = np.diag([columns, rows, slices, 1.0])
    affine[:3, 3] = -columns * (shape[2] - 1) / 2, -rows * (shape[1] - 1) / 2, low + slices / 2
    return Geometry.from_lps(shape, affine, frame=frame)


def _checked(given: Any) -> dict[str, Any]:
    """The specification with its defaults."""
    content = dict(_mapping(given, "specification", _KNOWN[""]))
    arms = content.get("arms")
    if not isinstance(arms, list) or not arms:
        raise UsageError("A cohort has arms", field="arms", found=arms, expected="a list")
    low, high = (float(v) for v in content.get("range_mm", (-12.0, 820.0)))
    result = {
        "seed": int(content.get("seed", 0)),
        "format": content.get("format", "dicom"),
        "agent": str(content.get("agent", "FDG")),
        "radionuclide": content.get("radionuclide"),
        "activity_bq_per_g": float(content.get("activity_bq_per_g", 3500.0)),
        "range_mm": (low, high),
        "protocol": dict(content.get("protocol") or {}),
        "name": str(content.get("name", "simulated cohort")),
        "arms": [_arm(arm, k) for k, arm in enumerate(arms)],
    }
    if result["format"] not in ("dicom", "bids"):
        raise UsageError("No such format", field="format", found=result["format"], expected="dicom or bids")
    if not high > low:
        raise UsageError("The range is empty", field="range_mm", found=(low, high), expected="lowest and highest Z")
    pet_protocol(Protocol("pet", result["protocol"]))
    return result


def _arm(given: Any, k: int) -> dict[str, Any]:
    where = f"arms[{k}]"
    arm = dict(_mapping(given, where, _KNOWN["arm"]))
    lesions = []
    for n, item in enumerate(arm.get("lesions") or []):
        one = _mapping(item, f"{where}.lesions[{n}]", _KNOWN["lesion"])
        if missing := {"centre", "diameter_mm", "suv"} - set(one):
            raise UsageError("A lesion is not complete", field=f"{where}.lesions[{n}]", expected=sorted(missing))
        Shape("lesion", (0, 0, 0), (float(one["diameter_mm"]),) * 3, float(one["suv"]))
        lesions.append({"name": str(one.get("name", f"lesion {n + 1}")), **one})
    days = [float(d) for d in arm.get("days", [0])]
    result: dict[str, Any] = {
        "name": str(arm.get("name", f"arm {k + 1}")),
        "subjects": int(arm.get("subjects", 1)),
        "days": days,
        "lesions": lesions,
        "variation": float(arm.get("variation", 0.0)),
        "weight_g": float(arm.get("weight_g", 70e3)),
    }
    for factor in ("uptake", "size"):
        result[factor] = [float(v) for v in arm.get(factor, [1.0] * len(days))]
        if len(result[factor]) != len(days):
            raise UsageError(
                "One factor for each visit", field=f"{where}.{factor}", found=result[factor], expected=len(days)
            )
    return result


def _mapping(given: Any, where: str, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise UsageError("Names and values are needed", field=where, found=given, expected="a mapping")
    if unknown := set(given) - known:
        raise UsageError(
            "There is no such entry", field=f"{where}: {', '.join(sorted(unknown))}", expected=", ".join(sorted(known))
        )
    return given


def _table(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...], separator: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, delimiter=separator, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
