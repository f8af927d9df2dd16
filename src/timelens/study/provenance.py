"""Provenance: from a number back to the files, the software and the parameters that made it.

Identifiers are hashes of what they stand for, so that the same inputs give the same identifiers on any machine.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import timelens
from timelens.errors import UsageError

__all__ = ["DEFAULT_SEED", "Run", "SourceFile", "hash_file", "identifier", "plain_json", "software_versions"]

_CHUNK = 1 << 20
#: Seed of all that is drawn at random where nobody states another one.
DEFAULT_SEED = 20240101


def hash_file(path: str | Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def identifier(*parts: Any) -> str:
    """Sixteen hexadecimal digits from the parts, the same wherever the parts are the same.

    >>> identifier("sub-001", 1) == identifier("sub-001", 1)
    True
    """
    return hashlib.sha256(plain_json(parts).encode()).hexdigest()[:16]


def plain_json(value: Any) -> str:
    """The one text for a value: sorted keys, no spaces; arrays as lists, paths as text, date-times in ISO 8601.

    Raises
    ------
    UsageError
        If the value holds anything but plain values.
    """
    return json.dumps(value, sort_keys=True, default=_plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path | set | frozenset):
        return str(value) if isinstance(value, Path) else sorted(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise UsageError("An identifier is made of plain values", found=type(value).__name__)


@dataclass(frozen=True)
class SourceFile:
    """A file that was read: its path as the user gave it (relative to the study where possible), hash and size."""

    path: str
    sha256: str
    size: int

    @classmethod
    def of(cls, path: str | Path, *, relative_to: str | Path | None = None) -> SourceFile:
        """Hash a file on disk."""
        place = Path(path)
        shown = place
        if relative_to is not None and place.resolve().is_relative_to(Path(relative_to).resolve()):
            shown = place.resolve().relative_to(Path(relative_to).resolve())
        return cls(shown.as_posix(), hash_file(place), place.stat().st_size)


@dataclass(frozen=True)
class Run:
    """One execution on one session: inputs, parameters, versions, seed.

    ``id`` depends on these alone; start and end stand outside of it.
    """

    inputs: tuple[SourceFile, ...]
    parameters: Mapping[str, Any]
    software: Mapping[str, str] = field(default_factory=lambda: software_versions())
    seed: int | None = None
    started: str = ""
    ended: str = ""

    @cached_property
    def id(self) -> str:
        """Identifier from inputs, parameters, version of timelens and seed."""
        hashes = sorted((f.path, f.sha256) for f in self.inputs)
        return identifier("run", hashes, dict(self.parameters), self.software.get("timelens"), self.seed)


@lru_cache(maxsize=1)
def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {"timelens": timelens.__version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def software_versions(
    packages: Iterable[str] = ("numpy", "scipy", "numba", "pydicom", "nibabel", "scikit-image"),
) -> dict[str, str]:
    """Versions of timelens, Python and the packages that numbers depend on."""
    return dict(_versions(tuple(packages)))
