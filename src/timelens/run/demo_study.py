"""A small study of digital patients as a hospital would export it: DICOM folders, and the truth beside them.

Three patients are scanned twice. One responds, one stays stable and comes with outlines drawn by hand, one has a new
lesion. A fourth has one scan in which the body weight was left out on purpose, to show what happens then.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.formats.dicom import uid, write_rtstruct, write_seg, write_series
from timelens.lenses.pet.protocol import Calibration, PetProtocol, Scan
from timelens.lenses.pet.simulate import simulate
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Administration, Truth
from timelens.study.geometry import Geometry
from timelens.study.region import Region
from timelens.tumor.digital_patient import DigitalPatient, Point, Shape, lesion, standard_organs
from timelens.tumor.expected import Rule, patient_truth
from timelens.tumor.paint import ct_image, label_region
from timelens.tumor.scene import Scene

__all__ = ["COLUMNS", "FWHM_MM", "write_demo_study"]

#: Resolution of the simulated scanner, and the width of the noise's correlation, in mm.
FWHM_MM = 6.0
#: What a uniform cylinder scanned for 15 min would show; the liver of a patient then shows about 4 %.
NOISE = Calibration(cov=0.023, duration_s=900.0)
#: Columns of ``truth/truth.csv``.
COLUMNS = (
    "subject", "session", "region", "quantity", "unit", "truth", "truth_object", "rule", "x_mm", "y_mm", "z_mm",
)  # fmt: skip

_VISITS = (datetime(2024, 1, 15, 10, 30), datetime(2024, 3, 11, 10, 30))
#: Nobody lies twice in the same place: offset (X, Y, Z) in mm.
_LYING: tuple[Point, ...] = ((0.0, 0.0, 0.0), (5.0, -7.0, 9.0))
_UPTAKE = timedelta(minutes=60)
_SCAN_S = 900.0
#: Exclusion masks are drawn this far beyond the organ, as blur carries its uptake outwards.
_EXCLUDE_MARGIN_MM = 8.0


@dataclass(frozen=True)
class _Plan:
    """One patient: who, and the lesions at each visit as (name, centre, diameter in mm, SUV)."""

    subject: str
    arm: str
    width: float
    weight_g: float
    height_mm: float
    sex: str
    age_years: float
    visits: tuple[tuple[tuple[str, Point, float, float], ...], ...]
    drawn: bool = False
    weighed: bool = True
    range_mm: tuple[float, float] = (-12.0, 820.0)


_NECK, _MESENTERY, _LUNG = (46.0, 8.0, 594.0), (24.0, 36.0, 178.0), (82.0, -2.0, 490.0)
_COLLARBONE, _GROIN, _LIVER = (-46.0, 6.0, 590.0), (-80.0, 30.0, 22.0), (105.0, 12.0, 318.0)
_PLANS = (
    _Plan(
        "sub-001", "immunotherapy", 1.0, 64e3, 1650.0, "F", 54.0,
        (
            (("neck node", _NECK, 28, 11.0), ("mesenteric mass", _MESENTERY, 36, 9.0), ("lung nodule", _LUNG, 26, 8.0)),
            (("neck node", _NECK, 22, 7.0), ("mesenteric mass", _MESENTERY, 26, 6.5), ("lung nodule", _LUNG, 12, 4.5)),
        ),
    ),
    _Plan(
        "sub-002", "chemotherapy", 1.07, 83e3, 1780.0, "M", 61.0,
        (
            (("liver metastasis", _LIVER, 32, 9.5), ("groin node", _GROIN, 22, 7.5)),
            (("liver metastasis", _LIVER, 31, 9.2), ("groin node", _GROIN, 23, 7.8)),
        ),
        drawn=True,
    ),
    _Plan(
        "sub-003", "immunotherapy", 0.96, 58e3, 1620.0, "F", 47.0,
        (
            (("collarbone node", _COLLARBONE, 26, 10.0), ("groin node", _GROIN, 24, 8.5)),
            (
                ("collarbone node", _COLLARBONE, 29, 11.5),
                ("groin node", _GROIN, 26, 9.0),
                ("new lung nodule", _LUNG, 28, 12.0),
            ),
        ),
    ),
    _Plan(
        "sub-004", "chemotherapy", 1.0, 70e3, 1700.0, "M", 66.0,
        ((("neck node", _NECK, 24, 8.0),),),
        weighed=False,
        range_mm=(480.0, 640.0),
    ),
)  # fmt: skip


def write_demo_study(folder: str | Path, *, seed: int = 0, full: bool = False) -> list[dict[str, Any]]:
    """Write the study and its truth.

    Parameters
    ----------
    folder
        Gets ``DICOM/<patient>/<date>/<series>/*.dcm``, ``participants.tsv`` and ``truth/truth.csv``.
    seed
        Moves the lesions between the voxels and draws the noise; the same seed gives the same bytes.
    full
        Finer voxels, as of a recent scanner: PET 2.5 mm in place of 4 mm, CT 1.5 mm in place of 3 mm.

    Returns
    -------
    list of dict
        The truth, one row per quantity, with the keys :data:`COLUMNS`. ``truth`` is what an ideal scanner of this
        resolution and rule is bound to show without noise, in closed form; ``truth_object`` belongs to the object.
    """
    root = Path(folder)
    rows: list[dict[str, Any]] = []
    for number, plan in enumerate(_PLANS):
        shifts = np.random.default_rng([seed, number]).uniform(-2, 2, (8, 3))
        for visit, lesions in enumerate(plan.visits):
            patient = _patient(plan, lesions, shifts).moved(_LYING[visit])
            rng = np.random.default_rng([seed, number, visit])
            rows += _write_session(root / "DICOM", plan, visit, patient, rng, seed=seed, full=full)
    _write_table(root / "participants.tsv", ({"participant_id": p.subject, "arm": p.arm} for p in _PLANS), "\t")
    _write_table(root / "truth" / "truth.csv", rows, ",")
    (root / "truth" / "README.txt").write_text(_README, encoding="utf-8")
    return rows


_README = f"""\
What is true of the digital patients in the folder DICOM.

truth.csv
  truth         what an ideal scanner ({FWHM_MM:g} mm resolution, these voxels, no noise) is bound to show under the
                stated rule, from the closed form of a blurred sphere: no voxel of the images was used
  truth_object  the value of the object itself: its uptake, its volume
  x_mm ...      centre of the lesion in RAS+ millimetres

sub-004 was scanned without a body weight in the header, on purpose: no SUV can be had from it.
"""


def _patient(
    plan: _Plan, lesions: Iterable[tuple[str, Point, float, float]], shifts: NDArray[np.float64]
) -> DigitalPatient:
    """The body with its lesions, which move with its width and by a part of a voxel."""
    placed = []
    for (name, (x, y, z), diameter, suv), shift in zip(lesions, shifts, strict=False):
        centre = np.array([plan.width * x, plan.width * y, z]) + shift
        placed.append(lesion(name, (float(centre[0]), float(centre[1]), float(centre[2])), diameter, suv))
    return DigitalPatient(
        standard_organs(width=plan.width), tuple(placed), plan.weight_g, plan.height_mm, plan.sex, plan.age_years
    )


def _grid(plan: _Plan, slices: float, in_plane: float, frame: str) -> Geometry:
    """A DICOM grid: columns run to the left, rows to the back, slices upwards."""
    low, high = plan.range_mm
    half = 200.0 * max(plan.width, 1.0)
    size = int(np.ceil(2 * half / in_plane))
    affine = np.diag([in_plane, in_plane, slices, 1.0])
    affine[:3, 3] = -in_plane * (size - 1) / 2, -in_plane * (size - 1) / 2, low + slices / 2
    return Geometry.from_lps((round((high - low) / slices), size, size), affine, frame=frame)


def _write_session(
    root: Path, plan: _Plan, visit: int, patient: DigitalPatient, rng: np.random.Generator, *, seed: int, full: bool
) -> list[dict[str, Any]]:
    session = f"ses-{visit + 1:02d}"
    frame = uid("demo frame", seed, plan.subject, session)
    edge = 2.5 if full else 4.0
    grid = _grid(plan, edge, edge, frame)
    start = _VISITS[visit]
    known: dict[str, Any] = {
        "subject": plan.subject,
        "session": session,
        "series_time": start,
        "acquisition_time": start,
        "weight_g": plan.weight_g,
        "height_mm": plan.height_mm,
        "sex": plan.sex,
        "age_years": plan.age_years,
    }
    injected_bq = round(3.5e3 * plan.weight_g, -6)
    liver = patient.organ("liver").suv
    protocol = PetProtocol(
        scans=(Scan(_UPTAKE.total_seconds(), (_SCAN_S,)),),
        voxel_mm=(edge, edge, edge),
        fwhm_mm=(FWHM_MM,) * 3,
        positron_range=False,  # part of the stated resolution
        calibration=NOISE,
    )
    given = Administration("FDG", start - _UPTAKE, injected_bq, "18F")
    made = simulate(Scene(patient), [given], protocol, rng, geometry=grid).acquisitions[0]
    pet = replace(made, subject=plan.subject, session=session, description="PET whole body")
    place = root / plan.subject.replace("sub-", "DEMO-") / f"{start:%Y-%m-%d}"
    if not plan.weighed:
        pet = replace(pet, weight_g=None, description="PET, weight left out on purpose")
        write_series(pet, place / "PET")
        return []
    files = write_series(pet, place / "PET")
    ct_grid = _grid(plan, 2.5 if full else 5.0, 1.5 if full else 3.0, frame)
    ct = Acquisition(
        id="ct",
        modality="ct",
        data=ct_image(patient, ct_grid, noise_hu=12.0, rng=rng),
        description="CT low dose",
        **known,
    )
    write_series(ct, place / "CT", series_number=2)
    write_seg(organ_region(patient, grid), place / "SEG" / "organs.dcm", files)
    rule = Rule(None, 0.0) if plan.drawn else Rule()
    if plan.drawn:
        write_rtstruct(drawn_region(patient.lesions, grid), place / "RTSTRUCT" / "lesions.dcm", files)
    truth = patient_truth(patient, rule, fwhm_mm=FWHM_MM, geometry=grid)
    truth += [Truth("suv_mean", "g/mL", name, suv, suv) for name, suv in (("liver", liver), ("blood pool", 1.6))]
    words = "drawn outline" if plan.drawn else f"SUV >= {rule.threshold:g}, at least {rule.min_volume_ml:g} mL"
    return [_truth_row(plan.subject, session, words, row) for row in truth]


def organ_region(patient: DigitalPatient, grid: Geometry) -> Region:
    """References in liver and blood pool, and generous masks of the organs with physiological uptake."""
    liver, aorta = patient.organ("liver"), patient.organ("aorta")
    x, y, z = liver.centre
    shapes = {o.name: o.grown(_EXCLUDE_MARGIN_MM) for o in patient.organs if o.role == "exclude"}
    shapes["liver"] = Shape("liver", (x - 10, y, z + 5), (15.0, 15.0, 15.0), liver.suv, role="liver")
    shapes["blood pool"] = replace(aorta, semi_axes=(6.0, 6.0, 60.0), role="blood pool")
    return label_region(shapes, grid, name="organs")


def drawn_region(lesions: Sequence[Shape], grid: Geometry, *, corners: int = 72) -> Region:
    """The true outline of spherical lesions as one closed contour for each slice of a grid."""
    turn = 2 * np.pi * np.arange(corners) / corners
    shapes: dict[int, tuple[NDArray[np.float64], ...]] = {}
    heights = grid.to_mm(np.stack([np.arange(grid.shape[0]), *np.zeros((2, grid.shape[0]))], axis=-1))[:, 2]
    for number, shape in enumerate(lesions, start=1):
        centre, radius = np.array(shape.centre), shape.semi_axes[0]
        contours = []
        for z in heights[np.abs(heights - centre[2]) < radius]:
            # A polygon of the same area as the circle.
            reach = np.sqrt(radius**2 - (z - centre[2]) ** 2) * np.sqrt(
                2 * np.pi / corners / np.sin(2 * np.pi / corners)
            )
            ring = [centre[0] + reach * np.cos(turn), centre[1] + reach * np.sin(turn), np.full(corners, z)]
            contours.append(np.stack(ring, axis=-1))
        shapes[number] = tuple(contours)
    names = {n: s.name for n, s in enumerate(lesions, start=1)}
    return Region("lesions", "contours", names, shapes=shapes, frame=grid.frame)


def _truth_row(subject: str, session: str, rule: str, row: Truth) -> dict[str, Any]:
    x, y, z = row.centre if row.centre is not None else ("", "", "")
    values = (subject, session, row.region, row.quantity, row.unit, row.seen, row.ideal, rule, x, y, z)
    return dict(zip(COLUMNS, values, strict=True))


def _write_table(path: Path, rows: Iterable[Mapping[str, Any]], separator: str) -> None:
    records = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(records[0]), delimiter=separator, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
