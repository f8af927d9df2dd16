"""A folder of results as a run leaves it, of digital patients, small enough to write in a test."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.figures.body import NAMES, ROLES, body

from timelens.figures.canvas import write_png
from timelens.figures.histogram import histogram_figure
from timelens.figures.volume import mip_figure, slices_figure
from timelens.study import Measurement
from timelens.study.measurement import COLUMNS

PROBLEM_COLUMNS = ("subject", "session", "file", "field", "found", "expected", "mend", "severity", "message")
RULE = "fixed SUV 4.0, 26 neighbours, at least 0.5 mL"
REPEAT = "uncertainty: published repeatability, Lodge 2017 doi:10.2967/jnumed.116.186353 (wCV 10 %)"
AUDIT = {
    "kind": "bw",
    "unit": "g/mL",
    "branch": "BQML/START/frame_reference_time",
    "tags": [
        {"keyword": "Units", "tag": "(0054,1001)", "value": "BQML", "origin": "header"},
        {"keyword": "RadionuclideTotalDose", "tag": "(0018,1074)", "value": "350000000.0 Bq", "origin": "header"},
        {"keyword": "PatientWeight", "tag": "(0010,1030)", "value": "75 kg", "origin": "user"},
    ],
    "time_zero": "2024-03-05 09:00:00",
    "reference_time": "2024-03-05 10:02:11",
    "decay_s": 3731.0,
    "decay_factor": 0.6752,
    "half_life_s": 6586.2,
    "alternatives": [
        {"name": "series_time", "reference": "2024-03-05 10:41:00", "change_percent": 27.78},
        {"name": "ADMIN", "reference": "2024-03-05 09:00:00", "change_percent": -32.48},
    ],
    "notes": ["the series time is 2329 s after the first acquisition: a post-processed series"],
    "defaults": [],
    "warnings": [],
}


def write_study(
    out: Path, sessions: dict[str, list[Measurement]], records: dict[str, dict[str, Any]] | None = None, **study: Any
) -> Path:
    """Write the folder from rows by session (``sub-001/ses-01``) and what its ``session.json`` says."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "measurements.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for name, rows in sessions.items():
            subject, session = name.split("/")
            for row in rows:
                record = row.with_context(subject=subject, session=session, run="run-1").as_dict()
                writer.writerow({k: "" if v is None or v != v else v for k, v in record.items()})
    with (out / "problems.csv").open("w", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, PROBLEM_COLUMNS).writeheader()
    for name in sessions:
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        subject, session = name.split("/")
        record = {"subject": subject, "session": session, "when": None, **((records or {}).get(name) or {})}
        (folder / "session.json").write_text(json.dumps(record), encoding="utf-8")
    head = {"name": "Study", "version": "0.1.0", "created": "2024-04-01T08:00:00", "sessions": list(sessions)}
    (out / "study.json").write_text(json.dumps(head | study), encoding="utf-8")
    return out


def row(quantity: str, value: float, unit: str, region: str = "", **more: Any) -> Measurement:
    """A PET row by the usual rule."""
    if math.isnan(value):
        more.setdefault("reason", "the region has no voxel: nothing was measured")
    common = {"acquisition": "pet", "modality": "pet", "agent": "FDG", "method": RULE, "method_version": "0.1.0"}
    return Measurement(quantity, value, unit, region, **{**common, **more})


def lesion_rows(number: int, name: str, peak: float, volume: float) -> list[Measurement]:
    """What the lens reports of one lesion."""

    def sure(quantity: str, value: float) -> Measurement:
        return row(
            quantity, value, "g/mL", name, uncertainty=0.277 * value, uncertainty_kind="repeatability",
            lower=0.723 * value, upper=1.277 * value, level=0.95, flags=REPEAT,
        )  # fmt: skip

    rows = [
        row("mtv", volume, "mL", name),
        sure("suv_max", 1.31 * peak),
        sure("suv_mean", 0.71 * peak),
        sure("suv_peak", peak),
        row("tlg", 0.71 * peak * volume, "g", name, uncertainty=0.03 * volume, uncertainty_kind="standard_error"),
        row("tumor_to_liver_ratio", 0.71 * peak / 2.1, "1", name),
        row("voxel_count", round(volume / 0.064), "{voxels}", name),
        row("suv_sd", 0.11 * peak, "g/mL", name),
        row("surface_area", 4.8 * volume ** (2 / 3), "cm2", name),
        row("sphericity", 0.9 - 0.002 * number, "1", name),
        row("suv_cv", 0.11 / 0.71, "1", name),
        row("auc_csh", 0.5312, "1", name),
        row("suv_peak_local", 0.98 * peak, "g/mL", name, flags="peak sphere leaves the image" if number == 3 else ""),
        row("suv_min", 4.0123, "g/mL", name),
        row("diameter_max", 12.4 * volume ** (1 / 3), "mm", name),
    ]
    if number == 5:
        rows[3] = replace(
            rows[3], value=math.nan, uncertainty=math.nan, uncertainty_kind="none", lower=math.nan, upper=math.nan,
            flags="", reason="the region vanishes on the resampled grid: its resampled peak is missing",
        )  # fmt: skip
    return rows


def session_rows(peaks: dict[int, tuple[str, float, float]]) -> list[Measurement]:
    """All rows of one session: lesions (number to name, peak, volume), liver, whole patient."""
    rows = [r for n, (name, peak, volume) in peaks.items() for r in lesion_rows(n, name, peak, volume)]
    rows += [row("suv_mean", 2.1034, "g/mL", "liver"), row("suv_sd", 0.2101, "g/mL", "liver")]
    total = sum(volume for _, _, volume in peaks.values())
    best = max(peaks.values(), key=lambda p: p[1], default=("", math.nan, 0.0))[1]
    none = {"reason": "no lesion has a value"} if math.isnan(best) else {}
    everywhere = "all lesions"
    return [
        *rows,
        row("lesion_count", len(peaks), "{lesions}", everywhere),
        row("tmtv", total, "mL", everywhere),
        row("tlg", sum(0.71 * p * v for _, p, v in peaks.values()), "g", everywhere),
        row("suv_max", 1.31 * best, "g/mL", everywhere, **none),
        row("suv_peak", best, "g/mL", everywhere, **none),
        row(
            "dmax",
            655.2 if len(peaks) > 1 else math.nan,
            "mm",
            everywhere,
            reason="fewer than two lesions" * (len(peaks) < 2),
        ),
        row("sdmax", math.nan, "1/m", everywhere, reason="weight or height is not known"),
    ]


def regions(peaks: dict[int, tuple[str, float, float]]) -> list[dict[str, Any]]:
    """The region records of ``session.json``."""
    found = [
        {"acquisition": "pet", "number": n, "name": name, "role": "lesion", "identity": f"L{n:02d}", "method": RULE}
        for n, (name, _, _) in peaks.items()
    ]
    return [*found, {"acquisition": "pet", "number": 20, "name": "liver", "role": "liver", "identity": ""}]


def full_study(out: Path, *, step: float = 6.0, subjects: int = 2, dpi: int = 160) -> Path:
    """Two patients, two sessions each, with pictures, audit, problems and provenance."""
    sessions, records = {}, {}
    base = {1: 8.1, 2: 11.4, 3: 6.2, 4: 13.9, 5: 4.4}
    volume = {1: 9.2, 2: 33.5, 3: 5.6, 4: 17.2, 5: 3.05}
    for s in range(subjects):
        for visit in range(2):
            name = f"sub-{s + 1:03d}/ses-{visit + 1:02d}"
            change = (0.55 if s == 0 else 1.12) if visit else 1.0
            missing = (5,) if visit and s == 0 else ()
            peaks = {
                n: (NAMES[n], base[n] * change * (1 - 0.03 * n * visit), volume[n] * change)
                for n in base
                if n not in missing
            }
            sessions[name] = session_rows(peaks)
            patient = body(step, seed=10 * s + visit, change=change, missing=missing)
            records[name] = {
                "when": f"2024-0{3 + 2 * visit}-{5 + s:02d}T10:02:11",
                "acquisitions": _acquisitions(patient.pet.shape, patient.ct.shape, step),
                "recipe": [
                    {"lens": "pet", "name": "suv", "parameters": {"kind": "bw"}, "why": "weight and dose are known"},
                    {"lens": "pet", "name": "segment", "parameters": {"rule": "fixed", "threshold": 4.0}, "why": ""},
                ],
                "audit": {"suv": AUDIT},
                "problems": [
                    {
                        "message": "The liver lies partly outside the image", "file": "pet/IM001.dcm", "field": "liver",
                        "found": "92 % inside", "expected": "all of it", "mend": "check the organ mask",
                        "severity": "warning",
                    }
                ] if visit else [],
                "regions": regions(peaks),
                "pictures": _pictures(out / name, patient, dpi),
                "outputs": ["pet/pet_desc-suv_map.nii.gz", "pet/pet_desc-lesions_dseg.nii.gz"],
                "run": {
                    "id": "9f2c4b1a77e0d3c5",
                    "inputs": [{"path": f"dicom/IM{k}.dcm", "sha256": f"{k:064x}", "size": 33000} for k in range(3)],
                    "software": {"timelens": "0.1.0", "python": "3.11", "numpy": "2.2"},
                    "parameters": {"options": {}},
                    "seed": None,
                },
            }  # fmt: skip
    write_study(out, sessions, records, name="Digital lymphoma", participants={"sub-001": {"arm": "A", "sex": "F"}})
    with (out / "problems.csv").open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, PROBLEM_COLUMNS)
        writer.writerow({"file": "raw/broken.dcm", "message": "The file is cut off", "severity": "error",
                         "found": "1,024 bytes", "expected": "33,210 bytes", "mend": "copy it again"})  # fmt: skip
    return out


def _acquisitions(pet: tuple[int, ...], ct: tuple[int, ...], step: float) -> list[dict[str, Any]]:
    common = {"spacing_mm": [step] * 3, "frame": "1.2.3"}
    return [
        {"id": "pet", "modality": "pet", "agent": "FDG", "radionuclide": "18F", "description": "WB PET",
         "unit": "Bq/mL", "role": "measured", "shape": list(pet), **common},
        {"id": "ct", "modality": "ct", "agent": None, "description": "CT low dose", "role": "supporting",
         "unit": "[hnsf'U]", "shape": list(ct), **common},
    ]  # fmt: skip


def _pictures(folder: Path, patient: Any, dpi: int) -> list[dict[str, str]]:
    pet, labels = patient.pet, patient.labels
    values = {n: pet.numpy()[labels == n] for n in NAMES if n not in ROLES and (labels == n).any()}
    drawn = {
        "histogram": histogram_figure(values, NAMES, unit="g/mL", voxel_ml=pet.geometry.voxel_volume / 1e3),
        "mip": mip_figure(pet, labels, NAMES, roles=ROLES),
        "slices": slices_figure(pet, labels, NAMES, ct=patient.ct, roles=ROLES),
    }
    titles = {
        "histogram": "Distribution of uptake",
        "mip": "Maximum-intensity projections",
        "slices": "Largest lesions",
    }
    found = []
    for kind, figure in drawn.items():
        write_png(figure, folder / "figures" / f"pet_{kind}.png", dpi=dpi)
        caption = "Coronal and sagittal, lesions outlined." if kind == "mip" else "Of all lesions."
        place = f"figures/pet_{kind}.png"
        found.append({"file": place, "title": titles[kind], "kind": kind, "caption": caption})
    return found
