"""From what a folder holds to a study: aliases, sessions, and what each scan lacks for quantification."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from timelens.errors import Problem, TimelensError
from timelens.formats.scan import (
    Found,
    Scan,
    load_acquisition,
    load_region,
    patient_identifier,
    scan_folder,
)
from timelens.run.files import from_root
from timelens.run.inventory import FIELDS, UNKNOWN, Inventory, SessionEntry
from timelens.run.lenses import all_lenses
from timelens.study.acquisition import Acquisition

__all__ = ["discover"]

_MOST_LISTED = 200
#: Modalities whose scans need doses, weights and times.
_WITH_ACTIVITY = ("pet", "nm")


def discover(folder: Path, *, skip: Collection[Path] = (), known: Mapping[str, str] | None = None) -> Inventory:
    """A study from a folder of scans; nothing but headers is read.

    Parameters
    ----------
    folder
        Anything: a hospital export, a BIDS dataset, files side by side.
    skip
        Folders in it that are none of the study: where the results go.
    known
        Alias to identifier, as an earlier run of this study kept them: whoever is known keeps the alias, whoever is
        new gets a number that was never given.

    Raises
    ------
    FormatError
        If it is no folder or is empty.
    """
    scan = scan_folder(folder, skip=skip)
    problems = [_without_root(p, scan.root) for p in scan.problems]
    used = [f for f in scan.found if f.kind != "other"]
    subjects, key = _aliases(used, scan.root, known or {})
    sessions = []
    for subject, things in subjects.items():
        sessions += _sessions(subject, things, scan, problems)
    inventory = Inventory(scan.root.name or "study", scan.root, sessions, private_key=key, problems=problems)
    inventory.participants, twice = _participants(scan.root, list(subjects), key)
    inventory.problems += twice
    others = [*scan.not_used, *(p for f in scan.found if f.kind == "other" for p in f.files)]
    beside = _read_beside(scan)
    names = [p.relative_to(scan.root).as_posix() for p in others if not beside(p)]
    inventory.not_used = names[:_MOST_LISTED]
    if not sessions:
        inventory.problems.append(
            Problem(
                "The folder holds no scan that timelens can read",
                file=folder.name,
                found=f"{len(names)} other files",
                expected="DICOM, NIfTI, ECAT, NRRD, Interfile, OME-Zarr or OME-TIFF",
            )
        )
    return inventory


def _read_beside(scan: Scan) -> Callable[[Path], bool]:
    """Whether a file describes a dataset, or stands beside a scan as its sidecar: it is read with that scan."""
    stems = {(f.parent, f.name.split(".")[0]) for thing in scan.found if thing.kind != "other" for f in thing.files}
    of_all = {scan.root / name for name in ("dataset_description.json", "participants.tsv", "participants.json")}
    kinds = (".json", ".tsv", ".bval", ".bvec")
    return lambda path: path in of_all or (path.suffix in kinds and (path.parent, path.name.split(".")[0]) in stems)


def _aliases(
    found: Sequence[Found], root: Path, known: Mapping[str, str]
) -> tuple[dict[str, list[Found]], dict[str, str]]:
    """Subjects by alias, and the private key. BIDS labels stay; others keep their alias, or get the next free number.

    Numbers are given in the order of the files. The key holds everyone who ever had a number.
    """
    groups: dict[str, list[Found]] = {}
    for thing in sorted(found, key=lambda f: f.files[0].as_posix()):
        groups.setdefault(thing.subject, []).append(thing)
    _adopt_strays(groups)
    labels = {f"sub-{key.removeprefix('bids:')}" for key in groups if key.startswith("bids:")}
    private = {alias: identifier for alias, identifier in known.items() if alias not in labels}
    given = {identifier: alias for alias, identifier in private.items()}
    free = (a for a in _numbered() if a not in labels and a not in private)
    aliases: dict[str, list[Found]] = {}
    for key, things in groups.items():
        if key.startswith("bids:"):
            alias = f"sub-{key.removeprefix('bids:')}"
        else:
            identifier = _identifier(things, root)
            alias = given.pop(identifier, "") or next(free)
            private[alias] = identifier
        aliases[alias] = things
    return dict(sorted(aliases.items())), dict(sorted(private.items()))


def _numbered() -> Iterator[str]:
    return (f"sub-{number:03d}" for number in count(1))


def _adopt_strays(groups: dict[str, list[Found]]) -> None:
    """Structure sets go to the subject whose series they were drawn on, blood to the one whose scans it lies by.

    So do the regions of a slide that lies by DICOM series. What lies by the scans of several subjects, or by none,
    stays alone: nobody says whose it is.
    """
    for key in [k for k, things in groups.items() if all(t.modality == "cytometry" for t in things)]:
        if not key.startswith("bids:") and len(hosts := _beside(groups[key][0], groups)) == 1:
            host, session = hosts[0]
            groups[host] += [replace(t, subject=host, session=session) for t in groups.pop(key)]
    owner = {thing.uid: key for key, things in groups.items() for thing in things if thing.kind == "image"}
    for key in list(groups):
        for thing in list(groups[key]):
            home = next((owner[uid] for uid in thing.references if uid in owner), key)
            if thing.kind == "region" and home != key:
                groups[key].remove(thing)
                groups[home].append(thing)
            elif thing.kind == "table" and not any(t.kind == "image" for t in groups[key]):
                hosts = _beside(thing, groups)
                if len(hosts) == 1:
                    groups[key].remove(thing)
                    host, session = hosts[0]
                    groups[host].append(replace(thing, subject=host, session=session))
        if not groups[key]:
            del groups[key]


def _beside(table: Found, groups: Mapping[str, list[Found]]) -> list[tuple[str, str]]:
    """Subjects and sessions with images nearest to a table or slide: in its folder or below, else one folder up.

    PET images for a table, DICOM series for a slide.
    """
    folder = table.files[0].parent
    for place in (folder, folder.parent):
        hosts = {
            (key, t.session)
            for key, things in groups.items()
            for t in things
            if t.kind == "image"
            and (t.format == "dicom" if table.kind != "table" else t.modality == "pet")
            and t.files[0].is_relative_to(place)
        }
        if hosts:
            return sorted(hosts)
    return []


def _identifier(things: Sequence[Found], root: Path) -> str:
    """What the private key knows a subject by: the identifier in the files, else their study or place."""
    first = things[0]
    if first.format.startswith("dicom"):
        return patient_identifier(first.files) or first.subject
    place = Path(first.subject.removeprefix("name:"))
    return place.relative_to(root).as_posix() if place.is_relative_to(root) else first.subject


def _sessions(subject: str, things: Sequence[Found], scan: Scan, problems: list[Problem]) -> list[SessionEntry]:
    groups: dict[str, list[Found]] = {}
    for thing in things:
        groups.setdefault(thing.session, []).append(thing)
    order = sorted(groups, key=lambda s: (min((f.when.isoformat() for f in groups[s] if f.when), default="9999"), s))
    entries = []
    for number, key in enumerate(order, start=1):
        named = groups[key][0].subject.startswith("bids:") and key.isalnum()
        label = f"ses-{key}" if named else f"ses-{number:02d}"
        when = min((f.when for f in groups[key] if f.when is not None), default=None)
        entry = SessionEntry(subject, label, when.isoformat() if when is not None else "")
        acquisitions = _acquisitions(entry, groups[key], scan, problems)
        _mark_missing(entry, acquisitions)
        _regions(entry, groups[key], scan, problems)
        entries.append(entry)
    return entries


def _acquisitions(
    entry: SessionEntry, things: Sequence[Found], scan: Scan, problems: list[Problem]
) -> list[Acquisition]:
    loaded = []
    counts: dict[str, int] = {}
    for thing in things:
        if thing.kind not in ("image", "table"):
            continue
        counts[thing.modality] = counts.get(thing.modality, 0) + 1
        number = counts[thing.modality]
        name = f"{entry.subject}_{entry.session}_{thing.modality}" + (f"-{number}" if number > 1 else "")
        item: dict[str, Any] = {
            "id": name,
            "format": thing.format,
            "modality": thing.modality,
            "description": thing.description,
            **_places(thing.files, scan.root),
        }
        if thing.format == "dicom":
            item["series"] = thing.uid
        elif thing.series:
            item["series"] = thing.series
        entry.acquisitions.append(item)
        if thing.modality not in _WITH_ACTIVITY and thing.format == "dicom":
            continue  # nothing in its headers is asked for here, and a CT has hundreds of them
        try:
            acquisition = load_acquisition(
                thing.format, thing.files, id=name, subject=entry.subject, session=entry.session,
                modality=thing.modality, series=item.get("series", ""), root=scan.root,
            )  # fmt: skip
        except TimelensError as error:
            problem = _without_root(error.at(file=thing.files[0]).problem, scan.root)
            if problem.field.lower() in ("unit", "units"):
                item["needs"] = {"unit": "UCUM code of the pixel values, for example Bq/mL or g/mL"}
            elif problem.field in ("pixel_size_um", "PhysicalSizeX"):
                item["needs"] = {"pixel_size_um": "size of a pixel, or of a unit of the positions, in micrometres"}
            problems.append(problem)
            continue
        for field in FIELDS:
            value = getattr(acquisition, field)
            if value is not None and thing.modality in _WITH_ACTIVITY:
                item[field] = value
        loaded.append(acquisition)
    return loaded


def _places(files: Sequence[Path], root: Path) -> dict[str, Any]:
    """The folder, if it holds nothing else, or the files."""
    folder = files[0].parent
    if len(files) > 3 and all(f.parent == folder for f in files):
        there = [p for p in folder.iterdir() if p.is_file()]
        if len(there) == len(files):
            return {"folder": folder.relative_to(root).as_posix()}
    return {"files": [f.relative_to(root).as_posix() for f in files]}


def _mark_missing(entry: SessionEntry, acquisitions: Sequence[Acquisition]) -> None:
    """What each lens would miss in the scans that it measures, as ``?`` with what it is needed for."""
    items = {item["id"]: item for item in entry.acquisitions}
    for lens in all_lenses().values():
        for acquisition in acquisitions:
            for problem in lens.accepts([acquisition]).missing:
                needs = items[acquisition.id].setdefault("needs", {})
                needs[problem.field] = problem.expected


def _regions(entry: SessionEntry, things: Sequence[Found], scan: Scan, problems: list[Problem]) -> None:
    images = [f for f in things if f.kind in ("image", "table")]
    by_uid = {f.uid: item["id"] for f, item in zip(images, entry.acquisitions, strict=True)}
    pets = [item["id"] for item in entry.acquisitions if item["modality"] == "pet"]
    for number, thing in enumerate((f for f in things if f.kind == "region"), start=1):
        on = next((by_uid[uid] for uid in thing.references if uid in by_uid), pets[0] if len(pets) == 1 else "")
        if not on and thing.format == "labels":
            folder = [by_uid[f.uid] for f in images if f.kind == "image" and f.files[0].parent == thing.files[0].parent]
            on = folder[0] if len(folder) == 1 else ""
        item: dict[str, Any] = {
            "id": _unique(thing.description or f"regions-{number}", [r["id"] for r in entry.regions]),
            "format": thing.format,
            **_places(thing.files, scan.root),
        }
        if thing.format == "labels" or on:
            item["drawn_on"] = on
        if thing.format.startswith("dicom"):
            try:
                region = load_region(thing.format, thing.files, id=item["id"], on=None, root=scan.root)
            except TimelensError as error:
                problems.append(_without_root(error.at(file=thing.files[0]).problem, scan.root))
            else:
                item["names"] = dict(region.names)
                item["roles"] = {n: _shown(region.role(n)) for n in region.names}
        entry.regions.append(item)


def _unique(name: str, taken: Sequence[str]) -> str:
    count, free = 1, name
    while free in taken:
        count += 1
        free = f"{name}-{count}"
    return free


def _shown(role: str) -> str:
    return UNKNOWN if role == "unknown" else role


def _participants(
    root: Path, subjects: Sequence[str], key: Mapping[str, str]
) -> tuple[dict[str, dict[str, Any]], list[Problem]]:
    """The columns of ``participants.tsv``, where the folder has one; names and dates of birth are left out.

    A line names its subject by the alias or by the identifier of the private key. Of a subject that has several lines,
    what they say differently is left out.
    """
    table = root / "participants.tsv"
    traits: dict[str, dict[str, Any]] = {s: {} for s in subjects}
    if not table.is_file():
        return traits, []
    lines = [line.split("\t") for line in table.read_text(encoding="utf-8", errors="replace").splitlines() if line]
    if not lines or lines[0][0] != "participant_id":
        return traits, []
    private = {"name", "given_name", "family_name", "birth_date", "date_of_birth", "dob"}
    alias = {s: s for s in subjects} | {identifier: a for a, identifier in key.items() if a in traits}
    problems: dict[tuple[str, str], Problem] = {}
    for row in lines[1:]:
        if (subject := alias.get(row[0])) is None:
            continue
        for name, value in zip(lines[0][1:], row[1:], strict=False):
            if value == "n/a" or name.lower() in private:
                continue
            before = traits[subject].setdefault(name, value)
            if before != value:
                problems[subject, name] = Problem(
                    "Two lines say different things of one subject: neither is taken", table.name, name,
                    f"{subject}: {before}, {value}", "one line a subject", "correct participants.tsv", "warning",
                )  # fmt: skip
    for subject, name in problems:
        del traits[subject][name]
    return traits, list(problems.values())


def _without_root(problem: Problem, root: Path) -> Problem:
    """A problem whose file is named from the study's root, as the user sees it."""
    return replace(problem, file=from_root(problem.file, root))
