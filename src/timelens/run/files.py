"""Small files written whole or not at all, and folders that appear complete.

A folder cannot replace another in one move. The old one is set aside under a hidden name beside it first, then the new
one gets its name. A process that is killed between the two leaves no folder, but both of its states;
:func:`put_back` restores the old one.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "POOLED",
    "alive", "appearing_folder", "bids_label", "clear_drafts", "from_root", "output_stem", "overlaid", "plain",
    "put_back", "write_json", "write_text",
]  # fmt: skip

#: How the id of rows ends that rest on all acquisitions of a lens in a session together.
POOLED = "-pooled"
_DAY_S = 86_400.0


def write_text(path: Path, text: str) -> None:
    """Write a file by way of a temporary neighbour, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys; NaN becomes null."""
    write_text(path, json.dumps(plain(value), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Numpy numbers, tuples, paths and dates as JSON knows them; NaN and infinities as None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One nested mapping over another.

    >>> overlaid({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    {'a': {'b': 3, 'c': 2}}
    """
    merged: dict[str, Any] = dict(below)
    for key, value in above.items():
        before = merged.get(key)
        merged[key] = overlaid(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged


def from_root(path: str, root: Path) -> str:
    """A path as the user sees it: from the study's root where it lies there, else as it stands."""
    place = Path(path)
    if path and place.is_absolute() and place.resolve().is_relative_to(root.resolve()):
        return place.resolve().relative_to(root.resolve()).as_posix()
    return path


def bids_label(name: str) -> str:
    """Letters and digits only, in camel case.

    >>> bids_label("lesions_frame-2")
    'lesionsFrame2'
    """
    joined = "".join(c for c in name.title() if c.isalnum())
    return joined[:1].lower() + joined[1:]


def output_stem(subject: str, session: str, acquisition: str) -> str:
    """What the names of all maps and masks of an acquisition begin with, up to ``_desc-``."""
    return acquisition if acquisition.startswith(subject) else f"{subject}_{session}_{acquisition}"


@contextmanager
def appearing_folder(target: Path, workspace: Path) -> Iterator[Path]:
    """A draft folder that takes the place of ``target`` when the block ends without an error.

    Parameters
    ----------
    target
        Where the folder shall stand. One process at a time may write it.
    workspace
        A folder on the same file system for drafts. A draft bears the host and process that write it, so that
        :func:`clear_drafts` knows those that a killed process left.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    draft = workspace / f"{target.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}@{platform.node()}"
    draft.mkdir()
    try:
        yield draft
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = _aside(target)
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
            target.rename(aside)
        try:
            draft.rename(target)
        except OSError:
            if aside.exists():
                aside.rename(target)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def put_back(target: Path) -> None:
    """Restore the old state of a folder whose change was broken off; remove it where the new one is in place."""
    aside = _aside(target)
    if aside.is_dir() and not target.exists():
        aside.rename(target)
    else:
        shutil.rmtree(aside, ignore_errors=True)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.before")


def clear_drafts(workspace: Path) -> None:
    """Delete the drafts of this process and of dead ones, and the workspace if nothing is left.

    To be called when this process writes none. Drafts of other hosts, which may be workers of a cluster, are deleted
    when they are a day old.
    """
    for draft in workspace.iterdir() if workspace.is_dir() else ():
        label, _, host = draft.name.partition("@")
        pid = label.split(".")[-2:-1]
        if host != platform.node():
            dead = time.time() - draft.stat().st_mtime > _DAY_S
        else:
            dead = not (pid and pid[0].isdigit() and int(pid[0]) != os.getpid() and alive(int(pid[0])))
        if dead:
            shutil.rmtree(draft, ignore_errors=True)
    with suppress(OSError):  # not there, or not empty
        workspace.rmdir()


def alive(pid: int) -> bool:
    """Whether a process of this host lives; yes where it cannot be told."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
