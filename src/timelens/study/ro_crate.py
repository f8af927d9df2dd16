"""RO-Crate: a folder of results that says, in a form other programs read, how it was made.

``ro-crate-metadata.json`` follows RO-Crate 1.1 and the Process Run Crate profile 0.5: each run is a ``CreateAction`` of
timelens (``instrument``) on input files and parameters (``object``), giving output files (``result``). Inputs are named
by their content (RFC 6920, ``ni:///sha-256;...``), since they lie outside of the folder.

References: https://w3id.org/ro/crate/1.1; https://w3id.org/ro/wfrun/process/0.5
"""

from __future__ import annotations

import base64
import json
import math
import mimetypes
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import quote

from timelens.errors import UsageError
from timelens.study.provenance import Run, SourceFile, hash_file, plain_json

__all__ = ["METADATA_FILE", "describe", "write_crate"]

METADATA_FILE = "ro-crate-metadata.json"
_CRATE = "https://w3id.org/ro/crate/1.1"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
#: Files that go on changing after the crate was written, and so have no lasting hash.
_LIVE = ("*.sqlite", "*.jsonl")
#: Files that are not results.
_LEFT_OUT = (METADATA_FILE, "*.sqlite-wal", "*.sqlite-shm", "*.part", ".*")
_KINDS = {
    ".dcm": "application/dicom",
    ".jsonl": "application/jsonl",
    ".nii.gz": "application/gzip",
    ".parquet": "application/vnd.apache.parquet",
    ".sqlite": "application/vnd.sqlite3",
    ".tsv": "text/tab-separated-values",
}

Entity = dict[str, Any]


def write_crate(
    folder: str | Path,
    runs: Iterable[Run],
    *,
    results: Mapping[str, Iterable[str | Path]] | None = None,
    name: str = "timelens results",
    description: str = "Quantities measured in images, with their uncertainty, maps and report.",
    licence: str = "",
) -> Path:
    """Write ``ro-crate-metadata.json`` into a folder of results.

    Parameters
    ----------
    folder
        The folder, complete but for this file.
    runs
        What was done.
    results
        Id of a run to the files that it wrote (paths inside the folder). Without it, and with a single run, all files
        are its results; files that no run names belong to the folder alone.
    name, description
        Of the results as a whole.
    licence
        URL of the licence of the results; without it the crate says that none is stated.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    UsageError
        If a result does not lie in the folder.
    """
    crate = describe(folder, runs, results=results, name=name, description=description, licence=licence)
    target = Path(folder) / METADATA_FILE
    part = target.with_name(f".{METADATA_FILE}.part")
    text = json.dumps(crate, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    part.write_text(text, encoding="utf-8", errors="replace")
    return part.replace(target)


def describe(
    folder: str | Path,
    runs: Iterable[Run],
    *,
    results: Mapping[str, Iterable[str | Path]] | None = None,
    name: str = "timelens results",
    description: str = "Quantities measured in images, with their uncertainty, maps and report.",
    licence: str = "",
) -> dict[str, Any]:
    """The content of ``ro-crate-metadata.json`` (parameters as in :func:`write_crate`)."""
    root = Path(folder)
    made = sorted(runs, key=lambda run: (run.started, run.id))
    listed = _files(root)
    claimed = _claims(root, made, listed, results)
    graph: dict[str, Entity] = {}

    def add(entity: Entity) -> Entity:
        graph.setdefault(entity["@id"], entity)
        return {"@id": entity["@id"]}

    parts = [add(_output(root, path)) for path in listed]
    actions = []
    for run in made:
        action = _action(run)
        objects = [add(_input(file)) for file in run.inputs]
        objects += [add(_parameter(run, key, value)) for key, value in sorted(run.parameters.items())]
        if run.seed is not None:
            objects.append(add(_parameter(run, "random seed", run.seed)))
        action["instrument"] = add(_software("timelens", run.software.get("timelens", ""), run.software))
        action["object"] = _unique(objects)
        action["result"] = [{"@id": _relative(path)} for path in claimed[run.id]]
        actions.append(add(action))
    ended = [run.ended for run in made if run.ended]
    dataset = {
        "@id": "./",
        "@type": "Dataset",
        "name": name,
        "description": description,
        "datePublished": max(ended) if ended else datetime.now(UTC).date().isoformat(),
        "conformsTo": add({"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}),
        "license": add(_licence(licence)),
        "hasPart": parts,
        "mentions": actions,
    }
    for run in made:
        for package, version in run.software.items():
            if package != "timelens":
                add(_software(package, version, {}))
    descriptor = {
        "@id": METADATA_FILE,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": _CRATE},
    }
    return {
        "@context": [f"{_CRATE}/context", "https://w3id.org/ro/terms/workflow-run/context"],
        "@graph": [descriptor, dataset, *(graph[key] for key in sorted(graph))],
    }


def _files(root: Path) -> list[Path]:
    """Files of the folder as relative paths, without what is not a result."""
    found = []
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if path.is_file() and not any(fnmatch(part, rule) for part in inside.parts for rule in _LEFT_OUT):
            found.append(inside)
    return found


def _claims(
    root: Path, runs: list[Run], listed: list[Path], results: Mapping[str, Iterable[str | Path]] | None
) -> dict[str, list[Path]]:
    """The files of each run."""
    if results is None:
        return {run.id: listed if len(runs) == 1 else [] for run in runs}
    known = set(listed)
    claimed: dict[str, list[Path]] = {}
    for run in runs:
        paths = [
            Path(p).relative_to(root) if Path(p).is_relative_to(root) else Path(p) for p in results.get(run.id, ())
        ]
        for path in paths:
            if path not in known:
                raise UsageError(
                    "A result of a run is not a file of the folder",
                    file=path,
                    field="results",
                    expected=f"a file in {root}",
                )
        claimed[run.id] = sorted(paths)
    return claimed


def _relative(path: Path) -> str:
    return quote(path.as_posix(), safe="/,()'+=@~!$&*")


def _output(root: Path, path: Path) -> Entity:
    entity: Entity = {"@id": _relative(path), "@type": "File", "name": path.name}
    kind = (
        next((k for ending, k in _KINDS.items() if path.name.endswith(ending)), None) or mimetypes.guess_type(path)[0]
    )
    if kind:
        entity["encodingFormat"] = kind
    if not any(fnmatch(path.name, rule) for rule in _LIVE):
        entity["contentSize"] = str((root / path).stat().st_size)
        entity["sha256"] = hash_file(root / path)
    return entity


def _input(file: SourceFile) -> Entity:
    digest = base64.urlsafe_b64encode(bytes.fromhex(file.sha256)).decode().rstrip("=")
    return {
        "@id": f"ni:///sha-256;{digest}",
        "@type": "CreativeWork",
        "name": file.path,
        "contentSize": str(file.size),
        "sha256": file.sha256,
    }


def _parameter(run: Run, name: str, value: Any) -> Entity:
    plain = isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return {
        "@id": f"#run-{run.id}/{quote(name, safe='')}",
        "@type": "PropertyValue",
        "name": name,
        "value": value if plain else plain_json(value),
    }


def _software(name: str, version: str, requires: Mapping[str, str]) -> Entity:
    entity: Entity = {
        "@id": f"#{name}-{version}",
        "@type": "SoftwareApplication",
        "name": name,
        "softwareVersion": version,
    }
    others = [{"@id": f"#{n}-{v}"} for n, v in sorted(requires.items()) if n != name]
    if others:
        entity["softwareRequirements"] = others
    return entity


def _action(run: Run) -> Entity:
    action: Entity = {
        "@id": f"#run-{run.id}",
        "@type": "CreateAction",
        "name": f"Run {run.id}",
        "description": f"timelens on {len(run.inputs)} files",
    }
    if run.started:
        action["startTime"] = run.started
    if run.ended:
        action["endTime"] = run.ended
    return action


def _licence(url: str) -> Entity:
    if url:
        return {"@id": url, "@type": "CreativeWork", "name": url}
    return {
        "@id": "#licence",
        "@type": "CreativeWork",
        "name": "Not stated",
        "description": "The owner of the images decides how these results may be used.",
    }


def _unique(references: list[Entity]) -> list[Entity]:
    return list({reference["@id"]: reference for reference in references}.values())
