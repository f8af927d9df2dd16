"""What one session is computed from: its scans and regions as read, what could not be read, and the provenance of both.

Every file that was read enters the run's identifier: pixels, sidecars, tables of names. Words that name the patient are
taken out of the paths that results carry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

from timelens.errors import DataError, Problem, TimelensError
from timelens.formats.scan import load_acquisition, load_region, patient_words
from timelens.run.files import from_root, plain
from timelens.run.inventory import UNKNOWN, SessionEntry, stated_values
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image
from timelens.study.provenance import Run, SourceFile, hash_file
from timelens.study.region import Region, Role

__all__ = ["Inputs", "files_of", "load_inputs", "regions_for"]

#: Tables and sidecars that a label file may have beside it.
_BESIDE = (".json", ".tsv", ".txt", ".ctbl")


@dataclass
class Inputs:
    """The scans and regions of a session, the problems met, and region sets that could not be read, by name."""

    acquisitions: list[Acquisition] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    lost_regions: list[str] = field(default_factory=list)
    sources: dict[str, SourceFile] = field(default_factory=dict)
    clean: Callable[[str], str] = str

    def run(self, entry: SessionEntry, options: Mapping[str, Any], layout: int, seed: int | None) -> Run:
        """The run that these inputs, options and this version make; identities are given afterwards, by name.

        Files that options name (a table of gates) count with their content: a change of it is another run.
        """
        said = {k: v for k, v in vars(entry).items() if k != "identity"}
        parameters = {"entry": _each_text(plain(said), self.clean), "options": plain(dict(options)), "layout": layout}
        if named := _named_files(options):
            parameters["named_files"] = named
        files = tuple(self.sources[name] for name in sorted(self.sources))
        return Run(files, parameters, seed=seed)


def _named_files(options: Any) -> dict[str, str]:
    """SHA-256 of each file whose path is the value of an option."""
    if isinstance(options, Mapping):
        return {path: hashed for value in options.values() for path, hashed in _named_files(value).items()}
    return {options: hash_file(options)} if isinstance(options, str) and Path(options).is_file() else {}


def load_inputs(entry: SessionEntry, root: Path) -> Inputs:
    """Read the headers of a session's scans and regions; what cannot be read is a problem by name."""
    found = Inputs()
    words: set[str] = set()
    for item in entry.acquisitions:
        names: list[str] = []
        try:
            names = files_of(item, root)
            if item["format"] == "dicom" and not words and names:
                words = patient_words([root / names[0]])
            acquisition = _acquisition(item, [root / n for n in names], entry, root)
        except TimelensError as error:
            found.problems.append(error.at(file=", ".join(names[:1]) or str(item["id"])).problem)
            _hash(found, names, root)
            continue
        found.problems += acquisition.problems
        found.acquisitions.append(acquisition)
        found.sources |= {s.path: s for s in acquisition.sources}
        _hash(found, names, root)
    by_id = {a.id: a for a in found.acquisitions}
    for item in entry.regions:
        names = []
        if item.get("drawn_on") and item["drawn_on"] not in by_id:
            found.lost_regions.append(str(item.get("id")))
            found.problems.append(_without_its_scan(item))
            continue
        try:
            names = files_of(item, root)
            region = _region(item, [root / n for n in names], by_id, root)
        except TimelensError as error:
            found.problems.append(error.at(file=", ".join(names[:1])).problem)
            found.lost_regions.append(str(item.get("id") or ", ".join(names[:1])))
            _hash(found, names, root)
            continue
        found.regions.append(region)
        found.problems += _remarks(region)
        found.sources |= {s.path: s for s in region.sources}
        _hash(found, names, root)
    _mask(found, words, entry.subject, root)
    return found


def _without_its_scan(item: Mapping[str, Any]) -> Problem:
    return Problem(
        "These regions are left out: the scan that they were drawn on could not be read",
        file=", ".join(str(name) for name in (item.get("files") or [])[:1]) or str(item.get("id")),
        field="drawn_on",
        found=str(item["drawn_on"]),
        expected="a readable scan of the session",
        mend="mend that scan, or write another one in whose space they lie",
        severity="warning",
    )


def files_of(item: Mapping[str, Any], root: Path) -> list[str]:
    """Names from the root of the files that an entry of ``study.yaml`` stands for."""
    if "folder" in item:
        folder = root / str(item["folder"])
        if not folder.is_dir():
            raise DataError(
                "A folder of the study is not there",
                file=str(item["folder"]),
                field="folder",
                expected="a folder under the study's root",
                mend="run 'timelens scan' again, or correct 'root' in study.yaml",
            )
        return [p.relative_to(root).as_posix() for p in sorted(folder.iterdir()) if p.is_file()]
    names = [str(name) for name in item.get("files") or []]
    for name in names:
        if not (root / name).exists():
            raise DataError(
                "A file of the study is not there",
                file=name,
                field="files",
                expected="a file under the study's root",
                mend="run 'timelens scan' again, or correct 'root' in study.yaml",
            )
    if not names:
        raise DataError(
            "An entry of the study names no file", field="files", found="nothing", expected="files or folder"
        )
    return names


def regions_for(primary: Acquisition, regions: Sequence[Region]) -> list[Region]:
    """The regions that lie in the frame of reference of a scan, whichever series they were drawn on."""
    frame = primary.image.geometry.frame if isinstance(primary.data, Image) and primary.image.geometry else None
    chosen = []
    for region in regions:
        own = region.labels.geometry if region.labels is not None else None
        place = own.frame if own is not None else region.frame
        if place is not None and place == frame:
            chosen.append(region)
        elif place is None and region.extra.get("drawn_on") == primary.id and own is None:
            chosen.append(replace(region, frame=frame))
    return chosen


def _acquisition(item: Mapping[str, Any], files: list[Path], entry: SessionEntry, root: Path) -> Acquisition:
    acquisition = load_acquisition(
        str(item["format"]),
        files,
        id=str(item["id"]),
        subject=entry.subject,
        session=entry.session,
        modality=str(item["modality"]),
        unit=item.get("unit") if item.get("unit") != UNKNOWN else None,
        pixel_size_um=_size(item),
        series=str(item.get("series") or ""),
        root=root,
    )
    values = stated_values(item, acquisition)
    return acquisition.stated(**values) if values else acquisition


def _size(item: Mapping[str, Any]) -> float | None:
    said = item.get("pixel_size_um")
    if said is None or said == UNKNOWN:
        return None
    if isinstance(said, bool) or not isinstance(said, (int, float)):
        raise DataError("The size of a pixel is no number", field="pixel_size_um", found=said, expected="micrometres")
    return float(said)


def _region(item: Mapping[str, Any], files: list[Path], by_id: Mapping[str, Acquisition], root: Path) -> Region:
    on = str(item.get("drawn_on") or "")
    region = load_region(
        str(item["format"]),
        files,
        id=str(item.get("id") or "regions"),
        on=by_id[on].image.geometry if on in by_id else None,
        root=root,
    )
    names = {int(k): str(v) for k, v in (item.get("names") or {}).items()}
    roles = {int(k): _role(v) for k, v in (item.get("roles") or {}).items()}
    return replace(
        region,
        names={**region.names, **names},
        roles={**region.roles, **roles},
        extra={**region.extra, "drawn_on": on},
    )


def _role(said: object) -> Role:
    role = "unknown" if said == UNKNOWN else str(said)
    if role not in get_args(Role):
        raise DataError(
            "There is no such role of a region", field="roles", found=role, expected=", ".join(get_args(Role))
        )
    return cast(Role, role)


def _remarks(region: Region) -> list[Problem]:
    """What the reader of a region set noticed, and regions of which nobody says what they are."""
    remarks = [p for p in region.extra.get("problems") or () if isinstance(p, Problem)]
    where = region.sources[0].path if region.sources else region.id
    if count := region.extra.get("overlap"):
        remarks.append(
            Problem(
                "Segments of this file overlap; the shared voxels count for the one with the higher number",
                file=where,
                field="SegmentSequence",
                found=f"{count} voxels",
                severity="warning",
            )
        )
    if unknown := [region.name(n) for n in region.names if region.role(n) == "unknown"]:
        remarks.append(
            Problem(
                "Nobody says what these regions are, so they were left out",
                file=where,
                field="roles",
                found=", ".join(unknown),
                expected="lesion, liver, blood pool, organ, exclude, body or reference",
                mend="write their roles in study.yaml",
                severity="warning",
            )
        )
    return remarks


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {k: _each_text(v, change) for k, v in value.items()}
    if isinstance(value, list):
        return [_each_text(v, change) for v in value]
    return change(value) if isinstance(value, str) else value


def _hash(found: Inputs, names: Iterable[str], root: Path) -> None:
    """Add files that a reader did not account for: folders that are one image, and what stands beside a file."""
    for name in names:
        path = root / name
        stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
        beside = [path.with_name(stem + ending) for ending in _BESIDE]
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in (*inside, *(p for p in beside if p.is_file())):
            shown = file.relative_to(root).as_posix()
            if shown not in found.sources and file.is_file():
                found.sources[shown] = replace(SourceFile.of(file), path=shown)


def _mask(found: Inputs, words: set[str], alias: str, root: Path) -> None:
    """Make paths relative to the root, and replace words that name the patient by the alias."""
    pattern = re.compile("|".join(sorted((re.escape(w) for w in words), key=len, reverse=True)), re.IGNORECASE)

    def clean(text: str) -> str:
        text = from_root(text, root)
        return pattern.sub(alias, text) if words else text

    def cleaned(problem: Problem) -> Problem:
        return replace(problem, file=clean(problem.file), found=clean(problem.found) if words else problem.found)

    found.clean = clean
    found.problems = list(dict.fromkeys(cleaned(p) for p in found.problems))
    found.sources = {clean(s.path): replace(s, path=clean(s.path)) for s in found.sources.values()}
    found.acquisitions = [
        replace(
            a,
            description=clean(a.description),
            sources=tuple(replace(s, path=clean(s.path)) for s in a.sources),
            problems=tuple(cleaned(p) for p in a.problems),
        )
        for a in found.acquisitions
    ]
    if words:
        found.regions = [
            replace(r, id=clean(r.id), names={n: clean(name) for n, name in r.names.items()}) for r in found.regions
        ]
