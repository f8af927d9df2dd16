"""BIDS derivatives: ``dataset_description.json`` of the results, and the provenance part of each output's sidecar.

Reference: Brain Imaging Data Structure specification 1.10.0, sections "Dataset description" and "BIDS-Derivatives".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import timelens
from timelens.study.provenance import Run, SourceFile, plain_json

__all__ = ["BIDS_VERSION", "DATASET_FILE", "dataset_description", "sidecar", "write_dataset_description"]

BIDS_VERSION = "1.10.0"
DATASET_FILE = "dataset_description.json"


def dataset_description(
    *, name: str = "timelens results", sources: Mapping[str, str] | None = None, version: str = timelens.__version__
) -> dict[str, Any]:
    """The content of ``dataset_description.json``.

    Parameters
    ----------
    name
        Of the results.
    sources
        Short name to URL or relative path of each dataset that was read; sidecars refer to it as ``bids:name:path``.
    version
        Of timelens.
    """
    record: dict[str, Any] = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "timelens", "Version": version}],
    }
    if sources:
        record["SourceDatasets"] = [{"URL": url} for url in sources.values()]
        record["DatasetLinks"] = dict(sources)
    return record


def write_dataset_description(folder: str | Path, **facts: Any) -> Path:
    """Write ``dataset_description.json`` (facts as in :func:`dataset_description`) in one move."""
    target = Path(folder) / DATASET_FILE
    part = target.with_name(f".{DATASET_FILE}.part")
    part.write_text(json.dumps(dataset_description(**facts), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return part.replace(target)


def sidecar(
    run: Run, *, sources: Iterable[SourceFile] | None = None, dataset: str = "raw", description: str = ""
) -> dict[str, Any]:
    """The provenance part of an output's JSON sidecar.

    Parameters
    ----------
    run
        The run that wrote the output.
    sources
        The files that went into this output; all inputs of the run by default.
    dataset
        Short name of the dataset of the sources, as in :func:`dataset_description`.
    description
        What the output is, in a sentence.

    Returns
    -------
    dict
        ``Description``, ``Sources`` (BIDS URIs), ``SourceHashes`` (URI to SHA-256), ``GeneratedBy``, ``RunId``,
        ``RandomSeed``, ``SoftwareVersions`` and ``Parameters``, all plain values.
    """
    files = sorted(run.inputs if sources is None else sources, key=lambda file: file.path)
    hashes = {_uri(file, dataset): file.sha256 for file in files}
    record: dict[str, Any] = {
        "Description": description,
        "Sources": list(hashes),
        "SourceHashes": hashes,
        "GeneratedBy": [{"Name": "timelens", "Version": run.software.get("timelens", "")}],
        "RunId": run.id,
        "RandomSeed": run.seed,
        "SoftwareVersions": dict(run.software),
        "Parameters": json.loads(plain_json(dict(run.parameters)), parse_constant=str),
    }
    return {key: value for key, value in record.items() if value not in ("", None)}


def _uri(file: SourceFile, dataset: str) -> str:
    return f"bids:{dataset}:{file.path.lstrip('/')}"
