"""Sections with their cells for other programs: SpatialData, one folder per session, from results and source images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timelens.errors import DataError
from timelens.run.files import output_stem
from timelens.run.inputs import load_inputs
from timelens.run.inventory import SessionEntry, read_inventory
from timelens.study.acquisition import Acquisition
from timelens.study.table import Table

__all__ = ["to_spatialdata"]

_MASK, _MODALITY = "_mask.tiff", "cytometry"


def to_spatialdata(out: Path, folder: Path) -> list[Path]:
    """Every measured section as its source holds it, with the cells that were found, their labels and tables.

    Raises
    ------
    DataError
        If the results hold no section, or its image is not there any more.
    """
    from timelens.formats import spatialdata

    inventory = read_inventory(out / "study.yaml")
    written = []
    for entry in inventory.sessions:
        place = out / entry.subject / entry.session / _MODALITY
        found = {
            str(item["id"]): masks
            for item in entry.acquisitions
            if (masks := _masks(place, output_stem(entry.subject, entry.session, str(item["id"]))))
        }
        if not found:
            continue
        scans = {a.id: a for a in load_inputs(entry, inventory.root).acquisitions}
        if lost := [name for name in found if name not in scans]:
            raise DataError(
                "The section that the results belong to is not there", file=lost[0], field="root", found="nothing",
                expected="the files that were measured", mend="correct 'root' in study.yaml of the results",
            )  # fmt: skip
        sections = {_short(entry, name): _section(scans[name], masks) for name, masks in found.items()}
        target = folder / f"{entry.subject}_{entry.session}.zarr"
        written.append(spatialdata.write(sections, target, overwrite=True))
    if not written:
        raise DataError("The results hold no cells", file=out, field="outputs", expected="a section that was measured")
    return written


def _masks(place: Path, stem: str) -> dict[str, Path]:
    """Masks of a section by the name of the set of cells."""
    found = {p.name: p for p in sorted(place.glob(f"{stem}_desc-*{_MASK}"))}
    return {name.removeprefix(f"{stem}_desc-").removesuffix(_MASK): path for name, path in found.items()}


def _short(entry: SessionEntry, name: str) -> str:
    """The acquisition without its subject and session, which the folder bears."""
    return name.removeprefix(f"{entry.subject}_{entry.session}_") or name


def _section(scan: Acquisition, masks: Mapping[str, Path]) -> Any:
    import tifffile

    from timelens.formats.spatialdata import Section

    return Section(
        scan,
        {name: tifffile.imread(path) for name, path in masks.items()},
        {name: _cells(path.with_name(path.name.removesuffix(_MASK) + "_table.tsv")) for name, path in masks.items()},
    )


def _cells(path: Path) -> Table:
    import pandas as pd

    units = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    said = {name: about["Units"] for name, about in units.items() if isinstance(about, dict) and "Units" in about}
    columns = pd.read_csv(path, sep="\t", nrows=0).columns
    text = {c: str for c in columns if c not in said}  # names that look like numbers stay names
    frame = pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False, dtype=text)
    return Table(frame, {c: u for c, u in said.items() if c in columns})
