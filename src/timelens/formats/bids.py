"""PET-BIDS datasets: every PET scan and blood table of every subject, and writing scans and results as BIDS.

Read are ``sub-*/[ses-*/]{pet,ct,nm}/*.nii[.gz]`` with their JSON by BIDS' inheritance (a JSON higher up holds for all
below it that have its suffix and its entities), ``*_blood.tsv``, and ``participants.tsv``. What one scan lacks does not
stop the others: it becomes a problem of the dataset.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import timelens
from timelens import units
from timelens.errors import FormatError, Problem, TimelensError, UnsafeFileError, UsageError
from timelens.formats import atomic, blood, nifti, safety, sidecar
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image
from timelens.study.provenance import SourceFile
from timelens.study.region import Region
from timelens.study.table import Table

__all__ = [
    "Dataset", "describe", "folder_of", "inherited", "read", "read_scan", "who", "write", "write_derivative",
]  # fmt: skip

_FOLDERS = ("pet", "ct", "nm")
_VERSION = "1.10.0"
_NAME = re.compile(r"^[A-Za-z0-9]+$")
_SPECIES = {"homo sapiens": "human", "mus musculus": "mouse", "rattus norvegicus": "rat"}
#: Columns that identify a person do not belong into a dataset and are not read from one.
_PERSONAL = ("name", "patient_name", "patientname", "date_of_birth", "dob", "birthdate", "address", "email", "phone")


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a BIDS dataset holds.

    Attributes
    ----------
    root
        Its folder.
    description
        ``dataset_description.json``.
    acquisitions
        The scans, with subject and session.
    blood
        The blood tables, as acquisitions.
    participants
        Per subject, the columns of ``participants.tsv`` as text.
    problems
        What could not be used.
    """

    root: Path
    description: Mapping[str, Any] = field(default_factory=dict)
    acquisitions: tuple[Acquisition, ...] = ()
    blood: tuple[Acquisition, ...] = ()
    participants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def read(root: str | Path, *, unit: str | None = None) -> Dataset:
    """Read a dataset; pixels are read when first asked for.

    Parameters
    ----------
    root
        The folder with ``dataset_description.json``.
    unit
        For scans whose sidecar states none.

    Raises
    ------
    FormatError
        If the folder is no BIDS dataset.
    """
    place = Path(root)
    if not (place / "dataset_description.json").is_file():
        raise FormatError(
            "Not a BIDS dataset", file=root, field="dataset_description.json", found="nothing", expected="this file"
        )
    problems: list[Problem] = []
    description: Mapping[str, Any] = {}
    participants: dict[str, dict[str, str]] = {}
    traits: Mapping[str, Any] = {}
    try:
        description = safety.read_json(place / "dataset_description.json")
        participants, traits = _participants(place)
    except TimelensError as error:
        problems.append(error.problem)
    scans: list[Acquisition] = []
    tables: list[Acquisition] = []
    for path in _files(place):
        try:
            if path.name.endswith("_blood.tsv"):
                said, sources = inherited(path, place)
                found = blood.read(path, described=said, unit=unit, **who(path))
                tables.append(replace(found, sources=(*found.sources, *sources)))
            else:
                scan = read_scan(path, place, unit=unit)
                scans.append(_with_participant(scan, participants.get(scan.subject, {}), traits, place))
        except TimelensError as error:
            problems.append(error.at(file=path).problem)
    return Dataset(place, description, tuple(scans), tuple(tables), participants, tuple(problems))


def _files(root: Path) -> list[Path]:
    """Scans and blood tables, in order of name."""
    found: list[Path] = []
    for folder in _FOLDERS:
        for level in (f"sub-*/{folder}", f"sub-*/ses-*/{folder}"):
            found += [
                p
                for p in root.glob(f"{level}/sub-*")
                if p.name.endswith((f"_{folder}.nii", f"_{folder}.nii.gz", "_blood.tsv"))
            ]
    return sorted(found)


def who(path: Path) -> dict[str, str]:
    """Subject and session, as a file's name states them."""
    entities = _entities(path.name)
    session = f"ses-{entities['ses']}" if "ses" in entities else ""
    return {"subject": f"sub-{entities.get('sub', '')}", "session": session}


def _entities(name: str) -> dict[str, str]:
    return dict(part.split("-", 1) for part in name.split(".")[0].split("_") if "-" in part)


def _inside(root: Path, path: Path) -> None:
    if not safety.inside(root, path):
        raise UnsafeFileError(
            "A link leads out of the dataset",
            file=path,
            field="path",
            found="a symbolic link",
            expected="a file of its own",
        )


def inherited(path: Path, root: Path) -> tuple[dict[str, Any], tuple[SourceFile, ...]]:
    """The JSON that holds for a file: all that apply, from the root of the dataset down, the nearer winning.

    Raises
    ------
    FormatError, UnsafeFileError
        If one of them is damaged or lies outside the dataset.
    """
    suffix = path.name.split(".")[0].rsplit("_", 1)[-1]
    own = _entities(path.name)
    merged: dict[str, Any] = {}
    sources: list[SourceFile] = []
    folders = [root, *[root / part for part in _steps(path.parent.relative_to(root))]]
    for folder in folders:
        candidates = [p for p in folder.glob(f"*{suffix}.json") if p.stem.rsplit("_", 1)[-1] == suffix]
        fitting = [p for p in candidates if _entities(p.name).items() <= own.items()]
        for candidate in sorted(fitting, key=lambda p: (len(_entities(p.name)), p.name)):
            _inside(root, candidate)
            merged.update(safety.read_json(candidate))
            sources.append(SourceFile.of(candidate))
    return merged, tuple(sources)


def _steps(path: Path) -> list[Path]:
    return [Path(*path.parts[: n + 1]) for n in range(len(path.parts))]


def read_scan(path: str | Path, root: str | Path, *, unit: str | None = None) -> Acquisition:
    """Read one scan of a dataset, with subject and session from its name and its JSON by inheritance.

    Raises
    ------
    DataError
        As :func:`timelens.formats.nifti.read`.
    """
    place, base = Path(path), Path(root)
    _inside(base, place)
    said, sources = inherited(place, base)
    found = nifti.read(place, described=said, unit=unit, modality=place.parent.name, **who(place))
    return replace(found, sources=(*found.sources, *sources))


# -- participants ----------------------------------------------------------------------------------------------------


def _participants(root: Path) -> tuple[dict[str, dict[str, str]], Mapping[str, Any]]:
    table, described = root / "participants.tsv", root / "participants.json"
    if not table.is_file():
        return {}, {}
    for path in (table, described):
        _inside(root, path)
    rows = list(csv.reader(io.StringIO(safety.read_text(table)), delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or rows[0][:1] != ["participant_id"] or len(set(rows[0])) != len(rows[0]):
        raise FormatError(
            "The table of participants does not begin with participant_id",
            file=table,
            field="participant_id",
            found=repr(rows[0][:3] if rows else ""),
            expected="different column names, participant_id first",
        )
    result: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(rows[0]) or row[0] in result:
            raise FormatError(
                "A row of the table of participants is repeated or has other columns",
                file=table,
                field=f"line {number}",
                found=f"{len(row)} cells",
                expected=f"{len(rows[0])} cells, each participant once",
            )
        result[row[0]] = {
            k: v
            for k, v in zip(rows[0][1:], row[1:], strict=True)
            if v not in ("n/a", "") and k.lower() not in _PERSONAL
        }
    return result, safety.read_json(described) if described.is_file() else {}


def _with_participant(
    scan: Acquisition, traits: Mapping[str, str], described: Mapping[str, Any], root: Path
) -> Acquisition:
    """Weight, height, sex, age and species from the table, where the scan's own sidecar does not say them."""
    known: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, column, unit in (("weight_g", "weight", "g"), ("height_mm", "height", "mm"), ("age_years", "age", "a")):
        if column not in traits or getattr(scan, name) is not None:
            continue
        about = described.get(column)
        text = about.get("Units") if isinstance(about, dict) else None
        stated = {"years": "a", "year": "a"}.get(str(text), text) or ("a" if column == "age" else None)
        try:
            if stated is None:
                raise FormatError(f"The column {column} has no unit", expected="Units in participants.json")
            known[name] = float(traits[column]) * units.conversion_factor(sidecar.unit_code(stated), unit)
        except (TimelensError, ValueError) as error:
            message = error.problem.message if isinstance(error, TimelensError) else f"{column} is not a number"
            problems.append(
                Problem(f"{message}; it is not used", str(root / "participants.tsv"), column, traits[column],
                        "a number whose unit stands in participants.json", "write Units into participants.json",
                        "warning")
            )  # fmt: skip
    sex = traits.get("sex", "").upper()[:1]
    if scan.sex is None and sex in ("M", "F"):
        known["sex"] = sex
    if scan.species is None and (species := _SPECIES.get(traits.get("species", "").lower())):
        known["species"] = species
    return replace(scan, **known, problems=(*scan.problems, *problems))


# -- writing ---------------------------------------------------------------------------------------------------------


def _entity(label: str, prefix: str, field: str) -> str:
    """``sub-01`` from ``sub-01`` or ``01``; nothing that could leave the folder."""
    bare = label.removeprefix(f"{prefix}-")
    if not _NAME.match(bare):
        raise UsageError("BIDS names are made of letters and digits", field=field, found=repr(label), expected="sub-01")
    return f"{prefix}-{bare}"


def folder_of(root: Path, subject: str, session: str, kind: str) -> tuple[Path, str]:
    """Where a subject's scans of a kind belong, and what their names begin with."""
    parts = [_entity(subject, "sub", "subject")]
    if session:
        parts.append(_entity(session, "ses", "session"))
    return root.joinpath(*parts, kind), "_".join(parts)


def describe(root: Path, name: str, *, derivative: bool = False) -> None:
    """``dataset_description.json`` of a dataset, or of a derivative, where it is not there."""
    path = root / "dataset_description.json"
    if path.exists():
        return
    said: dict[str, Any] = {"Name": name, "BIDSVersion": _VERSION, "DatasetType": "raw"}
    if derivative:
        said["DatasetType"] = "derivative"
        said["GeneratedBy"] = [{"Name": "timelens", "Version": timelens.__version__}]
    atomic.write_file(json.dumps(said, indent=2) + "\n", path)


def write(
    acquisition: Acquisition,
    root: str | Path,
    *,
    name: str = "timelens",
    entities: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write a scan or blood table into a PET-BIDS dataset, which is made if it is not there; returns the path.

    Parameters
    ----------
    acquisition
        With a subject (``sub-01``), perhaps a session, and the modality pet, ct, nm or blood.
    root
        The dataset.
    name
        Name of the dataset where it is made.
    entities
        Further entities of the name, in their order (``{"trc": "FDG", "run": "1"}``).

    Raises
    ------
    UsageError
        If subject, session or an entity are no BIDS names, or the modality has no place.
    """
    kind = "pet" if acquisition.modality == "blood" else acquisition.modality
    if kind not in _FOLDERS:
        raise UsageError("No place in PET-BIDS", field="modality", found=acquisition.modality, expected=_FOLDERS)
    folder, stem = folder_of(Path(root), acquisition.subject, acquisition.session, kind)
    stem = "_".join([stem, *(_entity(label, key, key) for key, label in entities.items())])
    describe(Path(root), name)
    if isinstance(acquisition.data, Table):
        recording = str(acquisition.extra.get("recording", "manual"))
        return blood.write(acquisition, folder / f"{stem}_{_entity(recording, 'recording', 'recording')}_blood.tsv")
    return nifti.write(acquisition, folder / f"{stem}_{kind}.nii.gz")


def write_derivative(
    data: Acquisition | Image | Region,
    root: str | Path,
    *,
    subject: str,
    session: str = "",
    modality: str = "pet",
    desc: str,
    suffix: str = "",
    sources: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
) -> Path:
    """Write a map or label set as a BIDS derivative; returns the path.

    Parameters
    ----------
    data
        A map (suffix: the modality), or regions (suffix ``dseg``, with a table of index and name).
    root
        The derivative dataset; its ``dataset_description.json`` is made if it is not there.
    subject, session, modality, desc, suffix
        Parts of the name: ``sub-01_ses-01_desc-suv_pet.nii.gz``.
    sources
        Files it was made from, for the sidecar.
    parameters
        Further fields of the sidecar.

    Raises
    ------
    UsageError
        If a part of the name is no BIDS name.
    """
    for label in (modality, suffix or "x"):
        _entity(label, "", "modality")
    folder, stem = folder_of(Path(root), subject, session, modality)
    describe(Path(root), "timelens results", derivative=True)
    ending = suffix or ("dseg" if isinstance(data, Region) else modality)
    path = folder / f"{stem}_{_entity(desc, 'desc', 'desc')}_{ending}.nii.gz"
    if isinstance(data, Region):
        nifti.write_labels(data, path)
        rows = "".join(f"{n}\t{' '.join(label.split())}\n" for n, label in sorted(data.names.items()))
        atomic.write_file("index\tname\n" + rows, sidecar.beside(path).with_suffix(".tsv"))
    else:
        nifti.write(data, path)
    side = sidecar.beside(path)
    said = {**safety.read_json(side), **(parameters or {}), "Sources": list(sources)}
    atomic.write_file(json.dumps(said, indent=2, ensure_ascii=False) + "\n", side)
    return path
