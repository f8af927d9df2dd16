"""Small files written whole or not at all, and folders that appear complete."""

from __future__ import annotations

import json
import math
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["appearing_folder", "bids_label", "overlaid", "plain", "write_json", "write_text"]


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


def bids_label(name: str) -> str:
    """Letters and digits only, in camel case.

    >>> bids_label("lesions_frame-2")
    'lesionsFrame2'
    """
    joined = "".join(c for c in name.title() if c.isalnum())
    return joined[:1].lower() + joined[1:]


@contextmanager
def appearing_folder(target: Path, workspace: Path) -> Iterator[Path]:
    """A draft folder that takes the place of ``target`` when the block ends without an error.

    Parameters
    ----------
    target
        Where the folder shall stand.
    workspace
        A folder on the same file system for drafts; what a killed run left there may be deleted at any time.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    draft = workspace / f"{target.name}-{uuid.uuid4().hex}"
    draft.mkdir()
    try:
        yield draft
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            old = workspace / f"{target.name}-{uuid.uuid4().hex}"
            target.rename(old)
            draft.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
