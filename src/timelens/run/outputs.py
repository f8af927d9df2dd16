"""What one session leaves behind: maps, masks and tables with sidecars, rows, pictures, and the record of it all."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timelens.errors import Problem
from timelens.formats import nifti
from timelens.run.cell_outputs import write_cells
from timelens.run.cell_pictures import draw_slide
from timelens.run.files import bids_label, output_stem, write_json
from timelens.run.inventory import SessionEntry
from timelens.run.pictures import Album, draw, said_of
from timelens.run.truth_pictures import draw_truth, truth_files
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Recipe, Result
from timelens.study.derivative import sidecar
from timelens.study.image import Image
from timelens.study.provenance import Run, SourceFile
from timelens.study.region import Region
from timelens.study.table import Table

__all__ = ["write_result"]

#: What the name of a set of lesions says: whose they are, and in which frame.
_SET = re.compile(r"lesions(?:_(?!frame-[0-9]+$)(?P<animal>.+?))?(?:_frame-(?P<frame>[0-9]+))?")


def write_result(
    folder: Path,
    entry: SessionEntry,
    acquisitions: Sequence[Acquisition],
    results: Sequence[tuple[str, Recipe, Result]],
    problems: Sequence[Problem],
    run: Run,
    root: Path,
) -> dict[str, Any]:
    """Write a session's files and return its record, ready for ``session.json``.

    ``root`` is the study's folder: where it holds the truth of a simulated session, pictures show it beside the scan.
    """
    outputs: list[str] = []
    pictures: list[dict[str, str]] = []
    regions: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    by_id = {a.id: a for a in acquisitions}
    truth = truth_files(root, entry.subject, entry.session)
    for primary, recipe, result in results:
        stem = output_stem(entry.subject, entry.session, primary)
        times = _frame_times(by_id.get(primary))
        place = folder / recipe.lens
        for name, image in result.maps.items():
            path = nifti.write(image, place / f"{stem}_desc-{bids_label(name)}_map.nii.gz")
            _traced(path, run, said_of(image))
            outputs.append(_written(path, folder))
        for name, region in result.regions.items():
            path = place / f"{stem}_desc-{bids_label(name)}_dseg.nii.gz"
            nifti.write_labels(region, path)
            _traced(path, run, f"Lesion labels by the rule: {region.method}")
            outputs.append(_written(path, folder))
            regions += _listed(region, primary, name, times, outputs[-1])
        for measurement in result.measurements:
            row = measurement.with_context(
                subject=entry.subject, session=entry.session, acquisition=primary, run=run.id
            )
            rows.append({k: v for k, v in row.as_dict().items() if k != "id"})
        for name, table in result.tables.items():
            path = _write_table(table, place / f"{stem}_desc-{bids_label(name)}_table.tsv", run)
            outputs.append(_written(path, folder))
        outputs += [_written(path, folder) for path in write_cells(place, stem, result)]
        album = Album(folder, stem, primary)
        draw(album, result, _ct_of(by_id.get(primary), acquisitions))
        draw_slide(album, by_id.get(primary), acquisitions)
        draw_truth(album, result, by_id.get(primary), truth)
        pictures += album.records
    write_json(folder / "measurements.json", rows)
    written = sorted(p for p in folder.rglob("*") if p.is_file())
    return {
        "subject": entry.subject,
        "session": entry.session,
        "when": entry.when or None,
        "acquisitions": [_described(a, results) for a in acquisitions],
        "recipe": [
            {"lens": recipe.lens, "name": step.name, "parameters": dict(step.parameters), "why": step.why}
            for _, recipe, _ in results
            for step in recipe.steps
        ],
        "audit": {
            key if len(results) == 1 else f"{primary}:{key}": audit
            for primary, _, result in results
            for key, audit in result.audit.items()
        },
        "problems": [p.as_dict() for p in problems],
        "regions": regions,
        "pictures": pictures,
        "outputs": sorted(outputs),
        "files": [vars(SourceFile.of(path, relative_to=folder)) for path in written],
        "run": {
            "id": run.id,
            "inputs": [vars(source) for source in run.inputs],
            "parameters": dict(run.parameters),
            "software": dict(run.software),
            "seed": run.seed,
        },
    }


def _traced(path: Path, run: Run, description: str) -> None:
    """Put into the sidecar of a map or mask which files, versions and parameters it comes from."""
    beside = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
    said = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    write_json(beside, {**sidecar(run, description=description), **said})


def _write_table(table: Table, path: Path, run: Run) -> Path:
    """A table as TSV, with the unit of each column in the sidecar, as BIDS has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.data.to_csv(path, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
    said = {str(column): {"Units": unit} for column, unit in table.column_units.items()}
    write_json(path.with_suffix(".json"), {**sidecar(run, description=path.stem), **said})
    return path


def _written(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _listed(region: Region, acquisition: str, name: str, times: Sequence[float], file: str) -> list[dict[str, Any]]:
    """A record for each region of a set: whose it is, in which frame (from 1; 0 where there are none), and its mask."""
    parts = _SET.fullmatch(name)
    frame = int(parts["frame"] or 0) if parts else 0
    return [
        {
            "acquisition": acquisition,
            "set": name,
            "animal": (parts["animal"] or "") if parts else "",
            "frame": frame,
            "time_s": times[frame - 1] if 1 <= frame <= len(times) else None,
            "file": file,
            "number": number,
            "name": region.name(number),
            "role": region.role(number),
            "identity": region.identity.get(number, ""),
            "method": region.method,
        }
        for number in region.names
    ]


def _frame_times(acquisition: Acquisition | None) -> list[float]:
    """Seconds of the middle of each frame; empty where there are no frames, or their times are not known."""
    image = acquisition.data if acquisition is not None else None
    return [float(t) for t in image.frames.mid] if isinstance(image, Image) and image.frames is not None else []


def _described(acquisition: Acquisition, results: Sequence[tuple[str, Recipe, Result]]) -> dict[str, Any]:
    image = acquisition.data if isinstance(acquisition.data, Image) else None
    geometry = image.geometry if image is not None else None
    start, given = acquisition.acquisition_time, acquisition.administered_time
    return {
        "id": acquisition.id,
        "modality": acquisition.modality,
        "agent": acquisition.agent,
        "radionuclide": acquisition.radionuclide,
        "description": acquisition.description,
        "acquired": start.isoformat() if start is not None else None,
        "after_injection_s": (start - given).total_seconds() if start is not None and given is not None else None,
        "role": "measured" if acquisition.id in [primary for primary, _, _ in results] else "supporting",
        "shape": list(image.shape) if image is not None else None,
        "spacing_mm": list(geometry.spacing) if geometry is not None else None,
        "unit": image.unit if image is not None else None,
        "frame": geometry.frame if geometry is not None else None,
        "stated": {k: [v, getattr(acquisition, k)] for k, v in acquisition.overrides.items()},
    }


def _ct_of(primary: Acquisition | None, acquisitions: Sequence[Acquisition]) -> Image | None:
    """A CT in the frame of reference of the scan that was measured."""
    place = primary.data.geometry if primary is not None and isinstance(primary.data, Image) else None
    for other in acquisitions:
        if other.modality == "ct" and isinstance(other.data, Image) and place is not None:
            geometry = other.data.geometry
            if geometry is not None and geometry.same_frame(place):
                return other.data
    return None
