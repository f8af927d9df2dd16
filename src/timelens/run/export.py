"""Results for other programs: DICOM beside the images it belongs to, BIDS derivatives, OME-Zarr, spreadsheets."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from timelens.errors import DataError, UsageError
from timelens.formats import dicom, nifti
from timelens.knowledge import quantities
from timelens.run.export_cells import to_spatialdata
from timelens.run.files import bids_label, output_stem
from timelens.run.inputs import files_of
from timelens.run.inventory import Inventory, SessionEntry, read_inventory
from timelens.study.export import read_csv, write_table
from timelens.study.measurement import Measurement
from timelens.study.region import Region

__all__ = ["FORMATS", "export_results"]


def export_results(out: Path, to: str, target: Path | None = None) -> list[Path]:
    """Write results in another form; returns the files.

    Parameters
    ----------
    out
        A folder of results.
    to
        ``dicom``: a SEG of the lesions, an SR (TID 1500), and a parametric map of each parameter and its error per
        DICOM series, with the patient and study of the series; the only export that names patients. ``bids``: a BIDS
        derivatives dataset. ``ome-zarr``: every map as OME-Zarr with its unit. ``csv``: one row per lesion and one per
        session, a column per quantity. ``spatialdata``: sections with labels and tables of their cells.
    target
        Folder to write into; ``OUT/export/FORMAT`` by default.

    Raises
    ------
    UsageError
        If the folder holds no results, or the form is not known.
    DataError
        If the series that an export needs are not there any more.
    """
    if to not in FORMATS:
        raise UsageError("There is no such export", field="--to", found=to, expected=", ".join(FORMATS))
    if not (out / "study.json").is_file():
        raise UsageError("This is no folder of results", file=out, expected="a folder that 'timelens run' wrote")
    folder = target or out / "export" / to
    folder.mkdir(parents=True, exist_ok=True)
    return FORMATS[to](out, folder)


def _to_dicom(out: Path, folder: Path) -> list[Path]:
    inventory = read_inventory(out / "study.yaml")
    rows = read_csv(out / "measurements.csv")
    files: list[Path] = []
    for entry in inventory.sessions:
        place = out / entry.subject / entry.session
        if not (place / "session.json").is_file():
            continue
        record = json.loads((place / "session.json").read_text(encoding="utf-8"))
        for item in entry.acquisitions:
            own = [m for m in rows if (m.run, m.acquisition) == (record["run"]["id"], item["id"])]
            if item["format"] == "dicom" and own:
                files += _one_series(inventory, entry, item, record, own, place, folder)
    if not files:
        raise DataError(
            "No measured series of this study is DICOM", file=out, field="format", expected="a study of DICOM series",
            mend="use --to bids or --to csv",
        )  # fmt: skip
    return files


def _one_series(
    inventory: Inventory,
    entry: SessionEntry,
    item: Mapping[str, Any],
    record: Mapping[str, Any],
    rows: list[Measurement],
    place: Path,
    folder: Path,
) -> list[Path]:
    sources = [inventory.root / name for name in files_of(item, inventory.root)]
    if missing := [p for p in sources if not p.is_file()]:
        raise DataError(
            "The series that the results belong to is not there",
            file=missing[0].name,
            field="root",
            found="nothing",
            expected="the files that were measured",
            mend="correct 'root' in study.yaml of the results",
        )
    target = folder / entry.subject / entry.session
    target.mkdir(parents=True, exist_ok=True)
    written = []
    identities = _identities(place.parent / "lesions.csv", entry.session, str(item["id"]))
    sets: dict[str, list[Mapping[str, Any]]] = {}
    for found in record["regions"]:
        if found["acquisition"] == item["id"]:
            sets.setdefault(found["file"], []).append(found)
    for name, listed in sets.items():
        labels = nifti.read(place / name, unit="1").image
        stem = Path(name).name.removesuffix(".nii.gz")
        names = {
            int(r["number"]): identities.get((r["animal"], str(r["frame"] or ""), r["name"]), r["name"]) for r in listed
        }
        if labels.numpy().any():
            region = Region(stem, "labels", names, labels, method=listed[0]["method"])
            written.append(dicom.write_seg(region, target / f"{stem}.dcm", sources))
    written += _parameter_maps(entry, item, record, place, target, sources)
    for subject in dict.fromkeys(m.subject for m in rows):
        animal = "" if subject == entry.subject else f"_{bids_label(subject)}"
        own = [m for m in rows if m.subject == subject]
        written.append(dicom.write_sr(own, target / f"{item['id']}{animal}_sr.dcm", sources))
    return written


def _parameter_maps(
    entry: SessionEntry,
    item: Mapping[str, Any],
    record: Mapping[str, Any],
    place: Path,
    target: Path,
    sources: list[Path],
) -> list[Path]:
    """Maps of an acquisition but for uptake, which the series itself holds, as DICOM parametric maps."""
    stem = f"{output_stem(entry.subject, entry.session, str(item['id']))}_desc-"
    written = []
    for name in record["outputs"]:
        file = Path(name).name
        if not (file.startswith(stem) and file.endswith("_map.nii.gz")):
            continue
        image = nifti.read(place / name).image
        if len(image.shape) != 3 or (image.quantity or "").startswith("suv") or "Reason" in file:
            continue
        what = file.removeprefix(stem).removesuffix("_map.nii.gz")
        known = quantities.find(image.quantity) if image.quantity else None
        label = known.symbol if known is not None else what
        path = target / f"{file.removesuffix('.nii.gz')}.dcm"
        written.append(dicom.write_parametric_map(image, path, sources, label=label))
    return written


def _to_ome_zarr(out: Path, folder: Path) -> list[Path]:
    """Every map, whatever lens made it, with unit, quantity and place."""
    from timelens.formats import ome_zarr

    written = []
    for path in sorted(out.glob("sub-*/ses-*/*/*_map.nii.gz")):
        target = folder / path.relative_to(out).with_name(path.name.removesuffix(".nii.gz") + ".ome.zarr")
        target.parent.mkdir(parents=True, exist_ok=True)
        written.append(ome_zarr.write(nifti.read(path).image, target, overwrite=True))
    if not written:
        raise DataError("The results hold no maps", file=out, field="outputs", expected="a lens that makes maps")
    return written


def _identities(table: Path, session: str, acquisition: str) -> dict[tuple[str, str, str], str]:
    """Lasting names of the lesions of an acquisition, by animal, frame and name."""
    if not table.is_file():
        return {}
    with open(table, encoding="utf-8", newline="") as stream:
        rows = [{k: v.removeprefix("'") for k, v in row.items()} for row in csv.DictReader(stream)]
    here = [r for r in rows if (r["session"], r["acquisition"]) == (session, acquisition)]
    return {(r["animal"], r["frame"], r["name"]): r["identity"] for r in here}


_TIME = "time [s]"
_BIDS_FILES = ("dataset_description.json", "participants.tsv", "measurements.csv", "measurements.parquet")


def _to_bids(out: Path, folder: Path) -> list[Path]:
    """The derivative files as they are; what is private, of the ledger or of the page stays behind."""
    written = [Path(shutil.copy2(out / name, folder / name)) for name in _BIDS_FILES]
    for path in sorted(out.glob("sub-*/ses-*/*/*")):
        if path.suffix in (".gz", ".json", ".tsv") and path.parent.name != "figures":
            target = folder / path.relative_to(out)
            target.parent.mkdir(parents=True, exist_ok=True)
            written.append(Path(shutil.copy2(path, target)))
    return written


def _to_csv(out: Path, folder: Path) -> list[Path]:
    rows = read_csv(out / "measurements.csv")
    whole = [m for m in rows if m.region == "all lesions"]
    lesions = [m for m in rows if m.region != "all lesions"]
    return [
        _wide(folder / "lesions.csv", lesions, ("subject", "session", "acquisition", "region")),
        _wide(folder / "sessions.csv", whole, ("subject", "session", "acquisition")),
    ]


def _wide(path: Path, rows: list[Measurement], keys: tuple[str, ...]) -> Path:
    """A column per quantity, its unit in the head; rules and formulas of one quantity stand in columns of their own."""
    table: dict[tuple[str, ...], dict[str, Any]] = {}
    columns: list[str] = []
    for m in rows:
        line = table.setdefault((*(getattr(m, k) for k in keys), repr(m.time_s)), {k: getattr(m, k) for k in keys})
        if m.time_s == m.time_s:
            line[_TIME] = m.time_s
        head = f"{quantities.get(m.quantity).symbol} [{m.unit}]"
        if head in line:
            head += f" ({m.method.rsplit('; ', 1)[-1]})"
        if head not in columns:
            columns.append(head)
        line[head] = m.value
    timed = [_TIME] if any(_TIME in line for line in table.values()) else []
    write_table(path, (*keys, *timed, *columns), table.values())
    return path


FORMATS: dict[str, Callable[[Path, Path], list[Path]]] = {
    "dicom": _to_dicom,
    "bids": _to_bids,
    "ome-zarr": _to_ome_zarr,
    "csv": _to_csv,
    "spatialdata": to_spatialdata,
}
