"""A simulated cohort as files: scans in native formats, as a hospital or a BIDS archive has them, and truth.

Everything about a subject is drawn from the seed and the subject's number, so that the files do not depend on how many
processes write them.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from timelens.engines.regions.labels import find_regions
from timelens.engines.regions.segment import fixed_threshold
from timelens.errors import TimelensError, UsageError
from timelens.formats import bids
from timelens.formats.dicom import uid
from timelens.knowledge import quantities
from timelens.lenses.ct.simulate import simulate as simulate_ct
from timelens.lenses.pet.lesions import lesion_table
from timelens.lenses.pet.physics import activity_at
from timelens.lenses.pet.simulate import SEEN_COLUMNS, simulate
from timelens.run.simulation.biopsies import Taken, take
from timelens.run.simulation.exam_files import write_biopsies, write_mr_bids, write_mr_dicom
from timelens.run.simulation.fields import (
    POPULATION_COLUMNS,
    TUMOUR_COLUMNS,
    agent_key,
    population_rows,
    tumour_rows,
    write_fields,
    write_rows,
)
from timelens.run.simulation.files import Scanned, organ_region, write_bids, write_dicom
from timelens.run.simulation.magnetic import Examined, examine
from timelens.run.simulation.parse import read_spec, spec_of
from timelens.run.simulation.spec import Arm, Biopsy, Dose, MrExam, Spec, slug
from timelens.run.simulation.visits import Visit, digital_subject, named, virtual_subject
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Administration, Simulated, Truth
from timelens.study.geometry import Geometry
from timelens.tumor.paint import extent
from timelens.tumor.scene import Scene

__all__ = ["COLUMNS", "TRUE_OUTLINE", "Cohort", "Progress", "simulate_cohort"]

#: Told of every subject that was written: done, all, name.
Progress = Callable[[int, int, str], None]

#: Columns of ``truth/truth.csv``.
COLUMNS = (
    "subject", "session", "acquisition", "region", "quantity", "unit", "truth", "truth_object", "time_s", "x_mm",
    "y_mm", "z_mm", "agent", "outline", "component", "modality",
)  # fmt: skip
#: The outline of a row of truth that no rule has drawn.
TRUE_OUTLINE = "true outline"

_FIRST = datetime(2024, 1, 15, 9, 30)
#: Air around the body in the field of view, mm.
_AROUND_MM = {"human": 24.0, "mouse": 4.0}


@dataclass(frozen=True)
class Cohort:
    """What was written: the folder, its scans and the rows of its truth."""

    folder: Path
    scans: int
    truth: list[dict[str, Any]]


@dataclass(frozen=True)
class _Task:
    content: Mapping[str, Any]
    arm: int
    number: int
    root: str


@dataclass(frozen=True)
class _Done:
    truth: list[dict[str, Any]]
    tumours: list[dict[str, Any]]
    populations: list[dict[str, Any]]


def simulate_cohort(
    spec: Mapping[str, Any] | str | Path, out: str | Path, *, jobs: int = 1, progress: Progress | None = None
) -> Cohort:
    """Write a cohort and its truth.

    Parameters
    ----------
    spec
        A YAML file or its content:

        - ``seed`` (0), ``format`` (``dicom`` or ``bids``), ``name``, ``range_mm`` (lowest and highest Z of the scans);
        - what is given at each visit: ``agent`` (``FDG``), ``radionuclide``, ``activity_bq_per_g`` (3500) and
          ``protocol`` (parameters of :class:`timelens.lenses.pet.protocol.PetProtocol`), or several of these as
          ``administrations``, each with ``name``, ``activity_bq``, ``mass_mg``, ``targets``, ``after_s`` (since the
          visit began), ``threshold`` and ``min_volume_ml`` (SUV and least volume by which lesions will be outlined:
          a truth by that rule too);
        - ``ct``: parameters of :class:`timelens.lenses.ct.simulate.CtProtocol`;
        - ``host``: ``human`` or ``mouse``, for virtual tumours;
        - ``arms``, a list of ``name``, ``subjects``, ``days`` (of the visits), ``weight_g``, ``variation`` (coefficient
          of variation between subjects), ``scans`` (names of administrations; all), ``outlines`` (those whose scans
          come with outlines drawn by hand), ``leave_out`` (header fields that are missing on purpose), and either

          - ``lesions`` (``name``, ``centre`` (X, Y, Z) in mm, ``diameter_mm``, ``suv``) with ``uptake`` and ``size``
            (factors on SUV and diameter at each visit), or
          - ``tumours`` (``name``, ``at`` and ``inside``, ``architecture``, ``diameter_mm``, ``scenario``, ``grid_mm``,
            ``parameters``, ``densities``) with ``treatments`` (``kind``, ``day``, ``cycles``, ``every_days``, and the
            parameters of the kind).
    out
        Gets ``DICOM/...`` or ``sub-*/...``, ``participants.tsv`` and ``truth``: ``truth.csv``, outlines, and of virtual
        tumours ``fields/``, ``tumours.csv`` and ``populations.csv``. Must not exist or be empty.
    jobs
        Processes.
    progress
        Called with subjects done, subjects in all, and the name of the one that was written.

    Raises
    ------
    UsageError
        If the specification cannot be used or the folder is not empty.
    """
    content = read_spec(spec) if isinstance(spec, str | Path) else dict(spec) if isinstance(spec, Mapping) else spec
    plan = spec_of(content)
    root = Path(out)
    if root.exists() and any(root.iterdir()):
        raise UsageError("The folder is not empty", file=root, expected="a new folder", mend="choose another with -o")
    root.mkdir(parents=True, exist_ok=True)
    tasks: list[_Task] = []
    people: list[dict[str, Any]] = []
    for k, arm in enumerate(plan.arms):
        for _ in range(arm.subjects):
            tasks.append(_Task(content, k, len(tasks) + 1, str(root)))
            people.append({"participant_id": f"sub-{len(tasks):03d}", "arm": arm.name})
    # Made once, before several processes would. Results and truth are no scans: a run leaves them alone.
    (root / "truth").mkdir()
    bids.describe(root / "truth", f"{plan.name} truth", derivative=True)
    if plan.format == "bids":
        bids.describe(root, plan.name)
        (root / "derivatives" / "masks").mkdir(parents=True)
        bids.describe(root / "derivatives" / "masks", f"{plan.name} masks", derivative=True)
    try:
        if jobs > 1 and len(tasks) > 1:
            with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=get_context("spawn")) as pool:
                parts = _followed(pool.map(_subject, tasks), people, progress)
        else:
            parts = _followed(map(_subject, tasks), people, progress)
    except TimelensError:  # the folder was empty before: once the specification is mended, it can be used again
        shutil.rmtree(root)
        raise
    rows = [row for part in parts for row in part.truth]
    write_rows(root / "participants.tsv", people, ("participant_id", "arm"), separator="\t")
    write_rows(root / "truth" / "truth.csv", rows, COLUMNS)
    for name, columns in (("tumours", TUMOUR_COLUMNS), ("populations", POPULATION_COLUMNS)):
        if found := [row for part in parts for row in getattr(part, name)]:
            write_rows(root / "truth" / f"{name}.csv", found, columns)
    (root / "truth" / "cohort.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    scans = len({(r["subject"], r["session"], r["acquisition"]) for r in rows})
    return Cohort(root, scans, rows)


def _followed(parts: Iterable[_Done], people: Sequence[Mapping[str, Any]], progress: Progress | None) -> list[_Done]:
    done = []
    for part, person in zip(parts, people, strict=True):
        done.append(part)
        if progress is not None:
            progress(len(done), len(people), str(person["participant_id"]))
    return done


def _subject(task: _Task) -> _Done:
    spec = spec_of(task.content)
    arm, root = spec.arms[task.arm], Path(task.root)
    rng = np.random.default_rng([spec.seed, task.number])
    subject = f"sub-{task.number:03d}"
    one = (virtual_subject if spec.host is not None else digital_subject)(spec, arm, rng)
    alone = len(spec.doses) == 1
    done = _Done([], [], population_rows(subject, arm.name, one.courses))
    for visit in one.visits:
        session = f"ses-{visit.number:02d}"
        start = _FIRST + timedelta(days=visit.day)
        parts = []
        for dose in spec.doses:
            if dose.name not in visit.scenes:
                continue
            part, made = _scan(spec, arm, dose, visit, subject, session, start, rng)
            parts.append(part)
            done.truth.extend(_rows(subject, session, part, made, visit.scenes[dose.name]))
        if spec.format == "bids":
            write_bids(root, subject, session, spec.name, parts, arm.leave_out, alone=alone)
        else:
            write_dicom(root, subject, session, start, parts, arm.leave_out, alone=alone)
        done.truth.extend(_look(spec, arm, visit, task.number, root, subject, session, start))
        if visit.tumours:
            frame = _frame(spec, subject, session, next((p.dose.name for p in parts), ""))
            write_fields(root / "truth" / "fields", subject, session, visit, spec.doses, frame)
            done.tumours.extend(tumour_rows(subject, session, visit, spec.doses))
    return done


def _look(
    spec: Spec, arm: Arm, visit: Visit, number: int, root: Path, subject: str, session: str, start: datetime
) -> list[dict[str, Any]]:
    """MR exams and biopsies of a visit; rows of their truth. Each draws from a source of its own."""
    examined: list[Examined] = []
    taken: list[Taken] = []
    rows: list[dict[str, Any]] = []
    for exam in spec.exams:
        if exam.name not in arm.scans or not exam.is_on(visit.day):
            continue
        name = exam.tumour or arm.tumours[0].name
        placed, drawn = visit.tumours[name], exam.name in arm.outlines
        rng = np.random.default_rng([spec.seed, number, visit.number, zlib.crc32(exam.name.encode())])
        try:
            if isinstance(exam, MrExam):
                frame = _frame(spec, subject, session, exam.frame_of or exam.name)
                found = examine(
                    exam, name, placed, species=spec.host or "human", frame=frame,
                    start=start + timedelta(seconds=exam.after_s), drawn=drawn, rng=rng,
                )  # fmt: skip
                examined.append(found)
                agents = {a.id: agent_key(a.agent or "") for a in found.series}
                rows += [_row(subject, session, t, agents[t.acquisition], "mr") for t in found.truth]
            elif isinstance(exam, Biopsy):
                cut = take(exam, name, placed, drawn=drawn, rng=rng)
                taken.append(cut)
                rows += [_row(subject, session, t, "", "cytometry") for t in cut.truth]
        except TimelensError as error:
            raise named(error, f"arm {arm.name}, {exam.name}") from None
    if spec.format == "bids":
        write_mr_bids(root, subject, session, examined, arm.leave_out)
    else:
        write_mr_dicom(root, subject, session, start, examined, arm.leave_out)
    write_biopsies(root, subject, session, taken, dicom=spec.format != "bids")
    return rows


def _frame(spec: Spec, subject: str, session: str, name: str) -> str:
    """Frame of reference of an administration's scans, or of an MR exam."""
    alone = len(spec.doses) == 1 and name == spec.doses[0].name
    return uid("simulated frame", spec.seed, subject, session, *(() if alone else (name,)))


def _scan(
    spec: Spec,
    arm: Arm,
    dose: Dose,
    visit: Visit,
    subject: str,
    session: str,
    start: datetime,
    rng: np.random.Generator,
) -> tuple[Scanned, Simulated]:
    """PET and CT of one administration, in a frame of reference of their own."""
    scene = visit.scenes[dose.name]
    alone = len(spec.doses) == 1
    frame = _frame(spec, subject, session, dose.name)
    activity = dose.activity_bq or round(
        dose.activity_bq_per_g * scene.host.weight_g, -5 if spec.host != "mouse" else -3
    )
    given = Administration(
        dose.agent, start + timedelta(seconds=dose.after_s), activity, dose.radionuclide, dose.mass_mg
    )
    grid = _grid(spec, scene, dose.protocol.voxel_mm, frame)
    made = simulate(scene, [given], dose.protocol, rng, geometry=grid)
    if not alone:
        made = _renamed(made, slug(dose.name))
    ct = simulate_ct(scene, [], spec.ct, rng, geometry=_grid(spec, scene, (spec.ct.voxel_mm,) * 3, frame))
    first = made.acquisitions[0]
    attenuation = replace(
        ct.acquisitions[0],
        id="ct" if alone else f"ct-{slug(dose.name)}",
        series_time=first.series_time,
        acquisition_time=first.acquisition_time,
    )
    scanned = Scanned(
        dose,
        made.acquisitions,
        attenuation,
        organ_region(scene.host, grid, species=scene.species),
        made.regions[0],
        dose.name in arm.outlines,
    )
    return scanned, made


def _renamed(made: Simulated, name: str) -> Simulated:
    """Acquisitions ``pet``, ``pet-2`` as ``pet-FDG``, ``pet-FDG-2``."""

    def of(known: str) -> str:
        return known.replace("pet", f"pet-{name}", 1)

    scans, clean = (
        tuple(replace(a, id=of(a.id), description=f"{a.description} {a.agent}") for a in each)
        for each in (made.acquisitions, made.noise_free)
    )
    truth = tuple(replace(row, acquisition=of(row.acquisition)) for row in made.truth)
    return replace(made, acquisitions=scans, noise_free=clean, truth=truth)


def _grid(spec: Spec, scene: Scene, voxel_mm: tuple[float, float, float], frame: str) -> Geometry:
    """A DICOM grid around the body: columns run to the left, rows to the back, slices upwards."""
    margin = _AROUND_MM[spec.host or "human"]
    low, high = (np.array(edge) for edge in extent(scene))
    low, high = low - margin, high + margin
    if spec.range_mm is not None:
        if spec.range_mm[1] <= low[2] or spec.range_mm[0] >= high[2]:
            raise UsageError(
                "The range lies beside the body", field="range_mm", found=spec.range_mm,
                expected=f"some of {low[2]:.0f} to {high[2]:.0f} mm",
            )  # fmt: skip
        low[2], high[2] = spec.range_mm
    slices, rows, columns = voxel_mm
    length = high - low
    shape = (
        max(1, round(length[2] / slices)),
        int(np.ceil(length[1] / rows)),
        int(np.ceil(length[0] / columns)),
    )
    affine = np.diag([columns, rows, slices, 1.0])
    affine[:3, 3] = -high[0] + columns / 2, -high[1] + rows / 2, low[2] + slices / 2
    return Geometry.from_lps(shape, affine, frame=frame)


def _rows(subject: str, session: str, part: Scanned, made: Simulated, scene: Scene) -> list[dict[str, Any]]:
    """Rows of truth: in the true outline, and in the outline at the threshold where one is stated."""
    rows = [(truth, TRUE_OUTLINE) for truth in made.truth]
    if part.dose.threshold is not None:
        for clean in made.noise_free:
            if clean.image.frames is None:
                rows += [(t, _words(part.dose)) for t in _above(clean, part, made)]
    return [_row(subject, session, t, agent_key(part.dose.agent), "pet", outline) for t, outline in rows]


def _row(
    subject: str, session: str, truth: Truth, agent: str, modality: str, outline: str = TRUE_OUTLINE
) -> dict[str, Any]:
    x, y, z = truth.centre if truth.centre is not None else ("", "", "")
    time = "" if truth.time_s != truth.time_s else truth.time_s
    values = (subject, session, truth.acquisition, truth.region, truth.quantity, truth.unit, truth.seen,
              truth.ideal, time, x, y, z, agent, outline, truth.component, modality)  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _words(dose: Dose) -> str:
    least = f", at least {dose.min_volume_ml:g} mL" if dose.min_volume_ml else ""
    return f"SUV >= {dose.threshold:g}{least}"


def _above(clean: Acquisition, part: Scanned, made: Simulated) -> list[Truth]:
    """The truth of lesions as the noise-free image shows them at or above the threshold.

    Each is the connected region that holds the lesion's own highest voxel; a lesion that does not reach the threshold
    or the least volume has no row.
    """
    image, geometry = clean.image, clean.image.geometry
    assert geometry is not None
    assert part.outlines.labels is not None
    assert part.dose.threshold is not None
    assert clean.administered_activity_bq is not None
    assert clean.weight_g is not None
    assert clean.half_life_s is not None
    assert clean.administered_time is not None
    assert image.decay_reference is not None
    elapsed = (image.decay_reference - clean.administered_time).total_seconds()
    per_suv = activity_at(
        1.0, injected_bq=clean.administered_activity_bq, weight_g=clean.weight_g, elapsed_s=elapsed,
        half_life_s=clean.half_life_s,
    )  # fmt: skip
    suv = image.numpy() / np.float32(per_suv)
    labels: NDArray[Any] = part.outlines.labels.numpy()
    found = fixed_threshold(
        suv,
        geometry.spacing,
        part.dose.threshold,
        min_volume_ml=part.dose.min_volume_ml,
        exclude=_organs(part),
    ).labels
    table = lesion_table(suv, find_regions(found), geometry.spacing)
    rows = []
    for number, name in part.outlines.names.items():
        inside = labels == number
        if not inside.any():
            continue
        highest = np.unravel_index(int(np.argmax(np.where(inside, suv, -np.inf))), suv.shape)
        if not (here := int(found[highest])):
            continue
        for truth in made.truth:
            if truth.region == name and truth.acquisition == clean.id and truth.quantity in SEEN_COLUMNS:
                value = float(table[SEEN_COLUMNS[truth.quantity]][here - 1])
                rows.append(replace(truth, unit=quantities.get(truth.quantity).unit, seen=value))
    return rows


def _organs(part: Scanned) -> NDArray[np.bool_]:
    """Organs that a rule leaves out."""
    assert part.organs.labels is not None
    return np.asarray(part.organs.labels.numpy() > 0)
