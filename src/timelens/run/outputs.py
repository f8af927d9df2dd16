"""What one session leaves behind: maps and masks with sidecars, rows, pictures, and the record of it all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import GeometryError, Problem
from timelens.formats import nifti
from timelens.knowledge import quantities
from timelens.run.files import bids_label, output_stem, write_json
from timelens.run.inventory import SessionEntry
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Recipe, Result
from timelens.study.derivative import sidecar
from timelens.study.image import Image
from timelens.study.provenance import Run, SourceFile
from timelens.study.region import Region

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
) -> dict[str, Any]:
    """Write a session's files and return its record, ready for ``session.json``."""
    outputs: list[str] = []
    pictures: list[dict[str, str]] = []
    regions: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    by_id = {a.id: a for a in acquisitions}
    for primary, recipe, result in results:
        stem = output_stem(entry.subject, entry.session, primary)
        times = _frame_times(by_id.get(primary))
        place = folder / recipe.lens
        for name, image in result.maps.items():
            path = nifti.write(image, place / f"{stem}_desc-{bids_label(name)}_map.nii.gz")
            _traced(path, run, f"{_symbol(image)} in {image.unit}")
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
        pictures += _pictures(folder, stem, result, _ct_of(by_id.get(primary), acquisitions))
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
    return {
        "id": acquisition.id,
        "modality": acquisition.modality,
        "agent": acquisition.agent,
        "radionuclide": acquisition.radionuclide,
        "description": acquisition.description,
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


def _pictures(folder: Path, stem: str, result: Result, ct: Image | None) -> list[dict[str, str]]:
    """Projections, slices and histogram of each map that has regions."""
    shown = []
    for name, image in result.maps.items():
        suffix = name.removeprefix("suv").removeprefix("_")
        region = _latest(result.regions, f"lesions_{suffix}" if suffix else "lesions")
        volume = image if len(image.shape) == 3 else image.frame(image.shape[0] - 1)
        labels = region.labels.numpy() if region is not None and region.labels is not None else None
        names = dict(region.names) if region is not None else {}
        title = suffix or ""
        shown += _of_volume(folder, f"{stem}_{bids_label(name)}", volume, labels, names, ct, title)
    return shown


def _symbol(image: Image) -> str:
    known = quantities.find(image.quantity) if image.quantity else None
    return known.symbol if known is not None else "the image"


def _latest(regions: Mapping[str, Region], key: str) -> Region | None:
    """The region set of that key, or of the last frame of that key."""
    if key in regions:
        return regions[key]
    frames = [name for name in regions if name.startswith(f"{key}_frame-")]
    return regions[frames[-1]] if frames else None


def _of_volume(
    folder: Path,
    stem: str,
    volume: Image,
    labels: NDArray[Any] | None,
    names: Mapping[int, str],
    ct: Image | None,
    title: str,
) -> list[dict[str, str]]:
    from timelens.figures.canvas import png_bytes
    from timelens.figures.histogram import histogram_figure
    from timelens.figures.volume import mip_figure, slices_figure

    shown: list[dict[str, str]] = []

    def keep(figure: Any, kind: str, heading: str, caption: str) -> None:
        path = folder / "figures" / f"{stem}_{kind}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png_bytes(figure))
        heading = f"{title}: {heading}" if title else heading
        shown.append({"file": _written(path, folder), "title": heading, "caption": caption, "kind": kind})

    keep(
        mip_figure(volume, labels, names),
        "mip",
        "Maximum-intensity projections",
        f"Coronal and sagittal projections of {_symbol(volume)} in {volume.unit}"
        + (", lesions outlined." if labels is not None and labels.any() else "."),
    )
    if labels is None or not labels.any():
        return shown
    try:
        figure = slices_figure(volume, labels, names, ct=ct)
        caption = "Cuts through the hottest voxel of the largest lesions" + (
            ", PET over CT." if ct is not None else "."
        )
    except GeometryError:
        figure = slices_figure(volume, labels, names)
        caption = "Cuts through the hottest voxel of the largest lesions."
    keep(figure, "slices", "Largest lesions", caption)
    assert volume.geometry is not None
    array = volume.numpy()
    values = {n: array[labels == n] for n in names if np.any(labels == n)}
    keep(
        histogram_figure(values, names, unit=volume.unit, voxel_ml=volume.geometry.voxel_volume / 1e3),
        "histogram",
        "Distribution of uptake",
        "Histogram over all lesions, and the part of the volume at or above each value.",
    )
    return shown
